//! What is in an `.auth`, `.esl` or efivarfs file, for which variable it was signed, and by whom.

use std::error::Error as _;
use std::path::Path;
use std::process::ExitCode;

use efivars::{Error, VariableFile, VerificationError, json};

const USAGE: &str = "read_variable FILE
FILE is an .auth file (of tools or for appending, with attributes before it or not), signature
lists, or a file of efivarfs; then its name tells the variable.
Exit code 1: it is signed, but not for any key variable in a way that firmware takes.";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let [path] = args else {
            return Err(USAGE.into());
        };
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        let bad = |error: Error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            format!("{path}: {error}{}", cause.unwrap_or_default())
        };
        let file = VariableFile::detect(&bytes, name).map_err(bad)?;
        let mut good = true;
        if let VariableFile::Update { update, .. } = &file {
            // A signature that cannot be read at all is more than one that is not good.
            update.signed_data().map_err(bad)?;
            let told = update.explain();
            good = told
                .error
                .is_none_or(|error| error == VerificationError::NotSigned)
                && told
                    .signed_for
                    .is_none_or(|signed_for| signed_for.is_usable());
        }
        Ok((serde_json::from_str(&json::describe(&file))?, good))
    })
}
