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
        let (mut trusted, mut denied, mut option) = (Vec::new(), Vec::new(), "");
        for arg in options {
            match (arg.as_str(), option) {
                ("--trust" | "--deny", _) => option = arg,
                (file, "--trust") => {
                    trusted.extend(Certificate::from_pem_or_der(&fs::read(file)?)?)
                }
                (file, "--deny") => denied.extend(Certificate::from_pem_or_der(&fs::read(file)?)?),
                _ => return Err("certificates follow --trust or --deny, see --help".into()),
            }
        }
        if trusted.is_empty() {
            return Err("a certificate after --trust is needed, see --help".into());
        }
        let databases = Databases::new()
            .db(SignatureDatabase::from_certificates(&trusted))
            .dbx(SignatureDatabase::from_certificates(&denied));
        let options = ImageOptions::new().checksum(false);
        let image = match Image::read_with(&mut File::open(path)?, &options) {
            Err(error) if !error.is_unreadable() => {
                return Ok((
                    json!({ "verdict": "deny", "reason": error.to_string() }),
                    false,
                ));
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
