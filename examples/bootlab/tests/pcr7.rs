//! Boots machines with Secure Boot and compares PCR 7, in every bank, with what was predicted before.
//!
//! A part is booted each time; with `TRUSTEDBOOT_ALL_CASES` set all boots are done.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use authenticode::{HashAlgorithm, Image, ImageOptions, Prepared};
use bootlab::{Boot, Ending, Esp, Generation, Guest, Machine, Medium, Report};
use efivars::{
    Attributes, EfiTime, Enrolment, Guid, SignatureDatabase, Update, Variable, VariableStore,
};
use pcr::{
    Bank, BootImage, Digest, EventLog, KeyVariable, Pcr7, Pcr7Candidates, Pcr7Cause, Register,
    SecureBootVariables, Shim, VariableUpdate,
};

const OWNER: Guid = Guid::ZERO;

/// Machines run one after the other: two emulated ones would be slower together.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_wanted(name: &str) -> bool {
    let all = std::env::var_os("TRUSTEDBOOT_ALL_CASES").is_some();
    if !all {
        eprintln!("not booted: {name} (set TRUSTEDBOOT_ALL_CASES)");
    }
    all
}

fn key_file(name: &str) -> String {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../authenticode/tests/vectors/keys"
    );
    fs::read_to_string(format!("{folder}/{name}")).unwrap()
}

fn certificate(name: &str) -> efivars::Certificate {
    efivars::Certificate::from_pem(&key_file(&format!("{name}.pem"))).unwrap()
}

fn time(second: u8) -> EfiTime {
    EfiTime::new(2024, 1, 2, 3, 4, second).unwrap()
}

/// What all boots share: kernel, stub and loader of a generation, and an unsigned UKI.
struct World {
    generation: Generation,
    loader: Vec<u8>,
    uki: Vec<u8>,
}

impl World {
    fn of(generation: Generation) -> Self {
        let kernel = generation.kernel().unwrap();
        let stub = uki::Stub::parse(&fs::read(generation.stub().unwrap()).unwrap()).unwrap();
        let plan = uki::Builder::new(stub)
            .linux(uki::Source::file(&kernel.image))
            .initrd(Guest::new(&kernel).build().unwrap())
            .cmdline(bootlab::CMDLINE)
            .os_release("ID=trial\nVERSION_ID=1\n")
            .plan()
            .unwrap();
        let mut image = Vec::new();
        plan.write_to(&mut image).unwrap();
        Self {
            generation,
            loader: fs::read(generation.loader().unwrap()).unwrap(),
            uki: image,
        }
    }

    fn debian12() -> &'static Self {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| Self::of(Generation::Debian12))
    }

    /// The newer generation, where its tree is.
    fn debian13() -> Option<Self> {
        if Generation::available().contains(&Generation::Debian13) {
            return Some(Self::of(Generation::Debian13));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "the tree of Debian 13 is missing"
        );
        eprintln!("SKIPPED: a boot of Debian 13: its tree was not found");
        None
    }

    /// A machine whose store was prepared while it was off.
    fn machine(&self, directory: &Path, prepare: impl FnOnce(&mut VariableStore)) -> Machine {
        let firmware = self.generation.firmware(true).unwrap();
        let mut store = VariableStore::parse(&fs::read(&firmware.variables).unwrap()).unwrap();
        prepare(&mut store);
        let prepared = directory.join("prepared.fd");
        fs::write(&prepared, store.to_bytes().unwrap()).unwrap();
        Machine::builder(firmware)
            .variables(&prepared)
            .create(directory.join("machine"))
            .unwrap()
    }
}

fn signed(image: &[u8], name: &str) -> Vec<u8> {
    let certificate =
        authenticode::Certificate::from_pem(&key_file(&format!("{name}.pem"))).unwrap();
    let signer = authenticode::RsaSigner::from_pem(&key_file(&format!("{name}.key"))).unwrap();
    let mut image = image.to_vec();
    let prepared = Prepared::new(Image::parse(&image).unwrap(), &certificate).unwrap();
    prepared
        .sign(&signer)
        .unwrap()
        .edit()
        .unwrap()
        .apply_to_bytes(&mut image)
        .unwrap();
    image
}

/// What the prediction gets to know of an image.
fn described(bytes: &[u8]) -> BootImage {
    let image = Image::parse_with(bytes, &ImageOptions::new().hashes(&HashAlgorithm::ALL)).unwrap();
    let digests = Bank::ALL.into_iter().zip(HashAlgorithm::ALL);
    let unsigned = BootImage::new(digests.map(|(bank, algorithm)| {
        Digest::new(bank, image.digest_as_loaded(algorithm).unwrap().as_bytes()).unwrap()
    }));
    let signatures = image
        .entries()
        .iter()
        .filter_map(|entry| entry.pkcs7_data());
    signatures.fold(unsigned, BootImage::signature)
}

fn esp(directory: &Path, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let path = directory.join(name);
    let esp = files
        .iter()
        .fold(Esp::new(), |esp, (path, content)| esp.file(path, content));
    esp.write(&path).unwrap();
    path
}

/// The variables that a plan will enrol.
fn variables(plan: &Enrolment) -> SecureBootVariables {
    SecureBootVariables::enrolled(
        &plan.pk_value().to_bytes(),
        &plan.kek_value().to_bytes(),
        &plan.db_value().to_bytes(),
        &plan.dbx_value().to_bytes(),
    )
}

fn boot(machine: &mut Machine, medium: &Path, script: &str, inputs: &[(&str, &[u8])]) -> Report {
    let boot = Boot::new(Medium::virtio(medium)).script(script);
    let boot = inputs
        .iter()
        .fold(boot, |boot, (name, content)| boot.input(name, content));
    let report = machine.boot(&boot).unwrap().expect(&Ending::Done).unwrap();
    assert_eq!(report.script_status(), Some(0), "{}", report.script_log());
    report
}

/// Compares one register in every bank of the TPM; the log says why, if they differ.
fn compare(name: &str, report: &Report, predicted: &Pcr7, registers: &[Register]) {
    let prediction = predicted.predict().unwrap();
    let log = EventLog::parse(report.event_log().unwrap()).unwrap();
    assert!(
        prediction.all_started(),
        "{name}: {:?}",
        prediction.verdicts()
    );
    let mut banks = 0;
    for bank in report.registers().banks() {
        let (bank_name, bank): (&str, Bank) = (bank, bank.parse().unwrap());
        for register in registers {
            let measured = report
                .registers()
                .hex(bank_name, register.index().into())
                .unwrap();
            let predicted_value = prediction.register(bank, *register).to_string();
            eprintln!(
                "{name}: PCR {register} {bank}: predicted {predicted_value}, measured {measured}"
            );
            let reasons: Vec<String> = predicted
                .explain_log(&log)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(predicted_value, measured, "{name}: {reasons:#?}");
            assert_eq!(
                log.replay().value(bank, *register).unwrap().to_string(),
                measured,
                "{name}: the log"
            );
        }
        banks += 1;
    }
    assert_eq!(banks, 4, "all banks are active");
    assert_eq!(predicted.explain_log(&log).unwrap(), [], "{name}");
    // The prediction from the log is the same.
    let copied = Pcr7::from_log(&log).unwrap().predict().unwrap();
    assert_eq!(
        copied.value(Bank::Sha256),
        prediction.value(Bank::Sha256),
        "{name}: from the log"
    );
}

const PCR7: &[Register] = &[Register::SECURE_BOOT_POLICY];

#[test]
fn one_machine_is_enrolled_offline_then_gets_a_dbx_and_then_another_key() {
    let _turn = turn();
    let world = World::debian12();
    let directory = tempfile::tempdir().unwrap();
    let owner = certificate("db-rsa2048");
    let plan = Enrolment::new(&owner, &owner, OWNER, time(0)).db(OWNER, &owner);
    let mut machine = world.machine(directory.path(), |store| store.enrol(&plan));
    let image = signed(&world.uki, "db-rsa2048");
    let medium = esp(
        directory.path(),
        "first.img",
        &[("EFI/BOOT/BOOTX64.EFI", &image)],
    );
    let first = Pcr7::new(variables(&plan)).load(described(&image));

    // A write to dbx from the running system shows only in the next boot.
    let mut revoked = SignatureDatabase::new();
    revoked
        .add_image_digest(efivars::HashAlgorithm::Sha256, OWNER, &[0x55; 32])
        .unwrap();
    let signer = efivars::RsaSigner::from_pem(&key_file("db-rsa2048.key")).unwrap();
    let update = Update::append(efivars::DBX, &revoked, time(1))
        .unwrap()
        .sign(&owner, &signer)
        .unwrap();
    let script = format!("write_variable {} /in/dbx", efivars::DBX);
    let report = boot(
        &mut machine,
        &medium,
        &script,
        &[("dbx", &update.to_efivarfs())],
    );
    compare("enrolled offline", &report, &first, PCR7);

    let pending = VariableUpdate::append(KeyVariable::Dbx, &revoked.to_bytes());
    let outcomes = first.outcomes(std::slice::from_ref(&pending), &[]).unwrap();
    let second = first.clone().update(&pending).unwrap();
    let other = certificate("other");
    let mut keys = SignatureDatabase::new();
    keys = keys.with_certificate(OWNER, &other);
    let rotation = Update::replace(efivars::DB, &keys, time(2))
        .unwrap()
        .sign(&owner, &signer)
        .unwrap();
    let script = format!("write_variable {} /in/db", efivars::DB);
    let report = boot(
        &mut machine,
        &medium,
        &script,
        &[("db", &rotation.to_efivarfs())],
    );
    compare("dbx updated", &report, &second, PCR7);
    assert_eq!(outcomes[1].prediction, second.predict().unwrap());

    // Without a log: the first prediction explains the second value.
    let measured =
        Digest::from_hex(Bank::Sha384, &report.registers().hex("sha384", 7).unwrap()).unwrap();
    let causes = first
        .explain(&measured, &Pcr7Candidates::new().update(pending))
        .unwrap();
    assert_eq!(causes[0].causes, [Pcr7Cause::Updated(KeyVariable::Dbx, 0)]);

    // The key is rotated: db and image are those of the other key.
    let image = signed(&world.uki, "other");
    let medium = esp(
        directory.path(),
        "second.img",
        &[("EFI/BOOT/BOOTX64.EFI", &image)],
    );
    let third = Pcr7::new(second.variables().clone())
        .update(&VariableUpdate::replace(KeyVariable::Db, &keys.to_bytes()))
        .unwrap()
        .load(described(&image));
    let report = boot(&mut machine, &medium, "true", &[]);
    compare("key rotated", &report, &third, PCR7);
}

#[test]
fn two_keys_are_in_the_chain() {
    let _turn = turn();
    let world = World::debian12();
    let directory = tempfile::tempdir().unwrap();
    let owner = certificate("db-rsa2048");
    let plan = Enrolment::new(&owner, &owner, OWNER, time(0))
        .db(OWNER, &owner)
        .db(OWNER, &certificate("other"));
    let mut machine = world.machine(directory.path(), |store| store.enrol(&plan));
    let (loader, image) = (
        signed(&world.loader, "other"),
        signed(&world.uki, "db-rsa2048"),
    );
    let files: [(&str, &[u8]); 2] = [
        ("EFI/BOOT/BOOTX64.EFI", &loader),
        ("EFI/Linux/trial.efi", &image),
    ];
    let medium = esp(directory.path(), "esp.img", &files);
    let predicted = Pcr7::new(variables(&plan))
        .load(described(&loader))
        .load(described(&image));
    assert_eq!(predicted.predict().unwrap().authorities().len(), 2);
    let report = boot(&mut machine, &medium, "true", &[]);
    compare("two keys", &report, &predicted, PCR7);
}

#[test]
fn an_unsigned_image_is_allowed_by_its_hash() {
    let _turn = turn();
    let world = World::debian12();
    let directory = tempfile::tempdir().unwrap();
    let owner = certificate("db-rsa2048");
    let mut hashes = SignatureDatabase::new();
    let image = described(&world.uki);
    let digest = image.digest(Bank::Sha256).unwrap().as_bytes().to_vec();
    hashes
        .add_image_digest(efivars::HashAlgorithm::Sha256, OWNER, &digest)
        .unwrap();
    let plan = Enrolment::new(&owner, &owner, OWNER, time(0)).db_lists(&hashes);
    let mut machine = world.machine(directory.path(), |store| store.enrol(&plan));
    let medium = esp(
        directory.path(),
        "esp.img",
        &[("EFI/BOOT/BOOTX64.EFI", &world.uki)],
    );
    let report = boot(&mut machine, &medium, "true", &[]);
    compare(
        "hash in db",
        &report,
        &Pcr7::new(variables(&plan)).load(image),
        PCR7,
    );
}

#[test]
fn secure_boot_is_off() {
    let _turn = turn();
    let world = World::debian12();
    let directory = tempfile::tempdir().unwrap();
    let owner = certificate("db-rsa2048");
    let plan = Enrolment::new(&owner, &owner, OWNER, time(0)).db(OWNER, &owner);
    let mut machine = world.machine(directory.path(), |store| {
        store.enrol(&plan);
        store.set(Variable::new(
            efivars::SECURE_BOOT_ENABLE,
            Attributes::from_bits(3),
            vec![0],
        ));
    });
    let medium = esp(
        directory.path(),
        "esp.img",
        &[("EFI/BOOT/BOOTX64.EFI", &world.uki)],
    );
    let report = boot(&mut machine, &medium, "true", &[]);
    let off = Pcr7::new(variables(&plan).secure_boot(false)).load(described(&world.uki));
    compare("keys, Secure Boot off", &report, &off, PCR7);

    let on = Pcr7::new(variables(&plan)).load(described(&signed(&world.uki, "db-rsa2048")));
    let measured =
        Digest::from_hex(Bank::Sha1, &report.registers().hex("sha1", 7).unwrap()).unwrap();
    let causes = on.explain(&measured, &Pcr7Candidates::new()).unwrap();
    assert_eq!(causes[0].causes, [Pcr7Cause::SecureBootOff]);
    let log = EventLog::parse(report.event_log().unwrap()).unwrap();
    let reasons: Vec<String> = on
        .explain_log(&log)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(reasons[0], "PCR 7: Secure Boot is off");
}

#[test]
fn no_key_is_enrolled() {
    if !is_wanted("a machine in setup mode") {
        return;
    }
    let _turn = turn();
    let world = World::debian12();
    let directory = tempfile::tempdir().unwrap();
    let mut machine = world.machine(directory.path(), |_| {});
    let medium = esp(
        directory.path(),
        "esp.img",
        &[("EFI/BOOT/BOOTX64.EFI", &world.uki)],
    );
    let report = boot(&mut machine, &medium, "true", &[]);
    let predicted = Pcr7::new(SecureBootVariables::setup_mode()).load(described(&world.uki));
    compare("setup mode", &report, &predicted, PCR7);
}

#[test]
fn the_first_entry_of_db_that_fits_is_measured() {
    if !is_wanted("an authority and a leaf in db") {
        return;
    }
    let _turn = turn();
    let world = World::debian12();
    let owner = certificate("db-rsa2048");
    let image = signed(&signed(&world.uki, "other"), "leaf");
    for order in [
        ["inter", "leaf", "other"],
        ["leaf", "other", "inter"],
        ["root", "inter", "leaf"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let plan = Enrolment::new(&owner, &owner, OWNER, time(0));
        let plan = order
            .iter()
            .fold(plan, |plan, name| plan.db(OWNER, &certificate(name)));
        let mut machine = world.machine(directory.path(), |store| store.enrol(&plan));
        let medium = esp(
            directory.path(),
            "esp.img",
            &[("EFI/BOOT/BOOTX64.EFI", &image)],
        );
        let report = boot(&mut machine, &medium, "true", &[]);
        let predicted = Pcr7::new(variables(&plan)).load(described(&image));
        compare(
            &format!("db in the order {order:?}"),
            &report,
            &predicted,
            PCR7,
        );
    }
}

#[test]
fn the_certificates_of_microsoft_are_enrolled_beside_our_own() {
    let _turn = turn();
    let world = World::debian12();
    let Some(plan) = microsoft_plan(world) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut machine = world.machine(directory.path(), |store| store.enrol(&plan));
    let image = signed(&world.uki, "db-rsa2048");
    let medium = esp(
        directory.path(),
        "esp.img",
        &[("EFI/BOOT/BOOTX64.EFI", &image)],
    );
    let report = boot(&mut machine, &medium, "true", &[]);
    compare(
        "Microsoft's certificates",
        &report,
        &Pcr7::new(variables(&plan)).load(described(&image)),
        PCR7,
    );
}

/// Our keys, and Microsoft's as they are in the store that comes with the firmware.
fn microsoft_plan(world: &World) -> Option<Enrolment> {
    let empty = world.generation.firmware(true).unwrap().variables;
    let path = empty.with_file_name("OVMF_VARS_4M.ms.fd");
    let Ok(bytes) = fs::read(&path) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing",
            path.display()
        );
        eprintln!(
            "SKIPPED: Microsoft's certificates: {} not found",
            path.display()
        );
        return None;
    };
    let owner = certificate("db-rsa2048");
    let mut plan = Enrolment::new(&owner, &owner, OWNER, time(0)).db(OWNER, &owner);
    let store = VariableStore::parse(&bytes).unwrap();
    let list = |name| SignatureDatabase::parse(&store.variable(&name).unwrap().data).unwrap();
    let kek = list(efivars::KEK);
    for (_, certificate) in kek.certificates() {
        if efivars::microsoft::identify(&certificate).is_some() {
            plan = plan.kek(Guid::MICROSOFT, &certificate);
        }
    }
    Some(
        plan.db_lists(&list(efivars::DB))
            .dbx_lists(&list(efivars::DBX)),
    )
}

#[test]
fn shim_starts_an_image_by_a_key_of_the_machine_owner() {
    let _turn = turn();
    let Some(world) = World::debian13() else {
        return;
    };
    let shim_path = world
        .generation
        .root()
        .unwrap()
        .join("usr/lib/shim/shimx64.efi.signed");
    let (Ok(shim), Some(plan)) = (fs::read(&shim_path), microsoft_plan(&world)) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing",
            shim_path.display()
        );
        eprintln!("SKIPPED: shim_starts_an_image_by_a_key_of_the_machine_owner: shim not found");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mok = SignatureDatabase::new()
        .with_certificate(OWNER, &certificate("other"))
        .to_bytes();
    let mut machine = world.machine(directory.path(), |store| {
        store.enrol(&plan);
        store.set(Variable::new(
            efivars::MOK_LIST,
            Attributes::from_bits(3),
            mok.clone(),
        ));
    });
    let image = signed(&world.uki, "other");
    let files: [(&str, &[u8]); 2] = [
        ("EFI/BOOT/BOOTX64.EFI", &shim),
        ("EFI/BOOT/grubx64.efi", &image),
    ];
    let medium = esp(directory.path(), "esp.img", &files);

    // All of it is known before the boot: shim carries its certificate, its revocations and the levels that it sets.
    let built_in = section(&shim, ".vendor_c");
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    let [good, bad, good_at, bad_at] = [0, 4, 8, 12].map(|at| word(built_in, at));
    let levels = section(&shim, ".sbatlev");
    let automatic = &levels[4 + word(levels, 4)..];
    let level = automatic.split(|byte| *byte == 0).next().unwrap();
    let state = Shim::new(level).with_vendor_certificate(
        &built_in[good_at..good_at + good],
        &mok,
        &built_in[bad_at..bad_at + bad],
        &[],
    );
    let predicted = Pcr7::new(variables(&plan))
        .load(described(&shim))
        .shim(state)
        .load(described(&image));
    let report = boot(&mut machine, &medium, "true", &[]);
    compare(
        "shim and MOK",
        &report,
        &predicted,
        &[Register::SECURE_BOOT_POLICY, Register::SHIM_POLICY],
    );
}

/// The content of the section whose name starts like this.
fn section<'a>(image: &'a [u8], name: &str) -> &'a [u8] {
    let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(image[at..at + 2].try_into().unwrap()));
    let header = word(0x3c);
    let table = header + 24 + half(header + 20);
    let sections = (0..half(header + 6)).map(|index| table + 40 * index);
    let entry = sections
        .into_iter()
        .find(|entry| section_name(image, *entry).starts_with(name.trim_end_matches('\0')))
        .unwrap_or_else(|| panic!("no section {name}"));
    &image[word(entry + 20)..word(entry + 20) + word(entry + 8)]
}

/// Names longer than 8 bytes are in the string table behind the symbols.
fn section_name(image: &[u8], entry: usize) -> String {
    let name = String::from_utf8_lossy(&image[entry..entry + 8])
        .trim_end_matches('\0')
        .to_owned();
    let Some(offset) = name
        .strip_prefix('/')
        .and_then(|digits| digits.parse::<usize>().ok())
    else {
        return name;
    };
    let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let header = word(0x3c);
    let strings = word(header + 12) + 18 * word(header + 16);
    let text = &image[strings + offset..];
    String::from_utf8_lossy(text.split(|byte| *byte == 0).next().unwrap()).into_owned()
}
