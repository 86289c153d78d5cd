//! `imager gen uki` and `imager gen pcr`: new keys.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use der::asn1::UtcTime;
use der::{Encode, EncodePem};
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use sha2::Sha256;
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::builder::{Builder, CertificateBuilder, Profile};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use crate::output::{Existing, write_all};
use crate::{Error, clock};

/// How long a new Secure Boot certificate is valid. Firmware ignores the dates; other tools do not.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The files of a new Secure Boot key.
#[derive(Debug)]
#[non_exhaustive]
pub struct UkiKey {
    /// Certificate, PEM.
    pub certificate_pem: PathBuf,
    /// Certificate, DER.
    pub certificate_der: PathBuf,
    /// Private key, PKCS#8 PEM, mode 0600.
    pub key: PathBuf,
}

/// Makes the Secure Boot key and its self-signed certificate.
///
/// # Errors
/// [`Error::Exists`] when one of the files is there and `force` is off; [`Error::Step`] when no random numbers are to
/// be had; [`Error::Io`].
pub fn uki_key(
    folder: &Path,
    common_name: &str,
    bits: usize,
    force: bool,
) -> Result<UkiKey, Error> {
    let files = UkiKey {
        certificate_pem: folder.join("uki-signing-cert.pem"),
        certificate_der: folder.join("uki-signing-cert.der"),
        key: folder.join("uki-signing-key.pem"),
    };
    refuse_existing(
        &[&files.certificate_pem, &files.certificate_der, &files.key],
        force,
    )?;
    let key = new_key(bits)?;
    let certificate = self_signed(&key, common_name)?;
    let pem = certificate
        .to_pem(LineEnding::LF)
        .map_err(|error| Error::step("write the certificate", error))?;
    let der = certificate
        .to_der()
        .map_err(|error| Error::step("write the certificate", error))?;
    write_all(&[
        (
            &files.key,
            private_pem(&key)?.as_bytes(),
            0o600,
            retire_if(force),
        ),
        (
            &files.certificate_pem,
            pem.as_bytes(),
            0o644,
            replace_if(force),
        ),
        (&files.certificate_der, &der, 0o644, replace_if(force)),
    ])?;
    Ok(files)
}

/// The files of a new PCR signing key.
#[derive(Debug)]
#[non_exhaustive]
pub struct PcrKey {
    /// Private key, PKCS#8 PEM, mode 0600.
    pub key: PathBuf,
    /// Public key, SubjectPublicKeyInfo PEM: what the UKI's `.pcrpkey` holds.
    pub public: PathBuf,
}

/// Makes the PCR signing key. RSA-2048: many TPMs verify no longer one.
///
/// # Errors
/// As [`uki_key`].
pub fn pcr_key(folder: &Path, force: bool) -> Result<PcrKey, Error> {
    let files = PcrKey {
        key: folder.join("pcr-signing-key.pem"),
        public: folder.join("pcr-signing-public-key.pem"),
    };
    refuse_existing(&[&files.key, &files.public], force)?;
    let key = new_key(2048)?;
    let public = public_pem(&key)?;
    write_all(&[
        (
            &files.key,
            private_pem(&key)?.as_bytes(),
            0o600,
            retire_if(force),
        ),
        (&files.public, public.as_bytes(), 0o644, replace_if(force)),
    ])?;
    Ok(files)
}

/// The public half as PEM, as `.pcrpkey` holds it.
///
/// # Errors
/// [`Error::Step`] when the key cannot be encoded.
pub fn public_pem(key: &RsaPrivateKey) -> Result<String, Error> {
    key.to_public_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| Error::step("write the public key", error))
}

fn private_pem(key: &RsaPrivateKey) -> Result<Zeroizing<String>, Error> {
    key.to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| Error::step("write the private key", error))
}

/// Two searches for primes side by side: the time of one such search varies by a factor of ten.
fn new_key(bits: usize) -> Result<RsaPrivateKey, Error> {
    let (sender, keys) = mpsc::channel();
    for _ in 0..2 {
        let sender = sender.clone();
        // The loser is not waited for: its key is dropped, and zeroized, unseen.
        std::thread::spawn(move || {
            // Nobody receives the second key.
            let _ = sender.send(RsaPrivateKey::new(&mut rand_core::OsRng, bits));
        });
    }
    keys.recv()
        .map_err(|error| Error::step("make an RSA key", error))?
        .map_err(|error| Error::step("make an RSA key", error))
}

fn self_signed(key: &RsaPrivateKey, common_name: &str) -> Result<x509_cert::Certificate, Error> {
    let step = |error: x509_cert::builder::Error| Error::step("make the certificate", error);
    // RFC 4514 gives these characters a meaning; a name is taken as it is.
    let escaped: String = common_name
        .chars()
        .flat_map(|c| {
            (",+\"\\<>;=#".contains(c).then_some('\\'))
                .into_iter()
                .chain([c])
        })
        .collect();
    let subject = Name::from_str(&format!("CN={escaped}")).map_err(|error| {
        Error::usage(
            "--common-name",
            format!("cannot stand in a certificate: {error}"),
        )
    })?;
    let mut serial = [0; 16];
    rand_core::RngCore::fill_bytes(&mut rand_core::OsRng, &mut serial);
    // Positive, and of the same length every time.
    serial[0] = serial[0] & 0x7f | 0x40;
    let start = clock::now()?;
    let validity = Validity {
        not_before: time(start)?,
        not_after: time(start + VALIDITY)?,
    };
    let serial =
        SerialNumber::new(&serial).map_err(|error| Error::step("make the certificate", error))?;
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key())
        .map_err(|error| Error::step("make the certificate", error))?;
    let signer = SigningKey::<Sha256>::new(key.clone());
    CertificateBuilder::new(Profile::Root, serial, validity, subject, public, &signer)
        .map_err(step)?
        .build_with_rng(&mut rand_core::OsRng)
        .map_err(step)
}

fn time(moment: SystemTime) -> Result<Time, Error> {
    let utc = UtcTime::from_system_time(moment).map(Time::UtcTime);
    utc.or_else(|_| Time::try_from(moment))
        .map_err(|error| Error::step("write the certificate's dates", error))
}

fn refuse_existing(paths: &[&PathBuf], force: bool) -> Result<(), Error> {
    match paths
        .iter()
        .find(|path| !force && path.symlink_metadata().is_ok())
    {
        Some(path) => Err(Error::Exists {
            path: path.to_path_buf(),
        }),
        None => Ok(()),
    }
}

fn replace_if(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}

fn retire_if(force: bool) -> Existing {
    if force {
        Existing::Retire
    } else {
        Existing::Keep
    }
}
