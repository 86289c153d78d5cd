//! Signing in this process, behind feature `rsa`.

use alloc::vec::Vec;
use core::fmt;

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha2::Sha256;

use crate::error::Error;
use crate::public_key::{EC_PUBLIC_KEY, KeyRefusal, PublicKey, is_cut_off};
use crate::signer::{BoxError, Signer, ToBeSigned};

/// Signs policies with an RSA key held in memory.
///
/// Signatures are blinded; the `rsa` crate's open timing advisory (RUSTSEC-2023-0071) still matters
/// where an attacker can time many signatures. Keys that matter belong into a device, with the
/// two-step interface ([`PreparedPolicies`](crate::PreparedPolicies)). The key is zeroed when dropped.
///
/// # Examples
/// ```no_run
/// # use pcr::{Bank, Dialect, Pcr11, PhasePath, RsaSigner};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
/// let signer = RsaSigner::from_pem(&std::fs::read_to_string("pcr-signing-key.pem")?)?;
/// let document = boot
///     .policies(&[PhasePath::initrd()])?
///     .sign(signer.public_key(), &signer)?;
/// # Ok(())
/// # }
/// ```
pub struct RsaSigner {
    key: RsaPrivateKey,
    public: PublicKey,
}

impl RsaSigner {
    /// Takes a key of the `rsa` crate.
    ///
    /// # Errors
    /// [`Error::Key`] with the reason when the key cannot sign policies.
    pub fn new(key: RsaPrivateKey) -> Result<Self, Error> {
        let public = PublicKey::from_parts(&key.n().to_bytes_be(), &key.e().to_bytes_be())?;
        Ok(Self { key, public })
    }

    /// Reads a `PRIVATE KEY` (PKCS #8) or `RSA PRIVATE KEY` (PKCS #1) PEM text.
    ///
    /// # Errors
    /// [`Error::Key`] with the reason when the text is no such key or the key cannot sign policies.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let refused = |reason| Err(Error::Key(reason));
        if is_cut_off(pem.as_bytes()) {
            return refused(KeyRefusal::Truncated);
        }
        let has = |label| pem.contains(&alloc::format!("-----BEGIN {label}-----"));
        if has("ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED") {
            return refused(KeyRefusal::Encrypted);
        }
        if !pem.contains("PRIVATE KEY-----") {
            return refused(match () {
                () if has("PUBLIC KEY") || has("RSA PUBLIC KEY") => KeyRefusal::Public,
                () if has("CERTIFICATE") => KeyRefusal::Certificate,
                () => KeyRefusal::NotAPrivateKey,
            });
        }
        let key = if pem.contains("-----BEGIN RSA PRIVATE KEY-----") {
            RsaPrivateKey::from_pkcs1_pem(pem).ok()
        } else if pem.contains("-----BEGIN EC PRIVATE KEY-----") {
            return Err(Error::Key(KeyRefusal::EllipticCurve));
        } else {
            match RsaPrivateKey::from_pkcs8_pem(pem) {
                Ok(key) => Some(key),
                Err(rsa::pkcs8::Error::PublicKey(spki::Error::OidUnknown { oid })) => {
                    return Err(Error::Key(if oid == EC_PUBLIC_KEY {
                        KeyRefusal::EllipticCurve
                    } else {
                        KeyRefusal::Algorithm {
                            oid: alloc::format!("{oid}"),
                        }
                    }));
                }
                Err(_) => None,
            }
        };
        Self::new(key.ok_or(Error::Key(KeyRefusal::NotAPrivateKey))?)
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

impl Signer for RsaSigner {
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
        let scheme = Pkcs1v15Sign::new::<Sha256>();
        self.key
            .sign_with_rng(&mut rand_core::OsRng, scheme, request.digest())
            .map_err(|error| alloc::format!("{error}").into())
    }
}

/// The public half only.
impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaSigner")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
