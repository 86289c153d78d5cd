//! Signs an image with a key that only another command can use: here OpenSSL, but it could be a call to a cloud service.
//!
//! `cargo run --example openssl -- KEY CERT IN OUT`

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use authenticode::{BoxError, Certificate, Image, ImageOptions, Prepared, ToBeSigned};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [key, certificate, input, output] = args.as_slice() else {
        return Err("usage: openssl KEY CERT IN OUT".into());
    };
    sign(
        key.as_ref(),
        certificate.as_ref(),
        input.as_ref(),
        output.as_ref(),
    )
}

/// Signs a copy of the image.
pub(crate) fn sign(
    key: &Path,
    certificate: &Path,
    input: &Path,
    output: &Path,
) -> Result<(), Box<dyn Error>> {
    let certificate = Certificate::from_pem(&fs::read_to_string(certificate)?)?;
    let mut file = File::create(output)?;
    let image = Image::copy(&mut File::open(input)?, &mut file, &ImageOptions::new())?;
    let signer = |request: &ToBeSigned| ask(key, request);
    Prepared::new(image, &certificate)?
        .sign(&signer)?
        .append_to(&mut file)?;
    Ok(())
}

/// `openssl dgst -sign` hashes the message itself.
fn ask(key: &Path, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
    let mut child = Command::new("openssl")
        .arg("dgst")
        .arg(format!("-{}", request.hash_algorithm()))
        .arg("-sign")
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .ok_or("no pipe to openssl")?
        .write_all(request.message())?;
    let answer = child.wait_with_output()?;
    if answer.status.success() {
        Ok(answer.stdout)
    } else {
        Err("openssl did not sign".into())
    }
}
