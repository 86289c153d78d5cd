//! Reading a plan as if it had been written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::{Data, Plan, Segment};
use crate::error::{Error, text};
use crate::source::{Kind, Source, open_file};

/// A reader over an image that was planned but not written, from [`Plan::reader`].
pub struct PlanReader<'a> {
    plan: &'a Plan,
    at: u64,
    /// Index of the segment that the last read met, where the next one is looked for first.
    segment: usize,
    open: Option<OpenContent<'a>>,
}

/// Content that the last read ended in.
struct OpenContent<'a> {
    segment: usize,
    /// Offset in the content of the next byte.
    at: u64,
    reader: Opened<'a>,
}

enum Opened<'a> {
    File(File),
    Other(Box<dyn Read + Send + 'a>),
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
            segment: 0,
            open: None,
        }
    }

    /// Goes to a place.
    pub(super) const fn go_to(&mut self, at: u64) {
        self.at = at;
    }

    /// Fills the buffer; the answer is short only at the image's end.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.some(rest)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Reads some bytes at the current place; none only at the end.
    fn some(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let buf = start_of(buf, self.plan.len.saturating_sub(self.at));
        if buf.is_empty() {
            return Ok(0);
        }
        self.segment = self.find_segment();
        let n = match self.plan.segments.get(self.segment) {
            Some(segment) if segment.offset <= self.at => {
                let skip = self.at.saturating_sub(segment.offset);
                let left = segment.len.saturating_sub(skip);
                match &segment.data {
                    Data::Bytes(bytes) => {
                        let buf = start_of(buf, left);
                        let from = usize::try_from(skip).ok().and_then(|s| bytes.get(s..));
                        buf.copy_from_slice(from.and_then(|b| b.get(..buf.len())).unwrap_or(&[]));
                        buf.len()
                    }
                    Data::Table(table) => {
                        let buf = start_of(buf, left);
                        table.fill(skip, buf);
                        buf.len()
                    }
                    Data::Content { path, source } => {
                        let content = Content {
                            path,
                            source,
                            len: segment.len,
                        };
                        self.content(&content, skip, buf)?
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

    /// The first segment that ends behind this place.
    fn find_segment(&self) -> usize {
        let segments = &self.plan.segments;
        let ends_before = |s: &Segment| s.offset.saturating_add(s.len) <= self.at;
        // Mostly it is the last one or its successor.
        for index in [self.segment, self.segment + 1] {
            let before = index.checked_sub(1).and_then(|i| segments.get(i));
            if before.is_none_or(ends_before)
                && segments.get(index).is_some_and(|s| !ends_before(s))
            {
                return index;
            }
        }
        segments.partition_point(ends_before)
    }

    /// Reads content from `skip` on into a buffer that may reach beyond its end.
    fn content(
        &mut self,
        content: &Content<'a>,
        skip: u64,
        buf: &mut [u8],
    ) -> Result<usize, Error> {
        let segment = self.segment;
        let mut open = match self.open.take() {
            Some(open) if open.segment == segment && open.at == skip => open,
            Some(OpenContent {
                segment: at,
                reader: Opened::File(mut file),
                ..
            }) if at == segment => {
                file.seek(SeekFrom::Start(skip))
                    .map_err(|e| content.unreadable(e))?;
                OpenContent {
                    segment,
                    at: skip,
                    reader: Opened::File(file),
                }
            }
            _ => {
                let mut reader = content.open()?;
                if skip == 0 && buf.len() as u64 > content.len {
                    return content.read_whole(&mut reader, buf);
                }
                content.go_to(&mut reader, skip)?;
                OpenContent {
                    segment,
                    at: skip,
                    reader,
                }
            }
        };
        let buf = start_of(buf, content.len.saturating_sub(skip));
        let n = read_some(&mut open.reader, buf).map_err(|e| content.unreadable(e))?;
        if n == 0 {
            return Err(content.changed(Some(skip)));
        }
        open.at = open.at.saturating_add(n as u64);
        if open.at == content.len {
            if read_some(&mut open.reader, &mut [0]).map_err(|e| content.unreadable(e))? != 0 {
                return Err(content.changed(None));
            }
        } else {
            self.open = Some(open);
        }
        Ok(n)
    }
}

/// Content as it was planned.
struct Content<'a> {
    path: &'a [u8],
    source: &'a Source,
    len: u64,
}

impl<'a> Content<'a> {
    fn unreadable(&self, source: io::Error) -> Error {
        Error::Source {
            path: text(self.path),
            source,
        }
    }

    fn changed(&self, found: Option<u64>) -> Error {
        Error::SourceChanged {
            path: text(self.path),
            planned: self.len,
            found,
        }
    }

    fn open(&self) -> Result<Opened<'a>, Error> {
        let opened = match &self.source.0 {
            Kind::File { path, .. } => open_file(path).map(Opened::File),
            _ => self.source.open().map(Opened::Other),
        };
        opened.map_err(|e| self.unreadable(e))
    }

    /// Goes to a place; a file has to have the planned length.
    fn go_to(&self, reader: &mut Opened<'_>, skip: u64) -> Result<(), Error> {
        let unreadable = |e| self.unreadable(e);
        match reader {
            Opened::File(file) => {
                let found = file.metadata().map_err(unreadable)?.len();
                if found != self.len {
                    return Err(self.changed(Some(found)));
                }
                if skip > 0 {
                    file.seek(SeekFrom::Start(skip)).map_err(unreadable)?;
                }
            }
            Opened::Other(reader) => {
                io::copy(&mut reader.by_ref().take(skip), &mut io::sink()).map_err(unreadable)?;
            }
        }
        Ok(())
    }

    /// Reads all of it into a buffer that has room for more, so that its end shows by itself.
    fn read_whole(&self, reader: &mut Opened<'_>, buf: &mut [u8]) -> Result<usize, Error> {
        let buf = start_of(buf, self.len.saturating_add(1));
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let asked = rest.len();
            let n = read_some(reader, rest).map_err(|e| self.unreadable(e))?;
            done += n;
            // A file that gives all that was planned, and less than it was asked for, has met its end.
            let has_all = done as u64 == self.len && matches!(reader, Opened::File(_));
            if n == 0 || (has_all && n < asked) {
                break;
            }
        }
        match (done as u64).cmp(&self.len) {
            std::cmp::Ordering::Less => Err(self.changed(Some(done as u64))),
            std::cmp::Ordering::Equal => Ok(done),
            std::cmp::Ordering::Greater => Err(self.changed(None)),
        }
    }
}

impl Read for Opened<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buf),
            Self::Other(reader) => reader.read(buf),
        }
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

impl Read for PlanReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.some(buf).map_err(io::Error::other)
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
