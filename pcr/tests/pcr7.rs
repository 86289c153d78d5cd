//! PCR 7 predicted without the log, judged by the TPM values of recorded boots.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use pcr::{
    Bank, BootImage, Digest, EventLog, EventType, KeyVariable, Pcr7, Register, SecureBootError,
    SecureBootVariables, Shim, Verdict,
};
use support::{BOOTS, json, log, measured, read, vectors};

/// The variables as the booted system saw them.
fn variables(boot: &str) -> SecureBootVariables {
    let files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(vectors().join(boot).join("efivars"))
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            (
                file.file_name().into_string().unwrap(),
                std::fs::read(file.path()).unwrap(),
            )
        })
        .collect();
    SecureBootVariables::from_efivarfs(
        files
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice())),
    )
}

fn value_of(boot: &str, file: &str) -> Vec<u8> {
    let content = read(Path::new(boot).join("efivars").join(file));
    content[4..].to_vec()
}

/// The images of a boot, in load order.
fn images(boot: &str) -> Vec<BootImage> {
    let story = json(Path::new(boot).join("boot.json"));
    let images = story["images"].as_array().unwrap();
    images
        .iter()
        // The kernel inside the UKI: systemd-stub answers for it.
        .filter(|image| image["name"] != "linux")
        .map(|image| {
            let digests = image["authenticode"].as_object().unwrap();
            let digests = digests.iter().map(|(bank, hex)| {
                Digest::from_hex(bank.parse().unwrap(), hex.as_str().unwrap()).unwrap()
            });
            let signatures = image["signatures"].as_array().unwrap().iter();
            signatures.fold(
                BootImage::new(digests).named(image["name"].as_str().unwrap()),
                |image, signature| {
                    image.signature(&read(
                        Path::new(boot).join(signature["file"].as_str().unwrap()),
                    ))
                },
            )
        })
        .collect()
}

fn described(boot: &str) -> Pcr7 {
    let mut description = Pcr7::new(variables(boot));
    if boot == "d7-shim-mok-uki" {
        let guid = "605dab50-e046-4300-abb6-3dd810dd8b23";
        let shim = Shim::new(&value_of(boot, &format!("SbatLevelRT-{guid}")))
            .mok_list(&value_of(boot, &format!("MokListRT-{guid}")))
            .mok_list_x(&value_of(boot, &format!("MokListXRT-{guid}")));
        let [first, second] = <[BootImage; 2]>::try_from(images(boot)).unwrap();
        return description.load(first).shim(shim).load(second);
    }
    if boot == "d10-first-attempt-denied" {
        // The first boot option is the same UKI without a signature.
        let digests = Bank::ALL.map(|bank| *images(boot)[0].digest(bank).unwrap());
        description = description.load(BootImage::new(digests));
    }
    images(boot).into_iter().fold(description, Pcr7::load)
}

#[test]
fn predicts_every_boot_in_every_bank_without_the_log() {
    for boot in BOOTS {
        let prediction = described(boot).predict().unwrap();
        for (bank, registers) in measured(boot) {
            let bank: Bank = bank.parse().unwrap();
            assert_eq!(
                prediction.value(bank).to_string(),
                registers["7"],
                "{boot} {bank}"
            );
            if boot == "d7-shim-mok-uki" {
                let mok = prediction.register(bank, Register::SHIM_POLICY);
                assert_eq!(mok.to_string(), registers["14"], "{boot} {bank}");
            }
        }
    }
}

#[test]
fn the_events_are_those_that_the_firmware_logged() {
    for boot in BOOTS {
        let log = EventLog::parse(&log(boot)).unwrap();
        let prediction = described(boot).predict().unwrap();
        let logged: Vec<_> = log
            .events()
            .iter()
            .filter(|event| event.pcr_index() == 7)
            .map(|event| (event.event_type(), event.data().to_vec()))
            .collect();
        let predicted: Vec<_> = prediction
            .events()
            .iter()
            .filter(|event| event.register() == Register::SECURE_BOOT_POLICY)
            .map(|event| (event.event_type(), event.data().to_vec()))
            .collect();
        assert!(predicted == logged, "{boot}");
        assert_eq!(described(boot).explain_log(&log).unwrap(), [], "{boot}");
    }
}

#[test]
fn says_what_becomes_of_each_image() {
    let verdicts = |boot| described(boot).predict().unwrap().verdicts().to_vec();
    assert_eq!(verdicts("d1-setup-mode"), [Verdict::Unverified]);
    assert_eq!(verdicts("d4-sdboot-two-certs"), [Verdict::Authorized; 2]);
    assert_eq!(verdicts("d5-hash-in-db"), [Verdict::Authorized]);
    assert_eq!(verdicts("d7-shim-mok-uki"), [Verdict::Authorized; 2]);
    assert_eq!(
        verdicts("d10-first-attempt-denied"),
        [Verdict::NotInDb, Verdict::Authorized]
    );
    assert!(
        !described("d10-first-attempt-denied")
            .predict()
            .unwrap()
            .all_started()
    );
}

#[test]
fn keys_that_will_be_enrolled_give_the_value_of_the_first_secure_boot_boot() {
    // systemd-boot enrolled these files from setup mode; the prediction has only the files.
    let boot = "d8-sdboot-autoenroll";
    let list = |name: &str| {
        let auth = read(Path::new(boot).join(name));
        let length = u32::from_le_bytes(auth[16..20].try_into().unwrap()) as usize;
        auth[16 + length..].to_vec()
    };
    let variables =
        SecureBootVariables::enrolled(&list("PK.auth"), &list("KEK.auth"), &list("db.auth"), &[]);
    let prediction = images(boot)
        .into_iter()
        .fold(Pcr7::new(variables), Pcr7::load)
        .predict()
        .unwrap();
    let measured = &measured(boot)["sha256"]["7"];
    assert_eq!(&prediction.value(Bank::Sha256).to_string(), measured);
}

#[test]
fn a_log_tells_the_variables_and_the_same_value() {
    for boot in BOOTS {
        let log = EventLog::parse(&log(boot)).unwrap();
        assert_eq!(
            SecureBootVariables::from_log(&log).unwrap(),
            variables(boot),
            "{boot}"
        );
        let copied = Pcr7::from_log(&log).unwrap();
        let computed = images(boot).into_iter().fold(copied.clone(), Pcr7::load);
        for description in [copied, computed] {
            let prediction = description.predict().unwrap();
            assert_eq!(description.explain_log(&log).unwrap(), [], "{boot}");
            for (bank, registers) in measured(boot) {
                let bank: Bank = bank.parse().unwrap();
                assert_eq!(
                    prediction.value(bank).to_string(),
                    registers["7"],
                    "{boot} {bank}"
                );
            }
        }
    }
}

#[test]
fn a_log_with_shim_tells_what_shim_measures_again() {
    let boot = "d7-shim-mok-uki";
    let log = EventLog::parse(&log(boot)).unwrap();
    let known = Pcr7::from_log(&log).unwrap();
    let [shim, next] = <[BootImage; 2]>::try_from(images(boot)).unwrap();
    let registers = |boot: &Pcr7| {
        let prediction = boot.predict().unwrap();
        [Register::SECURE_BOOT_POLICY, Register::SHIM_POLICY]
            .map(|register| prediction.register(Bank::Sha256, register).to_string())
    };
    let expected = ["7", "14"].map(|index| measured(boot)["sha256"][index].clone());
    assert_eq!(registers(&known), expected);
    assert_eq!(registers(&known.clone().load(shim.clone())), expected);
    let both = known.clone().load(shim.clone()).load(next.clone());
    assert_eq!(registers(&both), expected);
    assert_eq!(both.predict().unwrap().verdicts(), [Verdict::Authorized; 2]);
    // Another version of shim by the same key is still shim, whose next stage may be refused.
    let digests = Bank::ALL.map(|bank| bank.hash(b"an image that nobody signed"));
    let unsigned = known.clone().load(shim).load(BootImage::new(digests));
    assert_eq!(
        unsigned.predict().unwrap().verdicts(),
        [Verdict::Authorized, Verdict::NotInDb]
    );
    // A loader in its place measures nothing of the kind.
    let other = known.load_by_firmware(next).predict().unwrap();
    assert_eq!(other.verdicts(), [Verdict::NotInDb]);
    assert_eq!(other.registers(), [Register::SECURE_BOOT_POLICY]);
}

#[test]
fn a_log_of_an_old_shim_is_predicted_from_itself() {
    let log = EventLog::parse(&read("../foreign/cloud-sha1.bin")).unwrap();
    let value = Pcr7::from_log(&log).unwrap().predict().unwrap();
    assert_eq!(
        value.value(Bank::Sha1).to_string(),
        "9e6c57e850f371c2a7fe02bca552149363952318"
    );
}

#[test]
fn known_values_hold_in_setup_mode() {
    let prediction = Pcr7::new(SecureBootVariables::setup_mode())
        .predict()
        .unwrap();
    let digests: Vec<String> = prediction
        .events()
        .iter()
        .map(|event| event.digest(Bank::Sha256).to_string()[..16].to_owned())
        .collect();
    assert_eq!(
        digests,
        [
            "115aa827dbccfb44",
            "dea7b80ab53a3daa",
            "e670e121fcebd473",
            "baf89a3ccace5275",
            "9f75b6823bff6af1",
            "df3f619804a92fdb"
        ]
    );
    let measured = &measured("d1-setup-mode");
    for bank in Bank::ALL {
        assert_eq!(
            prediction.value(bank).to_string(),
            measured[bank.name()]["7"]
        );
    }
}

#[test]
fn authorities_may_be_stated_instead_of_verified() {
    let boot = "d4-sdboot-two-certs";
    let authorities = described(boot).predict().unwrap().authorities();
    let entries: Vec<&[u8]> = authorities
        .iter()
        .map(|authority| authority.value.as_slice())
        .collect();
    let stated = Pcr7::new(variables(boot))
        .load(BootImage::authorized_by(entries.clone()))
        .load(BootImage::authorized_by(entries))
        .predict()
        .unwrap();
    assert_eq!(
        stated.value(Bank::Sha256).to_string(),
        measured(boot)["sha256"]["7"]
    );
    assert_eq!(stated.verdicts(), [Verdict::Stated; 2]);
    assert_eq!(stated.authorities().len(), 2, "each entry is measured once");
}

#[test]
fn the_log_of_a_prediction_replays_to_its_value() {
    let prediction = described("d7-shim-mok-uki").predict().unwrap();
    let log = EventLog::parse(&prediction.to_log(&Bank::ALL).to_bytes()).unwrap();
    for bank in Bank::ALL {
        for register in [Register::SECURE_BOOT_POLICY, Register::SHIM_POLICY] {
            assert_eq!(
                log.replay().value(bank, register),
                Some(prediction.register(bank, register))
            );
        }
    }
    assert_eq!(
        prediction.registers(),
        [Register::SECURE_BOOT_POLICY, Register::SHIM_POLICY]
    );
}

#[test]
fn malformed_variables_are_named_with_the_place() {
    let whole = value_of("d2-own-keys", "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f");
    for end in 1..whole.len() {
        let cut = variables("d2-own-keys").with(KeyVariable::Db, &whole[..end]);
        let error = Pcr7::new(cut).predict().unwrap_err();
        assert!(
            matches!(
                error,
                SecureBootError::SignatureList {
                    variable: KeyVariable::Db,
                    offset: 0,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    let mut odd = whole.clone();
    odd[24] += 1;
    let error = Pcr7::new(variables("d2-own-keys").with(KeyVariable::Dbx, &odd))
        .predict()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "dbx is not made of signature lists: a list size that entries do not divide at offset 0"
    );
    for size in [0_u32, 1, 16, u32::MAX] {
        for field in [16, 20, 24] {
            let mut broken = whole.clone();
            broken[field..field + 4].copy_from_slice(&size.to_le_bytes());
            let harmless = field == 20 && size == 0;
            let result =
                Pcr7::new(variables("d2-own-keys").with(KeyVariable::Db, &broken)).predict();
            assert_eq!(result.is_ok(), harmless, "{size} at {field}");
        }
    }
}

#[test]
fn a_missing_digest_is_an_error_and_not_a_guess() {
    let boot = "d2-own-keys";
    let signature = read(Path::new(boot).join("signatures/uki.0.p7"));
    let error = Pcr7::new(variables(boot))
        .load(BootImage::new([]).signature(&signature))
        .predict()
        .unwrap_err();
    assert_eq!(
        error,
        SecureBootError::MissingDigest {
            image: 0,
            bank: Bank::Sha256
        }
    );
    assert_eq!(
        error.to_string(),
        "image 0 has a signature over its sha256 digest, which was not given"
    );
}

#[test]
fn a_damaged_signature_authorises_nothing_and_breaks_nothing() {
    let boot = "d2-own-keys";
    let image = &images(boot)[0];
    let digests = Bank::ALL.map(|bank| *image.digest(bank).unwrap());
    let whole = read(Path::new(boot).join("signatures/uki.0.p7"));
    let started = |signature: &[u8]| {
        let image = BootImage::new(digests).signature(signature);
        Pcr7::new(variables(boot))
            .load(image)
            .predict()
            .unwrap()
            .all_started()
    };
    assert!(started(&whole));
    for end in 0..whole.len() {
        assert!(!started(&whole[..end]), "cut at {end}");
    }
    let other = Bank::Sha256.hash(b"another image");
    let moved = BootImage::new([other]).signature(&whole);
    assert_eq!(
        Pcr7::new(variables(boot))
            .load(moved)
            .predict()
            .unwrap()
            .verdicts(),
        [Verdict::NotInDb]
    );
}

#[test]
fn a_log_without_secure_boot_events_is_refused() {
    let error = Pcr7::from_log(&EventLog::crypto_agile(&[Bank::Sha256])).unwrap_err();
    assert!(
        matches!(error, SecureBootError::IncompleteLog { .. }),
        "{error:?}"
    );
    let setup = Pcr7::new(SecureBootVariables::setup_mode())
        .predict()
        .unwrap();
    let mut log = EventLog::crypto_agile(&[Bank::Sha256]);
    for event in setup.to_log(&[Bank::Sha256]).events() {
        if event.event_type() != EventType::SEPARATOR {
            log.push(event.clone()).unwrap();
        }
    }
    assert_eq!(
        Pcr7::from_log(&log).unwrap_err().to_string(),
        "the event log has no separator event in PCR 7"
    );
}
