//! `.splash`: the boot picture, a Windows bitmap that the stub draws.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use crate::{Error, SectionName};

/// The stub takes no picture that needs more memory than this.
const MAX_LEN: u64 = 64 << 20;

/// Checks what systemd-stub checks before it draws the picture; width and height in pixels when it would.
///
/// # Errors
///
/// [`Error::BadContent`] with the byte and the reason when the stub would draw nothing.
///
/// # Examples
///
/// ```
/// let error = uki::check_splash(b"\x89PNG").unwrap_err();
/// assert_eq!(error.to_string(), "content of .splash, byte 0: no bitmap (BM) header");
/// ```
pub fn check_splash(bitmap: &[u8]) -> Result<(u32, u32), Error> {
    check_splash_head(bitmap, bitmap.len() as u64)
}

/// As [`check_splash`], with the headers of a picture that is `len` bytes long.
pub(crate) fn check_splash_head(bitmap: &[u8], len: u64) -> Result<(u32, u32), Error> {
    let bad = |offset: u64, reason| Error::BadContent {
        section: SectionName::SPLASH,
        offset,
        reason,
    };
    if !bitmap.starts_with(b"BM") {
        return Err(bad(0, "no bitmap (BM) header"));
    }
    let u32_at = |at: usize| {
        bitmap
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map(|found| u32::from_le_bytes(*found))
    };
    let u16_at = |at: usize| {
        bitmap
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .map(|found| u16::from_le_bytes(*found))
    };
    let short = || bad(len, "ends inside the bitmap's headers");
    if u64::from(u32_at(2).ok_or_else(short)?) != len {
        return Err(bad(
            2,
            "the size in the bitmap's header is not that of the file",
        ));
    }
    let (data_offset, header_len) = u32_at(10).zip(u32_at(14)).ok_or_else(short)?;
    if header_len < 40 {
        return Err(bad(14, "bitmap header shorter than 40 bytes"));
    }
    if u64::from(header_len).saturating_add(14) > len {
        return Err(short());
    }
    let (width, height) = u32_at(18).zip(u32_at(22)).ok_or_else(short)?;
    if width == 0
        || height == 0
        || width > i32::MAX.unsigned_abs()
        || height > i32::MAX.unsigned_abs()
    {
        return Err(bad(18, "width or height is zero or negative"));
    }
    let (bits, compression) = u16_at(28).zip(u32_at(30)).ok_or_else(short)?;
    match (bits, compression) {
        (1 | 4 | 8 | 24, 0) | (16 | 32, 0 | 3) => {}
        (1 | 4 | 8 | 24 | 16 | 32, _) => return Err(bad(30, "compressed bitmap")),
        _ => return Err(bad(28, "bits per pixel other than 1, 4, 8, 16, 24 or 32")),
    }
    // Rows are padded to four bytes.
    let row = u64::from(width)
        .saturating_mul(bits.into())
        .div_ceil(32)
        .saturating_mul(4);
    let data_len = row.saturating_mul(height.into());
    if u64::from(data_offset).saturating_add(data_len) > len {
        return Err(bad(10, "the picture's rows are not all in the file"));
    }
    if u64::from(width)
        .saturating_mul(height.into())
        .saturating_mul(4)
        > MAX_LEN
    {
        return Err(bad(18, "more than 64 MiB of pixels"));
    }
    Ok((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap() -> Vec<u8> {
        let mut file = vec![0; 14 + 40 + 8];
        file[..2].copy_from_slice(b"BM");
        for (at, value) in [(2, 62_u32), (10, 54), (14, 40), (18, 1), (22, 2)] {
            file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        file[28] = 24;
        file
    }

    #[test]
    fn takes_a_picture_of_one_by_two_pixels() {
        assert_eq!(check_splash(&bitmap()).unwrap(), (1, 2));
    }

    #[test]
    fn names_the_field_that_the_stub_refuses() {
        for (at, value, offset) in [
            (2, 61, 2),
            (14, 39, 14),
            (18, 0, 18),
            (28, 7, 28),
            (30, 1, 30),
            (10, 55, 10),
            (25, 0xff, 18),
        ] {
            let mut file = bitmap();
            file[at] = value;
            let error = check_splash(&file).unwrap_err();
            assert!(
                matches!(error, Error::BadContent { offset: found, .. } if found == offset),
                "{at}: {error}"
            );
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let file = bitmap();
        for len in 0..file.len() {
            assert!(check_splash(&file[..len]).is_err(), "{len}");
        }
    }
}
