//! `digest_pe`: both kinds of digest, and what it says of files that have none.

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

const DIGEST_PE: &str = env!("CARGO_BIN_EXE_digest_pe");

#[test]
fn the_digests_are_those_recorded() {
    let recorded: serde_json::Value = serde_json::from_slice(&vector("digests.json")).unwrap();
    let folder = folder();
    for name in ["addon", "stub-unaligned", "tiny32", "bss64", "unsorted64"] {
        let file = format!("{name}.efi");
        fs::write(folder.path().join(&file), vector(&format!("images/{file}"))).unwrap();
        let run = run(DIGEST_PE, folder.path(), &[&file]);
        assert_eq!(run.code, 0, "{run:?}");
        let document = run.document.unwrap();
        for hash in ["sha1", "sha256", "sha384", "sha512"] {
            let expected = &recorded[&file];
            assert_eq!(
                document["signing"][hash], expected[hash]["padded_to_8"],
                "{file} {hash}"
            );
            assert_eq!(
                document["as_loaded"][hash], expected[hash]["file_as_is_unpadded"],
                "{file} {hash}"
            );
        }
    }
}

#[test]
fn wrong_use_and_unreadable_files_end_with_2() {
    let folder = folder();
    fs::write(folder.path().join("text"), "not an image").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    for args in [
        &[][..],
        &["addon.efi", "addon.efi"],
        &["missing.efi"],
        &["."],
        &["text"],
        &["empty"],
        &["root.pem"],
    ] {
        assert_eq!(run(DIGEST_PE, folder.path(), args).code, 2, "{args:?}");
    }
}

#[test]
fn a_truncated_image_ends_with_2_at_every_length() {
    let folder = folder();
    let image = vector("signed/tiny64.golden.efi");
    for len in (0..image.len()).step_by(29).chain([image.len() - 1]) {
        fs::write(folder.path().join("cut.efi"), &image[..len]).unwrap();
        assert_eq!(run(DIGEST_PE, folder.path(), &["cut.efi"]).code, 2, "{len}");
    }
}

#[test]
fn an_image_on_which_tools_disagree_has_no_digest_for_signing() {
    let folder = folder();
    let mut image = vector("signed/tiny64.golden.efi");
    image.extend_from_slice(&[0x5a; 16]);
    fs::write(folder.path().join("more.efi"), &image).unwrap();
    let run = run(DIGEST_PE, folder.path(), &["more.efi"]);
    assert_eq!(run.code, 1);
    let document = run.document.unwrap();
    assert!(document["signing"].is_null());
    assert!(document["as_loaded"]["sha256"].is_string());
    assert!(document["refused"].as_str().unwrap().contains("table ends"));
}
