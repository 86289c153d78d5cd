//! One of the two copies of a GUID partition table, as it is read.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{Read, Seek};

use crate::error::Error;
use crate::input::{Input, le32, le64};

/// The longest array that is read: 32,768 entries.
const MAX_ARRAY: u64 = 4 << 20;

/// A header with its array.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) sector_len: u64,
    /// Where the header stands.
    pub(super) sector: u64,
    pub(super) header: Vec<u8>,
    pub(super) entries: Vec<u8>,
    /// The header's checksum is right and it says where it stands.
    pub(super) header_is_valid: bool,
    pub(super) array_is_valid: bool,
}

/// The copy whose header stands in a sector; none when there is no header.
pub(super) fn load<R: Read + Seek>(
    input: &mut Input<R>,
    sector_len: u64,
    sector: u64,
) -> Result<Option<Copy>, Error> {
    let offset = sector.saturating_mul(sector_len);
    let header = match input.read("GPT header", offset, sector_len) {
        Ok(header) => header,
        Err(error @ Error::Image { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    if !header.starts_with(b"EFI PART") {
        return Ok(None);
    }
    let len = usize::try_from(le32(&header, 12)).unwrap_or(usize::MAX);
    let checked = header.get(..len).filter(|bytes| bytes.len() >= 92);
    let checksum_is_right = checked.is_some_and(|bytes| {
        let mut copy = bytes.to_vec();
        copy.iter_mut().skip(16).take(4).for_each(|b| *b = 0);
        crc32fast::hash(&copy) == le32(bytes, 16)
    });
    let mut out = Copy {
        sector_len,
        sector,
        header_is_valid: checksum_is_right && le64(&header, 24) == sector,
        header,
        entries: Vec::new(),
        array_is_valid: false,
    };
    if out.size_is_possible() {
        let at = le64(&out.header, 72).checked_mul(sector_len);
        let len = out.array_len().min(MAX_ARRAY);
        match at.map(|at| input.read("GPT array", at, len)) {
            Some(Ok(entries)) => out.entries = entries,
            Some(Err(error @ Error::Image { .. })) => return Err(error),
            _ => {}
        }
    }
    out.array_is_valid =
        !out.entries.is_empty() && crc32fast::hash(&out.entries) == le32(&out.header, 88);
    Ok(Some(out))
}

impl Copy {
    pub(super) fn is_valid(&self) -> bool {
        self.header_is_valid && self.array_is_valid
    }

    pub(super) fn entry_len(&self) -> u64 {
        u64::from(le32(&self.header, 84))
    }

    pub(super) fn array_len(&self) -> u64 {
        u64::from(le32(&self.header, 80)).saturating_mul(self.entry_len())
    }

    /// UEFI 2.10, 5.3.2: 128 bytes times a power of two. The length of the whole is our own bound.
    pub(super) fn size_is_possible(&self) -> bool {
        let entry_len = self.entry_len();
        entry_len >= 128
            && entry_len.is_power_of_two()
            && (1..=MAX_ARRAY).contains(&self.array_len())
    }

    pub(super) fn alternate(&self) -> u64 {
        le64(&self.header, 32)
    }

    pub(super) fn usable(&self) -> (u64, u64) {
        (le64(&self.header, 40), le64(&self.header, 48))
    }

    /// First sector of the array and count of its sectors.
    pub(super) fn array(&self) -> (u64, u64) {
        let sectors = self.array_len().div_ceil(self.sector_len.max(1));
        (le64(&self.header, 72), sectors)
    }
}
