//! The structures of ISO 9660 (ECMA-119) and what was added to it.

pub(crate) mod descriptor;
pub(crate) mod directory;
pub(crate) mod el_torito;
pub(crate) mod joliet;
pub(crate) mod name;
pub(crate) mod path_table;
pub(crate) mod record;
pub(crate) mod rock_ridge;
pub(crate) mod symlink;

/// Length of a logical block.
pub(crate) const BLOCK: u64 = 2048;
/// The same as an index.
pub(crate) const BLOCK_LEN: usize = 2048;
/// The first block after the system area.
pub(crate) const FIRST_DESCRIPTOR: u64 = 16;
