//! systemd's encrypted credentials.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use support::swtpm::Swtpm;
use support::{have, vector, vector_json};
use tpm_seal::{Credential, Error, Evidence, Refusal, Secret, SignatureDocument};

fn credential(case: &str) -> Vec<u8> {
    let all = vector_json("ecc-srk", "systemd-creds.json");
    let entry = support::entry(&all, "case", case);
    entry["credential_base64"].as_str().unwrap().into()
}

fn evidence() -> Evidence {
    let document = vector("ecc-srk", "tpm2-pcr-signature.json");
    Evidence::new().signatures(SignatureDocument::parse(&document).unwrap())
}

fn text(error: &Error) -> String {
    error.to_string()
}

#[test]
fn decrypts_every_credential_of_systemd() {
    if !have("decrypts_every_credential_of_systemd", "swtpm") {
        return;
    }
    let swtpm = Swtpm::of_vectors("ecc-srk");
    let mut tpm = swtpm.open();
    let all = vector_json("ecc-srk", "systemd-creds.json");
    let mut seen = 0;
    for case in all.as_array().unwrap() {
        let bytes = case["credential_base64"].as_str().unwrap().as_bytes();
        let credential = Credential::parse(bytes).unwrap();
        assert!(!credential.needs_host_key() && !credential.is_unprotected());
        let token = credential.token().unwrap();
        let secret = tpm.unlock(token, &evidence()).unwrap();
        let decrypted = credential.decrypt(Some(&secret), None).unwrap();
        assert_eq!(
            decrypted.data().as_bytes(),
            case["plaintext"].as_str().unwrap().as_bytes()
        );
        assert!(decrypted.timestamp().is_some());
        assert_eq!(decrypted.not_after(), None);
        seen += 1;
    }
    assert_eq!(seen, 4);
    drop(tpm);
    assert_eq!(swtpm.open_handles(), [0; 0]);
}

#[test]
fn decrypts_credentials_under_the_host_key_and_under_none() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/systemd-creds-host.json"
    );
    let vector: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let file = BASE64_STANDARD.decode(vector["host_key_file_base64"].as_str().unwrap());
    let file = file.unwrap();
    let host_key = Credential::host_key(&file).unwrap();
    let read = |name: &str| {
        Credential::parse(vector["credentials"][name].as_str().unwrap().as_bytes()).unwrap()
    };
    let foo = read("foo");
    assert!(foo.needs_host_key() && foo.token().is_none());
    let decrypted = foo.decrypt(None, Some(&host_key)).unwrap();
    assert_eq!(decrypted.name(), Some("foo"));
    assert_eq!(decrypted.not_after(), vector["not_after_of_foo"].as_u64());
    assert_eq!(decrypted.data().as_bytes(), b"host data");
    let bar = read("bar");
    assert!(bar.is_unprotected());
    assert_eq!(bar.decrypt(None, None).unwrap().name(), Some("bar"));
    assert_eq!(
        text(&Credential::host_key(&file[1..]).unwrap_err()),
        "not a systemd credential: the file of the host's key is not 4112 bytes"
    );
}

#[test]
fn says_which_register_keeps_a_credential_closed() {
    if !have("says_which_register_keeps_a_credential_closed", "swtpm") {
        return;
    }
    let swtpm = Swtpm::of_vectors("ecc-srk");
    swtpm.extend(7, "another db");
    let credential = Credential::parse(&credential("tpm2-pcr7")).unwrap();
    let refused = swtpm
        .open()
        .unlock(credential.token().unwrap(), &evidence());
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::Registers { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_changed_credential_or_another_key_gives_nothing() {
    let text_form = credential("tpm2-nopcr");
    let raw = BASE64_STANDARD.decode(&text_form).unwrap();
    let credential = Credential::parse(&raw).unwrap();
    assert_eq!(credential, Credential::parse(&text_form).unwrap());
    let refused = credential
        .decrypt(Some(&Secret::new(vec![7; 32])), None)
        .unwrap_err();
    assert_eq!(
        text(&refused),
        "the token is damaged: the credential was changed, or its key is another"
    );
    let missing = credential.decrypt(None, None).unwrap_err();
    assert_eq!(
        text(&missing),
        "not a systemd credential: the parts of its key are not those that were given"
    );
}

#[test]
fn a_credential_cut_anywhere_is_an_error_and_no_panic() {
    for case in ["tpm2-nopcr", "tpm2-with-public-key-pcr7"] {
        let raw = BASE64_STANDARD.decode(credential(case)).unwrap();
        let whole = Credential::parse(&raw).unwrap();
        for len in 0..raw.len() {
            let mut cut = raw.clone();
            cut.truncate(len);
            match Credential::parse(&cut) {
                // Only the encrypted part is shorter; the seal over it tells.
                Ok(shorter) => assert_ne!(shorter, whole),
                Err(error) => assert!(!text(&error).is_empty()),
            }
        }
        for at in 0..raw.len() {
            let mut flipped = raw.clone();
            flipped[at] ^= 0xff;
            let _ = Credential::parse(&flipped);
        }
    }
}

#[test]
fn names_what_is_wrong_with_a_credential() {
    let raw = BASE64_STANDARD.decode(credential("tpm2-pcr7")).unwrap();
    let message = |at: usize, bytes: &[u8]| {
        let mut changed = raw.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        text(&Credential::parse(&changed).unwrap_err())
    };
    let cipher = "not a systemd credential: its cipher is not AES-256-GCM";
    for at in [16, 20, 24, 28] {
        assert_eq!(message(at, &[0xff; 4]), cipher);
    }
    assert_eq!(
        message(48, &[0, 0, 0, 1]),
        "PCR 24 does not exist, expected 0 to 23"
    );
    assert_eq!(
        message(56, &[0xff, 0xff]),
        "not a systemd credential: its bank is not known"
    );
    assert_eq!(
        message(58, &[0xff, 0xff]),
        "not a systemd credential: the kind of its storage key is not known"
    );
    let early = "not a systemd credential: it ends too early";
    assert_eq!(message(60, &[0xff; 4]), early);
    assert_eq!(message(64, &[0xff; 4]), early);
    assert_eq!(
        text(&Credential::parse(b"no credential!").unwrap_err()),
        "not a systemd credential: neither a known type nor Base64 text"
    );
    let mut of_a_user = raw.clone();
    of_a_user[..16]
        .copy_from_slice(b"\xef\x4a\xc1\x36\x79\xa9\x48\x0e\xa7\xdb\x68\x89\x7f\x9f\x16\x5d");
    assert_eq!(
        text(&Credential::parse(&of_a_user).unwrap_err()),
        "the token uses a credential for one user only, which is not supported"
    );
}
