//! Signs a PE image: reads it once, and puts the signed copy in its place when it is whole.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use authenticode::{Certificate, HashAlgorithm, Image, ImageOptions, RsaSigner, Signing};
use serde_json::{Value, json};

fn main() -> ExitCode {
    programs::run("sign_pe KEY CERT IN OUT", |args| {
        let [key, certificates, input, output] = args else {
            return Err("KEY, CERT, IN and OUT are needed, see --help".into());
        };
        let read = |path| fs::read(path).map_err(|error| format!("{path}: {error}"));
        let signer = RsaSigner::from_pem_or_der(&read(key)?)?;
        let certificates = Certificate::from_pem_or_der(&read(certificates)?)?;
        // A link stays one, and only files are replaced.
        let output = fs::canonicalize(output).unwrap_or(output.into());
        if output.exists() && !output.is_file() {
            return Err("OUT is there and is not a file".into());
        }
        let mut name = output.file_name().ok_or("OUT is not a file")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = output.with_file_name(name);
        let result = sign(&signer, &certificates, input, &temporary)
            .and_then(|document| Ok(fs::rename(&temporary, &output).map(|()| document)?));
        let Err(error) = result else {
            return Ok((result?, true));
        };
        let _ = fs::remove_file(&temporary);
        match error.downcast_ref::<authenticode::Error>() {
            Some(no) if !no.is_unreadable() => Ok((json!({ "refused": no.to_string() }), false)),
            _ => Err(error),
        }
    })
}

fn sign(
    signer: &RsaSigner,
    certificates: &[Certificate],
    input: &str,
    output: &Path,
) -> Result<Value, Box<dyn Error>> {
    let (certificate, chain) = certificates.split_first().ok_or("CERT is empty")?;
    let mut input = File::open(input).map_err(|error| format!("{input}: {error}"))?;
    let mut file = File::create_new(output)?;
    let image = Image::copy(&mut input, &mut file, &ImageOptions::new())?;
    let digest = image.digest_for_signing(HashAlgorithm::Sha256)?.to_string();
    let signing = Signing::new(certificate).chain(chain.iter().cloned());
    let signed = signing.prepare(image)?.sign(signer)?;
    signed.append_to(&mut file)?;
    file.set_permissions(input.metadata()?.permissions())?;
    file.sync_all()?;
    let signatures = signed.table().entries().len();
    Ok(json!({ "sha256": digest, "signer": certificate.subject(), "signatures": signatures }))
}
