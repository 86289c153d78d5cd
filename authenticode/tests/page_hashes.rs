//! Page hashes inside signatures: read, reported, compared, kept.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use authenticode::{
    Certificate, Existing, Finding, HashAlgorithm, Image, PageHashes, RsaSigner, Signing, Verifier,
};
use support::tools::{have, run};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod tools;
}

fn vector(path: &str) -> Vec<u8> {
    fs::read(format!("tests/vectors/{path}")).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&String::from_utf8(vector(&format!("keys/{name}.pem"))).unwrap()).unwrap()
}

fn page_hashes(image: &[u8]) -> Vec<Option<PageHashes>> {
    let report = Verifier::new()
        .trust([certificate("db-rsa2048")])
        .verify(&Image::parse(image).unwrap());
    let hashes = report.signatures().iter();
    hashes
        .map(|signature| signature.page_hashes().cloned())
        .collect()
}

#[test]
fn the_recorded_ones_are_read_and_compared() {
    let image = vector("signed/addon.osslsigncode-pagehash.efi");
    let found = page_hashes(&image);
    let pages = found[0].as_ref().unwrap();
    assert_eq!(pages.algorithm(), HashAlgorithm::Sha256);
    assert_eq!(pages.pages()[0].0, 0);
    assert_eq!(pages.len(), 3);
    assert!(pages.matches(&image).unwrap());
    // Signatures and checksum are not part of the pages, everything else is.
    assert!(pages.matches(&vector("images/addon.efi")).unwrap());
    let mut changed = vector("images/addon.efi");
    changed[0x500] ^= 1;
    assert!(!pages.matches(&changed).unwrap());
    assert!(!pages.matches(&vector("images/tiny64.efi")).unwrap());
    assert!(pages.matches(&image[..100]).unwrap_err().is_unreadable());
    assert!(page_hashes(&vector("signed/addon.golden.efi"))[0].is_none());

    let findings = Image::parse(&image).unwrap().findings(None);
    assert!(findings.contains(&Finding::PageHashes {
        signature: 0,
        count: 3
    }));
    assert!(!findings.contains(&Finding::UnusualForm { signature: 0 }));
}

#[test]
fn they_stay_when_another_signature_is_added() {
    let mut image = vector("signed/addon.osslsigncode-pagehash.efi");
    let before = page_hashes(&image);
    let key = String::from_utf8(vector("keys/other.key")).unwrap();
    Signing::new(&certificate("other"))
        .existing(Existing::Append)
        .prepare(Image::parse(&image).unwrap())
        .unwrap()
        .sign(&RsaSigner::from_pem(&key).unwrap())
        .unwrap()
        .edit()
        .unwrap()
        .apply_to_bytes(&mut image)
        .unwrap();
    let after = page_hashes(&image);
    assert_eq!(after, [before[0].clone(), None]);
    assert!(after[0].as_ref().unwrap().matches(&image).unwrap());
}

#[test]
fn those_of_osslsigncode_match_for_both_hashes() {
    if !have(
        &["osslsigncode"],
        "those_of_osslsigncode_match_for_both_hashes",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let keys = Path::new("tests/vectors/keys");
    for name in ["tiny64", "tiny32", "overlay16", "bss64"] {
        for hash in ["sha1", "sha256"] {
            let signed = folder.path().join(format!("{name}-{hash}.efi"));
            run(Command::new("osslsigncode")
                .args(["sign", "-ph", "-h", hash, "-certs"])
                .arg(keys.join("db-rsa2048.pem"))
                .arg("-key")
                .arg(keys.join("db-rsa2048.key"))
                .arg("-in")
                .arg(format!("tests/vectors/images/{name}.efi"))
                .arg("-out")
                .arg(&signed));
            let image = fs::read(&signed).unwrap();
            let found = page_hashes(&image);
            let pages = found[0].as_ref().unwrap();
            assert_eq!(pages.algorithm().to_string(), hash);
            assert!(pages.matches(&image).unwrap(), "{name} {hash}");
        }
    }
}
