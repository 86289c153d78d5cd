//! PCR 7 with these keys enrolled and Secure Boot on, when these images are started in order.

use std::error::Error;
use std::fs::File;
use std::process::ExitCode;

use authenticode::{HashAlgorithm, Image, ImageOptions};
use pcr::{Bank, BootImage, Digest, KeyVariable, Pcr7, SecureBootVariables};
use serde_json::{Value, json};

const USAGE: &str =
    "predict_pcr7 --pk F --kek F --db F [--dbx F] [--dbt F] IMAGE…   (signature lists; - is empty)";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let mut variables = SecureBootVariables::setup_mode().secure_boot(true);
        let (mut given, mut images) = (Vec::new(), Vec::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                images.push(arg.as_str());
                continue;
            };
            let variable = KeyVariable::ALL
                .into_iter()
                .find(|known| known.name().eq_ignore_ascii_case(name));
            let (Some(variable), Some(path)) = (variable, args.next()) else {
                return Err(format!("{arg}: no such option, or no file after it").into());
            };
            let list = if path == "-" {
                Vec::new()
            } else {
                std::fs::read(path).map_err(|e| format!("{path}: {e}"))?
            };
            variables = variables.with(variable, &list);
            given.push(variable);
        }
        if ![KeyVariable::Pk, KeyVariable::Kek, KeyVariable::Db]
            .iter()
            .all(|needed| given.contains(needed))
        {
            return Err(format!("--pk, --kek and --db are needed: {USAGE}").into());
        }
        let mut boot = Pcr7::new(variables);
        for path in &images {
            boot = boot.load(read(path).map_err(|error| format!("{path}: {error}"))?);
        }
        let prediction = boot.predict()?;
        let banks = Bank::ALL.map(|bank| {
            (
                bank.to_string(),
                Value::from(prediction.value(bank).to_string()),
            )
        });
        let verdicts = images.iter().zip(prediction.verdicts());
        let verdicts = verdicts
            .map(|(image, verdict)| json!({"image": image, "verdict": verdict.to_string()}));
        let document = json!({
            "pcrs": {"7": {"": Value::Object(banks.into_iter().collect())}},
            "images": verdicts.collect::<Vec<_>>(),
        });
        Ok((document, prediction.all_started()))
    })
}

fn read(path: &str) -> Result<BootImage, Box<dyn Error>> {
    let image = Image::read_with(
        &mut File::open(path)?,
        &ImageOptions::new().hashes(&HashAlgorithm::ALL),
    )?;
    let digests = Bank::ALL
        .into_iter()
        .zip(HashAlgorithm::ALL)
        .map(|(bank, algorithm)| {
            let digest = image.digest_as_loaded(algorithm)?;
            Digest::new(bank, digest.as_bytes()).ok_or_else(|| "digest of another length".into())
        });
    let unsigned = BootImage::new(digests.collect::<Result<Vec<_>, Box<dyn Error>>>()?);
    if !image.is_signed() {
        return Ok(unsigned);
    }
    let signed = unsigned.certificate_table(image.table().problem().is_none());
    let signatures = image
        .entries()
        .iter()
        .filter_map(|entry| entry.pkcs7_data());
    Ok(signatures.fold(signed, BootImage::signature))
}
