//! The forward pass: segments to parts, parts to the observer and the file.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::part::{Bytes, Mark};
use crate::plan::{Content, Segment};
use crate::{Error, Part};

/// Large enough that hashing on other threads outweighs the hand-over, small enough that a few fit a cache.
const BUFFER_LEN: usize = 512 << 10;

pub(crate) struct Writer<'a, W> {
    out: &'a mut W,
    /// Buffers in use or free: an observer may still hold some.
    buffers: Vec<Arc<Vec<u8>>>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub(crate) fn new(out: &'a mut W) -> Self {
        Self {
            out,
            buffers: Vec::new(),
        }
    }

    pub(crate) fn segment(
        &mut self,
        segment: &Segment,
        mark: Option<Mark>,
        document: Option<Vec<u8>>,
        mut observe: impl FnMut(&Part),
    ) -> Result<(), Error> {
        let in_file = !matches!(segment.content, Content::ZeroFill);
        let part = |bytes, range| Part {
            bytes,
            range,
            in_file,
            mark,
        };
        match &segment.content {
            Content::Bytes(bytes) => self.whole(
                &Arc::from(bytes.as_slice()),
                0,
                segment.len,
                part,
                &mut observe,
            ),
            Content::Pcrsig => {
                let mut document = document.unwrap_or_default();
                let found = document.len() as u64;
                let planned = segment.len;
                let len = usize::try_from(planned)
                    .ok()
                    .filter(|len| document.len() <= *len);
                document.resize(len.ok_or(Error::PcrsigTooLong { planned, found })?, b'\n');
                self.whole(&Arc::from(document), 0, planned, part, &mut observe)
            }
            Content::Zeros | Content::ZeroFill => {
                let zeros: Arc<[u8]> = vec![
                    0;
                    usize::try_from(segment.len)
                        .unwrap_or(BUFFER_LEN)
                        .min(BUFFER_LEN)
                ]
                .into();
                let mut left = segment.len;
                while left != 0 {
                    let len = left.min(zeros.len() as u64);
                    self.whole(&zeros, 0, len, part, &mut observe)?;
                    left = left.saturating_sub(len);
                }
                Ok(())
            }
            Content::Source(source, offset, is_whole) => {
                if let Some((bytes, start)) = source.in_memory() {
                    return self.whole(
                        bytes,
                        start.saturating_add(*offset),
                        segment.len,
                        part,
                        &mut observe,
                    );
                }
                let mut input = source.open_at(*offset)?;
                let mut done: u64 = 0;
                let changed = |found| Error::SizeChanged {
                    name: source.name().into(),
                    planned: segment.len,
                    found,
                };
                while done < segment.len {
                    let room = segment.len.saturating_sub(done).min(BUFFER_LEN as u64);
                    let mut buffer = self.free_buffer();
                    let got =
                        fill(&mut input, &mut buffer, room).map_err(Error::io(source.name()))?;
                    done = done.saturating_add(got as u64);
                    if (got as u64) < room {
                        return Err(changed(done));
                    }
                    self.buffers.push(buffer.clone());
                    self.emit(&part(Bytes::Buffer(buffer), 0..got), &mut observe)?;
                }
                let mut more = [0];
                if *is_whole && input.read(&mut more).map_err(Error::io(source.name()))? != 0 {
                    return Err(changed(done.saturating_add(1)));
                }
                Ok(())
            }
        }
    }

    /// Hands out bytes that are in memory already, in pieces of a buffer's size.
    fn whole(
        &mut self,
        bytes: &Arc<[u8]>,
        start: u64,
        len: u64,
        part: impl Fn(Bytes, std::ops::Range<usize>) -> Part,
        observe: &mut impl FnMut(&Part),
    ) -> Result<(), Error> {
        let end = usize::try_from(start.saturating_add(len))
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let mut start = usize::try_from(start).unwrap_or(end);
        while start < end {
            let next = start.saturating_add(BUFFER_LEN).min(end);
            self.emit(&part(Bytes::Whole(bytes.clone()), start..next), observe)?;
            start = next;
        }
        Ok(())
    }

    fn emit(&mut self, part: &Part, observe: &mut impl FnMut(&Part)) -> Result<(), Error> {
        observe(part);
        self.out
            .write_all(part.bytes())
            .map_err(Error::io("output"))
    }

    /// A buffer that nobody else holds.
    fn free_buffer(&mut self) -> Arc<Vec<u8>> {
        let free = self
            .buffers
            .iter_mut()
            .position(|buffer| Arc::get_mut(buffer).is_some());
        free.map_or_else(
            || Arc::new(vec![0; BUFFER_LEN]),
            |index| self.buffers.swap_remove(index),
        )
    }
}

/// Reads `room` bytes, fewer only at the end of the input.
fn fill(input: &mut impl Read, buffer: &mut Arc<Vec<u8>>, room: u64) -> std::io::Result<usize> {
    let room = usize::try_from(room).unwrap_or(BUFFER_LEN);
    let Some(buffer) = Arc::get_mut(buffer).and_then(|buffer| buffer.get_mut(..room)) else {
        return Ok(0);
    };
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(got) => filled = filled.saturating_add(got),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
