//! What is in files about variables: stores, updates, lists and files of efivarfs.

use std::error::Error as _;
use std::path::Path;

use efivars::{Variable, VariableFile, VariableStore, json};
use serde_json::{Value, json};

use crate::Error;

/// The variables of a firmware's store, key variables with their entries.
///
/// # Errors
/// [`Error::Input`] for a store that is broken.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> Result<Value, Error> {
    let store =
        VariableStore::parse(bytes).map_err(|error| Error::input("variable store", path, error))?;
    let variables = store.variables().map(described);
    let variables: Vec<Value> = variables.collect();
    Ok(json!({ "kind": "firmware variable store", "variables": variables }))
}

/// The variables of virt-firmware's JSON form; `None` for another JSON document.
///
/// # Errors
/// [`Error::Input`] for one that has variables, but not in a usable form.
pub(crate) fn variables_json(path: &Path, bytes: &[u8]) -> Result<Option<Value>, Error> {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if !document["variables"].is_array() {
        return Ok(None);
    }
    let variables = json::from_str(&String::from_utf8_lossy(bytes))
        .map_err(|error| Error::input("list of variables", path, error))?;
    let variables: Vec<Value> = variables.iter().map(described).collect();
    Ok(Some(
        json!({ "kind": "firmware variables (JSON)", "variables": variables }),
    ))
}

fn described(variable: &Variable) -> Value {
    let mut described = json!({
        "name": variable.name.to_string(), "attributes": variable.attributes.bits(),
        "length": variable.data.len(),
    });
    let is_list = efivars::SignatureDatabase::parse_lenient(&variable.data)
        .is_ok_and(|lists| !lists.is_empty());
    if is_list {
        let prefixed = [
            &variable.attributes.bits().to_le_bytes(),
            variable.data.as_slice(),
        ];
        let prefixed = prefixed.concat();
        let name = variable.name.to_string();
        if let Ok(file) = VariableFile::detect(&prefixed, Some(&name)) {
            let file: Value = serde_json::from_str(&json::describe(&file)).unwrap_or_default();
            described["keys"] = file["value"].clone();
        }
    }
    if !variable.time.is_zero() {
        described["time"] = variable.time.to_string().into();
    }
    described
}

/// An update, signature lists, or a file of efivarfs.
///
/// # Errors
/// [`Error::Input`] for a file of another kind, with what it looks like.
pub(crate) fn variable(path: &Path, bytes: &[u8]) -> Result<Value, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let file = VariableFile::detect(bytes, name).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}"));
        Error::input(
            "file",
            path,
            format!("{error}{}", cause.unwrap_or_default()),
        )
    })?;
    Ok(serde_json::from_str(&json::describe(&file)).unwrap_or_default())
}
