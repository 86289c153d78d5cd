//! Signs a PE image: reads it once, and puts the signed copy in its place when it is whole.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

use authenticode::{Certificate, HashAlgorithm, Image, ImageOptions, RsaSigner, Signing};
use serde_json::{Value, json};

fn main() -> ExitCode {
    programs::run("sign_pe KEY CERT IN OUT", |args| {
        let [key, certificates, input, output] = args else {
            return Err("KEY, CERT, IN and OUT are needed, see --help".into());
        };
        let signer = RsaSigner::from_pem(&fs::read_to_string(key)?)?;
        let certificates = Certificate::from_pem_or_der(&fs::read(certificates)?)?;
        let output = Path::new(output);
        let mut name = output.file_name().ok_or("OUT is not a file")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = output.with_file_name(name);
        let result = sign(&signer, &certificates, input, &temporary)
            .and_then(|document| Ok(fs::rename(&temporary, output).map(|()| document)?));
        let Err(error) = result else {
            return Ok((result?, true));
        };
        let _ = fs::remove_file(&temporary);
        match error.downcast_ref::<authenticode::Error>() {
            Some(refused) if !refused.is_unreadable() => {
                Ok((json!({ "refused": refused.to_string() }), false))
            }
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
    let mut input = File::open(input)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(output)?;
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
