//! What values become when they are appended, and how many bytes they take in the store.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::{KEK, SignatureDatabase, VariableName};

/// Bytes of `AUTHENTICATED_VARIABLE_HEADER`.
const RECORD_HEADER_LEN: u64 = 60;

/// Signature databases lose the entries that are there already; everything else is appended as it is, PK too.
pub(super) fn merge(name: &VariableName, old: &[u8], new: &[u8]) -> Vec<u8> {
    if (name.is_image_database() || *name == KEK)
        && let (Ok(mut lists), Ok(new)) = (
            SignatureDatabase::parse_lenient(old),
            SignatureDatabase::parse_lenient(new),
        )
    {
        lists.append_as_firmware(&new);
        return lists.to_bytes();
    }
    [old, new].concat()
}

/// Header, name with its terminator, and value.
pub(super) fn record_len(name: &VariableName, value_len: u64) -> u64 {
    let name_len = (name.to_utf16().len() as u64).saturating_add(2);
    RECORD_HEADER_LEN
        .saturating_add(name_len)
        .saturating_add(value_len)
}

pub(super) const fn aligned(len: u64) -> u64 {
    len.saturating_add(3) & !3
}
