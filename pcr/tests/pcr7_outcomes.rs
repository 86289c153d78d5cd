//! Alternatives of PCR 7, and the search for the cause of another value.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use pcr::{
    Bank, BootImage, Digest, Event, EventCause, EventLog, EventType, KeyVariable, Pcr7,
    Pcr7Candidates, Pcr7Cause, Quirk, Register, SecureBootVariables, VariableData, VariableUpdate,
    Verdict,
};
use support::{log, read};

const SHA256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];

/// A signature list of SHA-256 hashes; owner and hash are made of the given bytes.
fn hashes(entries: &[(u8, u8)]) -> Vec<u8> {
    let mut list = SHA256.to_vec();
    for word in [28 + 48 * u32::try_from(entries.len()).unwrap(), 0, 48] {
        list.extend_from_slice(&word.to_le_bytes());
    }
    for (owner, hash) in entries {
        list.extend_from_slice(&[*owner; 16]);
        list.extend_from_slice(&[*hash; 32]);
    }
    list
}

fn image(hash: u8) -> BootImage {
    BootImage::new([Digest::new(Bank::Sha256, &[hash; 32]).unwrap()])
}

/// Keys that are no certificates do here: only hashes authorise.
fn boot() -> Pcr7 {
    let db = hashes(&[(1, 0xa1), (1, 0xa2), (1, 0xa3)]);
    let variables = SecureBootVariables::enrolled(
        &hashes(&[(1, 1)]),
        &hashes(&[(1, 2)]),
        &db,
        &hashes(&[(1, 0xd1)]),
    );
    Pcr7::new(variables).load(image(0xa1)).load(image(0xa2))
}

fn measured(boot: &Pcr7) -> Digest {
    boot.predict().unwrap().value(Bank::Sha256)
}

fn causes(boot: &Pcr7, value: &Digest, candidates: &Pcr7Candidates) -> Vec<Vec<Pcr7Cause>> {
    let found = boot.explain(value, candidates).unwrap();
    found
        .into_iter()
        .map(|explanation| explanation.causes)
        .collect()
}

#[test]
fn each_quirk_gives_a_value_of_its_own() {
    let db = hashes(&[(1, 0xa1), (1, 0xa2)]);
    let variables = SecureBootVariables::enrolled(&hashes(&[(1, 1)]), &[], &db, &[]);
    let with = |quirk: Option<Quirk>, dbt: bool| {
        let variables = if dbt {
            variables.clone().with(KeyVariable::Dbt, &hashes(&[(1, 7)]))
        } else {
            variables.clone()
        };
        let boot = Pcr7::new(variables)
            .load(image(0xa2).before_boot_option())
            .load(image(0xa1));
        measured(&match quirk {
            Some(quirk) => boot.quirk(quirk),
            None => boot,
        })
    };
    let mut values = vec![with(None, false)];
    for quirk in Quirk::ALL {
        let dbt = quirk == Quirk::NoDbt;
        let value = with(Some(quirk), dbt);
        if matches!(
            quirk,
            Quirk::AppendIgnoresOwner | Quirk::UnsignedBySha256Only | Quirk::EmptySecureBoot
        ) {
            assert_eq!(value, values[0], "{quirk} changes nothing here");
        } else if dbt {
            assert_eq!(value, values[0], "without dbt as if there were none");
            assert_ne!(with(None, true), values[0]);
        } else {
            assert!(!values.contains(&value), "{quirk}");
            values.push(value);
        }
    }
}

#[test]
fn firmware_that_measures_secure_boot_without_a_value_is_known_from_its_log() {
    let log = EventLog::parse(&read("../foreign/secure-boot-empty.bin")).unwrap();
    let boot = Pcr7::from_log(&log).unwrap();
    assert!(!boot.variables().is_secure_boot());
    // As systemd's machine had it.
    let register = Register::SECURE_BOOT_POLICY;
    let measured = log.replay().value(Bank::Sha256, register).unwrap();
    assert_eq!(
        measured.to_string(),
        "b5710bf57d25623e4019027da116821fa99f5c81e9e38b87671cc574f9281439"
    );
    assert_eq!(boot.predict().unwrap().value(Bank::Sha256), measured);
    let plain = Pcr7::new(boot.variables().clone());
    assert_ne!(plain.predict().unwrap().value(Bank::Sha256), measured);
    let explained = plain.explain(&measured, &Pcr7Candidates::new()).unwrap();
    assert_eq!(
        explained[0].causes,
        [Pcr7Cause::Firmware(Quirk::EmptySecureBoot)]
    );
    assert_eq!(
        plain.explain_log(&log).unwrap()[0].to_string(),
        "PCR 7: the firmware measures SecureBoot without a value: it was built without Secure Boot, or has it off"
    );
}

#[test]
fn a_driver_is_measured_before_a_late_separator_or_into_pcr_2() {
    let early = |quirk| {
        let boot = boot()
            .load(image(0xa3).before_boot_option())
            .quirk(quirk)
            .predict()
            .unwrap();
        let position = |wanted: EventType| {
            boot.events()
                .iter()
                .position(|event| event.event_type() == wanted)
                .unwrap()
        };
        (
            position(EventType::EFI_VARIABLE_AUTHORITY) < position(EventType::SEPARATOR),
            boot.registers(),
        )
    };
    let seven = Register::SECURE_BOOT_POLICY;
    assert_eq!(early(Quirk::LateSeparator), (true, vec![seven]));
    assert_eq!(early(Quirk::DebugMode), (false, vec![seven]));
    assert_eq!(
        early(Quirk::DriverAuthorityInPcr2),
        (false, vec![Register::OPTION_ROM_CODE, seven])
    );
}

#[test]
fn the_synthetic_logs_of_odd_firmware_are_predicted_from_themselves() {
    for (file, sha256) in [
        (
            "authority-before-separator.bin",
            "556c944661788b406e0d084787837f392d0cfeddfec7a4523167a3af81e2b364",
        ),
        (
            "dma-protection-disabled.bin",
            "4fa4e73ff147b3e7d67221f9b3a2ad5baf16712bc614aca0f605905f51ea3dbb",
        ),
    ] {
        let log = EventLog::parse(&read(format!("synthetic/{file}"))).unwrap();
        let predicted = Pcr7::from_log(&log).unwrap().predict().unwrap();
        assert_eq!(predicted.value(Bank::Sha256).to_string(), sha256, "{file}");
    }
}

#[test]
fn the_authority_of_a_driver_is_expected_again_as_long_as_its_entry_is_in_db() {
    let odd = Pcr7::new(boot().variables().clone())
        .load(image(0xa3).before_boot_option())
        .load(image(0xa2))
        .quirk(Quirk::LateSeparator)
        .predict()
        .unwrap();
    let log = odd.to_log(&[Bank::Sha256]);
    let order: Vec<EventType> = log
        .events()
        .iter()
        .map(|event| event.event_type())
        .collect();
    let at = |wanted| order.iter().position(|found| *found == wanted).unwrap();
    assert!(at(EventType::EFI_VARIABLE_AUTHORITY) < at(EventType::SEPARATOR));
    // The events of PCR 4 tell where the time of drivers ends.
    let mut whole = EventLog::crypto_agile(&[Bank::Sha256]);
    for (place, event) in log.events().iter().enumerate() {
        if place == at(EventType::SEPARATOR) {
            let register = Register::BOOT_LOADER_CODE;
            let separator = Event::hashed(register, EventType::SEPARATOR, &[Bank::Sha256], &[0; 4]);
            whole.push(separator).unwrap();
        }
        whole.push(event.clone()).unwrap();
    }
    let again = Pcr7::from_log(&whole).unwrap();
    let value = |boot: &Pcr7| boot.predict().unwrap().value(Bank::Sha256);
    assert_eq!(value(&again), odd.value(Bank::Sha256));
    assert_eq!(
        value(&again.clone().load(image(0xa2))),
        odd.value(Bank::Sha256)
    );

    let without = VariableUpdate::replace(KeyVariable::Db, &hashes(&[(1, 0xa2)]));
    let after = again.update(&without).unwrap().load(image(0xa2));
    let names: Vec<EventCause> = after
        .predict()
        .unwrap()
        .events()
        .iter()
        .filter(|event| event.event_type() == EventType::EFI_VARIABLE_AUTHORITY)
        .map(|event| event.cause())
        .collect();
    assert_eq!(names, [EventCause::Image(0)], "the driver is refused now");
}

#[test]
fn outcomes_are_now_and_after_each_update_with_and_without_quirks() {
    let update = VariableUpdate::append(KeyVariable::Dbx, &hashes(&[(1, 0xd2)]));
    let revoking = VariableUpdate::append(KeyVariable::Dbx, &hashes(&[(1, 0xa2)]));
    let outcomes = boot()
        .outcomes(
            &[update.clone(), revoking],
            &[Quirk::DebugMode, Quirk::NoDbt],
        )
        .unwrap();
    let names: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "now",
            "after one update",
            "after 2 updates",
            "now, firmware debug mode measured",
            "after one update, firmware debug mode measured",
            "after 2 updates, firmware debug mode measured",
        ],
        "a quirk that changes nothing gives no outcome"
    );
    assert_eq!(outcomes[0].prediction, boot().predict().unwrap());
    assert_eq!(
        outcomes[1].prediction,
        boot().update(&update).unwrap().predict().unwrap()
    );
    assert_eq!(
        outcomes[2].prediction.verdicts(),
        [Verdict::Authorized, Verdict::DigestInDbx]
    );
}

#[test]
fn appends_leave_out_known_entries_and_never_merge_lists() {
    let variables =
        SecureBootVariables::setup_mode().with(KeyVariable::Dbx, &hashes(&[(1, 1), (1, 2)]));
    let append = |entries: &[(u8, u8)]| VariableUpdate::append(KeyVariable::Dbx, &hashes(entries));
    let after = variables
        .updated(&append(&[(1, 2), (1, 3), (2, 1)]))
        .unwrap();
    assert_eq!(
        after.value(KeyVariable::Dbx),
        [hashes(&[(1, 1), (1, 2)]), hashes(&[(1, 3), (2, 1)])].concat(),
        "the same hash of another owner is another entry"
    );
    let same = variables.updated(&append(&[(1, 1)])).unwrap();
    assert_eq!(same, variables);
    let dell = Pcr7::new(variables).quirk(Quirk::AppendIgnoresOwner);
    let after = dell.update(&append(&[(2, 1), (2, 4)])).unwrap();
    assert_eq!(
        after.variables().value(KeyVariable::Dbx),
        [hashes(&[(1, 1), (1, 2)]), hashes(&[(2, 4)])].concat()
    );
}

#[test]
fn writing_and_emptying_pk_switches_secure_boot() {
    let setup = SecureBootVariables::setup_mode();
    let user = setup
        .updated(&VariableUpdate::replace(
            KeyVariable::Pk,
            &hashes(&[(1, 1)]),
        ))
        .unwrap();
    assert!(user.is_secure_boot());
    let again = user
        .updated(&VariableUpdate::replace(KeyVariable::Pk, &[]))
        .unwrap();
    assert_eq!(again, setup);
}

#[test]
fn unsigned_images_are_measured_by_each_digest_that_is_listed() {
    let bytes = b"an image";
    let digests = Bank::ALL.map(|bank| bank.hash(bytes));
    let sha1 = [
        0x12, 0xa5, 0x6c, 0x82, 0x10, 0xcf, 0xc9, 0x4a, 0xb1, 0x87, 0xbe, 0x01, 0x49, 0x66, 0x31,
        0xbd,
    ];
    let sha512 = [
        0xae, 0x0f, 0x3e, 0x09, 0xc4, 0xa6, 0x50, 0x4f, 0x9f, 0x1b, 0xd4, 0x1e, 0x2b, 0x89, 0xc1,
        0x9a,
    ];
    let list = |kind: [u8; 16], digest: &Digest| {
        let mut list = kind.to_vec();
        let entry = 16 + u32::try_from(digest.as_bytes().len()).unwrap();
        for word in [28 + entry, 0, entry] {
            list.extend_from_slice(&word.to_le_bytes());
        }
        list.extend_from_slice(&[9; 16]);
        list.extend_from_slice(digest.as_bytes());
        list
    };
    let db = [
        list(sha1, &digests[0]),
        list(SHA256, &digests[1]),
        list(sha512, &digests[3]),
    ]
    .concat();
    let boot =
        Pcr7::new(SecureBootVariables::enrolled(&[], &[], &db, &[])).load(BootImage::new(digests));
    let lengths = |boot: &Pcr7| -> Vec<usize> {
        boot.predict()
            .unwrap()
            .authorities()
            .iter()
            .map(|authority| authority.value.len())
            .collect()
    };
    assert_eq!(
        lengths(&boot),
        [16 + 64, 16 + 32, 16 + 20],
        "the longest digest first"
    );
    assert_eq!(
        lengths(&boot.clone().quirk(Quirk::UnsignedBySha256Only)),
        [16 + 32]
    );
    // A table without a signature in it makes the image signed, and then no digest helps.
    let signed = boot.load(BootImage::new(digests).certificate_table(true));
    assert_eq!(signed.predict().unwrap().verdicts()[1], Verdict::NotInDb);
}

#[test]
fn a_measured_value_is_explained_without_a_log() {
    let none = Pcr7Candidates::new();
    let boot = boot();
    let variables = boot.variables().clone();
    let with = |variables: SecureBootVariables| {
        measured(&Pcr7::new(variables).load(image(0xa1)).load(image(0xa2)))
    };

    assert_eq!(causes(&boot, &measured(&boot), &none), [vec![]]);
    assert_eq!(
        boot.explain(&measured(&boot), &none).unwrap()[0].to_string(),
        "as predicted"
    );
    assert_eq!(
        causes(&boot, &Digest::zero(Bank::Sha256), &none),
        [[Pcr7Cause::NotMeasured]]
    );
    assert_eq!(
        causes(&boot, &with(variables.clone().secure_boot(false)), &none),
        [[Pcr7Cause::SecureBootOff]]
    );
    let setup = measured(&Pcr7::new(SecureBootVariables::setup_mode()));
    assert_eq!(causes(&boot, &setup, &none), [[Pcr7Cause::SetupMode]]);
    let no_dbx = with(variables.clone().with(KeyVariable::Dbx, &[]));
    assert!(
        causes(&boot, &no_dbx, &none).contains(&vec![Pcr7Cause::VariableAbsent(KeyVariable::Dbx)])
    );
    let fewer = with(
        variables
            .clone()
            .with(KeyVariable::Db, &hashes(&[(1, 0xa1), (1, 0xa2)])),
    );
    assert_eq!(
        causes(&boot, &fewer, &none),
        [[Pcr7Cause::EntryMissing(KeyVariable::Db, 2)]]
    );

    let one = measured(&Pcr7::new(variables.clone()).load(image(0xa1)));
    assert_eq!(
        causes(&boot, &one, &none),
        [[Pcr7Cause::AuthorityMissing(1)]]
    );
    let other = measured(
        &Pcr7::new(variables.clone())
            .load(image(0xa1))
            .load(image(0xa3)),
    );
    assert_eq!(
        causes(&boot, &other, &none),
        [[Pcr7Cause::OtherAuthority(1, 2)]]
    );
    assert_eq!(
        causes(&boot, &measured(&boot.clone().load(image(0xa3))), &none),
        [[Pcr7Cause::FurtherAuthority(2)]]
    );
    let quirk = Quirk::DmaProtectionDisabled {
        after_variables: true,
        terminated: true,
    };
    assert_eq!(
        causes(&boot, &measured(&boot.clone().quirk(quirk)), &none),
        [[Pcr7Cause::Firmware(quirk)]]
    );

    // Two causes at a time, one of them a candidate of the caller.
    let dbx = VariableUpdate::append(KeyVariable::Dbx, &hashes(&[(1, 0xd2), (1, 0xd3)]));
    let only_one = VariableUpdate::append(KeyVariable::Dbx, &hashes(&[(1, 0xd3)]));
    let candidates = Pcr7Candidates::new().update(dbx);
    let both = measured(
        &boot
            .clone()
            .update(&only_one)
            .unwrap()
            .quirk(Quirk::DebugMode),
    );
    let found = boot.explain(&both, &candidates).unwrap();
    assert_eq!(
        found[0].causes,
        [
            Pcr7Cause::EntryAdded(KeyVariable::Dbx, 0, 1),
            Pcr7Cause::Firmware(Quirk::DebugMode)
        ]
    );
    assert_eq!(
        found[0].to_string(),
        "dbx has one more entry: entry 1 of candidate 0; firmware: firmware debug mode measured"
    );
    assert_eq!(
        boot.explain(&Bank::Sha256.hash(b"no cause"), &candidates)
            .unwrap(),
        []
    );
}

#[test]
fn a_log_says_event_by_event_why_the_value_differs() {
    let reasons = |boot: &Pcr7, log: &EventLog| -> Vec<String> {
        boot.explain_log(log)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let log = EventLog::parse(&log("d2-own-keys")).unwrap();
    let same = Pcr7::from_log(&log).unwrap();
    assert_eq!(reasons(&same, &log), [""; 0]);

    let variables = same.variables().clone();
    let without_dbx = same
        .clone()
        .with_variables(variables.clone().with(KeyVariable::Dbx, &[]));
    assert_eq!(
        reasons(&without_dbx, &log),
        ["PCR 7: variable dbx has 1 entries more and lacks 0"]
    );
    let off = same.clone().with_variables(variables.secure_boot(false));
    assert_eq!(reasons(&off, &log)[0], "PCR 7: Secure Boot is on");
    let debug = same.clone().quirk(Quirk::DebugMode);
    assert_eq!(
        reasons(&debug, &log),
        ["PCR 7: action \"UEFI Debug Mode\" was not measured by the firmware"]
    );
    let failed = same
        .clone()
        .quirk(Quirk::ErrorSeparator)
        .predict()
        .unwrap()
        .to_log(&[Bank::Sha256]);
    assert_eq!(
        reasons(&same, &failed),
        ["PCR 7: the separator reports an error of the firmware"]
    );
    let nothing = same.clone().quirk(Quirk::NoDbAuthority);
    assert!(reasons(&nothing, &log)[0].contains("measured in addition"));
    let difference = &same.explain_log(&failed).unwrap()[0];
    assert!(difference.predicted.is_some() && difference.measured.is_some());
}

#[test]
fn updates_of_a_recorded_machine_keep_what_is_peculiar_to_it() {
    let log = EventLog::parse(&read("synthetic/dma-protection-disabled.bin")).unwrap();
    let update = VariableUpdate::replace(KeyVariable::Dbx, &hashes(&[(1, 1)]));
    let boot = Pcr7::from_log(&log).unwrap().update(&update).unwrap();
    let prediction = boot.predict().unwrap();
    assert_eq!(prediction.events()[0].event_type(), EventType::EFI_ACTION);
    let dbx = prediction
        .events()
        .iter()
        .filter_map(|event| VariableData::parse(event.data()));
    let dbx: Vec<_> = dbx.filter(|variable| variable.name == "dbx").collect();
    assert_eq!(dbx[0].value, hashes(&[(1, 1)]));
}

#[test]
fn authorities_of_a_log_end_where_an_update_refuses_them() {
    let log = EventLog::parse(&log("d4-sdboot-two-certs")).unwrap();
    let then = Pcr7::from_log(&log).unwrap();
    let db = then.variables().value(KeyVariable::Db).to_vec();
    let first = usize::try_from(u32::from_le_bytes(*db[16..].first_chunk().unwrap())).unwrap();
    let of = |boot: &Pcr7| {
        let prediction = boot.predict().unwrap();
        (
            prediction.authorities().len(),
            prediction.verdicts().to_vec(),
        )
    };
    let after = |update: &VariableUpdate| of(&then.clone().update(update).unwrap());
    assert_eq!(of(&then), (2, vec![]));
    let replaced = |value: &[u8]| VariableUpdate::replace(KeyVariable::Db, value);
    let boot_loader = then.predict().unwrap().authorities()[0].value.clone();
    let of_boot_loader = db[..first].ends_with(&boot_loader);
    let (loader, uki) = db.split_at(first);
    let (loader, uki) = if of_boot_loader {
        (loader, uki)
    } else {
        (uki, loader)
    };
    // The loader still starts and its UKI is refused; without the loader there is no UKI either.
    assert_eq!(after(&replaced(loader)), (1, vec![Verdict::NotInDb]));
    assert_eq!(after(&replaced(uki)), (0, vec![Verdict::NotInDb]));
    assert_eq!(
        after(&VariableUpdate::append(KeyVariable::Dbx, uki)),
        (1, vec![Verdict::SignerInDbx])
    );
    assert_eq!(
        after(&VariableUpdate::append(KeyVariable::Db, &hashes(&[(1, 1)]))),
        (2, vec![])
    );
    let off = then.variables().clone().secure_boot(false);
    assert_eq!(of(&then.clone().with_variables(off)), (0, vec![]));
}

#[test]
fn shim_of_a_log_measures_its_state_also_when_secure_boot_is_off() {
    let log = EventLog::parse(&log("d7-shim-mok-uki")).unwrap();
    let then = Pcr7::from_log(&log).unwrap();
    let names = |boot: &Pcr7| -> Vec<String> {
        let authorities = boot.predict().unwrap().authorities();
        authorities.into_iter().map(|data| data.name).collect()
    };
    assert_eq!(names(&then), ["db", "SbatLevel", "MokListRT"]);
    let off = then.variables().clone().secure_boot(false);
    let off = then.clone().with_variables(off);
    assert_eq!(names(&off), ["SbatLevel"]);
    assert!(
        off.predict()
            .unwrap()
            .registers()
            .contains(&Register::SHIM_POLICY)
    );
    let db = VariableUpdate::replace(KeyVariable::Db, &hashes(&[(1, 1)]));
    let refused = then.update(&db).unwrap();
    assert_eq!(names(&refused), [""; 0]);
    assert_eq!(
        refused.predict().unwrap().registers(),
        [Register::SECURE_BOOT_POLICY]
    );
}
