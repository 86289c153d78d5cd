//! The recorded boots.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub(crate) const BOOTS: [&str; 10] = [
    "d1-setup-mode",
    "d2-own-keys",
    "d3-sdboot-same-cert",
    "d4-sdboot-two-certs",
    "d5-hash-in-db",
    "d6-ovmf2022-own-keys",
    "d7-shim-mok-uki",
    "d8-sdboot-autoenroll",
    "d9-dbt-gpt",
    "d10-first-attempt-denied",
];

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pcr7")
}

pub(crate) fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = vectors().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

pub(crate) fn log(boot: &str) -> Vec<u8> {
    read(Path::new(boot).join("binary_bios_measurements"))
}

/// Bank name -> register number -> hexadecimal value, as the TPM said after the boot.
pub(crate) fn measured(boot: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    serde_json::from_value(json(Path::new(boot).join("pcrs.json"))).unwrap()
}

/// Every log there is: boots and good synthetic ones.
pub(crate) fn all_logs() -> Vec<(String, Vec<u8>)> {
    let mut logs: Vec<(String, Vec<u8>)> = BOOTS.map(|boot| (boot.to_string(), log(boot))).into();
    for case in json("synthetic/expected.json").as_array().unwrap() {
        if case["result"] == "ok" {
            let file = case["file"].as_str().unwrap();
            logs.push((file.to_string(), read(Path::new("synthetic").join(file))));
        }
    }
    logs
}
