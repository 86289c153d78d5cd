//! Private keys and certificates as files: what `imager gen` makes, and what an existing PKI has.

use std::fs;
use std::path::{Path, PathBuf};

use pkcs8::der::asn1::ObjectIdentifier;
use pkcs8::der::referenced::OwnedToRef;
use pkcs8::der::{Decode, pem};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

use crate::Error;
use crate::error::KeyProblem;

/// Where the passphrase of an encrypted key comes from; never from the command line, which others can read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Passphrase {
    /// A file; its first line counts.
    pub file: Option<PathBuf>,
    /// The name of an environment variable.
    pub variable: &'static str,
}

impl Passphrase {
    /// A passphrase from this file, or else from this environment variable.
    #[must_use]
    pub fn new(file: Option<PathBuf>, variable: &'static str) -> Self {
        Self { file, variable }
    }

    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if let Some(file) = &self.file {
            let bytes =
                Zeroizing::new(fs::read(file).map_err(|source| Error::io("read", file, source))?);
            let line = bytes
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            return Ok(Some(Zeroizing::new(
                line.strip_suffix(b"\r").unwrap_or(line).to_vec(),
            )));
        }
        Ok(std::env::var(self.variable)
            .ok()
            .map(|text| Zeroizing::new(text.into_bytes())))
    }

    fn hint(&self) -> &'static str {
        match self.variable {
            "IMAGER_PCR_KEY_PASSPHRASE" => {
                "--pcr-key-passphrase-file or the variable IMAGER_PCR_KEY_PASSPHRASE"
            }
            _ => "--key-passphrase-file or the variable IMAGER_KEY_PASSPHRASE",
        }
    }
}

/// Reads an RSA key from PEM: PKCS#8, PKCS#1, or encrypted PKCS#8.
///
/// # Errors
/// [`Error::Key`] says what is wrong with the file, [`Error::Io`] that it cannot be read.
pub fn read_private_key(path: &Path, passphrase: &Passphrase) -> Result<RsaPrivateKey, Error> {
    let problem = |problem| Error::Key {
        path: path.to_owned(),
        problem,
    };
    let text = Zeroizing::new(fs::read(path).map_err(|source| Error::io("read", path, source))?);
    if text
        .windows(22)
        .any(|window| window == b"Proc-Type: 4,ENCRYPTED")
    {
        return Err(problem(KeyProblem::Encryption(
            "OpenSSL's traditional form".into(),
        )));
    }
    let block = private_key_block(&text).ok_or_else(|| {
        problem(if is_cut_off(&text) {
            KeyProblem::Damaged("its END line is missing, the file is cut off".into())
        } else {
            KeyProblem::NotFound
        })
    })?;
    let (label, der) =
        pem::decode_vec(block).map_err(|error| problem(KeyProblem::Damaged(error.to_string())))?;
    let der = Zeroizing::new(der);
    let key = match label {
        "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&der)
            .map_err(|error| KeyProblem::Damaged(error.to_string())),
        "PRIVATE KEY" => rsa_from_pkcs8(&der),
        "ENCRYPTED PRIVATE KEY" => {
            let Some(words) = passphrase.read()? else {
                return Err(problem(KeyProblem::PassphraseMissing(passphrase.hint())));
            };
            decrypt(&der, &words)
        }
        "EC PRIVATE KEY" => Err(KeyProblem::NotRsa("EC".into())),
        "DSA PRIVATE KEY" => Err(KeyProblem::NotRsa("DSA".into())),
        _ => Err(KeyProblem::NotFound),
    }
    .map_err(problem)?;
    let bits = key.size() * 8;
    if !(2048..=4096).contains(&bits) {
        return Err(problem(KeyProblem::Size(bits)));
    }
    Ok(key)
}

/// The first PEM block whose label ends in `PRIVATE KEY`: files from OpenSSL have parameters or certificates beside it.
fn private_key_block(text: &[u8]) -> Option<&[u8]> {
    let find = |from: usize, needle: &[u8]| {
        text.get(from..)?
            .windows(needle.len())
            .position(|window| window == needle)
            .map(|at| from + at)
    };
    let mut from = 0;
    while let Some(start) = find(from, b"-----BEGIN ") {
        let label_end = find(start + 11, b"-----")?;
        let end = find(label_end + 5, b"-----END ")?;
        let stop = find(end + 9, b"-----")? + 5;
        if text.get(start..label_end)?.ends_with(b"PRIVATE KEY") {
            return text.get(start..stop);
        }
        from = stop;
    }
    None
}

/// Whether the last line that begins a PEM block is followed by none that ends one.
fn is_cut_off(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let last = text.rsplit_once("-----BEGIN ").map(|(_, rest)| rest);
    last.is_some_and(|rest| {
        let end = rest.split_once("-----END ").map(|(_, end)| end);
        !end.is_some_and(|end| end.contains("-----"))
    })
}

fn rsa_from_pkcs8(der: &[u8]) -> Result<RsaPrivateKey, KeyProblem> {
    let info =
        PrivateKeyInfo::from_der(der).map_err(|error| KeyProblem::Damaged(error.to_string()))?;
    if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
        return Err(KeyProblem::NotRsa(algorithm_name(info.algorithm.oid)));
    }
    RsaPrivateKey::from_pkcs8_der(der).map_err(|error| KeyProblem::Damaged(error.to_string()))
}

fn decrypt(der: &[u8], words: &[u8]) -> Result<RsaPrivateKey, KeyProblem> {
    let sealed = EncryptedPrivateKeyInfo::try_from(der)
        .map_err(|error| KeyProblem::Encryption(error.to_string()))?;
    let open = sealed.decrypt(words).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { oid }) => {
            KeyProblem::Encryption(oid.to_string())
        }
        pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::NoPbes1CryptSupport
            | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
        ) => KeyProblem::Encryption(error.to_string()),
        _ => KeyProblem::PassphraseWrong,
    })?;
    rsa_from_pkcs8(open.as_bytes()).map_err(|problem| match problem {
        // A wrong passphrase can leave padding that looks right by chance, and garbage before it.
        KeyProblem::Damaged(_) => KeyProblem::PassphraseWrong,
        other => other,
    })
}

fn algorithm_name(oid: ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.10045.2.1" => "EC".into(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".into(),
        "1.3.101.112" => "Ed25519".into(),
        "1.3.101.113" => "Ed448".into(),
        "1.2.840.10040.4.1" => "DSA".into(),
        other => other.into(),
    }
}

/// Is this the key whose public half the certificate (DER) holds?
#[must_use]
pub fn belongs_to(key: &RsaPrivateKey, certificate_der: &[u8]) -> bool {
    let Ok(certificate) = x509_cert::Certificate::from_der(certificate_der) else {
        return false;
    };
    let held = RsaPublicKey::try_from(
        certificate
            .tbs_certificate
            .subject_public_key_info
            .owned_to_ref(),
    );
    held.is_ok_and(|held| held == key.to_public_key())
}
