//! `imager verify`: would firmware with these keys start the image?

use std::path::{Path, PathBuf};

use authenticode::{
    Certificate, DatabaseEntry, Databases, Edk2, Image, ImageOptions, SbatLevel, Shim,
    SignatureDatabase, Verdict, Verifier,
};
use clap::Args;
use serde_json::{Value, json};

use crate::Error;
use crate::assets::read;
use crate::cli::VerifyOptions;
use crate::contents::Contents;
use crate::policy_findings;
use crate::variables::{self, Variables};

/// The judgement on one image.
#[derive(Debug)]
#[non_exhaustive]
pub struct Judgement {
    /// Would it be started?
    pub allowed: bool,
    /// The document for `--json`.
    pub document: Value,
    /// For people.
    pub text: String,
}

/// Judges an EFI image, or loader and UKI of a medium.
///
/// # Errors
/// [`Error::Input`] for files that cannot be judged; [`Error::Missing`] when no key is named.
pub fn verify(options: &VerifyOptions) -> Result<Judgement, Error> {
    let contents = Contents::open(&options.file)?;
    let medium = contents.enrolment.as_slice();
    let mut db = SignatureDatabase::default();
    let mut dbx = SignatureDatabase::default();
    let given = Variables::gather(&options.variables, medium)?;
    if let Some(variables) = &given {
        let list = |bytes: &[u8], name: &'static str| {
            SignatureDatabase::parse(bytes)
                .map_err(|error| Error::input("signature database", Path::new(name), error))
        };
        (db, dbx) = (list(&variables.db, "db")?, list(&variables.dbx, "dbx")?);
    }
    let mut trusted = Vec::new();
    for path in &options.certs {
        trusted.extend(
            Certificate::from_pem_or_der(&read(path)?)
                .map_err(|error| Error::input("certificate", path, error))?,
        );
    }
    for certificate in &trusted {
        db = db.with_certificate(certificate, authenticode::Guid::default());
    }
    let nothing = given.is_none() && trusted.is_empty() && !options.shim.is_given();
    if nothing && !options.list {
        return Err(Error::Missing {
            what: "the keys",
            hint: "give certificates with --cert, or the machine's variables with --secureboot-dir or --db".into(),
        });
    }
    // The strict report goes by the same certificates as the verdict.
    trusted.extend(certificates_of(&db));
    // With dbt, entries of dbx that hold from a time on are for the model of firmware alone.
    let always = match options.dbt {
        Some(_) => without_times(&dbx),
        None => dbx.clone(),
    };
    let careful = Databases::new().db(db.clone()).dbx(always);
    let mut databases = Databases::new().db(db).dbx(dbx);
    if let Some(path) = &options.dbt {
        let dbt = SignatureDatabase::parse(&variables::value_of(path)?)
            .map_err(|error| Error::input("signature database", path, error))?;
        databases = databases.dbt(dbt);
    }
    let shim = options.shim.model(&databases, &mut trusted)?;
    let hashes = shim
        .as_ref()
        .map_or_else(|| databases.hashes(), Shim::hashes);
    let hashing = ImageOptions::new().also(&hashes);
    let mut images = Vec::new();
    if let Some(loader) = &contents.loader {
        images.push(("boot loader", Image::parse_with(loader, &hashing)));
    }
    images.push(("image", contents.read_image(&hashing)?));

    let mut allowed = true;
    let (mut reports, mut text) = (Vec::new(), String::new());
    for (name, image) in images {
        let image = match image {
            Ok(image) => image,
            Err(error) if error.is_unreadable() => {
                return Err(Error::input("EFI image", &options.file, error));
            }
            Err(error) => {
                allowed = false;
                text.push_str(&format!("{name}: refused: {error}\n"));
                reports
                    .push(json!({ "image": name, "verdict": "deny", "reason": error.to_string() }));
                continue;
            }
        };
        let image = match &options.detached {
            Some(path) => attached(&image, &options.file, path, &hashing)?,
            None => image,
        };
        let (report, yes) = judge(
            name,
            &image,
            (&databases, &careful),
            &trusted,
            shim.as_ref(),
            options,
            &mut text,
        )?;
        allowed &= yes;
        reports.push(report);
    }
    let mut of_uki = Vec::new();
    if let Ok(uki) = contents.uki() {
        of_uki = policy_findings::of(&contents, &uki)?;
        for finding in &of_uki {
            text.push_str(&format!("UKI: note: {finding}\n"));
        }
    }
    if options.list {
        allowed = true;
    }
    let verdict = if allowed { "allow" } else { "deny" };
    Ok(Judgement {
        allowed,
        document: json!({ "verdict": verdict, "images": reports, "uki_findings": of_uki }),
        text,
    })
}

/// What shim goes by, besides db and dbx.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct ShimOptions {
    /// Judge as shim does, with this MokList (.esl or certificate) besides db
    #[arg(long, value_name = "FILE")]
    pub mok: Option<PathBuf>,
    /// Judge as shim does, with this MokListX (.esl or certificate) besides dbx
    #[arg(long, value_name = "FILE")]
    pub mokx: Option<PathBuf>,
    /// Judge as shim does, with this certificate built in
    #[arg(long, value_name = "FILE")]
    pub vendor_cert: Option<PathBuf>,
    /// Judge as shim does, at this SBAT level (the content of the variable SbatLevelRT)
    #[arg(long, value_name = "FILE")]
    pub sbat_level: Option<PathBuf>,
}

impl ShimOptions {
    fn is_given(&self) -> bool {
        self.mok.is_some() || self.vendor_cert.is_some()
    }

    fn model(
        &self,
        databases: &Databases,
        trusted: &mut Vec<Certificate>,
    ) -> Result<Option<Shim>, Error> {
        let mut shim = Shim::new(databases.clone());
        let mut any = false;
        for (path, is_denial) in [(&self.mok, false), (&self.mokx, true)] {
            let Some(path) = path else { continue };
            let list = list_or_certificates(path)?;
            shim = if is_denial {
                shim.mok_list_x(list)
            } else {
                trusted.extend(certificates_of(&list));
                shim.mok_list(list)
            };
            any = true;
        }
        if let Some(path) = &self.vendor_cert {
            let certificates = Certificate::from_pem_or_der(&read(path)?);
            let certificates =
                certificates.map_err(|error| Error::input("certificate", path, error))?;
            for certificate in certificates {
                trusted.push(certificate.clone());
                shim = shim.vendor_certificate(certificate);
            }
            any = true;
        }
        if let Some(path) = &self.sbat_level {
            let level = SbatLevel::parse(&read(path)?);
            let level = level.ok_or_else(|| Error::input("SBAT level", path, Malformed))?;
            shim = shim.sbat_level(level);
            any = true;
        }
        Ok(any.then_some(shim))
    }
}

/// The error of an SBAT level that shim would not take.
#[derive(Debug, thiserror::Error)]
#[error("lines of a name and a generation are expected")]
struct Malformed;

/// The list without hashes of certificates that are revoked from a time on.
fn without_times(list: &SignatureDatabase) -> SignatureDatabase {
    let has_time = |entry: &DatabaseEntry| {
        let is_hash = entry.kind().certificate_hash().is_some();
        is_hash && entry.value().iter().rev().take(16).any(|byte| *byte != 0)
    };
    let mut rest = SignatureDatabase::default();
    for entry in list.entries().iter().filter(|entry| !has_time(entry)) {
        rest = rest.with_entry(entry.kind(), authenticode::Guid::default(), entry.value());
    }
    rest
}

fn certificates_of(list: &SignatureDatabase) -> impl Iterator<Item = Certificate> {
    let entries = list.entries().iter();
    entries.filter_map(|entry| entry.certificate().cloned())
}

fn list_or_certificates(path: &Path) -> Result<SignatureDatabase, Error> {
    let bytes = read(path)?;
    if let Ok(certificates) = Certificate::from_pem_or_der(&bytes) {
        return Ok(SignatureDatabase::from_certificates(&certificates));
    }
    SignatureDatabase::parse(&bytes).map_err(|error| Error::input("signature list", path, error))
}

/// The image with this signature in place of its own, made in memory.
fn attached(
    image: &Image,
    file: &Path,
    signature: &Path,
    hashing: &ImageOptions,
) -> Result<Image, Error> {
    let wrong = |error| Error::input("signature", signature, error);
    let edit = image
        .attach(&read(signature)?)
        .and_then(|table| image.with_table(&table))
        .map_err(wrong)?;
    let mut bytes = read(file)?;
    edit.apply_to_bytes(&mut bytes)
        .and_then(|()| Image::parse_with(&bytes, hashing))
        .map_err(wrong)
}

fn judge(
    name: &str,
    image: &Image,
    (databases, careful): (&Databases, &Databases),
    trusted: &[Certificate],
    shim: Option<&Shim>,
    options: &VerifyOptions,
    text: &mut String,
) -> Result<(Value, bool), Error> {
    let step = |error| Error::step("judge the image", error);
    let report = Verifier::new().trust(trusted.iter().cloned()).verify(image);
    let mut signatures = Vec::new();
    for signature in report.signatures() {
        let subject = signature.signer().map(Certificate::subject);
        let hash = signature.hash().map(|hash| hash.to_string());
        text.push_str(&format!(
            "{name}: signature by {} ({}): {}\n",
            subject.as_deref().unwrap_or("an unknown signer"),
            hash.as_deref().unwrap_or("no hash"),
            signature.status().name()
        ));
        signatures
            .push(json!({ "signer": subject, "hash": hash, "status": signature.status().name() }));
    }
    let findings: Vec<String> = image
        .findings(None)
        .iter()
        .map(ToString::to_string)
        .collect();
    if options.list {
        return Ok((
            json!({ "image": name, "signatures": signatures, "findings": findings }),
            true,
        ));
    }
    let verdict: Verdict = match shim {
        Some(shim) => shim.judge(image).map_err(step)?,
        None => databases.judge(image, Edk2::Stable202502).map_err(step)?,
    };
    let denial = careful.denial(image);
    let allowed = verdict.is_allowed() && denial.is_none();
    let word = if allowed { "allow" } else { "deny" };
    let reason = match denial.filter(|_| verdict.is_allowed()) {
        Some(_) => "a forbidden signer has signed it".to_owned(),
        None => verdict.reason().to_string(),
    };
    text.push_str(&format!(
        "{name}: {}: {reason}\n",
        if allowed { "started" } else { "refused" }
    ));
    for finding in &findings {
        text.push_str(&format!("{name}: note: {finding}\n"));
    }
    let authority = verdict
        .decisive()
        .map(|authority| authority.variable.to_string());
    let document = json!({
        "image": name, "verdict": word, "reason": reason, "authority": authority, "signatures": signatures,
        "findings": findings,
    });
    Ok((document, allowed))
}
