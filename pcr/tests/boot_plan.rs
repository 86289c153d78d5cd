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
