//! The time that outputs carry: `SOURCE_DATE_EPOCH` where it is set, so that builds can be repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;

/// `SOURCE_DATE_EPOCH`, in seconds.
///
/// # Errors
/// [`Error::Usage`] when the variable is set to something else than a number.
pub(crate) fn source_date_epoch() -> Result<Option<u64>, Error> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|_| {
            Error::usage(
                "SOURCE_DATE_EPOCH",
                format!("seconds since 1970 expected, found '{text}'"),
            )
        }),
        _ => Ok(None),
    }
}

/// The time of this build: `SOURCE_DATE_EPOCH`, or else the clock.
///
/// # Errors
/// As [`source_date_epoch`].
pub(crate) fn now() -> Result<SystemTime, Error> {
    Ok(match source_date_epoch()? {
        Some(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
        None => SystemTime::now(),
    })
}

/// [`now`] in seconds since 1970.
///
/// # Errors
/// As [`source_date_epoch`].
pub(crate) fn now_seconds() -> Result<u64, Error> {
    Ok(now()?
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs()))
}
