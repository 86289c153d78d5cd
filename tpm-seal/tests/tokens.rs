//! Tokens, signed policy documents and key files as texts: written again, damaged, hostile. No TPM.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use serde_json::{Value, json};
use support::signer::{document_text, key};
use support::{SETS, registers, vector, vector_json, vector_text};
use tpm_seal::{
    Bank, Error, Evidence, KeyFile, Name, Parent, PcrValues, Policy, PublicArea, Refusal,
    SealedObject, SignatureDocument, SignedPcrs, SystemdToken, TalosToken, Token,
};

fn systemd(set: &str, case: &str) -> Value {
    let all = vector_json(set, "systemd-cryptenroll-tokens.json");
    support::entry(&all, "case", case)["token"].clone()
}

fn talos() -> Value {
    vector_json("ecc-srk", "talos-tokens.json")[0]["userdata"].clone()
}

fn all_tokens() -> Vec<Value> {
    let mut tokens = Vec::new();
    for set in SETS {
        tokens.extend(
            vector_json(set, "systemd-cryptenroll-tokens.json")
                .as_array()
                .unwrap()
                .iter()
                .map(|case| case["token"].clone()),
        );
        tokens.extend(vector_json(set, "talos-tokens.json").as_array().unwrap().iter().map(|case| {
            json!({ "type": "talos-tpm2", "keyslots": [], "UserData": case["userdata"] })
        }));
    }
    tokens
}

fn parse(token: &Value) -> Result<Token, Error> {
    Token::parse(token.to_string().as_bytes())
}

#[test]
fn a_token_that_is_read_is_written_the_same_with_fields_that_nobody_knows() {
    for mut token in all_tokens() {
        token["of-tomorrow"] = json!({ "a": [1, null, "x"] });
        if token["UserData"].is_object() {
            token["UserData"]["of-tomorrow"] = json!(7);
        }
        let written: Value = serde_json::from_str(&parse(&token).unwrap().to_json()).unwrap();
        assert_eq!(written, token);
    }
}

#[test]
fn a_token_of_ours_has_the_fields_of_the_original() {
    let policy = Policy::new()
        .signed(SignedPcrs::new(key("rsa2048-e65537")))
        .pcrs(registers("ecc-srk", Bank::Sha256, &[7]));
    let original = systemd("ecc-srk", "pcr7-pubkey11");
    let sealed = parse(&original).unwrap().sealed().clone();
    let mut written: Value = serde_json::from_str(
        &SystemdToken::new(sealed, &policy)
            .unwrap()
            .slot(1)
            .to_json(),
    )
    .unwrap();
    written
        .as_object_mut()
        .unwrap()
        .remove("trustedboot_sealed_to")
        .unwrap();
    assert_eq!(written, original);

    let sealed = parse(&talos()).unwrap().sealed().clone();
    let token = TalosToken::new(sealed, &policy).unwrap().slot(1);
    let mut written: Value = serde_json::from_str(&token.user_data_json()).unwrap();
    written
        .as_object_mut()
        .unwrap()
        .remove("trustedboot_sealed_to")
        .unwrap();
    assert_eq!(written, talos());
    let whole: Value = serde_json::from_str(&token.to_json()).unwrap();
    assert_eq!(whole["type"], "talos-tpm2");
    assert_eq!(whole["keyslots"], json!([]));
}

#[test]
fn an_old_talos_token_says_pcr_11_and_means_pcr_7() {
    let mut old = talos();
    let fields = old.as_object_mut().unwrap();
    fields.remove("encryption_version");
    fields.remove("pubkey_pcrs");
    fields.insert("pcrs".to_owned(), json!([11]));
    let token = parse(&old).unwrap();
    let measured = registers("ecc-srk", Bank::Sha256, &[7, 11]);
    let evidence = Evidence::new().policy_key(key("rsa2048-e65537"));
    let policy = token
        .policy(std::slice::from_ref(&measured), &evidence)
        .unwrap();
    let document = SignatureDocument::parse(&vector("ecc-srk", "tpm2-pcr-signature.json")).unwrap();
    policy
        .check(&[measured], &evidence.signatures(document))
        .unwrap();
}

#[test]
fn a_key_written_with_exponent_0_by_old_systemd_is_found_again() {
    let mut token = systemd("ecc-srk", "pubkey11");
    let zero = Policy::new().signed(SignedPcrs::new(
        key("rsa2048-e65537").with_zero_exponent_field(),
    ));
    token["tpm2-policy-hash"] = support::to_hex(&zero.digest().unwrap()).into();
    let measured = registers("ecc-srk", Bank::Sha256, &[11]);
    assert_eq!(
        parse(&token)
            .unwrap()
            .policy(&[measured], &Evidence::new())
            .unwrap(),
        zero
    );
}

#[test]
fn names_the_field_that_is_missing_or_wrong() {
    let token = systemd("ecc-srk", "pcr7-pubkey11-pin");
    for field in ["tpm2-blob", "tpm2-policy-hash", "tpm2_pubkey"] {
        let mut missing = token.clone();
        missing.as_object_mut().unwrap().remove(field);
        let text = parse(&missing).unwrap_err().to_string();
        assert_eq!(text, format!("the systemd token has no field {field:?}"));
    }
    let mut user_data = talos();
    user_data.as_object_mut().unwrap().remove("key_name");
    user_data["keyslots"] = json!([1]);
    assert_eq!(
        parse(&user_data).unwrap_err().to_string(),
        "the Talos token has no field \"key_name\""
    );
    for (field, value, text) in [
        (
            "tpm2-blob",
            json!("%%%"),
            "field \"tpm2-blob\" of the systemd token is not Base64 text",
        ),
        (
            "tpm2-blob",
            json!(5),
            "field \"tpm2-blob\" of the systemd token is not a text",
        ),
        (
            "tpm2-blob",
            json!(["AAAA", "AAAA"]),
            "the token uses a secret in several shards, which is not supported",
        ),
        (
            "tpm2-pcrs",
            json!([24]),
            "field \"tpm2-pcrs\" of the systemd token is not a list of registers, 0 to 23",
        ),
        (
            "tpm2-pcrs",
            json!([1e99]),
            "field \"tpm2-pcrs\" of the systemd token is not a list of registers, 0 to 23",
        ),
        (
            "tpm2-policy-hash",
            json!("00"),
            "field \"tpm2-policy-hash\" of the systemd token is not 32 bytes in hex",
        ),
        (
            "tpm2_salt",
            json!("AAAA"),
            "field \"tpm2_salt\" of the systemd token is not 32 bytes in Base64",
        ),
        (
            "tpm2-pin",
            json!("yes"),
            "field \"tpm2-pin\" of the systemd token is not true or false",
        ),
        (
            "tpm2_pcrlock",
            json!(true),
            "the token uses a pcrlock policy in an NV index, which is not supported",
        ),
        (
            "keyslots",
            json!([1]),
            "field \"keyslots\" of the systemd token is not a list of numbers as texts",
        ),
        (
            "tpm2_pubkey_pcrs",
            json!([]),
            "field \"tpm2_pubkey_pcrs\" of the systemd token is not a list of at least one register",
        ),
        (
            "type",
            json!("clevis"),
            "neither a talos-tpm2 nor a systemd-tpm2 token nor a trustedboot-tpm2 document",
        ),
    ] {
        let mut wrong = token.clone();
        wrong[field] = value;
        assert_eq!(parse(&wrong).unwrap_err().to_string(), text);
    }
}

#[test]
fn a_storage_key_whose_name_is_not_its_own_is_damage() {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    let token = systemd("ecc-srk", "pcr7");
    let bytes = BASE64_STANDARD
        .decode(token["tpm2_srk"].as_str().unwrap())
        .unwrap();
    assert_eq!(bytes.len(), 136);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let mut token = token.clone();
        token["tpm2_srk"] = BASE64_STANDARD.encode(&damaged).into();
        // The handle is not part of the name; nothing else may change.
        assert_eq!(parse(&token).is_ok(), at < 4, "byte {at}");
        token["tpm2_srk"] = BASE64_STANDARD.encode(&bytes[..at]).into();
        assert!(parse(&token).is_err(), "{at} bytes");
    }
}

#[test]
fn every_part_cut_at_every_byte_is_an_error() {
    for token in all_tokens() {
        let text = token.to_string();
        for len in (0..text.len()).step_by(7) {
            assert!(Token::parse(&text.as_bytes()[..len]).is_err());
        }
        let blob = parse(&token).unwrap().sealed().object().to_blob();
        let again = SealedObject::parse_blob(&blob).unwrap();
        assert_eq!(again.to_blob(), blob);
        let private = again.private().len();
        let public = again.public().to_bytes();
        for len in 0..blob.len() {
            // An imported object is whole where its last part begins.
            let whole = len == private + public.len();
            assert_eq!(
                SealedObject::parse_blob(&blob[..len]).is_ok(),
                whole,
                "{len} bytes"
            );
        }
        for len in 0..public.len() {
            assert!(PublicArea::parse(&public[..len]).is_err());
        }
    }
    let error = PublicArea::parse(&[0, 4, 0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "TPM2B_PUBLIC ends at byte 2: 4 bytes expected, 1 available".replace("available", "there")
    );
    assert!(matches!(
        error,
        Error::Truncated {
            what: "TPM2B_PUBLIC",
            offset: 2,
            needed: 4,
            available: 1,
            ..
        }
    ));
    let error = PublicArea::parse(&[0, 2, 0, 9, 7]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 bytes left over after TPM2B_PUBLIC at byte 4"
    );
    let error = PublicArea::parse_area(&[0, 8, 0, 4, 0, 0]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unexpected {
                field: "nameAlg",
                value: 4,
                ..
            }
        ),
        "{error}"
    );
}

fn find(text: &str, measured: &PcrValues) -> Result<(), Refusal> {
    let document = SignatureDocument::parse(text.as_bytes()).unwrap();
    let policy = Policy::new().signed(SignedPcrs::new(key("rsa2048-e65537")));
    policy.check(
        std::slice::from_ref(measured),
        &Evidence::new().signatures(document),
    )
}

#[test]
fn finds_the_right_one_of_thousands_of_signed_policies() {
    let measured = registers("ecc-srk", Bank::Sha256, &[11]);
    let good: Value =
        serde_json::from_str(&document_text("rsa2048-e65537", &[&measured], b"")).unwrap();
    let mut entries: Vec<Value> = (0..20_000)
        .map(|number| json!({ "pcrs": [11], "pkfp": "00", "pol": format!("{number:064x}"), "sig": "%%%" }))
        .collect();
    // Those that lack a field, or hold nonsense, are passed over.
    entries.extend([
        json!(null),
        json!({}),
        json!({ "pcrs": [99], "pkfp": 1, "pol": "zz", "sig": [] }),
    ]);
    let mut damaged = good["sha256"][0].clone();
    damaged["sig"] = "AAAA".into();
    entries.push(damaged.clone());
    let mut other_key = good["sha256"][0].clone();
    other_key["pkfp"] = "ff".repeat(32).into();
    entries.push(other_key.clone());
    let without = json!({ "sha256": entries, "sm3": 5 }).to_string();
    assert_eq!(find(&without, &measured), Err(Refusal::BadSignature));
    entries.push(good["sha256"][0].clone());
    assert_eq!(
        find(&json!({ "sha256": entries }).to_string(), &measured),
        Ok(())
    );

    let why = find(&json!({ "sha256": [other_key] }).to_string(), &measured).unwrap_err();
    assert_eq!(why.kind(), "other-key");
    let why = find(&json!({ "sha384": good["sha256"] }).to_string(), &measured).unwrap_err();
    assert!(matches!(
        why,
        Refusal::NoSignatureForBank {
            bank: Bank::Sha256,
            ..
        }
    ));
    let zero = PcrValues::new(Bank::Sha256).with(11, &[9; 32]).unwrap();
    let why = find(&good.to_string(), &zero).unwrap_err();
    assert!(
        matches!(why, Refusal::NoSignature { entries: 1, .. }),
        "{why}"
    );
    assert!(SignatureDocument::parse(b"[]").is_err());
    assert!(SignatureDocument::parse(b"{\"sha256\": {}}").is_err());
    assert!(SignatureDocument::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn reads_the_document_from_a_padded_section_and_from_an_efi_variable() {
    let text = vector("ecc-srk", "tpm2-pcr-signature.json");
    let plain = SignatureDocument::parse(&text).unwrap();
    assert_eq!(plain.len(Bank::Sha256), 2);
    assert_eq!(
        SignatureDocument::parse(&[&text[..], &[0; 512]].concat()).unwrap(),
        plain
    );
    let variable = [&[6, 0, 0, 0][..], &text].concat();
    assert_eq!(
        SignatureDocument::parse_efi_variable(&variable).unwrap(),
        plain
    );
    let wide: Vec<u8> = String::from_utf8(text)
        .unwrap()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(
        SignatureDocument::parse_efi_variable(&[&[6, 0, 0, 0][..], &wide].concat()).unwrap(),
        plain
    );
    assert!(SignatureDocument::parse_efi_variable(&[6, 0]).is_err());
}

#[test]
fn reads_and_writes_key_files() {
    for (file, steps) in [("tss2-sealed-noauth.pem", 0), ("tss2-sealed-pcr7.pem", 1)] {
        let pem = vector_text("ecc-srk", file);
        let key_file = KeyFile::from_pem(&pem).unwrap();
        assert_eq!(key_file.parent_handle(), 0x8100_0001);
        assert_eq!(key_file.policy().steps().len(), steps);
        let state = vector_json("ecc-srk", "tpm-state.json");
        let srk =
            PublicArea::parse(&support::hex(state["srk_tpm2b_public"].as_str().unwrap())).unwrap();
        let sealed = key_file.sealed(Some(srk)).unwrap();
        let again = KeyFile::new(&sealed, key_file.policy())
            .unwrap()
            .to_pem()
            .unwrap();
        assert_eq!(
            KeyFile::from_pem(&again).unwrap().object(),
            key_file.object()
        );
        let der = der::pem::decode_vec(pem.as_bytes()).unwrap().1;
        for len in 0..der.len() {
            assert!(KeyFile::from_der(&der[..len]).is_err(), "{len} bytes");
        }
    }
    assert!(KeyFile::from_pem(&vector_text("ecc-srk", "rsa2048-e65537.pub.pem")).is_err());
}

#[test]
fn a_parent_handle_that_became_negative_is_taken_too() {
    let pem = vector_text("ecc-srk", "tss2-sealed-noauth.pem");
    let der = der::pem::decode_vec(pem.as_bytes()).unwrap().1;
    // INTEGER of five bytes with a leading zero, and what forgetful writers make of it.
    let proper = [0x02, 0x05, 0x00, 0x81, 0x00, 0x00, 0x01];
    let at = der.windows(7).position(|window| window == proper).unwrap();
    let mut negative = [
        &der[..at],
        &[0x02, 0x04, 0x81, 0x00, 0x00, 0x01],
        &der[at + 7..],
    ]
    .concat();
    // The outer length is one less: 30 81 LEN or 30 82 LEN LEN.
    let last = if negative[1] == 0x81 { 2 } else { 3 };
    negative[last] -= 1;
    assert_eq!(
        KeyFile::from_der(&negative).unwrap().parent_handle(),
        0x8100_0001
    );
}

#[test]
fn no_debug_output_shows_a_pin_or_a_secret() {
    let evidence = Evidence::new().pin(tpm_seal::Pin::new("hunter2"));
    let options = tpm_seal::SealOptions::new().pin(tpm_seal::Pin::new("hunter2"));
    let secret = tpm_seal::Secret::new(b"hunter2".to_vec());
    for text in [
        format!("{evidence:?}"),
        format!("{options:?}"),
        format!("{secret:?}"),
    ] {
        assert!(!text.contains("hunter2") && !text.contains("104"), "{text}");
    }
}

#[test]
fn a_policy_that_no_session_could_fulfil_is_an_error() {
    let pcr_7 = registers("ecc-srk", Bank::Sha256, &[7]);
    let late = Policy::new()
        .pcrs(pcr_7.clone())
        .signed(SignedPcrs::new(key("rsa2048-e65537")));
    assert!(matches!(late.digest(), Err(Error::SignedNotFirst)));
    assert!(matches!(
        Policy::new().pcrs(PcrValues::new(Bank::Sha256)).digest(),
        Err(Error::NoPcrs)
    ));
    for count in [0, 9] {
        let error = Policy::new()
            .any(vec![Policy::new().pin(); count])
            .digest()
            .unwrap_err();
        assert!(matches!(error, Error::Branches { count: found, .. } if found == count));
    }
    let deep = (0..40).fold(Policy::new().pin(), |inner, _| {
        Policy::new().any([inner, Policy::new().pin()])
    });
    assert!(matches!(deep.digest(), Err(Error::TooDeep { .. })));
    assert!(matches!(
        Policy::parse(deep.to_json().as_bytes()),
        Err(Error::TooDeep { .. })
    ));
    let text = "[".repeat(100_000);
    assert!(matches!(
        Policy::parse(text.as_bytes()),
        Err(Error::Json { .. })
    ));
    assert!(PcrValues::new(Bank::Sha256).with(24, &[0; 32]).is_err());
    let error = PcrValues::new(Bank::Sha384).with(7, &[0; 32]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "value of PCR 7 has 32 bytes, expected 48 in bank sha384"
    );
}

#[test]
fn texts_that_name_no_usable_tpm_are_refused_with_the_reason() {
    for text in [
        "swtpm:path=/run/x",
        "mssim:path=/run/x",
        "swtpm:port=0",
        "swtpm:port=70000",
        "swtpm:host",
        "libtpms:x",
        "",
    ] {
        let error = text.parse::<tpm_seal::Tcti>().unwrap_err();
        assert!(matches!(error, Error::Tcti { .. }), "{text}");
    }
    let error = "swtpm:path=/run/x"
        .parse::<tpm_seal::Tcti>()
        .unwrap_err()
        .to_string();
    assert!(error.contains("127.0.0.1:2321"), "{error}");
    for text in [
        "device:/dev/tpm0",
        "tabrmd",
        "tabrmd:bus_name=x",
        "swtpm",
        "swtpm:host=localhost,port=2321",
    ] {
        assert_eq!(text.parse::<tpm_seal::Tcti>().unwrap().as_str(), text);
    }
    assert_eq!(
        "device".parse::<tpm_seal::Tcti>().unwrap().as_str(),
        "device:/dev/tpmrm0"
    );
}

#[test]
fn a_token_without_its_storage_key_falls_back_to_the_legacy_primary() {
    let mut token = systemd("ecc-srk", "pcr7");
    token.as_object_mut().unwrap().remove("tpm2_srk");
    let parent = parse(&token).unwrap().sealed().parent().clone();
    assert!(matches!(
        parent,
        Parent::Primary {
            template: tpm_seal::Template::LegacyEcc,
            name: None,
            ..
        }
    ));
    token["tpm2-primary-alg"] = "rsa".into();
    let parent = parse(&token).unwrap().sealed().parent().clone();
    assert!(matches!(
        parent,
        Parent::Primary {
            template: tpm_seal::Template::LegacyRsa,
            ..
        }
    ));
    assert!("000c".parse::<Name>().is_err());
}
