//! What an image is, what is in it, what is wrong with it and how it boots.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod boot;
mod boot_file;
mod fat;
mod findings;
mod iso;
mod json;
mod other;
mod path_table;
mod tree;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

pub use boot::{BootPath, Medium};
use findings::Findings;

use crate::error::Error;
use crate::item::Item;
use crate::{
    BootCatalog, FatKind, FatReader, Finding, IsoReader, Limits, Namespace, PartitionTable,
    Severity, Volume,
};

/// Everything there is to say about an image, whatever it is: ISO 9660, hybrid or not, a disk with
/// partitions, or a FAT volume.
///
/// Nothing is changed and no file content is read but the beginnings of boot files. What is wrong
/// becomes a [`Finding`]; each way to boot that the image could offer has a [`BootPath`].
///
/// ```
/// use std::io::Cursor;
/// use iso9660::{Image, Medium, Report, Tree};
///
/// let mut loader = vec![0; 512];
/// loader[..2].copy_from_slice(b"MZ");
/// loader[60] = 64;
/// loader[64..70].copy_from_slice(b"PE\0\0\x64\x86");
/// let esp = Tree::new().file("EFI/BOOT/BOOTX64.EFI", loader);
/// let mut image = Vec::new();
/// Image::bootable(esp)?.plan()?.write_to(&mut image)?;
///
/// let report = Report::read(Cursor::new(image))?;
/// assert!(!report.is_damaged());
/// assert!(report.boots(Medium::CdUefi) && report.boots(Medium::UsbGpt));
/// assert!(!report.boots(Medium::CdBios));
/// assert_eq!(report.path(Medium::CdBios).reasons[0].check.code(), "no-bios-entry");
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// What the image is in the first place.
    pub format: Format,
    /// Length of the image.
    pub len: u64,
    /// The volumes of ISO 9660.
    pub volumes: Vec<Volume>,
    /// The trees that an ISO image has.
    pub namespaces: Vec<Namespace>,
    /// The tree that `items` are of.
    pub namespace: Option<Namespace>,
    /// What is in the best tree of an ISO image, in the volume of a FAT image, or in that of a disk
    /// with a single one; extents count from the beginning of the volume.
    pub items: Vec<Item>,
    /// The boot catalog.
    pub catalog: Option<BootCatalog>,
    /// The partition tables.
    pub partitions: PartitionTable,
    /// The FAT volumes: the image itself, those of partitions and of boot images.
    pub fat_volumes: Vec<FatVolume>,
    /// The ways to boot.
    pub boot_paths: Vec<BootPath>,
    /// What is wrong or worth knowing.
    pub findings: Vec<Finding>,
}

/// What an image is in the first place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// ISO 9660, with partition tables or without.
    Iso9660,
    /// A FAT volume without partitions.
    Fat,
    /// A disk with partitions.
    Disk,
}

impl Format {
    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iso9660 => "iso9660",
            Self::Fat => "fat",
            Self::Disk => "disk",
        }
    }
}

/// A FAT volume in an image.
#[derive(Debug)]
#[non_exhaustive]
pub struct FatVolume {
    /// Offset in the image.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Type, by the layout.
    pub kind: FatKind,
    /// Length of a sector.
    pub sector_len: u64,
    /// Length of a cluster.
    pub cluster_len: u64,
    /// Label; empty for none.
    pub label: String,
    /// Serial number.
    pub serial: u32,
    /// What leads to it.
    pub places: Vec<Place>,
    /// What is in it; extents count from its beginning.
    pub items: Vec<Item>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    pub(crate) boot_files: Vec<boot_file::BootFile>,
    pub(crate) kind_by_clusters: FatKind,
    /// Where the last cluster in use ends.
    pub(crate) used_len: u64,
}

/// What leads to a FAT volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// It is the image itself.
    Whole,
    /// A partition of the GPT, by its place in the table, from 1.
    Gpt(u32),
    /// An entry of the MBR, from 1.
    Mbr(u32),
    /// An image of the boot catalog, from 0 as in [`BootCatalog::images`].
    BootImage(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("image"),
            Self::Gpt(n) => write!(f, "gpt-{n}"),
            Self::Mbr(n) => write!(f, "mbr-{n}"),
            Self::BootImage(n) => write!(f, "boot-image-{n}"),
        }
    }
}

impl Report {
    /// Reads an image.
    ///
    /// # Errors
    ///
    /// [`Error::NotRead`] when all it holds is known and not read here, [`Error::NotFound`] when it
    /// holds nothing that is known, [`Error::Image`].
    pub fn read(mut reader: impl Read + Seek) -> Result<Self, Error> {
        let len = reader
            .seek(SeekFrom::End(0))
            .map_err(|source| Error::Image { offset: 0, source })?;
        let partitions = PartitionTable::read(&mut reader)?;
        let mut out = Self {
            format: Format::Disk,
            len,
            volumes: Vec::new(),
            namespaces: Vec::new(),
            namespace: None,
            items: Vec::new(),
            catalog: None,
            partitions,
            fat_volumes: Vec::new(),
            boot_paths: Vec::new(),
            findings: Vec::new(),
        };
        let mut findings = Findings::default();
        findings.extend(&out.partitions.findings);
        let (mut joliet, mut has_udf) = (false, false);
        match IsoReader::read(&mut reader) {
            Ok(mut iso) => {
                out.format = Format::Iso9660;
                let seen = iso::inspect(&mut iso, &mut out, &mut findings)?;
                (joliet, has_udf) = (seen.has_joliet, seen.has_udf);
            }
            Err(error @ Error::Image { .. }) => return Err(error),
            Err(_) => {}
        }
        let other = other::find(&mut reader, len)?;
        other.tell(out.format, &mut findings);
        fat::find(&mut reader, &mut out)?;
        let is_whole = |volume: &FatVolume| volume.places.contains(&Place::Whole);
        let has_table = out.partitions.gpt.is_some() || !out.partitions.mbr.is_empty();
        if out.format == Format::Disk {
            match out.fat_volumes.iter().find(|volume| is_whole(volume)) {
                Some(volume) => {
                    out.format = Format::Fat;
                    out.items.clone_from(&volume.items);
                }
                None if has_table => {
                    if let [volume] = out.fat_volumes.as_slice() {
                        out.items.clone_from(&volume.items);
                    }
                }
                None => {
                    return Err(other.error().unwrap_or(Error::NotFound {
                        what: "ISO 9660 volume, FAT volume or partition table",
                    }));
                }
            }
        }
        for volume in &out.fat_volumes {
            findings.extend(&volume.findings);
        }
        boot::check_catalog(&mut reader, &out, &mut findings)?;
        let windows = tree::windows(&mut reader, &out, joliet || has_udf)?;
        out.boot_paths = boot::paths(&mut reader, &out, windows)?;
        out.findings = findings.finish();
        Ok(out)
    }

    /// Whether something of the image cannot be read or trusted: there is a finding that is an
    /// error.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let is_error = |finding: &Finding| finding.severity() == Severity::Error;
        self.findings.iter().any(is_error)
    }

    /// Length of the primary volume, to whose end firmware counts.
    pub(crate) fn volume_len(&self) -> u64 {
        let volume = self.volumes.first();
        volume.map_or(0, |v| v.blocks.saturating_mul(v.block_len))
    }

    /// What there is to say about a way to boot.
    #[must_use]
    pub fn path(&self, medium: Medium) -> &BootPath {
        let found = self.boot_paths.iter().find(|path| path.medium == medium);
        found.unwrap_or(&boot::UNKNOWN)
    }

    /// Whether a way to boot works.
    #[must_use]
    pub fn boots(&self, medium: Medium) -> bool {
        self.path(medium).works
    }

    /// Makes what the image holds below a directory, as [`IsoReader::extract`] does: the best tree
    /// of an ISO image, else the FAT volume; of a disk with several FAT volumes each in a directory
    /// named after its place, such as `gpt-1`.
    ///
    /// # Errors
    ///
    /// As [`IsoReader::extract`].
    pub fn extract(
        &self,
        mut reader: impl Read + Seek,
        dir: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let dir = dir.as_ref();
        let has_files = self.items.iter().any(|item| !item.is_directory());
        match (self.namespace, self.fat_volumes.as_slice()) {
            (Some(namespace), volumes) if has_files || volumes.is_empty() => {
                IsoReader::read(reader)?.extract(namespace, dir)
            }
            (_, [volume]) => volume.reader(reader)?.extract(dir),
            (_, volumes) => {
                for volume in volumes {
                    let place = volume.places.first().unwrap_or(&Place::Whole);
                    let dir = dir.join(place.to_string());
                    volume.reader(&mut reader)?.extract(dir)?;
                }
                Ok(())
            }
        }
    }
}

impl FatVolume {
    /// A reader on the volume.
    ///
    /// # Errors
    ///
    /// As [`FatReader::read_at`].
    pub fn reader<R: Read + Seek>(&self, reader: R) -> Result<FatReader<R>, Error> {
        FatReader::with_limits(reader, self.offset, u64::MAX, Limits::default())
    }

    /// What leads to it, in words.
    pub(crate) fn name(&self) -> String {
        let places: Vec<String> = self.places.iter().map(Place::to_string).collect();
        format!("FAT volume of {}", places.join(", "))
    }

    /// The file with a path, whatever the case of its letters.
    pub(crate) fn file(&self, path: &str) -> Option<&Item> {
        tree::find(&self.items, path)
    }
}
