//! Whoever is forbidden does not pass, however the signature is packed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use authenticode::{
    Databases, Denial, Edk2, Image, ImageOptions, Reason, SignatureDatabase, SignatureType,
};
use support::forge::*;
use support::variants::digest_of;

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod forge;
    pub(crate) mod variants;
}

struct World {
    base: Vec<u8>,
    good_key: Key,
    bad_key: Key,
    third: Key,
    good: Vec<u8>,
    bad: Vec<u8>,
}

fn key(name: &str) -> Key {
    Key::from_pem(&fs::read_to_string(format!("tests/vectors/keys/{name}.key")).unwrap())
}

impl World {
    fn new() -> Self {
        let (good_key, bad_key) = (key("root"), key("other"));
        Self {
            base: fs::read("tests/vectors/images/tiny64.efi").unwrap(),
            good: Certificate::new("good", "good", 1)
                .ca(true)
                .sign(&good_key, &good_key),
            bad: Certificate::new("bad", "bad", 2)
                .ca(true)
                .sign(&bad_key, &bad_key),
            third: key("inter"),
            good_key,
            bad_key,
        }
    }

    fn databases(&self, denied: &[u8]) -> Databases {
        let certificate = |der: &[u8]| authenticode::Certificate::from_der(der).unwrap();
        Databases::new()
            .db(SignatureDatabase::from_certificates([&certificate(
                &self.good,
            )]))
            .dbx(SignatureDatabase::from_certificates([&certificate(denied)]))
    }

    fn cms(&self, key: &Key, certificates: &[&[u8]]) -> Cms {
        Cms::new(Sha256, &digest_of(&self.base, Sha256), key, certificates)
    }

    /// The image with a good signature first and this one second.
    fn with(&self, second: Entry) -> Image {
        let good = self.cms(&self.good_key, &[&self.good]).build();
        let bytes = signed(&self.base, &[Entry::new(&good), second]);
        Image::parse_with(&bytes, &ImageOptions::new()).unwrap()
    }

    fn is_denied(&self, denied: &[u8], second: Entry) -> bool {
        match self.databases(denied).denial(&self.with(second)) {
            None => false,
            Some(Denial::Signer { signature, .. }) => {
                assert_eq!(signature, 1);
                true
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_plain_second_signature_by_a_denied_signer() {
    let world = World::new();
    let blob = world.cms(&world.bad_key, &[&world.bad]).build();
    assert!(world.is_denied(&world.bad, Entry::new(&blob)));
    let stranger = Certificate::new("third", "third", 3)
        .ca(true)
        .sign(&world.third, &world.third);
    assert!(!world.is_denied(&stranger, Entry::new(&blob)));
}

#[test]
fn a_weak_second_signature_by_a_denied_signer() {
    let world = World::new();
    let weak = Key::new(1024);
    let certificate = Certificate::new("weak", "bad", 3)
        .hash(Sha1)
        .sign(&weak, &world.bad_key);
    let sha1 = Cms::new(Sha1, &digest_of(&world.base, Sha1), &weak, &[&certificate]).build();
    assert!(world.is_denied(&world.bad, Entry::new(&sha1)));
    assert!(world.is_denied(&certificate, Entry::new(&sha1)));
}

#[test]
fn a_malformed_second_signature_by_a_denied_signer() {
    let world = World::new();
    let blob = world.cms(&world.bad_key, &[&world.bad]).build();
    // The structure is broken after the certificates, then before them.
    let mut cut = blob.clone();
    cut.truncate(blob.len() - 40);
    assert!(world.is_denied(&world.bad, Entry::new(&cut)));
    let mut broken = blob.clone();
    broken[20] ^= 0xff;
    assert!(world.is_denied(&world.bad, Entry::new(&broken)));
    // Issued by the denied one, which is not embedded.
    let leaf = Certificate::new("leaf", "bad", 4).sign(&world.third, &world.bad_key);
    let mut below = world.cms(&world.third, &[&leaf]).build();
    below[20] ^= 0xff;
    assert!(world.is_denied(&world.bad, Entry::new(&below)));
}

#[test]
fn a_second_signature_in_an_entry_of_the_guid_type() {
    let world = World::new();
    let guid = [
        0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65,
        0xa7,
    ];
    let blob = [&guid[..], &world.cms(&world.bad_key, &[&world.bad]).build()].concat();
    assert!(world.is_denied(
        &world.bad,
        Entry {
            kind: 0xef1,
            ..Entry::new(&blob)
        }
    ));
}

#[test]
fn a_denied_authority_whose_chain_firmware_would_not_take() {
    let world = World::new();
    let constraint = seq(&[&tlv(0xa0, &seq(&[&tlv(0xa4, &name("someone else"))]))]);
    let constrained = Certificate::new("bad", "bad", 5)
        .ca(true)
        .extension(extension("2.5.29.30", true, &constraint))
        .sign(&world.bad_key, &world.bad_key);
    let no_authority = Certificate::new("bad", "bad", 6)
        .ca(false)
        .sign(&world.bad_key, &world.bad_key);
    let leaf = Certificate::new("leaf", "bad", 7).sign(&world.third, &world.bad_key);
    for denied in [&constrained, &no_authority] {
        let image = world.with(Entry::new(&world.cms(&world.third, &[&leaf]).build()));
        let databases = world.databases(denied);
        assert!(matches!(
            databases.denial(&image),
            Some(Denial::Signer { signature: 1, .. })
        ));
        // Firmware itself lets it pass, as its chain building fails.
        assert_eq!(
            databases
                .judge(&image, Edk2::Stable202502)
                .unwrap()
                .reason(),
            Reason::AllowedByCertificate
        );
    }
    let short = Key::new(512);
    let weak = Certificate::new("weak", "weak", 8)
        .hash(Sha1)
        .ca(true)
        .sign(&short, &short);
    let below = Certificate::new("leaf", "weak", 9)
        .hash(Sha1)
        .sign(&world.third, &short);
    assert!(world.is_denied(
        &weak,
        Entry::new(&world.cms(&world.third, &[&below]).build())
    ));
}

#[test]
fn a_denied_signer_among_many_decoys() {
    let world = World::new();
    for count in [66, 120] {
        let decoys: Vec<Vec<u8>> = (0..count)
            .map(|serial| {
                Certificate::new("decoy", "nobody", 10 + serial).sign(&world.third, &world.third)
            })
            .collect();
        let mut certificates: Vec<&[u8]> = decoys.iter().map(Vec::as_slice).collect();
        certificates.push(&world.bad);
        let mut cms = world.cms(&world.bad_key, &[&world.bad]);
        cms.certificates = certificates
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect();
        let blob = cms.build();
        assert_eq!(blob.len() > 65_535, count == 120);
        assert!(world.is_denied(&world.bad, Entry::new(&blob)));
    }
}

#[test]
fn a_denied_intermediate_behind_a_cross_signed_one() {
    let world = World::new();
    let leaf = Certificate::new("leaf", "middle", 11).sign(&world.third, &world.bad_key);
    let by_good = Certificate::new("middle", "good", 12)
        .ca(true)
        .sign(&world.bad_key, &world.good_key);
    let by_bad = Certificate::new("middle", "bad", 13)
        .ca(true)
        .sign(&world.bad_key, &world.bad_key);
    let blob = world.cms(&world.third, &[&leaf, &by_good, &by_bad]).build();
    assert!(world.is_denied(&world.bad, Entry::new(&blob)));
    assert!(world.is_denied(&by_bad, Entry::new(&blob)));
}

#[test]
fn a_denied_certificate_that_is_only_carried_along_does_not_matter() {
    let world = World::new();
    let mut cms = world.cms(&world.good_key, &[&world.good]);
    cms.certificates.push(world.bad.clone());
    assert!(!world.is_denied(&world.bad, Entry::new(&cms.build())));
}

#[test]
fn a_signer_that_is_named_but_not_embedded() {
    let world = World::new();
    let mut cms = world.cms(&world.bad_key, &[&world.bad]);
    cms.certificates.clear();
    assert!(world.is_denied(&world.bad, Entry::new(&cms.build())));
}

#[test]
fn the_hash_of_a_certificate_or_of_the_image() {
    let world = World::new();
    let leaf = Certificate::new("leaf", "bad", 14).sign(&world.third, &world.bad_key);
    let image = world.with(Entry::new(
        &world.cms(&world.third, &[&leaf, &world.bad]).build(),
    ));
    let certificate = authenticode::Certificate::from_der(&world.bad).unwrap();
    let mut value = certificate.tbs_digest(Sha256).as_bytes().to_vec();
    value.extend_from_slice(&[0; 16]);
    let owner = authenticode::Guid::default();
    let dbx = SignatureDatabase::default().with_entry(SignatureType::X509_SHA256, owner, &value);
    assert!(matches!(
        Databases::new().dbx(dbx).denial(&image),
        Some(Denial::Signer { signature: 1, .. })
    ));
    let digest = image.digest_as_loaded(Sha256).unwrap().digest();
    let dbx = SignatureDatabase::default().with_hash(&digest, owner);
    assert!(matches!(
        Databases::new().dbx(dbx).denial(&image),
        Some(Denial::ImageHash { .. })
    ));
}

#[test]
fn a_flood_of_certificates_of_one_name_ends_in_a_refusal() {
    let world = World::new();
    let many: Vec<Vec<u8>> = (0..200)
        .map(|serial| {
            Certificate::new("same", "same", serial)
                .ca(true)
                .sign(&world.third, &world.third)
        })
        .collect();
    let mut cms = world.cms(&world.third, &[&many[0]]);
    cms.certificates = many;
    // Each may have issued each, which is too much to look at.
    let image = world.with(Entry::new(&cms.build()));
    let started = std::time::Instant::now();
    let denial = world.databases(&world.bad).denial(&image);
    assert!(
        matches!(denial, None | Some(Denial::TooComplex)),
        "{denial:?}"
    );
    assert!(started.elapsed().as_secs() < 30);
}
