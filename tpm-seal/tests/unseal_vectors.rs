//! Tokens that Talos and systemd made, unsealed in the recorded state of their TPM.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use serde_json::Value;
use support::swtpm::Swtpm;
use support::{SETS, have, hex, to_hex, vector, vector_json, vector_text};
use tpm_seal::{Error, Evidence, Pin, PolicyKey, Refusal, SignatureDocument, Token};

fn evidence(set: &str) -> Evidence {
    let key = PolicyKey::from_pem(&vector_text(set, "rsa2048-e65537.pub.pem")).unwrap();
    let document = SignatureDocument::parse(&vector(set, "tpm2-pcr-signature.json")).unwrap();
    Evidence::new().policy_key(key).signatures(document)
}

#[test]
fn unseals_every_token_of_talos() {
    if !have("unseals_every_token_of_talos", "swtpm") {
        return;
    }
    for set in SETS {
        let swtpm = Swtpm::of_vectors(set);
        let mut tpm = swtpm.open();
        for case in vector_json(set, "talos-tokens.json").as_array().unwrap() {
            let token = Token::parse(case["userdata"].to_string().as_bytes()).unwrap();
            let result = tpm.unlock(&token, &evidence(set));
            if case["policy_matches_sorted_formula"] == false {
                // Sealed by Talos to registers in list order, which no TPM can fulfil.
                assert!(
                    matches!(result, Err(Error::Refused(Refusal::OutOfOrder))),
                    "{result:?}"
                );
                continue;
            }
            let secret = result.unwrap();
            assert_eq!(to_hex(secret.as_bytes()), case["secret"].as_str().unwrap());
            assert_eq!(
                *secret.to_passphrase(),
                case["luks_passphrase"].as_str().unwrap()
            );
        }
        drop(tpm);
        assert_eq!(swtpm.open_handles(), Vec::<u32>::new());
    }
}

#[test]
fn unseals_every_token_of_systemd() {
    if !have("unseals_every_token_of_systemd", "swtpm") {
        return;
    }
    for set in SETS {
        let swtpm = Swtpm::of_vectors(set);
        let mut tpm = swtpm.open();
        for case in vector_json(set, "systemd-cryptenroll-tokens.json")
            .as_array()
            .unwrap()
        {
            let name = case["case"].as_str().unwrap();
            let token = Token::parse(case["token"].to_string().as_bytes()).unwrap();
            let mut evidence = evidence(set);
            if let Value::String(pin) = &case["pin"] {
                assert!(token.needs_pin());
                evidence = evidence.pin(Pin::new(pin.as_str()));
            }
            let secret = tpm
                .unlock(&token, &evidence)
                .unwrap_or_else(|error| panic!("{set} {name}: {error}"));
            assert_eq!(
                to_hex(secret.as_bytes()),
                case["unsealed_secret"].as_str().unwrap(),
                "{set} {name}"
            );
            assert_eq!(
                *secret.to_passphrase(),
                case["luks_passphrase"].as_str().unwrap(),
                "{set} {name}"
            );
        }
        drop(tpm);
        assert_eq!(swtpm.open_handles(), Vec::<u32>::new());
    }
}

#[test]
fn takes_the_fields_of_an_offline_object_as_they_are_recorded() {
    if !have(
        "takes_the_fields_of_an_offline_object_as_they_are_recorded",
        "swtpm",
    ) {
        return;
    }
    for set in SETS {
        let swtpm = Swtpm::of_vectors(set);
        let mut tpm = swtpm.open();
        let srk = tpm.storage_root_key().unwrap();
        let state = vector_json(set, "tpm-state.json");
        assert_eq!(
            to_hex(srk.as_bytes()),
            state["srk_tpm2b_public"].as_str().unwrap()[4..]
        );
        assert_eq!(srk.name().to_string(), state["srk_name"].as_str().unwrap());
        for case in vector_json(set, "offline-seal.json").as_array().unwrap() {
            let field = |name: &str| hex(case[name].as_str().unwrap());
            if !field("auth_value").is_empty() {
                continue; // the authorization value of these has no PIN behind it
            }
            let tpm2b = |bytes: &[u8]| {
                [
                    &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
                    bytes,
                ]
                .concat()
            };
            let blob = [
                tpm2b(&field("private")),
                tpm2b(&field("public")),
                tpm2b(&field("encrypted_secret")),
            ]
            .concat();
            let object = tpm_seal::SealedObject::parse_blob(&blob).unwrap();
            assert_eq!(
                object.public().name().to_string(),
                case["name"].as_str().unwrap()
            );
            let parent = tpm_seal::Parent::Persistent {
                handle: 0x8100_0001,
                public: srk.clone(),
            };
            let policy =
                tpm_seal::Policy::new().pcrs(support::registers(set, tpm_seal::Bank::Sha256, &[7]));
            let sealed = tpm_seal::SealedKey::new(object, parent);
            let secret = tpm.unseal(&sealed, &policy, &Evidence::new()).unwrap();
            assert_eq!(to_hex(secret.as_bytes()), case["secret"].as_str().unwrap());
        }
    }
}
