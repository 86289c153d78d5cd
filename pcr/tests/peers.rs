//! The same inputs to systemd-measure 257, a software TPM and systemd-pcrlock.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![cfg(feature = "rsa")]

#[path = "support/sections.rs"]
mod sections;
#[path = "support/tools.rs"]
mod tools;

use std::fs;
use std::path::Path;

use pcr::{
    Addon, Bank, BootPlan, Dialect, Digest, Event, EventLog, HardwareChoice, Pcr11, PhasePath,
    Register, RsaSigner,
};
use sections::{folder, observe, read};
use serde_json::Value;
use tools::{Swtpm, debian13, have, of_debian13, output, skip};

/// Sections by the names of systemd-measure's options.
const SETS: [&[&str]; 9] = [
    &["linux"],
    &["linux", "cmdline"],
    &["linux", "osrel", "initrd", "uname"],
    &["linux", "sbat", "pcrpkey", "ucode"],
    &["linux", "splash", "dtb", "profile0"],
    &["linux", "hwids", "profile1", "empty"],
    &["linux", "dtbauto", "hwids"],
    &["linux", "cmdline-profile1", "sbat", "dtbauto"],
    &[
        "linux", "osrel", "cmdline", "initrd", "ucode", "splash", "dtb", "uname", "sbat",
        "pcrpkey", "profile1", "dtbauto", "hwids",
    ],
];

const PATHS: [&str; 6] = [
    "",
    "enter-initrd",
    "enter-initrd:leave-initrd:enter-machined",
    "sysinit:ready",
    "a:b::c",
    "ready:ready:final",
];

/// The section of an input file.
fn section(file: &str) -> &str {
    match file {
        "cmdline-profile1" => "cmdline",
        "profile0" | "profile1" => "profile",
        "empty" => "splash",
        file => file,
    }
}

#[test]
fn systemd_measure_computes_the_same_registers() {
    const TEST: &str = "systemd_measure_computes_the_same_registers";
    let Some(tree) = debian13() else {
        return skip(TEST, "the Debian 13 tree");
    };
    for set in SETS {
        let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
        let mut measure = of_debian13(&tree, "usr/lib/systemd/systemd-measure");
        measure.args(["calculate", "--json=short"]);
        for file in set {
            let name = section(file);
            boot.observe(
                format!(".{name}").as_str(),
                &read(&format!("inputs/{file}")),
            );
            // This release takes each of the two for the other.
            let option = match name {
                "dtbauto" => "hwids",
                "hwids" => "dtbauto",
                name => name,
            };
            let path = folder().join("inputs").join(file);
            measure.arg(format!("--{option}={}", path.display()));
        }
        measure.args(
            PATHS.map(|path| format!("--phase={}", if path.is_empty() { ":" } else { path })),
        );
        let theirs: Value = serde_json::from_str(&output(&mut measure)).unwrap();
        let hardware = if set.contains(&"dtbauto") {
            HardwareChoice::dtbauto(0)
        } else {
            HardwareChoice::NONE
        };
        let paths = PATHS.map(PhasePath::new);
        for bank in Bank::ALL {
            let ours: Vec<String> = boot
                .registers(&paths)
                .unwrap()
                .into_iter()
                .filter(|prediction| {
                    prediction.hardware == hardware && prediction.value.bank() == bank
                })
                .map(|prediction| format!("{} {}", prediction.phase, prediction.value))
                .collect();
            let theirs: Vec<String> = theirs[bank.name()]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| {
                    let phase = entry["phase"].as_str().unwrap_or_default();
                    format!("{phase} {}", entry["hash"].as_str().unwrap())
                })
                .collect();
            assert_eq!(ours, theirs, "{set:?} {bank}");
        }
    }
}

#[test]
fn systemd_measure_signs_the_same_sha256_policies() {
    const TEST: &str = "systemd_measure_signs_the_same_sha256_policies";
    let Some(tree) = debian13() else {
        return skip(TEST, "the Debian 13 tree");
    };
    let key = folder().join("inputs/pcr-key.pem");
    let mut measure = of_debian13(&tree, "usr/lib/systemd/systemd-measure");
    measure.args(["sign", "--json=short", "--bank=sha256"]);
    measure.arg(format!("--private-key={}", key.display()));
    for file in ["linux", "cmdline", "pcrpkey"] {
        measure.arg(format!(
            "--{file}={}",
            folder().join("inputs").join(file).display()
        ));
    }
    let theirs = output(&mut measure);
    let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    for file in ["linux", "cmdline", "pcrpkey"] {
        boot.observe(
            format!(".{file}").as_str(),
            &read(&format!("inputs/{file}")),
        );
    }
    let signer = RsaSigner::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
    let policies = boot.policies(&PhasePath::systemd()).unwrap();
    let ours = policies
        .sign(signer.public_key(), &signer)
        .unwrap()
        .to_json();
    assert_eq!(String::from_utf8(ours).unwrap(), theirs.trim_end());
}

#[test]
fn a_tpm_accepts_a_signed_policy_of_each_bank() {
    const TEST: &str = "a_tpm_accepts_a_signed_policy_of_each_bank";
    for tool in ["swtpm", "swtpm_setup", "tpm2_policyauthorize"] {
        if !have(tool) {
            return skip(TEST, tool);
        }
    }
    let tpm = Swtpm::new();
    let boot = observe("v2-basic", Dialect::Systemd257, &Bank::ALL);
    let plan = BootPlan::builder(&boot)
        .phase(PhasePath::initrd())
        .build()
        .unwrap();
    for event in plan
        .events()
        .iter()
        .filter(|event| event.register() == Register::KERNEL_BOOT)
    {
        let digests: Vec<String> = event
            .digests()
            .iter()
            .map(|digest| format!("{}={digest}", digest.bank()))
            .collect();
        tpm.run("tpm2_pcrextend", &[&format!("11:{}", digests.join(","))]);
    }
    let signer =
        RsaSigner::from_pem(&String::from_utf8(read("inputs/pcr-key.pem")).unwrap()).unwrap();
    let policies = boot.policies(&[PhasePath::initrd()]).unwrap();
    tpm.write("key.pem", signer.public_key().to_pem().as_bytes());
    tpm.run(
        "tpm2_loadexternal",
        &[
            "-Q", "-G", "rsa", "-C", "o", "-u", "key.pem", "-c", "key.ctx", "-n", "key.name",
        ],
    );
    tpm.run("tpm2_flushcontext", &["-t"]);
    for reference in [None, Some("initrd")] {
        let policies = match reference {
            Some(reference) => policies.clone().with_reference(reference),
            None => policies.clone(),
        };
        let prepared = policies.prepare(signer.public_key());
        let messages: Vec<Vec<u8>> = prepared
            .to_be_signed()
            .iter()
            .map(|request| request.message().to_vec())
            .collect();
        let document = prepared.sign(&signer).unwrap();
        for (entry, message) in document.entries().zip(messages) {
            let bank = entry.bank();
            let value = format!("{bank}:11");
            let register = plan.register(Register::KERNEL_BOOT, bank).unwrap();
            tpm.run("tpm2_pcrread", &["-Q", "-o", "value", &value]);
            assert_eq!(tpm.read("value"), register.as_bytes(), "{bank}");
            let signed = entry.read().unwrap();
            tpm.write("message", &message);
            tpm.write("signature", &signed.signature);
            tpm.run(
                "tpm2_verifysignature",
                &[
                    "-Q",
                    "-c",
                    "key.ctx",
                    "-g",
                    "sha256",
                    "-f",
                    "rsassa",
                    "-m",
                    "message",
                    "-s",
                    "signature",
                    "-t",
                    "ticket",
                ],
            );
            tpm.run("tpm2_flushcontext", &["-t"]);
            tpm.run(
                "tpm2_startauthsession",
                &["--policy-session", "-S", "session"],
            );
            tpm.run(
                "tpm2_policypcr",
                &["-Q", "-S", "session", "-l", &value, "-L", "policy"],
            );
            assert_eq!(tpm.read("policy"), signed.policy, "{bank}");
            let nonce: String = message[32..]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let mut authorize = vec![
                "-Q",
                "-S",
                "session",
                "-i",
                "policy",
                "-n",
                "key.name",
                "-t",
                "ticket",
                "-L",
                "authorized",
            ];
            if reference.is_some() {
                authorize.extend(["-q", &nonce]);
            }
            tpm.run("tpm2_policyauthorize", &authorize);
            let expected = &sections::json("policy.json");
            let expected = match reference {
                None => &expected["policy_authorize_digest_no_ref"],
                Some(_) => &expected["policyref"]["policy_authorize_digest"],
            };
            let authorized: String = tpm
                .read("authorized")
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(authorized, expected.as_str().unwrap());
            tpm.run("tpm2_flushcontext", &["session"]);
        }
    }
}

#[test]
fn systemd_pcrlock_predicts_the_same_registers_from_the_components() {
    const TEST: &str = "systemd_pcrlock_predicts_the_same_registers";
    let Some(tree) = debian13() else {
        return skip(TEST, "the Debian 13 tree");
    };
    for tool in ["swtpm", "swtpm_setup", "tpm2_pcrextend"] {
        if !have(tool) {
            return skip(TEST, tool);
        }
    }
    let boot = observe("v2-basic", Dialect::Systemd257, &Bank::ALL);
    let image = Bank::ALL.map(|bank| bank.hash(b"an image"));
    let plan = BootPlan::builder(&boot)
        .loader(pcr::Loader::SystemdBoot257)
        .loader_image(&image)
        .uki_image(&image)
        .passed_options("debug")
        .addon(Addon::global("a.addon.efi").cmdline(b"x").image(&image))
        .local_file("a.cred", b"secret")
        .local_file("a.raw", b"sysext")
        .build()
        .unwrap();
    // A machine that has booted so: its TPM and its log.
    let tpm = Swtpm::new();
    let mut log = EventLog::crypto_agile(&Bank::ALL);
    for event in plan.events() {
        let digests: Vec<String> = event
            .digests()
            .iter()
            .map(|digest| format!("{}={digest}", digest.bank()))
            .collect();
        let register = event.register();
        tpm.run(
            "tpm2_pcrextend",
            &[&format!("{register}:{}", digests.join(","))],
        );
        let event = Event::new(register, event.event_type(), event.digests(), event.data());
        log.push(event).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let components = folder.path().join("components");
    fs::create_dir(&components).unwrap();
    for component in plan.to_pcrlock() {
        fs::write(components.join(component.path), component.content).unwrap();
    }
    let log_file = folder.path().join("log");
    fs::write(&log_file, log.to_bytes()).unwrap();
    let mut pcrlock = of_debian13(&tree, "usr/lib/systemd/systemd-pcrlock");
    pcrlock
        .args([
            "predict",
            "--json=short",
            "--pcr=11",
            "--pcr=12",
            "--pcr=13",
        ])
        .arg(format!("--components={}", components.display()))
        .env("SYSTEMD_TPM2_DEVICE", tpm.tcti())
        .env("SYSTEMD_MEASURE_LOG_FIRMWARE", &log_file)
        .env("SYSTEMD_MEASURE_LOG_USERSPACE", folder.path().join("none"));
    let predicted = output(&mut pcrlock);
    for register in [
        Register::KERNEL_BOOT,
        Register::KERNEL_CONFIG,
        Register::SYSEXTS,
    ] {
        let ours = plan.register(register, Bank::Sha256).unwrap().to_string();
        assert!(
            predicted.contains(&ours),
            "PCR {register} {ours}: {predicted}"
        );
    }
}

#[test]
fn systemd_pcrlock_reads_the_components() {
    const TEST: &str = "systemd_pcrlock_reads_the_components";
    let Some(tree) = debian13() else {
        return skip(TEST, "the Debian 13 tree");
    };
    let boot = observe("v2-basic", Dialect::Systemd257, &Bank::ALL);
    let image = Bank::ALL.map(|bank| bank.hash(b"an image"));
    let (initrd, gpt) = (read("inputs/initrd"), b"EFI PART".repeat(20));
    let plan = BootPlan::builder(&boot)
        .secure_boot(false)
        .loader(pcr::Loader::SystemdBoot257)
        .loader_image(&image)
        .uki_image(&image)
        .kernel_image(&image)
        .loader_conf(b"timeout 3\n")
        .gpt_event(&gpt)
        .passed_options("debug")
        .addon(Addon::global("a.addon.efi").cmdline(b"x").image(&image))
        .local_file("a.cred", b"secret")
        .local_file("a.raw", b"sysext")
        .embedded_initrds(b"", &initrd)
        .phase(PhasePath::initrd())
        .build()
        .unwrap();
    assert_eq!(plan.notes(), []);
    let folder = tempfile::tempdir().unwrap();
    let components = plan.to_pcrlock();
    for component in &components {
        fs::write(folder.path().join(component.path), &component.content).unwrap();
    }
    let mut pcrlock = of_debian13(&tree, "usr/lib/systemd/systemd-pcrlock");
    pcrlock.args(["list-components", "--json=short"]);
    pcrlock.arg(format!("--components={}", folder.path().display()));
    let listed: Value = serde_json::from_str(&output(&mut pcrlock)).unwrap();
    let mut names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["id"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let expected: Vec<&str> = components
        .iter()
        .map(|component| {
            Path::new(component.path)
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
        })
        .collect();
    assert_eq!(names, expected);
    // The records are those that pcrlock makes itself from the same bytes.
    let conf = folder.path().join("loader.conf");
    fs::write(&conf, b"timeout 3\n").unwrap();
    let mut lock = of_debian13(&tree, "usr/lib/systemd/systemd-pcrlock");
    lock.args(["lock-raw", "--pcr=5", "--pcrlock=-"]).arg(&conf);
    let config = components
        .iter()
        .find(|component| component.path == "640-boot-loader-config.pcrlock")
        .unwrap();
    assert_eq!(output(&mut lock).trim_end(), config.content);
    let value = plan.register(Register::KERNEL_BOOT, Bank::Sha256).unwrap();
    assert_ne!(value, Digest::zero(Bank::Sha256));
}
