//! Reading FAT volumes.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub(crate) mod boot_sector;
pub(crate) mod directory;
mod survey;
pub(crate) mod table;
mod walk;

use std::io::{Read, Seek, Write};

use crate::error::Error;
use crate::input::{Extent, Input, Limits};
use crate::item::Item;
use crate::{FatKind, ItemReader, Listing};
use boot_sector::BootSector;
use table::Pages;

/// Reads a FAT volume: FAT12, FAT16 or FAT32, alone or within a larger image.
///
/// It takes what mkfs.vfat, mtools, Windows and firmware make: sectors of 512 to 4096 bytes, any
/// cluster length, long names, one table or several, of which another than the first may be in use.
/// It never follows anything out of the volume; circles of clusters and directories are errors, and
/// [`Limits`] bound what it keeps in memory.
///
/// ```
/// use std::io::Cursor;
/// use iso9660::{Fat, FatReader, Tree};
///
/// let mut image = Vec::new();
/// let tree = Tree::new().file("loader/loader.conf", "timeout 10\n");
/// Fat::new(tree).plan()?.write_to(&mut image)?;
///
/// let mut fat = FatReader::read(Cursor::new(image))?;
/// let items = fat.items()?;
/// assert_eq!(items[1].path, b"loader/loader.conf");
/// let mut content = Vec::new();
/// fat.copy_to(&items[1], &mut content)?;
/// assert_eq!(content, b"timeout 10\n");
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug)]
pub struct FatReader<R> {
    pub(crate) input: Input<R>,
    pub(crate) limits: Limits,
    pub(crate) boot: BootSector,
    pub(crate) pages: Pages,
}

impl<R: Read + Seek> FatReader<R> {
    /// Reads the boot sector of a volume that begins with the image.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when there is no FAT volume, [`Error::Truncated`], [`Error::Image`].
    pub fn read(reader: R) -> Result<Self, Error> {
        Self::read_at(reader, 0, u64::MAX)
    }

    /// Reads the boot sector of a volume within an image: that of a partition or a boot image. What
    /// lies behind `len` bytes is not read.
    ///
    /// # Errors
    ///
    /// As [`FatReader::read`].
    pub fn read_at(reader: R, offset: u64, len: u64) -> Result<Self, Error> {
        Self::with_limits(reader, offset, len, Limits::default())
    }

    /// As [`FatReader::read_at`], with other limits.
    ///
    /// # Errors
    ///
    /// As [`FatReader::read`].
    pub fn with_limits(reader: R, offset: u64, len: u64, limits: Limits) -> Result<Self, Error> {
        let mut input = Input::part(reader, offset, len)?;
        let boot = boot_sector::read(&mut input)?;
        Ok(Self {
            input,
            limits,
            boot,
            pages: Pages::new(),
        })
    }

    /// The type, by the layout of the boot sector. Firmware goes by the count of clusters.
    #[must_use]
    pub const fn kind(&self) -> FatKind {
        self.boot.kind
    }

    /// Offset of the volume in the image.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.input.absolute(0)
    }

    /// Length of the volume in bytes, as the boot sector has it.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.boot.len
    }

    /// Whether the volume has no data clusters.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.boot.clusters == 0
    }

    /// Length of a sector in bytes.
    #[must_use]
    pub const fn sector_len(&self) -> u64 {
        self.boot.sector_len
    }

    /// Length of a cluster in bytes.
    #[must_use]
    pub const fn cluster_len(&self) -> u64 {
        self.boot.cluster_len
    }

    /// Count of data clusters.
    #[must_use]
    pub const fn clusters(&self) -> u64 {
        self.boot.clusters
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> u32 {
        self.boot.serial
    }

    /// The label: that of the root directory, else that of the boot sector; empty for none.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] and [`Error::Malformed`] when the root directory cannot be read.
    pub fn label(&mut self) -> Result<String, Error> {
        let survey = self.survey_root()?;
        Ok(
            survey.unwrap_or_else(|| match directory::label(&self.boot.label) {
                label if label == "NO NAME" => String::new(),
                label => label.trim_matches('\0').to_owned(),
            }),
        )
    }

    /// Everything in the volume, breadth first, each directory in the order of its entries.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for circles of clusters, chains that are too short, directories that
    /// contain themselves and names that no path can have; [`Error::Truncated`] for directories
    /// behind the end; [`Error::Limit`].
    pub fn items(&mut self) -> Result<Vec<Item>, Error> {
        self.survey()?.listing.strict()
    }

    /// As [`FatReader::items`], but leaves out what cannot be read and tells why.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn list(&mut self) -> Result<Listing, Error> {
        Ok(self.survey()?.listing)
    }

    /// The file or directory with this path; letters may differ in case.
    ///
    /// # Errors
    ///
    /// As [`FatReader::list`].
    pub fn find(&mut self, path: impl AsRef<[u8]>) -> Result<Option<Item>, Error> {
        let wanted = crate::fat::fold(&crate::error::text(path.as_ref()));
        let is_it = |item: &Item| crate::fat::fold(&item.path_text()) == wanted;
        Ok(self.list()?.items.into_iter().find(is_it))
    }

    /// Writes the content of a file.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when it lies behind the end of the image, [`Error::Malformed`] when its
    /// clusters are fewer than its length needs, [`Error::Output`].
    pub fn copy_to(&mut self, item: &Item, out: &mut impl Write) -> Result<u64, Error> {
        self.input.copy_item(item, out)
    }

    /// A reader on the content of a file.
    pub fn open(&mut self, item: &Item) -> ItemReader<'_, R> {
        ItemReader::new(&mut self.input, item)
    }

    /// Where the content of a file lies, counted from the beginning of the image.
    #[must_use]
    pub fn extents(&self, item: &Item) -> Vec<Extent> {
        let extents = item.extents.iter();
        let moved = extents.map(|extent| Extent {
            offset: self.input.absolute(extent.offset),
            len: extent.len,
        });
        moved.collect()
    }

    /// Gives the reader back.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }
}
