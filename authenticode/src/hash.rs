use alloc::vec::Vec;
use core::fmt;

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A hash algorithm that Secure Boot knows.
///
/// ```
/// use authenticode::HashAlgorithm;
/// assert_eq!(HashAlgorithm::Sha256.digest_len(), 32);
/// assert_eq!(HashAlgorithm::Sha384.to_string(), "sha384");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-1, 20 bytes: read, and made only for hash lists of old firmware.
    Sha1,
    /// SHA-256, 32 bytes: the one that every firmware takes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// The four algorithms, shortest digest first.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Bytes in a digest.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Hashes `data` in one step.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(data);
        hasher.finish()
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Sha1 => 0,
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

/// A digest that knows its algorithm; displayed as lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: HashAlgorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// A digest from its bytes, or `None` if the length is not the algorithm's.
    #[must_use]
    pub fn from_bytes(algorithm: HashAlgorithm, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != algorithm.digest_len() {
            return None;
        }
        let mut all = [0; 64];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            algorithm,
            bytes: all,
        })
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest, as long as the algorithm makes it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..self.algorithm.digest_len())
            .unwrap_or_default()
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

/// One running hash.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            HashAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            HashAlgorithm::Sha384 => Self::Sha384(Sha384::new()),
            HashAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(data),
            Self::Sha256(hasher) => hasher.update(data),
            Self::Sha384(hasher) => hasher.update(data),
            Self::Sha512(hasher) => hasher.update(data),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let mut fill = |digest: &[u8]| {
            for (to, from) in bytes.iter_mut().zip(digest) {
                *to = *from;
            }
        };
        let algorithm = match self {
            Self::Sha1(hasher) => {
                fill(&hasher.finalize());
                HashAlgorithm::Sha1
            }
            Self::Sha256(hasher) => {
                fill(&hasher.finalize());
                HashAlgorithm::Sha256
            }
            Self::Sha384(hasher) => {
                fill(&hasher.finalize());
                HashAlgorithm::Sha384
            }
            Self::Sha512(hasher) => {
                fill(&hasher.finalize());
                HashAlgorithm::Sha512
            }
        };
        Digest { algorithm, bytes }
    }
}

/// Several hashes over the same bytes.
#[derive(Clone)]
pub(crate) struct Hashers(Vec<Hasher>);

/// Bytes handed to one hash before the next one sees them: they are still in the first-level cache then.
const STRIPE: usize = 16 * 1024;

impl Hashers {
    pub(crate) fn new(algorithms: &[HashAlgorithm]) -> Self {
        let mut wanted: Vec<HashAlgorithm> = algorithms.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        Self(wanted.into_iter().map(Hasher::new).collect())
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        if let [hasher] = self.0.as_mut_slice() {
            hasher.update(data);
            return;
        }
        for stripe in data.chunks(STRIPE) {
            for hasher in &mut self.0 {
                hasher.update(stripe);
            }
        }
    }

    pub(crate) fn finish(self) -> Digests {
        let mut digests = Digests::default();
        for hasher in self.0 {
            digests.set(hasher.finish());
        }
        digests
    }
}

/// At most one digest per algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests([Option<Digest>; 4]);

impl Digests {
    pub(crate) fn get(&self, algorithm: HashAlgorithm) -> Option<Digest> {
        self.0.get(algorithm.index()).copied().flatten()
    }

    pub(crate) fn set(&mut self, digest: Digest) {
        if let Some(slot) = self.0.get_mut(digest.algorithm().index()) {
            *slot = Some(digest);
        }
    }
}
