//! Where the bytes of an image come from.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use alloc::vec;
use alloc::vec::Vec;

use crate::Error;

/// Bytes that can be read at any offset: a slice, or a [`Stream`] over `Read + Seek`.
pub trait ReadAt {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills `buffer` from the bytes at `offset`; the caller has checked that they are there.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] when they are not there after all, [`Error::Io`] when they cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        (**self).read_at(offset, buffer)
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let from = range(self, "data", offset, buffer.len() as u64)?;
        buffer.copy_from_slice(from);
        Ok(())
    }
}

/// The `len` bytes at `offset`, or an error that says what they should have been.
pub(crate) fn range<'a>(
    bytes: &'a [u8],
    what: &'static str,
    offset: u64,
    len: u64,
) -> Result<&'a [u8], Error> {
    let start = usize::try_from(offset).ok();
    let end = offset
        .checked_add(len)
        .and_then(|end| usize::try_from(end).ok());
    start
        .zip(end)
        .and_then(|(start, end)| bytes.get(start..end))
        .ok_or_else(|| truncated(bytes.len() as u64, what, offset, len))
}

/// As [`range`], copied out of any source. Never allocates more than the source holds.
pub(crate) fn copy(
    source: &impl ReadAt,
    what: &'static str,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, Error> {
    let size = source.size();
    if offset.checked_add(len).is_none_or(|end| end > size) {
        return Err(truncated(size, what, offset, len));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| truncated(size, what, offset, len))?];
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

fn truncated(size: u64, what: &'static str, offset: u64, needed: u64) -> Error {
    Error::Truncated {
        what,
        offset,
        needed,
        available: size.saturating_sub(offset),
    }
}

/// Reads an image from anything seekable, without loading it.
///
/// # Examples
///
/// ```
/// use std::io::Cursor;
/// use uki::{ReadAt, Stream};
///
/// let stream = Stream::new(Cursor::new(b"0123456789".to_vec()))?;
/// let mut two = [0; 2];
/// stream.read_at(4, &mut two)?;
/// assert_eq!((stream.size(), &two), (10, b"45"));
/// # Ok::<(), uki::Error>(())
/// ```
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct Stream<R> {
    input: std::sync::Mutex<R>,
    size: u64,
}

#[cfg(feature = "std")]
impl<R: std::io::Read + std::io::Seek> Stream<R> {
    /// Takes the length by seeking to the end.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the input cannot be sought.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let size = input
            .seek(std::io::SeekFrom::End(0))
            .map_err(Error::io("image"))?;
        Ok(Self {
            input: std::sync::Mutex::new(input),
            size,
        })
    }
}

#[cfg(feature = "std")]
impl<R: std::io::Read + std::io::Seek> ReadAt for Stream<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut input = self
            .input
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        input
            .seek(std::io::SeekFrom::Start(offset))
            .and_then(|_| input.read_exact(buffer))
            .map_err(Error::io("image"))
    }
}
