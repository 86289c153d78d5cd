//! Runs the programs on PE images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) document: Option<Value>,
    pub(crate) message: String,
}

/// Runs a program in a folder.
pub(crate) fn run(program: &str, folder: &Path, args: &[&str]) -> Run {
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let run = Run {
        code: output.status.code().unwrap(),
        document: serde_json::from_slice(&output.stdout).ok(),
        message: String::from_utf8(output.stderr).unwrap(),
    };
    match run.code {
        0 | 1 => assert!(run.document.is_some(), "{args:?}: {run:?}"),
        // Nothing on stdout, one line on stderr.
        2 => assert!(
            output.stdout.is_empty() && run.message.lines().count() == 1,
            "{args:?}: {run:?}"
        ),
        _ => panic!("{args:?}: {run:?}"),
    }
    run
}

pub(crate) fn vector(path: &str) -> Vec<u8> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../authenticode/tests/vectors"
    );
    fs::read(format!("{folder}/{path}")).unwrap()
}

/// A folder with the keys, certificates and some images of the vectors.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["db-rsa2048", "other", "root", "inter", "leaf", "ec-p256"] {
        for ending in ["key", "pem"] {
            let file = format!("{name}.{ending}");
            fs::write(folder.path().join(&file), vector(&format!("keys/{file}"))).unwrap();
        }
    }
    fs::write(folder.path().join("addon.efi"), vector("images/addon.efi")).unwrap();
    folder
}

/// Whether OpenSSL is there; a machine that checks everything must have it.
pub(crate) fn have_openssl(test: &str) -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "openssl not found"
    );
    if !found {
        eprintln!("SKIPPED: {test}: openssl not found");
    }
    found
}

pub(crate) fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl")
        .args(args.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {args}: {output:?}");
}

/// The names in a folder.
pub(crate) fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    names
}
