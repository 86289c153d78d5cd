//! What several tests share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use uki::{Builder, Plan, Stub};

/// A file of `tests/vectors`.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    std::fs::read(path).unwrap()
}

/// A builder on the synthetic stub, with the synthetic kernel.
pub(crate) fn builder() -> Builder {
    bare().linux(vector("kernel.efi"))
}

/// A builder on the synthetic stub.
pub(crate) fn bare() -> Builder {
    Builder::new(Stub::parse(&vector("stub.efi")).unwrap())
}

/// The image of a plan without anything to fill in.
pub(crate) fn image(plan: &Plan) -> Vec<u8> {
    let mut image = Vec::new();
    plan.write_to(&mut image).unwrap();
    image
}

/// Says that a test cannot run here; in CI that is a failure.
pub(crate) fn skip(test: &str, tool: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {tool} not found");
    eprintln!("SKIPPED: {test}: {tool} not found");
}

/// The folder with a Debian 13 system, if it has been made.
pub(crate) fn debian13() -> Option<PathBuf> {
    let cache = std::env::var_os("TRUSTEDBOOT_CACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
            Some(cache.or_else(home)?.join("trustedboot"))
        })?;
    let tree = cache.join("debian13");
    tree.join(".trustedboot-stamp").exists().then_some(tree)
}

/// A program of the Debian 13 tree, run with the tree's own loader and libraries, so that no root is needed.
pub(crate) fn tree_command(tree: &Path, program: &str) -> Command {
    let mut command = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let path = format!("{0}:{0}/systemd", libraries.display());
    command
        .arg("--library-path")
        .arg(path)
        .arg(tree.join(program));
    command
}
