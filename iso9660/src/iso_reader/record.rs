//! Directory records as they are read.

use crate::Timestamp;
use crate::input::{array, be32, byte, le32};

/// A record within a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawRecord<'a> {
    pub(crate) len: usize,
    pub(crate) block: u32,
    pub(crate) data_len: u32,
    pub(crate) flags: u8,
    pub(crate) identifier: &'a [u8],
    pub(crate) system_use: &'a [u8],
    pub(crate) modified: Option<Timestamp>,
    /// Blocks of an extended attribute record before the data.
    pub(crate) attribute_blocks: u8,
    /// Blocks of each piece of an interleaved file, and of the gaps between them; 0 for none.
    pub(crate) interleave: (u8, u8),
    /// Both halves of block and length agree.
    pub(crate) is_consistent: bool,
}

impl<'a> RawRecord<'a> {
    /// The record at the beginning of `bytes`; none when there is none or it does not fit.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let len = usize::from(byte(bytes, 0));
        let record = bytes.get(..len).filter(|record| record.len() >= 34)?;
        let name_len = usize::from(byte(record, 32));
        let name_end = name_len.checked_add(33)?;
        let identifier = record.get(33..name_end)?;
        // A pad byte makes the system use begin at an even place.
        let start = name_end.checked_next_multiple_of(2)?;
        Some(Self {
            len,
            block: le32(record, 2),
            data_len: le32(record, 10),
            flags: byte(record, 25),
            identifier,
            system_use: record.get(start..).unwrap_or(&[]),
            modified: time(array(record, 18).unwrap_or_default()),
            attribute_blocks: byte(record, 1),
            interleave: (byte(record, 26), byte(record, 27)),
            is_consistent: le32(record, 2) == be32(record, 6)
                && le32(record, 10) == be32(record, 14),
        })
    }
}

/// The seven bytes of a time; none when they are no date.
pub(super) fn time(bytes: [u8; 7]) -> Option<Timestamp> {
    let [year, month, day, hour, minute, second, zone] = bytes;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let year = i64::from(year).saturating_add(1900);
    let local = Timestamp::from_civil((year, month, day), (hour, minute, second.min(59)));
    let offset = i64::from(i8::from_le_bytes([zone])).saturating_mul(900);
    Some(Timestamp::from_unix(local.as_unix().saturating_sub(offset)))
}
