//! What the tests share: vectors, keys, and how a missing tool is reported.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use efivars::{Certificate, EfiTime, Guid};

/// The owner that the vectors' lists have.
pub(crate) fn g1() -> Guid {
    "11111111-2222-3333-4444-123456789abc".parse().unwrap()
}

/// The other owner.
pub(crate) fn g2() -> Guid {
    "a0b1c2d3-e4f5-4607-8899-aabbccddeeff".parse().unwrap()
}

pub(crate) fn vector_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

pub(crate) fn vector(name: &str) -> Vec<u8> {
    std::fs::read(vector_path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn text(name: &str) -> String {
    String::from_utf8(vector(name)).unwrap()
}

pub(crate) fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&vector(name)).unwrap()
}

pub(crate) fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&text(&format!("keys/{name}.crt"))).unwrap()
}

#[cfg(feature = "rsa")]
pub(crate) fn key(name: &str) -> efivars::RsaSigner {
    efivars::RsaSigner::from_pem(&text(&format!("keys/{name}.key"))).unwrap()
}

pub(crate) fn time(text: &str) -> EfiTime {
    text.parse().unwrap()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

/// Whether a test can run; says loudly when it cannot, and fails in continuous integration.
pub(crate) fn available(test: &str, tool: &str, found: bool) -> bool {
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{test}: {tool} not found");
        eprintln!("SKIPPED: {test}: {tool} not found");
    }
    found
}

/// Whether a program is in the path.
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()));
    available(test, tool, found)
}

/// Runs a program and returns its output when it succeeds.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The tree with Debian 13's tools, where there is one.
pub(crate) fn debian13(test: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("TRUSTEDBOOT_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            Some(
                base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?
                    .join("trustedboot"),
            )
        });
    let tree = cache.map(|cache| cache.join("debian13"));
    let found = tree
        .as_ref()
        .is_some_and(|tree| tree.join(".trustedboot-stamp").is_file());
    if available(test, "the Debian 13 tree", found) {
        tree
    } else {
        None
    }
}
