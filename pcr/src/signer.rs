//! Who signs: a closure, an in-process key, or somebody far away.

use alloc::boxed::Box;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::bank::Bank;
use crate::public_key::PublicKey;

/// Whatever error a signer has.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// The `DigestInfo` of PKCS #1 v1.5 up to the digest, for SHA-256 (RFC 8017, 9.2).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// One signature to make: RSASSA-PKCS1-v1_5 with SHA-256, whatever the bank of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToBeSigned {
    message: Vec<u8>,
    digest: [u8; 32],
    key: PublicKey,
}

impl ToBeSigned {
    pub(crate) fn new(message: Vec<u8>, key: PublicKey) -> Self {
        let digest = Sha256::digest(&message).into();
        Self {
            message,
            digest,
            key,
        }
    }

    /// The bytes that a "hash and sign" mechanism takes.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The hash of the signature: SHA-256.
    #[must_use]
    pub const fn hash_algorithm(&self) -> Bank {
        Bank::Sha256
    }

    /// The hash of [`ToBeSigned::message`].
    #[must_use]
    pub const fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The PKCS #1 v1.5 `DigestInfo`, for mechanisms that sign with raw RSA padding.
    #[must_use]
    pub fn digest_info(&self) -> Vec<u8> {
        [&SHA256_DIGEST_INFO[..], &self.digest].concat()
    }

    /// The key that must sign: which one, when a document has several.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// Makes signatures; implemented for closures.
///
/// # Examples
/// ```
/// use pcr::{BoxError, Signer, ToBeSigned};
///
/// let hsm = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> {
///     Err(format!("no slot for {} bytes", request.message().len()).into())
/// };
/// let signer: &dyn Signer = &hsm;
/// # let _ = signer;
/// ```
pub trait Signer {
    /// The raw signature over [`ToBeSigned::message`].
    ///
    /// # Errors
    /// Whatever keeps the signer from signing.
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError>;
}

impl<F> Signer for F
where
    F: Fn(&ToBeSigned) -> Result<Vec<u8>, BoxError>,
{
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
        self(request)
    }
}
