//! Each refusal has its own error, and names what is wrong.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::fs;

use authenticode::{Certificate, Error, HashAlgorithm, Image, ImageOptions, Prepared, ToBeSigned};

fn vector(path: &str) -> Vec<u8> {
    fs::read(format!("tests/vectors/{path}")).unwrap()
}

fn certificate(name: &str) -> Certificate {
    let text = String::from_utf8(vector(&format!("keys/{name}.pem"))).unwrap();
    Certificate::from_pem(&text).unwrap()
}

#[test]
fn a_file_that_is_no_image_or_ends_early_is_told_from_one_with_a_wrong_header() {
    let image = vector("images/tiny64.efi");
    assert!(matches!(
        Image::parse(&[0x42; 4096]),
        Err(Error::NotPe {
            what: "MZ",
            offset: 0
        })
    ));
    assert!(matches!(
        Image::parse(&image[..63]),
        Err(Error::Truncated {
            needed: 64,
            available: 63,
            ..
        })
    ));
    let mut many = image.clone();
    let start = u32::from_le_bytes(many[0x3c..0x40].try_into().unwrap()) as usize;
    many[start + 24 + 108] = 17;
    assert!(matches!(
        Image::parse(&many),
        Err(Error::BadHeader { value: 17, .. })
    ));
}

#[test]
fn a_table_over_the_limit_is_refused_before_it_is_read() {
    let signed = vector("signed/tiny64.golden.efi");
    let options = ImageOptions::new().max_table_len(64);
    assert!(matches!(
        Image::parse_with(&signed, &options),
        Err(Error::TableTooLong { limit: 64, .. })
    ));
}

#[test]
fn what_was_not_computed_while_reading_is_named_when_it_is_needed() {
    let bytes = vector("images/tiny64.efi");
    let options = ImageOptions::new().hashes(&[HashAlgorithm::Sha384]);
    let image = Image::parse_with(&bytes, &options).unwrap();
    assert!(matches!(
        image.digest_as_loaded(HashAlgorithm::Sha256),
        Err(Error::NotHashed {
            algorithm: HashAlgorithm::Sha256
        })
    ));
    assert!(matches!(
        Prepared::new(image, &certificate("db-rsa2048")),
        Err(Error::NotHashed {
            algorithm: HashAlgorithm::Sha256
        })
    ));
    let image = Image::parse_with(&bytes, &ImageOptions::new().checksum(false)).unwrap();
    assert!(matches!(
        image.with_table(image.table()),
        Err(Error::NotSummed)
    ));
}

#[test]
fn the_error_of_a_signer_is_kept_as_the_source() {
    let image = Image::parse(&vector("images/tiny64.efi")).unwrap();
    let prepared = Prepared::new(image, &certificate("db-rsa2048")).unwrap();
    let error = prepared
        .sign(&|_: &ToBeSigned| Err("the token is away".into()))
        .unwrap_err();
    assert!(matches!(error, Error::Signer(_)));
    let source = core::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the token is away");
}

#[test]
fn a_signature_that_firmware_could_not_read_is_refused() {
    let image = Image::parse(&vector("images/tiny64.efi")).unwrap();
    let prepared = Prepared::new(image, &certificate("db-rsa2048")).unwrap();
    let error = prepared.attach_unchecked(&[0; 70_000]).unwrap_err();
    assert!(matches!(error, Error::BlobLength { len } if len > 70_000));
}

#[test]
fn a_pem_text_without_or_with_half_a_certificate_is_told_apart() {
    assert!(matches!(
        Certificate::from_pem("nothing"),
        Err(Error::Pem { .. })
    ));
    let text = String::from_utf8(vector("keys/db-rsa2048.pem")).unwrap();
    let cut = format!("{text}{}", &text[..text.len() / 2]);
    assert!(matches!(
        Certificate::chain_from_pem(&cut),
        Err(Error::PemBlock { number: 2, .. })
    ));
}
