//! `build_uki` makes an image, or exits with 2 and leaves everything as it was.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use uki::{SectionName, Uki};

const GOOD: [&str; 6] = ["stub", "linux", "initrd", "quiet", "osrel", "out"];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../uki/tests/vectors");
    fs::copy(vectors.join("stub.efi"), folder.path().join("stub")).unwrap();
    fs::copy(vectors.join("kernel.efi"), folder.path().join("linux")).unwrap();
    fs::write(folder.path().join("initrd"), [7; 700]).unwrap();
    fs::write(folder.path().join("osrel"), "ID=test\n").unwrap();
    folder
}

/// Exit code and message.
fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_build_uki"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), !output.stdout.is_empty());
    (output.status.code(), error)
}

fn state(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read(path).ok()))
        .collect()
}

#[test]
fn the_image_has_what_was_given_and_replaces_an_older_one() {
    let folder = folder();
    fs::write(folder.path().join("out"), "an older one").unwrap();
    assert_eq!(run(folder.path(), &GOOD), (Some(0), String::new()));
    let image = fs::read(folder.path().join("out")).unwrap();
    let uki = Uki::parse(&image).unwrap();
    let content = |name| uki.content(uki.base().section(&name).unwrap());
    assert_eq!(content(SectionName::INITRD), [7; 700]);
    assert_eq!(content(SectionName::OSREL), b"ID=test\n");
    assert_eq!(content(SectionName::CMDLINE), b"quiet");
}

#[test]
fn hostile_arguments_exit_with_2_and_leave_everything_as_it_was() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("empty"), "").unwrap();
    std::os::unix::fs::symlink("initrd", path("link")).unwrap();
    fs::hard_link(path("osrel"), path("twin")).unwrap();
    let before = state(folder.path());
    // Place of the argument, the argument, and a word of the message.
    for (place, argument, message) in [
        (5, "stub", "would replace the input stub"),
        (5, "linux", "would replace the input linux"),
        (5, "link", "would replace the input initrd"),
        (5, "./osrel", "would replace the input osrel"),
        (5, "twin", "would replace the input osrel"),
        (5, "dir", "not a regular file"),
        (5, "/dev/null", "not a regular file"),
        (5, "missing/out", "missing/out"),
        (5, "osrel/out", "osrel/out"),
        (5, "", "error: "),
        (0, "linux", "not a systemd stub"),
        (0, "/dev/zero", "not a regular file"),
        (1, "initrd", "not a kernel"),
        (1, "/dev/zero", "not a regular file"),
    ] {
        let mut args = GOOD;
        args[place] = argument;
        let (code, error) = run(folder.path(), &args);
        assert_eq!(code, Some(2), "{args:?}: {error}");
        assert!(error.contains(message), "{args:?}: {error}");
        assert_eq!(state(folder.path()), before, "{args:?}");
    }
    for place in [0, 1, 2, 4] {
        for argument in ["missing", "dir", "empty"] {
            let mut args = GOOD;
            args[place] = argument;
            let (code, error) = run(folder.path(), &args);
            assert_eq!(code, Some(2), "{args:?}: {error}");
            assert!(error.contains(argument), "{args:?}: {error}");
            assert_eq!(state(folder.path()), before, "{args:?}");
        }
    }
    for args in [&GOOD[..5], &[GOOD[0]; 7], &[]] {
        let (code, error) = run(folder.path(), args);
        assert_eq!(code, Some(2), "{args:?}");
        assert!(error.contains("six arguments"), "{error}");
    }
}
