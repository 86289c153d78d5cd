//! `imager verify`: would firmware with these keys start the image?

use std::path::Path;

use authenticode::{
    Certificate, Databases, Edk2, Image, ImageOptions, Shim, SignatureDatabase, Verdict, Verifier,
};
use serde_json::{Value, json};

use crate::Error;
use crate::assets::read;
use crate::cli::VerifyOptions;
use crate::contents::Contents;
use crate::policy_findings;
use crate::variables::Variables;

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
    let variables = Variables::gather(&options.variables, medium)?;
    if let Some(variables) = &variables {
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
    if variables.is_none() && trusted.is_empty() && !options.list {
        return Err(Error::Missing {
            what: "the keys",
            hint: "give certificates with --cert, or the machine's variables with --secureboot-dir or --db".into(),
        });
    }
    let databases = Databases::new().db(db).dbx(dbx);
    let hashing = ImageOptions::new().also(&databases.hashes());
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
        let (report, yes) = judge(name, &image, &databases, &trusted, options, &mut text)?;
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
    databases: &Databases,
    trusted: &[Certificate],
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
    let verdict: Verdict = match &options.mok {
        Some(path) => {
            let list = SignatureDatabase::parse(&read(path)?)
                .map_err(|error| Error::input("signature list", path, error))?;
            Shim::new(databases.clone())
                .mok_list(list)
                .judge(image)
                .map_err(step)?
        }
        None => databases.judge(image, Edk2::Stable202502).map_err(step)?,
    };
    let denial = databases.denial(image);
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
