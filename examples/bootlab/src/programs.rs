//! Finds the workspace's own programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::run;

/// The path of a program of this workspace, such as `imager` of `trustedboot-imager`.
///
/// Under cargo (tests, `cargo run`) it is built first, into the same target folder and profile as
/// the running program; otherwise it lies beside the running program.
///
/// # Errors
/// When it does not build, or is not there.
pub fn program(name: &str, package: &str) -> Result<PathBuf> {
    let current = std::env::current_exe().map_err(Error::file("current program"))?;
    let mut folder = current.parent().unwrap_or(Path::new("."));
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", package, "--bin", name]);
        if folder.ends_with("release") {
            command.arg("--release");
        }
        if let Some(target) = folder.parent() {
            command.arg("--target-dir").arg(target);
        }
        run(&mut command)?;
    }
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Missing {
        what: path.display().to_string(),
        hint: "build the workspace: cargo build --workspace",
    })
}
