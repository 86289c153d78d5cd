//! Policy digests, names and offline objects against the vectors; no TPM.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use serde_json::Value;
use support::{SETS, entry, hex, registers, to_hex, vector_json, vector_text};
use tpm_seal::{Bank, Name, PcrSelection, PcrValues, Policy, PolicyKey, SignedPcrs, Step};

fn key(set: &str, file: &str) -> PolicyKey {
    PolicyKey::from_pem(&vector_text(set, file)).unwrap()
}

fn digest(policy: &Policy) -> String {
    to_hex(&policy.digest().unwrap())
}

/// The registers of a `policy-digests.json` entry, given in the reverse of their order.
fn pcrs_of(case: &Value) -> PcrValues {
    let bank: Bank = case["bank"].as_str().unwrap().parse().unwrap();
    let values = case["pcr_values"].as_object().unwrap();
    values
        .iter()
        .rev()
        .fold(PcrValues::new(bank), |all, (pcr, value)| {
            all.with(pcr.parse().unwrap(), &hex(value.as_str().unwrap()))
                .unwrap()
        })
}

#[test]
fn computes_the_digest_of_literal_registers() {
    let mut seen = 0;
    for set in SETS {
        for case in vector_json(set, "policy-digests.json").as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if name.starts_with("pcr-") {
                assert_eq!(
                    digest(&Policy::new().pcrs(pcrs_of(case))),
                    case["digest"].as_str().unwrap(),
                    "{set} {name}"
                );
                let selection = pcrs_of(case).selection();
                let pcr_digest = hex(case["pcr_digest"].as_str().unwrap())
                    .try_into()
                    .unwrap();
                let by_digest = Policy::new().step(Step::PcrDigest(selection, pcr_digest));
                assert_eq!(digest(&by_digest), case["digest"].as_str().unwrap());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 11);
}

#[test]
fn computes_the_digest_of_every_other_policy() {
    for set in SETS {
        let cases = vector_json(set, "policy-digests.json");
        let expected = |name| entry(&cases, "name", name)["digest"].as_str().unwrap();
        let signed = SignedPcrs::new(key(set, "rsa2048-e65537.pub.pem"));
        let pcr_7 = registers(set, Bank::Sha256, &[7]);
        let authorize = Policy::new().signed(signed.clone());
        assert_eq!(digest(&authorize), expected("authorize"));
        assert_eq!(
            digest(&authorize.clone().pcrs(pcr_7.clone())),
            expected("authorize+pcr7")
        );
        assert_eq!(
            digest(&authorize.pcrs(pcr_7.clone()).pin()),
            expected("authorize+pcr7+authvalue")
        );
        assert_eq!(digest(&Policy::new().pin()), expected("authvalue"));
        assert_eq!(digest(&Policy::new().pin()), expected("password"));
        let either = [Policy::new().pcrs(pcr_7.clone()), Policy::new().pin()];
        assert_eq!(digest(&Policy::new().any(either)), expected("or"));
        let name = entry(&cases, "name", "authorizenv")["nv_name"]
            .as_str()
            .unwrap();
        let by_nv = Policy::new().step(Step::AuthorizeNv(name.parse::<Name>().unwrap()));
        assert_eq!(digest(&by_nv), expected("authorizenv"));
        let new = SignedPcrs::new(key(set, "rotation-new.pub.pem"));
        let rotation = Policy::new()
            .signed_by_any([signed.clone(), new.clone()])
            .pcrs(pcr_7.clone());
        assert_eq!(digest(&rotation), expected("rotation"));
        let other_order = Policy::new().signed_by_any([new, signed]).pcrs(pcr_7);
        assert_ne!(digest(&other_order), expected("rotation"));
    }
}

#[test]
fn reproduces_the_digest_of_talos_own_test() {
    // Talos's unit test: PCR values 01 03 05, and a selection whose bitmap bytes are 10, 11 and 12.
    use sha2::Digest as _;
    let values: [u8; 32] = sha2::Sha256::digest([0x01, 0x03, 0x05]).into();
    let selection = PcrSelection::new(Bank::Sha256, &[19, 18, 11, 9, 8, 3, 1]).unwrap();
    let policy = Policy::new().step(Step::PcrDigest(selection, values));
    assert_eq!(
        digest(&policy),
        "84d65147b05394d0fac45e3600203e3a110127fbe26fc1e30303102133f915e3"
    );
}

#[test]
fn names_and_fingerprints_are_those_of_the_vectors() {
    let mut seen = 0;
    for set in SETS {
        for case in vector_json(set, "key-names.json").as_array().unwrap() {
            let key = key(set, case["key"].as_str().unwrap());
            assert_eq!(
                to_hex(&key.public_area()),
                case["tpmt_public"].as_str().unwrap()
            );
            assert_eq!(key.name().to_string(), case["name"].as_str().unwrap());
            if let Some(fingerprint) = case["pkfp"].as_str() {
                assert_eq!(key.fingerprint(), fingerprint);
            }
            if let Some(name) = case["name_if_exponent_field_zero"].as_str() {
                assert_eq!(
                    key.clone().with_zero_exponent_field().name().to_string(),
                    name
                );
            }
            let policy = Policy::new().signed(SignedPcrs::new(key.clone()));
            assert_eq!(
                digest(&policy),
                case["policy_authorize_empty_ref"].as_str().unwrap()
            );
            assert_eq!(
                key.to_pem(),
                vector_text(set, case["key"].as_str().unwrap())
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
}

#[test]
fn a_policy_document_gives_the_same_policy_again() {
    let set = "ecc-srk";
    let signed = SignedPcrs::new(key(set, "rsa2048-e65537.pub.pem")).policy_ref(b"main");
    let old = SignedPcrs::new(key(set, "rotation-new.pub.pem").with_zero_exponent_field());
    let name: Name = "000b507e33e1010f5b6b7ee03baa09f4d15bb87445effec0e9386ac710314a6f2958"
        .parse()
        .unwrap();
    let policy = Policy::new()
        .signed_by_any([signed, old])
        .pcrs(registers(set, Bank::Sha384, &[7]))
        .step(Step::PcrDigest(
            PcrSelection::new(Bank::Sha1, &[4, 5]).unwrap(),
            [7; 32],
        ))
        .step(Step::Nv(tpm_seal::NvComparison::new(name, &[1, 2], 3, 4)))
        .step(Step::CommandCode(0x15e))
        .pin();
    let again = Policy::parse(policy.to_json().as_bytes()).unwrap();
    assert_eq!(again, policy);
    assert_eq!(again.digest().unwrap(), policy.digest().unwrap());
    let nv = Policy::new().step(Step::AuthorizeNv(name));
    assert_eq!(Policy::parse(nv.to_json().as_bytes()).unwrap(), nv);
}

#[test]
fn a_modulus_does_as_well_as_a_pem() {
    let case = vector_json("ecc-srk", "key-names.json")[0].clone();
    let public = case["tpmt_public"].as_str().unwrap();
    let modulus = &public[public.len() - 512..];
    let text = format!(r#"{{"steps": [{{"authorize": {{"modulus": "{modulus}"}}}}]}}"#);
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(
        digest(&policy),
        "abc61345f05ef3d89d1942e7f8fb4646c03743d07f930a80ee26fb50ef5ed372"
    );
}

#[test]
fn a_condition_that_nobody_knows_is_refused_and_not_left_out() {
    let signed = |more: &str| {
        format!(
            r#"{{"signed": {{"modulus": "{}"{more}}}}}"#,
            "c1".repeat(256)
        )
    };
    assert!(Policy::parse(signed("").as_bytes()).is_ok());
    let zeros = "00".repeat(32);
    for text in [
        signed(r#", "policyref": "aa""#),
        signed(r#", "policy_ref": "aa""#),
        format!(r#"{{"steps": ["pin"], "pcrs": {{"7": "{zeros}"}}}}"#),
        format!(r#"{{"nv": {{"name": "000b{zeros}", "operand": "00", "operator": 2}}}}"#),
    ] {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("known") || error.to_string().contains("steps"),
            "{error}"
        );
    }
}
