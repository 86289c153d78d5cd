//! Says whether firmware with these certificates in `db` and `dbx` would start a PE image, and what each signature is.

use std::error::Error;
use std::fs::{self, File};
use std::process::ExitCode;

use authenticode::{
    Certificate, Databases, Edk2, HashAlgorithm, Image, ImageOptions, SignatureDatabase, Verifier,
};
use serde_json::{Value, json};

const USAGE: &str = "verify_pe --trust CERT… [--deny CERT…] FILE";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let (trusted, denied, path) = arguments(args)?;
        let databases = Databases::new()
            .db(SignatureDatabase::from_certificates(&trusted))
            .dbx(SignatureDatabase::from_certificates(&denied));
        let image =
            match Image::read_with(&mut File::open(path)?, &ImageOptions::new().checksum(false)) {
                Err(error) if !error.is_unreadable() => {
                    return Ok((
                        json!({ "verdict": "deny", "reason": error.to_string(), "signatures": [] }),
                        false,
                    ));
                }
                image => image?,
            };
        let verdict = databases.judge(&image, Edk2::Stable202502)?;
        // Stricter than any one firmware: nothing by a forbidden signer passes, however it is packed.
        let denial = databases.denial(&image);
        let (allow, reason) = match denial {
            Some(_) if verdict.is_allowed() => (false, "forbidden_signer"),
            _ => (verdict.is_allowed(), verdict.reason().name()),
        };
        let report = Verifier::new().trust(trusted).verify(&image);
        let signatures: Vec<Value> = report.signatures().iter().map(describe).collect();
        let word = if allow { "allow" } else { "deny" };
        Ok((
            json!({ "verdict": word, "reason": reason, "signature": verdict.signature(), "signatures": signatures }),
            allow,
        ))
    })
}

fn describe(signature: &authenticode::SignatureReport) -> Value {
    json!({
        "status": signature.status().name(),
        "hash": signature.hash().map(|hash| hash.to_string()),
        "signer": signature.signer().map(Certificate::subject),
        "signer_sha256": signature.signer().map(|signer| signer.fingerprint(HashAlgorithm::Sha256).to_string()),
    })
}

type Arguments<'a> = (Vec<Certificate>, Vec<Certificate>, &'a str);

fn arguments(args: &[String]) -> Result<Arguments<'_>, Box<dyn Error>> {
    let (path, options) = args.split_last().ok_or("FILE is needed, see --help")?;
    let (mut trusted, mut denied, mut denying) = (Vec::new(), Vec::new(), None);
    for option in options {
        match (option.as_str(), denying) {
            ("--trust", _) => denying = Some(false),
            ("--deny", _) => denying = Some(true),
            (file, Some(true)) => denied.extend(Certificate::from_pem_or_der(&fs::read(file)?)?),
            (file, Some(false)) => trusted.extend(Certificate::from_pem_or_der(&fs::read(file)?)?),
            (_, None) => return Err(format!("usage: {USAGE}").into()),
        }
    }
    Ok((trusted, denied, path))
}
