use core::fmt;

use alloc::vec::Vec;
use rand_core::OsRng;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use zeroize::Zeroize as _;

use crate::{BoxError, Error, Signer, ToBeSigned, pem};

/// Signs with an RSA key in memory.
///
/// The `rsa` crate has an open advisory on timing (RUSTSEC-2023-0071): whoever can time very many signatures of one key may
/// learn about it. Signing here is always blinded; where an attacker can time it all the same, keep the key outside of the
/// process and sign in two steps. The key is wiped when the signer is dropped.
#[cfg_attr(docsrs, doc(cfg(feature = "rsa")))]
pub struct RsaSigner(RsaPrivateKey);

impl RsaSigner {
    /// Takes a key.
    #[must_use]
    pub const fn new(key: RsaPrivateKey) -> Self {
        Self(key)
    }

    /// Reads an unencrypted PEM key: `PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1).
    ///
    /// # Errors
    ///
    /// [`Error::Pem`] when the text holds no key of these kinds, [`Error::PrivateKey`] when it is not RSA or broken.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let mut blocks = pem::blocks(text).ok_or(Error::Pem {
            what: "private key",
        })?;
        let key = blocks.iter().find_map(|block| match block.label {
            "PRIVATE KEY" => {
                Some(RsaPrivateKey::from_pkcs8_der(&block.der).map_err(|_| Error::PrivateKey))
            }
            "RSA PRIVATE KEY" => {
                Some(RsaPrivateKey::from_pkcs1_der(&block.der).map_err(|_| Error::PrivateKey))
            }
            _ => None,
        });
        blocks.iter_mut().for_each(|block| block.der.zeroize());
        key.ok_or(Error::Pem {
            what: "private key",
        })?
        .map(Self)
    }
}

impl Signer for RsaSigner {
    fn sign(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
        let algorithm = request.hash_algorithm();
        let scheme = Pkcs1v15Sign {
            hash_len: Some(algorithm.digest_len()),
            prefix: algorithm.digest_info_prefix().into(),
        };
        // Without std this crate's error is no core error: its text has to do.
        self.0
            .sign_with_rng(&mut OsRng, scheme, request.digest())
            .map_err(|error| alloc::format!("{error}").into())
    }
}

impl fmt::Debug for RsaSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaSigner")
    }
}
