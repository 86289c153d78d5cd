//! Content of a section, opened when it is needed.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Compression, Error, ReadAt, SectionName, compression};

type Open = dyn Fn() -> io::Result<Box<dyn Read>> + Send + Sync;

/// Content with a known length that can be opened several times: bytes, a file, or what the caller makes up.
///
/// A file's length is taken when the image is planned. A source that then has more or fewer bytes is
/// [`Error::SizeChanged`], which names it.
///
/// # Examples
///
/// ```
/// use uki::Source;
///
/// let text: Source = "ro quiet".into();
/// let file = Source::file("/boot/initramfs.img");
/// let zeros = Source::opener("zeros", 1 << 20, || Ok(std::io::repeat(0)));
/// ```
#[derive(Clone)]
pub struct Source(Kind);

#[derive(Clone)]
enum Kind {
    Bytes(Arc<[u8]>),
    File(PathBuf),
    Opener {
        name: Box<str>,
        len: u64,
        open: Arc<Open>,
    },
    Part {
        of: Box<Source>,
        offset: u64,
        len: u64,
    },
    Joined {
        parts: Vec<Source>,
        align: u64,
    },
    Plain {
        of: Box<Source>,
        compression: Compression,
        len: u64,
    },
}

impl Source {
    /// These bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Bytes(bytes.into().into()))
    }

    /// The file at this path.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self(Kind::File(path.as_ref().to_owned()))
    }

    /// The first `len` bytes of what `open` gives; it may be called several times. Errors use `name`.
    pub fn opener<R, F>(name: &str, len: u64, open: F) -> Self
    where
        R: Read + 'static,
        F: Fn() -> io::Result<R> + Send + Sync + 'static,
    {
        let open: Arc<Open> = Arc::new(move || Ok(Box::new(open()?)));
        Self(Kind::Opener {
            name: name.into(),
            len,
            open,
        })
    }

    /// `len` bytes of this source, from `offset` on.
    #[must_use]
    pub fn part(&self, offset: u64, len: u64) -> Self {
        Self(Kind::Part {
            of: Box::new(self.clone()),
            offset,
            len,
        })
    }

    /// Several sources one after another; when there is more than one, each padded with NULs to four bytes,
    /// as the kernel wants its ramdisks.
    #[must_use]
    pub fn ramdisks(parts: Vec<Self>) -> Self {
        let align = if parts.len() > 1 { 4 } else { 1 };
        Self(Kind::Joined { parts, align })
    }

    /// What errors call it.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.0 {
            Kind::Bytes(_) => "bytes in memory".into(),
            Kind::File(path) => path.display().to_string(),
            Kind::Opener { name, .. } => name.to_string(),
            Kind::Part { of, .. } | Kind::Plain { of, .. } => of.name(),
            Kind::Joined { parts, .. } => {
                parts.iter().map(Self::name).collect::<Vec<_>>().join(" + ")
            }
        }
    }

    /// How many bytes there are; looks at the file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when a file is not there, [`Error::TooLarge`]-sized inputs are for the plan to refuse.
    pub fn len(&self) -> Result<u64, Error> {
        match &self.0 {
            Kind::Bytes(bytes) => Ok(bytes.len() as u64),
            Kind::File(path) => {
                let metadata = std::fs::metadata(path).map_err(Error::io(self.name()))?;
                if metadata.is_file() {
                    return Ok(metadata.len());
                }
                Err(Error::io(self.name())(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "not a regular file",
                )))
            }
            Kind::Opener { len, .. } | Kind::Part { len, .. } | Kind::Plain { len, .. } => Ok(*len),
            Kind::Joined { parts, align } => parts.iter().try_fold(0_u64, |sum, part| {
                Ok(sum.saturating_add(
                    part.len()?
                        .checked_next_multiple_of(*align)
                        .unwrap_or(u64::MAX),
                ))
            }),
        }
    }

    /// Whether it has no bytes.
    ///
    /// # Errors
    ///
    /// As [`Source::len`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    fn open(&self) -> Result<Box<dyn Read + '_>, Error> {
        self.open_at(0)
    }

    pub(crate) fn open_at(&self, offset: u64) -> Result<Box<dyn Read + '_>, Error> {
        Ok(match &self.0 {
            Kind::Bytes(bytes) => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                Box::new(bytes.get(start..).unwrap_or_default())
            }
            Kind::File(path) => {
                let mut file = File::open(path).map_err(Error::io(self.name()))?;
                file.seek(SeekFrom::Start(offset))
                    .map_err(Error::io(self.name()))?;
                Box::new(file)
            }
            Kind::Opener { open, len, .. } => {
                let mut input = open().map_err(Error::io(self.name()))?.take(*len);
                io::copy(&mut (&mut input).take(offset), &mut io::sink())
                    .map_err(Error::io(self.name()))?;
                Box::new(input)
            }
            Kind::Part {
                of,
                offset: start,
                len,
            } => Box::new(
                of.open_at(start.saturating_add(offset))?
                    .take(len.saturating_sub(offset)),
            ),
            Kind::Joined { parts, align } => {
                let mut all: Box<dyn Read + '_> = Box::new(io::empty());
                let mut skip = offset;
                for part in parts {
                    let len = part.len()?;
                    let pad = len
                        .checked_next_multiple_of(*align)
                        .unwrap_or(len)
                        .saturating_sub(len);
                    let (skip_part, skip_pad) = (skip.min(len), skip.saturating_sub(len).min(pad));
                    skip = skip.saturating_sub(len.saturating_add(pad));
                    let zeros = io::repeat(0).take(pad.saturating_sub(skip_pad));
                    let exact = Exact {
                        source: part,
                        input: part.open_at(skip_part)?,
                        left: len.saturating_sub(skip_part),
                    };
                    all = Box::new(all.chain(exact).chain(zeros));
                }
                all
            }
            Kind::Plain {
                of, compression, ..
            } => {
                let mut plain = decoder(*compression, of)?;
                io::copy(&mut (&mut plain).take(offset), &mut io::sink())
                    .map_err(Error::io(self.name()))?;
                plain
            }
        })
    }

    /// The plain bytes of a compressed source; their number is found by unpacking once.
    pub(crate) fn unpacked(self, compression: Compression) -> Result<Self, Error> {
        let limit = compression::max_plain_len(self.len()?).min(u32::MAX.into());
        let mut plain = decoder(compression, &self)?.take(limit.saturating_add(1));
        let len = io::copy(&mut plain, &mut io::sink())
            .map_err(Error::io(packed_name(&self, compression)))?;
        drop(plain);
        if len > limit {
            return Err(Error::BadContent {
                section: SectionName::LINUX,
                offset: 0,
                reason: "it unpacks to more than any kernel",
            });
        }
        Ok(Self(Kind::Plain {
            of: Box::new(self),
            compression,
            len,
        }))
    }

    /// Bytes that are in memory anyway, and where in them this source starts.
    pub(crate) fn in_memory(&self) -> Option<(&Arc<[u8]>, u64)> {
        match &self.0 {
            Kind::Bytes(bytes) => Some((bytes, 0)),
            Kind::Part { of, offset, .. } => of
                .in_memory()
                .map(|(bytes, start)| (bytes, start.saturating_add(*offset))),
            _ => None,
        }
    }

    pub(crate) fn shared(bytes: Arc<[u8]>) -> Self {
        Self(Kind::Bytes(bytes))
    }
}

fn packed_name(of: &Source, compression: Compression) -> String {
    format!("{} ({compression})", of.name())
}

fn decoder(compression: Compression, of: &Source) -> Result<Box<dyn Read + '_>, Error> {
    let plain = compression
        .decoder(io::BufReader::new(of.open()?))
        .map_err(Error::io(packed_name(of, compression)))?;
    plain.ok_or(Error::NotAKernel {
        found: crate::NotAKernel::Compressed(compression),
    })
}

/// A part of a joined source: must have its planned length, or everything after it would move.
struct Exact<'a> {
    source: &'a Source,
    input: Box<dyn Read + 'a>,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let got = self
            .input
            .read(buffer.get_mut(..room).unwrap_or_default())?;
        if got == 0 {
            return Err(io::Error::other(format!(
                "{} has fewer bytes than when it was opened",
                self.source.name()
            )));
        }
        self.left = self.left.saturating_sub(got as u64);
        Ok(got)
    }
}

/// A source with its length at this moment, readable at any offset, cheapest forward.
pub(crate) struct SourceAt<'a> {
    source: &'a Source,
    len: u64,
    opened: RefCell<Option<(u64, Box<dyn Read + 'a>)>>,
}

impl<'a> SourceAt<'a> {
    pub(crate) fn new(source: &'a Source) -> Result<Self, Error> {
        Ok(Self {
            source,
            len: source.len()?,
            opened: RefCell::new(None),
        })
    }
}

impl ReadAt for SourceAt<'_> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let mut opened = self.opened.borrow_mut();
        let mut input = match opened.take() {
            Some((position, input)) if position == offset => input,
            _ => self.source.open_at(offset)?,
        };
        input
            .read_exact(buffer)
            .map_err(Error::io(self.source.name()))?;
        *opened = Some((offset.saturating_add(buffer.len() as u64), input));
        Ok(())
    }
}

impl core::fmt::Debug for Source {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Source").field(&self.name()).finish()
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self::bytes(text)
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        Self::bytes(text)
    }
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Self {
        Self::bytes(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Source {
    fn from(bytes: &[u8; N]) -> Self {
        Self::bytes(bytes)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}
