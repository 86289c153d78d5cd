//! Sealing and unsealing on a software TPM without a resource manager, and the reason for each refusal.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use support::signer::{key, sign_document};
use support::swtpm::Swtpm;
use support::{have, vector, vector_text};
use tpm_seal::{
    Bank, Error, Evidence, PcrSelection, PcrValues, Pin, Policy, PolicyKey, Refusal, SealOptions,
    SealedToken, Secret, SignatureDocument, SignedPcrs, SystemdToken, TalosToken, Token, Tpm,
    seal_offline,
};

fn select(bank: Bank, pcrs: &[u8]) -> PcrSelection {
    PcrSelection::new(bank, pcrs).unwrap()
}

fn secret() -> Secret {
    Secret::new(b"thirty-two bytes of known secret".to_vec())
}

/// A booted TPM: something is measured into PCRs 7 and 11.
fn booted() -> (Swtpm, Tpm) {
    let swtpm = Swtpm::new();
    swtpm.extend(7, "secure boot");
    swtpm.extend(11, "kernel");
    let tpm = swtpm.open();
    (swtpm, tpm)
}

/// PCR 11 signed by a key of the tests for the present state, and PCR 7 as it is now.
fn signed_policy(tpm: &mut Tpm, signer: &str) -> (Policy, SignatureDocument) {
    let pcr_7 = tpm.pcr_values(select(Bank::Sha256, &[7])).unwrap();
    let pcr_11 = tpm.pcr_values(select(Bank::Sha256, &[11])).unwrap();
    let document = sign_document(signer, &[&pcr_11]);
    (
        Policy::new()
            .signed(SignedPcrs::new(key(signer)))
            .pcrs(pcr_7),
        document,
    )
}

fn refusal(result: Result<Secret, Error>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_talos_token_opens_again_and_after_an_update_but_not_with_other_software() {
    if !have("a_talos_token_opens_again", "swtpm") {
        return;
    }
    let (mut swtpm, mut tpm) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let sealed = tpm.seal(&secret(), &policy, &SealOptions::new()).unwrap();
    let token = TalosToken::new(sealed, &policy).unwrap().slot(1);
    let token = Token::parse(token.to_json().as_bytes()).unwrap();
    assert_eq!(token.slots(), [1]);
    let evidence = Evidence::new()
        .policy_key(key("rsa2048-e65537"))
        .signatures(document);
    assert_eq!(tpm.unlock(&token, &evidence).unwrap(), secret());

    // The same machine boots another kernel, signed by the same key.
    drop(tpm);
    swtpm.reboot();
    swtpm.extend(7, "secure boot");
    swtpm.extend(11, "another kernel");
    let mut tpm = swtpm.open();
    let pcr_11 = tpm.pcr_values(select(Bank::Sha256, &[11])).unwrap();
    let update = sign_document("rsa2048-e65537", &[&pcr_11]);
    let updated = Evidence::new()
        .policy_key(key("rsa2048-e65537"))
        .signatures(update);
    assert_eq!(tpm.unlock(&token, &updated).unwrap(), secret());
    let why = refusal(tpm.unlock(&token, &evidence));
    assert_eq!(why, refusal_no_signature(&pcr_11));

    // Another key signed it.
    let foreign = sign_document("rotation-new", &[&pcr_11]);
    let why = refusal(
        tpm.unlock(
            &token,
            &Evidence::new()
                .policy_key(key("rsa2048-e65537"))
                .signatures(foreign.clone()),
        ),
    );
    assert_eq!(why.kind(), "other-key");
    let why = refusal(
        tpm.unlock(
            &token,
            &Evidence::new()
                .policy_key(key("rotation-new"))
                .signatures(foreign),
        ),
    );
    assert_eq!(why.kind(), "other-key", "{why}");

    // Secure Boot keys changed: the token remembers what it was sealed to.
    drop(tpm);
    swtpm.reboot();
    swtpm.extend(7, "other secure boot");
    swtpm.extend(11, "another kernel");
    let mut tpm = swtpm.open();
    let Refusal::Register {
        pcr: 7,
        bank: Bank::Sha256,
        measured,
        expected,
        ..
    } = refusal(tpm.unlock(&token, &updated))
    else {
        panic!("not the register");
    };
    assert_ne!(measured, expected);
    assert_eq!(
        measured,
        tpm.pcr_values(select(Bank::Sha256, &[7]))
            .unwrap()
            .get(7)
            .unwrap()
    );
    drop(tpm);
    assert!(swtpm.open_handles().is_empty());
}

fn refusal_no_signature(measured: &PcrValues) -> Refusal {
    // Built by the crate itself in the same state, to compare all fields.
    let other = measured.clone();
    let empty = PcrValues::new(Bank::Sha256).with(11, &[1; 32]).unwrap();
    let document = sign_document("rsa2048-e65537", &[&empty]);
    let policy = Policy::new().signed(SignedPcrs::new(key("rsa2048-e65537")));
    policy
        .check(&[other], &Evidence::new().signatures(document))
        .unwrap_err()
}

#[test]
fn a_systemd_token_with_a_pin_counts_wrong_pins_and_says_how_many_are_left() {
    if !have("a_systemd_token_with_a_pin", "swtpm") {
        return;
    }
    let (swtpm, mut tpm) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let policy = policy.pin();
    let options = SealOptions::new().under_srk().pin(Pin::new("1234"));
    let sealed = tpm.seal(&secret(), &policy, &options).unwrap();
    let token = SystemdToken::new(sealed, &policy).unwrap().slot(2);
    let token = Token::parse(token.to_json().as_bytes()).unwrap();
    let evidence = Evidence::new().signatures(document);
    assert_eq!(refusal(tpm.unlock(&token, &evidence)), Refusal::PinNeeded);
    assert_eq!(tpm.lockout().unwrap().failures, 0);
    assert_eq!(
        tpm.unlock(&token, &evidence.clone().pin(Pin::new("1234")))
            .unwrap(),
        secret()
    );

    let max = tpm.lockout().unwrap().max_failures;
    for tried in 1..=max {
        let why = refusal(tpm.unlock(&token, &evidence.clone().pin(Pin::new("4321"))));
        let text = why.to_string();
        assert!(
            matches!(why, Refusal::WrongPin { tries_left: Some(left), .. } if left == max - tried),
            "{text}"
        );
    }
    let why = refusal(tpm.unlock(&token, &evidence.pin(Pin::new("1234"))));
    assert!(
        matches!(why, Refusal::LockedOut { seconds: 1000, .. }),
        "{why}"
    );
    drop(tpm);
    assert!(swtpm.open_handles().is_empty());
}

#[test]
fn what_can_be_told_beforehand_never_reaches_the_counter() {
    if !have(
        "what_can_be_told_beforehand_never_reaches_the_counter",
        "swtpm",
    ) {
        return;
    }
    let (_swtpm, mut tpm) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let policy = policy.pin();
    let options = SealOptions::new().under_srk().pin(Pin::new("1234"));
    let sealed = tpm.seal(&secret(), &policy, &options).unwrap();
    let wrong_pin = Evidence::new().pin(Pin::new("0"));
    let why = refusal(tpm.unseal(&sealed, &policy, &wrong_pin));
    assert!(matches!(
        why,
        Refusal::NoSignatures {
            bank: Bank::Sha256,
            ..
        }
    ));
    let pcr_7 = PcrValues::new(Bank::Sha256).with(7, &[3; 32]).unwrap();
    let other = Policy::new()
        .signed(SignedPcrs::new(key("rsa2048-e65537")))
        .pcrs(pcr_7)
        .pin();
    let why = refusal(tpm.unseal(&sealed, &other, &wrong_pin.signatures(document)));
    assert_eq!(why.kind(), "damaged");
    assert_eq!(tpm.lockout().unwrap().failures, 0);
}

#[test]
fn another_tpm_or_a_cleared_one_is_told_apart_from_a_damaged_token() {
    if !have("another_tpm_or_a_cleared_one", "swtpm") {
        return;
    }
    let (swtpm, mut tpm) = booted();
    let (other_swtpm, mut other) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let evidence = Evidence::new().signatures(document);
    for options in [SealOptions::new(), SealOptions::new().under_srk()] {
        let sealed = tpm.seal(&secret(), &policy, &options).unwrap();
        let why = refusal(other.unseal(&sealed, &policy, &evidence));
        let Refusal::OtherTpm {
            expected, found, ..
        } = why
        else {
            panic!("{why}")
        };
        assert_eq!(expected, sealed.parent().name());
        assert!(found.is_some() && found != expected);
        // The other TPM has a storage root key of its own by now.
        other.storage_root_key().unwrap();
        assert_eq!(
            refusal(other.unseal(&sealed, &policy, &evidence)).kind(),
            "other-tpm"
        );

        let mut blob = sealed.object().to_blob();
        blob[60] ^= 1;
        let object = tpm_seal::SealedObject::parse_blob(&blob).unwrap();
        let damaged = tpm_seal::SealedKey::new(object, sealed.parent().clone());
        assert_eq!(
            refusal(tpm.unseal(&damaged, &policy, &evidence)).kind(),
            "damaged"
        );
        assert_eq!(tpm.unseal(&sealed, &policy, &evidence).unwrap(), secret());

        // Without any policy, and where the storage key's Name is not known either.
        let nameless = tpm_seal::Parent::Primary {
            template: tpm_seal::Template::TalosEcc,
            name: None,
        };
        let nameless = tpm_seal::SealedKey::new(sealed.object().clone(), nameless);
        assert!(tpm.recognizes(&sealed).unwrap() && !tpm.recognizes(&damaged).unwrap());
        for sealed in [&sealed, &nameless] {
            assert!(!other.recognizes(sealed).unwrap());
        }
    }
    drop((tpm, other));
    assert!(swtpm.open_handles().is_empty() && other_swtpm.open_handles().is_empty());
}

#[test]
fn a_storage_root_key_that_was_evicted_is_made_again() {
    if !have("a_storage_root_key_that_was_evicted", "swtpm") {
        return;
    }
    let (swtpm, mut tpm) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let evidence = Evidence::new().signatures(document);
    let sealed = tpm
        .seal(&secret(), &policy, &SealOptions::new().under_srk())
        .unwrap();
    drop(tpm);
    swtpm.evict(0x8100_0001);
    let mut tpm = swtpm.open();
    assert_eq!(tpm.unseal(&sealed, &policy, &evidence).unwrap(), secret());
}

#[test]
fn a_handle_in_use_by_something_else_is_named() {
    if !have("a_handle_in_use", "swtpm") || !have("a_handle_in_use", "tpm2_createprimary") {
        return;
    }
    let (swtpm, tpm) = booted();
    drop(tpm);
    swtpm.tool(
        "tpm2_createprimary",
        &[
            "-C",
            "o",
            "-G",
            "ecc:ecdsa",
            "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign",
            "-c",
            "k.ctx",
        ],
    );
    swtpm.tool(
        "tpm2_evictcontrol",
        &["-C", "o", "-c", "k.ctx", "0x81000001"],
    );
    swtpm.tool("tpm2_flushcontext", &["-t"]);
    let mut tpm = swtpm.open();
    let (policy, _) = signed_policy(&mut tpm, "rsa2048-e65537");
    let error = tpm
        .seal(&secret(), &policy, &SealOptions::new().under_srk())
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused(Refusal::HandleInUse {
                handle: 0x8100_0001,
                ..
            })
        ),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "handle 0x81000001 is in use by something else"
    );
}

#[test]
fn seals_nothing_to_registers_without_measurements_or_to_pcr_7_alone() {
    if !have("seals_nothing_to_registers_without_measurements", "swtpm") {
        return;
    }
    let swtpm = Swtpm::new();
    let mut tpm = swtpm.open();
    let zero = tpm.pcr_values(select(Bank::Sha256, &[4, 7])).unwrap();
    let error = tpm
        .seal(
            &secret(),
            &Policy::new().pcrs(zero.clone()),
            &SealOptions::new(),
        )
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotMeasured {
                pcr: 4,
                bank: Bank::Sha256,
                byte: 0,
                ..
            }
        ),
        "{error}"
    );
    tpm.seal(
        &secret(),
        &Policy::new().pcrs(zero),
        &SealOptions::new().allow_unmeasured(),
    )
    .unwrap();
    let high = tpm.pcr_values(select(Bank::Sha256, &[17])).unwrap();
    let error = tpm
        .seal(&secret(), &Policy::new().pcrs(high), &SealOptions::new())
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotMeasured {
                pcr: 17,
                byte: 0xff,
                ..
            }
        ),
        "{error}"
    );
    let pcr_7 = PcrValues::new(Bank::Sha256).with(7, &[7; 32]).unwrap();
    for (policy, text) in [
        (
            Policy::new(),
            "the policy binds nothing; ask for it explicitly if that is meant",
        ),
        (
            Policy::new().pcrs(pcr_7.clone()),
            "the policy binds nothing but PCR 7; ask for it explicitly if that is meant",
        ),
        (
            Policy::new().pcrs_any([pcr_7.clone(), pcr_7.clone()]),
            "the policy binds nothing but PCR 7; ask for it explicitly if that is meant",
        ),
    ] {
        let error = tpm
            .seal(&secret(), &policy, &SealOptions::new())
            .unwrap_err();
        assert!(matches!(error, Error::WeakPolicy { .. }));
        assert_eq!(error.to_string(), text);
    }
    tpm.seal(
        &secret(),
        &Policy::new().pcrs(pcr_7),
        &SealOptions::new().allow_weak(),
    )
    .unwrap();
    let error = tpm
        .pcr_values(select(Bank::Sha1, &[7]))
        .err()
        .map(|error| error.to_string());
    assert!(error.is_none_or(|error| error == "bank sha1 is not active in this TPM"));
}

#[test]
fn a_key_rotation_opens_by_either_key_and_a_planned_update_before_and_after() {
    if !have("a_key_rotation_opens_by_either_key", "swtpm") {
        return;
    }
    let (mut swtpm, mut tpm) = booted();
    let now = tpm.pcr_values(select(Bank::Sha256, &[7])).unwrap();
    let pcr_11 = tpm.pcr_values(select(Bank::Sha256, &[11])).unwrap();
    // What PCR 7 will be after the update: found out on a TPM of its own.
    let planned = Swtpm::new();
    planned.extend(7, "secure boot after the update");
    let next = planned
        .open()
        .pcr_values(select(Bank::Sha256, &[7]))
        .unwrap();
    let keys = ["rsa2048-e65537", "rotation-new"];
    let signed = keys.map(|name| SignedPcrs::new(key(name)));
    let policy = Policy::new().signed_by_any(signed).pcrs_any([now, next]);
    let sealed = tpm
        .seal(&secret(), &policy, &SealOptions::new().under_srk())
        .unwrap();
    assert!(TalosToken::new(sealed.clone(), &policy).is_err());
    assert!(SystemdToken::new(sealed.clone(), &policy).is_err());
    let token = SealedToken::new(sealed, policy).slot(3);
    let token = Token::parse(token.to_json().as_bytes()).unwrap();
    for name in keys {
        let evidence = Evidence::new().signatures(sign_document(name, &[&pcr_11]));
        assert_eq!(tpm.unlock(&token, &evidence).unwrap(), secret());
    }
    drop(tpm);
    swtpm.reboot();
    swtpm.extend(7, "secure boot after the update");
    swtpm.extend(11, "kernel");
    let mut tpm = swtpm.open();
    let evidence = Evidence::new().signatures(sign_document("rotation-new", &[&pcr_11]));
    assert_eq!(tpm.unlock(&token, &evidence).unwrap(), secret());
    drop(tpm);
    swtpm.reboot();
    swtpm.extend(7, "something else");
    swtpm.extend(11, "kernel");
    let mut tpm = swtpm.open();
    let why = refusal(tpm.unlock(&token, &evidence));
    assert!(
        matches!(&why, Refusal::NoBranch { count: 2, first, .. } if matches!(**first, Refusal::Register { pcr: 7, .. })),
        "{why}"
    );
}

#[test]
fn a_policy_reference_is_part_of_the_signature() {
    if !have("a_policy_reference_is_part_of_the_signature", "swtpm") {
        return;
    }
    let (_swtpm, mut tpm) = booted();
    let pcr_11 = tpm.pcr_values(select(Bank::Sha256, &[11])).unwrap();
    let signed = SignedPcrs::new(key("rsa2048-e65537")).policy_ref(b"initrd");
    let policy = Policy::new().signed(signed);
    let sealed = tpm.seal(&secret(), &policy, &SealOptions::new()).unwrap();
    let with_ref = support::signer::sign_document_with_ref("rsa2048-e65537", &[&pcr_11], b"initrd");
    let evidence = Evidence::new().signatures(with_ref);
    assert_eq!(tpm.unseal(&sealed, &policy, &evidence).unwrap(), secret());
    let evidence = Evidence::new().signatures(sign_document("rsa2048-e65537", &[&pcr_11]));
    assert_eq!(
        refusal(tpm.unseal(&sealed, &policy, &evidence)),
        Refusal::BadSignature
    );
}

#[test]
fn what_is_sealed_offline_opens_on_the_machine_for_ecc_and_rsa_with_and_without_pin() {
    if !have("what_is_sealed_offline_opens_on_the_machine", "swtpm") {
        return;
    }
    for set in support::SETS {
        let swtpm = Swtpm::of_vectors(set);
        let mut tpm = swtpm.open();
        let srk = tpm.storage_root_key().unwrap();
        let key = PolicyKey::from_pem(&vector_text(set, "rsa2048-e65537.pub.pem")).unwrap();
        let document = SignatureDocument::parse(&vector(set, "tpm2-pcr-signature.json")).unwrap();
        let policy = Policy::new()
            .signed(SignedPcrs::new(key))
            .pcrs(support::registers(set, Bank::Sha256, &[0, 7]));
        let sealed = seal_offline(&srk, &secret(), &policy, &SealOptions::new()).unwrap();
        let evidence = Evidence::new().signatures(document);
        let token = SystemdToken::new(sealed, &policy).unwrap();
        let token = Token::parse(token.to_json().as_bytes()).unwrap();
        assert_eq!(tpm.unlock(&token, &evidence).unwrap(), secret());

        let policy = policy.pin();
        let sealed = seal_offline(
            &srk,
            &secret(),
            &policy,
            &SealOptions::new().pin(Pin::new("0000")),
        )
        .unwrap();
        let right = evidence.clone().pin(Pin::new("0000"));
        assert_eq!(tpm.unseal(&sealed, &policy, &right).unwrap(), secret());
        let wrong = evidence.pin(Pin::new("1111"));
        assert_eq!(
            refusal(tpm.unseal(&sealed, &policy, &wrong)).kind(),
            "wrong-pin"
        );
        drop(tpm);
        assert!(swtpm.open_handles().is_empty());
    }
}

#[test]
fn secrets_of_one_byte_and_of_128_bytes_are_sealed_and_no_others() {
    if !have("secrets_of_one_byte_and_of_128_bytes", "swtpm") {
        return;
    }
    let (_swtpm, mut tpm) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let evidence = Evidence::new().signatures(document);
    for len in [1, 128] {
        let secret = Secret::new(vec![0; len]);
        let sealed = tpm.seal(&secret, &policy, &SealOptions::new()).unwrap();
        assert_eq!(tpm.unseal(&sealed, &policy, &evidence).unwrap(), secret);
    }
    for len in [0, 129] {
        let error = tpm
            .seal(&Secret::new(vec![0; len]), &policy, &SealOptions::new())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("a secret of {len} bytes, expected 1 to 128")
        );
    }
}

#[test]
fn a_thousand_cycles_leave_nothing_open() {
    if !have("a_thousand_cycles_leave_nothing_open", "swtpm") {
        return;
    }
    let (swtpm, mut tpm) = booted();
    let (policy, document) = signed_policy(&mut tpm, "rsa2048-e65537");
    let evidence = Evidence::new().signatures(document);
    let srk = tpm.storage_root_key().unwrap();
    for round in 0..1000 {
        // Every way through the code has its turn; the cheap one comes most often.
        let (policy, options) = match round % 20 {
            0 => (policy.clone(), SealOptions::new().under_srk()),
            1 => (policy.clone(), SealOptions::new()),
            _ => (Policy::new(), SealOptions::new().allow_weak()),
        };
        let sealed = if round % 20 == 2 {
            seal_offline(&srk, &secret(), &policy, &options).unwrap()
        } else {
            tpm.seal(&secret(), &policy, &options).unwrap()
        };
        if round % 20 == 3 {
            // A way that ends in an error.
            let other = Policy::new().pin();
            assert!(tpm.unseal(&sealed, &other, &evidence).is_err());
        }
        assert_eq!(
            tpm.unseal(&sealed, &policy, &evidence).unwrap(),
            secret(),
            "round {round}"
        );
    }
    drop(tpm);
    assert!(swtpm.open_handles().is_empty());
}
