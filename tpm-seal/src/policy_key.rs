//! Public keys that sign PCR policies.

use core::fmt;

use der::pem::LineEnding;
use rsa::pkcs1::{DecodeRsaPublicKey as _, EncodeRsaPublicKey as _};
use rsa::pkcs1v15::{Signature, VerifyingKey};
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};
use spki::{DecodePublicKey as _, EncodePublicKey as _};

use crate::bank::sha256;
use crate::wire::tpm2b;
use crate::{Error, Name, hex};

/// The public key of whoever signs PCR policies: RSA, or P-256 for policy digests only (no product signs with it).
///
/// All TPMs take RSA 2048 with exponent 65537; many take nothing else.
///
/// ```no_run
/// use tpm_seal::PolicyKey;
///
/// let key = PolicyKey::from_pem(&std::fs::read_to_string("/run/systemd/tpm2-pcr-public-key.pem")?)?;
/// println!("{}", key.fingerprint());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyKey {
    key: Key,
    exponent_field_zero: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Key {
    Rsa(RsaPublicKey),
    Ecc(p256::PublicKey),
}

impl PolicyKey {
    /// Reads a PEM text: `PUBLIC KEY` (`SubjectPublicKeyInfo`) or `RSA PUBLIC KEY` (PKCS #1).
    ///
    /// # Errors
    /// [`Error::PolicyKey`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let key = if let Ok(key) = RsaPublicKey::from_public_key_pem(pem) {
            Key::Rsa(key)
        } else if let Ok(key) = RsaPublicKey::from_pkcs1_pem(pem) {
            Key::Rsa(key)
        } else if let Ok(key) = p256::PublicKey::from_public_key_pem(pem) {
            Key::Ecc(key)
        } else {
            return Err(Error::PolicyKey {
                reason: "no PEM of an RSA key up to 4096 bits or of a P-256 key",
            });
        };
        Self::of(key)
    }

    /// Reads a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`Error::PolicyKey`].
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if let Ok(key) = RsaPublicKey::from_public_key_der(der) {
            Self::of(Key::Rsa(key))
        } else if let Ok(key) = p256::PublicKey::from_public_key_der(der) {
            Self::of(Key::Ecc(key))
        } else {
            Err(Error::PolicyKey {
                reason: "no DER of an RSA key up to 4096 bits or of a P-256 key",
            })
        }
    }

    /// An RSA key from its numbers, the modulus big-endian.
    ///
    /// # Errors
    /// [`Error::PolicyKey`].
    pub fn from_rsa(modulus: &[u8], exponent: u32) -> Result<Self, Error> {
        RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(exponent))
            .map_err(|_| Error::PolicyKey {
                reason: "these numbers are no RSA key up to 4096 bits",
            })
            .and_then(|key| Self::of(Key::Rsa(key)))
    }

    fn of(key: Key) -> Result<Self, Error> {
        if let Key::Rsa(key) = &key {
            // The TPM counts key bits in whole bytes and has four bytes for the exponent.
            if key.n().bits() % 8 != 0 || key.e().bits() > 32 {
                return Err(Error::PolicyKey {
                    reason: "RSA bits not a multiple of 8, or exponent above 32 bits",
                });
            }
        }
        Ok(Self {
            key,
            exponent_field_zero: false,
        })
    }

    /// The same key with 0 in the exponent field of its public area. Some builds of systemd 255 wrote that for 65537,
    /// which gives another Name; tokens from then need it.
    #[must_use]
    pub fn with_zero_exponent_field(mut self) -> Self {
        self.exponent_field_zero = true;
        self
    }

    /// `TPMT_PUBLIC` as systemd and Talos load it: decrypt, sign, userWithAuth; no symmetric algorithm, no scheme.
    #[must_use]
    pub fn public_area(&self) -> Vec<u8> {
        let mut bytes = match self.key {
            Key::Rsa(_) => vec![0x00, 0x01],
            Key::Ecc(_) => vec![0x00, 0x23],
        };
        bytes.extend([
            0x00, 0x0b, 0x00, 0x06, 0x00, 0x40, 0x00, 0x00, 0x00, 0x10, 0x00, 0x10,
        ]);
        match &self.key {
            Key::Rsa(key) => {
                let modulus = key.n().to_bytes_be();
                let bits = u16::try_from(key.n().bits()).unwrap_or(u16::MAX);
                let exponent = if self.exponent_field_zero {
                    0
                } else {
                    self.rsa_exponent()
                };
                bytes.extend(bits.to_be_bytes());
                bytes.extend(exponent.to_be_bytes());
                bytes.extend(tpm2b(&modulus));
            }
            Key::Ecc(key) => {
                let point = p256::EncodedPoint::from(key);
                bytes.extend([0x00, 0x03, 0x00, 0x10]);
                bytes.extend(tpm2b(point.x().map_or(&[], |x| x.as_slice())));
                bytes.extend(tpm2b(point.y().map_or(&[], |y| y.as_slice())));
            }
        }
        bytes
    }

    fn rsa_exponent(&self) -> u32 {
        match &self.key {
            Key::Rsa(key) => key
                .e()
                .to_bytes_be()
                .iter()
                .fold(0, |value, &byte| value << 8 | u32::from(byte)),
            Key::Ecc(_) => 0,
        }
    }

    /// The Name that `TPM2_PolicyAuthorize` binds to.
    #[must_use]
    pub fn name(&self) -> Name {
        Name::of(&self.public_area())
    }

    /// `pkfp` of `.pcrsig` documents: SHA-256 of the PKCS #1 key (of the uncompressed point for P-256), in hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let encoded = match &self.key {
            Key::Rsa(key) => key
                .to_pkcs1_der()
                .map(|der| der.as_bytes().to_vec())
                .unwrap_or_default(),
            Key::Ecc(key) => p256::EncodedPoint::from(key).as_bytes().to_vec(),
        };
        hex::encode(&sha256(&[&encoded]))
    }

    /// PEM text of the `SubjectPublicKeyInfo`, as openssl writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        match &self.key {
            Key::Rsa(key) => key.to_public_key_pem(LineEnding::LF),
            Key::Ecc(key) => key.to_public_key_pem(LineEnding::LF),
        }
        .unwrap_or_default()
    }

    /// What a common TPM would not like about this key, for a warning when policies are signed or enrolled.
    #[must_use]
    pub fn concern(&self) -> Option<&'static str> {
        match &self.key {
            Key::Rsa(key) if key.n().bits() != 2048 => {
                Some("not RSA 2048: many TPMs take no other size")
            }
            Key::Rsa(_) if self.rsa_exponent() != 65537 => {
                Some("exponent is not 65537: many TPMs take no other")
            }
            Key::Rsa(_) => None,
            Key::Ecc(_) => Some("no product unlocks with ECC-signed policies"),
        }
    }

    pub(crate) const fn has_zero_exponent_field(&self) -> bool {
        self.exponent_field_zero
    }

    /// Whether `signature` is this key's RSASSA-PKCS1-v1.5 signature with SHA-256 over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::Rsa(key) => {
                let key = VerifyingKey::<sha2::Sha256>::new(key.clone());
                Signature::try_from(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
            Key::Ecc(_) => false,
        }
    }
}

impl fmt::Debug for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyKey({})", self.fingerprint())
    }
}
