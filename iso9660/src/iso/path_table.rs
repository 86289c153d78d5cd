//! Path tables (ECMA-119 9.4).

/// A directory in the order of the table.
pub(crate) struct Entry<'a> {
    /// As it is recorded; one zero byte for the root.
    pub(crate) identifier: &'a [u8],
    pub(crate) block: u32,
    /// Number of the parent, the root being 1.
    pub(crate) parent: u16,
}

/// Bytes of the record of a directory.
pub(crate) const fn record_len(identifier_len: usize) -> u64 {
    8 + identifier_len.next_multiple_of(2) as u64
}

/// The table with big-endian (type M) or little-endian (type L) numbers.
pub(crate) fn to_bytes(entries: &[Entry<'_>], is_big_endian: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        out.push(u8::try_from(entry.identifier.len()).unwrap_or(u8::MAX));
        out.push(0);
        if is_big_endian {
            out.extend(entry.block.to_be_bytes());
            out.extend(entry.parent.to_be_bytes());
        } else {
            out.extend(entry.block.to_le_bytes());
            out.extend(entry.parent.to_le_bytes());
        }
        out.extend(entry.identifier);
        if !entry.identifier.len().is_multiple_of(2) {
            out.push(0);
        }
    }
    out
}
