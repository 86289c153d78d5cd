//! `imager edit` and what `imager inspect` says of the result, held against systemd-measure, objcopy and OpenSSL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Lab, STUB, build, have, section, sections};

const PCR_KEY: &str = "_out/pcr-signing-key.pem";

/// A UKI with signed policies and a signature, as `uki.efi`.
fn with_uki() -> Lab {
    let lab = Lab::for_builds();
    lab.done(&build("secureboot-metal-uki", &["--output", "uki.efi"]));
    lab
}

/// The same on the stub of Debian 13, which knows profiles, and with that tree's systemd-measure.
fn with_new_stub(test: &str) -> Option<(Lab, PathBuf)> {
    let tree = have(test, &[]).then(debian13)?;
    let Some(tree) = tree else {
        assert!(std::env::var_os("CI").is_none(), "{test}: no Debian 13");
        eprintln!("SKIPPED: {test}: Debian 13 tree not found");
        return None;
    };
    let lab = Lab::for_builds();
    let stub = std::fs::read(tree.join(&STUB[1..])).unwrap();
    lab.write("stub.efi", &stub);
    lab.done(&build(
        "secureboot-metal-uki",
        &["--sd-stub", "stub.efi", "--output", "uki.efi"],
    ));
    Some((lab, tree))
}

fn debian13() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || Some(variable("HOME")?.join(".cache"));
    let tree = variable("TRUSTEDBOOT_CACHE")
        .or_else(|| {
            Some(
                variable("XDG_CACHE_HOME")
                    .or_else(cache)?
                    .join("trustedboot"),
            )
        })?
        .join("debian13");
    tree.join(".trustedboot-stamp").exists().then_some(tree)
}

/// What systemd-measure signs for these sections, one list of flags a hardware choice.
fn measured(lab: &Lab, tree: &Path, content: &[(String, Vec<u8>)]) -> Value {
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(format!("{0}:{0}/systemd", libraries.display()))
        .arg(tree.join("usr/lib/systemd/systemd-measure"))
        .args(["sign", "--bank=sha256", "--phase=enter-initrd"])
        .arg(format!("--private-key={}", lab.path(PCR_KEY).display()))
        .arg(format!("--public-key={}", lab.path("pcr.pub").display()));
    for (index, (name, bytes)) in content.iter().enumerate() {
        let file = format!("part-{index}");
        lab.write(&file, bytes);
        let name = name.trim_start_matches('.');
        // The two options are exchanged in this release (systemd pull request 35765).
        let name = if name == "dtbauto" { "hwids" } else { name };
        command.arg(format!("--{name}={}", lab.path(&file).display()));
    }
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "systemd-measure: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const MEASURED: [&str; 8] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat", ".pcrpkey", ".profile",
];

/// What the stub measures of a profile, the base alone without one; and the profile's policies.
fn seen(image: &[u8], profile: Option<usize>) -> (Vec<(String, Vec<u8>)>, Value) {
    let mut parts: Vec<Vec<(String, Vec<u8>)>> = vec![Vec::new()];
    for (name, bytes) in sections(image) {
        if name == ".profile" {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push((name, bytes));
    }
    let own = profile.map_or(&[][..], |profile| &parts[profile + 1]);
    let find = |name: &str| {
        let mut all = own.iter().chain(&parts[0]);
        all.find(|(known, bytes)| known == name && !bytes.is_empty())
    };
    let measured = MEASURED.iter().filter_map(|name| find(name).cloned());
    let policies = serde_json::from_slice(&find(".pcrsig").unwrap().1).unwrap();
    (measured.collect(), policies)
}

fn names(image: &[u8]) -> Vec<String> {
    sections(image).into_iter().map(|(name, _)| name).collect()
}

fn but(image: &[u8], gone: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut all = sections(image);
    all.retain(|(name, _)| !gone.contains(&name.as_str()));
    all
}

#[test]
fn replaced_sections_leave_all_others_byte_for_byte() {
    if !have("replaced_sections_leave_all_others", &["sbverify"]) {
        return;
    }
    let lab = with_uki();
    lab.write("ramdisk", &[0xa5; 70_001]);
    let set = ["--set", "cmdline=quiet", "--set", ".initrd=@ramdisk"];
    let args = [&["edit", "uki.efi", "--output", "new.efi"][..], &set].concat();
    let document = lab.json(&args);
    let (old, new) = (lab.read("uki.efi"), lab.read("new.efi"));
    assert_eq!(document["output"], "new.efi");
    assert_eq!(document["len"], new.len());
    assert_eq!(section(&new, ".cmdline"), b"quiet");
    assert_eq!(section(&new, ".initrd"), [0xa5; 70_001]);
    let changed = [".cmdline", ".initrd"];
    assert_eq!(but(&new, &changed), but(&old, &changed));
    assert_eq!(names(&new), names(&old));
    // The signature is gone and the image is whole without it.
    let list = lab.judge("sbverify", &["--list", "uki.efi"]);
    assert!(list.out.contains("signature 1"), "{}", list.out);
    let list = lab.judge("sbverify", &["--list", "new.efi"]);
    assert!(!list.out.contains("signature 1"), "{}", list.out);
    let inspected = lab.json(&["inspect", "new.efi"]);
    assert_eq!(inspected["kind"], "UKI");
    assert_eq!(inspected["uki"]["cmdline"], "quiet");
    assert_eq!(inspected["signatures"], serde_json::json!([]));
    // Back again: what the build made, but for the signature.
    lab.done(&["edit", "uki.efi", "--output", "plain.efi"]);
    lab.write("ramdisk", &section(&old, ".initrd"));
    let cmdline = String::from_utf8(section(&old, ".cmdline")).unwrap();
    let back = format!("cmdline={cmdline}");
    lab.done(&[
        "edit",
        "new.efi",
        "--set",
        &back,
        "--set",
        "initrd=@ramdisk",
    ]);
    assert!(lab.read("new.efi") == lab.read("plain.efi"));
}

#[test]
fn systemd_measure_signs_the_same_policies_for_every_profile() {
    let Some((lab, tree)) = with_new_stub("systemd_measure_signs_the_same") else {
        return;
    };
    lab.tool("openssl", &["genrsa", "-out", "second.pem", "2048"]);
    let edit = [
        "edit",
        "uki.efi",
        "--output",
        "two.efi",
        "--add-profile",
        "ID=main",
        "--add-profile",
        "ID=debug\nTITLE=Debug",
        "--set",
        "cmdline:1=debug",
        "--pcr-key",
    ];
    lab.done(&[&edit[..], &["second.pem"]].concat());
    // Another key, and with it other policies, in place of those.
    lab.done(&["edit", "two.efi", "--pcr-key", PCR_KEY]);
    lab.tool(
        "openssl",
        &["rsa", "-in", PCR_KEY, "-pubout", "-out", "pcr.pub"],
    );
    let image = lab.read("two.efi");
    assert_eq!(section(&image, ".pcrpkey"), lab.read("pcr.pub"));
    for profile in 0..2 {
        let (content, policies) = seen(&image, Some(profile));
        let expected = measured(&lab, &tree, &content);
        assert_eq!(policies["sha256"], expected["sha256"], "profile {profile}");
    }
    let inspected = lab.json(&["inspect", "two.efi"]);
    let profiles = &inspected["uki"]["profile_list"];
    assert_eq!(profiles[0]["cmdline"], "console=ttyS0");
    assert_eq!(profiles[1]["cmdline"], "debug");
    assert_eq!(profiles[1]["title"], "Debug");
    // Both profiles away: the base has no policies of its own then, and gets them again.
    lab.done(&[
        "edit",
        "two.efi",
        "--remove-profile",
        "0",
        "--remove-profile",
        "1",
        "--pcr-key",
        PCR_KEY,
    ]);
    let image = lab.read("two.efi");
    let (content, policies) = seen(&image, None);
    assert_eq!(
        policies["sha256"],
        measured(&lab, &tree, &content)["sha256"]
    );
    assert_eq!(lab.json(&["inspect", "two.efi"])["uki"]["profiles"], 1);
}

#[test]
fn each_device_tree_that_may_be_picked_has_its_policies() {
    let Some((lab, tree)) = with_new_stub("each_device_tree_that_may_be_picked") else {
        return;
    };
    lab.done(&[
        "edit",
        "uki.efi",
        "--set",
        "dtbauto=device tree",
        "--pcr-key",
        PCR_KEY,
        "--phases",
        "enter-initrd",
    ]);
    lab.tool(
        "openssl",
        &["rsa", "-in", PCR_KEY, "-pubout", "-out", "pcr.pub"],
    );
    let (mut content, policies) = seen(&lab.read("uki.efi"), None);
    let without = measured(&lab, &tree, &content);
    content.push((".dtbauto".to_owned(), b"device tree".to_vec()));
    let with = measured(&lab, &tree, &content);
    let list = policies["sha256"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert_ne!(with["sha256"], without["sha256"]);
    for expected in [&without, &with] {
        assert!(
            list.contains(&expected["sha256"][0]),
            "{policies} {expected}"
        );
    }
}

#[test]
fn profiles_of_other_files_are_joined_and_the_numbers_stay() {
    let Some((lab, _)) = with_new_stub("profiles_of_other_files_are_joined") else {
        return;
    };
    lab.tool(
        "objcopy",
        &[
            "--add-section",
            ".profile=os-release",
            "--change-section-vma",
            ".profile=0x14e000000",
            "--add-section",
            ".cmdline=initramfs",
            "--change-section-vma",
            ".cmdline=0x14e010000",
            "--remove-section",
            ".sbat",
            "stub.efi",
            "third.efi",
        ],
    );
    lab.done(&[
        "edit",
        "uki.efi",
        "--output",
        "three.efi",
        "--add-profile",
        "ID=a",
        "--add-profile",
        "ID=b",
        "--join-profile",
        "third.efi",
        "--set",
        "cmdline:0=one",
        "--set",
        "cmdline:1=two",
    ]);
    lab.done(&[
        "edit",
        "three.efi",
        "--output",
        "last.efi",
        "--remove-profile",
        "0",
        "--remove-profile",
        "1",
    ]);
    let profiles = |name: &str| lab.json(&["inspect", name])["uki"]["profile_list"].clone();
    let three = profiles("three.efi");
    let ids: Vec<&Value> = (0..3).map(|index| &three[index]["id"]).collect();
    assert_eq!(ids, ["a", "b", "test"]);
    assert_eq!(three[1]["cmdline"], "two");
    let last = profiles("last.efi");
    assert_eq!(last.as_array().unwrap().len(), 1);
    assert_eq!(last[0]["id"], "test");
    let tail: Vec<_> = sections(&lab.read("last.efi"));
    assert!(tail.ends_with(&[
        (".profile".to_owned(), lab.read("os-release")),
        (".cmdline".to_owned(), lab.read("initramfs")),
    ]));
    let before = lab.read("three.efi");
    for number in ["3", "4294967295"] {
        lab.fails(
            &["edit", "three.efi", "--remove-profile", number],
            2,
            "no profile",
        );
    }
    lab.fails(
        &["edit", "three.efi", "--set", "cmdline:3=x"],
        2,
        "no profile 3",
    );
    assert!(lab.read("three.efi") == before);
}

/// `objcopy` with sections at these offsets from the image base of Debian 12's stub.
fn objcopy(lab: &Lab, output: &str, parts: &[(&str, &str, u64)]) {
    let stub = std::fs::read(STUB).unwrap();
    let pe = usize::try_from(u32::from_le_bytes(stub[0x3c..0x40].try_into().unwrap())).unwrap();
    let base = u64::from_le_bytes(stub[pe + 48..pe + 56].try_into().unwrap());
    let mut args = Vec::new();
    for (name, file, offset) in parts {
        args.extend(["--add-section".to_owned(), format!("{name}={file}")]);
        let address = format!("{name}={:#x}", base + offset);
        args.extend(["--change-section-vma".to_owned(), address]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    lab.tool("objcopy", &[&args[..], &[STUB, output]].concat());
}

#[test]
fn images_of_objcopy_are_edited_and_overlaps_told() {
    if !have("images_of_objcopy_are_edited", &["objcopy"]) {
        return;
    }
    let lab = Lab::for_builds();
    lab.write("line", b"old words");
    let parts = |linux| {
        [
            (".osrel", "os-release", 0x20000),
            (".cmdline", "line", 0x30000),
            (".linux", "vmlinuz", linux),
            (".initrd", "initramfs", 0x300_0000),
        ]
    };
    objcopy(&lab, "old.efi", &parts(0x200_0000));
    lab.done(&[
        "edit",
        "old.efi",
        "--set",
        "cmdline=new words",
        "--output",
        "new.efi",
    ]);
    let (old, new) = (lab.read("old.efi"), lab.read("new.efi"));
    assert_eq!(but(&new, &[".cmdline"]), but(&old, &[".cmdline"]));
    assert_eq!(section(&new, ".cmdline"), b"new words");
    let inspected = lab.json(&["inspect", "new.efi"]);
    assert_eq!(inspected["uki"]["cmdline"], "new words");
    // Binutils read it as well, and objcopy's symbol table is gone.
    let dump = lab.tool("objdump", &["-h", "new.efi"]);
    assert!(dump.contains(".initrd"), "{dump}");

    // The ramdisk (two pages) begins one page behind this kernel's address: a recipe that fitted a smaller one.
    lab.write("initramfs", &[7; 0x3000]);
    objcopy(
        &lab,
        "overlap.efi",
        &[
            (".cmdline", "line", 0x30000),
            (".initrd", "initramfs", 0x200_0000),
            (".linux", "vmlinuz", 0x200_1000),
        ],
    );
    let inspected = lab.json(&["inspect", "overlap.efi"]);
    let findings = inspected["uki"]["findings"].to_string();
    assert!(findings.contains("overlap"), "{findings}");
    let before = lab.read("overlap.efi");
    let run = lab.run(&["edit", "overlap.efi", "--set", "cmdline=x"]);
    if run.code == 0 {
        let findings = lab.json(&["inspect", "overlap.efi"])["uki"]["findings"].to_string();
        assert!(!findings.contains("overlap"), "{findings}");
    } else {
        assert_eq!(run.code, 2, "{}", run.err);
        assert!(lab.read("overlap.efi") == before);
    }
}

#[test]
fn an_edit_in_place_keeps_links_and_modes_and_replaces_only_regular_files() {
    if !have("an_edit_in_place_keeps_links_and_modes", &["mkfifo"]) {
        return;
    }
    let lab = with_uki();
    let mode = |name: &str| lab.path(name).metadata().unwrap().permissions().mode() & 0o7777;
    std::fs::set_permissions(lab.path("uki.efi"), PermissionsExt::from_mode(0o600)).unwrap();
    symlink("uki.efi", lab.path("link.efi")).unwrap();
    lab.done(&["edit", "link.efi", "--set", "cmdline=by its link"]);
    assert!(lab.path("link.efi").is_symlink());
    assert_eq!(section(&lab.read("uki.efi"), ".cmdline"), b"by its link");
    assert_eq!(mode("uki.efi"), 0o600);

    let before = (lab.read("uki.efi"), lab.list("."));
    lab.tool("mkfifo", &["pipe"]);
    let set = ["--set", "cmdline=x"];
    let edit = |more: &[&'static str]| [more, &set].concat();
    lab.fails(&edit(&["edit", "pipe"]), 2, "not a regular file");
    lab.fails(&edit(&["edit", "."]), 2, "not a regular file");
    lab.fails(&edit(&["edit", "/dev/null"]), 2, "not a regular file");
    let forced = ["edit", "uki.efi", "--force", "--output", "pipe"];
    lab.fails(&edit(&forced), 2, "not a regular file");
    lab.fails(
        &edit(&["edit", "uki.efi", "--output", "vmlinuz"]),
        2,
        "exists",
    );
    lab.fails(&edit(&["edit", "nothing"]), 2, "nothing");
    lab.fails(
        &edit(&["edit", "vmlinuz", "--output", "new.efi"]),
        2,
        "neither a kernel",
    );
    lab.fails(
        &edit(&["edit", "os-release", "--output", "new.efi"]),
        2,
        "UKI or addon",
    );
    lab.write("cut.efi", &before.0[..before.0.len() / 2]);
    lab.fails(
        &edit(&["edit", "cut.efi", "--output", "new.efi"]),
        2,
        "imager: ",
    );
    for name in ["=x", ".=x", ":0=x"] {
        lab.fails(&["edit", "uki.efi", "--set", name], 2, "a name is missing");
    }
    lab.fails(&["edit", "uki.efi", "--remove", "text"], 2, ".text");
    lab.fails(
        &["edit", "uki.efi", "--remove", "ucode"],
        2,
        "no section .ucode",
    );
    lab.fails(&["edit", "uki.efi", "--set", "profile=ID=x"], 2, ".profile");
    lab.fails(&["edit", "uki.efi", "--set", "linux=x"], 2, "not a kernel");
    std::fs::remove_file(lab.path("pipe")).unwrap();
    std::fs::remove_file(lab.path("cut.efi")).unwrap();
    assert!((lab.read("uki.efi"), lab.list(".")) == before);
}
