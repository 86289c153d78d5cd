//! The FAT volume of an EFI system partition, planned from a tree.

mod boot_sector;
mod directory;
mod geometry;
mod name;
mod table;
mod volume;

pub(crate) use name::fold;
pub(crate) use table::Table;
pub(crate) use volume::Volume;

use crate::{Error, Plan, Timestamp, Tree};

/// The type of a FAT volume, which follows from its count of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the specification knows these three"
)]
pub enum FatKind {
    /// Up to 4,084 clusters.
    Fat12,
    /// Up to 65,524 clusters.
    Fat16,
    /// More.
    Fat32,
}

impl std::fmt::Display for FatKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        })
    }
}

/// A FAT volume to be made from a tree, in one pass and of exactly the size it needs.
///
/// Every file is one run of clusters. Type and cluster length follow from the content unless they
/// are asked for. UEFI firmware reads all three types on removable media (UEFI 2.10, 13.3.1.1).
///
/// ```
/// use iso9660::{Entry, Fat, Tree};
///
/// let tree = Tree::new()
///     .file("EFI/BOOT/BOOTX64.EFI", b"MZ")
///     .entry("loader/random-seed", Entry::file(vec![0; 32]).read_only());
/// let esp = Fat::new(tree).label("EFI").plan()?;
/// assert_eq!(esp.len() % 512, 0);
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Fat {
    pub(crate) tree: Tree,
    label: String,
    kind: Option<FatKind>,
    cluster_len: Option<u64>,
    sector_len: u64,
    total_len: Option<u64>,
    free_space: u64,
    hidden_sectors: u32,
    serial: Option<u32>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) keep_times: bool,
}

impl From<Tree> for Fat {
    fn from(tree: Tree) -> Self {
        Self::new(tree)
    }
}

impl Fat {
    /// A volume labelled `EFI` with the files of a tree.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self {
            tree,
            label: "EFI".to_owned(),
            kind: None,
            cluster_len: None,
            sector_len: 512,
            total_len: None,
            free_space: 0,
            hidden_sectors: 0,
            serial: None,
            time: None,
            keep_times: false,
        }
    }

    /// The volume label: 11 characters at most, capitals and digits; empty for none.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Asks for a type. A type that needs more clusters than the content has gets free ones.
    #[must_use]
    pub const fn kind(mut self, kind: FatKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Length of a cluster in bytes: a power of two, up to 64 KiB.
    #[must_use]
    pub const fn cluster_len(mut self, bytes: u64) -> Self {
        self.cluster_len = Some(bytes);
        self
    }

    /// Length of a sector in bytes: 512, the default, or 4096 for disks with such sectors.
    #[must_use]
    pub const fn sector_len(mut self, bytes: u64) -> Self {
        self.sector_len = bytes;
        self
    }

    /// Length of the whole volume in bytes, instead of the length that the content needs. The
    /// volume is FAT32 then, as fixed disks want it, unless it is too small for that.
    #[must_use]
    pub const fn total_len(mut self, bytes: u64) -> Self {
        self.total_len = Some(bytes);
        self
    }

    /// Bytes that stay free for files made later.
    #[must_use]
    pub const fn free_space(mut self, bytes: u64) -> Self {
        self.free_space = bytes;
        self
    }

    /// The serial number; made from label and time when not given.
    #[must_use]
    pub const fn serial(mut self, serial: u32) -> Self {
        self.serial = Some(serial);
        self
    }

    /// Sectors before the volume on its disk, which some boot code wants to know; 0 by default.
    #[must_use]
    pub const fn hidden_sectors(mut self, sectors: u32) -> Self {
        self.hidden_sectors = sectors;
        self
    }

    /// The time of every entry.
    #[must_use]
    pub const fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// Keeps the times of the tree where they are earlier than [`Fat::time`]; off by default, so
    /// that the same files give the same bytes.
    #[must_use]
    pub const fn keep_times(mut self, keep: bool) -> Self {
        self.keep_times = keep;
        self
    }

    /// Lays the volume out.
    ///
    /// # Errors
    ///
    /// An error that names the item for names that FAT cannot hold or tell apart, symbolic links,
    /// files over 4 GiB and directories over 65,536 entries; [`Error::TooLarge`] when the content
    /// does not fit; [`Error::Label`], [`Error::Option`].
    pub fn plan(&self) -> Result<Plan, Error> {
        Ok(Volume::lay_out(self, false)?.plan)
    }
}
