//! PCR 7 with these keys enrolled and Secure Boot on, when these images are started in order.

use std::{error::Error, fs, process::ExitCode};

use authenticode::{HashAlgorithm, Image, ImageOptions};
use pcr::{Bank, BootImage, Digest, KeyVariable, Pcr7, SecureBootVariables};
use serde_json::{Map, json};

const USAGE: &str = "predict_pcr7 --pk F --kek F --db F [--dbx F] IMAGE…";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let mut boot = Pcr7::new(SecureBootVariables::setup_mode().secure_boot(true));
        let (mut args, mut given) = (args.iter(), Vec::new());
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--") else {
                boot = boot.load(read(arg).map_err(|error| format!("{arg}: {error}"))?);
                continue;
            };
            let named = |known: &KeyVariable| known.name().to_lowercase() == name;
            let variable = KeyVariable::ALL.into_iter().find(named).ok_or(USAGE)?;
            let list = match args.next().ok_or(USAGE)?.as_str() {
                "-" => Vec::new(),
                path => fs::read(path).map_err(|error| format!("{path}: {error}"))?,
            };
            let variables = boot.variables().clone().with(variable, &list);
            boot = boot.with_variables(variables);
            given.push(name);
        }
        if !["pk", "kek", "db"].iter().all(|name| given.contains(name)) {
            return Err(USAGE.into());
        }
        let prediction = boot.predict()?;
        let value = |bank: Bank| (bank.to_string(), prediction.value(bank).to_string().into());
        let values: Map<_, _> = Bank::ALL.into_iter().map(value).collect();
        let verdicts = prediction.verdicts().iter();
        let verdicts: Vec<_> = verdicts.map(ToString::to_string).collect();
        let document = json!({"pcrs": {"7": {"": values}}, "images": verdicts});
        Ok((document, prediction.all_started()))
    })
}

fn read(path: &str) -> Result<BootImage, Box<dyn Error>> {
    let options = ImageOptions::new().hashes(&HashAlgorithm::ALL);
    let image = Image::read_with(&mut fs::File::open(path)?, &options)?;
    let mut digests = Vec::new();
    for (bank, algorithm) in Bank::ALL.into_iter().zip(HashAlgorithm::ALL) {
        let digest = image.digest_as_loaded(algorithm)?;
        digests.extend(Digest::new(bank, digest.as_bytes()));
    }
    let mut described = BootImage::new(digests);
    if image.is_signed() {
        described = described.certificate_table(image.table().problem().is_none());
    }
    for signature in image.entries().iter().filter_map(|e| e.pkcs7_data()) {
        described = described.signature(signature);
    }
    Ok(described)
}
