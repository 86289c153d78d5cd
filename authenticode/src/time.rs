//! Times of certificates and signatures.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use crate::der::{self, Tlv};

/// Seconds since 1970-01-01 00:00:00 UTC, leap seconds not counted. Displayed as `2023-11-14T22:13:20Z`.
///
/// ```
/// assert_eq!(authenticode::UnixTime(1_700_000_000).to_string(), "2023-11-14T22:13:20Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is a number")]
pub struct UnixTime(pub i64);

/// Year, month, day, hour, minute, second.
pub(crate) type Civil = (i64, i64, i64, i64, i64, i64);

impl UnixTime {
    pub(crate) fn from_civil((year, month, day, hour, minute, second): Civil) -> Option<Self> {
        if !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || !(0..24).contains(&hour)
            || !(0..60).contains(&minute)
            || !(0..=60).contains(&second)
            || !(0..=9999).contains(&year)
        {
            return None;
        }
        // Days of a year that begins in March, so that the leap day is the last.
        let (year, month) = if month > 2 {
            (year, month.checked_sub(3)?)
        } else {
            (year.checked_sub(1)?, month.checked_add(9)?)
        };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = month
            .checked_mul(153)?
            .checked_add(2)?
            .div_euclid(5)
            .checked_add(day)?
            .checked_sub(1)?;
        let day_of_era = year_of_era
            .checked_mul(365)?
            .checked_add(year_of_era.div_euclid(4))?
            .checked_sub(year_of_era.div_euclid(100))?
            .checked_add(day_of_year)?;
        let days = era
            .checked_mul(146_097)?
            .checked_add(day_of_era)?
            .checked_sub(719_468)?;
        let seconds = hour
            .checked_mul(3600)?
            .checked_add(minute.checked_mul(60)?)?
            .checked_add(second)?;
        days.checked_mul(86_400)?.checked_add(seconds).map(Self)
    }

    pub(crate) fn to_civil(self) -> Civil {
        let days = self.0.div_euclid(86_400);
        let second = self.0.rem_euclid(86_400);
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let leap = |days: i64| day_of_era.div_euclid(days);
        let year_of_era = day_of_era
            .saturating_sub(leap(1460))
            .saturating_add(leap(36_524))
            .saturating_sub(leap(146_096))
            .div_euclid(365);
        let before = year_of_era
            .saturating_mul(365)
            .saturating_add(year_of_era.div_euclid(4))
            .saturating_sub(year_of_era.div_euclid(100));
        let day_of_year = day_of_era.saturating_sub(before);
        let month = day_of_year
            .saturating_mul(5)
            .saturating_add(2)
            .div_euclid(153);
        let day = day_of_year
            .saturating_sub(month.saturating_mul(153).saturating_add(2).div_euclid(5))
            .saturating_add(1);
        let year = era.saturating_mul(400).saturating_add(year_of_era);
        let (year, month) = if month < 10 {
            (year, month.saturating_add(3))
        } else {
            (year.saturating_add(1), month.saturating_sub(9))
        };
        (
            year,
            month,
            day,
            second.div_euclid(3600),
            second.rem_euclid(3600).div_euclid(60),
            second.rem_euclid(60),
        )
    }

    /// Reads a UTCTime or GeneralizedTime that ends in Z; fractions of a second are dropped.
    pub(crate) fn from_der(tlv: &Tlv<'_>) -> Option<Self> {
        let text = tlv.value.strip_suffix(b"Z")?;
        let (year, rest) = match tlv.tag {
            der::UTC_TIME => {
                let (digits, rest) = text.split_at_checked(2)?;
                let short = number(digits)?;
                (
                    if short < 50 {
                        short.checked_add(2000)?
                    } else {
                        short.checked_add(1900)?
                    },
                    rest,
                )
            }
            der::GENERALIZED_TIME => {
                let (digits, rest) = text.split_at_checked(4)?;
                (number(digits)?, rest)
            }
            _ => return None,
        };
        let (fields, fraction) = rest.split_at_checked(rest.len().min(10))?;
        if !fraction.is_empty() && (tlv.tag == der::UTC_TIME || !fraction.starts_with(b".")) {
            return None;
        }
        let mut fields = fields.chunks(2).map(number);
        let mut next = || fields.next().flatten();
        let (month, day, hour, minute) = (next()?, next()?, next()?, next()?);
        Self::from_civil((year, month, day, hour, minute, next()?))
    }

    /// UTCTime before 2050, GeneralizedTime from then on.
    pub(crate) fn to_der(self) -> Vec<u8> {
        let (year, month, day, hour, minute, second) = self.to_civil();
        let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        if (1950..2050).contains(&year) {
            der::tlv(
                der::UTC_TIME,
                &[
                    format!("{:02}", year.rem_euclid(100)).as_bytes(),
                    rest.as_bytes(),
                ],
            )
        } else {
            der::tlv(
                der::GENERALIZED_TIME,
                &[format!("{year:04}").as_bytes(), rest.as_bytes()],
            )
        }
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.to_civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_times_round_trip() {
        for seconds in [
            0,
            1_700_000_000,
            951_782_400,
            951_868_799,
            2_524_607_999,
            2_524_608_000,
            -86_401,
            4_102_444_800,
        ] {
            let time = UnixTime(seconds);
            assert_eq!(UnixTime::from_civil(time.to_civil()), Some(time));
        }
        assert_eq!(UnixTime(951_782_400).to_string(), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn der_times_round_trip_on_both_sides_of_2050() {
        for seconds in [1_700_000_000, 2_524_607_999, 2_524_608_000] {
            let der = UnixTime(seconds).to_der();
            let tlv = der::Reader::new(&der).any("time").unwrap();
            assert_eq!(UnixTime::from_der(&tlv), Some(UnixTime(seconds)));
        }
    }
}
