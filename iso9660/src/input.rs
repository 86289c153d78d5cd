//! Reading pieces of an image within its bounds.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{Read, Seek, SeekFrom, Write};

use crate::error::Error;

/// How much a reader may be asked for by an image, which may be hostile.
///
/// ```
/// let limits = iso9660::Limits::default();
/// assert_eq!(limits.items, 1_000_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Files and directories of one tree.
    pub items: u64,
    /// Levels of directories.
    pub depth: u64,
    /// Bytes of all directories of one tree.
    pub directory_bytes: u64,
    /// Bytes of all paths of one tree.
    pub path_bytes: u64,
    /// Pieces that the files of one tree lie in.
    pub extents: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items: 1_000_000,
            depth: 4_096,
            directory_bytes: 256 << 20,
            path_bytes: 256 << 20,
            extents: 4_000_000,
        }
    }
}

/// Bytes that are copied at once.
const BUFFER_LEN: u64 = 256 << 10;

/// A range of bytes in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// An image, or a part of one.
#[derive(Debug)]
pub(crate) struct Input<R> {
    reader: R,
    /// Offset of this part in the reader.
    base: u64,
    pub(crate) len: u64,
}

impl<R: Read + Seek> Input<R> {
    pub(crate) fn new(mut reader: R) -> Result<Self, Error> {
        let len = reader
            .seek(SeekFrom::End(0))
            .map_err(|source| Error::Image { offset: 0, source })?;
        Ok(Self {
            reader,
            base: 0,
            len,
        })
    }

    /// A part of an image; it ends where the image ends, if it does so before.
    pub(crate) fn part(reader: R, offset: u64, len: u64) -> Result<Self, Error> {
        let whole = Self::new(reader)?;
        Ok(Self {
            reader: whole.reader,
            base: offset,
            len: whole.len.saturating_sub(offset).min(len),
        })
    }

    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    /// Reads what there is of some bytes at an offset; answers how many.
    pub(crate) fn read_some(
        &mut self,
        extents: &[Extent],
        at: u64,
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let mut skip = at;
        for extent in extents {
            if skip >= extent.len {
                skip = skip.saturating_sub(extent.len);
                continue;
            }
            let left = usize::try_from(extent.len.saturating_sub(skip)).unwrap_or(usize::MAX);
            let n = left.min(buf.len());
            let offset = extent.offset.saturating_add(skip);
            self.check("file content", offset, n as u64)?;
            self.fill(offset, buf.get_mut(..n).unwrap_or(&mut []))?;
            return Ok(n);
        }
        Ok(0)
    }

    /// Offset in the whole image of an offset in this part.
    pub(crate) fn absolute(&self, offset: u64) -> u64 {
        self.base.saturating_add(offset)
    }

    /// Reads `len` bytes; `what` names them in errors. The length is checked before memory is taken.
    pub(crate) fn read(
        &mut self,
        what: &'static str,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, Error> {
        self.check(what, offset, len)?;
        let mut out = vec![0; usize::try_from(len).unwrap_or(0)];
        self.fill(offset, &mut out)?;
        Ok(out)
    }

    fn check(&self, what: &'static str, offset: u64, len: u64) -> Result<(), Error> {
        let available = self.len.saturating_sub(offset);
        if len > available {
            return Err(Error::Truncated {
                what,
                offset: self.absolute(offset),
                needed: len,
                available,
            });
        }
        Ok(())
    }

    fn fill(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let offset = self.absolute(offset);
        let failed = |source| Error::Image { offset, source };
        self.reader.seek(SeekFrom::Start(offset)).map_err(failed)?;
        self.reader.read_exact(buf).map_err(failed)
    }

    /// Copies the content of a file.
    pub(crate) fn copy_item(
        &mut self,
        item: &crate::item::Item,
        out: &mut impl Write,
    ) -> Result<u64, Error> {
        let found = item.extents.iter().map(|extent| extent.len);
        if found.fold(0u64, u64::saturating_add) < item.len {
            return Err(Error::Malformed {
                what: "file content",
                offset: item.extents.first().map_or(0, |e| self.absolute(e.offset)),
                reason: "it has fewer bytes than its length says",
            });
        }
        self.copy("file content", &item.extents, out)
    }

    /// Copies extents, of which all must lie in the image, to a writer.
    pub(crate) fn copy(
        &mut self,
        what: &'static str,
        extents: &[Extent],
        out: &mut impl Write,
    ) -> Result<u64, Error> {
        for extent in extents {
            self.check(what, extent.offset, extent.len)?;
        }
        let longest = extents.iter().map(|extent| extent.len).max().unwrap_or(0);
        let mut buffer = vec![0; usize::try_from(longest.min(BUFFER_LEN)).unwrap_or(0)];
        let mut done = 0u64;
        for extent in extents {
            let mut at = 0;
            while at < extent.len {
                let left = usize::try_from(extent.len.saturating_sub(at)).unwrap_or(usize::MAX);
                let n = left.min(buffer.len());
                let piece = buffer.get_mut(..n).unwrap_or(&mut []);
                self.fill(extent.offset.saturating_add(at), piece)?;
                out.write_all(piece).map_err(|source| Error::Output {
                    offset: done,
                    source,
                })?;
                at = at.saturating_add(n as u64);
                done = done.saturating_add(n as u64);
            }
        }
        Ok(done)
    }
}

/// Counts what an image asks for.
#[derive(Debug)]
pub(crate) struct Budget {
    what: &'static str,
    limit: u64,
    used: u64,
}

impl Budget {
    pub(crate) const fn new(what: &'static str, limit: u64) -> Self {
        Self {
            what,
            limit,
            used: 0,
        }
    }

    pub(crate) fn take(&mut self, n: u64, offset: u64) -> Result<(), Error> {
        self.used = self.used.saturating_add(n);
        if self.used > self.limit {
            return Err(Error::Limit {
                what: self.what,
                offset,
                limit: self.limit,
            });
        }
        Ok(())
    }
}

/// `N` bytes of a structure; none if it ends before.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes
        .get(at..at.checked_add(N)?)
        .and_then(|b| b.try_into().ok())
}

/// A little-endian number; 0 behind the end, for structures whose length was checked.
pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at).unwrap_or_default())
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at).unwrap_or_default())
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at).unwrap_or_default())
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at).unwrap_or_default())
}

/// A byte; 0 behind the end.
pub(crate) fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}
