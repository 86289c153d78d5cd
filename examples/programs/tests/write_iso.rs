//! `write_iso` and `write_esp` tell what they wrote, refuse by name, and exit as scripts rely on.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ISO: &str = env!("CARGO_BIN_EXE_write_iso");
const ESP: &str = env!("CARGO_BIN_EXE_write_esp");

/// Runs a program in a folder; its exit code, document and message.
fn run(
    program: &str,
    folder: &Path,
    arguments: &[&str],
    epoch: Option<&str>,
) -> (i32, Value, String) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("SOURCE_DATE_EPOCH");
    if let Some(epoch) = epoch {
        command.env("SOURCE_DATE_EPOCH", epoch);
    }
    let output = command.output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), document, message)
}

/// A folder with the trees `t` and `esp`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("t/file", "text"),
        ("t/sub/other", ""),
        ("esp/EFI/BOOT/BOOTX64.EFI", "MZ"),
        ("esp/loader/random-seed", "seed"),
    ] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

#[test]
fn images_are_written_and_described() {
    let folder = folder();
    let at = folder.path();
    for (program, arguments, partitions) in [
        (ISO, &["t", "out"][..], Some(0)),
        (ISO, &["t", "out", "--esp", "esp"], Some(1)),
        (ISO, &["--esp", "esp", "t", "out"], Some(1)),
        (ESP, &["esp", "out"], None),
    ] {
        let (code, document, message) = run(program, at, arguments, None);
        assert_eq!(code, 0, "{arguments:?}: {message}");
        assert_eq!(document["file"], "out");
        let len = std::fs::metadata(at.join("out")).unwrap().len();
        assert_eq!(document["bytes"], len);
        assert_eq!(document["partitions"].as_array().map(Vec::len), partitions);
    }
    for program in [ISO, ESP] {
        assert_eq!(run(program, at, &["--help"], None).0, 0);
    }
}

#[test]
fn wrong_use_and_what_is_unreadable_exit_with_two_and_leave_no_file() {
    let folder = folder();
    let at = folder.path();
    for (program, arguments) in [
        (ISO, &[][..]),
        (ISO, &["t"]),
        (ISO, &["t", "out", "--esp"]),
        (ISO, &["t", "out", "--other", "esp"]),
        (ISO, &["missing", "out"]),
        (ISO, &["t/file", "out"]),
        (ISO, &["t", "missing/out"]),
        (ISO, &["t", "t"]),
        (ISO, &["t", "out", "--esp", "missing"]),
        (ESP, &[]),
        (ESP, &["t"]),
        (ESP, &["missing", "out"]),
        (ESP, &["t", "missing/out"]),
        (ESP, &["t", "out", "more"]),
    ] {
        let (code, document, message) = run(program, at, arguments, None);
        assert_eq!(
            (code, document),
            (2, Value::Null),
            "{arguments:?}: {message}"
        );
        assert!(message.starts_with("error: "), "{arguments:?}: {message}");
        assert!(!at.join("out").exists(), "{arguments:?}");
    }
    for epoch in [
        "",
        "abc",
        "-1",
        "+5",
        "1.5",
        " 5",
        "99999999999999999999999",
    ] {
        let (code, ..) = run(ISO, at, &["t", "out"], Some(epoch));
        assert_eq!(code, 2, "{epoch:?}");
        assert!(!at.join("out").exists(), "{epoch:?}");
    }
}

#[cfg(unix)]
#[test]
fn what_an_image_cannot_hold_is_refused_by_name_and_leaves_no_file() {
    let refused = |program: &str, add: &dyn Fn(&Path), extra: &[&str], text: &str| {
        let folder = folder();
        add(&folder.path().join("t"));
        let arguments = [&["t", "out"], extra].concat();
        let (code, document, message) = run(program, folder.path(), &arguments, None);
        assert_eq!(code, 1, "{text}: {message}");
        assert_eq!(document["refused"], text);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "{text}"
        );
    };
    let link = |tree: &Path| std::os::unix::fs::symlink("x", tree.join("link")).unwrap();
    refused(
        ESP,
        &link,
        &[],
        "\"link\" is a symbolic link, which FAT cannot hold",
    );
    let socket = |tree: &Path| {
        std::os::unix::net::UnixListener::bind(tree.join("s")).unwrap();
    };
    let text = "\"s\" is a device, socket or pipe, which an image cannot hold";
    refused(ISO, &socket, &[], text);
    refused(ESP, &socket, &[], text);
    let case = |tree: &Path| std::fs::write(tree.join("File"), "x").unwrap();
    let text = "\"File\" and \"file\" are one name in FAT, which ignores case";
    refused(ESP, &case, &[], text);
    let colon = |tree: &Path| std::fs::write(tree.join("x:y"), "x").unwrap();
    let text = "name of \"x:y\" cannot be stored in FAT: it contains ':'";
    refused(ESP, &colon, &[], text);
    let large = |tree: &Path| {
        let file = std::fs::File::create(tree.join("big")).unwrap();
        file.set_len(1 << 32).unwrap();
    };
    let text = "\"big\" has 4294967296 bytes, more than the 4294967295 that FAT can hold";
    refused(ESP, &large, &[], text);
    let text = "boot tree has no EFI/BOOT/BOOT*.EFI for firmware to start";
    refused(ISO, &|_| (), &["--esp", "t"], text);
}

#[test]
fn clock_time_zone_and_order_do_not_change_a_byte() {
    let one = folder();
    let two = folder();
    // The other folder's files are older, and were made in another order.
    let file = two.path().join("t/file");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "text").unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let handle = std::fs::File::options().write(true).open(&file).unwrap();
    handle.set_modified(time).unwrap();
    for epoch in [None, Some("1700000000")] {
        let images = [(&one, "UTC"), (&two, "Asia/Tokyo")].map(|(folder, zone)| {
            let arguments = ["t", "out", "--esp", "esp"];
            let mut command = Command::new(ISO);
            command
                .args(arguments)
                .current_dir(folder.path())
                .env("TZ", zone);
            command.env_remove("SOURCE_DATE_EPOCH");
            if let Some(epoch) = epoch {
                command.env("SOURCE_DATE_EPOCH", epoch);
            }
            assert!(command.output().unwrap().status.success());
            std::fs::read(folder.path().join("out")).unwrap()
        });
        assert!(images[0] == images[1], "{epoch:?}");
    }
}
