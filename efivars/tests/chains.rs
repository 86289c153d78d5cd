//! Certificates between the signer and the one in KEK.
#![cfg(feature = "rsa")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{Certificate, DB, EfiStatus, Enrolment, Firmware, Guid, KEK, Machine, Update, Write};
use rsa::pkcs8::DecodePrivateKey as _;
use sha2::{Digest as _, Sha256};
use support::{certificate, key, text, time};

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

/// The root again with another serial number: it issues all the others, and all of them issue it.
fn twin_of_root(number: u8) -> Certificate {
    let der = certificate("root").to_der().to_vec();
    // Within the certificate: head of the whole, the signed part with its head, the algorithm, and
    // the signature at the end.
    let len = 4 + usize::from(u16::from_be_bytes([der[6], der[7]]));
    let mut signed = der[4..4 + len].to_vec();
    let serial = [2, 2, 0x10, 3];
    let at = signed.windows(4).position(|bytes| bytes == serial).unwrap();
    signed[at + 3] = number;
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(&text("keys/root.key")).unwrap();
    let prefix = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    let scheme = rsa::Pkcs1v15Sign {
        hash_len: Some(32),
        prefix: prefix.as_slice().into(),
    };
    let signature = key.sign(scheme, &Sha256::digest(&signed)).unwrap();
    let rest = &der[4 + len..der.len() - signature.len()];
    let whole = [&der[..4], &signed, rest, &signature].concat();
    Certificate::from_der(&whole).unwrap()
}

#[test]
fn certificates_that_all_issue_each_other_are_looked_at_once() {
    // Along every path there would be more steps than seconds in a year.
    let chain: Vec<Certificate> = (100..116).map(twin_of_root).collect();
    let list = efivars::SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate("db2"));
    let update = Update::append(DB, &list, time("2024-01-02 03:04:06")).unwrap();
    let update = update.with_chain(chain.clone());
    let write = update.sign(&chain[0], &key("root")).unwrap().to_write();
    let refusal = machine("KEK").write(&write).unwrap_err();
    assert_eq!(refusal.status, EfiStatus::SECURITY_VIOLATION);
    assert!(machine("root").write(&write).is_ok());
}
