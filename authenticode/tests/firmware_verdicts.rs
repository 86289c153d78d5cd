//! The model of firmware against recorded answers of real firmware.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use authenticode::{Databases, Edk2, Image, ImageOptions, SignatureDatabase};
use support::cases::{Keys, cases};
use support::forge::{Certificate, Key};
use support::variants::{World, variants};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod cases;
    pub(crate) mod forge;
    pub(crate) mod variants;
}

fn key(name: &str) -> Key {
    Key::from_pem(&fs::read_to_string(format!("tests/vectors/keys/{name}.key")).unwrap())
}

fn world() -> World {
    let authority_key = key("root");
    World {
        authority: Certificate::new("authority", "authority", 1)
            .ca(true)
            .sign(&authority_key, &authority_key),
        authority_key,
        authority_name: "authority",
        keys: [key("leaf"), key("inter"), key("other")],
        long_keys: [Key::new(3072), key("db-rsa4096")],
        short_key: Key::new(1024),
    }
}

#[test]
fn the_recorded_answers_are_given_for_each_variant() {
    let world = world();
    let authority = authenticode::Certificate::from_der(&world.authority).unwrap();
    let databases = Databases::new().db(SignatureDatabase::from_certificates([&authority]));
    let base = fs::read("tests/vectors/images/tiny64.efi").unwrap();
    let mut wrong = Vec::new();
    let all = variants(&base, &world);
    assert!(all.len() >= 66, "{}", all.len());
    for variant in all {
        let image = Image::parse_with(
            &variant.image,
            &ImageOptions::new().also(&databases.hashes()),
        )
        .unwrap();
        for release in [Edk2::Stable202211, Edk2::Stable202502] {
            let verdict = databases.judge(&image, release).unwrap();
            if verdict.is_allowed() != variant.accepted {
                wrong.push(format!("{}: {}", variant.name, verdict.reason()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_answers_of_both_generations_are_given_for_each_case() {
    let keys = Keys {
        root: key("root"),
        middle: key("inter"),
        leaf: key("leaf"),
        other: key("other"),
    };
    let base = fs::read("tests/vectors/images/tiny64.efi").unwrap();
    let mut wrong = Vec::new();
    for case in cases(&base, &keys) {
        let databases = Databases::new()
            .db(SignatureDatabase::parse(&case.db).unwrap())
            .dbx(SignatureDatabase::parse(&case.dbx).unwrap())
            .dbt(SignatureDatabase::parse(&case.dbt).unwrap());
        let image =
            Image::parse_with(&case.image, &ImageOptions::new().also(&databases.hashes())).unwrap();
        for (release, accepted) in [Edk2::Stable202211, Edk2::Stable202502]
            .into_iter()
            .zip(case.accepted)
        {
            let verdict = databases.judge(&image, release).unwrap();
            if verdict.is_allowed() != accepted {
                wrong.push(format!("{} ({release:?}): {}", case.name, verdict.reason()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
