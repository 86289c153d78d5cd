//! Reading a plan as if it had been written.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Data, Plan};
use crate::error::{Error, text};
use crate::source::{Kind, Source};

/// A reader over an image that was planned but not written, from [`Plan::reader`].
pub struct PlanReader<'a> {
    plan: &'a Plan,
    at: u64,
    open: Option<OpenContent<'a>>,
}

/// Content that the last read ended in.
struct OpenContent<'a> {
    segment: usize,
    /// Offset in the content of the next byte.
    at: u64,
    reader: Box<dyn Read + Send + 'a>,
}

impl std::fmt::Debug for PlanReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanReader")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a> PlanReader<'a> {
    pub(super) const fn new(plan: &'a Plan, at: u64) -> Self {
        Self {
            plan,
            at,
            open: None,
        }
    }

    /// Reads some bytes at the current place; none only at the end.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let left = self.plan.len.saturating_sub(self.at);
        let buf = start_of(buf, left);
        if buf.is_empty() {
            return Ok(0);
        }
        let segments = &self.plan.segments;
        // The first segment that ends behind this place.
        let index = segments.partition_point(|s| s.offset.saturating_add(s.len) <= self.at);
        let n = match segments.get(index) {
            Some(segment) if segment.offset <= self.at => {
                let skip = self.at.saturating_sub(segment.offset);
                let buf = start_of(buf, segment.len.saturating_sub(skip));
                match &segment.data {
                    Data::Bytes(bytes) => {
                        let from = usize::try_from(skip).ok().and_then(|s| bytes.get(s..));
                        buf.copy_from_slice(from.and_then(|b| b.get(..buf.len())).unwrap_or(&[]));
                        buf.len()
                    }
                    Data::Table(table) => {
                        table.fill(skip, buf);
                        buf.len()
                    }
                    Data::Content { path, source } => {
                        self.content(index, (path, source), (skip, segment.len), buf)?
                    }
                }
            }
            next => {
                let gap = next.map_or(u64::MAX, |s| s.offset.saturating_sub(self.at));
                let buf = start_of(buf, gap);
                buf.fill(0);
                buf.len()
            }
        };
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }

    fn content(
        &mut self,
        segment: usize,
        (path, source): (&'a [u8], &'a Source),
        (skip, len): (u64, u64),
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let unreadable = |source| Error::Source {
            path: text(path),
            source,
        };
        let changed = |found| Error::SourceChanged {
            path: text(path),
            planned: len,
            found,
        };
        let mut open = match self.open.take() {
            Some(open) if open.segment == segment && open.at == skip => open,
            _ => {
                if let Kind::File(_) = source.0 {
                    let found = source.measure(path)?;
                    if found != len {
                        return Err(changed(Some(found)));
                    }
                }
                OpenContent {
                    segment,
                    at: skip,
                    reader: open_at(source, skip).map_err(unreadable)?,
                }
            }
        };
        let n = read_some(&mut open.reader, buf).map_err(unreadable)?;
        if n == 0 {
            return Err(changed(Some(skip)));
        }
        open.at = open.at.saturating_add(n as u64);
        if open.at == len {
            if read_some(&mut open.reader, &mut [0]).map_err(unreadable)? != 0 {
                return Err(changed(None));
            }
        } else {
            self.open = Some(open);
        }
        Ok(n)
    }
}

/// As much of `buf` as `len` allows.
fn start_of(buf: &mut [u8], len: u64) -> &mut [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(buf.len());
    buf.get_mut(..len).unwrap_or(&mut [])
}

/// A read that signals do not end.
pub(super) fn read_some(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Opens content at an offset.
fn open_at(source: &Source, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
    if let Kind::File(path) = &source.0 {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        return Ok(Box::new(file));
    }
    let mut reader = source.open()?;
    io::copy(&mut reader.by_ref().take(offset), &mut io::sink())?;
    Ok(reader)
}

impl Read for PlanReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.fill(buf).map_err(io::Error::other)
    }
}

impl Seek for PlanReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.plan.len.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
