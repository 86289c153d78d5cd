//! Runs the foreign tools.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs a program; nothing when it is not installed, which only a test on a desk may get away with.
pub(crate) fn run(test: &str, program: &str, arguments: &[&str], folder: &Path) -> Option<Output> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => Some(output),
        Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {test}: {program} not found");
            None
        }
        Err(error) => panic!("{test}: {program}: {error}"),
    }
}

/// Runs a program that must be content; what it said.
pub(crate) fn content(
    test: &str,
    program: &str,
    arguments: &[&str],
    folder: &Path,
) -> Option<Vec<u8>> {
    let output = run(test, program, arguments, folder)?;
    assert!(
        output.status.success(),
        "{test}: {program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Some(output.stdout)
}

/// The same, as text.
pub(crate) fn text(test: &str, program: &str, arguments: &[&str], folder: &Path) -> Option<String> {
    content(test, program, arguments, folder)
        .map(|said| String::from_utf8_lossy(&said).into_owned())
}

/// Lets a folder be removed in which everything is read-only, as images have it.
pub(crate) fn make_writable(folder: &Path) {
    let status = Command::new("chmod")
        .args(["-R", "u+rwx"])
        .arg(folder)
        .status();
    assert!(status.unwrap().success());
}

/// The Python that `.ci/setup python` makes.
pub(crate) fn python() -> String {
    let cache = ["TRUSTEDBOOT_CACHE", "XDG_CACHE_HOME", "HOME"]
        .into_iter()
        .zip(["", "trustedboot", ".cache/trustedboot"])
        .find_map(|(name, below)| Some(PathBuf::from(std::env::var_os(name)?).join(below)));
    let path = cache.unwrap_or_default().join("python/bin/python3");
    path.to_string_lossy().into_owned()
}
