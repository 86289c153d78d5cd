//! Asks firmware of both generations about images, and compares with the model of the crate `authenticode`.
//!
//! The cases and what firmware said are in `authenticode/tests/support`. A fixed part of them is asked each time;
//! with `TRUSTEDBOOT_CASES` set, those are whose names contain its value: all if it is empty, which takes 15 minutes and more.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::while_let_loop,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use authenticode::{Databases, Edk2, Image, ImageOptions, SignatureDatabase};
use bootlab::{Generation, Verdict, verdict};
use efivars::{Attributes, EfiTime, Enrolment, Guid, Variable, VariableStore};
use support::cases::{Case, Keys, cases};
use support::forge::{Certificate, Key};
use support::variants::{World, variants};

#[path = "../../../authenticode/tests/support"]
mod support {
    #![allow(
        dead_code,
        unused_imports,
        reason = "the tests of the crate use the rest"
    )]
    pub(crate) mod cases;
    pub(crate) mod forge;
    pub(crate) mod variants;
}

/// One case in so many is asked each time.
const PART: usize = 5;

fn key(name: &str) -> Key {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../authenticode/tests/vectors/keys"
    );
    Key::from_pem(&fs::read_to_string(format!("{folder}/{name}.key")).unwrap())
}

/// The boot loader of Debian 12, which is not signed; padded, so that signing does not change its digest.
fn base() -> Vec<u8> {
    let mut image = fs::read(Generation::Debian12.loader().unwrap()).unwrap();
    image.resize(image.len().next_multiple_of(8), 0);
    image
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
    variants(base, &world)
        .into_iter()
        .map(|variant| Case {
            name: variant.name,
            db: db.clone(),
            dbx: Vec::new(),
            dbt: Vec::new(),
            image: variant.image,
            accepted: [variant.accepted; 2],
        })
        .collect()
}

/// A variable store with these databases and Secure Boot on.
fn store(template: &PathBuf, case: &Case) -> Vec<u8> {
    let owner_key = key("db-rsa2048");
    let owner = Certificate::new("owner", "owner", 1)
        .ca(true)
        .sign(&owner_key, &owner_key);
    let owner = efivars::Certificate::from_der(&owner).unwrap();
    let time: EfiTime = "2024-01-02 03:04:05".parse().unwrap();
    let lists = |bytes: &[u8]| efivars::SignatureDatabase::parse(bytes).unwrap();
    let plan = Enrolment::new(&owner, &owner, Guid::ZERO, time)
        .db_lists(&lists(&case.db))
        .dbx_lists(&lists(&case.dbx));
    let mut store = VariableStore::parse(&fs::read(template).unwrap()).unwrap();
    store.enrol(&plan);
    if !case.dbt.is_empty() {
        store.set(Variable::new(efivars::DBT, Attributes::KEY, case.dbt.clone()).at(time));
    }
    store.to_bytes().unwrap()
}

/// What the model says.
fn model(case: &Case, release: Edk2) -> bool {
    let databases = Databases::new()
        .db(SignatureDatabase::parse(&case.db).unwrap())
        .dbx(SignatureDatabase::parse(&case.dbx).unwrap())
        .dbt(SignatureDatabase::parse(&case.dbt).unwrap());
    let image =
        Image::parse_with(&case.image, &ImageOptions::new().also(&databases.hashes())).unwrap();
    databases.judge(&image, release).unwrap().is_allowed()
}

/// Asks about all cases, two at a time, and gives those where firmware, record and model are not of one mind.
fn disagreements(generation: Generation, cases: &[Case]) -> Vec<String> {
    let (release, index) = match generation {
        Generation::Debian12 => (Edk2::Stable202211, 0),
        _ => (Edk2::Stable202502, 1),
    };
    let firmware = generation.firmware(true).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let (waiting, wrong) = (Mutex::new(cases.iter().enumerate()), Mutex::new(Vec::new()));
    let ask = || {
        loop {
            let Some((number, case)) = waiting.lock().unwrap().next() else {
                break;
            };
            let variables = scratch.path().join(format!("{number}.fd"));
            fs::write(&variables, store(&firmware.variables, case)).unwrap();
            let answer = verdict(&firmware, &variables, &case.image).unwrap();
            fs::remove_file(&variables).unwrap();
            let recorded = case.accepted[index];
            let modelled = model(case, release);
            let accepted = answer == Verdict::Accepted;
            println!(
                "{generation} {}: {answer}, recorded {recorded}, model {modelled}",
                case.name
            );
            if answer == Verdict::NoAnswer || accepted != recorded || accepted != modelled {
                let text = format!(
                    "{}: firmware {answer}, recorded {recorded}, model {modelled}",
                    case.name
                );
                wrong.lock().unwrap().push(text);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(ask);
        scope.spawn(ask);
    });
    wrong.into_inner().unwrap()
}

fn ask_all(generation: Generation) {
    if !Generation::available().contains(&generation) {
        assert!(
            std::env::var_os("CI").is_none(),
            "the {generation} tree is missing"
        );
        eprintln!("SKIPPED: firmware of {generation}: its tree was not found");
        return;
    }
    let base = base();
    let keys = Keys {
        root: key("root"),
        middle: key("inter"),
        leaf: key("leaf"),
        other: key("other"),
    };
    let mut all = cases(&base, &keys);
    if let Ok(part) = std::env::var("TRUSTEDBOOT_CASES") {
        all.extend(recorded(&base));
        all.retain(|case| case.name.contains(&part));
    } else {
        all = all.into_iter().step_by(PART).collect();
    }
    let wrong = disagreements(generation, &all);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn firmware_of_2022_11_decides_as_recorded_and_as_the_model() {
    ask_all(Generation::Debian12);
}

#[test]
fn firmware_of_2025_02_decides_as_recorded_and_as_the_model() {
    ask_all(Generation::Debian13);
}
