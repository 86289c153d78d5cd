//! The builds, judged by sbverify, fsck.vfat, sgdisk, xorriso and mtools.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use support::{Lab, build, esp, have, section, sections};

const UKI: &str = "_out/metal-amd64-secureboot-uki.efi";
const ISO: &str = "_out/metal-amd64-secureboot.iso";
const CERT: &str = "_out/uki-signing-cert.pem";

#[test]
fn sbverify_accepts_the_uki_and_its_sections_are_the_inputs() {
    if !have("sbverify_accepts_the_uki", &["sbverify"]) {
        return;
    }
    let lab = Lab::for_builds();
    let made = lab.json(&build("secureboot-metal-uki", &["--arch", "amd64"]));
    assert_eq!(made["output"], UKI);
    let uki = lab.read(UKI);
    assert_eq!(made["len"], uki.len());
    lab.tool("sbverify", &["--cert", CERT, UKI]);
    assert_eq!(section(&uki, ".linux"), lab.read("vmlinuz"));
    assert_eq!(section(&uki, ".initrd")[..5006], lab.read("initramfs"));
    assert_eq!(section(&uki, ".osrel"), lab.read("os-release"));
    assert_eq!(section(&uki, ".cmdline"), b"console=ttyS0");
    assert_eq!(section(&uki, ".uname"), b"6.1.0-test");
    let public = lab.tool(
        "openssl",
        &["pkey", "-in", "_out/pcr-signing-key.pem", "-pubout"],
    );
    assert_eq!(section(&uki, ".pcrpkey"), public.as_bytes());
    let names: Vec<String> = sections(&uki).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&".pcrsig".to_owned()), "{names:?}");
    let shown = lab.json(&["inspect", UKI]);
    assert_eq!(shown["kind"], "UKI");
    assert_eq!(shown["uki"]["cmdline"], "console=ttyS0");
    assert_eq!(shown["uki"]["uname"], "6.1.0-test");
}

#[test]
fn four_tools_agree_with_the_iso_and_sbverify_accepts_what_boots_from_it() {
    let tools = ["sbverify", "fsck.vfat", "sgdisk", "xorriso", "mcopy"];
    if !have("four_tools_agree_with_the_iso", &tools) {
        return;
    }
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-iso", &["--arch", "amd64"]));
    let iso = lab.read(ISO);
    let (start, len) = esp(&iso);
    lab.write("esp.img", &iso[start..start + len]);
    lab.tool("fsck.vfat", &["-n", "esp.img"]);
    let table = lab.tool("sgdisk", &["--verify", ISO]);
    assert!(table.contains("No problems found"), "{table}");
    let catalog = lab.judge("xorriso", &["-indev", ISO, "-report_el_torito", "plain"]);
    assert!(catalog.out.contains("UEFI"), "{catalog:?}");
    let volume = lab.judge("xorriso", &["-indev", ISO, "-pvd_info"]);
    assert!(format!("{volume:?}").contains("TEST_1_2"), "{volume:?}");

    let from_esp = |from: &str, to: &str| {
        lab.tool("mcopy", &["-i", "esp.img", &format!("::/{from}"), to]);
        lab.read(to)
    };
    from_esp("EFI/BOOT/BOOTX64.EFI", "loader.efi");
    from_esp("EFI/Linux/test-1.2.efi", "uki.efi");
    lab.tool("sbverify", &["--cert", CERT, "loader.efi"]);
    lab.tool("sbverify", &["--cert", CERT, "uki.efi"]);
    for name in ["PK.auth", "KEK.auth", "db.auth"] {
        let on_medium = from_esp(&format!("loader/keys/auto/{name}"), name);
        assert_eq!(on_medium, lab.read(&format!("_out/{name}")));
    }
    let conf = String::from_utf8(from_esp("loader/loader.conf", "loader.conf")).unwrap();
    // Debian 12's systemd-boot is older than if-safe.
    assert!(conf.contains("secure-boot-enroll "), "{conf}");
    lab.done(&["verify", "--secureboot-dir", "_out", ISO]);
    let shown = lab.json(&["inspect", ISO]);
    assert_eq!(shown["kind"], "medium with UKI");
    assert_eq!(shown["enrolment"], serde_json::json!(["db", "KEK", "PK"]));
    assert_eq!(shown["uki"]["cmdline"], "console=ttyS0");
}

#[test]
fn a_build_of_the_same_inputs_and_date_is_byte_identical() {
    if !have("a_build_of_the_same_inputs", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    for command in ["secureboot-iso", "secureboot-metal-uki"] {
        let ending = if command == "secureboot-iso" {
            "iso"
        } else {
            "efi"
        };
        let (first, second) = (format!("first.{ending}"), format!("second.{ending}"));
        lab.done(&build(command, &["--output", &first]));
        lab.done(&build(command, &["--output", &second]));
        assert!(lab.read(&first) == lab.read(&second), "{command}");
    }
}

#[test]
fn an_image_that_is_there_is_kept_unless_forced() {
    if !have("an_image_that_is_there_is_kept", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.write("result.efi", b"precious");
    let to = ["--output", "result.efi"];
    lab.fails(
        &build("secureboot-metal-uki", &to),
        2,
        "result.efi exists and is left",
    );
    assert_eq!(lab.read("result.efi"), b"precious");
    lab.done(&build(
        "secureboot-metal-uki",
        &[&to[..], &["--force"]].concat(),
    ));
    assert!(lab.read("result.efi").starts_with(b"MZ"));
}

#[test]
fn bad_inputs_are_named_and_leave_no_file() {
    if !have("bad_inputs_are_named", &[]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.key_pair("other");
    lab.write("garbage", &[0x42; 4096]);
    lab.write("profile.yaml", b"platform: aws\n");
    std::fs::create_dir(lab.path("out")).unwrap();
    let before = lab.list(".");
    let cases: &[(&[&str], &str)] = &[
        (
            &["--sd-stub", "garbage"],
            "garbage: not a usable systemd-stub",
        ),
        (&["--sd-stub", "nothing"], "cannot read nothing"),
        (
            &["--sd-boot", "garbage"],
            "garbage: not a usable boot loader",
        ),
        (&["--sd-boot", "out"], "--sd-boot: out is not a file"),
        (&["--initramfs", "nothing"], "cannot read nothing"),
        (&["--os-release", "nothing"], "cannot read nothing"),
        (
            &["--signing-key", "other-key.pem"],
            "does not belong to the certificate",
        ),
        (
            &["--signing-cert", "garbage"],
            "garbage: not a usable certificate",
        ),
        (&["--pcr-key", "garbage"], "no private key found"),
        (
            &["--pk", "nothing.auth"],
            "--pk: nothing.auth is not a file",
        ),
        (
            &["--enroll-keys", "perhaps"],
            "'perhaps' is none of off, manual",
        ),
        (&["--arch", "mips"], "--arch: 'mips' is not known"),
        (&["--arch", "arm64"], ""),
        (&["--banks", "md5"], "--banks: 'md5'"),
        (
            &["--uki-profile", "no line"],
            "ID[:TITLE]=COMMAND LINE expected",
        ),
        (&["--profile", "profile.yaml"], "'aws' is not supported"),
        (&["--secureboot-dir", "out"], "imager gen uki -o out"),
        (&["--no-such-flag"], "--no-such-flag"),
    ];
    for (arguments, message) in cases {
        let more = [arguments, &["--output", "out"][..]].concat();
        lab.fails(&build("secureboot-iso", &more), 2, message);
        assert_eq!(lab.list("out"), [""; 0], "{arguments:?}");
    }
    lab.fails(
        &[
            "secureboot-iso",
            "--kernel",
            "garbage",
            "--initramfs",
            "initramfs",
            "--output",
            "out",
        ],
        2,
        "kernel",
    );
    assert_eq!(lab.list("out"), [""; 0]);
    assert_eq!(lab.list("."), before);
}

#[test]
fn a_bad_source_date_is_refused() {
    if !have("a_bad_source_date_is_refused", &[]) {
        return;
    }
    let lab = Lab::for_builds().set("SOURCE_DATE_EPOCH", "yesterday");
    lab.fails(
        &build("secureboot-iso", &[]),
        2,
        "SOURCE_DATE_EPOCH: seconds since 1970 expected",
    );
    lab.fails(&["gen", "database", "--force"], 2, "SOURCE_DATE_EPOCH");
}

#[test]
fn a_disk_image_passes_the_same_judges() {
    if !have(
        "a_disk_image_passes",
        &["fsck.vfat", "sgdisk", "mcopy", "sbverify"],
    ) {
        return;
    }
    let lab = Lab::for_builds();
    let more = [
        "--arch",
        "amd64",
        "--disk-size",
        "128M",
        "--output",
        "disk.raw",
    ];
    lab.done(&build("secureboot-metal", &more));
    let disk = lab.read("disk.raw");
    assert_eq!(disk.len(), 128 << 20);
    let table = lab.tool("sgdisk", &["--verify", "disk.raw"]);
    assert!(table.contains("No problems found"), "{table}");
    let (start, len) = esp(&disk);
    lab.write("esp.img", &disk[start..start + len]);
    lab.tool("fsck.vfat", &["-n", "esp.img"]);
    lab.tool(
        "mcopy",
        &["-i", "esp.img", "::/EFI/BOOT/BOOTX64.EFI", "loader.efi"],
    );
    lab.tool("sbverify", &["--cert", CERT, "loader.efi"]);
}
