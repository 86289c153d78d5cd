//! `imager gen database`: the files with which a machine in setup mode enrols the keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use efivars::microsoft::{self, Purpose};
use efivars::{Certificate, EfiTime, Enrolment, Guid, RsaSigner, SignatureDatabase};

use crate::assets::{BuildOptions, read};
use crate::cli::DatabaseOptions;
use crate::output::{Existing, write_all};
use crate::{Error, clock};

/// Microsoft's certificates that are added when asked: those that third-party firmware drivers and shim need, and the
/// keys that update dbx. The Windows authorities stay out: they would let every Windows boot loader start.
fn wanted(purpose: Purpose) -> bool {
    matches!(
        purpose,
        Purpose::KeyExchange | Purpose::ThirdParty | Purpose::OptionRom
    )
}

/// Makes `PK.auth`, `KEK.auth`, `db.auth` (and `dbx.auth` when asked) with their `.esl` files; returns their paths.
///
/// # Errors
/// [`Error::Missing`] when Microsoft's certificates are asked for and not all are found; [`Error::Exists`];
/// [`Error::Input`] for certificates that firmware refuses, such as those with elliptic curve keys.
pub fn generate(options: &DatabaseOptions) -> Result<Vec<PathBuf>, Error> {
    let folder = &options.out.output;
    let keys = BuildOptions {
        secureboot_dir: folder.clone(),
        signing_key: options.signing_key.clone(),
        signing_cert: options.signing_cert.clone(),
        key_passphrase_file: options.key_passphrase_file.clone(),
        ..BuildOptions::default()
    };
    let (key, pem, path) = keys.signer()?;
    let signer_certificate = Certificate::from_pem_or_der(&pem)
        .map_err(|error| Error::input("certificate", &path, error))?;
    let owner = owner(options, &pem)?;
    let seconds = clock::now_seconds()?;
    let time =
        EfiTime::from_unix(seconds).map_err(|error| Error::step("date the updates", error))?;

    let mut plan = Enrolment::new(&signer_certificate, &signer_certificate, owner, time);
    for file in &options.kek_cert {
        plan = plan.kek(owner, &certificate(file)?);
    }
    if options.db_cert.is_empty() {
        plan = plan.db(owner, &signer_certificate);
    }
    for file in &options.db_cert {
        plan = plan.db(owner, &certificate(file)?);
    }
    if !options.dbx_cert.is_empty() {
        let mut dbx = SignatureDatabase::new();
        for file in &options.dbx_cert {
            dbx = dbx.with_certificate(owner, &certificate(file)?);
        }
        plan = plan.dbx_lists(&dbx);
    }
    if options.include_well_known_uefi_certs {
        for (purpose, certificate) in well_known(options.well_known_certs_dir.as_deref())? {
            plan = match purpose {
                Purpose::KeyExchange => plan.kek(Guid::MICROSOFT, &certificate),
                _ => plan.db(Guid::MICROSOFT, &certificate),
            };
        }
    }

    let set = plan
        .sign(&RsaSigner::new(key))
        .map_err(|error| Error::step("sign the enrolment files", error))?;
    let existing = if options.out.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let files = set.files();
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file.name())).collect();
    let outputs: Vec<_> = files
        .iter()
        .zip(&paths)
        .map(|(file, path)| (path.as_path(), file.bytes(), 0o644, existing))
        .collect();
    write_all(&outputs)?;
    Ok(paths)
}

fn certificate(path: &Path) -> Result<Certificate, Error> {
    Certificate::from_pem_or_der(&read(path)?)
        .map_err(|error| Error::input("certificate", path, error))
}

fn owner(options: &DatabaseOptions, certificate_file: &[u8]) -> Result<Guid, Error> {
    match &options.owner {
        Some(text) => text
            .parse()
            .map_err(|error| Error::usage("--owner", format!("'{text}': {error}"))),
        None => Ok(efivars::talos_owner(certificate_file)),
    }
}

/// Microsoft's certificates from a folder of files under any names, in the order of our table.
fn well_known(folder: Option<&Path>) -> Result<Vec<(Purpose, Certificate)>, Error> {
    let Some(folder) = folder else {
        return Err(Error::Missing {
            what: "the folder with Microsoft's certificates",
            hint: "they are not ours to ship: download them from github.com/microsoft/secureboot_objects \
                   (PreSignedObjects) and give the folder with --well-known-certs-dir"
                .into(),
        });
    };
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|source| Error::io("read", &folder, source))?;
        for entry in entries {
            let path = entry
                .map_err(|source| Error::io("read", &folder, source))?
                .path();
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() && meta.len() < 1 << 20 {
                for (known, certificate) in microsoft::find(&read(&path)?) {
                    found.insert(known.sha256, certificate);
                }
            }
        }
    }
    let table = microsoft::KNOWN
        .iter()
        .filter(|known| wanted(known.purpose));
    let mut certificates = Vec::new();
    let mut missing = Vec::new();
    for known in table {
        match found.remove(&known.sha256) {
            Some(certificate) => certificates.push((known.purpose, certificate)),
            None => missing.push(known.common_name),
        }
    }
    if missing.is_empty() {
        return Ok(certificates);
    }
    Err(Error::Missing {
        what: "a certificate of Microsoft's",
        hint: format!(
            "{} has no file with: {}",
            folder.display(),
            missing.join(", ")
        ),
    })
}
