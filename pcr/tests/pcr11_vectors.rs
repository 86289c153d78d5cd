//! PCR 11 and its policies against systemd-measure's recorded answers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/sections.rs"]
mod sections;

use pcr::{
    Bank, Dialect, HardwareChoice, Pcr11, PhasePath, PublicKey, Register, SignatureDocument,
    SignatureStatus, pcr_policy_digest,
};
use sections::{VECTORS, json, observe, read, sections as sections_of};
use serde_json::Value;

/// The choice that systemd-measure was given: the one `.dtbauto` there is.
fn hardware(vector: &str) -> HardwareChoice {
    if vector == "v7-everything" {
        HardwareChoice::dtbauto(0)
    } else {
        HardwareChoice::NONE
    }
}

fn entries(document: &Value) -> Vec<(Bank, Value)> {
    document
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(bank, entries)| {
            let bank: Bank = bank.parse().unwrap();
            let entries = entries.as_array().unwrap().clone();
            entries.into_iter().map(move |entry| (bank, entry))
        })
        .collect()
}

#[test]
fn every_recorded_register_is_predicted() {
    let mut checked = 0;
    for vector in VECTORS {
        let boot = observe(vector, Dialect::Systemd257, &Bank::ALL);
        for (bank, entry) in entries(&json(&format!("expected/{vector}.calc.json"))) {
            let phase = PhasePath::new(entry["phase"].as_str().unwrap_or_default());
            let stub = boot.default_profile().register(hardware(vector), bank);
            assert_eq!(
                phase.extend(stub.unwrap()).to_string(),
                entry["hash"].as_str().unwrap(),
                "{vector} {bank} {phase}"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 144);
}

#[test]
fn every_recorded_policy_is_computed() {
    let key = PublicKey::from_pem(read("inputs/pcrpkey")).unwrap();
    let mut usable = 0;
    for vector in VECTORS {
        let recorded = read(&format!("expected/{vector}.sign.json"));
        let document = SignatureDocument::parse(&recorded).unwrap();
        let values = entries(&json(&format!("expected/{vector}.calc.json")));
        let statuses = document.verify(std::slice::from_ref(&key));
        let mut recorded: Vec<_> = document.entries().zip(statuses).collect();
        recorded.sort_by_key(|(entry, _)| entry.bank());
        for ((entry, status), (bank, value)) in recorded.into_iter().zip(values) {
            let value = pcr::Digest::from_hex(bank, value["hash"].as_str().unwrap()).unwrap();
            let signed = entry.read().unwrap();
            assert_eq!(
                signed.policy,
                pcr_policy_digest(bank, &[(Register::KERNEL_BOOT, value)])
            );
            assert_eq!(signed.fingerprint, *key.fingerprint());
            assert_eq!(signed.registers, [Register::KERNEL_BOOT]);
            let expected = if bank == Bank::Sha256 {
                SignatureStatus::Valid
            } else {
                SignatureStatus::BankHash
            };
            assert_eq!(status, expected, "{vector} {bank}");
            usable += u32::from(status == SignatureStatus::Valid);
        }
    }
    assert_eq!(usable, 36);
}

#[test]
fn order_and_pieces_do_not_matter() {
    let whole = observe("v7-everything", Dialect::Systemd257, &Bank::ALL);
    let mut pieces = Pcr11::new(
        Dialect::Systemd257,
        &[
            Bank::Sha512,
            Bank::Sha1,
            Bank::Sha384,
            Bank::Sha256,
            Bank::Sha1,
        ],
    );
    let mut sections = sections_of("v7-everything");
    sections.reverse();
    for round in 0..50 {
        for (name, content) in &sections {
            let piece = content.chunks(content.len().div_ceil(50)).nth(round);
            pieces.observe(name.as_str(), piece.unwrap_or_default());
        }
    }
    let paths = [PhasePath::stub(), PhasePath::talos()];
    assert_eq!(
        whole.registers(&paths).unwrap(),
        pieces.registers(&paths).unwrap()
    );
}

#[test]
fn large_pieces_are_hashed_as_small_ones_are() {
    let data: Vec<u8> = (0..1_000_003_u32)
        .map(|n| n.to_le_bytes()[0] ^ 0x5a)
        .collect();
    let mut large = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    large.observe(".linux", &data);
    let mut small = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    for piece in data.chunks(1000) {
        small.observe(".linux", piece);
    }
    let paths = [PhasePath::stub()];
    assert_eq!(
        large.registers(&paths).unwrap(),
        small.registers(&paths).unwrap()
    );
}

#[test]
fn talos_own_constants_are_reproduced() {
    let mut boot = Pcr11::new(Dialect::Talos, &[Bank::Sha256, Bank::Sha384, Bank::Sha512]);
    for name in Dialect::Talos.measured_sections() {
        boot.observe(name, name.as_bytes());
    }
    // Talos's test has one content for all 13 names: the machine picks the only .dtbauto.
    let policies = boot.policies(&[PhasePath::talos()]).unwrap();
    let policies = policies.filter(|policy| policy.hardware == HardwareChoice::dtbauto(0));
    let digests: Vec<String> = policies
        .iter()
        .map(|policy| {
            policy
                .digest()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        })
        .collect();
    assert_eq!(
        digests,
        [
            "c0c4f61f8ac39267a7638cde8029b82a0ccd378b2acbfdffb77ee1f0f9d464ec",
            "e8f6311e36f9ee038df65255ae7c471d1d1f91ce742b98a152be72337f6c937d",
            "207a8217158f9cc521dca50358a593dc61ed9308ef27da9df4ef64d634309160",
        ]
    );
}

#[test]
fn an_old_stub_measures_neither_uname_nor_sbat() {
    let full = observe("v2-basic", Dialect::Systemd257, &[Bank::Sha256]);
    let mut without = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    for (name, content) in sections_of("v2-basic") {
        if name != ".uname" && name != ".sbat" {
            without.observe(name.as_str(), &content);
        }
    }
    let old = full
        .clone()
        .with_dialect(Dialect::from_stub("systemd-stub 252.39-1~deb12u1"));
    let paths = [PhasePath::stub()];
    assert_eq!(
        old.registers(&paths).unwrap(),
        without.registers(&paths).unwrap()
    );
    assert_ne!(
        old.registers(&paths).unwrap(),
        full.registers(&paths).unwrap()
    );
}

#[test]
fn a_profile_replaces_sections_of_the_base() {
    let mut boot = observe("v2-basic", Dialect::Systemd257, &[Bank::Sha256]);
    boot.observe((Some(0), ".profile"), b"ID=main");
    boot.observe((Some(1), ".profile"), &read("inputs/profile1"));
    boot.observe((Some(1), ".cmdline"), &read("inputs/cmdline-profile1"));
    let expected = json("expected/v4-profile1.calc.json");
    let profile = boot.profile(1).unwrap();
    assert_eq!(
        profile
            .register(HardwareChoice::NONE, Bank::Sha256)
            .unwrap()
            .to_string(),
        expected["sha256"][0]["hash"].as_str().unwrap()
    );
    assert_eq!(boot.profile_count(), 2);
    assert_eq!(
        boot.profile(2).unwrap_err().to_string(),
        "profile @2 does not exist, the UKI has 2"
    );
}

#[test]
fn hardware_choices_are_every_dtbauto_and_none() {
    let mut boot = observe("v2-basic", Dialect::Systemd257, &[Bank::Sha256]);
    boot.observe((None, ".dtbauto", 0), b"board one");
    boot.observe((None, ".dtbauto", 1), b"board two");
    let profile = boot.default_profile();
    assert_eq!(
        profile.hardware(),
        [
            HardwareChoice::NONE,
            HardwareChoice::dtbauto(0),
            HardwareChoice::dtbauto(1)
        ]
    );
    let mut values: Vec<_> = boot
        .registers(&[PhasePath::stub()])
        .unwrap()
        .into_iter()
        .map(|prediction| prediction.value)
        .collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 3);
    assert_eq!(
        profile
            .register(HardwareChoice::dtbauto(2), Bank::Sha256)
            .unwrap_err()
            .to_string(),
        "hardware choice .dtbauto 2 does not exist, the profile has 2"
    );
}

#[test]
fn the_first_section_with_content_wins() {
    let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    boot.observe((None, ".cmdline", 0), b"");
    boot.observe((None, ".cmdline", 1), b"quiet");
    boot.observe((None, ".cmdline", 2), b"loud");
    boot.observe(".linux", b"kernel");
    let value = boot
        .default_profile()
        .register(HardwareChoice::NONE, Bank::Sha256);
    assert_eq!(
        value.unwrap().to_string(),
        "195642654068241c5e1fd6e3673b61d8b3c72d3cd0dfb792d070d5d3ea51486a"
    );
    // Before 257 the last one won.
    let old = boot.with_dialect(Dialect::Systemd256);
    let sections = old
        .default_profile()
        .sections(HardwareChoice::NONE)
        .unwrap();
    assert_eq!(sections[1].len, 4);
}

#[test]
fn a_uki_without_kernel_is_an_error() {
    let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    boot.observe(".cmdline", b"quiet");
    boot.observe(".text", b"stub");
    boot.observe(None, b"padding");
    assert_eq!(
        boot.registers(&[PhasePath::stub()])
            .unwrap_err()
            .to_string(),
        "no .linux section in profile @0"
    );
}

#[test]
fn a_bank_that_was_not_observed_is_an_error() {
    let boot = observe("v0-micro", Dialect::Systemd257, &[Bank::Sha1]);
    let error = boot
        .default_profile()
        .register(HardwareChoice::NONE, Bank::Sha256)
        .unwrap_err();
    assert_eq!(error.to_string(), "no sha256 digest was given for .linux");
}
