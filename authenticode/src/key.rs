//! Public keys and signature checks.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};

use crate::der::{self, Reader};
use crate::hash::{Digest, HashAlgorithm};
use crate::oid;

/// Largest modulus that OpenSSL, and with it firmware, works with.
const MAX_RSA_BITS: usize = 16384;

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// RSA of so many bits, the only kind that firmware takes.
    Rsa {
        /// Length of the modulus.
        bits: usize,
    },
    /// RSA restricted to PSS signatures.
    RsaPss,
    /// ECDSA on P-256.
    EcP256,
    /// ECDSA on P-384.
    EcP384,
    /// ECDSA on P-521.
    EcP521,
    /// Ed25519.
    Ed25519,
    /// Anything else.
    Unknown,
}

impl KeyKind {
    /// Whether the UEFI reference firmware can check signatures of such a key.
    #[must_use]
    pub fn is_for_firmware(self) -> bool {
        matches!(self, Self::Rsa { .. })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RSA",
            Self::RsaPss => "RSA-PSS",
            Self::EcP256 => "EC P-256",
            Self::EcP384 => "EC P-384",
            Self::EcP521 => "EC P-521",
            Self::Ed25519 => "Ed25519",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            other => f.write_str(other.name()),
        }
    }
}

#[derive(Clone)]
pub(crate) enum PublicKey {
    Rsa(RsaPublicKey),
    RsaPss(RsaPublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(Box<p521::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// A scheme named by an AlgorithmIdentifier of a certificate or a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `rsaEncryption`: the hash is named elsewhere.
    Rsa,
    RsaWith(HashAlgorithm),
    Pss(PssParameters),
    EcdsaWith(HashAlgorithm),
    /// `id-ecPublicKey`, which some tools write.
    Ec,
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PssParameters {
    pub(crate) hash: HashAlgorithm,
    pub(crate) salt_len: usize,
}

impl Scheme {
    pub(crate) fn parse(algorithm: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(algorithm)
            .expect(der::SEQUENCE, "algorithm")
            .ok()?
            .reader();
        let id = fields.expect(der::OID, "algorithm").ok()?;
        Some(match id.value {
            oid::RSA => Self::Rsa,
            oid::SHA1_WITH_RSA => Self::RsaWith(HashAlgorithm::Sha1),
            oid::SHA256_WITH_RSA => Self::RsaWith(HashAlgorithm::Sha256),
            oid::SHA384_WITH_RSA => Self::RsaWith(HashAlgorithm::Sha384),
            oid::SHA512_WITH_RSA => Self::RsaWith(HashAlgorithm::Sha512),
            oid::ECDSA_SHA1 => Self::EcdsaWith(HashAlgorithm::Sha1),
            oid::ECDSA_SHA256 => Self::EcdsaWith(HashAlgorithm::Sha256),
            oid::ECDSA_SHA384 => Self::EcdsaWith(HashAlgorithm::Sha384),
            oid::ECDSA_SHA512 => Self::EcdsaWith(HashAlgorithm::Sha512),
            oid::EC => Self::Ec,
            oid::ED25519 => Self::Ed25519,
            oid::RSA_PSS => Self::Pss(PssParameters::parse(&mut fields)?),
            _ => return None,
        })
    }
}

impl PssParameters {
    /// RSASSA-PSS-params (RFC 4055) with the same hash inside and outside MGF1.
    fn parse(fields: &mut Reader<'_>) -> Option<Self> {
        const WHAT: &str = "PSS parameters";
        let hash_of = |algorithm: &der::Tlv<'_>| {
            oid::to_hash(algorithm.reader().expect(der::OID, WHAT).ok()?.value)
        };
        let mut list = fields.expect(der::SEQUENCE, WHAT).ok()?.reader();
        let (mut hash, mut inner, mut salt_len) = (HashAlgorithm::Sha1, HashAlgorithm::Sha1, 20);
        if let Some(explicit) = list.optional(der::context(0), WHAT).ok()? {
            hash = hash_of(&explicit.reader().expect(der::SEQUENCE, WHAT).ok()?)?;
        }
        if let Some(explicit) = list.optional(der::context(1), WHAT).ok()? {
            let mut mask = explicit.reader().expect(der::SEQUENCE, WHAT).ok()?.reader();
            if mask.expect(der::OID, WHAT).ok()?.value != oid::MGF1 {
                return None;
            }
            inner = hash_of(&mask.expect(der::SEQUENCE, WHAT).ok()?)?;
        }
        if let Some(explicit) = list.optional(der::context(2), WHAT).ok()? {
            salt_len = usize::try_from(der::small(
                &explicit.reader().expect(der::INTEGER, WHAT).ok()?,
            )?)
            .ok()?;
        }
        (hash == inner && salt_len <= 512).then_some(Self { hash, salt_len })
    }
}

/// DigestInfo of PKCS#1 v1.5 before the digest itself.
pub(crate) fn digest_info_prefix(algorithm: HashAlgorithm) -> Vec<u8> {
    let id = der::algorithm(oid::of_hash(algorithm));
    let zeros = [0; 64];
    let digest = der::tlv(
        der::OCTET_STRING,
        &[zeros.get(..algorithm.digest_len()).unwrap_or_default()],
    );
    let mut info = der::sequence(&[&id, &digest]);
    info.truncate(info.len().saturating_sub(algorithm.digest_len()));
    info
}

impl PublicKey {
    /// Reads SubjectPublicKeyInfo.
    pub(crate) fn parse(info: &[u8]) -> Option<Self> {
        const WHAT: &str = "public key";
        let mut fields = Reader::new(info).expect(der::SEQUENCE, WHAT).ok()?.reader();
        let mut algorithm = fields.expect(der::SEQUENCE, WHAT).ok()?.reader();
        let kind = algorithm.expect(der::OID, WHAT).ok()?;
        let bits = fields
            .expect(der::BIT_STRING, WHAT)
            .ok()?
            .value
            .strip_prefix(&[0])?;
        Some(match kind.value {
            oid::RSA => Self::Rsa(rsa_key(bits)?),
            oid::RSA_PSS => Self::RsaPss(rsa_key(bits)?),
            oid::EC => match algorithm.expect(der::OID, WHAT).ok()?.value {
                oid::P256 => Self::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?),
                oid::P384 => Self::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?),
                oid::P521 => Self::P521(Box::new(
                    p521::ecdsa::VerifyingKey::from_sec1_bytes(bits).ok()?,
                )),
                _ => return None,
            },
            oid::ED25519 => Self::Ed25519(Box::new(
                ed25519_dalek::VerifyingKey::from_bytes(bits.try_into().ok()?).ok()?,
            )),
            _ => return None,
        })
    }

    pub(crate) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa(key) => KeyKind::Rsa {
                bits: key.n().bits(),
            },
            Self::RsaPss(_) => KeyKind::RsaPss,
            Self::P256(_) => KeyKind::EcP256,
            Self::P384(_) => KeyKind::EcP384,
            Self::P521(_) => KeyKind::EcP521,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    pub(crate) fn verify_pkcs1(&self, digest: &Digest, signature: &[u8]) -> bool {
        let Self::Rsa(key) = self else { return false };
        let scheme = Pkcs1v15Sign {
            hash_len: Some(digest.algorithm().digest_len()),
            prefix: Box::from(digest_info_prefix(digest.algorithm())),
        };
        key.verify(scheme, digest.as_bytes(), signature).is_ok()
    }

    pub(crate) fn verify_pss(
        &self,
        parameters: PssParameters,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let (Self::Rsa(key) | Self::RsaPss(key)) = self else {
            return false;
        };
        let salt = parameters.salt_len;
        let scheme = match parameters.hash {
            HashAlgorithm::Sha1 => Pss::new_with_salt::<sha1::Sha1>(salt),
            HashAlgorithm::Sha256 => Pss::new_with_salt::<sha2::Sha256>(salt),
            HashAlgorithm::Sha384 => Pss::new_with_salt::<sha2::Sha384>(salt),
            HashAlgorithm::Sha512 => Pss::new_with_salt::<sha2::Sha512>(salt),
        };
        key.verify(
            scheme,
            parameters.hash.digest(message).as_bytes(),
            signature,
        )
        .is_ok()
    }

    pub(crate) fn verify_ecdsa(&self, digest: &Digest, signature: &[u8]) -> bool {
        // The leftmost bits of the hash count; a hash that is shorter than the field is the same number with zeros before.
        let mut number = alloc::vec![0; self.field_len().saturating_sub(digest.as_bytes().len())];
        number.extend_from_slice(digest.as_bytes());
        match self {
            Self::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&number, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&number, &signature).is_ok()),
            Self::P521(key) => p521::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&number, &signature).is_ok()),
            _ => false,
        }
    }

    fn field_len(&self) -> usize {
        match self {
            Self::P256(_) => 32,
            Self::P384(_) => 48,
            Self::P521(_) => 66,
            _ => 0,
        }
    }

    pub(crate) fn verify_ed25519(&self, message: &[u8], signature: &[u8]) -> bool {
        let (Self::Ed25519(key), Ok(signature)) = (self, signature.try_into()) else {
            return false;
        };
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        key.verify_strict(message, &signature).is_ok()
    }

    /// Checks a certificate's signature; `None` if the algorithm is not known here.
    pub(crate) fn verify_certificate(
        &self,
        algorithm: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        Some(match Scheme::parse(algorithm)? {
            Scheme::RsaWith(hash) => self.verify_pkcs1(&hash.digest(message), signature),
            Scheme::Pss(parameters) => self.verify_pss(parameters, message, signature),
            Scheme::EcdsaWith(hash) => self.verify_ecdsa(&hash.digest(message), signature),
            Scheme::Ed25519 => self.verify_ed25519(message, signature),
            Scheme::Rsa | Scheme::Ec => false,
        })
    }

    /// Whether a certificate's signature algorithm is one for this kind of key, as OpenSSL compares them.
    pub(crate) fn fits_algorithm(&self, algorithm: &[u8]) -> bool {
        match Scheme::parse(algorithm) {
            Some(Scheme::Rsa | Scheme::RsaWith(_)) => matches!(self, Self::Rsa(_)),
            Some(Scheme::Pss(_)) => matches!(self, Self::Rsa(_) | Self::RsaPss(_)),
            Some(Scheme::Ec | Scheme::EcdsaWith(_)) => {
                matches!(self, Self::P256(_) | Self::P384(_) | Self::P521(_))
            }
            Some(Scheme::Ed25519) => matches!(self, Self::Ed25519(_)),
            None => false,
        }
    }
}

fn rsa_key(bits: &[u8]) -> Option<RsaPublicKey> {
    const WHAT: &str = "RSA key";
    let mut numbers = Reader::new(bits).expect(der::SEQUENCE, WHAT).ok()?.reader();
    let mut number = || {
        let value = numbers.expect(der::INTEGER, WHAT).ok()?.value;
        value
            .first()
            .is_some_and(|first| first & 0x80 == 0)
            .then(|| BigUint::from_bytes_be(value))
    };
    let (modulus, exponent) = (number()?, number()?);
    numbers.finish(WHAT).ok()?;
    RsaPublicKey::new_with_max_size(modulus, exponent, MAX_RSA_BITS).ok()
}

impl PssParameters {
    /// The AlgorithmIdentifier.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let hash = der::algorithm(oid::of_hash(self.hash));
        let mask = der::sequence(&[&der::oid(oid::MGF1), &hash]);
        let salt = [
            der::INTEGER,
            1,
            u8::try_from(self.salt_len).unwrap_or(u8::MAX),
        ];
        let parameters = der::sequence(&[
            &der::tlv(der::context(0), &[&hash]),
            &der::tlv(der::context(1), &[&mask]),
            &der::tlv(der::context(2), &[&salt]),
        ]);
        der::sequence(&[&der::oid(oid::RSA_PSS), &parameters])
    }
}
