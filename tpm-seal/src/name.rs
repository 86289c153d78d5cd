//! Names: what a TPM calls an object by its public area.

use core::fmt;
use core::str::FromStr;

use crate::bank::sha256;
use crate::{Error, hex};

/// The Name of a TPM object with SHA-256 as its name algorithm: 000b and the hash of its public area
/// (TPM 2.0 Part 1, clause 16).
///
/// ```
/// use tpm_seal::Name;
///
/// let text = "000b3159f945b4192f5322eacc14c67c27b0e28c1f7d39baed74a551fe4b0194c149";
/// assert_eq!(text.parse::<Name>()?.to_string(), text);
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; 34]);

impl Name {
    /// The Name of the object with this `TPMT_PUBLIC` or `TPMS_NV_PUBLIC`.
    pub(crate) fn of(public: &[u8]) -> Self {
        let mut name = [0; 34];
        let (algorithm, digest) = name.split_at_mut(2);
        algorithm.copy_from_slice(&[0x00, 0x0b]);
        digest.copy_from_slice(&sha256(&[public]));
        Self(name)
    }

    /// Reads the 34 bytes of a Name, without the size before them.
    ///
    /// # Errors
    /// [`Error::NotAName`] when they are not 34 or do not begin with 000b.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        match <[u8; 34]>::try_from(bytes) {
            Ok(name) if name.starts_with(&[0x00, 0x0b]) => Ok(Self(name)),
            _ => Err(Error::NotAName { len: bytes.len() }),
        }
    }

    /// The 34 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(&hex::decode(text).unwrap_or_default())
    }
}
