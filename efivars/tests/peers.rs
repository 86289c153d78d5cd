//! efitools and sbsigntool, run here: they read what we write, and we read what they write.
#![cfg(feature = "rsa")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use efivars::{
    Attributes, AuthenticatedUpdate, Guid, HashAlgorithm, SignatureDatabase, Update, VariableFile,
};
use support::{
    available, certificate, debian13, g1, g2, has_tool, key, run, time, vector, vector_path,
};

#[test]
fn efitools_takes_our_lists_apart_and_signs_the_same_bytes() {
    let test = "efitools_takes_our_lists_apart_and_signs_the_same_bytes";
    if !has_tool(test, "sig-list-to-certs") || !has_tool(test, "sign-efi-sig-list") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut database = SignatureDatabase::new()
        .with_certificate(g1(), &certificate("db"))
        .with_certificate(g2(), &certificate("db2"));
    database
        .add_image_digest(HashAlgorithm::Sha256, g2(), &[7; 32])
        .unwrap();
    fs::write(folder.path().join("ours.esl"), database.to_bytes()).unwrap();
    run(Command::new("sig-list-to-certs")
        .args(["ours.esl", "out"])
        .current_dir(folder.path()));
    assert!(fs::read(folder.path().join("out-0.der")).unwrap() == vector("keys/db.der"));
    assert!(fs::read(folder.path().join("out-1.der")).unwrap() == vector("keys/db2.der"));

    let mut command = Command::new("sign-efi-sig-list");
    command
        .args([
            "-a",
            "-g",
            &g1().to_string(),
            "-t",
            "2024-01-02 03:04:05",
            "-k",
        ])
        .env("TZ", "UTC");
    command
        .arg(vector_path("keys/KEK.key"))
        .arg("-c")
        .arg(vector_path("keys/KEK.crt"));
    run(command
        .args(["db", "ours.esl", "theirs.auth"])
        .current_dir(folder.path()));
    let ours = Update::append(efivars::DB, &database, time("2024-01-02 03:04:05")).unwrap();
    let ours = ours.sign(&certificate("KEK"), &key("KEK")).unwrap();
    assert!(fs::read(folder.path().join("theirs.auth")).unwrap() == ours.to_bytes());
}

#[test]
fn sbsigntool_makes_the_same_lists_and_updates_that_verify() {
    let test = "sbsigntool_makes_the_same_lists_and_updates_that_verify";
    if !has_tool(test, "sbsiglist") || !has_tool(test, "sbvarsign") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sbsiglist");
    command.args([
        "--owner",
        &g2().to_string(),
        "--type",
        "x509",
        "--output",
        "theirs.esl",
    ]);
    run(command
        .arg(vector_path("keys/db2.der"))
        .current_dir(folder.path()));
    let ours = SignatureDatabase::new()
        .with_certificate(g2(), &certificate("db2"))
        .to_bytes();
    assert!(fs::read(folder.path().join("theirs.esl")).unwrap() == ours);

    let mut command = Command::new("sbvarsign");
    command
        .arg("--key")
        .arg(vector_path("keys/KEK.key"))
        .arg("--cert")
        .arg(vector_path("keys/KEK.crt"));
    command.args([
        "--include-attrs",
        "--output",
        "theirs.auth",
        "db",
        "theirs.esl",
    ]);
    run(command.current_dir(folder.path()));
    let file = fs::read(folder.path().join("theirs.auth")).unwrap();
    let VariableFile::Update { attributes, update } = VariableFile::detect(&file, None).unwrap()
    else {
        panic!("not an update");
    };
    assert_eq!(attributes, Some(Attributes::KEY_APPEND));
    assert_eq!(
        update.verify_for(&certificate("KEK"), &efivars::DB, Attributes::KEY_APPEND),
        Ok(())
    );
    assert!(AuthenticatedUpdate::parse(&file[4..]).unwrap().value() == ours);
}

#[test]
fn efitools_makes_the_same_lists_of_certificates_and_of_images() {
    let test = "efitools_makes_the_same_lists_of_certificates_and_of_images";
    if !has_tool(test, "cert-to-efi-sig-list") || !has_tool(test, "hash-to-efi-sig-list") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let theirs = || fs::read(folder.path().join("theirs.esl")).unwrap();
    run(Command::new("cert-to-efi-sig-list")
        .args(["-g", &g1().to_string()])
        .arg(vector_path("keys/db.crt"))
        .arg("theirs.esl")
        .current_dir(folder.path()));
    let ours = SignatureDatabase::new().with_certificate(g1(), &certificate("db"));
    assert!(theirs() == ours.to_bytes());

    let efi = Path::new("/usr/lib/systemd/boot/efi");
    let images = ["systemd-bootx64.efi", "linuxx64.efi.stub"].map(|name| efi.join(name));
    if !available(
        test,
        "systemd-boot-efi",
        images.iter().all(|image| image.is_file()),
    ) {
        return;
    }
    let said = run(Command::new("hash-to-efi-sig-list")
        .args(images)
        .arg("theirs.esl")
        .current_dir(folder.path()));
    let said = String::from_utf8(said.stdout).unwrap();
    let mut ours = SignatureDatabase::new();
    let hashes = said
        .lines()
        .filter_map(|line| line.strip_prefix("HASH IS "));
    for hash in hashes {
        let digest: Vec<u8> = (0..hash.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hash[at..at + 2], 16).unwrap())
            .collect();
        ours.add_image_digest(HashAlgorithm::Sha256, Guid::SHIM_LOCK, &digest)
            .unwrap();
    }
    assert_eq!(ours.len(), 2);
    assert!(theirs() == ours.to_bytes());
    assert!(SignatureDatabase::parse(&theirs()).unwrap() == ours);
}

#[test]
fn virt_fw_sigdb_makes_the_same_lists_and_names_the_entries_of_ours() {
    let test = "virt_fw_sigdb_makes_the_same_lists_and_names_the_entries_of_ours";
    let Some(tree) = debian13(test) else { return };
    // A chroot sees only its own /tmp: the files go there and away again.
    let inside = tempfile::tempdir_in(tree.join("tmp")).unwrap();
    let name = inside.path().file_name().unwrap().to_str().unwrap();
    let path = |file: &str| format!("/tmp/{name}/{file}");
    for file in ["db.crt", "db2.crt"] {
        fs::write(inside.path().join(file), vector(&format!("keys/{file}"))).unwrap();
    }
    let sigdb = |arguments: &[&str]| {
        let mut command = Command::new("chroot");
        run(command
            .arg(&tree)
            .arg("/usr/bin/virt-fw-sigdb")
            .args(arguments))
    };
    let mut ours = SignatureDatabase::new()
        .with_certificate(g1(), &certificate("db"))
        .with_certificate(g2(), &certificate("db2"));
    for (owner, byte) in [(g2(), 7), (g1(), 9)] {
        ours.add_image_digest(HashAlgorithm::Sha256, owner, &[byte; 32])
            .unwrap();
    }
    let (one, other) = (g1().to_string(), g2().to_string());
    let (seven, nine) = ("07".repeat(32), "09".repeat(32));
    let theirs = path("theirs.esl");
    let (db, db2) = (path("db.crt"), path("db2.crt"));
    sigdb(&[
        "--add-cert",
        &one,
        &db,
        "--add-cert",
        &other,
        &db2,
        "--add-hash",
        &other,
        &seven,
        "--add-hash",
        &one,
        &nine,
        "--output",
        &theirs,
    ]);
    assert!(fs::read(inside.path().join("theirs.esl")).unwrap() == ours.to_bytes());

    fs::write(inside.path().join("ours.esl"), ours.to_bytes()).unwrap();
    let listing = sigdb(&["--input", &path("ours.esl"), "--print"]);
    let listing = String::from_utf8(listing.stdout).unwrap();
    for told in [
        "CN=vector dev db two",
        &seven,
        &nine,
        "EfiCertSha256 count=2",
    ] {
        assert!(listing.contains(told), "{told}: {listing}");
    }
}
