//! The PCR 11 vectors, and tools that may be missing.
#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};

use pcr::{Bank, Dialect, Pcr11};
use serde_json::Value;

pub(crate) const VECTORS: [&str; 8] = [
    "v0-micro",
    "v1-linux-only",
    "v2-basic",
    "v3-all-but-dtbauto-hwids",
    "v4-profile1",
    "v5-empty-skipped",
    "v6-talos-phases",
    "v7-everything",
];

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pcr11")
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    let path = folder().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// Section names and contents of a vector.
pub(crate) fn sections(vector: &str) -> Vec<(String, Vec<u8>)> {
    let args = String::from_utf8(read(&format!("expected/{vector}.args"))).unwrap();
    args.split_whitespace()
        .map(|arg| {
            let (name, file) = arg.strip_prefix("--").unwrap().split_once('=').unwrap();
            (format!(".{name}"), read(file))
        })
        .collect()
}

pub(crate) fn observe(vector: &str, dialect: Dialect, banks: &[Bank]) -> Pcr11 {
    let mut boot = Pcr11::new(dialect, banks);
    for (name, content) in sections(vector) {
        boot.observe(name.as_str(), &content);
    }
    boot
}
