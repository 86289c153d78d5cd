//! Directory records (ECMA-119 9.1).

use crate::field::{Fields, both32};

pub(crate) const HIDDEN: u8 = 0x01;
pub(crate) const DIRECTORY: u8 = 0x02;
pub(crate) const MULTI_EXTENT: u8 = 0x80;

/// The longest record: its length is one byte and even.
pub(crate) const MAX_LEN: usize = 254;
/// Bytes before the identifier.
const HEAD_LEN: usize = 33;
/// Offset of the extent's block.
const EXTENT: usize = 2;
/// Offset of the data length.
const DATA_LEN: usize = 10;

/// A record whose extent is not known yet.
pub(crate) struct Record<'a> {
    pub(crate) identifier: &'a [u8],
    pub(crate) flags: u8,
    pub(crate) time: [u8; 7],
    pub(crate) system_use: &'a [u8],
}

/// Length of a record without its system use, which is even.
pub(crate) const fn base_len(identifier_len: usize) -> usize {
    (HEAD_LEN + identifier_len).next_multiple_of(2)
}

impl Record<'_> {
    pub(crate) fn len(&self) -> usize {
        base_len(self.identifier.len()) + self.system_use.len().next_multiple_of(2)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Fields::new(self.len());
        out.le(0, 1, self.len() as u64);
        out.put(18, &self.time);
        out.put(25, &[self.flags]);
        out.both16(28, 1);
        out.le(32, 1, self.identifier.len() as u64);
        out.put(HEAD_LEN, self.identifier);
        out.put(base_len(self.identifier.len()), self.system_use);
        out.into_bytes()
    }
}

/// Sets block and length of the record that begins at `at`.
pub(crate) fn place(bytes: &mut [u8], at: usize, block: u32, len: u32) {
    let fields = [(EXTENT, both32(block)), (DATA_LEN, both32(len))];
    for (offset, value) in fields {
        for (to, from) in bytes.iter_mut().skip(at + offset).zip(value) {
            *to = from;
        }
    }
}
