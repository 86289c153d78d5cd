//! Microsoft's own certificates and updates.
#![cfg(feature = "rsa")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use std::collections::BTreeMap;

use efivars::microsoft::{self, Purpose};
use efivars::{
    Attributes, AuthenticatedUpdate, Certificate, DB, DBX, DbxUpdate, EfiStatus, EfiTime,
    Enrolment, Firmware, Guid, KEK, Machine, Quota, SignatureDatabase, VariableFile,
    VerificationError, Write, json,
};
use support::{certificate, key, time, vector, vector_path};

const FILES: [&str; 8] = [
    "MicCorKEKCA2011_2011-06-24.der",
    "microsoft-corporation-kek-2k-ca-2023.der",
    "MicWinProPCA2011_2011-10-19.der",
    "windows-uefi-ca-2023.der",
    "MicCorUEFCA2011_2011-06-27.der",
    "microsoft-uefi-ca-2023.der",
    "microsoft-option-rom-uefi-ca-2023.der",
    "WindowsOEMDevicesPK.der",
];

fn file(name: &str) -> Vec<u8> {
    vector(&format!("microsoft/{name}"))
}

fn own(name: &str) -> Certificate {
    Certificate::from_der(&file(name)).unwrap()
}

/// A machine with our PK, and all of Microsoft's certificates in KEK and db.
fn machine(firmware: Firmware) -> Machine {
    let mut plan = Enrolment::new(
        &certificate("PK"),
        &certificate("KEK"),
        Guid::ZERO,
        time("2024-01-02 03:04:05"),
    )
    .db(Guid::ZERO, &certificate("db"));
    for name in FILES {
        for (known, certificate) in microsoft::find(&file(name)) {
            plan = match known.purpose {
                Purpose::KeyExchange => plan.kek(Guid::MICROSOFT, &certificate),
                Purpose::PlatformKey => plan,
                _ => plan.db(Guid::MICROSOFT, &certificate),
            };
        }
    }
    let set = plan.sign_with(&key("PK"), &key("KEK")).unwrap();
    set.try_on(firmware).unwrap()
}

fn append(name: &efivars::VariableName, file: Vec<u8>) -> Write {
    Write::new(name.clone(), Attributes::KEY_APPEND, file)
}

#[test]
fn every_certificate_of_the_table_is_recognised_in_its_file() {
    let mut seen = BTreeMap::new();
    for (name, row) in FILES.iter().zip(&microsoft::KNOWN) {
        let found = microsoft::find(&file(name));
        let [(known, certificate)] = found.as_slice() else {
            panic!("{name}: {found:?}")
        };
        assert_eq!(*known, row, "{name}");
        assert_eq!(
            certificate.common_name().as_deref(),
            Some(known.common_name)
        );
        let (year, month, day) = known.not_after;
        let end = certificate.not_after().unwrap();
        let date = EfiTime::new(year, month, day, 0, 0, 0).unwrap();
        assert_eq!(end.to_bytes()[..4], date.to_bytes()[..4], "{name}");
        assert!(certificate.is_rsa());
        *seen.entry(known.generation).or_insert(0) += 1;
    }
    assert_eq!(seen, BTreeMap::from([(2011, 3), (2023, 5)]));
    // Whatever form they are given in.
    let list = SignatureDatabase::new()
        .with_certificate(Guid::MICROSOFT, &own(FILES[0]))
        .with_certificate(Guid::ZERO, &certificate("db"))
        .with_certificate(Guid::MICROSOFT, &own(FILES[1]));
    assert_eq!(microsoft::find(&list.to_bytes()).len(), 2);
    assert_eq!(microsoft::find(&file("DBUpdate3P2023.bin")).len(), 1);
}

#[test]
fn the_revocations_are_verified_and_taken_by_both_generations_of_firmware() {
    let bytes = file("DBXUpdate-amd64.bin");
    let update = DbxUpdate::parse(&bytes).unwrap();
    assert_eq!(update.entries().len(), 443);
    assert_eq!(update.verify_for(&own(FILES[0])), Ok(()));
    assert_eq!(
        update.verify_for(&own(FILES[1])),
        Err(VerificationError::NotTrusted)
    );
    let header = AuthenticatedUpdate::parse(&bytes).unwrap();
    assert_eq!(header.time(), EfiTime::MICROSOFT_APPEND);
    assert!(header.problems(None).is_empty());
    for firmware in [Firmware::Edk2_2022_11, Firmware::Edk2_2025_02] {
        let mut machine = machine(firmware);
        let write = append(&DBX, bytes.clone());
        machine.write(&write).unwrap();
        assert_eq!(machine.database(&DBX).unwrap(), update.entries());
        // Again: nothing is new.
        machine.write(&write).unwrap();
        assert_eq!(machine.database(&DBX).unwrap().len(), 443);
        // It is signed for appending.
        let replace = Write::new(DBX, Attributes::KEY, bytes.clone());
        assert_eq!(
            machine.write(&replace).unwrap_err().status,
            EfiStatus::SECURITY_VIOLATION
        );
        let mut small = machine.clone().with_quota(Quota::OVMF_2M);
        assert_eq!(
            small.write(&write).unwrap_err().status,
            EfiStatus::INVALID_PARAMETER
        );
    }
    assert!(
        !update
            .space(&SignatureDatabase::new(), Quota::OVMF_2M)
            .fits()
    );
}

#[test]
fn updates_of_db_are_taken_and_those_of_another_makers_kek_are_not() {
    let mut machine = machine(Firmware::Edk2_2025_02);
    let before = machine.database(&DB).unwrap().len();
    for name in ["DBUpdate3P2023.bin", "DBUpdateOROM2023.bin"] {
        machine.write(&append(&DB, file(name))).unwrap();
    }
    // Both certificates were there with the same owner.
    assert_eq!(machine.database(&DB).unwrap().len(), before);
    let refusal = machine
        .write(&append(&KEK, file("KEKUpdate_HP_PK1.bin")))
        .unwrap_err();
    assert_eq!(refusal.status, EfiStatus::SECURITY_VIOLATION);
}

#[test]
fn the_one_update_with_a_bad_signature_is_found_out() {
    let bytes = file("KEKUpdate_ECS_PK1.bin");
    let update = AuthenticatedUpdate::parse(&bytes).unwrap();
    let told = update.explain();
    assert_eq!(told.error, Some(VerificationError::BadSignature));
    assert_eq!(told.signed_for, None);
    assert_eq!(told.signers[0].subject(), "CN=ECS");
    let good = file("KEKUpdate_HP_PK1.bin");
    let told = AuthenticatedUpdate::parse(&good).unwrap().explain();
    let signed_for = told.signed_for.unwrap();
    assert_eq!(
        (signed_for.name, signed_for.attributes),
        (KEK, Attributes::KEY_APPEND)
    );
    let text = json::describe(&VariableFile::detect(&good, None).unwrap());
    assert!(text.contains(r#""known_as":"Microsoft Corporation KEK 2K CA 2023""#));
}

#[test]
fn the_licence_of_the_files_is_beside_them() {
    let licence = std::fs::read_to_string(vector_path("microsoft/License.txt")).unwrap();
    assert!(licence.contains("BSD-2-Clause-Patent"));
}
