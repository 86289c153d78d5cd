//! What the trees of an image hold.

use crate::{Extent, Timestamp};

/// A file, directory or link in an image that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// The names from the root on with `/` between them, as they are recorded: plain ISO 9660 names
    /// have their version, Joliet and FAT names are UTF-8.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: ItemKind,
    /// Length of a file's content, or of a directory itself.
    pub len: u64,
    /// Where the content lies; offsets count from the beginning of the volume that was read.
    pub extents: Vec<Extent>,
    /// File flags of ISO 9660 (ECMA-119 9.1.6), or the attributes of FAT.
    pub flags: u8,
    /// Time of the last change.
    pub modified: Option<Timestamp>,
    /// Time of the last access, if Rock Ridge tells it.
    pub accessed: Option<Timestamp>,
    /// POSIX attributes of Rock Ridge.
    pub posix: Option<PosixAttributes>,
    /// The short name that a FAT volume has beside the long one.
    pub short_name: Option<String>,
    /// The length that the file has once it is unpacked, if its content is compressed (ZF of
    /// zisofs) or leaves out holes (SF of Rock Ridge). Only the former is unpacked, by
    /// [`IsoReader::copy_to`](crate::IsoReader::copy_to) and
    /// [`IsoReader::extract`](crate::IsoReader::extract).
    pub unpacked_len: Option<u64>,
    /// It is compressed in the way that is unpacked here.
    pub(crate) is_packed: bool,
}

/// The kinds of items.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A device, pipe or socket.
    Special,
}

/// Attributes of the PX entry of Rock Ridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PosixAttributes {
    /// Type and permission bits.
    pub mode: u32,
    /// Count of links.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Serial number, if it is recorded.
    pub serial: Option<u32>,
}

impl Item {
    pub(crate) fn new(path: Vec<u8>, kind: ItemKind, len: u64, extents: Vec<Extent>) -> Self {
        Self {
            path,
            kind,
            len,
            extents,
            flags: 0,
            modified: None,
            accessed: None,
            posix: None,
            short_name: None,
            unpacked_len: None,
            is_packed: false,
        }
    }

    /// Whether it is an associated file of ISO 9660, such as a resource fork: it has the name of
    /// the file that it belongs to.
    #[must_use]
    pub fn is_associated(&self) -> bool {
        self.short_name.is_none() && self.flags & 0x06 == 0x04
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind == ItemKind::Directory
    }

    /// The path as text; bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn path_text(&self) -> String {
        crate::error::text(&self.path)
    }
}

/// Whether a name from an image can be part of a path.
pub(crate) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a name is empty");
    }
    if name == b"." || name == b".." {
        return Err("a name is that of the directory itself or its parent");
    }
    if name.iter().any(|&b| b == b'/' || b == 0) {
        return Err("a name has a slash or zero byte");
    }
    Ok(())
}
