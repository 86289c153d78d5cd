#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::fmt;
use core::str::FromStr;

use crate::Error;

/// An `EFI_TIME`, as it stands in an authenticated variable, UEFI 2.10 §8.3.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 2 | year |
/// | 2 | 5 × 1 | month, day, hour, minute, second |
/// | 7 | 1 | pad |
/// | 8 | 4 | nanosecond |
/// | 12 | 2 | time zone |
/// | 14 | 2 × 1 | daylight, pad |
///
/// Times made here are UTC with whole seconds and nothing else set, because firmware refuses everything else in an
/// authenticated variable. A time read from a file keeps whatever it holds.
///
/// # Examples
///
/// ```
/// use efivars::EfiTime;
/// let time = EfiTime::new(2024, 1, 2, 3, 4, 5)?;
/// assert_eq!(time.to_string(), "2024-01-02 03:04:05");
/// assert_eq!("2024-01-02T03:04:05Z".parse::<EfiTime>()?, time);
/// assert_eq!(EfiTime::from_unix(1_704_164_645)?, time);
/// assert_eq!(time.to_bytes()[..7], [0xe8, 0x07, 1, 2, 3, 4, 5]);
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EfiTime {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    pad1: u8,
    nanosecond: u32,
    timezone: i16,
    daylight: u8,
    pad2: u8,
}

impl EfiTime {
    /// The time that all of Microsoft's dbx and KEK updates carry.
    pub const MICROSOFT_APPEND: Self = Self {
        year: 2010,
        month: 3,
        day: 6,
        hour: 19,
        minute: 17,
        second: 21,
        ..Self::ZERO
    };
    /// No time: what a variable has that was never written with one.
    pub const ZERO: Self = Self {
        year: 0,
        month: 0,
        day: 0,
        hour: 0,
        minute: 0,
        second: 0,
        pad1: 0,
        nanosecond: 0,
        timezone: 0,
        daylight: 0,
        pad2: 0,
    };

    /// A point in UTC.
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`] for a date that does not exist or a year outside 1900 to 9999.
    pub fn new(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    ) -> Result<Self, Error> {
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap(year) => 29,
            2 => 28,
            _ => 0,
        };
        if !(1900..=9999).contains(&year)
            || day == 0
            || day > days
            || hour > 23
            || minute > 59
            || second > 59
        {
            return Err(Error::TimeOutOfRange);
        }
        Ok(Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ..Self::ZERO
        })
    }

    /// Seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`] after the year 9999.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "all values are far below the limits once the input is bounded"
    )]
    pub fn from_unix(seconds: u64) -> Result<Self, Error> {
        if seconds > 253_402_300_799 {
            return Err(Error::TimeOutOfRange);
        }
        let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
        let mut year = 1970u16;
        while days >= 365 + u64::from(leap(year)) {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let lengths = [
            31,
            28 + u64::from(leap(year)),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let narrow = |n: u64| u8::try_from(n).map_err(|_| Error::TimeOutOfRange);
        Self::new(
            year,
            month,
            narrow(days + 1)?,
            narrow(rest / 3600)?,
            narrow(rest / 60 % 60)?,
            narrow(rest % 60)?,
        )
    }

    /// Seconds since 1970-01-01 00:00:00 UTC; nothing for an earlier time or a date that does not exist.
    #[must_use]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "all values are far below the limits once the date is checked"
    )]
    pub fn to_unix(self) -> Option<u64> {
        Self::new(
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
        )
        .ok()?;
        if self.year < 1970 {
            return None;
        }
        let mut days: u64 = (1970..self.year)
            .map(|year| 365 + u64::from(leap(year)))
            .sum();
        let lengths = [
            31,
            28 + u64::from(leap(self.year)),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        days += lengths
            .iter()
            .take(usize::from(self.month) - 1)
            .sum::<u64>()
            + u64::from(self.day)
            - 1;
        Some(
            days * 86_400
                + u64::from(self.hour) * 3600
                + u64::from(self.minute) * 60
                + u64::from(self.second),
        )
    }

    /// The same time some seconds later.
    ///
    /// # Errors
    ///
    /// [`Error::TimeOutOfRange`] when this is not a date that exists, or the result is after the year 9999.
    pub fn plus_seconds(self, seconds: u64) -> Result<Self, Error> {
        let now = self.to_unix().ok_or(Error::TimeOutOfRange)?;
        Self::from_unix(now.checked_add(seconds).ok_or(Error::TimeOutOfRange)?)
    }

    /// From the sixteen bytes in a file; any value is kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let [
            y0,
            y1,
            month,
            day,
            hour,
            minute,
            second,
            pad1,
            n0,
            n1,
            n2,
            n3,
            t0,
            t1,
            daylight,
            pad2,
        ] = bytes;
        Self {
            year: u16::from_le_bytes([y0, y1]),
            month,
            day,
            hour,
            minute,
            second,
            pad1,
            nanosecond: u32::from_le_bytes([n0, n1, n2, n3]),
            timezone: i16::from_le_bytes([t0, t1]),
            daylight,
            pad2,
        }
    }

    /// The sixteen bytes in a file.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        let ([y0, y1], [n0, n1, n2, n3]) = (self.year.to_le_bytes(), self.nanosecond.to_le_bytes());
        let [t0, t1] = self.timezone.to_le_bytes();
        [
            y0,
            y1,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
            self.pad1,
            n0,
            n1,
            n2,
            n3,
            t0,
            t1,
            self.daylight,
            self.pad2,
        ]
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> u16 {
        self.year
    }

    /// Whether every field is zero: «no time», and «revoked for ever» in dbx.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether only the fields from year to second are set, which firmware demands of an authenticated variable.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        self.pad1 == 0
            && self.nanosecond == 0
            && self.timezone == 0
            && self.daylight == 0
            && self.pad2 == 0
    }

    /// Whether firmware takes this time as later than `stored`: the fields from year to second, compared in order.
    #[must_use]
    pub fn is_later_than(self, stored: Self) -> bool {
        self.fields() > stored.fields()
    }

    /// Whether it is more than a year after `now`. A variable that was written with such a time takes no other value, and no
    /// deletion, until then.
    ///
    /// # Examples
    ///
    /// ```
    /// use efivars::EfiTime;
    /// let now = EfiTime::new(2026, 11, 27, 8, 0, 0)?;
    /// assert!(!EfiTime::new(2027, 11, 27, 8, 0, 0)?.is_far_after(now));
    /// assert!(EfiTime::new(2027, 11, 27, 8, 0, 1)?.is_far_after(now));
    /// # Ok::<(), efivars::Error>(())
    /// ```
    #[must_use]
    pub fn is_far_after(self, now: Self) -> bool {
        let next_year = Self {
            year: now.year.saturating_add(1),
            ..now
        };
        self.is_later_than(next_year)
    }

    /// Whether there is such a date and time.
    pub(crate) fn exists(self) -> bool {
        Self::new(
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
        )
        .is_ok()
    }

    const fn fields(self) -> (u16, u8, u8, u8, u8, u8) {
        (
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
        )
    }
}

const fn leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

impl fmt::Display for EfiTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.fields();
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

impl fmt::Debug for EfiTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EfiTime({self}")?;
        if !self.is_plain() {
            write!(
                f,
                ", nanosecond {}, time zone {}, daylight {}",
                self.nanosecond, self.timezone, self.daylight
            )?;
        }
        f.write_str(")")
    }
}

impl FromStr for EfiTime {
    type Err = Error;

    /// Reads `2024-01-02 03:04:05`, with `T` for the blank and `Z` at the end if you like.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let (date, time) = text.split_once([' ', 'T']).ok_or(Error::TimeOutOfRange)?;
        let mut parts = date.splitn(3, '-').chain(time.splitn(3, ':'));
        let mut next = || -> Result<u16, Error> {
            let part = parts
                .next()
                .filter(|part| part.bytes().all(|c| c.is_ascii_digit()));
            part.and_then(|part| part.parse().ok())
                .ok_or(Error::TimeOutOfRange)
        };
        let year = next()?;
        let mut small =
            || -> Result<u8, Error> { u8::try_from(next()?).map_err(|_| Error::TimeOutOfRange) };
        Self::new(year, small()?, small()?, small()?, small()?, small()?)
    }
}
