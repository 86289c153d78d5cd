//! Images whose headers had to grow, and edited images: real firmware loads them, and the stub finds every section.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use bootlab::{Boot, Ending, Esp, Generation, Guest, Machine, Medium};
use pcr::{Bank, Dialect, Pcr11, PhasePath};
use uki::{Builder, Edit, Plan, Profile, SectionName, Source, Stub, Uki};

fn builder(generation: Generation) -> Builder {
    let kernel = generation.kernel().unwrap();
    Builder::new(Stub::parse(&fs::read(generation.stub().unwrap()).unwrap()).unwrap())
        .linux(Source::file(&kernel.image))
        .initrd(Guest::new(&kernel).build().unwrap())
        .cmdline(bootlab::CMDLINE)
        .os_release("ID=test\n")
}

/// Writes the image, and PCR 11 of its first profile as seen on the way.
fn written(plan: &Plan) -> (Vec<u8>, Vec<(Bank, String)>) {
    let dialect = Dialect::identify(plan.stub().name(), plan.stub().version());
    let mut boot = Pcr11::new(dialect, &Bank::ALL);
    let mut image = Vec::new();
    plan.write(
        &mut image,
        &mut boot,
        |boot, part| {
            if let Some(measured) = part.measured() {
                boot.observe(measured.key(), measured.bytes);
            }
        },
        |_, _| Ok(b"{}".to_vec()),
    )
    .unwrap();
    let registers = boot.registers(&[PhasePath::stub()]).unwrap();
    let values = registers
        .iter()
        .map(|found| (found.value.bank(), found.value.to_string()));
    (image, values.collect())
}

fn assert_boots(
    generation: Generation,
    name: &str,
    (image, predicted): (Vec<u8>, Vec<(Bank, String)>),
) {
    let folder = tempfile::tempdir().unwrap();
    let esp = folder.path().join("esp.img");
    Esp::new()
        .file("EFI/BOOT/BOOTX64.EFI", &image)
        .write(&esp)
        .unwrap();
    let firmware = generation.firmware(false).unwrap();
    let mut machine = Machine::builder(firmware)
        .create(folder.path().join("machine"))
        .unwrap();
    let report = machine
        .boot(&Boot::new(Medium::virtio(&esp)).script("true"))
        .unwrap();
    let report = report.expect(&Ending::Done).unwrap();
    for (bank, value) in predicted {
        let measured = report.registers().hex(bank.name(), 11).unwrap();
        assert_eq!(measured, value, "{name}: {bank}");
    }
}

fn with_profiles(generation: Generation, count: usize) -> Builder {
    (0..count).fold(builder(generation), |builder, index| {
        let profile = Profile::new(format!("ID=p{index}\n"));
        builder.profile(
            profile
                .cmdline(&format!("{} p={index}", bootlab::CMDLINE))
                .pcrsig_len(2),
        )
    })
}

#[test]
fn an_image_with_its_data_moved_back_boots() {
    for generation in Generation::available() {
        let plan = with_profiles(generation, 25).plan().unwrap();
        assert_boots(generation, "25 profiles", written(&plan));
    }
}

#[test]
fn an_image_with_256_profiles_and_its_base_moved_down_boots() {
    for generation in Generation::available() {
        match with_profiles(generation, 256).plan() {
            Ok(plan) => assert_boots(generation, "256 profiles", written(&plan)),
            // Stub 252 has an image base of zero.
            Err(error) => assert_eq!(generation, Generation::Debian12, "{error}"),
        }
    }
}

#[test]
fn an_edited_image_boots() {
    for generation in Generation::available() {
        let (image, _) = written(&builder(generation).plan().unwrap());
        let longer = format!("{} edited={}", bootlab::CMDLINE, "x".repeat(700));
        let plan = Edit::new(image)
            .unwrap()
            .set(None, SectionName::CMDLINE, longer.as_str())
            .remove(None, SectionName::UNAME)
            .plan()
            .unwrap();
        let edited = written(&plan);
        assert!(
            Uki::parse(&edited.0)
                .unwrap()
                .base()
                .section(&SectionName::UNAME)
                .is_none()
        );
        assert_boots(generation, "edited", edited);
    }
}
