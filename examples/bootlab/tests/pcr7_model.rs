//! Holds the decisions of `pcr` about images to what firmware of both generations answered.
//!
//! The cases and the answers are those of the crate `authenticode`, whose reader is another one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use authenticode::{HashAlgorithm, Image, ImageOptions};
use bootlab::Generation;
use pcr::{Bank, BootImage, Digest, KeyVariable, Pcr7, Quirk, SecureBootVariables, Verdict};
use support::cases::{Case, Keys, cases};
use support::forge::{Certificate, Key};
use support::variants::{World, variants};

#[path = "../../../authenticode/tests/support"]
mod support {
    #![allow(dead_code, reason = "the tests of the crate use the rest")]
    pub(crate) mod cases;
    pub(crate) mod forge;
    pub(crate) mod variants;
}

fn key(name: &str) -> Key {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../authenticode/tests/vectors/keys"
    );
    Key::from_pem(&fs::read_to_string(format!("{folder}/{name}.key")).unwrap())
}

/// The variants of the fact sheet: an authority in db, no dbx.
fn recorded(base: &[u8]) -> Vec<Case> {
    let authority_key = key("root");
    let authority = Certificate::new("authority", "authority", 1)
        .ca(true)
        .sign(&authority_key, &authority_key);
    let world = World {
        authority: authority.clone(),
        authority_key,
        authority_name: "authority",
        keys: [key("leaf"), key("inter"), key("other")],
        long_keys: [Key::new(3072), key("db-rsa4096")],
        short_key: Key::new(1024),
    };
    let db = support::forge::signature_list(authenticode::SignatureType::X509.0.0, &authority);
    let case = |variant: support::variants::Variant| Case {
        name: variant.name,
        db: db.clone(),
        dbx: Vec::new(),
        dbt: Vec::new(),
        image: variant.image,
        accepted: [variant.accepted; 2],
    };
    variants(base, &world).into_iter().map(case).collect()
}

fn image(bytes: &[u8]) -> BootImage {
    let image = Image::parse_with(bytes, &ImageOptions::new().hashes(&HashAlgorithm::ALL)).unwrap();
    let digests = Bank::ALL.into_iter().zip(HashAlgorithm::ALL);
    let digests = digests.map(|(bank, algorithm)| {
        Digest::new(bank, image.digest_as_loaded(algorithm).unwrap().as_bytes()).unwrap()
    });
    let unsigned = BootImage::new(digests);
    if !image.is_signed() {
        return unsigned;
    }
    let signed = unsigned.certificate_table(image.table().problem().is_none());
    let signatures = image
        .entries()
        .iter()
        .filter_map(|entry| entry.pkcs7_data());
    signatures.fold(signed, BootImage::signature)
}

#[test]
fn decides_about_images_as_both_generations_of_firmware_did() {
    let mut base = fs::read(Generation::Debian12.loader().unwrap()).unwrap();
    base.resize(base.len().next_multiple_of(8), 0);
    let keys = Keys {
        root: key("root"),
        middle: key("inter"),
        leaf: key("leaf"),
        other: key("other"),
    };
    let mut all = cases(&base, &keys);
    all.extend(recorded(&base));
    assert!(all.len() > 60);
    // Not a matter of signatures: the loader refuses its kind of program.
    all.retain(|case| case.name != "a console program of Windows");
    let mut wrong = Vec::new();
    for case in &all {
        let variables = SecureBootVariables::enrolled(&[], &[], &case.db, &case.dbx)
            .with(KeyVariable::Dbt, &case.dbt);
        let newer = Pcr7::new(variables).load(image(&case.image));
        let older = newer.clone().quirk(Quirk::UnsignedBySha256Only);
        for (generation, boot, accepted) in [
            (2022, older, case.accepted[0]),
            (2025, newer, case.accepted[1]),
        ] {
            let verdict: Verdict = boot.predict().unwrap().verdicts()[0];
            if verdict.is_started() != accepted {
                wrong.push(format!(
                    "{generation}: {}: {verdict}, firmware: {accepted}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
