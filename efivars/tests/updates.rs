//! Signed updates: the same bytes as efitools, what the vectors hold, and what is refused.
#![cfg(feature = "rsa")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{
    Attributes, AuthenticatedUpdate, BoxError, Certificate, EfiTime, Error, Guid, HashAlgorithm,
    SignatureDatabase, SignatureType, SignedUpdate, ToBeSigned, Update, VerificationError,
};
use support::{certificate, g1, g2, hex, json, key, sha256, text, time, vector};

fn esl(name: &str) -> SignatureDatabase {
    SignatureDatabase::parse(&vector(&format!("esl/{name}"))).unwrap()
}

fn sign(update: Update, signer: &str) -> SignedUpdate {
    update.sign(&certificate(signer), &key(signer)).unwrap()
}

#[test]
fn replacements_are_the_bytes_that_efitools_writes() {
    for (name, list, signer, file) in [
        (
            efivars::PK,
            "PK.efitools.esl",
            "PK",
            "auth/PK.efitools.auth",
        ),
        (
            efivars::KEK,
            "KEK.efitools.esl",
            "PK",
            "auth/KEK.efitools.auth",
        ),
        (
            efivars::DB,
            "db.efitools.esl",
            "KEK",
            "auth/db.efitools.auth",
        ),
    ] {
        let update = Update::replace(name, &esl(list), time("2024-01-02 03:04:05")).unwrap();
        assert!(sign(update, signer).to_bytes() == vector(file), "{file}");
    }
}

#[test]
fn appends_and_deletions_are_the_bytes_that_efitools_writes() {
    let append = Update::append(
        efivars::DB,
        &esl("db2.efitools.esl"),
        time("2024-01-02 03:04:06"),
    )
    .unwrap();
    assert!(sign(append, "KEK").to_bytes() == vector("auth/db2-append.efitools.auth"));
    let append = Update::append(
        efivars::DBX,
        &esl("three-sha256.efitools.esl"),
        EfiTime::MICROSOFT_APPEND,
    )
    .unwrap();
    assert!(sign(append, "KEK").to_bytes() == vector("auth/dbx-append-oldtime.efitools.auth"));
    let delete = Update::delete(efivars::PK, time("2024-06-01 00:00:00")).unwrap();
    assert!(sign(delete, "PK").to_bytes() == vector("auth/PK-delete.efitools.auth"));
}

#[test]
fn the_set_of_bootctl_is_written_byte_for_byte() {
    let certificate = Certificate::from_pem(&text("systemd-257/talos.crt")).unwrap();
    let signer = efivars::RsaSigner::from_pem(&text("systemd-257/talos.key")).unwrap();
    let list = SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate);
    for name in [efivars::PK, efivars::KEK, efivars::DB] {
        let update = Update::replace(name, &list, time("2026-11-22 18:33:01")).unwrap();
        let signed = update.sign(&certificate, &signer).unwrap();
        assert!(
            signed.to_bytes() == vector(&format!("systemd-257/{}", signed.file_name())),
            "{}",
            signed.name()
        );
    }
}

#[test]
fn unsigned_updates_are_the_bytes_that_virt_firmware_writes() {
    let file = vector("virt-firmware-26.10/db.auth");
    let theirs = AuthenticatedUpdate::parse(&file).unwrap();
    assert!(!theirs.is_signed());
    let update = Update::replace(efivars::DB, &theirs.database().unwrap(), theirs.time()).unwrap();
    assert!(update.unsigned().unwrap().to_bytes() == file);
}

#[test]
fn the_signed_bytes_are_those_that_efitools_hashes() {
    let file = vector("auth/db.efitools.auth");
    let update = AuthenticatedUpdate::parse(&file).unwrap();
    assert!(
        update.signed_bytes(&efivars::DB, Attributes::KEY)
            == vector("auth/db.efitools.tobesigned.bin")
    );
    assert_eq!(
        hex(&update.signed_bytes(&efivars::DB, Attributes::KEY)[..40]),
        "64006200cbb219d73a3d9645a3bcdad00e67656f27000000e8070102030405000000000000000000"
    );
}

#[test]
fn headers_of_all_vectors_are_read_as_recorded() {
    let expected = json("auth/expected.json");
    assert_eq!(expected.as_object().unwrap().len(), 9);
    for (name, fields) in expected.as_object().unwrap() {
        let file = vector(&format!("auth/{name}"));
        let bytes = if fields["attributes_prefix"].is_null() {
            &file[..]
        } else {
            &file[4..]
        };
        let update = AuthenticatedUpdate::parse(bytes).unwrap();
        let t = &fields["time"];
        let n = |key: &str| t[key].as_u64().unwrap();
        let shown = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            n("year"),
            n("month"),
            n("day"),
            n("hour"),
            n("minute"),
            n("second")
        );
        assert_eq!(update.time().to_string(), shown, "{name}");
        assert_eq!(
            update.pkcs7().len() as u64,
            fields["pkcs7_len"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            update.value().len() as u64,
            fields["payload_len"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            sha256(update.value()),
            fields["payload_sha256"].as_str().unwrap(),
            "{name}"
        );
        let signature = update.signed_data().unwrap().unwrap();
        assert_eq!(
            signature.is_wrapped(),
            fields["pkcs7_has_contentinfo"].as_bool().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn an_update_explains_what_it_was_signed_for_and_by_whom() {
    for (file, shown, signer) in [
        (
            "auth/PK.efitools.auth",
            "PK-8be4df61-93ca-11d2-aa0d-00e098032b8c with attributes 0x27",
            "CN=vector dev PK",
        ),
        (
            "auth/KEK.efitools.auth",
            "KEK-8be4df61-93ca-11d2-aa0d-00e098032b8c with attributes 0x27",
            "CN=vector dev PK",
        ),
        (
            "auth/db.efitools.auth",
            "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x27",
            "CN=vector dev KEK",
        ),
        (
            "auth/db2-append.efitools.auth",
            "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x67",
            "CN=vector dev KEK",
        ),
        (
            "auth/dbx-append-oldtime.efitools.auth",
            "dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x67",
            "CN=vector dev KEK",
        ),
        (
            "auth/PK-delete.efitools.auth",
            "PK-8be4df61-93ca-11d2-aa0d-00e098032b8c with attributes 0x27",
            "CN=vector dev PK",
        ),
        (
            "auth/db2.sbvarsign.auth",
            "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x67",
            "CN=vector dev KEK",
        ),
        (
            "auth/db2.sbvarsign-noappend.auth",
            "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x27",
            "CN=vector dev KEK",
        ),
        (
            "systemd-257/KEK.auth",
            "KEK-8be4df61-93ca-11d2-aa0d-00e098032b8c with attributes 0x27",
            "CN=Talos style UKI key",
        ),
        (
            "firmware-oracle/u11-db-nul.auth",
            "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x27, name hashed with its terminator",
            "CN=vector dev KEK",
        ),
        (
            "firmware-oracle/u12-db-attr-mismatch.auth",
            "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f with attributes 0x67",
            "CN=vector dev KEK",
        ),
    ] {
        let bytes = vector(file);
        let explanation = AuthenticatedUpdate::parse(&bytes).unwrap().explain();
        let signed_for = explanation
            .signed_for
            .unwrap_or_else(|| panic!("{file}: {:?}", explanation.error));
        assert_eq!(signed_for.to_string(), shown, "{file}");
        assert_eq!(signed_for.is_usable(), !file.contains("nul"), "{file}");
        assert_eq!(explanation.signers[0].subject(), signer, "{file}");
        assert_eq!(explanation.error, None, "{file}");
    }
}

#[test]
fn an_unsigned_or_broken_update_is_explained_with_its_error() {
    let bytes = vector("virt-firmware-26.10/db.auth");
    assert_eq!(
        AuthenticatedUpdate::parse(&bytes).unwrap().explain().error,
        Some(VerificationError::NotSigned)
    );
    let bytes = vector("firmware-oracle/u10-db-nocerts.auth");
    assert_eq!(
        AuthenticatedUpdate::parse(&bytes).unwrap().explain().error,
        Some(VerificationError::NoSignerCertificate)
    );
    let mut bytes = vector("auth/db.efitools.auth");
    *bytes.last_mut().unwrap() ^= 1;
    let explanation = AuthenticatedUpdate::parse(&bytes).unwrap().explain();
    assert_eq!(explanation.error, Some(VerificationError::BadSignature));
    assert_eq!(explanation.signed_for, None);
    assert_eq!(explanation.signers[0].subject(), "CN=vector dev KEK");
}

#[test]
fn the_two_steps_give_the_same_bytes_as_one() {
    let update = Update::replace(
        efivars::DB,
        &esl("db.efitools.esl"),
        time("2024-01-02 03:04:05"),
    )
    .unwrap();
    let prepared = update.prepare(&certificate("KEK")).unwrap();
    let request = prepared.to_be_signed();
    assert_eq!(request.hash_algorithm(), HashAlgorithm::Sha256);
    assert!(request.message() == vector("auth/db.efitools.tobesigned.bin"));
    assert_eq!(hex(request.digest()), sha256(request.message()));
    assert_eq!(
        hex(&request.digest_info()),
        format!(
            "3031300d060960864801650304020105000420{}",
            sha256(request.message())
        )
    );
    let signature = efivars::Signer::sign(&key("KEK"), request).unwrap();
    assert!(prepared.attach(&signature).unwrap().to_bytes() == vector("auth/db.efitools.auth"));
}

#[test]
fn a_closure_is_a_signer_and_its_error_is_kept() {
    let refuse =
        |_: &ToBeSigned| -> Result<Vec<u8>, BoxError> { Err("no token in the slot".into()) };
    let update = Update::delete(efivars::DB, time("2024-01-02 03:04:05")).unwrap();
    let error = update.sign(&certificate("KEK"), &refuse).unwrap_err();
    assert_eq!(error.to_string(), "the signer refused");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "no token in the slot"
    );
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    for (certificate_name, key_name) in [("KEK", "PK"), ("db2", "db"), ("db", "db2")] {
        let update = Update::delete(efivars::DB, time("2024-01-02 03:04:05")).unwrap();
        let error = update
            .sign(&certificate(certificate_name), &key(key_name))
            .unwrap_err();
        assert!(matches!(error, Error::KeyMismatch), "{error}");
    }
    let update = Update::delete(efivars::DB, time("2024-01-02 03:04:05")).unwrap();
    assert!(matches!(
        update.prepare(&certificate("ec")),
        Err(Error::NotRsa)
    ));
}

#[test]
fn what_all_firmware_refuses_is_not_written() {
    let at = time("2024-01-02 03:04:05");
    let two = SignatureDatabase::new()
        .with_certificate(g1(), &certificate("PK"))
        .with_certificate(g1(), &certificate("db"));
    assert!(matches!(
        Update::replace(efivars::PK, &two, at),
        Err(Error::PlatformKey { found: 2 })
    ));
    assert!(matches!(
        Update::append(efivars::PK, &esl("PK.efitools.esl"), at),
        Err(Error::PlatformKey { found: 2 })
    ));
    assert!(matches!(
        Update::replace(efivars::PK, &esl("sha256.sbsiglist.esl"), at),
        Err(Error::PlatformKey { found: 1 })
    ));
    assert!(matches!(
        Update::replace(efivars::DB, &esl("ec.efitools.esl"), at),
        Err(Error::NotRsa)
    ));
    let mut sm3 = SignatureDatabase::new();
    sm3.add_signature(SignatureType::SM3, g2(), &[0; 32])
        .unwrap();
    assert!(matches!(
        Update::append(efivars::DBX, &sm3, at),
        Err(Error::UnsupportedType {
            kind: SignatureType::SM3
        })
    ));
    let lenient =
        SignatureDatabase::parse_lenient(&vector("malformed/warn-no-entries.esl")).unwrap();
    assert!(matches!(
        Update::append(efivars::DBX, &lenient, at),
        Err(Error::NoEntries { offset: 0 })
    ));
    let mut local = at.to_bytes();
    local[12] = 60;
    assert!(matches!(
        Update::delete(efivars::DB, EfiTime::from_bytes(local)),
        Err(Error::TimeNotPlain)
    ));
}

#[test]
fn keys_of_both_pem_forms_are_the_same_and_others_are_refused() {
    use rsa::pkcs1::EncodeRsaPrivateKey as _;
    use rsa::pkcs8::DecodePrivateKey as _;
    let pkcs8 = text("keys/KEK.key");
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(&pkcs8).unwrap();
    let pkcs1 = key.to_pkcs1_pem(rsa::pkcs8::LineEnding::LF).unwrap();
    let delete = || Update::delete(efivars::DB, time("2024-01-02 03:04:05")).unwrap();
    let sign = |pem: &str| {
        let signer = efivars::RsaSigner::from_pem(pem).unwrap();
        delete().sign(&certificate("KEK"), &signer).unwrap()
    };
    assert_eq!(sign(&pkcs1), sign(&pkcs8));
    for (file, message) in [
        (
            "keys/ec.key",
            "not an RSA private key: firmware takes no other signatures",
        ),
        ("keys/db.crt", "no private key in the PEM text"),
    ] {
        assert_eq!(
            efivars::RsaSigner::from_pem(&text(file))
                .unwrap_err()
                .to_string(),
            message
        );
    }
    assert_eq!(format!("{:?}", support::key("db")), "RsaSigner");
}

#[test]
fn a_leaf_below_a_trusted_certificate_is_accepted_with_its_chain() {
    let file = vector("firmware-oracle/u00-db-kek.auth");
    let update = AuthenticatedUpdate::parse(&file).unwrap();
    assert_eq!(
        update.verify_for(&certificate("KEK"), &efivars::DB, Attributes::KEY),
        Ok(())
    );
    assert_eq!(
        update.verify_for(&certificate("PK"), &efivars::DB, Attributes::KEY),
        Err(VerificationError::NotTrusted)
    );
    assert_eq!(
        update.verify_for(&certificate("KEK"), &efivars::DB, Attributes::KEY_APPEND),
        Err(VerificationError::BadSignature)
    );
}

#[test]
fn an_update_cut_at_any_byte_never_verifies() {
    let file = vector("auth/db.efitools.auth");
    for len in 0..file.len() {
        let verdict = AuthenticatedUpdate::parse(&file[..len])
            .ok()
            .map(|update| update.verify(&efivars::DB, Attributes::KEY));
        assert!(!matches!(verdict, Some(Ok(_))), "{len}");
    }
}
