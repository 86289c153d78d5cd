//! Hashing an image whose bytes arrive in order.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::checksum::Sum;
use crate::error::Error;
use crate::hash::{Digests, HashAlgorithm, Hashers};
use crate::image::Image;
use crate::layout::{self, Layout};
use crate::options::ImageOptions;

/// Longest `.sbat` section that is kept for the verdict of shim.
const MAX_SBAT: u64 = 1 << 20;

/// Hashes an image of which every byte is handed over in order, for example while it is written.
///
/// One pass gives the digests, the sum for the header's checksum and everything else that
/// [`Prepared`](crate::Prepared) needs. Headers must come before sections, sections in file order without gaps; anything
/// else is an error of [`finish`](Self::finish), because tools disagree about the digest of such images.
///
/// ```
/// # fn demo(parts: &[&[u8]]) -> Result<(), authenticode::Error> {
/// use authenticode::{HashAlgorithm, ImageHasher};
/// let mut hasher = ImageHasher::new();
/// for part in parts {
///     hasher.update(part);
/// }
/// let image = hasher.finish()?;
/// println!("{}", image.digest_for_signing(HashAlgorithm::Sha256)?);
/// # Ok(()) }
/// ```
pub struct ImageHasher {
    options: ImageOptions,
    hashers: Hashers,
    position: u64,
    stage: Stage,
    /// The first 64 bytes, later the PE header.
    buffer: Vec<u8>,
    layout: Option<Layout>,
    content_sum: Sum,
    rest_sum: Sum,
    table: Vec<u8>,
    sbat: Vec<u8>,
    sbat_range: Option<(u64, u64)>,
    error: Option<Error>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Dos,
    /// Before the PE header.
    Stub {
        pe_offset: u64,
    },
    /// Collecting the PE header; `wanted` bytes are needed before more can be told.
    Header {
        pe_offset: u64,
        wanted: usize,
    },
    Content,
}

/// What a pass over the whole file found.
pub(crate) struct Pass {
    pub(crate) layout: Layout,
    pub(crate) len: u64,
    pub(crate) digests: Digests,
    pub(crate) padded: Digests,
    pub(crate) content_sum: Sum,
    pub(crate) rest_sum: Sum,
    pub(crate) table: Vec<u8>,
    pub(crate) sbat: Option<Vec<u8>>,
    pub(crate) options: ImageOptions,
}

impl Default for ImageHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for ImageHasher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ImageHasher")
            .field("position", &self.position)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl ImageHasher {
    /// Computes the SHA-256 digest.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(ImageOptions::new())
    }

    /// Computes these digests.
    #[must_use]
    pub fn with_hashes(hashes: &[HashAlgorithm]) -> Self {
        Self::with_options(ImageOptions::new().hashes(hashes))
    }

    /// Computes what the options say; without [`ImageOptions::hashes`], the SHA-256 digest.
    #[must_use]
    pub fn with_options(options: ImageOptions) -> Self {
        let hashers = Hashers::new(&options.algorithms(&[]));
        Self {
            options,
            hashers,
            position: 0,
            stage: Stage::Dos,
            buffer: Vec::new(),
            layout: None,
            content_sum: Sum::default(),
            rest_sum: Sum::default(),
            table: Vec::new(),
            sbat: Vec::new(),
            sbat_range: None,
            error: None,
        }
    }

    /// Takes the next bytes of the file; what is wrong with them is told by [`finish`](Self::finish).
    pub fn update(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.error.is_none() {
            match self.step(rest) {
                Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) => self.error = Some(error),
            }
        }
    }

    /// How many bytes have been taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        match self.stage {
            Stage::Dos => {
                let taken = self.fill(bytes, 64);
                if let Some(dos) = self.buffer.first_chunk::<64>() {
                    let pe_offset = layout::pe_offset(dos)?;
                    let dos = core::mem::take(&mut self.buffer);
                    self.content(&dos)?;
                    self.stage = Stage::Stub { pe_offset };
                } else if !b"MZ".starts_with(
                    self.buffer
                        .get(..self.buffer.len().min(2))
                        .unwrap_or_default(),
                ) {
                    return Err(Error::NotPe {
                        what: "MZ",
                        offset: 0,
                    });
                }
                Ok(taken)
            }
            Stage::Stub { pe_offset } => {
                let taken = clamp(pe_offset.saturating_sub(self.position), bytes.len());
                self.content(bytes.get(..taken).unwrap_or_default())?;
                if self.position == pe_offset {
                    self.stage = Stage::Header {
                        pe_offset,
                        wanted: layout::COFF_LEN,
                    };
                }
                Ok(taken)
            }
            Stage::Header { pe_offset, wanted } => {
                let taken = self.fill(bytes, wanted);
                if self.buffer.len() < wanted {
                    return Ok(taken);
                }
                let len = layout::header_len(pe_offset, &self.buffer)?;
                if wanted == layout::COFF_LEN {
                    let wanted = usize::try_from(len).unwrap_or(usize::MAX);
                    self.stage = Stage::Header { pe_offset, wanted };
                } else {
                    self.header(pe_offset)?;
                    self.stage = Stage::Content;
                }
                Ok(taken)
            }
            Stage::Content => {
                self.content(bytes)?;
                Ok(bytes.len())
            }
        }
    }

    fn fill(&mut self, bytes: &[u8], wanted: usize) -> usize {
        let taken = wanted.saturating_sub(self.buffer.len()).min(bytes.len());
        self.buffer
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        taken
    }

    /// Reads the headers, and hashes them but for the checksum and the certificate directory.
    fn header(&mut self, pe_offset: u64) -> Result<(), Error> {
        let header = core::mem::take(&mut self.buffer);
        let layout = Layout::parse(pe_offset, &header)?;
        if layout.table_len > self.options.max_table_len {
            return Err(Error::TableTooLong {
                len: layout.table_len,
                limit: self.options.max_table_len,
            });
        }
        self.sbat_range = layout
            .sections
            .iter()
            .find(|section| &section.name == b".sbat\0\0\0" && section.raw_size != 0)
            .map(|section| {
                (
                    section.start(),
                    section.end().min(section.start().saturating_add(MAX_SBAT)),
                )
            });
        let header_end = pe_offset.saturating_add(u64::try_from(header.len()).unwrap_or(u64::MAX));
        let mut skips = [(layout.checksum_offset, 4), (header_end, 0)];
        if let (Some(offset), Some(skip)) = (layout.directory_offset, skips.get_mut(1)) {
            *skip = (offset, 8);
        }
        self.layout = Some(layout);
        let mut at = pe_offset;
        for (offset, len) in skips {
            self.content(slice(&header, pe_offset, at, offset))?;
            at = offset.saturating_add(len);
            self.position = at;
        }
        self.content(slice(&header, pe_offset, at, header_end))
    }

    /// Hashes bytes at the current position.
    fn content(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let start = self.position;
        let end = u64::try_from(bytes.len())
            .ok()
            .and_then(|len| start.checked_add(len))
            .ok_or(Error::TooLong)?;
        self.position = end;
        let (content_end, table_end) = match &self.layout {
            Some(layout) if layout.is_signed() => (layout.table_offset, layout.table_end()),
            _ => (u64::MAX, u64::MAX),
        };
        let (content, rest) = bytes.split_at(clamp(content_end.saturating_sub(start), bytes.len()));
        self.hashers.update(content);
        if self.options.checksum {
            self.content_sum.add(start, content);
            self.rest_sum.add(start.max(content_end), rest);
        }
        if !rest.is_empty() {
            self.table
                .extend_from_slice(slice(bytes, start, content_end, table_end));
        }
        if let Some((from, to)) = self.sbat_range {
            self.sbat.extend_from_slice(slice(bytes, start, from, to));
        }
        Ok(())
    }

    pub(crate) fn finish_pass(self) -> Result<Pass, Error> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some(layout) = self.layout else {
            let (what, offset, needed) = match self.stage {
                Stage::Header { pe_offset, wanted } => (
                    "PE header",
                    pe_offset,
                    u64::try_from(wanted).unwrap_or(u64::MAX),
                ),
                Stage::Stub { pe_offset } => ("PE header", pe_offset, 26),
                _ => ("DOS header", 0, 64),
            };
            let seen = self
                .position
                .saturating_add(u64::try_from(self.buffer.len()).unwrap_or_default());
            return Err(Error::Truncated {
                what,
                offset,
                needed,
                available: seen.saturating_sub(offset),
            });
        };
        let len = self.position;
        layout.check(len)?;
        let mut padded = self.hashers.clone();
        padded.update(crate::table::padding(layout.content_end(len)));
        let digests = self.hashers.finish();
        let padded = if layout.is_signed() {
            digests
        } else {
            padded.finish()
        };
        Ok(Pass {
            layout,
            len,
            digests,
            padded,
            content_sum: self.content_sum,
            rest_sum: self.rest_sum,
            table: self.table,
            sbat: self.sbat_range.map(|_| self.sbat),
            options: self.options,
        })
    }

    /// The image, all of whose bytes have been taken.
    ///
    /// # Errors
    /// What is wrong with its headers; [`Error::Truncated`] if bytes are missing; [`Error::Gap`], [`Error::Overlap`] or
    /// [`Error::DataAfterTable`] if tools disagree about its digest, [`Error::NotStreamable`] in place of these if the
    /// options allow gaps.
    pub fn finish(self) -> Result<Image, Error> {
        let pass = self.finish_pass()?;
        match pass.layout.irregularity(pass.len) {
            Some(_) if pass.options.allow_gaps => Err(Error::NotStreamable),
            Some(what) => Err(what.into()),
            None => Ok(Image::from_pass(pass, None)),
        }
    }
}

fn clamp(len: u64, max: usize) -> usize {
    usize::try_from(len).map_or(max, |len| len.min(max))
}

/// The part of `bytes`, which start at `base`, between two file offsets.
fn slice(bytes: &[u8], base: u64, from: u64, to: u64) -> &[u8] {
    let start = clamp(from.saturating_sub(base), bytes.len());
    let end = clamp(to.saturating_sub(base), bytes.len());
    bytes.get(start..end).unwrap_or_default()
}
