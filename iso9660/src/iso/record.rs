//! Directory records (ECMA-119 9.1).

use crate::field::both32;

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
}

/// Length of a record without its system use, which is even.
pub(crate) const fn base_len(identifier_len: usize) -> usize {
    (HEAD_LEN + identifier_len).next_multiple_of(2)
}

impl Record<'_> {
    /// Appends the record with its system use.
    pub(crate) fn append(&self, system_use: &[u8], out: &mut Vec<u8>) {
        let base_len = base_len(self.identifier.len());
        let len = base_len + system_use.len().next_multiple_of(2);
        let end = out.len() + len;
        out.push(u8::try_from(len).unwrap_or(u8::MAX));
        // Extended attributes; block and length of the extent come later.
        out.extend([0; 17]);
        out.extend(self.time);
        // Interleaving; the volume's number in its set.
        out.extend([self.flags, 0, 0]);
        out.extend([1, 0, 0, 1]);
        out.push(u8::try_from(self.identifier.len()).unwrap_or(u8::MAX));
        out.extend(self.identifier);
        out.resize(end - (len - base_len), 0);
        out.extend(system_use);
        out.resize(end, 0);
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
