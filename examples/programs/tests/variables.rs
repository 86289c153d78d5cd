//! The programs about variables and event logs: documents and exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Exit code, document and message of a program.
fn run(program: &str, args: &[&str]) -> (i32, Value, String) {
    let output = Command::new(program).args(args).output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let message = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), document, message)
}

const SIGN: &str = env!("CARGO_BIN_EXE_sign_variable");
const READ: &str = env!("CARGO_BIN_EXE_read_variable");
const APPLY: &str = env!("CARGO_BIN_EXE_apply_writes");
const REPLAY: &str = env!("CARGO_BIN_EXE_replay_log");
const PREDICT: &str = env!("CARGO_BIN_EXE_predict_pcr7");

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    path.to_str().unwrap().to_owned()
}

fn vector(name: &str) -> String {
    file(&format!("efivars/tests/vectors/{name}"))
}

fn boot(name: &str) -> String {
    file(&format!("pcr/tests/vectors/pcr7/{name}"))
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn signed_values_are_those_of_efitools_and_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path().join("db.auth"));
    let (esl, key, cert) = (
        vector("esl/db.efitools.esl"),
        vector("keys/KEK.key"),
        vector("keys/KEK.crt"),
    );
    let sign = |extra: &[&str]| run(SIGN, &[&["db", &esl, &key, &cert, &out], extra].concat());
    let (code, document, _) = sign(&["2024-01-02T03:04:05"]);
    assert_eq!((code, &document["attributes"]), (0, &json!(39)));
    let (code, document, _) = run(READ, &[&out]);
    assert_eq!(code, 0);
    assert_eq!(document["signed_for"]["variable"], document_name("db"));
    assert_eq!(document["time"], "2024-01-02 03:04:05");
    assert_eq!(document["warnings"], json!([]));

    let (code, document, _) = sign(&["append", "2010-03-06T19:17:21"]);
    assert_eq!((code, &document["attributes"]), (0, &json!(103)));
    // The clock cannot be so wrong.
    let (code, document, _) = sign(&["9000-01-01T00:00:00"]);
    assert_eq!(code, 1);
    let refused = document["refused"].as_str().unwrap();
    assert!(refused.contains("more than a year ahead"), "{refused}");
}

fn document_name(name: &str) -> Value {
    json!(format!("{name}-d719b2cb-3d3a-4596-a3bc-dad00e67656f"))
}

#[test]
fn keys_that_firmware_does_not_take_are_refused_and_broken_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path().join("out.auth"));
    let sign = |esl: &str, key: &str, cert: &str| {
        let (code, document, message) = run(
            SIGN,
            &["db", &vector(esl), &vector(key), &vector(cert), &out],
        );
        let refused = document["refused"].as_str().unwrap_or_default().to_owned();
        (code, refused + &message)
    };
    let list = "esl/db.efitools.esl";
    for (esl, key, cert, code, told) in [
        (list, "keys/ec.key", "keys/ec.crt", 1, "not an RSA"),
        (list, "keys/KEK.key", "keys/ec.crt", 1, "no RSA key"),
        (
            list,
            "keys/KEK.key",
            "keys/PK.crt",
            1,
            "another certificate",
        ),
        (
            "esl/ec.efitools.esl",
            "keys/KEK.key",
            "keys/KEK.crt",
            1,
            "no RSA key",
        ),
        (
            "keys/db.crt",
            "keys/KEK.key",
            "keys/KEK.crt",
            2,
            "truncated",
        ),
        (list, "keys/KEK.crt", "keys/KEK.crt", 2, "no private key"),
        (list, "keys/KEK.key", "keys/KEK.key", 2, "no certificate"),
        (list, "keys/nothing", "keys/KEK.crt", 2, "nothing"),
    ] {
        let (found, message) = sign(esl, key, cert);
        assert_eq!(found, code, "{key} {cert}: {message}");
        assert!(message.contains(told), "{message}");
    }
    assert!(!Path::new(&out).exists(), "nothing is left behind");
    assert_eq!(run(SIGN, &["dbz", list, list, list, &out]).0, 2);
    assert_eq!(run(SIGN, &[]).0, 2);
    assert_eq!(run(SIGN, &["--help"]).0, 0);
}

#[test]
fn updates_that_no_machine_takes_are_told_by_the_exit_code() {
    for (name, code) in [
        ("auth/db.efitools.auth", 0),
        ("auth/db2.sbvarsign.auth", 0),
        ("auth/db2.sbvarsign-attrs.bin", 0),
        ("esl/three-sha256.efitools.esl", 0),
        ("firmware-oracle/s07-PK-unsigned.auth", 0),
        ("microsoft/DBXUpdate-amd64.bin", 0),
        ("microsoft/KEKUpdate_ECS_PK1.bin", 1),
        ("firmware-oracle/u11-db-nul.auth", 1),
        ("firmware-oracle/u10-db-nocerts.auth", 1),
        ("firmware-oracle/u20-db-type-pkcs.auth", 2),
        ("keys/db.crt", 2),
        ("keys/nothing", 2),
    ] {
        let (found, _, message) = run(READ, &[&vector(name)]);
        assert_eq!(found, code, "{name}: {message}");
    }
    let (_, _, message) = run(READ, &[&vector("keys/db.crt")]);
    assert!(message.contains("a certificate in PEM"), "{message}");
}

#[test]
fn writes_are_judged_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(folder.path().join("state.json"));
    fs::write(&state, "{}").unwrap();
    let auth = |name: &str, file: &str| format!("{name}={}", vector(file));
    let set = [
        auth("db", "auth/db.efitools.auth"),
        auth("KEK", "auth/KEK.efitools.auth"),
        auth("PK", "auth/PK.efitools.auth"),
    ];
    let [db, kek, pk] = set.each_ref().map(String::as_str);
    let (code, document, _) = run(APPLY, &[&state, db, kek, pk, "reboot"]);
    assert_eq!(code, 0);
    assert_eq!(document["secure_boot"], true);
    // The same again is not later; the state that was printed is one that is taken.
    fs::write(&state, document["state"].to_string()).unwrap();
    let (code, document, _) = run(APPLY, &[&state, db]);
    assert_eq!(code, 1);
    assert_eq!(document["writes"][0]["status"], "EFI_SECURITY_VIOLATION");
    assert_eq!(document["writes"][0]["errno"], "EACCES");
    assert_eq!(run(APPLY, &[&state, "db"]).0, 2);
    assert_eq!(run(APPLY, &[&state, "db=nothing"]).0, 2);
    fs::write(&state, "[]").unwrap();
    assert_eq!(run(APPLY, &[&state]).0, 2);
}

#[test]
fn a_log_is_replayed_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let log = boot("d2-own-keys/binary_bios_measurements");
    let (code, document, _) = run(REPLAY, &[&log]);
    assert_eq!(code, 0);
    let measured: Value =
        serde_json::from_slice(&fs::read(boot("d2-own-keys/pcrs.json")).unwrap()).unwrap();
    for (register, value) in measured["sha256"].as_object().unwrap() {
        if register != "10" {
            assert_eq!(&document["pcrs"]["sha256"][register], value, "{register}");
        }
    }
    let bytes = fs::read(&log).unwrap();
    let canonical = pcr::CelLog::from_log(&pcr::EventLog::parse(&bytes).unwrap());
    for form in [
        canonical.to_tlv().unwrap(),
        canonical.to_cbor().unwrap(),
        canonical.to_json().into_bytes(),
    ] {
        let path = text(folder.path().join("canonical"));
        fs::write(&path, form).unwrap();
        let (code, again, message) = run(REPLAY, &[&path]);
        assert_eq!(code, 0, "{message}");
        assert_eq!(again["pcrs"], document["pcrs"]);
    }
    let path = text(folder.path().join("cut"));
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let (code, _, message) = run(REPLAY, &[&path]);
    assert_eq!(code, 2);
    assert!(message.contains("ends within event data"), "{message}");
    assert_eq!(run(REPLAY, &[]).0, 2);
}

#[test]
fn pcr_7_without_images_is_that_of_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let value = |name: &str, guid: &str| {
        let file = fs::read(boot(&format!("d2-own-keys/efivars/{name}-{guid}"))).unwrap();
        let path = text(folder.path().join(name));
        fs::write(&path, &file[4..]).unwrap();
        path
    };
    let global = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let (pk, kek) = (value("PK", global), value("KEK", global));
    let db = value("db", "d719b2cb-3d3a-4596-a3bc-dad00e67656f");
    let args = ["--pk", &pk, "--kek", &kek, "--db", &db];
    let (code, document, message) = run(PREDICT, &args);
    assert_eq!(code, 0, "{message}");
    let image = "--dbx";
    assert_eq!(
        run(PREDICT, &[&args[..], &[image, "-"]].concat()).1,
        document
    );
    assert_eq!(run(PREDICT, &args[..4]).0, 2);
    assert_eq!(run(PREDICT, &[&args[..], &["nothing"]].concat()).0, 2);
    let (code, _, message) = run(PREDICT, &[&args[..5], &[&vector("keys/db.crt")]].concat());
    assert_eq!(code, 2, "{message}");
}

/// The values are those of another implementation (hashlib), which was told the authorities.
#[test]
fn pcr_7_with_images_has_the_authority_of_each_or_tells_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let owner = "11111111-2222-3333-4444-123456789abc".parse().unwrap();
    let certificate = |name: &str| {
        let pem = fs::read(file(&format!("authenticode/tests/vectors/keys/{name}.pem"))).unwrap();
        efivars::Certificate::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap()
    };
    let list = |names: &[&str]| {
        let database = names
            .iter()
            .fold(efivars::SignatureDatabase::new(), |lists, name| {
                lists.with_certificate(owner, &certificate(name))
            });
        let path = text(folder.path().join(names.concat()));
        fs::write(&path, database.to_bytes()).unwrap();
        path
    };
    let (db, dbx) = (list(&["root", "db-rsa2048"]), list(&["db-rsa2048"]));
    let (pk, kek) = (
        vector("esl/PK.efitools.esl"),
        vector("esl/KEK.efitools.esl"),
    );
    let image = |name: &str| {
        file(&format!(
            "authenticode/tests/vectors/signed/addon.{name}.efi"
        ))
    };
    let predicted = |dbx: &str, images: &[&str]| {
        let images: Vec<String> = images.iter().map(|name| image(name)).collect();
        let mut args = vec!["--pk", &pk, "--kek", &kek, "--db", &db, "--dbx", dbx];
        args.extend(images.iter().map(String::as_str));
        let (code, document, message) = run(PREDICT, &args);
        assert_eq!(message, "");
        let value = |bank: &str| document["pcrs"]["7"][""][bank].as_str().unwrap().to_owned();
        (
            code,
            value("sha1"),
            value("sha256"),
            document["images"].clone(),
        )
    };
    // A leaf below a certificate of db, and one that is in db itself; the second time nothing is measured.
    let (code, sha1, sha256, images) = predicted("-", &["sbsign", "chain", "sbsign"]);
    assert_eq!(code, 0);
    assert_eq!(sha1, "60165d8bd4f04f494563c477b2c12818e62b655d");
    assert_eq!(
        sha256,
        "c87fba987593a28334b1104a5e35a5399ed1a5388ca9511631fd937447f97716"
    );
    assert_eq!(
        images,
        json!(["authorised by db", "authorised by db", "authorised by db"])
    );
    let (code, _, sha256, images) = predicted(&dbx, &["sbsign"]);
    assert_eq!(code, 1);
    assert_eq!(
        sha256,
        "207a022e04d86f2f24032c58fe6722519cacb416bc1c7795ae5e8827c0a56ad0"
    );
    assert_eq!(images, json!(["refused: a signer is in dbx"]));
    let (code, _, sha256, _) = predicted("-", &["bad-signature"]);
    assert_eq!(code, 1);
    assert_eq!(
        sha256,
        "bb2d006766d2e94136ccbf6df2fe80d28fd8d28f323bcb57f811dc0c3e0c0cae"
    );
}
