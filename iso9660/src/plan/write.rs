//! Writing a plan to any writer, in one forward pass.

use std::io::Write;

use super::{Data, Plan};
use crate::error::{Error, text};

/// Bytes that are gathered before they are written.
pub(super) const BUFFER_LEN: usize = 512 << 10;

/// Memory for copies. The kernel copies into memory that begins at a cache line about twice as fast
/// as into memory that does not.
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    const LINE: usize = 64;

    pub(super) fn new() -> Self {
        let memory = vec![0; BUFFER_LEN + Self::LINE];
        let start = memory.as_ptr().align_offset(Self::LINE).min(Self::LINE);
        Self { memory, start }
    }

    /// The first `len` bytes, as far as there are so many.
    pub(super) fn get(&mut self, len: u64) -> &mut [u8] {
        let len = usize::try_from(len).unwrap_or(BUFFER_LEN).min(BUFFER_LEN);
        let range = self.start..self.start + len;
        self.memory.get_mut(range).unwrap_or(&mut [])
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
        self.check_empty_content()?;
        let failed = |offset| move |source| Error::Output { offset, source };
        let mut reader = self.reader();
        let mut buffer = Buffer::new();
        let mut written = 0;
        while written < self.len {
            let bytes = buffer.get(self.len - written);
            reader.fill(bytes)?;
            out.write_all(bytes).map_err(failed(written))?;
            written += bytes.len() as u64;
        }
        out.flush().map_err(failed(written))
    }

    /// Sees to it that content of which no byte has a place still has none.
    pub(super) fn check_empty_content(&self) -> Result<(), Error> {
        for segment in self.segments.iter().filter(|s| s.len == 0) {
            if let Data::Content { path, source } = &segment.data {
                let unreadable = |source| Error::Source {
                    path: text(path),
                    source,
                };
                let mut reader = source.open().map_err(unreadable)?;
                if super::reader::read_some(&mut reader, &mut [0]).map_err(unreadable)? != 0 {
                    return Err(Error::SourceChanged {
                        path: text(path),
                        planned: 0,
                        found: None,
                    });
                }
            }
        }
        Ok(())
    }
}
