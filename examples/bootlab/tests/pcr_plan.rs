//! Whole boots beside their plans: PCR 4, 5, 9, 11, 12 and 13 of both generations.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use authenticode::{HashAlgorithm, Image, ImageOptions, Prepared};
use bootlab::{Boot, Ending, Esp, Generation, Guest, Machine, Medium, Prediction, Report};
use efivars::{EfiTime, Enrolment, Guid, VariableStore};
use pcr::{
    Addon, Bank, BootPlan, Dialect, Digest, EventLog, Loader, Pcr7, Pcr11, PhasePath, Quirk,
    Register, SecureBootVariables,
};
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

    fn esp(&self) -> PathBuf {
        self.folder.path().join("esp.img")
    }

    /// Boots without Secure Boot.
    fn boot(&self, esp: &Esp) -> Report {
        let firmware = self.generation.firmware(false).unwrap();
        let machine = Machine::builder(firmware).create(self.folder.path().join("machine"));
        self.boot_on(machine.unwrap(), esp)
    }

    /// Boots with Secure Boot on and one key in PK, KEK and db.
    fn boot_securely(&self, esp: &Esp) -> Report {
        let firmware = self.generation.firmware(true).unwrap();
        let mut store = VariableStore::parse(&fs::read(&firmware.variables).unwrap()).unwrap();
        let owner = efivars::Certificate::from_pem(&key_file(CERTIFICATE)).unwrap();
        let time = EfiTime::new(2024, 1, 2, 3, 4, 5).unwrap();
        let plan = Enrolment::new(&owner, &owner, Guid::ZERO, time).db(Guid::ZERO, &owner);
        store.enrol(&plan);
        let prepared = self.folder.path().join("prepared.fd");
        fs::write(&prepared, store.to_bytes().unwrap()).unwrap();
        let machine = Machine::builder(firmware)
            .variables(&prepared)
            .create(self.folder.path().join("machine"));
        self.boot_on(machine.unwrap(), esp)
    }

    fn boot_on(&self, mut machine: Machine, esp: &Esp) -> Report {
        let image = self.esp();
        esp.write(&image).unwrap();
        let report = machine
            .boot(&Boot::new(Medium::virtio(&image)).script("true"))
            .unwrap();
        report.expect(&Ending::Done).unwrap()
    }
}

const CERTIFICATE: &str = "db-rsa2048.pem";

fn key_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../authenticode/tests/vectors/keys")
        .join(name)
}

fn key_file(name: &str) -> String {
    fs::read_to_string(key_path(name)).unwrap()
}

/// Signed with the key that machines with Secure Boot have in db.
fn signed(image: &[u8]) -> Vec<u8> {
    let certificate = authenticode::Certificate::from_pem(&key_file(CERTIFICATE)).unwrap();
    let signer = authenticode::RsaSigner::from_pem(&key_file("db-rsa2048.key")).unwrap();
    let mut image = image.to_vec();
    let prepared = Prepared::new(Image::parse(&image).unwrap(), &certificate).unwrap();
    let signed = prepared.sign(&signer).unwrap();
    signed.edit().unwrap().apply_to_bytes(&mut image).unwrap();
    image
}

/// What `imager predict` says, against the TPM: these registers and no others, in four banks.
fn assert_imager_predicts(medium: &Path, flags: &[&str], report: &Report, registers: &[u32]) {
    let imager = bootlab::program("imager", "trustedboot-imager").unwrap();
    let mut command = Command::new(imager);
    command.args(["--json", "predict"]).arg(medium).args(flags);
    let output = command.output().unwrap();
    let (text, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{errors}");
    let prediction = Prediction::from_json(&text).unwrap();
    let comparisons = prediction.compare("", report.registers());
    let wrong: Vec<_> = comparisons.iter().filter(|row| !row.agrees()).collect();
    assert_eq!(wrong.len(), 0, "{}", bootlab::table(&comparisons));
    let mut compared: Vec<u32> = comparisons.iter().map(|row| row.pcr).collect();
    compared.sort_unstable();
    let wanted: Vec<u32> = registers.iter().flat_map(|pcr| [*pcr; 4]).collect();
    assert_eq!(compared, wanted, "{flags:?}");
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
    let flags = ["--secure-boot-off"];
    assert_imager_predicts(&world.esp(), &flags, &report, &[4, 5, 9, 11, 12, 13]);
    // This firmware can do Secure Boot and has no keys.
    let flags = ["--secure-boot-off", "--pk", "-"];
    assert_imager_predicts(&world.esp(), &flags, &report, &[4, 5, 7, 9, 11, 12, 13]);
}

/// The tree of Debian 13, unless it is missing.
fn debian13(test: &str) -> Option<World> {
    if Generation::available().contains(&Generation::Debian13) {
        return Some(World::new(Generation::Debian13));
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the Debian 13 tree is missing"
    );
    eprintln!("SKIPPED: {test}: the Debian 13 tree not found");
    None
}

fn addon_stub(world: &World) -> Stub {
    let path = "usr/lib/systemd/boot/efi/addonx64.efi.stub";
    let path = world.generation.root().unwrap().join(path);
    Stub::parse(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn generation_257_measures_profile_addons_and_microcode() {
    let Some(world) = debian13("generation_257_measures_profile_addons_and_microcode") else {
        return;
    };
    let debug = format!("{} debug=1", bootlab::CMDLINE);
    let uki = built(
        world
            .uki()
            .ucode(Source::bytes(archive(1)))
            .profile(Profile::new("ID=main\n"))
            .profile(Profile::new("ID=debug\nTITLE=Debug\n").cmdline(&debug)),
    );
    let boot = observe(&uki);
    let addon_stub = addon_stub(&world);
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
    // This firmware is built without Secure Boot: only its log tells.
    let flags = ["--secure-boot-off"];
    assert_imager_predicts(&world.esp(), &flags, &report, &[4, 5, 9, 11, 12, 13]);
    let log = world.folder.path().join("log");
    fs::write(&log, report.event_log().unwrap()).unwrap();
    let flags = ["--secure-boot-off", "--event-log", log.to_str().unwrap()];
    assert_imager_predicts(&world.esp(), &flags, &report, &[4, 5, 7, 9, 11, 12, 13]);
    let machine = Pcr7::new(SecureBootVariables::setup_mode()).quirk(Quirk::EmptySecureBoot);
    let predicted = machine.predict().unwrap().value(Bank::Sha256).to_string();
    assert_eq!(report.registers().hex("sha256", 7).unwrap(), predicted);
}

#[test]
fn secure_boot_takes_signed_addons_only() {
    let Some(world) = debian13("secure_boot_takes_signed_addons_only") else {
        return;
    };
    let uki = built(
        world
            .uki()
            .ucode(Source::bytes(archive(1)))
            .profile(Profile::new("ID=main\n"))
            .profile(Profile::new("ID=debug\n").cmdline("debug=1")),
    );
    let (uki, loader) = (signed(&uki), signed(&world.loader));
    let stub = addon_stub(&world);
    let addon = |cmdline: &str| built(Builder::new(stub.clone()).cmdline(cmdline));
    // An entry file whose options Secure Boot makes the stub ignore, after the loader has measured them.
    let entry = "title Test\nefi /EFI/Linux/test.efi\noptions passed=1\n";
    let extra = |name: &str| format!("EFI/Linux/test.efi.extra.d/{name}");
    let esp = Esp::new()
        .file("EFI/BOOT/BOOTX64.EFI", &loader)
        .file("EFI/Linux/test.efi", &uki)
        .file(&extra("signed.addon.efi"), signed(&addon("from.addon=1")))
        .file(&extra("unsigned.addon.efi"), addon("from.unsigned=1"))
        .file(&extra("a.cred"), "one")
        .file(&extra("x.raw"), "extension")
        .file(&extra("y.confext.raw"), "configuration")
        .file("loader/addons/g.addon.efi", signed(&addon("from.global=1")))
        .file("loader/credentials/g.cred", "global")
        .file("loader/entries/test.conf", entry)
        .file("loader/loader.conf", "timeout 0\ndefault test.conf\n");
    let report = world.boot_securely(&esp);
    let certificate = key_path(CERTIFICATE);
    let certificate = certificate.to_str().unwrap();
    let flags = [
        "--pk",
        certificate,
        "--kek",
        certificate,
        "--db",
        certificate,
    ];
    let registers = [4, 5, 7, 9, 11, 12, 13];
    assert_imager_predicts(&world.esp(), &flags, &report, &registers);
}
