//! Signs a PE image: reads it once, and puts the signed copy in its place when it is whole.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

use authenticode::{Certificate, HashAlgorithm, Image, ImageOptions, Prepared, RsaSigner};
use serde_json::{Value, json};

fn main() -> ExitCode {
    programs::run("sign_pe KEY CERT IN OUT", |args| {
        let [key, certificate, input, output] = args else {
            return Err("KEY, CERT, IN and OUT are needed, see --help".into());
        };
        let signer = RsaSigner::from_pem(&fs::read_to_string(key)?)?;
        let mut chain = Certificate::from_pem_or_der(&fs::read(certificate)?)?;
        let certificate = chain.remove(0);
        let output = Path::new(output);
        let mut name = output.file_name().ok_or("OUT is not a file")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = output.with_file_name(name);
        let result = sign(&signer, &certificate, input, &temporary)
            .and_then(|document| Ok(fs::rename(&temporary, output).map(|()| document)?));
        match result {
            Ok(document) => Ok((document, true)),
            Err(error) => {
                // It may not be there yet.
                let _ = fs::remove_file(&temporary);
                match error.downcast::<authenticode::Error>() {
                    Ok(error) if !error.is_unreadable() => {
                        Ok((json!({ "refused": error.to_string() }), false))
                    }
                    Ok(error) => Err(error),
                    Err(error) => Err(error),
                }
            }
        }
    })
}

fn sign(
    signer: &RsaSigner,
    certificate: &Certificate,
    input: &str,
    output: &Path,
) -> Result<Value, Box<dyn Error>> {
    let mut input = File::open(input)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(output)?;
    let image = Image::copy(&mut input, &mut file, &ImageOptions::new())?;
    let digest = image.digest_for_signing(HashAlgorithm::Sha256)?.to_string();
    let signed = Prepared::new(image, certificate)?.sign(signer)?;
    signed.append_to(&mut file)?;
    file.set_permissions(input.metadata()?.permissions())?;
    file.sync_all()?;
    Ok(
        json!({ "sha256": digest, "signer": certificate.subject(), "signatures": signed.table().entries().len() }),
    )
}
