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

    /// Reads an unencrypted PEM key, PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        // Text around the block, which OpenSSL tools write, is not for the strict reader.
        let block = text
            .find("-----BEGIN ")
            .map_or(text, |start| text.get(start..).unwrap_or(text));
        let end = block.find("-----END ").and_then(|end| {
            let line = block
                .get(end..)?
                .find('\n')
                .map_or(block.len(), |newline| end.saturating_add(newline));
            block.get(..line)
        });
        let block = end.unwrap_or(block).trim_end();
        let key = if block.starts_with("-----BEGIN RSA PRIVATE KEY") {
            RsaPrivateKey::from_pkcs1_pem(block)
                .map_err(|error| Error::Key(Box::new(KeyProblem(error))))
        } else {
            RsaPrivateKey::from_pkcs8_pem(block)
                .map_err(|error| Error::Key(Box::new(KeyProblem(error))))
        }?;
        key.validate()
            .map_err(|error| Error::Key(Box::new(KeyProblem(error))))?;
        Ok(Self { key })
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
