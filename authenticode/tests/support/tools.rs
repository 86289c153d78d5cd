//! Running the tools that judge.

use std::path::PathBuf;
use std::process::Command;

/// Whether all tools are there. Otherwise says which is missing, and fails where nothing may be left out.
pub(crate) fn have(tools: &[&str], test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = tools
        .iter()
        .find(|tool| !std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()));
    missing.is_none_or(|tool| skip(test, tool))
}

fn skip(test: &str, tool: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "{test}: {tool} not found");
    eprintln!("SKIPPED: {test}: {tool} not found");
    false
}

/// The Debian 13 tree, if it has been made.
pub(crate) fn debian13(test: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("TRUSTEDBOOT_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("trustedboot")))
        .or_else(|| Some(variable("HOME")?.join(".cache/trustedboot")));
    let tree = cache
        .map(|cache| cache.join("debian13"))
        .filter(|tree| tree.join("usr").is_dir());
    if tree.is_none() {
        skip(test, "the Debian 13 tree");
    }
    tree
}

/// Runs a command that must succeed, and gives what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Whether a command succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().unwrap().status.success()
}
