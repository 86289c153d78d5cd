//! One item of a tree with its attributes.

use crate::{Source, Timestamp};

/// A file, directory or link with its attributes, for [`Tree::entry`](crate::Tree::entry).
///
/// POSIX attributes reach an ISO 9660 image only with
/// [`Image::keep_attributes`](crate::Image::keep_attributes); the FAT attributes always reach an ESP.
///
/// ```
/// use iso9660::{Entry, Tree};
///
/// let seed = Entry::file(vec![0; 32]).read_only();
/// let tree = Tree::new().entry("loader/random-seed", seed);
/// ```
#[derive(Debug, Clone)]
pub struct Entry {
    pub(crate) attributes: Attributes,
    /// None for a directory.
    pub(crate) content: Option<Content>,
}

/// What stands behind a name that is not a directory's.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    File {
        source: Source,
        /// The content lies in the ESP of the image that is being planned.
        in_esp: bool,
    },
    Symlink(Box<[u8]>),
    HardLink(Box<[u8]>),
}

/// Attributes; what is not given is decided by the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Permission bits.
    pub(crate) mode: Option<u32>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) read_only: bool,
    pub(crate) hidden: bool,
    pub(crate) system: bool,
}

impl Entry {
    fn new(content: Option<Content>) -> Self {
        Self {
            attributes: Attributes::default(),
            content,
        }
    }

    /// A regular file.
    #[must_use]
    pub fn file(content: impl Into<Source>) -> Self {
        Self::new(Some(Content::File {
            source: content.into(),
            in_esp: false,
        }))
    }

    /// A directory.
    #[must_use]
    pub fn directory() -> Self {
        Self::new(None)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(target: impl Into<Vec<u8>>) -> Self {
        let target: Vec<u8> = target.into();
        Self::new(Some(Content::Symlink(target.into())))
    }

    /// A second name for another file of the tree.
    #[must_use]
    pub fn hard_link(existing: impl Into<Vec<u8>>) -> Self {
        let existing: Vec<u8> = existing.into();
        Self::new(Some(Content::HardLink(existing.into())))
    }

    /// POSIX permission bits, `0o7777` at most.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.attributes.mode = Some(mode & 0o7777);
        self
    }

    /// POSIX owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.attributes.uid = uid;
        self.attributes.gid = gid;
        self
    }

    /// Time of the last change; the image's time is used when it is earlier than this.
    #[must_use]
    pub fn modified(mut self, time: Timestamp) -> Self {
        self.attributes.modified = Some(time);
        self
    }

    /// Sets the FAT attribute "read only", which systemd-boot 261 wants on `loader/random-seed`.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.attributes.read_only = true;
        self
    }

    /// Sets the FAT attribute "hidden", and the hidden flag of ISO 9660.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.attributes.hidden = true;
        self
    }

    /// Sets the FAT attribute "system".
    #[must_use]
    pub fn system(mut self) -> Self {
        self.attributes.system = true;
        self
    }
}
