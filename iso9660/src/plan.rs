//! A finished layout: where every byte of an image comes from.

mod draft;
mod file;
mod kernel;
mod pieces;
mod reader;
mod write;

use std::sync::Arc;

pub use reader::PlanReader;

use crate::error::Error;
use crate::fat::Table;
use crate::source::Kind;
use crate::{Guid, Source};

/// The layout of an image: every offset is fixed, no content has been read.
///
/// A plan can be written in one forward pass ([`Plan::write_to`]), written to a file with the help
/// of the file system ([`Plan::write_file`]), or served in pieces without being written at all
/// ([`Plan::read_at`]).
///
/// ```
/// use iso9660::{Image, Tree};
///
/// let plan = Image::new(Tree::new().file("hello.txt", "hello\n")).plan()?;
/// let mut image = Vec::new();
/// plan.write_to(&mut image)?;
/// assert_eq!(image.len() as u64, plan.len());
///
/// let mut piece = [0; 5];
/// plan.read_at(32_769, &mut piece)?;
/// assert_eq!(&piece, b"CD001");
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Plan {
    /// By offset, disjoint; bytes between them are zero.
    segments: Vec<Segment>,
    len: u64,
    regions: Vec<Region>,
}

/// A named part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// What it is: `esp` for the EFI system partition of an ISO, else the partition's name.
    pub name: String,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// GUID of the partition, when it is one.
    pub guid: Option<Guid>,
}

#[derive(Debug, Clone)]
pub(crate) struct Segment {
    offset: u64,
    len: u64,
    data: Data,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Bytes(Arc<[u8]>),
    Content { path: Arc<[u8]>, source: Source },
    Table(Arc<Table>),
}

impl Plan {
    /// Length of the image in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the image has no bytes, which no image has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The partitions of the image, by offset.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Reads a piece of the image; the answer is short only at the image's end.
    ///
    /// Content is opened anew for every call; a [`Source::reader`](crate::Source::reader) is read
    /// from its beginning each time. [`Plan::reader`] keeps it open.
    ///
    /// # Errors
    ///
    /// [`Error::Source`] and [`Error::SourceChanged`] name the item whose content is not there.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        PlanReader::new(self, offset).fill(buf)
    }

    /// A reader over the whole image.
    #[must_use]
    pub const fn reader(&self) -> PlanReader<'_> {
        PlanReader::new(self, 0)
    }
}

/// Collects the segments of a plan in any order.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    segments: Vec<Segment>,
    pub(crate) regions: Vec<Region>,
}

impl Layout {
    pub(crate) fn bytes(&mut self, offset: u64, bytes: impl Into<Arc<[u8]>>) {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        self.push(offset, len, Data::Bytes(bytes));
    }

    pub(crate) fn table(&mut self, offset: u64, table: &Arc<Table>) {
        self.push(offset, table.len(), Data::Table(Arc::clone(table)));
    }

    /// Content of a known length. A plan as content is taken apart, so that its holes stay holes, and
    /// bytes are bytes.
    pub(crate) fn content(&mut self, offset: u64, len: u64, path: &Arc<[u8]>, source: &Source) {
        match &source.0 {
            Kind::Plan(plan) => self.plan(offset, plan),
            Kind::Bytes(bytes) => self.bytes(offset, Arc::clone(bytes)),
            _ => self.push(
                offset,
                len,
                Data::Content {
                    path: Arc::clone(path),
                    source: source.clone(),
                },
            ),
        }
    }

    /// All segments of another plan, moved to `offset`.
    pub(crate) fn plan(&mut self, offset: u64, plan: &Plan) {
        for segment in &plan.segments {
            let moved = segment.offset.saturating_add(offset);
            self.push(moved, segment.len, segment.data.clone());
        }
    }

    fn push(&mut self, offset: u64, len: u64, data: Data) {
        self.segments.push(Segment { offset, len, data });
    }

    pub(crate) fn finish(mut self, len: u64) -> Plan {
        self.segments.sort_by_key(|s| (s.offset, s.len));
        debug_assert!(
            self.segments
                .windows(2)
                .all(|pair| pair[0].offset + pair[0].len <= pair[1].offset),
            "segments overlap"
        );
        self.regions.sort_by_key(|region| region.offset);
        Plan {
            segments: self.segments,
            len,
            regions: self.regions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_can_be_sent_to_other_threads() {
        fn is_sendable<T: Send + Sync>() {}
        is_sendable::<Plan>();
        is_sendable::<Source>();
        is_sendable::<Error>();
    }
}
