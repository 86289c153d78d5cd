//! The public half of a policy key.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use const_oid::ObjectIdentifier;
use der::asn1::BitStringRef;
use der::pem::{self, LineEnding};
use der::{Decode as _, Encode as _};
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest as _, Sha256};
use spki::SubjectPublicKeyInfoRef;
use thiserror::Error;

use crate::bank::Bank;
use crate::error::Error as CrateError;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// Why a key cannot sign policies.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRefusal {
    /// Neither PEM nor DER of a public key.
    #[error("neither a PEM nor a DER public key")]
    NotAKey,
    /// Neither form of a private key in PEM.
    #[error("no PEM of a private key (PRIVATE KEY or RSA PRIVATE KEY)")]
    NotAPrivateKey,
    /// A PEM block that begins and does not end: a part of the file is missing.
    #[error("a PEM block without its END line: the text is cut off")]
    Truncated,
    /// A private key where a public one belongs.
    #[error("a private key, expected the public key")]
    Private,
    /// A public key where the private one belongs.
    #[error("a public key, expected the private key")]
    Public,
    /// A private key that a passphrase protects.
    #[error("an encrypted private key, expected one that is not encrypted")]
    Encrypted,
    /// A certificate where a key belongs.
    #[error("a certificate, expected a key")]
    Certificate,
    /// An elliptic curve key: a TPM's policy check and every known unsealer take RSA signatures only.
    #[error("an elliptic curve key, but unsealing verifies RSA signatures only")]
    EllipticCurve,
    /// Another algorithm than RSA.
    #[error("algorithm {oid}, expected RSA (1.2.840.113549.1.1.1)")]
    Algorithm {
        /// The algorithm's object identifier.
        oid: String,
    },
    /// A modulus of a size that no TPM takes, or that is too small to be safe.
    #[error("an RSA key of {bits} bits, expected 2048 to 4096")]
    Size {
        /// Bits of the modulus.
        bits: usize,
    },
    /// A public exponent that TPMs refuse.
    #[error("an RSA key with exponent {exponent}, expected 65537")]
    Exponent {
        /// The exponent, in decimal digits.
        exponent: String,
    },
}

/// The RSA public key that policies are verified with: the content of `.pcrpkey`.
///
/// # Examples
/// ```
/// use pcr::{Error, KeyRefusal, PublicKey};
///
/// let ec = "-----BEGIN PUBLIC KEY-----\n\
///     MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMKBCTNIcKUSDii11ySs3526iDZ8A\n\
///     iTo7Tu6KPAqv7D7gS2XpJFbZiItSs3m9+9Ue6GnvHw/GW2ZZaVtszggXIw==\n\
///     -----END PUBLIC KEY-----\n";
/// assert!(matches!(PublicKey::from_pem(ec), Err(Error::Key(KeyRefusal::EllipticCurve))));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: RsaPublicKey,
    pkcs1: Vec<u8>,
    pem: String,
    fingerprint: [u8; 32],
}

impl PublicKey {
    /// Reads `PUBLIC KEY` (SubjectPublicKeyInfo) or `RSA PUBLIC KEY` (PKCS #1) PEM, the content of a
    /// `.pcrpkey` section; NULs and blanks around it are skipped.
    ///
    /// # Errors
    /// [`Error::Key`](CrateError::Key) with the reason.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, CrateError> {
        let pem = pem.as_ref();
        let start = pem.iter().position(|byte| *byte == b'-').unwrap_or(0);
        let end = pem
            .iter()
            .rposition(|byte| *byte == b'-')
            .map_or(0, |last| last.saturating_add(1));
        let text = pem.get(start..end).unwrap_or_default();
        let unreadable = if is_cut_off(pem) {
            KeyRefusal::Truncated
        } else {
            KeyRefusal::NotAKey
        };
        let (label, der) = pem::decode_vec(text).map_err(|_| refused(unreadable))?;
        match label {
            "PUBLIC KEY" => Self::from_spki(&der),
            "RSA PUBLIC KEY" => Self::from_pkcs1(&der),
            "CERTIFICATE" => Err(refused(KeyRefusal::Certificate)),
            label if label.ends_with("PRIVATE KEY") => Err(refused(KeyRefusal::Private)),
            _ => Err(refused(KeyRefusal::NotAKey)),
        }
    }

    /// Reads the DER of a SubjectPublicKeyInfo or of a PKCS #1 RSAPublicKey.
    ///
    /// # Errors
    /// [`Error::Key`](CrateError::Key) with the reason.
    pub fn from_der(der: &[u8]) -> Result<Self, CrateError> {
        if SubjectPublicKeyInfoRef::from_der(der).is_ok() {
            Self::from_spki(der)
        } else {
            Self::from_pkcs1(der)
        }
    }

    /// Reads the key from modulus and exponent, both big endian.
    ///
    /// # Errors
    /// [`Error::Key`](CrateError::Key) with the reason.
    pub fn from_parts(modulus: &[u8], exponent: &[u8]) -> Result<Self, CrateError> {
        Self::checked(
            BigUint::from_bytes_be(modulus),
            BigUint::from_bytes_be(exponent),
        )
    }

    fn from_spki(der: &[u8]) -> Result<Self, CrateError> {
        let spki =
            SubjectPublicKeyInfoRef::from_der(der).map_err(|_| refused(KeyRefusal::NotAKey))?;
        match spki.algorithm.oid {
            RSA_ENCRYPTION => Self::from_pkcs1(spki.subject_public_key.raw_bytes()),
            EC_PUBLIC_KEY => Err(refused(KeyRefusal::EllipticCurve)),
            oid => Err(refused(KeyRefusal::Algorithm {
                oid: format!("{oid}"),
            })),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, CrateError> {
        let parts =
            rsa::pkcs1::RsaPublicKey::try_from(der).map_err(|_| refused(KeyRefusal::NotAKey))?;
        Self::from_parts(parts.modulus.as_bytes(), parts.public_exponent.as_bytes())
    }

    fn checked(modulus: BigUint, exponent: BigUint) -> Result<Self, CrateError> {
        let bits = modulus.bits();
        if !(2048..=4096).contains(&bits) {
            return Err(refused(KeyRefusal::Size { bits }));
        }
        let unusable = exponent < BigUint::from(17u8) || exponent.bits() > 32;
        let key = RsaPublicKey::new(modulus, exponent.clone());
        let Some(key) = key.ok().filter(|_| !unusable) else {
            return Err(refused(KeyRefusal::Exponent {
                exponent: format!("{exponent}"),
            }));
        };
        let encoded = key.to_pkcs1_der().ok().and_then(|pkcs1| {
            let pkcs1 = pkcs1.as_bytes().to_vec();
            Some((to_pem(&pkcs1).ok()?, pkcs1))
        });
        let (pem, pkcs1) = encoded.ok_or(refused(KeyRefusal::NotAKey))?;
        Ok(Self {
            fingerprint: Sha256::digest(&pkcs1).into(),
            key,
            pkcs1,
            pem,
        })
    }

    /// `pkfp`: the SHA-256 of the key's PKCS #1 RSAPublicKey DER.
    #[must_use]
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.key.n().bits()
    }

    /// Bytes of a signature.
    #[must_use]
    pub fn signature_len(&self) -> usize {
        self.key.size()
    }

    /// What may go wrong with this key on some TPMs: sizes and exponents that the TPM library allows
    /// but few chips take.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        if self.bits() != 2048 {
            Some("many TPMs take RSA keys of 2048 bits only")
        } else if *self.key.e() != BigUint::from(65537u32) {
            Some("TPMs need not take exponents other than 65537")
        } else {
            None
        }
    }

    /// The key as PKCS #1 RSAPublicKey DER.
    #[must_use]
    pub fn to_pkcs1_der(&self) -> &[u8] {
        &self.pkcs1
    }

    /// The key as `PUBLIC KEY` PEM, the form for `.pcrpkey`.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// Whether `signature` is RSASSA-PKCS1-v1_5 over `message` with `hash`. Policies use SHA-256;
    /// some tools signed with the bank's hash.
    #[must_use]
    pub fn verifies(&self, hash: Bank, message: &[u8], signature: &[u8]) -> bool {
        let scheme = match hash {
            Bank::Sha1 => Pkcs1v15Sign::new::<sha1::Sha1>(),
            Bank::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
            Bank::Sha384 => Pkcs1v15Sign::new::<sha2::Sha384>(),
            Bank::Sha512 => Pkcs1v15Sign::new::<sha2::Sha512>(),
        };
        let digest = hash.hash(message);
        self.key
            .verify(scheme, digest.as_bytes(), signature)
            .is_ok()
    }
}

/// Fingerprint and size, never the whole key.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits, pkfp ", self.bits())?;
        self.fingerprint
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// SubjectPublicKeyInfo of a PKCS #1 key, as PEM.
fn to_pem(pkcs1: &[u8]) -> der::Result<String> {
    let spki = SubjectPublicKeyInfoRef {
        algorithm: rsa::pkcs1::ALGORITHM_ID,
        subject_public_key: BitStringRef::from_bytes(pkcs1)?,
    };
    Ok(pem::encode_string(
        "PUBLIC KEY",
        LineEnding::LF,
        &spki.to_der()?,
    )?)
}

/// Whether a PEM block begins in the text and no such block ends after it.
pub(crate) fn is_cut_off(text: &[u8]) -> bool {
    let find = |from: usize, needle: &[u8]| {
        let rest = text.get(from..)?;
        let at = rest
            .windows(needle.len())
            .position(|window| window == needle)?;
        from.checked_add(at)?.checked_add(needle.len())
    };
    let ends = |from| find(find(from, b"-----END ")?, b"-----");
    find(0, b"-----BEGIN ").is_some_and(|begun| ends(begun).is_none())
}

fn refused(reason: KeyRefusal) -> CrateError {
    CrateError::Key(reason)
}
