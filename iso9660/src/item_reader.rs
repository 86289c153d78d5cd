//! Reading a file inside an image.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{self, Read, Seek, SeekFrom};

use crate::Extent;
use crate::input::Input;
use crate::item::Item;

/// The content of a file inside an image, from [`IsoReader::open`](crate::IsoReader::open) or
/// [`FatReader::open`](crate::FatReader::open).
///
/// ```
/// use std::io::{Cursor, Read as _};
/// use iso9660::{Image, IsoReader, Namespace, Tree};
///
/// let mut image = Vec::new();
/// Image::new(Tree::new().file("hello.txt", "hello\n")).plan()?.write_to(&mut image)?;
/// let mut iso = IsoReader::read(Cursor::new(image))?;
/// let items = iso.items(Namespace::RockRidge)?;
/// let mut text = String::new();
/// iso.open(&items[0]).read_to_string(&mut text)?;
/// assert_eq!(text, "hello\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ItemReader<'a, R> {
    input: &'a mut Input<R>,
    extents: Vec<Extent>,
    len: u64,
    at: u64,
}

impl<'a, R> ItemReader<'a, R> {
    pub(crate) fn new(input: &'a mut Input<R>, item: &Item) -> Self {
        Self {
            input,
            extents: item.extents.clone(),
            len: item.len,
            at: 0,
        }
    }
}

impl<R: Read + Seek> Read for ItemReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = left.min(buf.len());
        let buf = buf.get_mut(..n).unwrap_or(&mut []);
        let n = self
            .input
            .read_some(&self.extents, self.at, buf)
            .map_err(io::Error::other)?;
        if n == 0 && !buf.is_empty() {
            // The pieces that were found are shorter than the file says it is.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

impl<R> Seek for ItemReader<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
