//! Page hashes: a table of hashes of an image's pages inside a signature. Windows uses it for drivers, no firmware does.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::der;
use crate::error::Error;
use crate::hash::{Digest, HashAlgorithm, Hashers};
use crate::layout::Layout;
use crate::oid;
use crate::signed_data::IndirectData;

/// SpcPeImagePageHashes of a signature: the signed hashes of the image's pages.
///
/// | field of the table | length |
/// | --- | --- |
/// | file offset of the page, little-endian | 4 |
/// | hash of the page, filled up with zeros | 20 or 32 |
///
/// The last entry has the end of the last section and no hash. They are part of what is signed, stay when the signature is
/// copied, and are not made here.
///
/// ```
/// # fn demo(bytes: &[u8], report: &authenticode::SignatureReport) -> Result<(), authenticode::Error> {
/// if let Some(pages) = report.page_hashes() {
///     println!("{} pages, right: {}", pages.len(), pages.matches(bytes)?);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageHashes {
    algorithm: HashAlgorithm,
    pages: Vec<(u32, Digest)>,
    end: u32,
}

/// Class of a serialized object that holds page hashes: A6B586D5-B4A1-2466-AE05-A217DA8E60D6, in that order.
const CLASS: [u8; 16] = [
    0xa6, 0xb5, 0x86, 0xd5, 0xb4, 0xa1, 0x24, 0x66, 0xae, 0x05, 0xa2, 0x17, 0xda, 0x8e, 0x60, 0xd6,
];

impl PageHashes {
    /// Reads SpcPeImageData; nothing if there are none in it, or none in a form that is known.
    pub(crate) fn of(content: &IndirectData<'_>) -> Option<Self> {
        const WHAT: &str = "page hashes";
        let mut data = content.data?.reader();
        if data.peek() == Some(der::BIT_STRING) {
            data.any(WHAT).ok()?;
        }
        let mut link = data.expect(der::context(0), WHAT).ok()?.reader();
        let mut object = link.expect(der::context(1), WHAT).ok()?.reader();
        if object.expect(der::OCTET_STRING, WHAT).ok()?.value != CLASS {
            return None;
        }
        let serialized = object.expect(der::OCTET_STRING, WHAT).ok()?.value;
        let mut set = der::Reader::new(serialized)
            .expect(der::SET, WHAT)
            .ok()?
            .reader();
        let mut attribute = set.expect(der::SEQUENCE, WHAT).ok()?.reader();
        let algorithm = match attribute.expect(der::OID, WHAT).ok()?.value {
            oid::PAGE_HASHES_SHA1 => HashAlgorithm::Sha1,
            oid::PAGE_HASHES_SHA256 => HashAlgorithm::Sha256,
            _ => return None,
        };
        let mut values = attribute.expect(der::SET, WHAT).ok()?.reader();
        let table = values.expect(der::OCTET_STRING, WHAT).ok()?.value;
        let rows = table.chunks_exact(algorithm.digest_len().checked_add(4)?);
        if !rows.remainder().is_empty() {
            return None;
        }
        let mut pages = Vec::new();
        for row in rows {
            let (offset, hash) = row.split_first_chunk()?;
            pages.push((
                u32::from_le_bytes(*offset),
                Digest::from_bytes(algorithm, hash)?,
            ));
        }
        let (end, _) = pages.pop()?;
        Some(Self {
            algorithm,
            pages,
            end,
        })
    }

    /// Their hash algorithm, SHA-1 or SHA-256.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// How many pages there are, the headers being the first.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether the table has no pages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// File offset and hash of each page.
    #[must_use]
    pub fn pages(&self) -> &[(u32, Digest)] {
        &self.pages
    }

    /// Whether they are those of this image (with or without signatures, which they do not cover).
    ///
    /// # Errors
    /// Those of [`Image::parse`](crate::Image::parse) about headers and sections.
    pub fn matches(&self, image: &[u8]) -> Result<bool, Error> {
        let layout = Layout::of(image)?;
        let computed = compute(&layout, image, self.algorithm);
        Ok(computed.is_some_and(|(pages, end)| pages == self.pages && end == self.end))
    }
}

/// The pages of the headers and of each section, and where the last section ends.
fn compute(
    layout: &Layout,
    image: &[u8],
    algorithm: HashAlgorithm,
) -> Option<(Vec<(u32, Digest)>, u32)> {
    // Sections that overlap would be hashed again and again.
    if layout.sum > u64::try_from(image.len()).ok()?.checked_mul(4)? {
        return None;
    }
    let page = usize::try_from(layout.section_alignment).ok()?;
    let part =
        |start: u64, end: u64| image.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
    let after = layout.checksum_offset.checked_add(4)?;
    let directory = layout.directory_offset?;
    let headers = [
        part(0, layout.checksum_offset)?,
        part(after, directory)?,
        part(directory.checked_add(8)?, layout.headers_len)?,
    ];
    let headers_len = usize::try_from(layout.headers_len).ok()?;
    // The fields that are left out do not count: the page is filled up as if they were there.
    let mut pages = alloc::vec![(
        0,
        hash(algorithm, &headers, page.saturating_sub(headers_len))?
    )];
    let mut end = 0;
    for section in layout
        .sections
        .iter()
        .filter(|section| section.raw_size != 0)
    {
        let content = part(section.start(), section.end())?;
        let mut at = section.raw_start;
        // No page is empty, so this ends, and there are no more pages than bytes.
        for bytes in content.chunks(page.max(512)) {
            pages.push((
                at,
                hash(algorithm, &[bytes], page.saturating_sub(bytes.len()))?,
            ));
            at = at.checked_add(layout.section_alignment.max(512))?;
        }
        end = u32::try_from(section.end()).ok()?;
    }
    Some((pages, end))
}

/// The hash of these parts and then of so many zeros, which are no more than a page of the largest size there is.
fn hash(algorithm: HashAlgorithm, parts: &[&[u8]], zeros: usize) -> Option<Digest> {
    const ZEROS: [u8; 4096] = [0; 4096];
    const MAX_PAGE: usize = 0x20_0000;
    if zeros > MAX_PAGE {
        return None;
    }
    let mut hashers = Hashers::new(&[algorithm]);
    for part in parts {
        hashers.update(part);
    }
    let mut left = zeros;
    while left > 0 {
        let len = left.min(ZEROS.len());
        hashers.update(ZEROS.get(..len).unwrap_or_default());
        left = left.saturating_sub(len);
    }
    hashers.finish().get(algorithm)
}
