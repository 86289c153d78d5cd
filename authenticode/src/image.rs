//! A PE image as the digests, the signature table and the header facts that trust depends on.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use crate::checksum::Sum;
use crate::error::Error;
use crate::hash::{Digest, Digests, HashAlgorithm, Hashers};
use crate::hasher::{ImageHasher, Pass};
use crate::layout::{Irregularity, Layout};
use crate::options::ImageOptions;
use crate::table::{SignatureTable, TableEntry};

/// The digest that a signature of the image holds: zero bytes up to a multiple of 8 are part of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SigningDigest(Digest);

/// The digest that firmware computes for the file as it is: the one for hash entries in `db` and `dbx`.
///
/// It differs from the [`SigningDigest`] only for unsigned files whose length is not a multiple of 8.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LoadedDigest(Digest);

macro_rules! digest_kind {
    ($name:ident) => {
        impl $name {
            /// The digest without its kind.
            #[must_use]
            pub const fn digest(&self) -> Digest {
                self.0
            }

            /// Its bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
digest_kind!(SigningDigest);
digest_kind!(LoadedDigest);

/// A hashed image: small, whatever the size of the file, and enough to sign, verify and judge it.
///
/// | from | by |
/// | --- | --- |
/// | a slice | [`Image::parse`] |
/// | a file or other `Read + Seek` | [`Image::read`] |
/// | bytes as they are written | [`ImageHasher`] |
///
/// ```
/// # fn demo(bytes: &[u8]) -> Result<(), authenticode::Error> {
/// use authenticode::{HashAlgorithm, Image};
/// let image = Image::parse(bytes)?;
/// println!("sign {}", image.digest_for_signing(HashAlgorithm::Sha256)?);
/// println!("list {}", image.digest_as_loaded(HashAlgorithm::Sha256)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) layout: Layout,
    pub(crate) len: u64,
    loaded: Digests,
    padded: Digests,
    irregularity: Option<Irregularity>,
    allow_gaps: bool,
    content_sum: Sum,
    rest_sum: Sum,
    has_checksum: bool,
    table_bytes: Vec<u8>,
    table: SignatureTable,
    sbat: Option<Vec<u8>>,
}

/// Digests by the rule of the specification, for images on which a front-to-back pass gives something else.
pub(crate) struct ByRule {
    pub(crate) loaded: Digests,
    pub(crate) padded: Digests,
}

impl Image {
    pub(crate) fn from_pass(pass: Pass, by_rule: Option<ByRule>) -> Self {
        let irregularity = pass.layout.irregularity(pass.len);
        let table = SignatureTable::parse(&pass.table, pass.layout.table_offset);
        let ByRule { loaded, padded } = by_rule.unwrap_or(ByRule {
            loaded: pass.digests,
            padded: pass.padded,
        });
        Self {
            len: pass.len,
            loaded,
            padded,
            irregularity,
            allow_gaps: pass.options.allow_gaps,
            content_sum: pass.content_sum,
            rest_sum: pass.rest_sum,
            has_checksum: pass.options.checksum,
            table_bytes: pass.table,
            table,
            sbat: pass.sbat,
            layout: pass.layout,
        }
    }

    /// Hashes an image in memory with SHA-256 and the algorithms that its signatures name.
    ///
    /// # Errors
    /// What is wrong with the headers. Gaps and overlaps are not errors here but of
    /// [`digest_for_signing`](Self::digest_for_signing).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_with(bytes, &ImageOptions::new())
    }

    /// Hashes an image in memory.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(bytes: &[u8], options: &ImageOptions) -> Result<Self, Error> {
        let len = u64::try_from(bytes.len()).map_err(|_| Error::TooLong)?;
        let part = |start: u64, end: u64| {
            let range = usize::try_from(start).unwrap_or(usize::MAX)
                ..usize::try_from(end).unwrap_or(usize::MAX);
            bytes.get(range).unwrap_or_default()
        };
        let named = match peek_layout(bytes) {
            Some(layout) if layout.is_signed() && layout.table_len <= options.max_table_len => {
                SignatureTable::parse(
                    part(layout.table_offset, layout.table_end()),
                    layout.table_offset,
                )
                .hashes()
            }
            _ => Vec::new(),
        };
        let algorithms = options.algorithms(&named);
        let mut hasher = ImageHasher::with_options(options.clone().hashes(&algorithms));
        hasher.update(bytes);
        let pass = hasher.finish_pass()?;
        let by_rule = match pass.layout.irregularity(len) {
            None => None,
            Some(_) => {
                let mut hashers = Hashers::new(&algorithms);
                for (start, end) in rule_ranges(&pass.layout, len)? {
                    hashers.update(part(start, end));
                }
                Some(ByRule::finish(hashers, &pass.layout, len))
            }
        };
        Ok(Self::from_pass(pass, by_rule))
    }

    /// Length of the file.
    #[expect(clippy::len_without_is_empty, reason = "an image is never empty")]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether firmware takes the image as signed, by whomever: its certificate directory has a size.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.layout.is_signed()
    }

    /// Machine type of the COFF header, 0x8664 for x64, 0xAA64 for AArch64.
    #[must_use]
    pub fn machine(&self) -> u16 {
        self.layout.machine
    }

    /// Subsystem of the optional header, 10 for an EFI application.
    #[must_use]
    pub fn subsystem(&self) -> u16 {
        self.layout.subsystem
    }

    /// The digest for a signature.
    ///
    /// # Errors
    /// [`Error::NotHashed`]; [`Error::Gap`], [`Error::Overlap`] or [`Error::DataAfterTable`] if tools disagree about the
    /// digest and [`ImageOptions::allow_gaps`] was not given.
    pub fn digest_for_signing(&self, algorithm: HashAlgorithm) -> Result<SigningDigest, Error> {
        match self.irregularity {
            Some(what @ Irregularity::DataAfterTable { .. }) => return Err(what.into()),
            Some(what) if !self.allow_gaps => return Err(what.into()),
            _ => {}
        }
        self.padded
            .get(algorithm)
            .map(SigningDigest)
            .ok_or(Error::NotHashed { algorithm })
    }

    /// The digest of the file as firmware loads it.
    ///
    /// # Errors
    /// [`Error::NotHashed`].
    pub fn digest_as_loaded(&self, algorithm: HashAlgorithm) -> Result<LoadedDigest, Error> {
        self.loaded
            .get(algorithm)
            .map(LoadedDigest)
            .ok_or(Error::NotHashed { algorithm })
    }

    /// Why tools disagree about the digest of this image, if they do.
    #[must_use]
    pub fn gap(&self) -> Option<Error> {
        self.irregularity.map(Error::from)
    }

    /// The signature table.
    #[must_use]
    pub fn table(&self) -> &SignatureTable {
        &self.table
    }

    /// The entries of the signature table, signatures among them.
    #[must_use]
    pub fn entries(&self) -> &[TableEntry] {
        self.table.entries()
    }

    /// The CheckSum field.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        self.layout.checksum
    }

    /// What the CheckSum field should be; 0 if the options left it out.
    #[must_use]
    pub fn correct_checksum(&self) -> u32 {
        if !self.has_checksum {
            return 0;
        }
        let mut sum = self.content_sum;
        sum.join(self.rest_sum);
        if let Some(offset) = self.layout.directory_offset {
            sum.add(
                offset,
                &directory(self.layout.table_offset, self.layout.table_len),
            );
        }
        sum.finish(self.len)
    }

    /// The content of the `.sbat` section, if there is one.
    #[must_use]
    pub fn sbat(&self) -> Option<&[u8]> {
        self.sbat.as_deref()
    }

    pub(crate) fn has_checksum(&self) -> bool {
        self.has_checksum
    }

    pub(crate) fn table_bytes(&self) -> &[u8] {
        &self.table_bytes
    }

    /// Sum over the content without CheckSum and directory entry.
    pub(crate) fn content_sum(&self) -> Sum {
        self.content_sum
    }

    pub(crate) fn content_end(&self) -> u64 {
        self.layout.content_end(self.len)
    }

    /// The image as it will be once signed: its digests are those with padding.
    pub(crate) fn as_signed(&self) -> Self {
        let mut image = self.clone();
        image.loaded = image.padded;
        image
    }

    pub(crate) fn loaded(&self, algorithm: HashAlgorithm) -> Option<Digest> {
        self.loaded.get(algorithm)
    }
}

impl ByRule {
    pub(crate) fn finish(hashers: Hashers, layout: &Layout, len: u64) -> Self {
        let mut padded = hashers.clone();
        let loaded = hashers.finish();
        if layout.is_signed() {
            return Self {
                loaded,
                padded: loaded,
            };
        }
        padded.update(crate::table::padding(len));
        Self {
            loaded,
            padded: padded.finish(),
        }
    }
}

/// All file ranges that the specification hashes, in its order.
pub(crate) fn rule_ranges(layout: &Layout, file_len: u64) -> Result<Vec<(u64, u64)>, Error> {
    let after_checksum = layout.checksum_offset.saturating_add(4);
    let mut ranges = alloc::vec![(0, layout.checksum_offset)];
    match layout.directory_offset {
        None => ranges.push((after_checksum, layout.headers_len)),
        Some(offset) => {
            ranges.push((after_checksum, offset));
            ranges.push((offset.saturating_add(8), layout.headers_len));
        }
    }
    ranges.extend(layout.ranges_after_headers(file_len)?);
    Ok(ranges)
}

/// The headers, if they can be read; what is wrong with them is told by the pass over the file.
fn peek_layout(bytes: &[u8]) -> Option<Layout> {
    let pe_offset = crate::layout::pe_offset(bytes.first_chunk()?).ok()?;
    let header = bytes.get(usize::try_from(pe_offset).ok()?..)?;
    let len = crate::layout::header_len(pe_offset, header).ok()?;
    Layout::parse(pe_offset, header.get(..usize::try_from(len).ok()?)?).ok()
}

/// The certificate directory entry as stored.
pub(crate) fn directory(offset: u64, len: u64) -> [u8; 8] {
    let field = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = [0; 8];
    let (low, high) = bytes.split_at_mut(4);
    low.copy_from_slice(&field(offset));
    high.copy_from_slice(&field(len));
    bytes
}
