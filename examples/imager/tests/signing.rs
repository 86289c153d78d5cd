//! `imager sign`, `verify` and `edit`, held against sbverify and OpenSSL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{LOADER, Lab, build, have, section, sections};

const KEY: &str = "_out/uki-signing-key.pem";
const CERT: &str = "_out/uki-signing-cert.pem";

/// A lab with Debian's unsigned boot loader as `image.efi`.
fn with_image() -> Lab {
    let lab = Lab::with_keys();
    lab.write("image.efi", &std::fs::read(LOADER).unwrap());
    lab
}

#[test]
fn sbverify_accepts_what_was_signed_and_a_changed_copy_is_refused() {
    if !have("sbverify_accepts_what_was_signed", &["sbverify"]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    let made = lab.json(&["sign", "--key", KEY, "--cert", CERT, "image.efi"]);
    assert_eq!(made["output"], "image.efi.signed");
    assert_eq!(made["signatures"], 1);
    lab.tool("sbverify", &["--cert", CERT, "image.efi.signed"]);
    let allowed = lab.json(&["verify", "--cert", CERT, "image.efi.signed"]);
    assert_eq!(allowed["verdict"], "allow");

    let mut changed = lab.read("image.efi.signed");
    changed[0x2000] ^= 1;
    lab.write("changed.efi", &changed);
    assert_ne!(
        lab.judge("sbverify", &["--cert", CERT, "changed.efi"]).code,
        0
    );
    for (certificate, image) in [
        (CERT, "changed.efi"),
        (CERT, "image.efi"),
        ("other-cert.pem", "image.efi.signed"),
    ] {
        let run = lab.run(&["--json", "verify", "--cert", certificate, image]);
        assert_eq!(run.code, 1, "{certificate} {image}: {}{}", run.out, run.err);
        let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(document["verdict"], "deny");
    }
    lab.fails(&["verify", "image.efi.signed"], 2, "the keys is missing");
    lab.write("garbage", &[0x42; 4096]);
    lab.fails(&["verify", "--cert", CERT, "garbage"], 2, "garbage");
    lab.fails(
        &["verify", "--cert", "garbage", "image.efi"],
        2,
        "not a usable certificate",
    );
}

#[test]
fn a_forbidden_signer_is_refused_although_db_has_it() {
    if !have("a_forbidden_signer", &[]) {
        return;
    }
    let lab = with_image();
    lab.done(&["sign", "--key", KEY, "--cert", CERT, "image.efi"]);
    lab.done(&["verify", "--db", CERT, "image.efi.signed"]);
    let run = lab.run(&["verify", "--db", CERT, "--dbx", CERT, "image.efi.signed"]);
    assert_eq!(run.code, 1, "{run:?}");
}

#[test]
fn a_key_elsewhere_signs_in_two_steps() {
    if !have("a_key_elsewhere", &["sbverify"]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    lab.done(&["sign", "--cert", CERT, "--prepare", "message", "image.efi"]);
    for (key, signature) in [(KEY, "signature"), ("other-key.pem", "wrong")] {
        lab.tool(
            "openssl",
            &[
                "dgst", "-sha256", "-sign", key, "-out", signature, "message",
            ],
        );
    }
    let attach = |signature: &'static str| {
        [
            "sign",
            "--cert",
            CERT,
            "--signature",
            signature,
            "--output",
            "two.efi",
            "image.efi",
        ]
    };
    lab.fails(&attach("wrong"), 2, "wrong: not a usable signature");
    assert!(!lab.path("two.efi").exists());
    lab.done(&attach("signature"));
    lab.tool("sbverify", &["--cert", CERT, "two.efi"]);
    lab.done(&[
        "sign",
        "--key",
        KEY,
        "--cert",
        CERT,
        "--output",
        "one.efi",
        "image.efi",
    ]);
    assert!(lab.read("one.efi") == lab.read("two.efi"));
}

#[test]
fn a_detached_signature_is_judged_and_attached() {
    if !have("a_detached_signature", &["sbverify"]) {
        return;
    }
    let lab = with_image();
    lab.done(&[
        "sign",
        "--key",
        KEY,
        "--cert",
        CERT,
        "--detached",
        "image.efi",
    ]);
    lab.tool(
        "openssl",
        &["pkcs7", "-inform", "DER", "-in", "image.efi.p7", "-noout"],
    );
    lab.done(&[
        "verify",
        "--cert",
        CERT,
        "--detached",
        "image.efi.p7",
        "image.efi",
    ]);
    lab.tool(
        "sbverify",
        &["--cert", CERT, "--detached", "image.efi.p7", "image.efi"],
    );
    lab.done(&[
        "sign",
        "--attach",
        "image.efi.p7",
        "--output",
        "attached.efi",
        "image.efi",
    ]);
    lab.tool("sbverify", &["--cert", CERT, "attached.efi"]);
    lab.write("garbage", &[0x42; 100]);
    lab.fails(
        &[
            "sign",
            "--attach",
            "garbage",
            "--output",
            "x.efi",
            "image.efi",
        ],
        2,
        "garbage",
    );
    assert!(!lab.path("x.efi").exists());
}

#[test]
fn signatures_are_added_replaced_and_removed() {
    if !have("signatures_are_added", &["sbverify"]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    lab.done(&[
        "sign",
        "--key",
        KEY,
        "--cert",
        CERT,
        "--output",
        "one.efi",
        "image.efi",
    ]);
    let other = ["sign", "--key", "other-key.pem", "--cert", "other-cert.pem"];
    let both = lab.json(&[&other[..], &["--output", "both.efi", "one.efi"]].concat());
    assert_eq!(both["signatures"], 2);
    for certificate in [CERT, "other-cert.pem"] {
        lab.done(&["verify", "--cert", certificate, "both.efi"]);
        lab.tool("sbverify", &["--cert", certificate, "both.efi"]);
    }
    let only = lab.json(
        &[
            &other[..],
            &["--replace", "--output", "only.efi", "one.efi"],
        ]
        .concat(),
    );
    assert_eq!(only["signatures"], 1);
    assert_eq!(lab.run(&["verify", "--cert", CERT, "only.efi"]).code, 1);
    lab.done(&["verify", "--cert", "other-cert.pem", "only.efi"]);
    lab.done(&["sign", "--remove-all", "--output", "none.efi", "both.efi"]);
    let none = lab.json(&["verify", "--list", "none.efi"]);
    assert_eq!(none["images"][0]["signatures"], serde_json::json!([]));
}

#[test]
fn a_signature_is_detached_removed_or_merged_by_its_number() {
    if !have("a_signature_is_detached", &["sbverify", "sbattach"]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    let own = ["sign", "--key", KEY, "--cert", CERT];
    let other = ["sign", "--key", "other-key.pem", "--cert", "other-cert.pem"];
    lab.done(&[&own[..], &["--output", "one.efi", "image.efi"]].concat());
    lab.done(&[&other[..], &["--output", "other.efi", "image.efi"]].concat());
    lab.done(&[&other[..], &["--output", "both.efi", "one.efi"]].concat());

    lab.done(&["sign", "--detach", "first.p7", "both.efi"]);
    lab.tool("sbattach", &["--detach", "peer.p7", "one.efi"]);
    assert!(lab.read("first.p7") == lab.read("peer.p7"));
    let second = ["sign", "--detach", "second.p7", "--signature-number", "2"];
    lab.done(&[&second[..], &["both.efi"]].concat());
    for (certificate, signature) in [(CERT, "first.p7"), ("other-cert.pem", "second.p7")] {
        let detached = ["--cert", certificate, "--detached", signature, "image.efi"];
        lab.tool("sbverify", &detached);
    }

    let merged = lab.json(&[
        "sign",
        "--merge",
        "other.efi",
        "--output",
        "m.efi",
        "one.efi",
    ]);
    assert_eq!(merged["signatures"], 2);
    assert!(lab.read("m.efi") == lab.read("both.efi"));
    for (number, certificate, left) in
        [("1", "other-cert.pem", "other.efi"), ("2", CERT, "one.efi")]
    {
        let rest = [
            "sign", "--remove", number, "--output", "rest.efi", "--force",
        ];
        assert_eq!(
            lab.json(&[&rest[..], &["both.efi"]].concat())["signatures"],
            1
        );
        assert!(lab.read("rest.efi") == lab.read(left), "{number}");
        lab.tool("sbverify", &["--cert", certificate, "rest.efi"]);
    }

    let mut changed = lab.read("image.efi");
    changed[0x2000] ^= 1;
    lab.write("image.efi", &changed);
    lab.done(&[&other[..], &["--output", "changed.efi", "image.efi"]].concat());
    let before = lab.list(".");
    for (arguments, message) in [
        (
            &["--remove", "3", "both.efi"][..],
            "it has no signature 3, only 2",
        ),
        (
            &["--remove", "0", "both.efi"],
            "signatures are counted from 1",
        ),
        (
            &["--detach", "x", "image.efi"],
            "it has no signature 1, only 0",
        ),
        (&["--merge", "changed.efi", "one.efi"], "changed.efi"),
        (
            &["--remove", "1", "--merge", "other.efi", "both.efi"],
            "cannot be used with",
        ),
        (
            &["--key", KEY, "--cert", CERT, "--remove", "1", "both.efi"],
            "cannot be used with",
        ),
    ] {
        lab.fails(&[&["sign"], arguments].concat(), 2, message);
        assert_eq!(lab.list("."), before, "{arguments:?}");
    }
}

#[test]
fn a_time_is_signed_only_when_asked_for() {
    if !have("a_time_is_signed", &["sbverify"]) {
        return;
    }
    let lab = with_image();
    let sign = |more: &[&'static str]| {
        let output = ["--force", "--output", "out.efi", "image.efi"];
        lab.done(&[&["sign", "--key", KEY, "--cert", CERT], more, &output].concat());
        lab.tool("sbverify", &["--cert", CERT, "out.efi"]);
        lab.read("out.efi")
    };
    let time = b"\x17\x0d260101000000Z";
    let has_time = |image: &[u8]| image.windows(time.len()).any(|bytes| bytes == time);
    let timed = ["--signing-time", "1767225600"];
    assert!(has_time(&sign(&timed)));
    assert!(sign(&timed) == sign(&timed));
    assert!(!has_time(&sign(&[])));
}

/// dbx with the hash of a certificate's signed part, revoked from the start of a year on.
fn revoked_from(lab: &Lab, year: u16) -> Vec<u8> {
    let x509 = ["x509", "-in", CERT, "-outform", "DER", "-out", "cert.der"];
    lab.tool("openssl", &x509);
    let der = lab.read("cert.der");
    let len = usize::from(u16::from_be_bytes([der[6], der[7]])) + 4;
    lab.write("tbs", &der[4..4 + len]);
    lab.tool(
        "openssl",
        &["dgst", "-sha256", "-binary", "-out", "hash", "tbs"],
    );
    let mut list = vec![
        0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03,
        0xed,
    ];
    for size in [28 + 64_u32, 0, 64] {
        list.extend(size.to_le_bytes());
    }
    list.extend([0; 16]);
    list.extend(lab.read("hash"));
    list.extend(year.to_le_bytes());
    list.extend([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    list
}

#[test]
fn a_timestamp_excuses_from_a_later_revocation_if_dbt_knows_its_authority() {
    if !have("a_timestamp_excuses", &["sbverify", "osslsigncode"]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    lab.write(
        "tsa.cnf",
        b"[req]\ndistinguished_name=dn\n[dn]\n[tsa]\ndefault_tsa=t\n[t]\nserial=serial\n\
          signer_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\n",
    );
    for (key, certificate) in [("tsa.key", "tsa.pem"), ("tsa2.key", "tsa2.pem")] {
        lab.tool(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                key,
                "-out",
                certificate,
                "-subj",
                "/CN=TSA",
                "-config",
                "tsa.cnf",
                "-addext",
                "extendedKeyUsage=critical,timeStamping",
            ],
        );
    }
    lab.done(&[
        "sign",
        "--key",
        KEY,
        "--cert",
        CERT,
        "--output",
        "one.efi",
        "image.efi",
    ]);
    let other = ["sign", "--key", "other-key.pem", "--cert", "other-cert.pem"];
    lab.done(&[&other[..], &["--output", "other.efi", "image.efi"]].concat());
    lab.done(&["sign", "--timestamp-data", "data", "one.efi"]);
    lab.tool(
        "openssl",
        &[
            "ts", "-query", "-sha256", "-cert", "-data", "data", "-out", "query",
        ],
    );
    lab.tool(
        "openssl",
        &[
            "ts",
            "-reply",
            "-config",
            "tsa.cnf",
            "-section",
            "t",
            "-queryfile",
            "query",
            "-signer",
            "tsa.pem",
            "-inkey",
            "tsa.key",
            "-out",
            "response",
        ],
    );
    let stamp = ["sign", "--timestamp", "response", "--output", "stamped.efi"];
    lab.fails(&[&stamp[..], &["other.efi"]].concat(), 2, "response");
    lab.fails(
        &[&stamp[..], &["--signature-number", "2", "one.efi"]].concat(),
        2,
        "it has no signature 2, only 1",
    );
    lab.done(&[&stamp[..], &["one.efi"]].concat());
    lab.tool("sbverify", &["--cert", CERT, "stamped.efi"]);
    let peer = [
        "verify",
        "-CAfile",
        CERT,
        "-TSA-CAfile",
        "tsa.pem",
        "-in",
        "stamped.efi",
    ];
    lab.tool("osslsigncode", &peer);

    for (year, dbt, image, code) in [
        (2099, Some("tsa.pem"), "stamped.efi", 0),
        (2099, None, "stamped.efi", 1),
        (2099, Some("tsa2.pem"), "stamped.efi", 1),
        (2099, Some("tsa.pem"), "one.efi", 1),
        (2001, Some("tsa.pem"), "stamped.efi", 1),
    ] {
        lab.write("dbx.esl", &revoked_from(&lab, year));
        let mut line = vec!["verify", "--db", CERT, "--dbx", "dbx.esl"];
        line.extend(dbt.iter().flat_map(|file| ["--dbt", *file]));
        line.push(image);
        let run = lab.run(&line);
        assert_eq!(run.code, code, "{year} {dbt:?} {image}: {run:?}");
    }
}

#[test]
fn every_list_of_shim_counts() {
    if !have("every_list_of_shim", &[]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    lab.done(&[
        "sign",
        "--key",
        KEY,
        "--cert",
        CERT,
        "--output",
        "one.efi",
        "image.efi",
    ]);
    lab.write("low", b"sbat,1,2024010900\nsystemd,1\n");
    lab.write("high", b"sbat,1,2024010900\nsystemd,99\n");
    lab.write("bad", b"systemd\n");
    for (arguments, code) in [
        (&["--mok", CERT][..], 0),
        (&["--vendor-cert", CERT], 0),
        (&["--cert", CERT, "--mok", "other-cert.pem"], 0),
        (&["--mok", "other-cert.pem"], 1),
        (&["--mok", CERT, "--mokx", CERT], 1),
        (&["--mok", CERT, "--mokx", "other-cert.pem"], 0),
        (&["--mok", CERT, "--sbat-level", "low"], 0),
        (&["--mok", CERT, "--sbat-level", "high"], 1),
        (&["--mok", CERT, "--sbat-level", "bad"], 2),
        (&["--mokx", CERT], 2),
    ] {
        let run = lab.run(&[&["verify"], arguments, &["one.efi"]].concat());
        assert_eq!(run.code, code, "{arguments:?}: {run:?}");
    }
    // The status of the signature goes by the lists that the verdict goes by.
    for list in ["--db", "--mok", "--vendor-cert"] {
        let allowed = lab.json(&["verify", list, CERT, "one.efi"]);
        assert_eq!(
            allowed["images"][0]["signatures"][0]["status"], "valid",
            "{list}"
        );
    }
}

#[test]
fn what_cannot_be_signed_is_said_and_leaves_no_file() {
    if !have("what_cannot_be_signed", &[]) {
        return;
    }
    let lab = with_image();
    lab.key_pair("other");
    lab.write("garbage", &[0x42; 4096]);
    let before = lab.list(".");
    let sign = |more: &[&'static str]| [&["sign"][..], more].concat();
    for (arguments, message) in [
        (
            &["--key", "other-key.pem", "--cert", CERT, "image.efi"][..],
            "does not belong",
        ),
        (
            &["--key", KEY, "--cert", CERT, "garbage"],
            "garbage: not a usable EFI image",
        ),
        (
            &["--key", KEY, "--cert", CERT, "nothing"],
            "cannot read nothing",
        ),
        (
            &["--key", KEY, "--cert", CERT, "--hash", "md5", "image.efi"],
            "'md5' is none of",
        ),
        (
            &["--key", KEY, "--cert", "garbage", "image.efi"],
            "not a usable certificate",
        ),
        (&["--cert", CERT, "image.efi"], "--key <FILE>"),
        (&["image.efi"], "required"),
    ] {
        lab.fails(&sign(arguments), 2, message);
        assert_eq!(lab.list("."), before, "{arguments:?}");
    }
    let twice = ["sign", "--key", KEY, "--cert", CERT, "image.efi"];
    lab.done(&twice);
    lab.fails(&twice, 2, "image.efi.signed exists and is left");
}

#[test]
fn an_edit_changes_one_section_and_leaves_the_others() {
    if !have("an_edit_changes_one_section", &["sbverify"]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-metal-uki", &["--output", "uki.efi"]));
    lab.write("line", b"a longer command line\nwith a line of its own");
    lab.done(&[
        "edit",
        "uki.efi",
        "--set",
        "cmdline=@line",
        "--output",
        "new.efi",
    ]);
    let (old, new) = (lab.read("uki.efi"), lab.read("new.efi"));
    assert_eq!(section(&new, ".cmdline"), lab.read("line"));
    let others = |image: &[u8]| -> Vec<_> {
        sections(image)
            .into_iter()
            .filter(|(name, _)| name != ".cmdline")
            .collect()
    };
    assert_eq!(others(&old), others(&new));
    // The old signature is for the old bytes.
    let list = lab.json(&["verify", "--list", "new.efi"]);
    assert_eq!(list["images"][0]["signatures"], serde_json::json!([]));
    lab.done(&[
        "sign",
        "--key",
        KEY,
        "--cert",
        CERT,
        "--output",
        "signed.efi",
        "new.efi",
    ]);
    lab.tool("sbverify", &["--cert", CERT, "signed.efi"]);
}

#[test]
fn an_edit_signs_the_policies_again_as_a_build_does() {
    if !have("an_edit_signs_the_policies_again", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-metal-uki", &["--output", "uki.efi"]));
    lab.done(&build(
        "secureboot-metal-uki",
        &["--cmdline", "quiet", "--output", "fresh.efi"],
    ));
    let key = [
        "--pcr-key",
        "_out/pcr-signing-key.pem",
        "--output",
        "new.efi",
    ];
    lab.done(&[&["edit", "uki.efi", "--set", "cmdline=quiet"][..], &key].concat());
    let (new, fresh) = (lab.read("new.efi"), lab.read("fresh.efi"));
    assert_eq!(section(&new, ".pcrsig"), section(&fresh, ".pcrsig"));
    assert_ne!(
        section(&new, ".pcrsig"),
        section(&lab.read("uki.efi"), ".pcrsig")
    );
}

#[test]
fn an_edit_that_makes_no_sense_leaves_no_file() {
    if !have("an_edit_that_makes_no_sense", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-metal-uki", &["--output", "uki.efi"]));
    let before = lab.read("uki.efi");
    for (set, message) in [
        ("cmdline", "NAME=TEXT or NAME=@FILE expected"),
        ("cmdline:x=y", "a profile number follows"),
        ("cmdline=@nothing", "cannot read nothing"),
        ("far.too.long=x", "far.too.long"),
    ] {
        lab.fails(&["edit", "uki.efi", "--set", set], 2, message);
    }
    assert!(lab.read("uki.efi") == before);
    lab.fails(
        &[
            "edit",
            "initramfs",
            "--set",
            "cmdline=x",
            "--output",
            "new.efi",
        ],
        2,
        "not a usable UKI",
    );
    assert!(!lab.path("new.efi").exists());
}
