//! Malformed images, tables and signatures: an error or a refusal, never a panic, never much time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::io::Cursor;

use authenticode::{
    Certificate, Databases, Edk2, Error, HashAlgorithm, Image, ImageHasher, ImageOptions, Prepared,
    Reason, RsaSigner, Shim, SignatureDatabase, Status, Verifier,
};
use proptest::prelude::*;
use support::forge::{headers, put, with_gap, with_unsorted_sections};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod forge;
}

fn vector(path: &str) -> Vec<u8> {
    fs::read(format!("tests/vectors/{path}")).unwrap()
}

fn certificate() -> Certificate {
    Certificate::from_pem(&fs::read_to_string("tests/vectors/keys/db-rsa2048.pem").unwrap())
        .unwrap()
}

/// Everything that can be asked about an image; whether EDK II would start it.
fn judge(bytes: &[u8]) -> Result<bool, Error> {
    let options = ImageOptions::new().hashes(&HashAlgorithm::ALL);
    let file = Image::read_with(&mut Cursor::new(bytes), &options);
    let image = Image::parse_with(bytes, &options);
    assert_eq!(image.is_ok(), file.is_ok());
    let image = image?;
    let anchor = SignatureDatabase::from_certificates([&certificate()]);
    let databases = Databases::new().db(anchor.clone());
    let forbidding = Databases::new().db(anchor.clone()).dbx(anchor);
    assert!(!forbidding.judge(&image, Edk2::Stable202502)?.is_allowed());
    let strict = Verifier::new()
        .trust([certificate()])
        .verify(&image)
        .is_trusted();
    let allowed = databases.judge(&image, Edk2::Stable202502)?.is_allowed();
    let _ = Shim::new(databases).judge(&image)?;
    let _ = image.findings(None);
    assert!(
        allowed || !strict,
        "the strict verifier accepts what firmware refuses"
    );
    Ok(allowed)
}

#[test]
fn a_truncated_file_is_an_error_at_every_length() {
    for name in [
        "signed/tiny64.golden.efi",
        "images/bss64.efi",
        "images/unsorted64.efi",
    ] {
        let bytes = vector(name);
        for len in 0..bytes.len() {
            let error = judge(&bytes[..len]).unwrap_err();
            assert!(error.is_unreadable(), "{name} {len}: {error}");
            let mut hasher = ImageHasher::new();
            hasher.update(&bytes[..len]);
            assert!(hasher.finish().is_err());
        }
    }
}

#[test]
fn no_changed_byte_of_a_signature_is_accepted_unless_nothing_authenticates_it() {
    let bytes = vector("signed/tiny64.golden.efi");
    let start = vector("images/tiny64.efi").len();
    let mut accepted = Vec::new();
    for at in start..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        if judge(&changed).is_ok_and(|allowed| allowed) {
            accepted.push(at - start);
        }
    }
    // wRevision, version and tag of parameters in SignedData and SignerInfo, the signature algorithm, padding.
    let expected: Vec<usize> = [4, 5, 33, 49, 1049, 1140]
        .into_iter()
        .chain(1224..=1233)
        .chain([1495])
        .collect();
    assert_eq!(accepted, expected);
}

#[test]
fn extreme_header_fields_are_errors() {
    let bytes = vector("signed/tiny64.golden.efi");
    let pe = 0x80;
    // NumberOfSections and SizeOfOptionalHeader, e_lfanew, Magic, SizeOfImage, SizeOfHeaders, directory count.
    for at in [
        0x3c,
        pe + 4,
        pe + 6,
        pe + 20,
        pe + 24,
        pe + 80,
        pe + 84,
        pe + 132,
    ] {
        for value in [0, 1, 0x7fff_ffff, 0xffff_ffff] {
            let mut changed = bytes.clone();
            put(&mut changed, at, value);
            assert!(!judge(&changed).unwrap_or(false), "{at:#x} {value:#x}");
        }
    }
}

#[test]
fn extreme_tables_are_refused() {
    let bytes = vector("signed/tiny64.golden.efi");
    let at = headers(&bytes).directory;
    let table = vector("images/tiny64.efi").len();
    for field in [at, at + 4, table] {
        let right = support::forge::u32_at(&bytes, field);
        for value in [
            0,
            1,
            7,
            8,
            9,
            right - 1,
            right + 9,
            0x7fff_ffff,
            0xffff_fff8,
            0xffff_ffff,
        ] {
            let mut changed = bytes.clone();
            put(&mut changed, field, value);
            assert!(!judge(&changed).unwrap_or(false), "{field} {value:#x}");
        }
    }
}

#[test]
fn the_gap_is_named_and_can_be_allowed() {
    let gap = with_gap(&vector("images/tiny64.efi"));
    let image = Image::parse(&gap).unwrap();
    let error = image.digest_for_signing(HashAlgorithm::Sha256).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Gap {
                start: 1024,
                end: 1536
            }
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "bytes 1024 to 1536 belong to no section: tools disagree about the digest of such an image"
    );
    assert!(matches!(
        Prepared::new(image, &certificate()),
        Err(Error::Gap { .. })
    ));
    let allowed = Image::parse_with(&gap, &ImageOptions::new().allow_gaps(true)).unwrap();
    let digest = allowed.digest_for_signing(HashAlgorithm::Sha256).unwrap();
    let read = Image::read_with(
        &mut Cursor::new(&gap),
        &ImageOptions::new().allow_gaps(true),
    )
    .unwrap();
    assert_eq!(
        read.digest_for_signing(HashAlgorithm::Sha256).unwrap(),
        digest
    );
    let mut hasher = ImageHasher::with_options(ImageOptions::new().allow_gaps(true));
    hasher.update(&gap);
    assert!(matches!(hasher.finish(), Err(Error::NotStreamable)));
}

#[test]
fn overlapping_sections_are_named_and_a_flood_of_them_is_refused() {
    let mut bytes = vector("images/tiny64.efi");
    let row = headers(&bytes).sections;
    let first = support::forge::u32_at(&bytes, row + 20);
    put(&mut bytes, row + 40 + 20, first + 0x100);
    let error = Image::parse(&bytes)
        .unwrap()
        .digest_for_signing(HashAlgorithm::Sha256)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Overlap {
                start: 768,
                previous_end: 1024
            }
        ),
        "{error}"
    );
    let error = Image::parse(&many_sections(65_535, 0x1_0000)).unwrap_err();
    assert!(matches!(error, Error::ExcessiveOverlap { .. }), "{error}");
}

/// A file with so many sections of one length, all at the same place.
fn many_sections(count: usize, len: u32) -> Vec<u8> {
    let mut bytes = vector("images/tiny64.efi");
    let table = headers(&bytes).sections;
    let headers_len = (table + 40 * count).next_multiple_of(512);
    bytes.truncate(table);
    bytes.resize(headers_len + len as usize, 0x5a);
    let pe = 0x80;
    bytes[pe + 6..pe + 8].copy_from_slice(&(count as u16).to_le_bytes());
    put(&mut bytes, pe + 80, 0x7fff_0000);
    put(&mut bytes, pe + 84, headers_len as u32);
    for index in 0..count {
        put(&mut bytes, table + 40 * index + 16, len);
        put(&mut bytes, table + 40 * index + 20, headers_len as u32);
    }
    bytes
}

#[test]
fn many_empty_sections_and_thousands_of_entries_take_no_time() {
    let started = std::time::Instant::now();
    let empty = many_sections(65_535, 0);
    Image::parse(&empty).unwrap();
    let entry = support::forge::Entry::new(&[0x5a; 400]);
    let entries: Vec<_> = (0..5000)
        .map(|_| support::forge::Entry {
            data: entry.data.clone(),
            ..entry
        })
        .collect();
    let bytes = support::forge::signed(&vector("images/tiny64.efi"), &entries);
    assert!(!judge(&bytes).unwrap());
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn der_bombs_are_refused() {
    for blob in [
        [0x30, 0x82, 0xff, 0xff].repeat(4000),
        [0x30, 0x80].repeat(8000),
        vec![0x30; 16000],
        [0x30, 0x84, 0xff, 0xff, 0xff, 0xff].repeat(2000),
    ] {
        let entry = support::forge::Entry::new(&blob);
        assert!(
            !judge(&support::forge::signed(
                &vector("images/tiny64.efi"),
                &[entry]
            ))
            .unwrap()
        );
        assert!(Certificate::from_der(&blob).is_err());
    }
}

#[test]
fn data_after_the_table_is_refused_everywhere() {
    let mut bytes = vector("signed/addon.golden.efi");
    bytes.extend_from_slice(&[0; 16]);
    let image = Image::parse(&bytes).unwrap();
    assert!(matches!(
        image.gap(),
        Some(Error::DataAfterTable {
            table_end: 3544,
            file_end: 3560
        })
    ));
    assert!(!judge(&bytes).unwrap());
    let databases = Databases::new().db(SignatureDatabase::from_certificates([&certificate()]));
    assert_eq!(
        Shim::new(databases).judge(&image).unwrap().reason(),
        Reason::BrokenTable
    );
    assert!(matches!(
        Prepared::new(image, &certificate()),
        Err(Error::DataAfterTable { .. })
    ));
}

#[test]
fn hidden_bytes_after_a_signature_are_refused_by_the_strict_verifier_only() {
    let image = vector("images/tiny64.efi");
    let golden = vector("detached/tiny64.golden.p7");
    let blob = [&golden[..], &[0x5a; 40]].concat();
    let bytes = support::forge::signed(&image, &[support::forge::Entry::new(&blob)]);
    assert!(judge(&bytes).unwrap());
    let image = Image::parse(&bytes).unwrap();
    let report = Verifier::new().trust([certificate()]).verify(&image);
    assert!(!report.is_trusted());
    assert!(
        matches!(report.signatures()[0].status(), Status::Invalid(problem) if problem.name() == "hidden_data")
    );
}

#[test]
fn an_unsorted_section_table_is_signed_right() {
    let bytes = with_unsorted_sections(&vector("images/tiny64.efi"));
    let key = fs::read_to_string("tests/vectors/keys/db-rsa2048.key").unwrap();
    let image = Image::parse(&bytes).unwrap();
    let signed = Prepared::new(image, &certificate())
        .unwrap()
        .sign(&RsaSigner::from_pem(&key).unwrap())
        .unwrap();
    let mut file = bytes;
    signed.edit().unwrap().apply_to_bytes(&mut file).unwrap();
    assert!(judge(&file).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((0_usize..3032, any::<u8>()), 1..6)) {
        let mut bytes = vector("signed/tiny64.golden.efi");
        for (at, value) in changes {
            bytes[at] = value;
        }
        let _ = judge(&bytes);
    }

    #[test]
    fn any_bytes_as_a_signature_never_panic(data in proptest::collection::vec(any::<u8>(), 1..300), keep in 0_usize..1487) {
        let mut blob = vector("detached/tiny64.golden.p7");
        blob.truncate(keep);
        blob.extend_from_slice(&data);
        let bytes = support::forge::signed(&vector("images/tiny64.efi"), &[support::forge::Entry::new(&blob)]);
        prop_assert!(!judge(&bytes).unwrap());
        let image = Image::parse(&vector("images/tiny64.efi")).unwrap();
        prop_assert!(image.attach(&blob).is_err());
        let _ = authenticode::verify_timestamp(&blob, b"", &[]);
    }

    #[test]
    fn databases_of_any_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = SignatureDatabase::parse(&data);
        let _ = authenticode::SbatLevel::parse(&data);
        let _ = Certificate::from_pem_or_der(&data);
    }
}
