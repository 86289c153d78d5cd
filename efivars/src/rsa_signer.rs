use core::fmt;

use alloc::vec::Vec;
use rand_core::OsRng;
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use zeroize::Zeroize as _;

use crate::certificate::RSA_ENCRYPTION;
use crate::der::{self, Reader};
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
    /// [`Error::Pem`] when the text holds no private key, [`Error::KeyEncrypted`], [`Error::KeyNotRsa`], [`Error::PrivateKey`]
    /// when it is broken.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        const NONE: Error = Error::Pem {
            what: "private key",
        };
        // The header of a block of the old form, which is not base64.
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(Error::KeyEncrypted);
        }
        let mut blocks = pem::blocks(text).ok_or(NONE)?;
        let key = blocks
            .iter()
            .find_map(|block| key(block.label, &block.der))
            .unwrap_or(Err(NONE));
        blocks.iter_mut().for_each(|block| block.der.zeroize());
        key.map(Self)
    }
}

/// The key in a block; nothing when it is a block of another kind.
fn key(label: &str, der: &[u8]) -> Option<Result<RsaPrivateKey, Error>> {
    Some(match label {
        "PRIVATE KEY" if is_of_another_kind(der) => Err(Error::KeyNotRsa),
        "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(der).map_err(|_| Error::PrivateKey),
        "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(der).map_err(|_| Error::PrivateKey),
        "EC PRIVATE KEY" | "DSA PRIVATE KEY" => Err(Error::KeyNotRsa),
        "ENCRYPTED PRIVATE KEY" => Err(Error::KeyEncrypted),
        _ => return None,
    })
}

/// Whether PKCS#8 says that the key is for another algorithm.
fn is_of_another_kind(der: &[u8]) -> bool {
    const WHAT: &str = "private key";
    let algorithm = || {
        let mut fields = Reader::new(der, WHAT).expect(der::SEQUENCE)?.reader(WHAT);
        fields.expect(der::INTEGER)?;
        let mut algorithm = fields.expect(der::SEQUENCE)?.reader(WHAT);
        algorithm.expect(der::OID)
    };
    algorithm().is_ok_and(|found| found.value != RSA_ENCRYPTION)
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
