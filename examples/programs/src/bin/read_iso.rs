//! What is in an ISO image, FAT volume or disk image, how it boots and what is wrong with it.

use std::fs::File;
use std::process::ExitCode;

use iso9660::Report;
use serde_json::{Value, json};

const USAGE: &str = "read_iso IMAGE [--extract DIR]
Exits with 1 when something of the image is damaged or must not be extracted.";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let (image, dir) = match args {
            [image] => (image, None),
            [image, flag, dir] | [flag, dir, image] if flag == "--extract" => (image, Some(dir)),
            _ => return Err(USAGE.into()),
        };
        let file = File::open(image).map_err(|error| format!("{image}: {error}"))?;
        let report = Report::read(&file).map_err(|error| format!("{image}: {error}"))?;
        let mut document: Value = serde_json::from_str(&report.to_json())?;
        let refused = match dir.map(|dir| report.extract(&file, dir)) {
            Some(Err(error)) if error.is_io() => return Err(error.into()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(())) | None => None,
        };
        document["extracted"] = json!(dir.filter(|_| refused.is_none()));
        document["refused"] = json!(refused);
        Ok((document, refused.is_none() && !report.is_damaged()))
    })
}
