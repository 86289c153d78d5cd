//! shim's decisions, as its source has them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use authenticode::{
    Certificate, Databases, Edk2, Guid, HashAlgorithm, Image, ImageOptions, Reason, SbatLevel,
    Shim, ShimCaller, SignatureDatabase, SignatureType, Variable,
};
use support::forge::{self, Entry, put};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod forge;
}

fn vector(path: &str) -> Vec<u8> {
    fs::read(format!("tests/vectors/{path}")).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&fs::read_to_string(format!("tests/vectors/keys/{name}.pem")).unwrap())
        .unwrap()
}

fn list(name: &str) -> SignatureDatabase {
    SignatureDatabase::from_certificates([&certificate(name)])
}

fn image(path: &str) -> Image {
    Image::parse(&vector(path)).unwrap()
}

fn empty() -> Shim {
    Shim::new(Databases::new())
}

#[test]
fn any_list_of_certificates_may_allow_and_is_named() {
    let golden = image("signed/addon.golden.efi");
    let db = Shim::new(Databases::new().db(list("db-rsa2048")));
    for (shim, variable, shown) in [
        (db.clone(), Variable::Db, "db"),
        (
            empty().mok_list(list("db-rsa2048")),
            Variable::MokList,
            "MokListRT",
        ),
        (
            empty().vendor_db(list("db-rsa2048")),
            Variable::VendorDb,
            "vendor_db",
        ),
        (
            empty().vendor_certificate(certificate("db-rsa2048")),
            Variable::Shim,
            "Shim",
        ),
    ] {
        let verdict = shim.judge(&golden).unwrap();
        assert_eq!(verdict.reason(), Reason::AllowedByCertificate);
        let authority = verdict.decisive().unwrap();
        assert_eq!(
            (authority.variable, authority.variable.to_string().as_str()),
            (variable, shown)
        );
        assert_eq!(verdict.measured(), std::slice::from_ref(authority));
        let owner = if variable == Variable::Shim { 0 } else { 16 };
        assert_eq!(
            authority.signature_data.len(),
            certificate("db-rsa2048").as_der().len() + owner
        );
    }
    assert_eq!(
        db.ignore_db(true).judge(&golden).unwrap().reason(),
        Reason::NotTrusted
    );
    assert_eq!(
        empty()
            .mok_list(list("other"))
            .judge(&golden)
            .unwrap()
            .reason(),
        Reason::NotTrusted
    );
}

#[test]
fn a_forbidden_certificate_spoils_only_its_own_signature() {
    let two = image("signed/addon.two-signers.efi");
    let shim = Shim::new(Databases::new().db(list("db-rsa2048")));
    assert!(shim.judge(&two).unwrap().is_allowed());
    let allowed = shim
        .clone()
        .mok_list(list("other"))
        .mok_list_x(list("db-rsa2048"))
        .judge(&two)
        .unwrap();
    assert_eq!(allowed.reason(), Reason::AllowedByCertificate);
    assert_eq!(allowed.decisive().unwrap().variable, Variable::MokList);
    let denied = shim
        .mok_list_x(list("db-rsa2048"))
        .judge(&image("signed/addon.golden.efi"))
        .unwrap();
    assert_eq!(denied.reason(), Reason::DeniedCertificate);
}

#[test]
fn hashes_allow_and_deny() {
    let unsigned = image("images/overlay5.efi");
    assert_eq!(
        empty().judge(&unsigned).unwrap().reason(),
        Reason::NotSigned
    );
    // What follows the sections is padded before hashing.
    let padded = unsigned
        .digest_for_signing(HashAlgorithm::Sha256)
        .unwrap()
        .digest();
    let loaded = unsigned
        .digest_as_loaded(HashAlgorithm::Sha256)
        .unwrap()
        .digest();
    let hash = |digest| SignatureDatabase::default().with_hash(&digest, Guid::default());
    assert_eq!(
        empty()
            .mok_list(hash(padded))
            .judge(&unsigned)
            .unwrap()
            .reason(),
        Reason::AllowedByHash
    );
    assert_eq!(
        empty()
            .mok_list(hash(loaded))
            .judge(&unsigned)
            .unwrap()
            .reason(),
        Reason::NotSigned
    );
    let both = empty().mok_list(hash(padded)).mok_list_x(hash(padded));
    assert_eq!(both.judge(&unsigned).unwrap().reason(), Reason::DeniedHash);
    // Nothing follows the last section here, so nothing is padded.
    let odd = image("images/oddend64.efi");
    let loaded = odd
        .digest_as_loaded(HashAlgorithm::Sha256)
        .unwrap()
        .digest();
    assert_eq!(
        empty().mok_list(hash(loaded)).judge(&odd).unwrap().reason(),
        Reason::AllowedByHash
    );
}

#[test]
fn only_sha256_signatures_count() {
    let shim = empty().mok_list(list("db-rsa2048"));
    for (name, allowed) in [
        ("sha256", true),
        ("sha384", false),
        ("sha512", false),
        ("sha1", false),
    ] {
        let path = format!("signed/addon.osslsigncode-{name}.efi");
        assert_eq!(
            shim.judge(&image(&path)).unwrap().is_allowed(),
            allowed,
            "{name}"
        );
    }
}

/// An image whose second section is `.sbat` with this content, signed by a key of the MOK list.
fn with_sbat(name: &[u8; 8], content: &[u8]) -> (Image, Shim) {
    let mut bytes = vector("images/tiny64.efi");
    let row = forge::headers(&bytes).sections + 40;
    bytes[row..row + 8].copy_from_slice(name);
    let start = forge::u32_at(&bytes, row + 20) as usize;
    let len = forge::u32_at(&bytes, row + 16) as usize;
    bytes[start..start + len].fill(0);
    bytes[start..start + content.len()].copy_from_slice(content);
    put(&mut bytes, row + 8, content.len() as u32);
    let key = forge::Key::from_pem(&fs::read_to_string("tests/vectors/keys/other.key").unwrap());
    let own = forge::Certificate::new("own", "own", 1).sign(&key, &key);
    let unsigned = Image::parse(&bytes).unwrap();
    let digest = unsigned.digest_for_signing(HashAlgorithm::Sha256).unwrap();
    let blob = forge::Cms::new(HashAlgorithm::Sha256, digest.as_bytes(), &key, &[&own]).build();
    let image = Image::parse_with(
        &forge::signed(&bytes, &[Entry::new(&blob)]),
        &ImageOptions::new(),
    )
    .unwrap();
    let mok = SignatureDatabase::from_certificates([&Certificate::from_der(&own).unwrap()]);
    (image, Shim::new(Databases::new()).mok_list(mok))
}

#[test]
fn sbat_revokes_old_generations() {
    const SBAT: &[u8] = b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim\nours,2,Us,ours,1,https://example.com\n";
    let level = |text: &str| SbatLevel::parse(text.as_bytes()).unwrap();
    let (image, shim) = with_sbat(b".sbat\0\0\0", SBAT);
    let judge = |text: &str| {
        shim.clone()
            .sbat_level(level(text))
            .judge(&image)
            .unwrap()
            .reason()
    };
    assert_eq!(
        shim.judge(&image).unwrap().reason(),
        Reason::AllowedByCertificate
    );
    assert_eq!(
        judge("sbat,1,2024010900\nours,2\n"),
        Reason::AllowedByCertificate
    );
    assert_eq!(judge("sbat,1,2024010900\nours,3\n"), Reason::SbatRevoked);
    assert_eq!(judge("sbat,2\n"), Reason::SbatRevoked);
    assert_eq!(judge("sbat,1\nshim,4\n"), Reason::AllowedByCertificate);
    // A section of zeros names no component, and shim takes it.
    let (zeros, shim) = with_sbat(b".sbat\0\0\0", &[0; 64]);
    assert!(
        shim.sbat_level(level("sbat,9\n"))
            .judge(&zeros)
            .unwrap()
            .is_allowed()
    );
    let (malformed, shim) = with_sbat(b".sbat\0\0\0", b"ours,2\n");
    assert_eq!(
        shim.sbat_level(level("sbat,1\n"))
            .judge(&malformed)
            .unwrap()
            .reason(),
        Reason::SbatMalformed
    );
    let (without, shim) = with_sbat(b".other\0\0", b"");
    let shim = shim.sbat_level(level("sbat,1\n"));
    assert_eq!(shim.judge(&without).unwrap().reason(), Reason::SbatMissing);
    assert!(
        shim.caller(ShimCaller::Protocol)
            .judge(&without)
            .unwrap()
            .is_allowed()
    );
    assert!(SbatLevel::parse(b"sbat\n").is_none());
}

#[test]
fn nx_is_demanded_only_by_policy() {
    let (image, shim) = with_sbat(b".data\0\0\0", b"");
    assert!(shim.judge(&image).unwrap().is_allowed());
    assert!(
        shim.clone()
            .require_nx(true)
            .judge(&image)
            .unwrap()
            .is_allowed()
    );
    let mut bytes = vector("signed/tiny64.golden.efi");
    let at = forge::headers(&bytes).checksum + 6;
    bytes[at + 1] &= !1;
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(
        shim.require_nx(true).judge(&image).unwrap().reason(),
        Reason::NxMissing
    );
}

#[test]
fn only_the_first_certificate_of_a_list_is_tried() {
    let key = forge::Key::from_pem(&fs::read_to_string("tests/vectors/keys/other.key").unwrap());
    let make = |name: &'static str| forge::Certificate::new(name, name, 1).sign(&key, &key);
    let (one, two) = (make("one"), make("two"));
    assert_eq!(one.len(), two.len());
    let bytes = vector("images/tiny64.efi");
    let digest = Image::parse(&bytes)
        .unwrap()
        .digest_for_signing(HashAlgorithm::Sha256)
        .unwrap();
    let blob = forge::Cms::new(HashAlgorithm::Sha256, digest.as_bytes(), &key, &[&two]).build();
    let image = Image::parse(&forge::signed(&bytes, &[Entry::new(&blob)])).unwrap();
    let together = |first: &[u8], second: &[u8]| {
        let mut list = forge::signature_list(SignatureType::X509.0.0, first);
        list.extend_from_slice(&[0x11; 16]);
        list.extend_from_slice(second);
        let len = list.len() as u32;
        put(&mut list, 16, len);
        SignatureDatabase::parse(&list).unwrap()
    };
    assert!(
        empty()
            .mok_list(together(&two, &one))
            .judge(&image)
            .unwrap()
            .is_allowed()
    );
    assert!(
        !empty()
            .mok_list(together(&one, &two))
            .judge(&image)
            .unwrap()
            .is_allowed()
    );
    // EDK II tries all of them.
    let databases = Databases::new().db(together(&one, &two));
    assert!(
        databases
            .judge(&image, Edk2::Stable202502)
            .unwrap()
            .is_allowed()
    );
}
