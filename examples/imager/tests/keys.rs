//! `imager gen`, and the key files that other tools made.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Lab, have};

fn mode(lab: &Lab, name: &str) -> u32 {
    lab.path(name).metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_secure_boot_key_has_a_certificate_that_openssl_verifies() {
    if !have("a_new_secure_boot_key", &[]) {
        return;
    }
    let lab = Lab::empty();
    let made = lab.json(&["gen", "uki", "--bits", "2048", "--common-name", "A, B+C"]);
    assert_eq!(made["files"].as_array().unwrap().len(), 3);
    let names = [
        "uki-signing-cert.der",
        "uki-signing-cert.pem",
        "uki-signing-key.pem",
    ];
    assert_eq!(lab.list("_out"), names);
    assert_eq!(mode(&lab, "_out/uki-signing-key.pem"), 0o600);
    assert_eq!(mode(&lab, "_out/uki-signing-cert.pem"), 0o644);
    let pem = "_out/uki-signing-cert.pem";
    lab.tool("openssl", &["verify", "-CAfile", pem, pem]);
    let subject = lab.tool(
        "openssl",
        &["x509", "-in", pem, "-noout", "-subject", "-pubkey"],
    );
    assert!(
        subject.contains("A, B+C") || subject.contains(r"A\, B\+C"),
        "{subject}"
    );
    let public = lab.tool(
        "openssl",
        &["pkey", "-in", "_out/uki-signing-key.pem", "-pubout"],
    );
    assert!(subject.contains(&public), "{subject}");
    lab.tool(
        "openssl",
        &[
            "x509",
            "-inform",
            "DER",
            "-in",
            "_out/uki-signing-cert.der",
            "-out",
            "again.pem",
        ],
    );
    let certificate = |name: &str| lab.tool("openssl", &["x509", "-in", name]);
    assert_eq!(certificate("again.pem"), certificate(pem));
}

#[test]
fn a_pcr_key_is_not_replaced_unless_forced_and_then_kept_beside() {
    if !have("a_pcr_key_is_not_replaced", &[]) {
        return;
    }
    let lab = Lab::empty();
    lab.done(&["gen", "pcr"]);
    let (key, public) = (
        "_out/pcr-signing-key.pem",
        "_out/pcr-signing-public-key.pem",
    );
    assert_eq!((mode(&lab, key), mode(&lab, public)), (0o600, 0o644));
    let openssl = lab.tool("openssl", &["pkey", "-in", key, "-pubout"]);
    assert_eq!(openssl.as_bytes(), lab.read(public));
    let old = lab.read(key);
    lab.fails(&["gen", "pcr"], 2, "exists and is left as it is");
    assert_eq!(lab.read(key), old);
    lab.done(&["gen", "pcr", "--force"]);
    assert_ne!(lab.read(key), old);
    assert_eq!(lab.read("_out/pcr-signing-key.pem.1"), old);
    assert_eq!(mode(&lab, "_out/pcr-signing-key.pem.1"), 0o600);
    let second = lab.read(key);
    lab.done(&["gen", "pcr", "--force"]);
    assert_eq!(lab.read("_out/pcr-signing-key.pem.1"), old);
    assert_eq!(lab.read("_out/pcr-signing-key.pem.2"), second);
}

#[test]
fn the_database_has_all_files_and_is_the_same_for_the_same_date() {
    if !have("the_database_has_all_files", &[]) {
        return;
    }
    let lab = Lab::with_keys();
    lab.done(&["gen", "database"]);
    let made: Vec<String> = lab
        .list("_out")
        .into_iter()
        .filter(|name| !name.ends_with(".pem"))
        .collect();
    assert_eq!(
        made,
        [
            "KEK.auth", "KEK.esl", "PK.auth", "PK.esl", "db.auth", "db.esl"
        ]
    );
    let first = lab.read("_out/db.auth");
    lab.fails(&["gen", "database"], 2, "exists and is left as it is");
    lab.done(&["gen", "database", "--force"]);
    assert_eq!(lab.read("_out/db.auth"), first);
    lab.done(&[
        "gen",
        "database",
        "--force",
        "--dbx-cert",
        "_out/uki-signing-cert.pem",
    ]);
    assert!(lab.path("_out/dbx.auth").is_file());
    lab.fails(
        &["gen", "database", "--force", "--owner", "nobody"],
        2,
        "--owner: 'nobody'",
    );
    lab.fails(
        &[
            "gen",
            "database",
            "--force",
            "--include-well-known-uefi-certs",
        ],
        2,
        "the folder with Microsoft's certificates is missing",
    );
}

#[test]
fn update_and_list_are_described_as_json() {
    if !have("update_and_list_are_described", &[]) {
        return;
    }
    let lab = Lab::with_keys();
    let owner = "11223344-5566-7788-99aa-bbccddeeff00";
    lab.done(&["gen", "database", "--owner", owner]);
    let update = lab.json(&["inspect", "_out/db.auth"]);
    assert_eq!(update["kind"], "authenticated update");
    assert_eq!(update["signed"], true);
    assert_eq!(update["signature_error"], serde_json::Value::Null);
    let list = lab.json(&["inspect", "_out/db.esl"]);
    assert_eq!(list["kind"], "signature lists");
    assert_eq!(list["value"], update["value"]);
    assert_eq!(list["value"]["entries"][0]["owner"], owner);
    let fingerprint = lab.tool(
        "openssl",
        &[
            "x509",
            "-in",
            "_out/uki-signing-cert.pem",
            "-noout",
            "-fingerprint",
            "-sha256",
        ],
    );
    let hex = fingerprint
        .trim()
        .rsplit('=')
        .next()
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    assert_eq!(list["value"]["entries"][0]["certificate"]["sha256"], hex);
    // The variables of a machine, as virt-firmware writes them.
    let data = std::fs::read(lab.path("_out/db.esl")).unwrap();
    let data: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let db = serde_json::json!({ "name": "db", "attr": 39, "data": data });
    let machine = serde_json::json!({ "version": 2, "variables": [db] });
    lab.write("machine.json", machine.to_string().as_bytes());
    let machine = lab.json(&["inspect", "machine.json"]);
    assert_eq!(machine["kind"], "firmware variables (JSON)");
    assert_eq!(machine["variables"][0]["keys"], list["value"]);
    lab.write("broken.json", br#"{"variables": [{"name": "x"}]}"#);
    lab.fails(&["inspect", "broken.json"], 2, "a variable has no `guid`");
    lab.write("empty", b"");
    lab.fails(&["inspect", "empty"], 2, "it is empty");
    lab.fails(&["inspect", "nothing"], 2, "cannot read nothing");
}

#[test]
fn keys_of_openssl_are_taken_in_every_form() {
    if !have("keys_of_openssl", &[]) {
        return;
    }
    let lab = Lab::with_keys().set("IMAGER_KEY_PASSPHRASE", "from the environment");
    let key = "_out/uki-signing-key.pem";
    lab.tool(
        "openssl",
        &["rsa", "-traditional", "-in", key, "-out", "pkcs1.pem"],
    );
    assert!(
        lab.read("pkcs1.pem")
            .starts_with(b"-----BEGIN RSA PRIVATE KEY")
    );
    lab.write("words", b"open sesame\n");
    for (cipher, name) in [("aes-256-cbc", "aes.pem"), ("des3", "des.pem")] {
        let seal = ["pkcs8", "-topk8", "-v2", cipher, "-in", key, "-out", name];
        lab.tool(
            "openssl",
            &[&seal[..], &["-passout", "file:words"]].concat(),
        );
        assert!(lab.read(name).starts_with(b"-----BEGIN ENCRYPTED"));
    }
    let with = |name: &'static str, more: &[&'static str]| {
        let gen_database = ["gen", "database", "--force", "--signing-key", name];
        [&gen_database[..], more].concat()
    };
    lab.done(&with(key, &[]));
    let update = lab.read("_out/db.auth");
    lab.done(&with("pkcs1.pem", &[]));
    assert_eq!(lab.read("_out/db.auth"), update);
    for name in ["aes.pem", "des.pem"] {
        lab.done(&with(name, &["--key-passphrase-file", "words"]));
        assert_eq!(lab.read("_out/db.auth"), update);
    }
    // The variable holds other words.
    lab.fails(
        &with("aes.pem", &[]),
        2,
        "aes.pem: the passphrase does not open the key",
    );
    let none = Lab::with_keys();
    let aes = lab.path("aes.pem");
    none.fails(
        &["gen", "database", "--signing-key", aes.to_str().unwrap()],
        2,
        "the key is encrypted: give its passphrase with --key-passphrase-file",
    );
}

#[test]
fn keys_that_do_not_serve_are_refused_with_the_reason() {
    if !have("keys_that_do_not_serve", &[]) {
        return;
    }
    let lab = Lab::with_keys();
    lab.key_pair("other");
    let curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    lab.tool(
        "openssl",
        &[&["genpkey", "-out", "ec.pem"][..], &curve].concat(),
    );
    lab.tool("openssl", &["ec", "-in", "ec.pem", "-out", "sec1.pem"]);
    lab.tool("openssl", &["genrsa", "-out", "short.pem", "1024"]);
    let text = String::from_utf8(lab.read("other-key.pem")).unwrap();
    lab.write("damaged.pem", text.replace("MII", "MIJ").as_bytes());
    for (key, message) in [
        ("other-key.pem", "does not belong to the certificate"),
        ("ec.pem", "the key is of type EC"),
        ("sec1.pem", "the key is of type EC"),
        ("short.pem", "RSA keys of 1024 bits are not taken"),
        ("damaged.pem", "the private key is damaged"),
        ("other-cert.pem", "no private key found"),
        ("nothing.pem", "cannot read nothing.pem"),
    ] {
        lab.fails(&["gen", "database", "--signing-key", key], 2, message);
    }
    assert!(!lab.path("_out/db.auth").exists());
    assert!(!lab.path("_out/PK.auth").exists());
}
