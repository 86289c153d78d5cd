use alloc::vec::Vec;

use crate::error::BoxError;
use crate::hash::{Digest, HashAlgorithm};
use crate::key::digest_info_prefix;

/// How a signature is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// RSA with PKCS#1 v1.5 padding: the only scheme that firmware takes.
    RsaPkcs1,
    /// RSA-PSS with a salt as long as the hash. Refused by firmware.
    RsaPss,
    /// ECDSA, the signature in DER. Refused by firmware.
    Ecdsa,
    /// Ed25519 over the message. Refused by firmware.
    Ed25519,
}

/// What a key has to sign, in each form that key stores ask for.
///
/// | mechanism | takes |
/// | --- | --- |
/// | "hash and sign" (`openssl dgst -sign`, `CKM_SHA256_RSA_PKCS`) | [`message`](Self::message) |
/// | "sign this hash" (cloud key services) | [`digest`](Self::digest) |
/// | raw PKCS#1 v1.5 (`CKM_RSA_PKCS`) | [`digest_info`](Self::digest_info) |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToBeSigned {
    message: Vec<u8>,
    digest: Digest,
    scheme: SignatureScheme,
}

impl ToBeSigned {
    pub(crate) fn new(message: Vec<u8>, hash: HashAlgorithm, scheme: SignatureScheme) -> Self {
        let digest = hash.digest(&message);
        Self {
            message,
            digest,
            scheme,
        }
    }

    /// The bytes to hash and sign: the signed attributes in DER.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The hash that the signature uses.
    #[must_use]
    pub fn hash_algorithm(&self) -> HashAlgorithm {
        self.digest.algorithm()
    }

    /// The hash of the message.
    #[must_use]
    pub fn digest(&self) -> &[u8] {
        self.digest.as_bytes()
    }

    /// DigestInfo of PKCS#1 v1.5, for keys that pad but do not hash.
    #[must_use]
    pub fn digest_info(&self) -> Vec<u8> {
        let mut info = digest_info_prefix(self.hash_algorithm());
        info.extend_from_slice(self.digest());
        info
    }

    /// The kind of signature that is expected.
    #[must_use]
    pub fn scheme(&self) -> SignatureScheme {
        self.scheme
    }

    pub(crate) fn typed_digest(&self) -> &Digest {
        &self.digest
    }
}

/// Something that holds a private key. Closures of this shape are signers.
pub trait Signer {
    /// Makes the signature.
    ///
    /// # Errors
    /// Whatever the key store says.
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
