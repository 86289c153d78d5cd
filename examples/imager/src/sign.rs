//! `imager sign`: what sbsign, sbattach and pesign do.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use authenticode::{
    Certificate, Existing as Table, HashAlgorithm, Image, ImageOptions, RsaSigner, SignatureTable,
    Signing,
};
use clap::Args;
use serde_json::{Value, json};

use crate::Error;
use crate::assets::read;
use crate::cli::SignOptions;
use crate::keys::{self, Passphrase};
use crate::output::{Existing, Output, write_all};

/// Signs, or changes the signatures of an image; returns a document about the result.
///
/// # Errors
/// [`Error::KeyMismatch`], [`Error::Input`] for a file that is no EFI image or whose digest tools disagree about,
/// [`Error::Exists`].
pub fn sign(options: &SignOptions) -> Result<Value, Error> {
    let input = |error: authenticode::Error| Error::input("EFI image", &options.file, error);
    let existing = if options.force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let hashing = ImageOptions::new()
        .hashes(&[hash(&options.hash)?])
        .allow_gaps(options.allow_gaps);
    let result = match &options.output {
        Some(path) => path.clone(),
        None if options.detached => with_ending(&options.file, "p7"),
        None => with_ending(&options.file, "signed"),
    };
    let mut source =
        File::open(&options.file).map_err(|error| Error::io("read", &options.file, error))?;
    if let Some(path) = options.table.export() {
        let image = Image::read_with(&mut source, &hashing).map_err(input)?;
        let bytes = options.table.exported(&image, &options.file)?;
        write_all(&[(path, &bytes, 0o644, existing)])?;
        return Ok(json!({ "output": path }));
    }
    if options.remove_all || options.attach.is_some() || options.table.is_change() {
        let image = Image::read_with(&mut source, &hashing).map_err(input)?;
        let table = match &options.attach {
            Some(path) => image
                .attach(&read(path)?)
                .map_err(|error| Error::input("signature", path, error))?,
            None if options.remove_all => SignatureTable::default(),
            None => options.table.change(&image, &options.file, &hashing)?,
        };
        let mut out = Output::create(&result, 0o644, existing)?;
        let edit = image.with_table(&table).map_err(input)?;
        std::io::Seek::rewind(&mut source)
            .map_err(|error| Error::io("read", &options.file, error))?;
        edit.write_to(&mut source, &mut out).map_err(input)?;
        return Ok(json!({ "output": out.publish()?, "signatures": table.entries().len() }));
    }

    let cert_path = options
        .cert
        .as_ref()
        .ok_or_else(|| missing("the certificate", "--cert"))?;
    let mut chain = Certificate::from_pem_or_der(&read(cert_path)?)
        .map_err(|error| Error::input("certificate", cert_path, error))?;
    for path in &options.addcert {
        chain.extend(
            Certificate::from_pem_or_der(&read(path)?)
                .map_err(|error| Error::input("certificate", path, error))?,
        );
    }
    let [signer, rest @ ..] = chain.as_slice() else {
        return Err(missing("the certificate", "--cert"));
    };
    let table = if options.replace {
        Table::ReplaceAll
    } else {
        Table::Append
    };
    let signing = Signing::new(signer)
        .chain(rest.iter().cloned())
        .hash(hash(&options.hash)?)
        .existing(table);
    let signing = match options.signing_time {
        Some(seconds) => signing.signing_time(authenticode::UnixTime(seconds)),
        None => signing,
    };

    if let Some(path) = &options.prepare {
        let image = Image::read_with(&mut source, &hashing).map_err(input)?;
        let prepared = signing.prepare(image).map_err(input)?;
        write_all(&[(path, prepared.to_be_signed().message(), 0o644, existing)])?;
        return Ok(
            json!({ "output": path, "sign_with": format!("{} and PKCS#1 v1.5", options.hash) }),
        );
    }
    // The copy is made while the image is hashed, so that it is read once.
    let mut out = (!options.detached)
        .then(|| Output::create(&result, 0o644, existing))
        .transpose()?;
    let image = match &mut out {
        Some(out) => Image::copy(&mut source, out, &hashing),
        None => Image::read_with(&mut source, &hashing),
    }
    .map_err(input)?;
    let prepared = signing.prepare(image).map_err(input)?;
    let signed = match (&options.signature, &options.key) {
        (Some(path), _) => prepared
            .attach(&read(path)?)
            .map_err(|error| Error::input("signature", path, error))?,
        (None, Some(path)) => {
            let passphrase =
                Passphrase::new(options.key_passphrase_file.clone(), "IMAGER_KEY_PASSPHRASE");
            let key = keys::read_private_key(path, &passphrase)?;
            if !keys::belongs_to(&key, signer.as_der()) {
                return Err(Error::KeyMismatch {
                    key: path.clone(),
                    certificate: cert_path.clone(),
                });
            }
            prepared.sign(&RsaSigner::new(key)).map_err(input)?
        }
        (None, None) => return Err(missing("the private key", "--key, or --signature")),
    };
    let output = match out {
        Some(out) => {
            let mut file = out.file();
            let mode = source.metadata().map(|meta| meta.permissions());
            signed
                .edit()
                .and_then(|edit| edit.append_to(&mut file))
                .map_err(input)?;
            file.set_len(signed.edit().map_err(input)?.len())
                .map_err(|error| Error::io("write", out.path(), error))?;
            if let Ok(mode) = mode {
                fs::set_permissions(out.reopen_path(), mode)
                    .map_err(|error| Error::io("set the mode of", out.path(), error))?;
            }
            out.publish()?
        }
        None => {
            write_all(&[(&result, signed.pkcs7(), 0o644, existing)])?;
            result
        }
    };
    Ok(
        json!({ "output": output, "signatures": signed.table().entries().len(), "signer": signer.subject() }),
    )
}

/// Changes of the signatures of an image that need no key.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct TableOptions {
    /// Remove the signature of this number, counted from 1
    #[arg(long, value_name = "NUMBER", group = "change")]
    pub remove: Option<usize>,
    /// Add the signatures of another copy of the image
    #[arg(long, value_name = "FILE", group = "change")]
    pub merge: Option<PathBuf>,
    /// Attach this RFC 3161 timestamp, a token or a response
    #[arg(long, value_name = "FILE", group = "change")]
    pub timestamp: Option<PathBuf>,
    /// Write the bytes that a timestamp is for, for: openssl ts -query -sha256 -cert -data FILE
    #[arg(long, value_name = "FILE", group = "change")]
    pub timestamp_data: Option<PathBuf>,
    /// Write a signature of the image to this file, as PKCS#7; the image stays as it is
    #[arg(long, value_name = "FILE", group = "change")]
    pub detach: Option<PathBuf>,
    /// The signature that a timestamp is for, or that is detached, counted from 1
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub signature_number: usize,
}

impl TableOptions {
    fn is_change(&self) -> bool {
        self.remove.is_some() || self.merge.is_some() || self.timestamp.is_some()
    }

    /// Where to write a part of the image's signatures.
    fn export(&self) -> Option<&PathBuf> {
        self.timestamp_data.as_ref().or(self.detach.as_ref())
    }

    fn exported(&self, image: &Image, file: &Path) -> Result<Vec<u8>, Error> {
        let index = self.index(image, file)?;
        if self.timestamp_data.is_some() {
            return image
                .signature_value(index)
                .map_err(|error| Error::input("EFI image", file, error));
        }
        let blob = image.entries().get(index).and_then(|entry| entry.pkcs7());
        blob.map(<[u8]>::to_vec).ok_or_else(|| {
            let problem = "this entry of its table is no PKCS#7 signature";
            Error::input("EFI image", file, problem)
        })
    }

    fn index(&self, image: &Image, file: &Path) -> Result<usize, Error> {
        from_one(self.signature_number, "--signature-number", image, file)
    }

    fn change(
        &self,
        image: &Image,
        file: &Path,
        hashing: &ImageOptions,
    ) -> Result<SignatureTable, Error> {
        if let Some(path) = &self.merge {
            let other = File::open(path)
                .map_err(|error| Error::io("read", path, error))
                .and_then(|mut other| {
                    Image::read_with(&mut other, hashing)
                        .map_err(|error| Error::input("EFI image", path, error))
                })?;
            let merged = image.merge(&other);
            return merged
                .map(|(table, _)| table)
                .map_err(|error| Error::input("copy of the image", path, error));
        }
        if let Some(path) = &self.timestamp {
            return image
                .attach_timestamp(self.index(image, file)?, &read(path)?)
                .map_err(|error| Error::input("timestamp", path, error));
        }
        let mut table = image.table().clone();
        if let Some(number) = self.remove {
            table
                .remove(from_one(number, "--remove", image, file)?)
                .map_err(|error| Error::input("EFI image", file, error))?;
        }
        Ok(table)
    }
}

/// The index of a signature that people count from 1.
fn from_one(number: usize, flag: &'static str, image: &Image, file: &Path) -> Result<usize, Error> {
    let count = image.entries().len();
    match number.checked_sub(1) {
        None => Err(Error::usage(
            flag,
            "signatures are counted from 1".to_owned(),
        )),
        Some(index) if index >= count => {
            let problem = format!("it has no signature {number}, only {count}");
            Err(Error::input("EFI image", file, problem))
        }
        Some(index) => Ok(index),
    }
}

fn missing(what: &'static str, flag: &str) -> Error {
    Error::Missing {
        what,
        hint: format!("give it with {flag}"),
    }
}

fn hash(name: &str) -> Result<HashAlgorithm, Error> {
    match name {
        "sha256" => Ok(HashAlgorithm::Sha256),
        "sha384" => Ok(HashAlgorithm::Sha384),
        "sha512" => Ok(HashAlgorithm::Sha512),
        other => Err(Error::usage(
            "--hash",
            format!("'{other}' is none of sha256, sha384, sha512"),
        )),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
