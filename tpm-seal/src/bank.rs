//! Hash algorithms of PCR banks.

use core::fmt;
use core::str::FromStr;

use sha2::Digest as _;

use crate::Error;

/// A PCR bank: the hash algorithm of one set of registers (TPM 2.0 Part 2, `TPM_ALG_ID`).
///
/// ```
/// use tpm_seal::Bank;
///
/// assert_eq!("sha384".parse::<Bank>()?.digest_len(), 48);
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Bank {
    /// `TPM_ALG_SHA1` 0x0004, 20 bytes.
    Sha1,
    /// `TPM_ALG_SHA256` 0x000B, 32 bytes.
    Sha256,
    /// `TPM_ALG_SHA384` 0x000C, 48 bytes.
    Sha384,
    /// `TPM_ALG_SHA512` 0x000D, 64 bytes.
    Sha512,
}

impl Bank {
    /// All banks, in ascending order of their algorithm identifiers.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The `TPM_ALG_ID` of this bank's hash.
    #[must_use]
    pub const fn algorithm_id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// The bank with this `TPM_ALG_ID`, if this crate can compute it.
    #[must_use]
    pub const fn from_algorithm_id(id: u16) -> Option<Self> {
        match id {
            0x0004 => Some(Self::Sha1),
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            0x000d => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Length of a digest of this bank, in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The bank's name as systemd and `.pcrsig` documents spell it (`sha256`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bank {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|bank| bank.name().eq_ignore_ascii_case(text))
            .ok_or(Error::UnknownBank)
    }
}

#[cfg(feature = "tpm")]
impl Bank {
    /// The bank's hash of `data`.
    pub(crate) fn hash(self, data: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        match self {
            Self::Sha1 => sha1::Sha1::digest(data).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(data).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(data).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(data).to_vec(),
        }
    }
}

/// SHA-256 of the concatenation of `parts`: what names, policies and sessions are hashed with.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}
