//! `verify_pe`: verdicts on images of several tools, and wrong use.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/pe.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod pe;

use std::fs;

use pe::{folder, run, vector};

const VERIFY_PE: &str = env!("CARGO_BIN_EXE_verify_pe");

/// A folder with this signed image as `image.efi`.
fn with(image: &str) -> tempfile::TempDir {
    let folder = folder();
    fs::write(
        folder.path().join("image.efi"),
        vector(&format!("signed/{image}")),
    )
    .unwrap();
    folder
}

#[test]
fn verdicts_on_images_of_other_tools_name_each_signature() {
    for (image, certificate, code, statuses) in [
        ("addon.sbsign.efi", "db-rsa2048.pem", 0, &["valid"][..]),
        ("addon.pesign.efi", "db-rsa2048.pem", 0, &["valid"]),
        ("addon.systemd-sbsign.efi", "db-rsa2048.pem", 0, &["valid"]),
        ("addon.chain.efi", "root.pem", 0, &["valid"]),
        ("addon.chain.efi", "inter.pem", 0, &["valid"]),
        ("addon.chain.efi", "other.pem", 1, &["untrusted"]),
        (
            "addon.two-signers.efi",
            "other.pem",
            0,
            &["valid", "untrusted"],
        ),
        (
            "addon.bad-tampered.efi",
            "db-rsa2048.pem",
            1,
            &["digest_mismatch"],
        ),
        (
            "addon.bad-signature.efi",
            "db-rsa2048.pem",
            1,
            &["invalid_signature"],
        ),
    ] {
        let folder = with(image);
        let run = run(
            VERIFY_PE,
            folder.path(),
            &["--trust", certificate, "image.efi"],
        );
        assert_eq!(run.code, code, "{image}: {run:?}");
        let document = run.document.unwrap();
        let verdict = if code == 0 { "allow" } else { "deny" };
        assert_eq!(document["verdict"], verdict, "{image}");
        let found: Vec<_> = document["signatures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|signature| signature["status"].as_str().unwrap())
            .collect();
        assert_eq!(found, statuses, "{image}");
    }
}

#[test]
fn a_denied_certificate_wins_whatever_else_is_trusted() {
    let folder = with("addon.two-signers.efi");
    let judge = |args: &[&str]| run(VERIFY_PE, folder.path(), args);
    let trust = ["--trust", "db-rsa2048.pem", "other.pem"];
    assert_eq!(judge(&[&trust[..], &["image.efi"]].concat()).code, 0);
    let denied = judge(&[&trust[..], &["--deny", "other.pem", "image.efi"]].concat());
    assert_eq!(denied.code, 1);
    assert_eq!(denied.document.unwrap()["reason"], "denied_certificate");
    let args = [&["--deny", "leaf.pem"], &trust[..], &["image.efi"]].concat();
    assert_eq!(judge(&args).code, 0);
}

#[test]
fn a_signature_of_a_kind_that_firmware_does_not_know_is_denied_for_that() {
    let folder = with("tiny64.ecdsa.efi");
    let args = ["--trust", "ec-p256.pem", "image.efi"];
    let run = run(VERIFY_PE, folder.path(), &args);
    assert_eq!(run.code, 1);
    let document = run.document.unwrap();
    assert_eq!(document["reason"], "algorithm_unknown_to_firmware");
    assert_eq!(document["signatures"][0]["status"], "valid");
}

#[test]
fn wrong_use_and_unreadable_files_end_with_2() {
    let folder = with("addon.golden.efi");
    fs::write(folder.path().join("text"), "neither").unwrap();
    let cut = &vector("keys/other.pem")[..600];
    fs::write(
        folder.path().join("half.pem"),
        [&vector("keys/root.pem"), cut].concat(),
    )
    .unwrap();
    for args in [
        &[][..],
        &["image.efi"],
        &["--trust"],
        &["--trust", "image.efi"],
        &["--deny", "root.pem", "image.efi"],
        &["root.pem", "image.efi"],
        &["--trust", "missing", "image.efi"],
        &["--trust", "text", "image.efi"],
        &["--trust", "half.pem", "image.efi"],
        &["--trust", "root.pem", "--deny", "half.pem", "image.efi"],
        &["--trust", "root.pem", "missing"],
        &["--trust", "root.pem", "text"],
        &["--trust", "root.pem", "."],
        &["--unknown", "root.pem", "image.efi"],
    ] {
        assert_eq!(run(VERIFY_PE, folder.path(), args).code, 2, "{args:?}");
    }
}

#[test]
fn truncated_images_end_with_2_and_longer_ones_are_denied() {
    let folder = with("tiny64.golden.efi");
    let image = vector("signed/tiny64.golden.efi");
    let judge = |bytes: &[u8]| {
        fs::write(folder.path().join("changed.efi"), bytes).unwrap();
        let args = ["--trust", "db-rsa2048.pem", "changed.efi"];
        run(VERIFY_PE, folder.path(), &args).code
    };
    for len in (0..image.len()).step_by(37).chain([image.len() - 1]) {
        assert_eq!(judge(&image[..len]), 2, "{len}");
    }
    assert_eq!(judge(&[&image[..], &[0; 8]].concat()), 1);
    assert_eq!(judge(&image), 0);
}
