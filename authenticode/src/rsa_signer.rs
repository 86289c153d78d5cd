use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use rand_core::OsRng;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};

use crate::error::{BoxError, Error};
use crate::hash::HashAlgorithm;
use crate::key::digest_info_prefix;
use crate::signer::{SignatureScheme, Signer, ToBeSigned};

const BEGIN: &str = "-----BEGIN ";

/// Signs in this process with an RSA key, blinded.
///
/// The `rsa` crate's arithmetic is not constant in time (RUSTSEC-2023-0071, no fix exists). That matters where an attacker
/// can time many signatures; use the two steps of [`Prepared`](crate::Prepared) with a key store there.
/// The key is cleared from memory by its own crate when dropped.
pub struct RsaSigner {
    key: RsaPrivateKey,
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaSigner(…)")
    }
}

impl RsaSigner {
    /// A signer with this key.
    #[must_use]
    pub fn new(key: RsaPrivateKey) -> Self {
        Self { key }
    }

    /// Reads an unencrypted PEM key, PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`); other blocks before it, such as
    /// certificates, are skipped.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let mut rest = text;
        let mut seen = "there is no PEM block of a private key";
        while let Some(start) = rest.find(BEGIN) {
            let block = rest.get(start..).unwrap_or_default();
            let label = block.get(BEGIN.len()..).unwrap_or_default();
            let label = label.split("-----").next().unwrap_or_default();
            let end = block.find("-----END ").and_then(|end| {
                let line = block.get(end..)?.find('\n');
                Some(line.map_or(block.len(), |line| end.saturating_add(line)))
            });
            let (block, after) = block
                .split_at_checked(end.unwrap_or(block.len()))
                .unwrap_or((block, ""));
            rest = after;
            match label {
                "PRIVATE KEY" => {
                    return Self::checked(RsaPrivateKey::from_pkcs8_pem(block.trim_end()));
                }
                "RSA PRIVATE KEY" if block.contains("ENCRYPTED") => seen = "it is encrypted",
                "RSA PRIVATE KEY" => {
                    return Self::checked(RsaPrivateKey::from_pkcs1_pem(block.trim_end()));
                }
                "ENCRYPTED PRIVATE KEY" => seen = "it is encrypted",
                label if label.ends_with("PRIVATE KEY") => seen = "it is not an RSA key",
                _ => {}
            }
        }
        Err(Error::Key(Box::new(KeyProblem(seen))))
    }

    /// Reads an unencrypted key in DER, PKCS#8 or PKCS#1.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_der(bytes: &[u8]) -> Result<Self, Error> {
        match RsaPrivateKey::from_pkcs1_der(bytes) {
            Ok(key) => Self::checked::<fmt::Error>(Ok(key)),
            Err(_) => Self::checked(RsaPrivateKey::from_pkcs8_der(bytes)),
        }
    }

    /// Reads the content of a key file, PEM or DER.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, Error> {
        match core::str::from_utf8(bytes) {
            Ok(text) if text.contains(BEGIN) => Self::from_pem(text),
            _ => Self::from_der(bytes),
        }
    }

    fn checked<E: fmt::Debug + fmt::Display + Send + Sync + 'static>(
        key: Result<RsaPrivateKey, E>,
    ) -> Result<Self, Error> {
        let key = key.map_err(|error| Error::Key(Box::new(KeyProblem(error))))?;
        match key.validate() {
            Ok(()) => Ok(Self { key }),
            Err(error) => Err(Error::Key(Box::new(KeyProblem(error)))),
        }
    }
}

/// The libraries' errors are errors only where they have std.
#[derive(Debug)]
struct KeyProblem<E>(E);

impl<E: fmt::Display> fmt::Display for KeyProblem<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for KeyProblem<E> {}

impl Signer for RsaSigner {
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
        let digest = request.digest();
        let signature = match request.scheme() {
            SignatureScheme::RsaPkcs1 => {
                let scheme = Pkcs1v15Sign {
                    hash_len: Some(digest.len()),
                    prefix: Box::from(digest_info_prefix(request.hash_algorithm())),
                };
                self.key.sign_with_rng(&mut OsRng, scheme, digest)
            }
            SignatureScheme::RsaPss => {
                let salt = digest.len();
                let scheme = match request.hash_algorithm() {
                    HashAlgorithm::Sha1 => Pss::new_blinded_with_salt::<sha1::Sha1>(salt),
                    HashAlgorithm::Sha256 => Pss::new_blinded_with_salt::<sha2::Sha256>(salt),
                    HashAlgorithm::Sha384 => Pss::new_blinded_with_salt::<sha2::Sha384>(salt),
                    HashAlgorithm::Sha512 => Pss::new_blinded_with_salt::<sha2::Sha512>(salt),
                };
                self.key.sign_with_rng(&mut OsRng, scheme, digest)
            }
            SignatureScheme::Ecdsa | SignatureScheme::Ed25519 => {
                return Err("an RSA key cannot make this kind of signature".into());
            }
        };
        signature.map_err(|error| Box::new(KeyProblem(error)).into())
    }
}
