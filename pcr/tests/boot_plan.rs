//! Whole boots: every event that a real systemd-stub made, and what other generations change.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/sections.rs"]
mod sections;

use pcr::{
    Addon, Bank, BootPlan, BootPlanBuilder, Dialect, Digest, Loader, Pcr11, PhasePath, PlanNote,
    Register, gpt_event_data,
};
use sections::{json, read};

/// The UKI of the recorded boots: base sections and two profiles.
fn recorded_uki() -> Pcr11 {
    let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    for name in [
        "linux", "osrel", "cmdline", "initrd", "ucode", "uname", "pcrpkey",
    ] {
        boot.observe(
            format!(".{name}").as_str(),
            &read(&format!("inputs/{name}")),
        );
    }
    boot.observe(".sbat", &read("boot/sbat-merged"));
    boot.observe((Some(0), ".profile"), &read("inputs/profile0"));
    boot.observe((Some(1), ".profile"), &read("boot/profile-factory"));
    boot.observe((Some(1), ".cmdline"), b"x y");
    boot
}

/// What lay on the ESP of the recorded boots.
struct Esp {
    ucode: Vec<u8>,
    dtb: Vec<u8>,
    ucode0: Vec<u8>,
    ucode1: Vec<u8>,
}

impl Esp {
    fn recorded() -> Self {
        Self {
            ucode: read("inputs/ucode"),
            dtb: read("boot/addon.dtb"),
            ucode0: read("inputs/dtb"),
            ucode1: read("inputs/hwids"),
        }
    }

    fn plan<'a>(&'a self, uki: &'a Pcr11) -> BootPlanBuilder<'a> {
        BootPlan::builder(uki)
            .secure_boot(false)
            .addon(
                Addon::local("l1.addon.efi")
                    .cmdline(b"local one")
                    .ucode(&self.ucode1),
            )
            .addon(
                Addon::local("l0.addon.efi")
                    .dtb(&self.dtb)
                    .ucode(&self.ucode0),
            )
            .addon(Addon::global("zz.addon.efi").cmdline(b"addonA x"))
            .addon(
                Addon::global("aa.addon.efi")
                    .cmdline(b"addonB")
                    .initrd(&self.ucode),
            )
            .local_file("x.sysext.raw", b"SYSEXT")
            .local_file("b.cred", b"secret1")
            .local_file("c.confext.raw", b"CONFEXT")
            .local_file("a.cred", b"secret22")
            .local_file("plain.raw", b"RAW")
            .global_credential("g.cred", b"global")
    }
}

fn assert_recorded(name: &str, plan: &BootPlan) {
    let recorded = &json("boot/events.json")[name];
    let shown = |pcr: u64| [11, 12, 13].contains(&pcr);
    let ours: Vec<_> = plan
        .events()
        .iter()
        .filter(|event| shown(event.register().index().into()))
        .collect();
    let theirs = recorded["events"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    for (ours, theirs) in ours.into_iter().zip(theirs) {
        let what = format!("{name}: {} is {}", ours.what(), theirs["what"]);
        assert_eq!(u64::from(ours.register().index()), theirs["pcr"], "{what}");
        for bank in Bank::ALL {
            let expected = theirs["digests"][bank.name()].as_str().unwrap();
            assert_eq!(
                ours.digest(bank).unwrap().to_string(),
                expected,
                "{what} {bank}"
            );
        }
    }
    for index in [11, 12, 13] {
        for bank in Bank::ALL {
            let value = plan.register(Register::new(index).unwrap(), bank).unwrap();
            let expected = &recorded["final"][index.to_string()][bank.name()];
            assert_eq!(
                value.to_string(),
                expected.as_str().unwrap(),
                "{name} {index} {bank}"
            );
        }
    }
}

#[test]
fn the_recorded_boot_without_arguments_is_predicted() {
    let (uki, esp) = (recorded_uki(), Esp::recorded());
    assert_recorded("t1", &esp.plan(&uki).build().unwrap());
}

#[test]
fn the_recorded_boot_of_profile_1_with_arguments_is_predicted() {
    let (uki, esp) = (recorded_uki(), Esp::recorded());
    let plan = esp
        .plan(&uki)
        .profile(1)
        .passed_options("over ride")
        .smbios_options("smb=1")
        .build();
    assert_recorded("t2", &plan.unwrap());
}

fn small(dialect: Dialect) -> Pcr11 {
    let mut boot = Pcr11::new(dialect, &[Bank::Sha256]);
    boot.observe(".linux", b"kernel");
    boot.observe(".cmdline", b" own\n");
    boot
}

/// What is measured into a register, in order.
fn texts(plan: &BootPlan, register: Register) -> Vec<String> {
    let events = plan.events().iter();
    events
        .filter(|event| event.register() == register)
        .map(|event| event.what().to_string())
        .collect()
}

/// The register after these UTF-16 texts with NUL.
fn of_texts(texts: &[&str]) -> Digest {
    texts
        .iter()
        .fold(Digest::zero(Bank::Sha256), |value, text| {
            let bytes: Vec<u8> = text
                .encode_utf16()
                .chain([0])
                .flat_map(u16::to_le_bytes)
                .collect();
            value.extended(&Bank::Sha256.hash(&bytes))
        })
}

fn config(plan: &BootPlan) -> Digest {
    plan.register(Register::KERNEL_CONFIG, Bank::Sha256)
        .unwrap()
}

#[test]
fn loader_252_measures_the_ukis_own_command_line() {
    let boot = small(Dialect::Systemd252);
    let plan = |loader: &str, secure_boot| {
        let builder = BootPlan::builder(&boot).loader(Loader::from_version(loader));
        builder.secure_boot(secure_boot).build().unwrap()
    };
    assert_eq!(
        config(&plan("systemd-boot 252.39", true)),
        of_texts(&[" own"])
    );
    // Without Secure Boot the stub takes what the loader passes, and measures it again.
    assert_eq!(
        config(&plan("systemd-boot 252.39", false)),
        of_texts(&[" own", " own"])
    );
    assert_eq!(config(&plan("systemd-boot 257.13", true)), of_texts(&[]));
}

#[test]
fn loader_257_names_the_profile() {
    let mut boot = small(Dialect::Systemd257);
    boot.observe((Some(0), ".profile"), b"ID=main");
    boot.observe((Some(1), ".profile"), b"ID=other");
    let builder = BootPlan::builder(&boot).profile(1);
    let loader = Loader::from_version("systemd-boot 257.13-1~deb13u1");
    let started = builder.clone().loader(loader).build().unwrap();
    assert_eq!(config(&started), of_texts(&["@1", "1"]));
    let edited = builder
        .loader(loader)
        .secure_boot(false)
        .passed_options("x y")
        .build()
        .unwrap();
    assert_eq!(config(&edited), of_texts(&["@1 x y", "1", "x y"]));
}

#[test]
fn secure_boot_locks_the_command_line_of_a_uki_that_has_one() {
    let boot = small(Dialect::Systemd257);
    let locked = BootPlan::builder(&boot)
        .passed_options("evil")
        .build()
        .unwrap();
    assert_eq!(config(&locked), of_texts(&[]));
    assert!(locked.notes().contains(&PlanNote::Ignored {
        what: "the passed command line".into(),
        why: "Secure Boot is on and the UKI has its own",
    }));
    let mut without = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    without.observe(".linux", b"kernel");
    let open = BootPlan::builder(&without)
        .passed_options("evil")
        .build()
        .unwrap();
    assert_eq!(config(&open), of_texts(&["evil"]));
    let guest = BootPlan::builder(&without)
        .confidential(true)
        .passed_options("evil")
        .build()
        .unwrap();
    assert_eq!(config(&guest), of_texts(&[]));
}

#[test]
fn generations_take_different_things_from_addons() {
    let addons = |dialect| {
        let boot = small(dialect);
        let plan = BootPlan::builder(&boot)
            .addon(Addon::local("b.addon.efi").cmdline(b"local").dtb(b"tree"))
            .addon(Addon::global("a.addon.efi").cmdline(b"global").ucode(b"u"))
            .local_file("c.cred", b"secret")
            .local_file("d.confext.raw", b"x")
            .build();
        let plan = plan.unwrap();
        (
            texts(&plan, Register::KERNEL_CONFIG),
            texts(&plan, Register::SYSEXTS),
        )
    };
    let line = "command line of addons";
    let (credentials, confext, sysext) = (
        "Credentials initrd",
        "Configuration extension initrd",
        "System extension initrd",
    );
    let tree = "device tree of b.addon.efi";
    assert_eq!(
        addons(Dialect::Systemd252),
        (vec![credentials.into()], vec![sysext.into()])
    );
    assert_eq!(
        addons(Dialect::Systemd254),
        (
            [line, line, credentials].map(String::from).to_vec(),
            vec![sysext.into()]
        )
    );
    assert_eq!(
        addons(Dialect::Systemd255),
        (
            [line, credentials, tree].map(String::from).to_vec(),
            vec![sysext.into()]
        )
    );
    assert_eq!(
        addons(Dialect::Systemd256).0,
        [line, credentials, confext, tree].map(String::from)
    );
    assert_eq!(
        addons(Dialect::Systemd257).0,
        [line, tree, credentials, confext, "microcode of a.addon.efi"].map(String::from)
    );
}

#[test]
fn global_extensions_come_with_258() {
    for (dialect, expected) in [
        (Dialect::Systemd257, vec![]),
        (
            Dialect::Systemd258,
            vec!["Global system extension initrd".to_string()],
        ),
    ] {
        let boot = small(dialect);
        let plan = BootPlan::builder(&boot)
            .global_extension("x.raw", b"x")
            .build()
            .unwrap();
        assert_eq!(texts(&plan, Register::SYSEXTS), expected);
    }
}

#[test]
fn the_inner_kernel_is_measured_without_secure_boot_up_to_257() {
    let image = [Bank::Sha256.hash(b"image")];
    for (dialect, secure_boot, expected) in [
        (Dialect::Systemd252, false, true),
        (Dialect::Systemd257, false, true),
        (Dialect::Systemd257, true, false),
        (Dialect::Systemd258, false, false),
    ] {
        let boot = small(dialect);
        let plan = BootPlan::builder(&boot)
            .secure_boot(secure_boot)
            .uki_image(&image)
            .kernel_image(&image);
        let events = texts(&plan.build().unwrap(), Register::BOOT_LOADER_CODE);
        assert_eq!(
            events.contains(&"kernel image".into()),
            expected,
            "{dialect}"
        );
    }
}

#[test]
fn what_is_not_known_is_said() {
    let boot = small(Dialect::Unknown);
    let plan = BootPlan::builder(&boot)
        .local_file("readme.txt", b"")
        .build()
        .unwrap();
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "the stub is unknown, predictions follow systemd-stub 258 to 262 and may differ",
            "PCR 5 is not predicted: the disk's partition table is not given",
            "PCR 4 is not predicted: the UKI's digests are not given",
            "readme.txt has no effect: this stub picks up no such file there",
            "PCR 9: the stub is taken to add no console= of its own to the command line",
        ]
    );
    assert_eq!(
        plan.register(Register::BOOT_LOADER_CODE, Bank::Sha256),
        None
    );
    let short = [Bank::Sha1.hash(b"image")];
    let missing = BootPlan::builder(&boot).uki_image(&short).build();
    assert_eq!(
        missing.unwrap_err().to_string(),
        "no sha256 digest was given for the UKI image"
    );
}

#[test]
fn the_os_separator_closes_every_register_but_11() {
    let boot = small(Dialect::Systemd258);
    let plan = BootPlan::builder(&boot)
        .os_separator(true)
        .phase(PhasePath::initrd())
        .build()
        .unwrap();
    let separator = Bank::Sha256.hash(b"os-separator");
    assert_eq!(
        config(&plan),
        Digest::zero(Bank::Sha256).extended(&separator)
    );
    assert_eq!(
        plan.register_at_stub(Register::KERNEL_CONFIG, Bank::Sha256),
        Some(Digest::zero(Bank::Sha256))
    );
    let words = texts(&plan, Register::KERNEL_BOOT);
    assert_eq!(words.last().map(String::as_str), Some("word enter-initrd"));
}

#[test]
fn the_json_has_the_shape_of_predict() {
    let boot = small(Dialect::Systemd257);
    let plan = BootPlan::builder(&boot)
        .phase(PhasePath::initrd())
        .build()
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(&plan.to_json()).unwrap();
    let value = plan
        .register(Register::KERNEL_BOOT, Bank::Sha256)
        .unwrap()
        .to_string();
    assert_eq!(json["pcrs"]["11"]["enter-initrd"]["sha256"], value);
    assert!(json["pcrs"]["11"][""]["sha256"].is_string());
    assert_eq!(json["events"][0]["type"], "EV_EFI_ACTION");
    assert_eq!(plan.to_json(), plan.to_json());
}

#[test]
fn the_partition_table_event_has_the_used_entries_only() {
    let mut disk = vec![0; 34 * 512];
    disk[512..520].copy_from_slice(b"EFI PART");
    disk[512 + 72] = 2;
    disk[512 + 80] = 128;
    disk[512 + 84] = 128;
    disk[1024 + 128] = 7;
    let data = gpt_event_data(&disk, 512).unwrap();
    assert_eq!(data.len(), 92 + 8 + 128);
    assert_eq!(data[92..100], 1_u64.to_le_bytes());
    for (at, value) in [(80, 255), (84, 1), (72, 255), (79, 255)] {
        let mut wrong = disk.clone();
        wrong[512 + at] = value;
        assert_eq!(gpt_event_data(&wrong, 512), None, "{at}");
    }
    for len in [0, 512, 603, 1024, 17000] {
        assert_eq!(gpt_event_data(&disk[..len], 512), None, "{len}");
    }
}
