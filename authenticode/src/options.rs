use alloc::vec::Vec;

use crate::hash::HashAlgorithm;

/// What to compute while an image is read.
///
/// ```
/// use authenticode::{HashAlgorithm, ImageOptions};
/// let options = ImageOptions::new().hashes(&HashAlgorithm::ALL).allow_gaps(true);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOptions {
    pub(crate) hashes: Option<Vec<HashAlgorithm>>,
    pub(crate) also: Vec<HashAlgorithm>,
    pub(crate) allow_gaps: bool,
    pub(crate) max_table_len: u64,
    pub(crate) checksum: bool,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            hashes: None,
            also: Vec::new(),
            allow_gaps: false,
            max_table_len: 8 << 20,
            checksum: true,
        }
    }
}

impl ImageOptions {
    /// The defaults: SHA-256 and the algorithms that the image's own signatures name, no gaps, a table of at most 8 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Computes exactly these digests.
    #[must_use]
    pub fn hashes(mut self, hashes: &[HashAlgorithm]) -> Self {
        self.hashes = Some(hashes.to_vec());
        self
    }

    /// Computes these digests too, see [`Databases::hashes`](crate::Databases::hashes).
    #[must_use]
    pub fn also(mut self, hashes: &[HashAlgorithm]) -> Self {
        self.also.extend_from_slice(hashes);
        self
    }

    /// Whether an image on which tools disagree (gaps, overlaps) may be signed, by the rule of the specification.
    ///
    /// Verifying such an image needs no permission.
    #[must_use]
    pub fn allow_gaps(mut self, allow: bool) -> Self {
        self.allow_gaps = allow;
        self
    }

    /// The longest certificate table that is read into memory.
    #[must_use]
    pub fn max_table_len(mut self, len: u64) -> Self {
        self.max_table_len = len;
        self
    }

    /// Whether to sum up the file for the checksum of its header, which signing needs and verifying does not (on by default).
    #[must_use]
    pub fn checksum(mut self, wanted: bool) -> Self {
        self.checksum = wanted;
        self
    }

    /// The algorithms to run, `named` being those that the image's signatures name.
    pub(crate) fn algorithms(&self, named: &[HashAlgorithm]) -> Vec<HashAlgorithm> {
        let mut all = self.hashes.clone().unwrap_or_else(|| {
            let mut automatic = named.to_vec();
            automatic.push(HashAlgorithm::Sha256);
            automatic
        });
        all.extend_from_slice(&self.also);
        all
    }
}
