//! `sign_pe`: keys and certificates in every form, and what must not be signed or overwritten.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/pe.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod pe;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

use pe::{folder, have_openssl, names, openssl, run, vector};

const SIGN_PE: &str = env!("CARGO_BIN_EXE_sign_pe");
const VERIFY_PE: &str = env!("CARGO_BIN_EXE_verify_pe");

#[test]
fn the_signed_copy_is_the_golden_one_in_place_too() {
    let folder = folder();
    let golden = vector("signed/addon.golden.efi");
    let path = |name: &str| folder.path().join(name);
    let args = ["db-rsa2048.key", "db-rsa2048.pem", "addon.efi", "out.efi"];
    let signed = run(SIGN_PE, folder.path(), &args);
    assert_eq!(signed.code, 0, "{signed:?}");
    let document = signed.document.unwrap();
    assert_eq!(document["signatures"], 1);
    assert!(fs::read(path("out.efi")).unwrap() == golden);

    fs::set_permissions(path("addon.efi"), fs::Permissions::from_mode(0o600)).unwrap();
    let args = ["db-rsa2048.key", "db-rsa2048.pem", "addon.efi", "addon.efi"];
    assert_eq!(run(SIGN_PE, folder.path(), &args).code, 0);
    assert!(fs::read(path("addon.efi")).unwrap() == golden);
    let mode = fs::metadata(path("addon.efi"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // A second time changes nothing; another signer is added.
    assert_eq!(run(SIGN_PE, folder.path(), &args).code, 0);
    assert!(fs::read(path("addon.efi")).unwrap() == golden);
    let args = ["other.key", "other.pem", "addon.efi", "two.efi"];
    let second = run(SIGN_PE, folder.path(), &args);
    assert_eq!(second.document.unwrap()["signatures"], 2);
}

#[test]
fn keys_and_certificates_are_read_in_every_form_of_openssl() {
    if !have_openssl("keys_and_certificates_are_read_in_every_form") {
        return;
    }
    let folder = folder();
    let golden = vector("signed/addon.golden.efi");
    for args in [
        "rsa -in db-rsa2048.key -traditional -out pkcs1.key",
        "rsa -in db-rsa2048.key -traditional -outform DER -out pkcs1.der",
        "pkcs8 -topk8 -nocrypt -in db-rsa2048.key -outform DER -out pkcs8.der",
        "x509 -in db-rsa2048.pem -outform DER -out cert.der",
        "x509 -in db-rsa2048.pem -text -out text.pem",
        "x509 -in db-rsa2048.pem -trustout -out trusted.pem",
    ] {
        openssl(folder.path(), args);
    }
    let crlf = |text: Vec<u8>| String::from_utf8(text).unwrap().replace('\n', "\r\n");
    for name in ["db-rsa2048.key", "db-rsa2048.pem"] {
        let text = crlf(vector(&format!("keys/{name}")));
        fs::write(folder.path().join(format!("crlf-{name}")), text).unwrap();
    }
    let both = [vector("keys/db-rsa2048.pem"), vector("keys/db-rsa2048.key")].concat();
    fs::write(folder.path().join("both.pem"), both).unwrap();
    for (key, certificate) in [
        ("pkcs1.key", "cert.der"),
        ("pkcs1.der", "text.pem"),
        ("pkcs8.der", "trusted.pem"),
        ("crlf-db-rsa2048.key", "crlf-db-rsa2048.pem"),
        ("both.pem", "both.pem"),
    ] {
        let run = run(
            SIGN_PE,
            folder.path(),
            &[key, certificate, "addon.efi", "out.efi"],
        );
        assert_eq!(run.code, 0, "{key} {certificate}: {run:?}");
        assert!(fs::read(folder.path().join("out.efi")).unwrap() == golden);
    }
}

#[test]
fn a_chain_is_embedded_and_trusted_by_its_root() {
    let folder = folder();
    let chain = [vector("keys/leaf.pem"), vector("keys/inter.pem")].concat();
    fs::write(folder.path().join("chain.pem"), chain).unwrap();
    let args = ["leaf.key", "chain.pem", "addon.efi", "out.efi"];
    assert_eq!(run(SIGN_PE, folder.path(), &args).code, 0);
    let args = ["--trust", "root.pem", "out.efi"];
    assert_eq!(run(VERIFY_PE, folder.path(), &args).code, 0);
}

#[test]
fn unusable_keys_and_certificates_are_told_apart_and_leave_nothing() {
    if !have_openssl("unusable_keys_and_certificates") {
        return;
    }
    let folder = folder();
    openssl(
        folder.path(),
        "pkcs8 -topk8 -in db-rsa2048.key -passout pass:x -out encrypted.key",
    );
    openssl(
        folder.path(),
        "rsa -in db-rsa2048.key -traditional -aes128 -passout pass:x -out old.key",
    );
    let cut = |name: &str, len: usize| {
        let bytes = vector(&format!("keys/{name}"));
        fs::write(folder.path().join(format!("cut-{name}")), &bytes[..len]).unwrap();
    };
    cut("db-rsa2048.key", 900);
    cut("db-rsa2048.pem", 900);
    let half = [
        vector("keys/db-rsa2048.pem"),
        vector("keys/other.pem")[..600].to_vec(),
    ];
    fs::write(folder.path().join("half.pem"), half.concat()).unwrap();
    fs::write(folder.path().join("text"), "no key").unwrap();
    let before = names(folder.path());
    for (key, certificate, code, words) in [
        ("encrypted.key", "db-rsa2048.pem", 2, "it is encrypted"),
        ("old.key", "db-rsa2048.pem", 2, "it is encrypted"),
        ("ec-p256.key", "db-rsa2048.pem", 2, "private key"),
        ("cut-db-rsa2048.key", "db-rsa2048.pem", 2, "private key"),
        ("text", "db-rsa2048.pem", 2, "private key"),
        ("db-rsa2048.pem", "db-rsa2048.pem", 2, "private key"),
        ("missing", "db-rsa2048.pem", 2, "missing"),
        ("db-rsa2048.key", "cut-db-rsa2048.pem", 2, "cut short"),
        ("db-rsa2048.key", "half.pem", 2, "cut short"),
        ("db-rsa2048.key", "text", 2, "certificate"),
        ("db-rsa2048.key", "db-rsa2048.key", 2, "CERTIFICATE"),
        ("other.key", "db-rsa2048.pem", 1, "does not verify"),
        ("db-rsa2048.key", "ec-p256.pem", 1, "firmware refuses"),
    ] {
        let run = run(
            SIGN_PE,
            folder.path(),
            &[key, certificate, "addon.efi", "out.efi"],
        );
        assert_eq!(run.code, code, "{key} {certificate}: {run:?}");
        let said = match &run.document {
            Some(document) => document["refused"].as_str().unwrap(),
            None => &run.message,
        };
        assert!(said.contains(words), "{key} {certificate}: {said}");
        assert_eq!(names(folder.path()), before);
    }
}

#[test]
fn unusable_inputs_and_outputs_leave_nothing() {
    let folder = folder();
    let image = vector("images/tiny64.efi");
    fs::write(folder.path().join("cut.efi"), &image[..image.len() - 1]).unwrap();
    fs::write(folder.path().join("text"), "no image").unwrap();
    let signed = vector("signed/tiny64.golden.efi");
    let more = [&signed[..], &[1; 8]].concat();
    fs::write(folder.path().join("more.efi"), more).unwrap();
    let before = names(folder.path());
    for (input, output, code) in [
        ("cut.efi", "out.efi", 2),
        ("text", "out.efi", 2),
        ("missing", "out.efi", 2),
        ("addon.efi", "missing/out.efi", 2),
        ("addon.efi", ".", 2),
        ("addon.efi", "/", 2),
        ("addon.efi", "/dev/null", 2),
        ("more.efi", "out.efi", 1),
    ] {
        let args = ["db-rsa2048.key", "db-rsa2048.pem", input, output];
        let run = run(SIGN_PE, folder.path(), &args);
        assert_eq!(run.code, code, "{input} {output}: {run:?}");
        assert_eq!(names(folder.path()), before);
    }
    let null = fs::metadata("/dev/null").unwrap().file_type();
    assert!(null.is_char_device());
    for args in [&[][..], &["a", "b", "c"], &["a", "b", "c", "d", "e"]] {
        assert_eq!(run(SIGN_PE, folder.path(), args).code, 2);
    }
}

#[test]
fn a_link_stays_a_link() {
    let folder = folder();
    symlink("real.efi", folder.path().join("link.efi")).unwrap();
    fs::write(folder.path().join("real.efi"), "old").unwrap();
    let args = ["db-rsa2048.key", "db-rsa2048.pem", "addon.efi", "link.efi"];
    assert_eq!(run(SIGN_PE, folder.path(), &args).code, 0);
    let link = fs::symlink_metadata(folder.path().join("link.efi")).unwrap();
    assert!(link.is_symlink());
    let golden = vector("signed/addon.golden.efi");
    assert!(fs::read(folder.path().join("real.efi")).unwrap() == golden);
}
