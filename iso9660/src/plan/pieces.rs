//! The work of writing a plan to a file, cut into pieces for several threads.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::file::Failure;
use super::kernel::{Sharing, allocate, next_data};
use super::write::BUFFER_LEN;
use super::{Data, Plan, Segment};
use crate::error::{Error, text};
use crate::source::{Kind, open_file};

/// Length of a piece, and of zeros and files that get treatment of their own from this length on.
const PIECE_LEN: u64 = BUFFER_LEN as u64;

/// Hands out what is to be written, in the order of the image. Everything between the pieces is
/// zero or shared, and not written at all.
pub(super) struct Pieces<'a> {
    plan: &'a Plan,
    file: &'a File,
    sharing: Sharing,
    /// The next segment that was not looked at.
    segment: usize,
    /// A large file that is being handed out.
    large: Option<Large<'a>>,
    /// A run of bytes that is being handed out.
    run: Range<u64>,
}

/// A large file of the host, whose holes are left out.
struct Large<'a> {
    path: &'a [u8],
    content: File,
    /// Where it begins in the image.
    offset: u64,
    len: u64,
    /// What was handed out of it.
    done: u64,
}

impl<'a> Pieces<'a> {
    /// The file is empty afterwards, and remains so until pieces are taken.
    pub(super) fn new(plan: &'a Plan, file: &'a File) -> io::Result<Self> {
        let large = plan.segments.iter().map(Treatment::of);
        let large = large.filter_map(|treatment| match treatment {
            Treatment::Large(_, host) => Some(host),
            _ => None,
        });
        let sharing = Sharing::find_out(large, file);
        // Not of an empty file: ext4 takes that for the replacement of its content, which it then puts
        // onto the disk when the file is closed.
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        Ok(Self {
            plan,
            file,
            sharing,
            segment: 0,
            large: None,
            run: 0..0,
        })
    }

    /// Hands out nothing more.
    pub(super) fn stop(&mut self) {
        self.segment = self.plan.segments.len();
        self.large = None;
        self.run = 0..0;
    }

    /// The next piece: up to the next multiple of its length in the image, where the page cache can
    /// take it in one go. A reader's content is one piece, since it is read from its beginning.
    pub(super) fn next(&mut self) -> Result<Option<Range<u64>>, Failure> {
        while self.run.is_empty() {
            if let Some(large) = &mut self.large {
                match large.next_run() {
                    Some(run) => self.run = run,
                    None => {
                        // What was cut off meanwhile looked like a hole.
                        large.check_len()?;
                        self.large = None;
                    }
                }
            } else {
                let Some(segment) = self.plan.segments.get(self.segment) else {
                    return Ok(None);
                };
                self.segment += 1;
                let start = segment.offset;
                let end = start.saturating_add(segment.len);
                match Treatment::of(segment) {
                    Treatment::Whole => return Ok(Some(start..end)),
                    Treatment::Large(path, host) => self.begin_large(segment, path, host)?,
                    Treatment::Plain => self.run = start..self.end_of_run(end),
                }
            }
            let run = &self.run;
            allocate(self.file, run).map_err(|source| {
                let offset = run.start;
                (offset, Error::Output { offset, source })
            })?;
        }
        let start = self.run.start;
        let end = (start - start % PIECE_LEN)
            .saturating_add(PIECE_LEN)
            .min(self.run.end);
        self.run.start = end;
        Ok(Some(start..end))
    }

    /// Adds the segments that follow closely and need no treatment of their own.
    fn end_of_run(&mut self, mut end: u64) -> u64 {
        while let Some(next) = self.plan.segments.get(self.segment) {
            let gap = next.offset.saturating_sub(end);
            if gap >= PIECE_LEN || !matches!(Treatment::of(next), Treatment::Plain) {
                break;
            }
            end = next.offset.saturating_add(next.len);
            self.segment += 1;
        }
        end
    }

    /// Opens a large file and shares of it what can be shared.
    fn begin_large(
        &mut self,
        segment: &Segment,
        path: &'a [u8],
        host: &Path,
    ) -> Result<(), Failure> {
        let unreadable = |source| {
            let path = text(path);
            (segment.offset, Error::Source { path, source })
        };
        let content = open_file(host).map_err(unreadable)?;
        let mut large = Large {
            path,
            content,
            offset: segment.offset,
            len: segment.len,
            done: 0,
        };
        large.check_len()?;
        large.done = self
            .sharing
            .share(&large.content, self.file, segment.offset, segment.len)
            .map_err(|source| {
                let offset = segment.offset;
                (offset, Error::Output { offset, source })
            })?;
        self.large = Some(large);
        Ok(())
    }
}

impl Large<'_> {
    /// Sees to it that the file has the length that was planned.
    fn check_len(&self) -> Result<(), Failure> {
        let path = || text(self.path);
        let metadata = self.content.metadata().map_err(|source| {
            let path = path();
            (self.offset, Error::Source { path, source })
        })?;
        let found = metadata.len();
        if found == self.len {
            return Ok(());
        }
        let changed = Error::SourceChanged {
            path: path(),
            planned: self.len,
            found: Some(found),
        };
        Err((self.offset, changed))
    }

    /// The next run of data.
    fn next_run(&mut self) -> Option<Range<u64>> {
        if self.done >= self.len {
            return None;
        }
        let data = next_data(&self.content, self.done, self.len);
        self.done = data.end;
        Some(self.offset + data.start..self.offset + data.end)
    }
}

/// How a segment is written.
enum Treatment<'a> {
    /// By one thread from its beginning to its end.
    Whole,
    /// Item and place of a file of the host whose holes and blocks are worth a look.
    Large(&'a [u8], &'a Path),
    /// In pieces, together with its neighbours.
    Plain,
}

impl<'a> Treatment<'a> {
    fn of(segment: &'a Segment) -> Self {
        match &segment.data {
            Data::Content { path, source } => match &source.0 {
                Kind::File { path: host, .. } if segment.len >= PIECE_LEN => {
                    Self::Large(path, host)
                }
                _ if source.reads_anywhere() => Self::Plain,
                _ => Self::Whole,
            },
            Data::Bytes(_) | Data::Table(_) => Self::Plain,
        }
    }
}
