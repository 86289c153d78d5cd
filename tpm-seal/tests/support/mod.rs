//! What the tests share: vectors and a software TPM.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[cfg(feature = "tpm")]
pub(crate) mod proxy;
pub(crate) mod signer;
#[cfg(feature = "tpm")]
pub(crate) mod swtpm;
#[cfg(feature = "tpm")]
pub(crate) mod wire;

pub(crate) const SETS: [&str; 2] = ["ecc-srk", "rsa-srk"];

pub(crate) fn vector_path(set: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(set)
        .join(file)
}

pub(crate) fn vector(set: &str, file: &str) -> Vec<u8> {
    let path = vector_path(set, file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn vector_text(set: &str, file: &str) -> String {
    String::from_utf8(vector(set, file)).unwrap()
}

pub(crate) fn vector_json(set: &str, file: &str) -> Value {
    serde_json::from_slice(&vector(set, file)).unwrap()
}

/// The entries of a list whose `field` is `value`.
pub(crate) fn entry<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|entry| entry[field] == value)
        .unwrap_or_else(|| panic!("no {value}"))
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says that a test could not run; in CI that is a failure.
pub(crate) fn skip(test: &str, tool: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {tool} not found");
    eprintln!("SKIPPED: {test}: {tool} not found");
}

/// Whether `tool` is there; if not, the test is skipped.
pub(crate) fn have(test: &str, tool: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()));
    if !found {
        skip(test, tool);
    }
    found
}

/// The registers of a vector set.
pub(crate) fn registers(set: &str, bank: tpm_seal::Bank, pcrs: &[u8]) -> tpm_seal::PcrValues {
    let state = vector_json(set, "tpm-state.json");
    pcrs.iter()
        .fold(tpm_seal::PcrValues::new(bank), |values, pcr| {
            let value = state["pcr_values"][bank.name()][pcr.to_string()].as_str();
            let value = value.map_or_else(|| vec![0; bank.digest_len()], hex);
            values.with(*pcr, &value).unwrap()
        })
}
