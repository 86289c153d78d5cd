//! `.pcrsig` documents: made, read, merged, checked.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![cfg(feature = "rsa")]

#[path = "support/sections.rs"]
mod sections;

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pcr::{
    Bank, BoxError, Dialect, DocumentLayout, Error, KeyRefusal, Pcr11, PhasePath, Policies,
    PublicKey, RsaSigner, SignatureDocument, SignatureStatus, Signer as _, SigningRequest,
    ToBeSigned, signature_document_len,
};
use sections::{json, observe, read};
use serde_json::Value;

const BANKS: [Bank; 4] = Bank::ALL;

fn signer() -> RsaSigner {
    RsaSigner::from_pem(&String::from_utf8(read("inputs/pcr-key.pem")).unwrap()).unwrap()
}

fn policies(banks: &[Bank], paths: &[PhasePath]) -> Policies {
    let boot = observe("v2-basic", Dialect::Systemd257, banks);
    boot.policies(paths).unwrap()
}

/// The paths of the vectors.
fn all_paths() -> Vec<PhasePath> {
    let mut paths = PhasePath::systemd().to_vec();
    paths.push(PhasePath::stub());
    paths
}

#[test]
fn sha256_entries_are_the_bytes_of_systemd_measure() {
    let signer = signer();
    let document = policies(&BANKS, &all_paths()).sign(signer.public_key(), &signer);
    let ours: Value = serde_json::from_slice(&document.unwrap().to_json()).unwrap();
    let theirs = json("expected/v2-basic.sign.json");
    assert_eq!(ours["sha256"], theirs["sha256"]);
    // Other banks: same policies, but signed so that a TPM accepts them.
    for bank in ["sha1", "sha384", "sha512"] {
        for (ours, theirs) in ours[bank]
            .as_array()
            .unwrap()
            .iter()
            .zip(theirs[bank].as_array().unwrap())
        {
            assert_eq!(ours["pol"], theirs["pol"]);
            assert_ne!(ours["sig"], theirs["sig"]);
        }
    }
}

#[test]
fn every_signature_made_here_is_valid_in_every_bank() {
    let signer = signer();
    let document = policies(&BANKS, &all_paths())
        .sign(signer.public_key(), &signer)
        .unwrap();
    let read = SignatureDocument::parse(&document.to_json()).unwrap();
    let statuses = read.verify(&[signer.public_key().clone()]);
    assert_eq!(statuses, [SignatureStatus::Valid; 20]);
}

#[test]
fn a_policy_reference_is_part_of_what_is_signed() {
    let expected = json("policy.json");
    let signer = signer();
    let prepared = policies(&[Bank::Sha256], &[PhasePath::initrd()])
        .with_reference("initrd")
        .prepare(signer.public_key());
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(prepared.to_be_signed()[0].message()),
        expected["policyref"]["tbs"]
    );
    assert_eq!(
        prepared.document_len(),
        DocumentLayout::new(&[PhasePath::initrd()], &[Bank::Sha256])
            .key(2048)
            .reference("initrd")
            .len()
    );
    let document = prepared.sign(&signer).unwrap();
    let signed = document.entries().next().unwrap().read().unwrap();
    assert_eq!(
        STANDARD.encode(&signed.signature),
        expected["policyref"]["sig_over_tbs_rsassa_sha256_b64"]
    );
    assert_eq!(signed.reference.as_deref(), Some("initrd"));
    let found =
        |reference| document.find(Bank::Sha256, &signed.fingerprint, &signed.policy, reference);
    assert!(found(Some("initrd")).is_some());
    assert!(found(None).is_none());
}

#[test]
fn the_length_is_known_before_any_hash() {
    let signer = signer();
    for banks in [
        &BANKS[..],
        &[Bank::Sha256],
        &[Bank::Sha512, Bank::Sha1, Bank::Sha1],
    ] {
        for paths in [
            &all_paths()[..],
            &[PhasePath::talos()],
            &[PhasePath::stub(), PhasePath::stub()],
        ] {
            let document = policies(banks, paths)
                .sign(signer.public_key(), &signer)
                .unwrap();
            assert_eq!(
                document.to_json().len() as u64,
                signature_document_len(paths, banks, 2048)
            );
        }
    }
}

#[test]
fn equal_policies_are_signed_once_and_their_room_is_kept() {
    let mut boot = observe("v0-micro", Dialect::Systemd257, &[Bank::Sha256]);
    boot.observe((None, ".dtbauto", 0), b"same");
    boot.observe((None, ".dtbauto", 1), b"same");
    let signer = signer();
    let count = Cell::new(0);
    let counting = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> {
        count.set(count.get() + 1);
        signer.sign(request)
    };
    let paths = [PhasePath::initrd()];
    let document = boot
        .policies(&paths)
        .unwrap()
        .sign(signer.public_key(), &counting)
        .unwrap();
    assert_eq!(count.get(), 2);
    assert_eq!(document.entries().count(), 2);
    let len = DocumentLayout::new(&paths, &[Bank::Sha256])
        .key(2048)
        .hardware_choices(3)
        .len();
    assert_eq!(document.to_json().len() as u64, len);
    assert_eq!(document.to_json().last(), Some(&b'}'));
}

#[test]
fn several_keys_and_phases_share_one_document() {
    let first = signer();
    let second =
        RsaSigner::new(rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap()).unwrap();
    let early = policies(&[Bank::Sha256, Bank::Sha384], &[PhasePath::initrd()]);
    let late = policies(&[Bank::Sha256], &PhasePath::systemd()[2..]);
    let prepared = early
        .prepare(first.public_key())
        .join(late.prepare(second.public_key()));
    let len = prepared.document_len();
    let both = |request: &ToBeSigned| {
        if request.key() == first.public_key() {
            first.sign(request)
        } else {
            second.sign(request)
        }
    };
    let document = prepared.sign(&both).unwrap();
    assert_eq!(document.to_json().len() as u64, len);
    assert_eq!(
        document.verify(&[first.public_key().clone()]),
        [
            SignatureStatus::Valid,
            SignatureStatus::OtherKey,
            SignatureStatus::OtherKey,
            SignatureStatus::Valid
        ]
    );
}

#[test]
fn a_request_is_signed_elsewhere_and_every_answer_is_checked() {
    let signer = signer();
    let prepared = policies(&BANKS, &all_paths()).prepare(signer.public_key());
    let request = prepared.to_request();
    assert_eq!(request, prepared.to_request());
    let elsewhere = SigningRequest::parse(&request).unwrap();
    assert_eq!(elsewhere.to_be_signed(), prepared.to_be_signed());
    let answer = elsewhere.sign(&signer).unwrap();
    let document = prepared.clone().attach_answer(&answer).unwrap();
    assert_eq!(document, prepared.clone().sign(&signer).unwrap());

    let mut tampered: Value = serde_json::from_slice(&answer).unwrap();
    tampered["signatures"][3]["sig"] = tampered["signatures"][4]["sig"].clone();
    let wrong = prepared
        .clone()
        .attach_answer(tampered.to_string().as_bytes());
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "the signature of sha1 policy 3 does not verify with the key \
         cfd4407ef5112f8e1d4074f520908bd7b0ca77246c21ebcf3bc880408a81453b"
    );
    tampered["signatures"].as_array_mut().unwrap().remove(7);
    let missing = prepared
        .clone()
        .attach_answer(tampered.to_string().as_bytes());
    assert!(matches!(missing, Err(Error::MissingSignature { index: 7 })));
    let mut more: Value = serde_json::from_slice(&answer).unwrap();
    more["signatures"][0]["tbs"] = "00".into();
    let unasked = prepared.attach_answer(more.to_string().as_bytes());
    assert!(matches!(unasked, Err(Error::MissingSignature { index: 0 })));
}

#[test]
fn a_request_that_contradicts_itself_is_refused() {
    let signer = signer();
    let prepared = policies(&[Bank::Sha256], &[PhasePath::initrd()]).prepare(signer.public_key());
    let request: Value = serde_json::from_slice(&prepared.to_request()).unwrap();
    for (pointer, value, message) in [
        (
            "/requests/0/tbs",
            "00",
            "the signing request: tbs is not the policy and the hash of its reference",
        ),
        (
            "/requests/0/pol",
            "zz",
            "the signing request: pol is not 64 hexadecimal digits",
        ),
        (
            "/requests/0/digest",
            "00",
            "the signing request: digest is not the SHA-256 of tbs",
        ),
        (
            "/requests/0/pkfp",
            "00",
            "the signing request: pkfp is not one of the keys",
        ),
        (
            "/keys/0/pkfp",
            "00",
            "the signing request: pkfp is not the fingerprint of the key beside it",
        ),
        (
            "/document",
            "x",
            "the signing request: document is not pcr policy signing request",
        ),
    ] {
        let mut changed = request.clone();
        *changed.pointer_mut(pointer).unwrap() = value.into();
        let error = SigningRequest::parse(changed.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_wrong_slot_is_noticed() {
    let signer = signer();
    let other =
        RsaSigner::new(rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap()).unwrap();
    let wrong = policies(&[Bank::Sha256], &[PhasePath::initrd()]).sign(signer.public_key(), &other);
    assert!(matches!(wrong, Err(Error::WrongSignature { index: 0, .. })));
    let failing = |_: &ToBeSigned| -> Result<Vec<u8>, BoxError> { Err("no card".into()) };
    let failed =
        policies(&[Bank::Sha256], &[PhasePath::initrd()]).sign(signer.public_key(), &failing);
    let error = failed.unwrap_err();
    assert_eq!(error.to_string(), "the signer failed");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "no card"
    );
    let none: [Vec<u8>; 0] = [];
    let count = policies(&[Bank::Sha256], &[PhasePath::initrd()])
        .prepare(signer.public_key())
        .attach(&none);
    assert_eq!(
        count.unwrap_err().to_string(),
        "0 signatures for 1 requests"
    );
}

#[test]
fn the_digest_info_is_what_raw_rsa_signs() {
    let signer = signer();
    let prepared = policies(&[Bank::Sha256], &[PhasePath::initrd()]).prepare(signer.public_key());
    let request = &prepared.to_be_signed()[0];
    let info = request.digest_info();
    assert_eq!(info.len(), 51);
    assert_eq!(info[19..], *request.digest());
    let key = String::from_utf8(read("inputs/pcr-key.pem")).unwrap();
    let key =
        <rsa::RsaPrivateKey as rsa::pkcs1::DecodeRsaPrivateKey>::from_pkcs1_pem(&key).unwrap();
    let signature = key
        .sign(rsa::Pkcs1v15Sign::new_unprefixed(), &info)
        .unwrap();
    assert!(prepared.attach(&[signature]).is_ok());
}

#[test]
fn merging_drops_exact_repetitions_only() {
    let signer = signer();
    let one = policies(&[Bank::Sha256], &[PhasePath::initrd()])
        .sign(signer.public_key(), &signer)
        .unwrap();
    let two = policies(&[Bank::Sha256, Bank::Sha1], &all_paths())
        .sign(signer.public_key(), &signer)
        .unwrap();
    let merged = one.clone().merge(two.clone());
    assert_eq!(merged.entries().count(), 10);
    assert_eq!(merged.clone().merge(two), merged);
    let spaced = br#"{"sha256":[{"pcrs" : [ 11 ], "x":1}], "other": 5}"#;
    let spaced = SignatureDocument::parse(spaced).unwrap();
    let tight = SignatureDocument::parse(br#"{"sha256":[{"x":1,"pcrs":[11]}]}"#).unwrap();
    assert_eq!(spaced.clone().merge(tight).entries().count(), 1);
    let with_unknown = one.merge(spaced).to_json();
    assert!(
        String::from_utf8(with_unknown)
            .unwrap()
            .ends_with(r#"],"other":5}"#)
    );
}

#[test]
fn a_document_fills_the_place_reserved_for_it() {
    let document = SignatureDocument::parse(br#"{"sha256":[]}"#).unwrap();
    let padded = document.clone().padded_to(20).unwrap().to_json();
    assert_eq!(padded, br#"{"sha256":[]       }"#);
    assert_eq!(
        SignatureDocument::parse(&padded).unwrap().to_json(),
        document.to_json()
    );
    assert_eq!(
        document.padded_to(12).unwrap_err().to_string(),
        "the signature document takes 13 bytes, 12 are reserved"
    );
}

#[test]
fn nul_and_blanks_at_the_end_are_read() {
    let document = SignatureDocument::parse(b"{\"sha256\":[]} \n\0\0").unwrap();
    assert_eq!(document.entries().count(), 0);
}

#[test]
fn malformed_documents_are_refused_with_their_place() {
    for text in [
        "",
        "[]",
        "{",
        r#"{"sha256":1}"#,
        r#"{"sha256":[1]}"#,
        "{} x",
        "null",
    ] {
        let error = SignatureDocument::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Json { .. }), "{text}: {error}");
    }
    let error = SignatureDocument::parse(b"{\"sha256\":\n [}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the signature document cannot be read at line 2, column 3"
    );
}

#[test]
fn a_malformed_entry_does_not_hide_the_others() {
    let signer = signer();
    let good = policies(&[Bank::Sha256], &[PhasePath::initrd()])
        .sign(signer.public_key(), &signer)
        .unwrap();
    let good = String::from_utf8(good.to_json()).unwrap();
    for (bad, message) in [
        (
            r#"{"pcrs":[24]}"#,
            "sha256 entry 0: pcrs is not a list of numbers from 0 to 23",
        ),
        (
            r#"{"pcrs":[1e400]}"#,
            "sha256 entry 0: pcrs is not a list of numbers from 0 to 23",
        ),
        (
            r#"{"pcrs":[11]}"#,
            "sha256 entry 0: pkfp is not 64 hexadecimal digits",
        ),
        (
            r#"{"pcrs":[11],"pkfp":"x"}"#,
            "sha256 entry 0: pkfp is not 64 hexadecimal digits",
        ),
    ] {
        let text = good.replacen(r#""sha256":["#, &format!(r#""sha256":[{bad},"#), 1);
        let document = SignatureDocument::parse(text.as_bytes()).unwrap();
        assert_eq!(document.to_json(), text.as_bytes());
        assert_eq!(
            document
                .entries()
                .next()
                .unwrap()
                .read()
                .unwrap_err()
                .to_string(),
            message
        );
        assert_eq!(
            document.verify(&[signer.public_key().clone()]),
            [SignatureStatus::Unreadable, SignatureStatus::Valid]
        );
    }
}

#[test]
fn thousands_of_entries_are_read_and_merged() {
    let entry = r#"{"pcrs":[11],"pkfp":"","n":N}"#;
    let entries: Vec<String> = (0..20_000)
        .map(|n| entry.replace('N', &n.to_string()))
        .collect();
    let text = format!(r#"{{"sha256":[{}]}}"#, entries.join(","));
    let document = SignatureDocument::parse(text.as_bytes()).unwrap();
    assert_eq!(document.clone().merge(document).entries().count(), 20_000);
}

#[test]
fn a_truncated_document_is_an_error_at_every_byte() {
    let text = read("expected/v0-micro.sign.json");
    let end = text.iter().rposition(|byte| *byte == b'}').unwrap();
    for len in (0..=end).step_by(7).chain([end]) {
        assert!(SignatureDocument::parse(&text[..len]).is_err(), "{len}");
    }
}

#[test]
fn keys_that_cannot_sign_policies_are_refused_with_the_reason() {
    let key = |bits: usize, exponent: &[u8]| {
        let mut modulus = vec![0xff; bits / 8];
        modulus[0] = 0xc0;
        PublicKey::from_parts(&modulus, exponent)
    };
    let refused = |result: Result<PublicKey, Error>| match result {
        Err(Error::Key(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(key(1024, &[1, 0, 1])),
        KeyRefusal::Size { bits: 1024 }
    );
    assert_eq!(
        refused(key(8192, &[1, 0, 1])),
        KeyRefusal::Size { bits: 8192 }
    );
    assert_eq!(
        refused(key(2048, &[3])),
        KeyRefusal::Exponent {
            exponent: "3".into()
        }
    );
    assert_eq!(
        refused(PublicKey::from_pem(read("inputs/pcr-key.pem"))),
        KeyRefusal::Private
    );
    assert_eq!(refused(PublicKey::from_pem("hello")), KeyRefusal::NotAKey);
    assert_eq!(
        refused(PublicKey::from_der(&[0x30, 0])),
        KeyRefusal::NotAKey
    );
    let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    assert_eq!(
        refused(PublicKey::from_pem(ed25519)).to_string(),
        "algorithm 1.3.101.112, expected RSA (1.2.840.113549.1.1.1)"
    );
    assert!(key(4096, &[1, 0, 1]).unwrap().warning().is_some());
    assert_eq!(
        Error::Key(KeyRefusal::EllipticCurve).to_string(),
        "unusable policy key: an elliptic curve key, but unsealing verifies RSA signatures only"
    );
}

#[test]
fn the_public_key_round_trips_as_pem() {
    let pem = read("inputs/pcrpkey");
    let key = PublicKey::from_pem(&pem).unwrap();
    assert_eq!(key.to_pem().as_bytes(), pem);
    assert_eq!(PublicKey::from_der(key.to_pkcs1_der()).unwrap(), key);
    let mut padded = pem;
    padded.extend([0; 61]);
    assert_eq!(PublicKey::from_pem(&padded).unwrap(), key);
    assert_eq!(key.warning(), None);
    assert!(format!("{key:?}").starts_with("PublicKey(2048 bits, pkfp cfd4407ef5112f8e"));
}

#[test]
fn private_keys_are_read_in_both_pem_forms() {
    use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
    let key = String::from_utf8(read("inputs/pcr-key.pem")).unwrap();
    let key =
        <rsa::RsaPrivateKey as rsa::pkcs1::DecodeRsaPrivateKey>::from_pkcs1_pem(&key).unwrap();
    let pkcs8 = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let signer = RsaSigner::from_pem(&pkcs8).unwrap();
    assert_eq!(signer.public_key(), self::signer().public_key());
    assert!(!format!("{signer:?}").contains("d:"));
    let boot = Pcr11::new(Dialect::Systemd257, &[]);
    assert_eq!(boot.banks(), []);
}

#[test]
fn what_is_no_usable_key_is_called_what_it_is() {
    let private = String::from_utf8(read("inputs/pcr-key.pem")).unwrap();
    let public = String::from_utf8(read("inputs/pcrpkey")).unwrap();
    let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let traditional = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-128-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    let ec = "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n";
    let damaged = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let private_refusal = |text: &str| match RsaSigner::from_pem(text) {
        Err(Error::Key(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    for (text, refusal) in [
        ("x", KeyRefusal::NotAPrivateKey),
        ("", KeyRefusal::NotAPrivateKey),
        (public.as_str(), KeyRefusal::Public),
        (certificate, KeyRefusal::Certificate),
        (encrypted, KeyRefusal::Encrypted),
        (traditional, KeyRefusal::Encrypted),
        (ec, KeyRefusal::EllipticCurve),
        (damaged, KeyRefusal::NotAPrivateKey),
    ] {
        assert_eq!(private_refusal(text), refusal, "{text}");
    }
    let public_refusal = |text: &str| match PublicKey::from_pem(text) {
        Err(Error::Key(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(public_refusal(certificate), KeyRefusal::Certificate);
    assert_eq!(public_refusal(&private), KeyRefusal::Private);

    // Cut anywhere after its first line, a key says that it is cut off.
    for text in [&private, &public] {
        let first = text.find('\n').unwrap();
        let last = text.rfind("-----").unwrap();
        for len in first..last {
            let refusal = if text == &private {
                private_refusal(&text[..len])
            } else {
                public_refusal(&text[..len])
            };
            assert_eq!(refusal, KeyRefusal::Truncated, "{len}");
        }
    }
    assert_eq!(
        Error::Key(KeyRefusal::Truncated).to_string(),
        "unusable policy key: a PEM block without its END line: the text is cut off"
    );
}

#[test]
fn phase_paths_are_taken_as_systemd_measure_takes_them_but_for_blanks() {
    let list = |text: &str| -> Vec<String> {
        let paths = PhasePath::checked_list(text).unwrap();
        paths.iter().map(ToString::to_string).collect()
    };
    assert_eq!(list(""), [""]);
    assert_eq!(list(":,::a:,b:c"), ["", "a", "b:c"]);
    for text in ["a b", "a, b", "a\nb", "a:\u{a0}", "a\0"] {
        let error = PhasePath::checked_list(text).unwrap_err();
        assert!(matches!(error, Error::PhaseWord { .. }), "{text:?}");
    }
    let path = PhasePath::new("enter-initrd:enter-initd:ready");
    assert_eq!(path.unknown_words().collect::<Vec<_>>(), ["enter-initd"]);
}
