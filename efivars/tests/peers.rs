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
use std::process::Command;

use efivars::{
    Attributes, AuthenticatedUpdate, HashAlgorithm, SignatureDatabase, Update, VariableFile,
};
use support::{certificate, g1, g2, has_tool, key, run, time, vector, vector_path};

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
