//! Reading ISO 9660 images.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod boot;
mod descriptor;
mod record;
mod susp;
mod walk;

use std::io::{Read, Seek, Write};

pub use boot::{BootCatalog, BootImage};
pub use descriptor::{Volume, VolumeKind};
use record::RawRecord;
pub(crate) use walk::plain_name;

use crate::error::Error;
use crate::input::{Input, Limits};
use crate::item::Item;

/// Reads an ISO 9660 image: its volumes, its trees, its boot catalog.
///
/// The reader takes what common writers produce and does not insist on the standard; what is wrong
/// with an image is the business of a later check. It never follows anything out of the
/// image, and [`Limits`] bound what it keeps in memory.
///
/// ```
/// use std::io::Cursor;
/// use iso9660::{Image, IsoReader, Namespace, Tree};
///
/// let mut image = Vec::new();
/// Image::new(Tree::new().file("hello.txt", "hello\n")).plan()?.write_to(&mut image)?;
///
/// let mut iso = IsoReader::read(Cursor::new(image))?;
/// let items = iso.items(Namespace::RockRidge)?;
/// assert_eq!(items[0].path, b"hello.txt");
/// let mut content = Vec::new();
/// iso.copy_to(&items[0], &mut content)?;
/// assert_eq!(content, b"hello\n");
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug)]
pub struct IsoReader<R> {
    pub(crate) input: Input<R>,
    limits: Limits,
    volumes: Vec<Volume>,
    catalog: Option<u32>,
    /// Bytes to skip in each system use area; none without Rock Ridge.
    susp_skip: Option<usize>,
}

/// A tree of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Namespace {
    /// Plain ISO 9660 names, with versions.
    Iso,
    /// The same tree with the names and attributes of Rock Ridge.
    RockRidge,
    /// The Joliet tree.
    Joliet,
}

impl<R: Read + Seek> IsoReader<R> {
    /// Reads the volume descriptors.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is no primary volume descriptor, [`Error::Truncated`],
    /// [`Error::Image`].
    pub fn read(reader: R) -> Result<Self, Error> {
        Self::with_limits(reader, Limits::default())
    }

    /// As [`IsoReader::read`], with other limits.
    ///
    /// # Errors
    ///
    /// As [`IsoReader::read`].
    pub fn with_limits(reader: R, limits: Limits) -> Result<Self, Error> {
        let mut input = Input::new(reader)?;
        let (volumes, catalog) = descriptor::read_all(&mut input)?;
        let mut out = Self {
            input,
            limits,
            volumes,
            catalog,
            susp_skip: None,
        };
        out.susp_skip = out.find_rock_ridge();
        Ok(out)
    }

    /// The volumes that the descriptors describe, the primary one first.
    #[must_use]
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// The trees there are.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Namespace> {
        let mut out = vec![Namespace::Iso];
        if self.susp_skip.is_some() {
            out.push(Namespace::RockRidge);
        }
        if self.volume(VolumeKind::Joliet).is_some() {
            out.push(Namespace::Joliet);
        }
        out
    }

    /// The tree with the best names: Rock Ridge, else Joliet, else plain.
    #[must_use]
    pub fn best_namespace(&self) -> Namespace {
        if self.susp_skip.is_some() {
            Namespace::RockRidge
        } else if self.volume(VolumeKind::Joliet).is_some() {
            Namespace::Joliet
        } else {
            Namespace::Iso
        }
    }

    /// Everything in a tree, breadth first, each directory in the order of its records. A file in
    /// several parts is one item.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the image has no such tree; [`Error::Malformed`] for directories
    /// that contain themselves and records that cannot be followed; [`Error::Truncated`] for what
    /// lies behind the end; [`Error::Limit`].
    pub fn items(&mut self, namespace: Namespace) -> Result<Vec<Item>, Error> {
        let kind = match namespace {
            Namespace::Joliet => VolumeKind::Joliet,
            _ => VolumeKind::Primary,
        };
        let root = match self.volume(kind) {
            Some(volume) => volume.root,
            None => {
                return Err(Error::NotFound {
                    what: "Joliet tree",
                });
            }
        };
        let skip = match (namespace, self.susp_skip) {
            (Namespace::RockRidge, None) => {
                return Err(Error::NotFound {
                    what: "Rock Ridge tree",
                });
            }
            (Namespace::RockRidge, skip) => skip,
            _ => None,
        };
        walk::Walk::new(&mut self.input, &self.limits, namespace, skip).run(root)
    }

    /// Writes the content of a file.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when it lies behind the end of the image, [`Error::Output`].
    pub fn copy_to(&mut self, item: &Item, out: &mut impl Write) -> Result<u64, Error> {
        self.input.copy("file content", &item.extents, out)
    }

    /// The El Torito boot catalog; none when the image has none.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when it lies behind the end of the image, [`Error::Malformed`] when it
    /// is none.
    pub fn boot_catalog(&mut self) -> Result<Option<BootCatalog>, Error> {
        match self.catalog {
            Some(block) => boot::read(&mut self.input, block).map(Some),
            None => Ok(None),
        }
    }

    /// Gives the reader back.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }

    pub(crate) fn volume(&self, kind: VolumeKind) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.kind == kind)
    }

    /// Looks for the SP entry in the root's first record.
    fn find_rock_ridge(&mut self) -> Option<usize> {
        let root = self.volume(VolumeKind::Primary)?.root;
        let block = self.input.read("root directory", root.offset, 2048).ok()?;
        let record = RawRecord::parse(&block)?;
        susp::marker(record.system_use)
    }
}
