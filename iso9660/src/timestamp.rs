//! Points in time, in the forms the image formats store.

/// A point in time in whole seconds, UTC.
///
/// The crate never reads a clock: every time in an image comes from the caller. The default is
/// 1980-01-01T00:00:00Z, the earliest time that all formats can store. A time that a format cannot
/// store is moved to the nearest one it can.
///
/// ```
/// use iso9660::Timestamp;
///
/// let time = Timestamp::from_unix(1_700_000_000);
/// assert_eq!(time.to_string(), "2023-11-14T22:13:20Z");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 1980-01-01T00:00:00Z.
const DOS_EPOCH: i64 = 315_532_800;
/// 2107-12-31T23:59:58Z, the last time FAT can store.
const DOS_END: i64 = 4_354_819_198;
/// 1900-01-01T00:00:00Z and 2155-12-31T23:59:59Z, the range of directory records.
const RECORD_START: i64 = -2_208_988_800;
const RECORD_END: i64 = 5_869_583_999;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of the long form.
const LONG_START: i64 = -62_135_596_800;
const LONG_END: i64 = 253_402_300_799;

impl Default for Timestamp {
    fn default() -> Self {
        Self(DOS_EPOCH)
    }
}

/// A date and time of day.
struct Civil {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Timestamp {
    /// The time so many seconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_unix(self) -> i64 {
        self.0
    }

    /// Year, month, day, hour, minute and second.
    fn civil(self) -> Civil {
        // Days since 0000-03-01, in 400-year eras of 146,097 days.
        let days = self.0.div_euclid(86_400) + 719_468;
        let seconds = self.0.rem_euclid(86_400);
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * month_from_march + 2) / 5 + 1),
            hour: small(seconds / 3_600),
            minute: small(seconds / 60 % 60),
            second: small(seconds % 60),
        }
    }

    /// Seven bytes of a directory record (ECMA-119 9.1.5), offset 0 from GMT.
    pub(crate) fn record(self) -> [u8; 7] {
        let t = Self(self.0.clamp(RECORD_START, RECORD_END)).civil();
        let year = u8::try_from(t.year - 1900).unwrap_or(0);
        [year, t.month, t.day, t.hour, t.minute, t.second, 0]
    }

    /// Seventeen bytes of a volume descriptor (ECMA-119 8.4.26.1), offset 0 from GMT.
    pub(crate) fn long(self) -> [u8; 17] {
        let t = Self(self.0.clamp(LONG_START, LONG_END)).civil();
        let text = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}00",
            t.year, t.month, t.day, t.hour, t.minute, t.second
        );
        let mut out = [0; 17];
        for (to, from) in out.iter_mut().zip(text.bytes().take(16)) {
            *to = from;
        }
        out
    }

    /// Date and time words of a FAT directory entry.
    pub(crate) fn dos(self) -> (u16, u16) {
        let t = Self(self.0.clamp(DOS_EPOCH, DOS_END)).civil();
        let year = u16::try_from(t.year - 1980).unwrap_or(0);
        let date = year << 9 | u16::from(t.month) << 5 | u16::from(t.day);
        let time =
            (u16::from(t.hour) << 11) | (u16::from(t.minute) << 5) | (u16::from(t.second) / 2);
        (date, time)
    }

    /// The time of a civil date and time of day, for readers.
    pub(crate) fn from_civil(date: (i64, u8, u8), time: (u8, u8, u8)) -> Self {
        let (year, month, day) = date;
        let shifted = if month <= 2 { year - 1 } else { year };
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let month_from_march = (i64::from(month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let (hour, minute, second) = time;
        Self(days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let t = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            t.year, t.month, t.day, t.hour, t.minute, t.second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_a_known_time_in_all_forms() {
        let time = Timestamp::from_unix(1_700_000_000);
        assert_eq!(time.record(), [123, 11, 14, 22, 13, 20, 0]);
        assert_eq!(&time.long(), b"2023111422132000\0");
        assert_eq!(
            time.dos(),
            (43 << 9 | 11 << 5 | 14, 22 << 11 | 13 << 5 | 10)
        );
    }

    #[test]
    fn moves_times_out_of_range_to_the_nearest() {
        assert_eq!(Timestamp::from_unix(0).dos(), (0x21, 0));
        assert_eq!(Timestamp::from_unix(i64::MAX).record()[0], 255);
        assert_eq!(Timestamp::from_unix(i64::MIN).record()[..3], [0, 1, 1]);
        assert_eq!(&Timestamp::from_unix(i64::MAX).long()[..4], b"9999");
    }

    #[test]
    fn civil_dates_return_to_the_same_second() {
        for seconds in [
            -2_208_988_800,
            -1,
            0,
            951_782_400,
            1_709_164_800,
            5_869_583_999,
        ] {
            let t = Timestamp::from_unix(seconds).civil();
            let back =
                Timestamp::from_civil((t.year, t.month, t.day), (t.hour, t.minute, t.second));
            assert_eq!(back.as_unix(), seconds);
        }
    }
}
