//! Says whether firmware with these certificates in `db` and `dbx` would start a PE image.

use std::fs::{self, File};
use std::process::ExitCode;

use authenticode::{
    Certificate, Databases, Edk2, Image, ImageOptions, SignatureDatabase, Verifier,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    programs::run("verify_pe --trust CERT… [--deny CERT…] FILE", |args| {
        let (path, options) = args.split_last().ok_or("FILE is needed, see --help")?;
        let (mut lists, mut list) = ([Vec::new(), Vec::new()], None);
        for arg in options {
            match (arg.as_str(), list) {
                ("--trust", _) => list = Some(0),
                ("--deny", _) => list = Some(1),
                (file, Some(list)) => {
                    let bytes = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
                    lists[list].extend(Certificate::from_pem_or_der(&bytes)?);
                }
                _ => return Err("certificates follow --trust or --deny, see --help".into()),
            }
        }
        let [trusted, denied] = lists;
        if trusted.is_empty() {
            return Err("a certificate after --trust is needed, see --help".into());
        }
        let databases = Databases::new()
            .db(SignatureDatabase::from_certificates(&trusted))
            .dbx(SignatureDatabase::from_certificates(&denied));
        let options = ImageOptions::new().checksum(false);
        let image = match Image::read_with(&mut File::open(path)?, &options) {
            Err(error) if !error.is_unreadable() => {
                let reason = error.to_string();
                return Ok((json!({ "verdict": "deny", "reason": reason }), false));
            }
            image => image?,
        };
        let verdict = databases.judge(&image, Edk2::Stable202502)?;
        // Stricter than any one firmware: nothing by a forbidden signer passes, however packed.
        let (allow, reason) = match databases.denial(&image) {
            Some(_) if verdict.is_allowed() => (false, "forbidden_signer"),
            _ => (verdict.is_allowed(), verdict.reason().name()),
        };
        let report = Verifier::new().trust(trusted).verify(&image);
        let signatures: Vec<Value> = report.signatures().iter().map(describe).collect();
        let word = if allow { "allow" } else { "deny" };
        let document = json!({ "verdict": word, "reason": reason, "signatures": signatures });
        Ok((document, allow))
    })
}

fn describe(signature: &authenticode::SignatureReport) -> Value {
    let status = signature.status().name();
    let hash = signature.hash().map(|hash| hash.to_string());
    json!({ "status": status, "hash": hash, "signer": signature.signer().map(Certificate::subject) })
}
