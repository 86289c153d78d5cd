//! Certificates between the signer and the one in KEK.
#![cfg(feature = "rsa")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{Certificate, DB, EfiStatus, Enrolment, Firmware, Guid, KEK, Machine, Update, Write};
use support::{certificate, key, time};

fn machine(key_exchange_key: &str) -> Machine {
    let plan = Enrolment::new(
        &certificate("PK"),
        &certificate(key_exchange_key),
        Guid::ZERO,
        time("2024-01-02 03:04:05"),
    )
    .db(Guid::ZERO, &certificate("db"));
    Machine::with_variables(Firmware::Edk2_2025_02, plan.variables())
}

fn signed_by(signer: &str, chain: &[&str]) -> Write {
    let chain: Vec<Certificate> = chain.iter().map(|name| certificate(name)).collect();
    let list = efivars::SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate("db2"));
    Update::append(DB, &list, time("2024-01-02 03:04:06"))
        .unwrap()
        .with_chain(chain)
        .sign(&certificate(signer), &key(signer))
        .unwrap()
        .to_write()
}

/// The verdicts are those of OVMF of both generations: see `examples/bootlab/tests/efivars.rs`.
#[test]
fn a_signer_is_taken_when_embedded_certificates_lead_to_one_in_kek() {
    for (in_kek, signer, chain, taken) in [
        ("root", "root", &[][..], true),
        ("root", "inter", &[], true),
        ("root", "leaf", &["inter"], true),
        ("root", "leaf", &["inter", "root"], true),
        ("root", "leaf", &[], false),
        ("root", "leaf", &["root"], false),
        ("inter", "leaf", &[], true),
        ("leaf", "leaf", &[], true),
        ("leaf", "leaf", &["inter", "root"], true),
        // What is in KEK does not stand for what issued it.
        ("leaf", "inter", &["root"], false),
        ("leaf", "root", &["leaf", "inter"], false),
        ("inter", "root", &["inter"], false),
    ] {
        let result = machine(in_kek).write(&signed_by(signer, chain));
        let what = format!("{in_kek} in KEK, signed by {signer} with {chain:?}");
        match (taken, result) {
            (true, Ok(_)) => {}
            (false, Err(refusal)) => {
                assert_eq!(refusal.status, EfiStatus::SECURITY_VIOLATION, "{what}");
            }
            (_, result) => panic!("{what}: {result:?}"),
        }
    }
}

#[test]
fn kek_itself_takes_no_chain() {
    // Only PK may write KEK, and only with the very certificate that is in PK.
    let list = efivars::SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate("db2"));
    let update = Update::append(KEK, &list, time("2024-01-02 03:04:06")).unwrap();
    let by_kek = update.clone().sign(&certificate("root"), &key("root"));
    let mut machine = machine("root");
    assert!(machine.write(&by_kek.unwrap().to_write()).is_err());
    let by_pk = update.sign(&certificate("PK"), &key("PK")).unwrap();
    assert!(machine.write(&by_pk.to_write()).is_ok());
}
