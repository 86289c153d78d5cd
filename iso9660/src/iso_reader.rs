//! Reading ISO 9660 images.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod boot;
mod descriptor;
pub(crate) mod record;
mod session;
mod susp;
mod walk;
mod zisofs;

use std::io::{Read, Seek, Write};

pub use boot::{BootCatalog, BootImage};
use descriptor::Descriptors;
pub use descriptor::{Volume, VolumeKind};
use record::RawRecord;
pub(crate) use walk::{Notes, joliet_name, plain_name};

use crate::error::Error;
use crate::input::{Input, Limits};
use crate::item::Item;
use crate::{ItemReader, Listing};

/// Reads an ISO 9660 image: its volumes, its trees, its boot catalog.
///
/// The reader takes what common writers produce and does not insist on the standard; what is wrong
/// with an image is the business of [`Report`](crate::Report). It never follows anything out of the
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
    pub(crate) descriptors: Descriptors,
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
    /// The tree of ISO 9660:1999, with names of up to 207 bytes.
    Enhanced,
}

impl Namespace {
    /// One word or two.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iso => "iso",
            Self::RockRidge => "rock-ridge",
            Self::Joliet => "joliet",
            Self::Enhanced => "enhanced",
        }
    }
}

impl<R> IsoReader<R> {
    pub(crate) fn volume(&self, kind: VolumeKind) -> Option<&Volume> {
        let mut volumes = self.descriptors.volumes.iter();
        volumes.find(|volume| volume.kind == kind)
    }
}

impl<R: Read + Seek> IsoReader<R> {
    /// Reads the volume descriptors; in an image of several sessions, those of the last one.
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
        let first = descriptor::read_all(&mut input, 0)?;
        let descriptors = session::last(&mut input, first)?;
        Ok(Self::of_session(input, limits, descriptors))
    }

    /// Reads the volume descriptors of the session that begins at a block of 2,048 bytes, 0 for the
    /// first one.
    ///
    /// # Errors
    ///
    /// As [`IsoReader::read`].
    pub fn read_session(reader: R, block: u64) -> Result<Self, Error> {
        let mut input = Input::new(reader)?;
        let descriptors = descriptor::read_all(&mut input, block)?;
        Ok(Self::of_session(input, Limits::default(), descriptors))
    }

    fn of_session(input: Input<R>, limits: Limits, descriptors: Descriptors) -> Self {
        let mut out = Self {
            input,
            limits,
            descriptors,
            susp_skip: None,
        };
        out.susp_skip = out.find_rock_ridge();
        out
    }

    /// First block of the session that is read, each 2,048 bytes.
    #[must_use]
    pub const fn session(&self) -> u64 {
        self.descriptors.session
    }

    /// The volumes that the descriptors describe, the primary one first.
    #[must_use]
    pub fn volumes(&self) -> &[Volume] {
        &self.descriptors.volumes
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
        if self.volume(VolumeKind::Enhanced).is_some() {
            out.push(Namespace::Enhanced);
        }
        out
    }

    /// The tree with the best names: Rock Ridge, else Joliet, else ISO 9660:1999, else plain.
    #[must_use]
    pub fn best_namespace(&self) -> Namespace {
        if self.susp_skip.is_some() {
            Namespace::RockRidge
        } else if self.volume(VolumeKind::Joliet).is_some() {
            Namespace::Joliet
        } else if self.volume(VolumeKind::Enhanced).is_some() {
            Namespace::Enhanced
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
        self.list(namespace)?.strict()
    }

    /// As [`IsoReader::items`], but leaves out what cannot be read and tells why.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when the image has no such tree, [`Error::Image`].
    pub fn list(&mut self, namespace: Namespace) -> Result<Listing, Error> {
        Ok(self.survey(namespace)?.0)
    }

    pub(crate) fn survey(&mut self, namespace: Namespace) -> Result<(Listing, Notes), Error> {
        let (kind, what) = match namespace {
            Namespace::Joliet => (VolumeKind::Joliet, "Joliet tree"),
            Namespace::Enhanced => (VolumeKind::Enhanced, "ISO 9660:1999 tree"),
            Namespace::Iso | Namespace::RockRidge => (VolumeKind::Primary, "primary tree"),
        };
        let volume = self.volume(kind).ok_or(Error::NotFound { what })?;
        let (root, block_len) = (volume.root, volume.block_len);
        let skip = match (namespace, self.susp_skip) {
            (Namespace::RockRidge, None) => {
                return Err(Error::NotFound {
                    what: "Rock Ridge tree",
                });
            }
            (Namespace::RockRidge, skip) => skip,
            _ => None,
        };
        walk::Walk::new(&mut self.input, &self.limits, namespace, skip, block_len).run(root)
    }

    /// Writes the content of a file; one that is packed (zisofs) is unpacked.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when it lies behind the end of the image, [`Error::Malformed`] when it
    /// cannot be unpacked, [`Error::Output`].
    pub fn copy_to(&mut self, item: &Item, out: &mut impl Write) -> Result<u64, Error> {
        if item.is_packed {
            return zisofs::unpack(&mut self.input, item, out);
        }
        self.input.copy_item(item, out)
    }

    /// A reader on the content of a file, as it is stored.
    pub fn open(&mut self, item: &Item) -> ItemReader<'_, R> {
        ItemReader::new(&mut self.input, item)
    }

    /// The El Torito boot catalog; none when the image has none.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when it lies behind the end of the image, [`Error::Malformed`] when it
    /// is none.
    pub fn boot_catalog(&mut self) -> Result<Option<BootCatalog>, Error> {
        match self.descriptors.catalog {
            Some(block) => boot::read(&mut self.input, block).map(Some),
            None => Ok(None),
        }
    }

    /// Gives the reader back.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }

    /// Looks for the SP entry in the root's first record.
    fn find_rock_ridge(&mut self) -> Option<usize> {
        let root = self.volume(VolumeKind::Primary)?.root;
        let block = self.input.read("root directory", root.offset, 2048).ok()?;
        let record = RawRecord::parse(&block)?;
        susp::marker(record.system_use)
    }
}
