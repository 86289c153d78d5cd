//! The reasons why a secret stays sealed, in words; and that none but a wrong PIN counts as one.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use serde_json::{Value, json};
use support::signer::{document_text, key, sign_document};
use support::swtpm::Swtpm;
use support::{entry, have, registers, vector_json};
use tpm_seal::{
    Bank, Error, Evidence, PcrSelection, PcrValues, Pin, Policy, SealOptions, Secret,
    SignatureDocument, SignedPcrs, SystemdToken, TalosToken, Tcti, Token, Tpm,
};

const KEY: &str = "rsa2048-e65537";

/// A token that needs everything there is: a signed policy, PCR 7 and a PIN.
fn full_token() -> Value {
    let all = vector_json("ecc-srk", "systemd-cryptenroll-tokens.json");
    entry(&all, "case", "pcr7-pubkey11-pin")["token"].clone()
}

fn parse(token: &Value) -> Token {
    Token::parse(token.to_string().as_bytes()).unwrap()
}

fn evidence() -> Evidence {
    let now = registers("ecc-srk", Bank::Sha256, &[11]);
    Evidence::new()
        .signatures(sign_document(KEY, &[&now]))
        .pin(Pin::new("wrong on purpose"))
}

fn words(result: Result<Secret, Error>) -> String {
    match result {
        Err(Error::Refused(reason)) => format!("{}: {reason}", reason.kind()),
        other => panic!("{other:?}"),
    }
}

/// Asserts that `why` says `text` and that the counter of wrong PINs is as it was.
fn assert_says(tpm: &mut Tpm, why: Result<Secret, Error>, text: &str) {
    assert_eq!(words(why), text);
    assert_eq!(tpm.lockout().unwrap().failures, 0, "{text}");
}

#[test]
fn every_failure_but_a_wrong_pin_leaves_the_counter_alone() {
    if !have(
        "every_failure_but_a_wrong_pin_leaves_the_counter_alone",
        "swtpm",
    ) {
        return;
    }
    let swtpm = Swtpm::of_vectors("ecc-srk");
    let mut tpm = swtpm.open();
    let token = parse(&full_token());
    let now = registers("ecc-srk", Bank::Sha256, &[11]);
    let other = PcrValues::new(Bank::Sha256).with(11, &[9; 32]).unwrap();

    let no_document = Evidence::new().pin(Pin::new("0"));
    let why = tpm.unlock(&token, &no_document);
    assert_says(
        &mut tpm,
        why,
        "no-signature: no signed PCR policy given; a signed policy for sha256 is needed",
    );
    let sha384 = registers("ecc-srk", Bank::Sha384, &[11]);
    let why = tpm.unlock(
        &token,
        &no_document
            .clone()
            .signatures(sign_document(KEY, &[&sha384])),
    );
    assert_says(
        &mut tpm,
        why,
        "no-signature: the signed PCR policies are not for bank sha256",
    );
    let why = tpm.unlock(
        &token,
        &no_document
            .clone()
            .signatures(sign_document(KEY, &[&other])),
    );
    assert_says(
        &mut tpm,
        why,
        "no-signature: none of 1 signed PCR policies is for this software in this boot phase: PCR 11 (sha256) is \
         098b463f686a60f4c003aa287cdc4de14a95f6dca0b753ec75a48048d4d2209a",
    );
    let why = tpm.unlock(
        &token,
        &no_document
            .clone()
            .signatures(sign_document("rotation-new", &[&now])),
    );
    let expected = format!(
        "other-key: the state is signed by key {}, sealed to key {}",
        key("rotation-new").fingerprint(),
        key(KEY).fingerprint()
    );
    assert_says(&mut tpm, why, &expected);
    let mut damaged: Value = serde_json::from_str(&document_text(KEY, &[&now], b"")).unwrap();
    damaged["sha256"][0]["sig"] = json!("AAAA");
    let damaged = SignatureDocument::parse(damaged.to_string().as_bytes()).unwrap();
    let why = tpm.unlock(&token, &no_document.signatures(damaged));
    assert_says(
        &mut tpm,
        why,
        "bad-signature: the signature of the PCR policy is damaged",
    );
    let without_pin = Evidence::new().signatures(sign_document(KEY, &[&now]));
    let why = tpm.unlock(&token, &without_pin);
    assert_says(&mut tpm, why, "pin-needed: a PIN is needed");

    // Each field that a parser cannot know to be damaged.
    let mut wrong = full_token();
    wrong["tpm2-policy-hash"] = json!("11".repeat(32));
    let why = tpm.unlock(&parse(&wrong), &evidence());
    let measured = registers("ecc-srk", Bank::Sha256, &[7]);
    let text = format!(
        "register: the registers differ from those sealed to, or the key of the signed policy is another: {measured}"
    );
    assert_says(&mut tpm, why, &text);
    let mut wrong = full_token();
    wrong["tpm2-pcrs"] = json!([0, 7]);
    let why = tpm.unlock(&parse(&wrong), &evidence());
    assert!(words(why).starts_with("register: "));
    for at in [40_usize, 100, 150] {
        let mut wrong = full_token();
        let text = wrong["tpm2-blob"].as_str().unwrap().to_owned();
        let mut bytes = text.into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        wrong["tpm2-blob"] = String::from_utf8(bytes).unwrap().into();
        let why = tpm.unlock(&parse(&wrong), &evidence());
        assert_says(
            &mut tpm,
            why,
            "damaged: the token is damaged: the TPM does not take the sealed object, although its storage key is the \
             right one",
        );
    }
    drop(tpm);

    // Another TPM, with a storage root key of its own.
    let other_tpm = Swtpm::of_vectors("rsa-srk");
    let mut tpm = other_tpm.open();
    let state = vector_json("rsa-srk", "tpm-state.json");
    let measured = registers("rsa-srk", Bank::Sha256, &[7, 11]);
    let policy = Policy::new()
        .signed(SignedPcrs::new(key(KEY)))
        .pcrs(registers("rsa-srk", Bank::Sha256, &[7]));
    let signatures = sign_document(KEY, &[&registers("rsa-srk", Bank::Sha256, &[11])]);
    let sealed = token.sealed().clone();
    let expected = sealed.parent().name().unwrap();
    let evidence = Evidence::new().signatures(signatures).pin(Pin::new("0"));
    let with_pin = policy.clone().pin();
    assert!(with_pin.check(&[measured], &evidence).is_ok());
    let object = tpm_seal::SealedObject::parse_blob(&sealed_with_policy(
        &sealed.object().to_blob(),
        &with_pin.digest().unwrap(),
    ))
    .unwrap();
    let moved = tpm_seal::SealedKey::new(object, sealed.parent().clone());
    let why = tpm.unseal(&moved, &with_pin, &evidence);
    let text = format!(
        "other-tpm: sealed to another TPM, or the TPM was cleared: its storage key is {}, expected {expected}",
        state["srk_name"].as_str().unwrap()
    );
    assert_says(&mut tpm, why, &text);
}

/// The blob with another policy digest in its public area: what a check before the TPM would let through.
fn sealed_with_policy(blob: &[u8], digest: &[u8; 32]) -> Vec<u8> {
    let mut blob = blob.to_vec();
    // TPM2B_PRIVATE of 160 bytes, then size, type, nameAlg, attributes and the size of the policy.
    blob[160 + 12..160 + 44].copy_from_slice(digest);
    blob
}

#[test]
fn a_register_is_named_with_what_it_is_and_what_it_was() {
    if !have("a_register_is_named", "swtpm") {
        return;
    }
    let swtpm = Swtpm::of_vectors("ecc-srk");
    let mut tpm = swtpm.open();
    let pcrs = PcrSelection::new(Bank::Sha256, &[4, 7]).unwrap();
    let before = tpm.pcr_values(pcrs).unwrap();
    let policy = Policy::new()
        .signed(SignedPcrs::new(key(KEY)))
        .pcrs(before.clone());
    let secret = Secret::generate().unwrap();
    let talos = tpm.seal(&secret, &policy, &SealOptions::new()).unwrap();
    let systemd = tpm
        .seal(&secret, &policy, &SealOptions::new().under_srk())
        .unwrap();
    let tokens = [
        Token::from(TalosToken::new(talos, &policy).unwrap()),
        Token::from(SystemdToken::new(systemd, &policy).unwrap()),
    ];
    drop(tpm);
    swtpm.extend(7, "a new dbx");
    let mut tpm = swtpm.open();
    let after = tpm.pcr_values(pcrs).unwrap();
    let hex = |values: &PcrValues| support::to_hex(values.get(7).unwrap());
    let text = format!(
        "register: PCR 7 (sha256) is {}, sealed to {}",
        hex(&after),
        hex(&before)
    );
    for token in tokens {
        let token = Token::parse(token.slot(1).to_json().as_bytes()).unwrap();
        let why = tpm.unlock(&token, &evidence().policy_key(key(KEY)));
        assert_says(&mut tpm, why, &text);
    }
}

#[test]
fn a_storage_key_with_aes_256_is_a_storage_key_too() {
    let name = "a_storage_key_with_aes_256_is_a_storage_key_too";
    if !have(name, "swtpm") || !have(name, "tpm2_createprimary") {
        return;
    }
    for algorithm in ["ecc256:aes256cfb", "rsa2048:aes256cfb"] {
        let swtpm = Swtpm::new();
        swtpm.extend(4, "something");
        let create = ["-Q", "-C", "o", "-G", algorithm, "-c", "srk.ctx"];
        swtpm.tool("tpm2_createprimary", &create);
        let persist = ["-Q", "-C", "o", "-c", "srk.ctx", "0x81000001"];
        swtpm.tool("tpm2_evictcontrol", &persist);
        swtpm.flush_all();
        let mut tpm = swtpm.open();
        let pcr_4 = PcrSelection::new(Bank::Sha256, &[4]).unwrap();
        let policy = Policy::new().pcrs(tpm.pcr_values(pcr_4).unwrap());
        let secret = Secret::generate().unwrap();
        let options = SealOptions::new().under_srk();
        let here = tpm.seal(&secret, &policy, &options).unwrap();
        let srk = tpm.storage_root_key().unwrap();
        let elsewhere = tpm_seal::seal_offline(&srk, &secret, &policy, &options).unwrap();
        for sealed in [here, elsewhere] {
            let opened = tpm.unseal(&sealed, &policy, &Evidence::new()).unwrap();
            assert_eq!(opened, secret, "{algorithm}");
        }
    }
}

#[test]
fn a_hostile_document_costs_neither_time_nor_a_wrong_yes() {
    let now = registers("ecc-srk", Bank::Sha256, &[11]);
    let good: Value = serde_json::from_str(&document_text(KEY, &[&now], b"")).unwrap();
    let policy = Policy::new().signed(SignedPcrs::new(key(KEY)));
    let check = |entries: Vec<Value>| {
        let text = json!({ "sha256": entries }).to_string();
        let document = SignatureDocument::parse(text.as_bytes()).unwrap();
        let evidence = Evidence::new().signatures(document);
        policy.check(core::slice::from_ref(&now), &evidence)
    };
    // 100,000 signatures of the right length, by the right key for the right state, all wrong.
    let mut forged = good["sha256"][0].clone();
    let signature = forged["sig"]
        .as_str()
        .unwrap()
        .replacen(['A', 'b', 'c'], "Q", 3);
    forged["sig"] = signature.into();
    let before = std::time::Instant::now();
    let why = check(vec![forged; 100_000]).unwrap_err();
    assert_eq!(
        why.to_string(),
        "the signature of the PCR policy is damaged"
    );
    assert!(before.elapsed().as_secs() < 60, "{:?}", before.elapsed());

    let entry = |field: &str, value: Value| {
        let mut entry = good["sha256"][0].clone();
        entry[field] = value;
        entry
    };
    // Numbers beyond everything, and texts that are none of what they should be: passed over.
    for (field, value) in [
        ("pcrs", json!([u64::MAX])),
        ("pcrs", json!([1e300])),
        ("pcrs", json!([-1])),
        ("pcrs", json!([24])),
        ("pcrs", json!("11")),
        ("pcrs", json!([])),
        ("pol", json!("44".repeat(31))),
        ("pol", json!("44".repeat(100_000))),
        ("pol", json!(44)),
        ("pkfp", json!(null)),
        ("sig", json!(["a"])),
        ("ref", json!("another")),
        ("ref", json!(7)),
    ] {
        let why = check(vec![entry(field, value.clone())]).unwrap_err();
        assert_eq!(why.kind(), "no-signature", "{field} {value}");
        let both = vec![entry(field, value), good["sha256"][0].clone()];
        assert_eq!(check(both), Ok(()), "{field}");
    }
    for text in ["%%%", "QUJ", "Q U J D", "", "====", "\u{1f512}"] {
        let why = check(vec![entry("sig", json!(text))]).unwrap_err();
        assert_eq!(why.kind(), "bad-signature", "{text}");
    }
    let huge = format!(r#"{{"sha256": [{{"pcrs": [{}]}}]}}"#, "9".repeat(400));
    let parsed = SignatureDocument::parse(huge.as_bytes());
    assert!(parsed.is_err() || parsed.is_ok_and(|document| document.is_empty()));
}

#[test]
fn a_reference_is_named_by_a_text_and_signed_as_its_hash() {
    let now = registers("ecc-srk", Bank::Sha256, &[11]);
    let signed = SignedPcrs::new(key(KEY)).policy_ref_text("initrd");
    let by_bytes = SignedPcrs::new(key(KEY)).policy_ref(&sha2_of("initrd"));
    assert_eq!(signed, by_bytes);
    let policy = Policy::new().signed(signed);
    let text = document_text(KEY, &[&now], &sha2_of("initrd"));
    for name in [None, Some("initrd")] {
        let mut document: Value = serde_json::from_str(&text).unwrap();
        if let Some(name) = name {
            document["sha256"][0]["ref"] = name.into();
        }
        let document = SignatureDocument::parse(document.to_string().as_bytes()).unwrap();
        let evidence = Evidence::new().signatures(document);
        assert_eq!(policy.check(core::slice::from_ref(&now), &evidence), Ok(()));
    }
}

fn sha2_of(text: &str) -> Vec<u8> {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).to_vec()
}

#[test]
fn a_password_of_the_owner_is_named_and_a_kept_storage_key_needs_none() {
    let name = "a_password_of_the_owner_is_named";
    if !have(name, "swtpm") || !have(name, "tpm2_changeauth") {
        return;
    }
    let swtpm = Swtpm::new();
    swtpm.extend(4, "something");
    let mut tpm = swtpm.open();
    let pcr_4 = PcrSelection::new(Bank::Sha256, &[4]).unwrap();
    let policy = Policy::new().pcrs(tpm.pcr_values(pcr_4).unwrap());
    let secret = Secret::generate().unwrap();
    let made = tpm.seal(&secret, &policy, &SealOptions::new()).unwrap();
    let options = SealOptions::new().under_srk();
    let kept = tpm.seal(&secret, &policy, &options).unwrap();
    drop(tpm);
    swtpm.tool("tpm2_changeauth", &["-c", "owner", "secret"]);
    swtpm.flush_all();
    let text = "owner-password: the TPM's owner hierarchy has a password, so the storage key cannot be made";
    let mut tpm = swtpm.open();
    let opened = tpm.unseal(&kept, &policy, &Evidence::new()).unwrap();
    assert_eq!(opened, secret);
    let why = tpm.unseal(&made, &policy, &Evidence::new());
    assert_says(&mut tpm, why, text);
    drop(tpm);
    let evict = ["-Q", "-C", "o", "-P", "secret", "-c", "0x81000001"];
    swtpm.tool("tpm2_evictcontrol", &evict);
    swtpm.flush_all();
    let mut tpm = swtpm.open();
    let why = tpm.unseal(&kept, &policy, &Evidence::new());
    assert_says(&mut tpm, why, text);
}

#[test]
fn never_talks_to_a_file_as_if_it_were_a_tpm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "precious").unwrap();
    for path in [path.as_path(), folder.path()] {
        let text = format!("device:{}", path.display());
        let error = Tpm::open(&text.parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("TCTI {text:?} cannot be used: it is a file, not a device")
        );
    }
    assert_eq!(std::fs::read(path).unwrap(), b"precious");
}

#[test]
fn says_what_is_missing_when_no_tpm_answers() {
    let message = |text: &str| {
        let tcti: Tcti = text.parse().unwrap();
        Tpm::open(&tcti).unwrap_err().to_string()
    };
    for (tcti, part) in [
        ("device:/dev/no-such-tpm", "/dev/no-such-tpm"),
        ("swtpm:host=127.0.0.1,port=1", "port=1"),
        ("mssim:host=127.0.0.1,port=1", "port=1"),
        ("tabrmd:bus_name=no.such.name", "tabrmd"),
    ] {
        let text = message(tcti);
        eprintln!("{text}");
        assert!(text.starts_with("cannot reach the TPM through "), "{text}");
        assert!(text.contains(part), "{text}");
    }
}
