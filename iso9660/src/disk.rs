//! Raw disk images with a GUID partition table.

use std::sync::Arc;

use crate::error::{Error, NameProblem};
use crate::fat::Fat;
use crate::gpt::{self, Tables};
use crate::plan::{Layout, Plan, Region};
use crate::{Guid, Source};

/// Partitions begin at multiples of this.
const ALIGNMENT: u64 = 1 << 20;
/// No file or disk is longer: offsets are signed.
const MAX_LEN: u64 = 1 << 62;
/// Entries of the table.
const MAX_PARTITIONS: usize = 128;

/// A raw disk image with a GUID partition table, to be written or served like any other plan.
///
/// The GUIDs of the disk and of its partitions follow from their labels, so that the same disk is
/// made each time. Partitions follow each other at multiples of 1 MiB. What no content fills is a
/// hole in the file that [`Plan::write_file`] makes.
///
/// ```
/// use iso9660::{Disk, Fat, FatKind, Guid, Partition, Tree};
///
/// let esp = Fat::new(Tree::new().file("EFI/BOOT/BOOTX64.EFI", b"MZ")).kind(FatKind::Fat32);
/// let plan = Disk::new("talos-image-disk")
///     .partition(Partition::esp("EFI", esp).len(100 << 20))
///     .partition(Partition::new(Guid::LINUX_DATA, "META").len(1 << 20))
///     .plan()?;
/// assert_eq!(plan.regions()[1].name, "META");
/// assert_eq!(plan.len(), 103 << 20);
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Disk {
    guid: Guid,
    sector_len: u64,
    len: Option<u64>,
    partitions: Vec<Partition>,
}

/// A partition of a [`Disk`].
#[derive(Debug, Clone)]
pub struct Partition {
    kind: Guid,
    name: String,
    guid: Option<Guid>,
    len: Option<u64>,
    attributes: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Nothing,
    Source(Source),
    Fat(Box<Fat>),
}

impl Partition {
    /// A partition of a type, with a name of at most 36 UTF-16 units.
    #[must_use]
    pub fn new(kind: Guid, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            guid: None,
            len: None,
            attributes: 0,
            content: Content::Nothing,
        }
    }

    /// An EFI system partition with a FAT volume, which gets the disk's sector length and fills the
    /// partition.
    #[must_use]
    pub fn esp(name: impl Into<String>, volume: impl Into<Fat>) -> Self {
        Self {
            content: Content::Fat(Box::new(volume.into())),
            ..Self::new(Guid::EFI_SYSTEM, name)
        }
    }

    /// Length in bytes; that of the content when not given.
    #[must_use]
    pub const fn len(mut self, bytes: u64) -> Self {
        self.len = Some(bytes);
        self
    }

    /// What the partition holds from its first byte; zeros follow it.
    #[must_use]
    pub fn content(mut self, content: impl Into<Source>) -> Self {
        self.content = Content::Source(content.into());
        self
    }

    /// Attribute bits (UEFI 2.10, 5.3.3): bit 2 marks a partition that PC BIOS boots.
    #[must_use]
    pub const fn attributes(mut self, bits: u64) -> Self {
        self.attributes = bits;
        self
    }

    /// The partition's own GUID, instead of that of its name.
    #[must_use]
    pub const fn guid(mut self, guid: Guid) -> Self {
        self.guid = Some(guid);
        self
    }

    /// Content and length of the partition on a disk with such sectors.
    fn measure(&self, sector_len: u64) -> Result<(Option<Source>, u64), Error> {
        let too_small = |needed| Error::TooLarge {
            what: "content of a partition",
            needed,
            limit: self.len.unwrap_or(0),
        };
        let source = match &self.content {
            Content::Nothing => None,
            Content::Source(source) => Some(source.clone()),
            Content::Fat(fat) => {
                let mut fat = fat.as_ref().clone().sector_len(sector_len);
                if let Some(len) = self.len {
                    fat = fat.total_len(len - len % sector_len);
                }
                Some(Source::from(fat.plan()?))
            }
        };
        let content_len = match &source {
            Some(source) => source.measure(self.name.as_bytes())?,
            None => 0,
        };
        let len = self.len.unwrap_or(content_len);
        if len < content_len {
            return Err(too_small(content_len));
        }
        if len == 0 {
            return Err(Error::Label {
                what: "partition without length",
                text: self.name.clone(),
                reason: NameProblem::Empty,
            });
        }
        Ok((source, len))
    }
}

impl Disk {
    /// A disk whose GUID follows from a label, which is not stored.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self {
            guid: Guid::from_label(label),
            sector_len: 512,
            len: None,
            partitions: Vec::new(),
        }
    }

    /// The disk's own GUID, instead of that of its label.
    #[must_use]
    pub const fn guid(mut self, guid: Guid) -> Self {
        self.guid = guid;
        self
    }

    /// Length of a sector in bytes: 512, the default, or 4096.
    #[must_use]
    pub const fn sector_len(mut self, bytes: u64) -> Self {
        self.sector_len = bytes;
        self
    }

    /// Length of the disk in bytes; as small as possible, in whole MiB, when not given.
    #[must_use]
    pub const fn len(mut self, bytes: u64) -> Self {
        self.len = Some(bytes);
        self
    }

    /// Adds a partition after those there are.
    #[must_use]
    pub fn partition(mut self, partition: Partition) -> Self {
        self.partitions.push(partition);
        self
    }

    /// Lays the disk out.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when the partitions or their contents do not fit, [`Error::TooMany`] for
    /// more than 128 of them, [`Error::Label`] for a name that is too long, and what
    /// [`Fat::plan`] says of an ESP.
    pub fn plan(&self) -> Result<Plan, Error> {
        let sector_len = self.sector_len;
        if sector_len != 512 && sector_len != 4096 {
            return Err(Error::Option {
                option: "sector_len",
                value: sector_len,
                reason: "512 and 4096 are possible",
            });
        }
        if self.partitions.len() > MAX_PARTITIONS {
            return Err(Error::TooMany {
                what: "partition table",
                path: String::new(),
                count: self.partitions.len() as u64,
                limit: MAX_PARTITIONS as u64,
            });
        }
        let mut layout = Layout::default();
        let mut entries = Vec::with_capacity(self.partitions.len());
        let mut next = ALIGNMENT;
        for partition in &self.partitions {
            gpt::check_name(&partition.name)?;
            let (source, len) = partition.measure(sector_len)?;
            let guid = partition
                .guid
                .unwrap_or_else(|| Guid::from_label(&partition.name));
            check_len(next.saturating_add(len))?;
            let end = (next + len).div_ceil(sector_len);
            entries.push(gpt::Entry {
                kind: partition.kind,
                guid,
                first: next / sector_len,
                last: end - 1,
                attributes: partition.attributes,
                name: partition.name.clone(),
            });
            if let Some(source) = source {
                let name: Arc<[u8]> = partition.name.as_bytes().into();
                let content_len = source.measure(&name)?;
                layout.content(next, content_len, &name, &source);
            }
            layout.regions.push(Region {
                name: partition.name.clone(),
                offset: next,
                len,
                guid: Some(guid),
            });
            next = (end * sector_len).next_multiple_of(ALIGNMENT);
        }
        let used = entries
            .last()
            .map_or(ALIGNMENT, |e| (e.last + 1) * sector_len);
        self.finish(layout, &entries, used)
    }

    fn finish(&self, mut layout: Layout, entries: &[gpt::Entry], used: u64) -> Result<Plan, Error> {
        let sector_len = self.sector_len;
        let needed = used.saturating_add((1 + Tables::array_sectors(sector_len)) * sector_len);
        let len = self
            .len
            .unwrap_or_else(|| needed.next_multiple_of(ALIGNMENT));
        check_len(len)?;
        if !len.is_multiple_of(sector_len) {
            return Err(Error::Option {
                option: "len",
                value: len,
                reason: "a multiple of the sector length is expected",
            });
        }
        if len < needed {
            return Err(Error::TooLarge {
                what: "disk",
                needed,
                limit: len,
            });
        }
        let tables = Tables {
            sector_len,
            sectors: len / sector_len,
            disk: self.guid,
            entries,
        };
        layout.bytes(0, tables.head());
        let tail = tables.tail();
        layout.bytes(len - tail.len() as u64, tail);
        Ok(layout.finish(len))
    }
}

/// Refuses what no disk can hold.
fn check_len(len: u64) -> Result<(), Error> {
    if len > MAX_LEN {
        return Err(Error::TooLarge {
            what: "disk",
            needed: len,
            limit: MAX_LEN,
        });
    }
    Ok(())
}
