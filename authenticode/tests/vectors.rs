//! The recorded digests, goldens and verdicts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::PathBuf;

use authenticode::{
    Certificate, HashAlgorithm, Image, ImageHasher, ImageOptions, Prepared, RsaSigner, Signing,
    UnixTime, Verifier,
};
use serde_json::Value;

fn vector(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(path)
}

fn bytes(path: &str) -> Vec<u8> {
    fs::read(vector(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(path: &str) -> String {
    fs::read_to_string(vector(path)).unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&text(&format!("keys/{name}.pem"))).unwrap()
}

fn all_hashes() -> ImageOptions {
    ImageOptions::new().hashes(&HashAlgorithm::ALL)
}

#[test]
fn digests_and_checksums_are_those_recorded() {
    for (name, expected) in json("digests.json").as_object().unwrap() {
        let file = bytes(&format!("images/{name}"));
        let image = Image::parse_with(&file, &all_hashes()).unwrap();
        for algorithm in HashAlgorithm::ALL {
            let recorded = &expected[algorithm.to_string()];
            let signing = image.digest_for_signing(algorithm).unwrap().to_string();
            let loaded = image.digest_as_loaded(algorithm).unwrap().to_string();
            assert_eq!(recorded["padded_to_8"], signing, "{name} {algorithm}");
            assert_eq!(
                recorded["file_as_is_unpadded"], loaded,
                "{name} {algorithm}"
            );
        }
        assert_eq!(
            expected["checksum_field"],
            format!("{:08x}", image.checksum()),
            "{name}"
        );
        assert_eq!(
            expected["checksum_correct"],
            format!("{:08x}", image.correct_checksum()),
            "{name}"
        );
    }
}

#[test]
fn slices_files_and_streams_give_the_same() {
    for (name, _) in json("digests.json").as_object().unwrap() {
        let path = format!("images/{name}");
        let file = bytes(&path);
        let slice = Image::parse_with(&file, &all_hashes()).unwrap();
        let read =
            Image::read_with(&mut fs::File::open(vector(&path)).unwrap(), &all_hashes()).unwrap();
        let mut hasher = ImageHasher::with_hashes(&HashAlgorithm::ALL);
        for part in file.chunks(7) {
            hasher.update(part);
        }
        let streamed = hasher.finish().unwrap();
        for image in [read, streamed] {
            for algorithm in HashAlgorithm::ALL {
                assert_eq!(
                    image.digest_for_signing(algorithm).unwrap(),
                    slice.digest_for_signing(algorithm).unwrap(),
                    "{name}"
                );
                assert_eq!(
                    image.digest_as_loaded(algorithm).unwrap(),
                    slice.digest_as_loaded(algorithm).unwrap(),
                    "{name}"
                );
            }
            assert_eq!(image.correct_checksum(), slice.correct_checksum(), "{name}");
        }
    }
}

#[test]
fn signatures_tables_and_verdicts_are_those_recorded() {
    for (name, expected) in json("signed.json").as_object().unwrap() {
        let path = format!("signed/{name}");
        let file = bytes(&path);
        let image = Image::parse_with(&file, &all_hashes()).unwrap();
        for algorithm in HashAlgorithm::ALL {
            let digest = image.digest_as_loaded(algorithm).unwrap().to_string();
            assert_eq!(expected["digests"][algorithm.to_string()], digest, "{name}");
        }
        assert_eq!(
            expected["pe_checksum_field"],
            format!("{:08x}", image.checksum()),
            "{name}"
        );
        assert_eq!(
            expected["pe_checksum_correct"],
            format!("{:08x}", image.correct_checksum()),
            "{name}"
        );
        let entries = expected["cert_table"]["entries"].as_array().unwrap();
        assert_eq!(entries.len(), image.entries().len());
        for (recorded, entry) in entries.iter().zip(image.entries()) {
            assert_eq!(recorded["dwLength"], entry.stored_len());
            assert_eq!(recorded["type"], entry.kind().0);
            assert_eq!(recorded["der_length"], entry.pkcs7().unwrap().len());
        }
        let read = Image::read(&mut fs::File::open(vector(&path)).unwrap()).unwrap();
        let anchor = certificate(expected["anchor"].as_str().unwrap());
        for image in [image, Image::parse(&file).unwrap(), read] {
            assert_eq!(
                expected["pe_checksum_correct"],
                format!("{:08x}", image.correct_checksum()),
                "{name}"
            );
            let report = Verifier::new().trust([anchor.clone()]).verify(&image);
            let verdict = if report.is_trusted() {
                "valid"
            } else {
                report.signatures()[0].status().name()
            };
            assert_eq!(expected["expected"], verdict, "{name}");
        }
    }
}

#[test]
fn signing_gives_the_golden_blobs_and_files() {
    let signer = RsaSigner::from_pem(&text("keys/db-rsa2048.key")).unwrap();
    let certificate = certificate("db-rsa2048");
    for name in [
        "addon",
        "overlay5",
        "stub-unaligned",
        "tiny64",
        "unsorted64",
    ] {
        let mut file = bytes(&format!("images/{name}.efi"));
        let image = Image::parse(&file).unwrap();
        let prepared = Prepared::new(image.clone(), &certificate).unwrap();
        assert_eq!(
            prepared.indirect_data(),
            bytes(&format!("detached/{name}.golden.spc.der")),
            "{name}"
        );
        assert_eq!(
            prepared.to_be_signed().message(),
            bytes(&format!("detached/{name}.golden.tbs.der")),
            "{name}"
        );
        let signed = prepared.sign(&signer).unwrap();
        assert_eq!(
            signed.pkcs7(),
            bytes(&format!("detached/{name}.golden.p7")),
            "{name}"
        );
        signed.edit().unwrap().apply_to_bytes(&mut file).unwrap();
        assert!(
            file == bytes(&format!("signed/{name}.golden.efi")),
            "{name}"
        );
        let timed = Signing::new(&certificate)
            .signing_time(UnixTime(1_700_000_000))
            .prepare(image)
            .unwrap();
        assert_eq!(
            timed.sign(&signer).unwrap().pkcs7(),
            bytes(&format!("detached/{name}.golden-time.p7")),
            "{name}"
        );
    }
}
