//! Writing a plan in one forward pass.

use std::fs::File;
use std::io::{self, Read, Write};

use super::reader::read_some;
use super::{Data, Plan};
use crate::error::{Error, text};
use crate::source::{Kind, Source};

/// Bytes that are gathered before they are written.
const BUFFER_LEN: usize = 512 << 10;

/// What a plan can be written to.
pub(super) trait Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Leaves `len` zero bytes without writing them; false if that is not possible here.
    fn skip(&mut self, len: u64) -> io::Result<bool>;

    /// Copies from a file inside the kernel; answers how much was copied.
    fn copy(&mut self, file: &File, len: u64) -> io::Result<u64>;
}

/// Any writer.
struct Stream<'a, W>(&'a mut W);

impl<W: Write> Output for Stream<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn skip(&mut self, _: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn copy(&mut self, _: &File, _: u64) -> io::Result<u64> {
        Ok(0)
    }
}

impl Plan {
    /// Writes the image in one forward pass. Nothing is sought, nothing is written twice, and
    /// memory does not grow with the image.
    ///
    /// # Errors
    ///
    /// [`Error::Source`] and [`Error::SourceChanged`] when an item's content is not what was planned,
    /// [`Error::Output`] when the writer fails.
    pub fn write_to(&self, out: &mut impl Write) -> Result<(), Error> {
        self.write_output(&mut Stream(out))?;
        out.flush().map_err(|source| Error::Output {
            offset: self.len(),
            source,
        })
    }

    pub(super) fn write_output(&self, out: &mut impl Output) -> Result<(), Error> {
        let mut pass = Pass {
            out,
            buffer: vec![0; BUFFER_LEN],
            used: 0,
            written: 0,
        };
        for segment in &self.segments {
            pass.zeros(segment.offset.saturating_sub(pass.at()))?;
            match &segment.data {
                Data::Bytes(bytes) => pass.bytes(bytes)?,
                Data::Table(table) => {
                    let end = segment.offset.saturating_add(segment.len);
                    while pass.at() < end {
                        let offset = pass.at().saturating_sub(segment.offset);
                        let space = pass.space(end.saturating_sub(pass.at()))?;
                        table.fill(offset, space);
                        let n = space.len();
                        pass.used += n;
                    }
                }
                Data::Content { path, source } => pass.content(path, source, segment.len)?,
            }
        }
        pass.zeros(self.len.saturating_sub(pass.at()))?;
        pass.flush()
    }
}

/// One pass over the segments.
struct Pass<'a, O> {
    out: &'a mut O,
    buffer: Vec<u8>,
    used: usize,
    /// Bytes that the output has taken.
    written: u64,
}

impl<O: Output> Pass<'_, O> {
    /// The place of the next byte.
    fn at(&self) -> u64 {
        self.written.saturating_add(self.used as u64)
    }

    /// Hands the buffer to the output.
    fn flush(&mut self) -> Result<(), Error> {
        let bytes = self.buffer.get(..self.used).unwrap_or(&[]);
        self.out.write(bytes).map_err(|source| Error::Output {
            offset: self.written,
            source,
        })?;
        self.written = self.at();
        self.used = 0;
        Ok(())
    }

    /// Free room in the buffer, `len` bytes at most and one at least.
    fn space(&mut self, len: u64) -> Result<&mut [u8], Error> {
        if self.used >= self.buffer.len() {
            self.flush()?;
        }
        let free = self.buffer.get_mut(self.used..).unwrap_or(&mut []);
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(free.len());
        Ok(free.get_mut(..len).unwrap_or(&mut []))
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let space = self.space(bytes.len() as u64)?;
            let (now, later) = bytes.split_at(space.len());
            space.copy_from_slice(now);
            self.used += now.len();
            bytes = later;
        }
        Ok(())
    }

    fn zeros(&mut self, len: u64) -> Result<(), Error> {
        if len >= BUFFER_LEN as u64 {
            self.flush()?;
            let offset = self.written;
            let output = |source| Error::Output { offset, source };
            if self.out.skip(len).map_err(output)? {
                self.written = self.written.saturating_add(len);
                return Ok(());
            }
        }
        let end = self.at().saturating_add(len);
        while self.at() < end {
            let space = self.space(end.saturating_sub(self.at()))?;
            space.fill(0);
            let n = space.len();
            self.used += n;
        }
        Ok(())
    }

    fn content(&mut self, path: &[u8], source: &Source, len: u64) -> Result<(), Error> {
        match &source.0 {
            Kind::Bytes(bytes) => self.bytes(bytes),
            Kind::File(file) => {
                let mut file = File::open(file).map_err(|source| Error::Source {
                    path: text(path),
                    source,
                })?;
                let mut done = 0;
                if len >= BUFFER_LEN as u64 {
                    self.flush()?;
                    let offset = self.written;
                    done = self
                        .out
                        .copy(&file, len)
                        .map_err(|source| Error::Output { offset, source })?;
                    self.written = self.written.saturating_add(done);
                }
                self.copy(path, &mut file, (done, len), true)
            }
            _ => {
                let mut reader = source.open().map_err(|source| Error::Source {
                    path: text(path),
                    source,
                })?;
                self.copy(path, &mut reader, (0, len), false)
            }
        }
    }

    /// Copies what is left of a content and sees to it that it ends where it was planned to end.
    ///
    /// `is_file`: a read that gives less than it was asked for has met the end.
    fn copy(
        &mut self,
        path: &[u8],
        reader: &mut impl Read,
        (mut done, len): (u64, u64),
        is_file: bool,
    ) -> Result<(), Error> {
        let changed = |found| Error::SourceChanged {
            path: text(path),
            planned: len,
            found,
        };
        loop {
            let left = len.saturating_sub(done);
            // One byte more than planned, to notice that there is one.
            let space = self.space(left.saturating_add(1))?;
            let asked = space.len();
            let n = read_some(reader, space).map_err(|source| Error::Source {
                path: text(path),
                source,
            })?;
            if n as u64 > left {
                return Err(changed(None));
            }
            if n == 0 && left > 0 {
                return Err(changed(Some(done)));
            }
            self.used += n;
            done = done.saturating_add(n as u64);
            if done == len && (n == 0 || (is_file && n < asked)) {
                return Ok(());
            }
        }
    }
}
