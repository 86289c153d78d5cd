//! Whole boots beside their plans: PCR 4, 5, 9, 11, 12 and 13 of both generations.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use authenticode::{HashAlgorithm, Image, ImageOptions};
use bootlab::{Boot, Ending, Esp, Generation, Guest, Machine, Medium, Report};
use pcr::{Addon, Bank, BootPlan, Dialect, Digest, EventLog, Loader, Pcr11, PhasePath, Register};
use uki::{Builder, Profile, Source, Stub, Uki};

/// What one test needs again and again.
struct World {
    generation: Generation,
    folder: tempfile::TempDir,
    stub: Stub,
    loader: Vec<u8>,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    release: String,
}

impl World {
    fn new(generation: Generation) -> Self {
        let kernel = generation.kernel().unwrap();
        Self {
            generation,
            folder: tempfile::tempdir().unwrap(),
            stub: Stub::parse(&fs::read(generation.stub().unwrap()).unwrap()).unwrap(),
            loader: fs::read(generation.loader().unwrap()).unwrap(),
            kernel: fs::read(&kernel.image).unwrap(),
            initrd: Guest::new(&kernel).build().unwrap(),
            release: kernel.release,
        }
    }

    fn uki(&self) -> Builder {
        Builder::new(self.stub.clone())
            .linux(Source::bytes(self.kernel.clone()))
            .initrd(Source::bytes(self.initrd.clone()))
            .cmdline(bootlab::CMDLINE)
            .os_release("ID=test\nNAME=test\nVERSION_ID=1\n")
            .uname(&self.release)
    }

    fn boot(&self, esp: &Esp) -> Report {
        let image = self.folder.path().join("esp.img");
        esp.write(&image).unwrap();
        let firmware = self.generation.firmware(false).unwrap();
        let mut machine = Machine::builder(firmware)
            .create(self.folder.path().join("machine"))
            .unwrap();
        let report = machine
            .boot(&Boot::new(Medium::virtio(&image)).script("true"))
            .unwrap();
        report.expect(&Ending::Done).unwrap()
    }
}

fn built(builder: Builder) -> Vec<u8> {
    let mut image = Vec::new();
    builder.plan().unwrap().write_to(&mut image).unwrap();
    image
}

/// An archive without files, which the kernel unpacks as microcode and initrd; the number tells them apart.
fn archive(number: u32) -> Vec<u8> {
    let zeros = "0".repeat(8);
    let (before, after) = (zeros.repeat(3), zeros.repeat(6));
    format!("070701{number:08x}{before}00000001{after}0000000b{zeros}TRAILER!!!\0\0\0\0")
        .into_bytes()
}

/// The sections of a finished UKI.
fn observe(image: &[u8]) -> Pcr11 {
    let uki = Uki::parse(image).unwrap();
    let dialect = Dialect::identify(uki.stub().name(), uki.stub().version());
    let mut boot = Pcr11::new(dialect, &Bank::ALL);
    let names = uki.sections().iter().map(|section| section.name().as_str());
    for (section, id) in uki.sections().iter().zip(pcr::SectionId::in_table(names)) {
        boot.observe(id, &uki.bytes(section).unwrap());
    }
    boot
}

/// Authenticode digests in every bank.
fn digests(image: &[u8]) -> Vec<Digest> {
    let image = Image::parse_with(image, &ImageOptions::new().hashes(&HashAlgorithm::ALL)).unwrap();
    let banks = Bank::ALL.into_iter().zip(HashAlgorithm::ALL);
    banks
        .map(|(bank, algorithm)| {
            Digest::new(bank, image.digest_as_loaded(algorithm).unwrap().as_bytes()).unwrap()
        })
        .collect()
}

/// Every register of the plan in every bank of the TPM; a mismatch is explained by the log.
fn assert_measured(plan: &BootPlan, report: &Report, registers: &[u8]) {
    let log = report.event_log().map(|log| EventLog::parse(log).unwrap());
    let differences: Vec<String> = log
        .map(|log| plan.compare(&log).iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    assert_eq!(differences, [""; 0], "notes: {:?}", plan.notes());
    for index in registers {
        for bank in Bank::ALL {
            let register = Register::new(*index).unwrap();
            let predicted = plan.register(register, bank).unwrap().to_string();
            let measured = report
                .registers()
                .hex(bank.name(), (*index).into())
                .unwrap();
            assert_eq!(measured, predicted, "PCR {index} {bank}");
        }
    }
}

#[test]
fn generation_252_measures_the_command_line_twice_without_secure_boot() {
    let world = World::new(Generation::Debian12);
    let uki = built(world.uki());
    let boot = observe(&uki);
    let esp = Esp::new()
        .file("EFI/BOOT/BOOTX64.EFI", &world.loader)
        .file("EFI/Linux/test.efi", &uki)
        .file("EFI/Linux/test.efi.extra.d/b.cred", "two")
        .file("EFI/Linux/test.efi.extra.d/a.cred", "one")
        .file("EFI/Linux/test.efi.extra.d/x.raw", "extension")
        .file("loader/credentials/g.cred", "global")
        .file("loader/loader.conf", "timeout 0\n");
    let report = world.boot(&esp);
    let plan = BootPlan::builder(&boot)
        .secure_boot(false)
        .loader(Loader::from_version("systemd-boot 252.39-1~deb12u1"))
        .loader_image(&digests(&world.loader))
        .loader_conf(b"timeout 0\n")
        .uki_image(&digests(&uki))
        .kernel_image(&digests(&world.kernel))
        .gpt_event(&[])
        .local_file("a.cred", b"one")
        .local_file("b.cred", b"two")
        .local_file("x.raw", b"extension")
        .global_credential("g.cred", b"global")
        .embedded_initrds(&[], &world.initrd)
        .phase(PhasePath::stub())
        .build()
        .unwrap();
    assert_measured(&plan, &report, &[4, 5, 9, 11, 12, 13]);
}

#[test]
fn generation_257_measures_profile_addons_and_microcode() {
    if !Generation::available().contains(&Generation::Debian13) {
        assert!(
            std::env::var_os("CI").is_none(),
            "the Debian 13 tree is missing"
        );
        return eprintln!(
            "SKIPPED: generation_257_measures_profile_addons_and_microcode: the Debian 13 tree not found"
        );
    }
    let world = World::new(Generation::Debian13);
    let debug = format!("{} debug=1", bootlab::CMDLINE);
    let uki = built(
        world
            .uki()
            .ucode(Source::bytes(archive(1)))
            .profile(Profile::new("ID=main\n"))
            .profile(Profile::new("ID=debug\nTITLE=Debug\n").cmdline(&debug)),
    );
    let boot = observe(&uki);
    let addon_stub = world
        .generation
        .root()
        .unwrap()
        .join("usr/lib/systemd/boot/efi/addonx64.efi.stub");
    let addon_stub = Stub::parse(&fs::read(addon_stub).unwrap()).unwrap();
    let addon = built(
        Builder::new(addon_stub.clone())
            .cmdline("from.addon=1")
            .ucode(Source::bytes(archive(2))),
    );
    let global = built(Builder::new(addon_stub).cmdline("from.global=1"));
    let conf = b"timeout 0\ndefault test.efi@debug\n";
    let esp = Esp::new()
        .file("EFI/BOOT/BOOTX64.EFI", &world.loader)
        .file("EFI/Linux/test.efi", &uki)
        .file("EFI/Linux/test.efi.extra.d/l.addon.efi", &addon)
        .file("EFI/Linux/test.efi.extra.d/a.cred", "one")
        .file("EFI/Linux/test.efi.extra.d/x.raw", "extension")
        .file("EFI/Linux/test.efi.extra.d/y.confext.raw", "configuration")
        .file("loader/addons/g.addon.efi", &global)
        .file("loader/loader.conf", conf);
    let report = world.boot(&esp);
    let (ucode, addon_ucode) = (archive(1), archive(2));
    let (addon_image, global_image) = (digests(&addon), digests(&global));
    let plan = BootPlan::builder(&boot)
        .profile(1)
        .secure_boot(false)
        .loader(Loader::from_version("systemd-boot 257.13-1~deb13u1"))
        .loader_image(&digests(&world.loader))
        .loader_conf(conf)
        .uki_image(&digests(&uki))
        .kernel_image(&digests(&world.kernel))
        .gpt_event(&[])
        .addon(
            Addon::local("l.addon.efi")
                .cmdline(b"from.addon=1")
                .ucode(&addon_ucode)
                .image(&addon_image),
        )
        .addon(
            Addon::global("g.addon.efi")
                .cmdline(b"from.global=1")
                .image(&global_image),
        )
        .local_file("a.cred", b"one")
        .local_file("x.raw", b"extension")
        .local_file("y.confext.raw", b"configuration")
        .embedded_initrds(&ucode, &world.initrd)
        .build()
        .unwrap();
    assert_measured(&plan, &report, &[4, 5, 9, 11, 12, 13]);
}
