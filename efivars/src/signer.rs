use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::HashAlgorithm;

/// Any error of a signer.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// What a signer is to sign.
///
/// An HSM with a «hash and sign» mechanism takes [`message`](Self::message), one that signs digests takes
/// [`digest`](Self::digest), one with raw RSA takes [`digest_info`](Self::digest_info).
#[derive(Clone, PartialEq, Eq)]
pub struct ToBeSigned {
    message: Vec<u8>,
    algorithm: HashAlgorithm,
    digest: Vec<u8>,
}

impl ToBeSigned {
    pub(crate) fn new(message: Vec<u8>, algorithm: HashAlgorithm) -> Self {
        let digest = algorithm.digest(&[&message]);
        Self {
            message,
            algorithm,
            digest,
        }
    }

    /// The bytes that are hashed and signed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The hash algorithm.
    #[must_use]
    pub const fn hash_algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest of [`message`](Self::message).
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The PKCS#1 v1.5 `DigestInfo` of the digest, in DER.
    #[must_use]
    pub fn digest_info(&self) -> Vec<u8> {
        let mut info = self.algorithm.digest_info_prefix();
        info.extend_from_slice(&self.digest);
        info
    }
}

impl fmt::Debug for ToBeSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ToBeSigned({} {}, {} bytes)",
            self.algorithm,
            crate::hash::hex(&self.digest),
            self.message.len()
        )
    }
}

/// Makes RSA PKCS#1 v1.5 signatures; closures are signers too.
///
/// # Examples
///
/// ```
/// use efivars::{BoxError, Signer, ToBeSigned};
/// let hsm = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> { Ok(request.digest_info()) };
/// let signer: &dyn Signer = &hsm;
/// ```
pub trait Signer {
    /// Signs the request.
    ///
    /// # Errors
    ///
    /// Whatever keeps the signer from signing.
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError>;
}

impl<F: Fn(&ToBeSigned) -> Result<Vec<u8>, BoxError>> Signer for F {
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
        self(request)
    }
}
