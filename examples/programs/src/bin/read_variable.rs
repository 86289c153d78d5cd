//! What is in an `.auth`, `.esl` or efivarfs file, for which variable it was signed, and by whom.

use std::path::Path;
use std::process::ExitCode;

use efivars::{VariableFile, json};

const USAGE: &str = "read_variable FILE
FILE is an .auth file (of tools or for appending, with attributes before it or not), signature
lists, or a file of efivarfs; then its name tells the variable.";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let [path] = args else {
            return Err(USAGE.into());
        };
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        let file = VariableFile::detect(&bytes, name)?;
        if let VariableFile::Update { update, .. } = &file {
            // A signature that cannot be read at all is more than one that is not good.
            update.signed_data()?;
        }
        Ok((serde_json::from_str(&json::describe(&file))?, true))
    })
}
