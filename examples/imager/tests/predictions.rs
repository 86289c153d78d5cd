//! `imager predict` and `imager explain`, held against the signed policies and against arithmetic by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use sha2::{Digest, Sha256};
use support::{Lab, build, have, section};

const UKI: &str = "_out/metal-amd64-secureboot-uki.efi";
const ISO: &str = "_out/metal-amd64-secureboot.iso";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pcr_11(prediction: &Value, phase: &str) -> String {
    prediction["pcrs"]["11"][phase]["sha256"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn extend(register: &str, data: &[u8]) -> String {
    hex(&Sha256::digest(
        [bytes(register), Sha256::digest(data).to_vec()].concat(),
    ))
}

/// TPM2_PolicyPCR of PCR 11 alone, SHA-256 bank, on a fresh session.
fn policy(register: &str) -> String {
    let command = [
        &[0; 32][..],
        &[0, 0, 1, 0x7f],
        &[0, 0, 0, 1, 0, 0x0b, 3, 0, 8, 0],
        &Sha256::digest(bytes(register)),
    ];
    hex(&Sha256::digest(command.concat()))
}

#[test]
fn the_signed_policy_in_the_uki_is_that_of_the_predicted_register() {
    if !have("the_signed_policy_in_the_uki", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    let made = lab.json(&build("secureboot-metal-uki", &["--arch", "amd64"]));
    let prediction = lab.json(&["predict", UKI]);
    let predicted = pcr_11(&prediction, "enter-initrd");
    assert_eq!(made["pcr11"]["enter-initrd"]["sha256"], predicted);
    assert_eq!(predicted, extend(&pcr_11(&prediction, ""), b"enter-initrd"));

    let mut document = section(&lab.read(UKI), ".pcrsig");
    document.retain(|byte| *byte != 0);
    let document: Value = serde_json::from_slice(&document).unwrap();
    for bank in ["sha1", "sha256", "sha384", "sha512"] {
        assert_eq!(document[bank].as_array().unwrap().len(), 1, "{bank}");
    }
    let entry = &document["sha256"][0];
    assert_eq!(entry["pcrs"], serde_json::json!([11]));
    assert_eq!(entry["pol"], policy(&predicted));

    lab.write("policy", &bytes(entry["pol"].as_str().unwrap()));
    lab.write("base64", entry["sig"].as_str().unwrap().as_bytes());
    lab.write("public", &section(&lab.read(UKI), ".pcrpkey"));
    lab.tool(
        "openssl",
        &["base64", "-d", "-A", "-in", "base64", "-out", "signature"],
    );
    let check = [
        "dgst",
        "-sha256",
        "-verify",
        "public",
        "-signature",
        "signature",
        "policy",
    ];
    lab.tool("openssl", &check);
    let encode = ["-RSAPublicKey_out", "-outform", "DER", "-out", "public.der"];
    lab.tool(
        "openssl",
        &[&["rsa", "-pubin", "-in", "public"][..], &encode].concat(),
    );
    assert_eq!(entry["pkfp"], hex(&Sha256::digest(lab.read("public.der"))));
}

#[test]
fn the_sections_of_the_uki_extend_pcr_11_in_the_stubs_order() {
    if !have("the_sections_of_the_uki_extend", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-metal-uki", &["--arch", "amd64"]));
    let uki = lab.read(UKI);
    // Debian 12's stub: version 252 knows these and measures the name with its NUL, then the content.
    let register = [
        ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey",
    ]
    .into_iter()
    .filter(|name| {
        support::sections(&uki)
            .iter()
            .any(|(known, _)| known == name)
    })
    .fold("00".repeat(32), |register, name| {
        let named = extend(&register, format!("{name}\0").as_bytes());
        extend(&named, &section(&uki, name))
    });
    let prediction = lab.json(&["predict", "--bank", "sha256", UKI]);
    if prediction["stub"]
        .as_str()
        .unwrap()
        .contains("systemd-stub 252")
    {
        assert_eq!(pcr_11(&prediction, ""), register);
    } else {
        eprintln!(
            "SKIPPED: the installed stub is not version 252: {}",
            prediction["stub"]
        );
    }
}

#[test]
fn the_iso_predicts_the_pcr_11_of_its_uki_and_pcr_7_of_its_keys() {
    if !have("the_iso_predicts_the_pcr_11", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    let made = lab.json(&build("secureboot-iso", &["--arch", "amd64"]));
    lab.done(&build("secureboot-metal-uki", &["--arch", "amd64"]));
    let (iso, uki) = (lab.json(&["predict", ISO]), lab.json(&["predict", UKI]));
    assert_eq!(iso["pcrs"]["11"], uki["pcrs"]["11"]);
    assert_eq!(
        made["pcr11"]["enter-initrd"]["sha256"],
        pcr_11(&iso, "enter-initrd")
    );
    assert!(iso["loader"].as_str().unwrap().starts_with("systemd-boot "));
    // The keys on the medium are those of the folder; the UKI alone has none.
    let given = lab.json(&["predict", ISO, "--secureboot-dir", "_out"]);
    assert_eq!(given["pcrs"]["7"], iso["pcrs"]["7"]);
    assert_eq!(iso["pcrs"]["7"][""]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(uki["pcrs"]["7"], Value::Null);
    assert!(
        uki["notes"].to_string().contains("PCR 7 needs the keys"),
        "{}",
        uki["notes"]
    );
    // Without Secure Boot as well: firmware may have keys, none, or no Secure Boot at all.
    let off = lab.json(&["predict", UKI, "--secure-boot-off"]);
    assert_eq!(off["pcrs"]["7"], Value::Null);
    assert!(off["notes"].to_string().contains("depends on the machine"));
    let none = lab.json(&["predict", UKI, "--secure-boot-off", "--pk", "-"]);
    assert_eq!(
        none["pcrs"]["7"][""]["sha256"],
        "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068"
    );
    assert!(
        none["notes"]
            .to_string()
            .contains("built without Secure Boot")
    );
    let without = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../pcr/tests/vectors/foreign/secure-boot-empty.bin"
    );
    let log = ["predict", UKI, "--secure-boot-off", "--event-log", without];
    let log = lab.json(&log);
    assert_ne!(log["pcrs"]["7"], none["pcrs"]["7"]);
    assert_eq!(log["pcrs"]["7"][""]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn another_command_line_is_another_register_and_explain_says_no() {
    if !have("another_command_line_is_another_register", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-metal-uki", &["--output", "one.efi"]));
    lab.done(&[
        "edit",
        "one.efi",
        "--set",
        "cmdline=quiet",
        "--output",
        "two.efi",
    ]);
    let one = pcr_11(&lab.json(&["predict", "one.efi"]), "");
    let two = pcr_11(&lab.json(&["predict", "two.efi"]), "");
    assert_ne!(one, two);
    lab.done(&["explain", "one.efi", "--pcr11", &one]);
    let suspect = [
        "explain",
        "one.efi",
        "--pcr11",
        &two,
        "--suspect",
        "cmdline=quiet",
    ];
    let explained = lab.run(&suspect);
    assert_eq!(explained.code, 1);
    // The policies of the edited UKI are still those of the old command line.
    let findings = lab.json(&["inspect", "two.efi"])["uki"]["findings"].to_string();
    assert!(findings.contains("pcrsig-other-value"), "{findings}");
    assert!(findings.contains("pcrsig-phase-missing"), "{findings}");
    let findings = lab.json(&["inspect", "one.efi"])["uki"]["findings"].to_string();
    assert!(!findings.contains("pcrsig-"), "{findings}");
    assert_eq!(lab.run(&["explain", "one.efi", "--pcr11", &two]).code, 1);
    assert_eq!(lab.run(&["explain", "one.efi", "--pcr11", "xyz"]).code, 2);
}

#[test]
fn what_cannot_be_predicted_is_wrong_use() {
    if !have("what_cannot_be_predicted", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.write("garbage", &[0x42; 100_000]);
    lab.fails(&["predict", "garbage"], 2, "garbage");
    lab.fails(&["predict", "nothing"], 2, "cannot read nothing");
    lab.fails(&["predict"], 2, "required");
    lab.fails(&["predict", support::LOADER], 2, "");
    lab.done(&build("secureboot-metal-uki", &["--output", "uki.efi"]));
    lab.fails(&["predict", "uki.efi", "--bank", "md5"], 2, "'md5'");
    lab.fails(
        &["predict", "uki.efi", "--uki-profile", "7"],
        2,
        "predict the registers",
    );
    lab.fails(
        &["predict", "uki.efi", "--phases", "enter-initrd sysinit"],
        2,
        "has a blank in it",
    );
    lab.fails(
        &["predict", "uki.efi", "--hardware", "dtbauto 0"],
        2,
        "is none of: none",
    );
    lab.fails(
        &["predict", "uki.efi", "--addon", "uki.efi"],
        2,
        "it is a UKI",
    );
    lab.fails(
        &["predict", "uki.efi", "--credential", "garbage"],
        2,
        "names that end in .cred",
    );
    lab.fails(
        &["predict", "uki.efi", "--db", "garbage"],
        2,
        "garbage: not a usable",
    );
}
