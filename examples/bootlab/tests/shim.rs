//! Boots Debian's shim, signed with a key of our own, lets it judge images one after another in one start of a machine,
//! and compares with the model of the crate `authenticode`.
//!
//! Each boot entry starts shim with the path of an image. The images print a line and return an error, so that the
//! firmware goes on to the next entry; the last entry is one that the firmware itself refuses, which ends the boot.

#![allow(
    clippy::unwrap_used,
    clippy::vec_init_then_push,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use authenticode::{
    Databases, HashAlgorithm, Image, ImageOptions, SbatLevel, Shim, SignatureDatabase,
    SignatureType,
};
use bootlab::{Boot, Esp, Generation, Machine, Medium};
use efivars::{Attributes, EfiTime, Enrolment, Guid, Variable, VariableName, VariableStore};
use support::forge::{Certificate, Cms, Entry, Key, extension, oid, seq, signature_list, signed};

#[path = "../../../authenticode/tests/support"]
mod support {
    #![allow(
        dead_code,
        unused_imports,
        reason = "the tests of the crate use the rest"
    )]
    pub(crate) mod forge;
}

/// One image in so many is asked about each time; all with `TRUSTEDBOOT_CASES` set, which takes two minutes.
const PART: usize = 3;
/// Images that are tried in one start of a machine.
const IN_ONE_START: usize = 12;
const SHIM: &str = "/usr/lib/shim/shimx64.efi";
const VENDOR: &str = "/usr/share/shim/debian-uefi-ca.der";
/// Newer than any level that shim brings along, so that it stays.
const LEVEL: &str = "sbat,1,2099010100\nshim,1\nlab,2\n";
const SBAT: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\nlab,2,Lab,lab,1,https://lab.example\n";
const RUNS: &str = "IT RUNS";

fn key(name: &str) -> Key {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../authenticode/tests/vectors/keys"
    );
    Key::from_pem(&fs::read_to_string(format!("{folder}/{name}.key")).unwrap())
}

/// An EFI application that prints a text and returns `EFI_ABORTED`. `number` makes its digest its own.
fn application(text: &str, number: u8, sbat: &[&str]) -> Vec<u8> {
    // sub rsp, 40; mov rcx, [rdx + 64]; lea rdx, [rip + 18]; call [rcx + 8]; mov rax, ABORTED; add rsp, 40; ret
    let mut code = b"\x48\x83\xec\x28\x48\x8b\x4a\x40\x48\x8d\x15\x12\0\0\0\xff\x51\x08\x48\xb8\x15\0\0\0\0\0\0\x80\x48\x83\xc4\x28\xc3"
        .to_vec();
    code.extend(
        format!("{text}\r\n\0")
            .encode_utf16()
            .flat_map(u16::to_le_bytes),
    );
    code.push(number);
    let relocations = b"\0\x10\0\0\x0c\0\0\0\0\0\0\0".to_vec();
    let mut sections: Vec<(&[u8; 8], u32, Vec<u8>)> = vec![
        (b".text\0\0\0", 0x6000_0020, code),
        (b".reloc\0\0", 0x4200_0040, relocations),
    ];
    for text in sbat {
        sections.push((b".sbat\0\0\0", 0x4000_0040, text.as_bytes().to_vec()));
    }
    let mut image = vec![0; 0x40];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x40;
    image.extend_from_slice(b"PE\0\0\x64\x86");
    image.extend_from_slice(&(sections.len() as u16).to_le_bytes());
    image.extend_from_slice(&[0; 12]);
    image.extend_from_slice(&[240, 0, 0x22, 0]);
    let end = 0x1000 * (sections.len() as u32 + 1);
    // Magic, sizes, entry point and base of code at 0x1000, image base 0, alignments, versions.
    for word in [0x20b, 0x200, 0x400, 0, 0x1000, 0x1000, 0, 0, 0x1000, 0x200] {
        image.extend_from_slice(&u32::to_le_bytes(word));
    }
    image.extend_from_slice(&[0; 16]);
    for word in [end, 0x400, 0, 0x0100_000a] {
        image.extend_from_slice(&u32::to_le_bytes(word));
    }
    image.extend_from_slice(&[0; 36]);
    image.extend_from_slice(&u32::to_le_bytes(16));
    let mut directories = [0; 128];
    directories[40..48].copy_from_slice(b"\0\x20\0\0\x0c\0\0\0");
    image.extend_from_slice(&directories);
    for (index, (name, flags, content)) in sections.iter().enumerate() {
        let address = 0x1000 * (index as u32 + 1);
        image.extend_from_slice(*name);
        for word in [
            content.len() as u32,
            address,
            0x200,
            0x400 + 0x200 * index as u32,
            0,
            0,
            0,
            *flags,
        ] {
            image.extend_from_slice(&u32::to_le_bytes(word));
        }
    }
    image.resize(0x400, 0);
    for (.., content) in &sections {
        image.extend_from_slice(content);
        image.resize(image.len().next_multiple_of(0x200), 0);
    }
    image
}

struct Lab {
    /// In db, in MokList, in MokListX and MokList, in dbx and MokList, nowhere.
    db: (Key, Vec<u8>),
    mok: (Key, Vec<u8>),
    moved: (Key, Vec<u8>),
    denied: (Key, Vec<u8>),
    stranger: (Key, Vec<u8>),
    /// In MokList, but for modules only; and an expired one.
    modules: Vec<u8>,
    expired: Vec<u8>,
    middle: (Key, Vec<u8>),
    leaf: (Key, Vec<u8>),
}

fn authority(name: &'static str, key: &str) -> (Key, Vec<u8>) {
    let key = self::key(key);
    let certificate = Certificate::new(name, name, 1).ca(true).sign(&key, &key);
    (key, certificate)
}

impl Lab {
    fn new() -> Self {
        let db = authority("db", "root");
        let mok = authority("mok", "other");
        let stranger = authority("stranger", "tsa");
        let (middle_key, leaf_key) = (key("inter"), key("leaf"));
        let middle = Certificate::new("middle", "mok", 2)
            .ca(true)
            .sign(&middle_key, &mok.0);
        let leaf = Certificate::new("leaf", "middle", 3).sign(&leaf_key, &middle_key);
        let modules = Certificate::new("modules", "modules", 4)
            .extension(extension(
                "2.5.29.37",
                false,
                &seq(&[&oid("1.3.6.1.4.1.2312.16.1.2")]),
            ))
            .sign(&stranger.0, &stranger.0);
        let expired = Certificate::new("expired", "expired", 5)
            .ca(true)
            .validity("200101000000Z", "210101000000Z")
            .sign(&stranger.0, &stranger.0);
        Self {
            moved: authority("moved", "db-rsa2048"),
            denied: authority("denied", "leaf"),
            middle: (middle_key, middle),
            leaf: (leaf_key, leaf),
            db,
            mok,
            stranger,
            modules,
            expired,
        }
    }

    fn images(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut number = 0;
        let mut app = |sbat: &[&str]| {
            number += 1;
            application(RUNS, number, sbat)
        };
        let by = |image: Vec<u8>, (key, certificate): &(Key, Vec<u8>)| {
            signed(
                &image,
                &[entry(&image, HashAlgorithm::Sha256, key, &[certificate])],
            )
        };
        let mut all = Vec::new();
        all.push(("by db", by(app(&[SBAT]), &self.db)));
        all.push(("by mok", by(app(&[SBAT]), &self.mok)));
        all.push(("by a stranger", by(app(&[SBAT]), &self.stranger)));
        all.push(("unsigned", app(&[SBAT])));
        all.push(("hash in MokList", app(&[SBAT])));
        all.push(("hash in db", app(&[SBAT])));
        all.push(("hash in db, SHA-1", app(&[SBAT])));
        all.push(("by mok, hash in dbx", by(app(&[SBAT]), &self.mok)));
        all.push(("by db, hash in MokListX", by(app(&[SBAT]), &self.db)));
        all.push(("by mok, SHA-1 hash in dbx", by(app(&[SBAT]), &self.mok)));
        all.push(("by one in MokListX", by(app(&[SBAT]), &self.moved)));
        all.push(("by one in dbx", by(app(&[SBAT]), &self.denied)));
        let image = app(&[SBAT]);
        let entries = [&self.denied, &self.mok]
            .map(|(key, certificate)| entry(&image, HashAlgorithm::Sha256, key, &[certificate]));
        all.push(("by one in dbx, then mok", signed(&image, &entries)));
        let image = app(&[SBAT]);
        let entries = [&self.stranger, &self.db]
            .map(|(key, certificate)| entry(&image, HashAlgorithm::Sha256, key, &[certificate]));
        all.push(("by a stranger, then db", signed(&image, &entries)));
        for (name, hash) in [
            ("by db, SHA-1", HashAlgorithm::Sha1),
            ("by db, SHA-384", HashAlgorithm::Sha384),
        ] {
            let image = app(&[SBAT]);
            let blob = entry(&image, hash, &self.db.0, &[&self.db.1]);
            all.push((name, signed(&image, &[blob])));
        }
        let image = app(&[SBAT]);
        let chain = entry(
            &image,
            HashAlgorithm::Sha256,
            &self.leaf.0,
            &[&self.leaf.1, &self.middle.1],
        );
        all.push(("by a chain to mok", signed(&image, &[chain])));
        all.push(("by a chain with a gap", by(app(&[SBAT]), &self.leaf)));
        let image = app(&[SBAT]);
        all.push((
            "by one for modules",
            by(image, &(self.stranger.0.clone(), self.modules.clone())),
        ));
        let image = app(&[SBAT]);
        all.push((
            "by one that expired",
            by(image, &(self.stranger.0.clone(), self.expired.clone())),
        ));
        let image = app(&[SBAT]);
        let mut guid = entry(&image, HashAlgorithm::Sha256, &self.db.0, &[&self.db.1]);
        guid.kind = 0x0ef1;
        let id = b"\x9d\xd2\xaf\x4a\xdf\x68\xee\x49\x8a\xa9\x34\x7d\x37\x56\x65\xa7";
        guid.data = [&id[..], &guid.data].concat();
        all.push((
            "by db, in an entry of the GUID type",
            signed(&image, &[guid]),
        ));
        let mut image = by(app(&[SBAT]), &self.db);
        image.extend_from_slice(&[0; 16]);
        all.push(("by db, data after the table", image));
        let mut image = app(&[SBAT]);
        image[0x40 + 22] |= 1;
        all.push(("by db, relocations stripped", by(image, &self.db)));
        for (name, sbat) in [
            ("by db, no SBAT", &[][..]),
            ("by db, two SBAT sections", &[SBAT, SBAT]),
            ("by db, revoked", &["sbat,1,a,b,c,d\nlab,1,a,b,1,e\n"]),
            ("by db, newer", &["sbat,1,a,b,c,d\nlab,3,a,b,1,e\n"]),
            (
                "by db, other components",
                &["sbat,1,a,b,c,d\nother,1,a,b,1,e\n"],
            ),
            (
                "by db, SBAT with a field too few",
                &["sbat,1,a,b,c,d\nlab,2,a,b,1\n"],
            ),
            (
                "by db, generation that is no number",
                &["sbat,1,a,b,c,d\nlab,x,a,b,1,e\n"],
            ),
        ] {
            all.push((name, by(app(sbat), &self.db)));
        }
        all
    }

    /// db, dbx, MokList, MokListX.
    fn lists(&self, images: &[(&str, Vec<u8>)]) -> [Vec<u8>; 4] {
        let x509 = |certificate: &[u8]| signature_list(SignatureType::X509.0.0, certificate);
        let hash = |name: &str, algorithm| {
            let (_, bytes) = images.iter().find(|(other, _)| *other == name).unwrap();
            let image = Image::parse_with(bytes, &all_hashes()).unwrap();
            let digest = image.digest_as_loaded(algorithm).unwrap();
            signature_list(
                SignatureType::of_image_hash(algorithm).0.0,
                digest.as_bytes(),
            )
        };
        use HashAlgorithm::{Sha1, Sha256};
        [
            [
                x509(&self.db.1),
                hash("hash in db", Sha256),
                hash("hash in db, SHA-1", Sha1),
            ]
            .concat(),
            [
                x509(&self.denied.1),
                hash("by mok, hash in dbx", Sha256),
                hash("by mok, SHA-1 hash in dbx", Sha1),
            ]
            .concat(),
            [
                x509(&self.mok.1),
                x509(&self.moved.1),
                x509(&self.denied.1),
                x509(&self.modules),
                x509(&self.expired),
                hash("hash in MokList", Sha256),
            ]
            .concat(),
            [x509(&self.moved.1), hash("by db, hash in MokListX", Sha256)].concat(),
        ]
    }
}

fn all_hashes() -> ImageOptions {
    ImageOptions::new().hashes(&HashAlgorithm::ALL)
}

fn entry(image: &[u8], hash: HashAlgorithm, key: &Key, certificates: &[&[u8]]) -> Entry {
    let options = all_hashes().allow_gaps(true);
    let digest = Image::parse_with(image, &options)
        .unwrap()
        .digest_for_signing(hash)
        .unwrap();
    Entry::new(&Cms::new(hash, digest.as_bytes(), key, certificates).build())
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// `EFI_LOAD_OPTION` with a path on whatever file system has it.
fn load_option(name: &str, path: &str, arguments: &str) -> Vec<u8> {
    let path = utf16(path);
    let mut nodes = vec![4, 4];
    nodes.extend_from_slice(&(path.len() as u16 + 4).to_le_bytes());
    nodes.extend_from_slice(&path);
    nodes.extend_from_slice(&[0x7f, 0xff, 4, 0]);
    let mut option = vec![1, 0, 0, 0];
    option.extend_from_slice(&(nodes.len() as u16).to_le_bytes());
    option.extend_from_slice(&utf16(name));
    option.extend_from_slice(&nodes);
    option.extend_from_slice(&utf16(arguments));
    option
}

fn machine(directory: &Path, lab: &Lab, lists: &[Vec<u8>; 4], options: Vec<Vec<u8>>) -> Machine {
    let firmware = Generation::Debian12.firmware(true).unwrap();
    let owner = efivars::Certificate::from_der(&lab.db.1).unwrap();
    let time: EfiTime = "2024-01-02 03:04:05".parse().unwrap();
    let list = |bytes: &[u8]| efivars::SignatureDatabase::parse(bytes).unwrap();
    let plan = Enrolment::new(&owner, &owner, Guid::ZERO, time)
        .db_lists(&list(&lists[0]))
        .dbx_lists(&list(&lists[1]));
    let mut store = VariableStore::parse(&fs::read(&firmware.variables).unwrap()).unwrap();
    store.enrol(&plan);
    let shim: Guid = "605dab50-e046-4300-abb6-3dd810dd8b23".parse().unwrap();
    let global: Guid = "8be4df61-93ca-11d2-aa0d-00e098032b8c".parse().unwrap();
    let hidden = Attributes::from_bits(3);
    let mut set = |name: &str, vendor, flags, value: Vec<u8>| {
        store.set(Variable::new(
            VariableName::new(name, vendor).unwrap(),
            flags,
            value,
        ));
    };
    set("MokList", shim, hidden, lists[2].clone());
    set("MokListX", shim, hidden, lists[3].clone());
    set("SbatLevel", shim, hidden, LEVEL.into());
    let order = (0..options.len() as u16).flat_map(|number| (number + 0x100).to_le_bytes());
    set(
        "BootOrder",
        global,
        Attributes::from_bits(7),
        order.collect(),
    );
    for (number, option) in options.into_iter().enumerate() {
        let name = format!("Boot{:04X}", number + 0x100);
        set(&name, global, Attributes::from_bits(7), option);
    }
    let prepared = directory.join("prepared.fd");
    fs::write(&prepared, store.to_bytes().unwrap()).unwrap();
    Machine::builder(firmware)
        .variables(&prepared)
        .without_tpm()
        .memory_mib(256)
        .create(directory.join("machine"))
        .unwrap()
}

/// shim shows a box for each image that it refuses, and waits for a key. Ends when the channel is closed.
fn press_return(socket: &Path, stopped: &Receiver<()>) {
    let key = br#"{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"ret"}]}}"#;
    let mut monitor = None;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(300)) {
        match &mut monitor {
            None => {
                monitor = UnixStream::connect(socket).ok();
                if let Some(monitor) = &mut monitor {
                    monitor
                        .write_all(br#"{"execute":"qmp_capabilities"}"#)
                        .unwrap();
                }
            }
            Some(monitor) => {
                // It closes when the machine ends.
                let _ = monitor.write_all(key);
            }
        }
    }
}

/// Whether shim starts each of the images, in one start of a machine.
fn ask(lab: &Lab, lists: &[Vec<u8>; 4], images: &[&(&'static str, Vec<u8>)]) -> Vec<bool> {
    let directory = tempfile::tempdir().unwrap();
    let by_db = |image: Vec<u8>| {
        let (key, certificate) = &lab.db;
        let entry = entry(&image, HashAlgorithm::Sha256, key, &[certificate]);
        signed(&image, &[entry])
    };
    // shim starts its key manager, or the loader of its usual name, when it refuses an image.
    let manager = by_db(application("MANAGER", 0, &[SBAT]));
    let mut esp = Esp::new()
        .file("EFI/LAB/SHIM.EFI", by_db(fs::read(SHIM).unwrap()))
        .file("EFI/LAB/MMX64.EFI", &manager)
        .file("EFI/LAB/GRUBX64.EFI", &manager)
        .file("EFI/LAB/END.EFI", application(RUNS, 0, &[]));
    let mut options = Vec::new();
    for (number, (name, image)) in images.iter().enumerate() {
        esp = esp.file(&format!("EFI/LAB/{number:02}.EFI"), image);
        let path = format!("\\EFI\\LAB\\{number:02}.EFI");
        options.push(load_option(name, "\\EFI\\LAB\\SHIM.EFI", &path));
    }
    options.push(load_option("end", "\\EFI\\LAB\\END.EFI", ""));
    let disk = directory.path().join("esp.img");
    esp.write(&disk).unwrap();
    let mut machine = machine(directory.path(), lab, lists, options);
    let keyboard = directory.path().join("keyboard");
    let boot = Boot::new(Medium::nothing())
        .disk("esp", &disk)
        .qemu("-qmp")
        .qemu(&format!("unix:{},server=on,wait=off", keyboard.display()))
        .patience(Duration::from_secs(120));
    let (stop, stopped) = channel();
    let report = std::thread::scope(|scope| {
        let keyboard = &keyboard;
        scope.spawn(move || press_return(keyboard, &stopped));
        let report = machine.boot(&boot);
        drop(stop);
        report.unwrap()
    });
    let serial = report.serial();
    let answer = |(number, (name, _)): (usize, &&(&str, Vec<u8>))| {
        let start = format!("starting Boot{:04X}", number + 0x100);
        let rest = serial.split(&start).nth(1);
        let said = rest.and_then(|rest| rest.split("starting Boot").next());
        let said = said
            .unwrap_or_else(|| panic!("{name} was not tried ({:?}):\n{serial}", report.ending()));
        let (runs, refused) = (said.contains(RUNS), said.contains("Failed to load image"));
        assert!(runs != refused, "{name}: no clear answer: {said}");
        runs
    };
    images.iter().enumerate().map(answer).collect()
}

#[test]
fn shim_decides_about_images_as_the_model() {
    if !Path::new(SHIM).exists() {
        assert!(std::env::var_os("CI").is_none(), "{SHIM} is missing");
        eprintln!("SKIPPED: shim_decides_about_images_as_the_model: shim not found");
        return;
    }
    let lab = Lab::new();
    let images = lab.images();
    let lists = lab.lists(&images);
    let parse = |bytes: &[u8]| SignatureDatabase::parse(bytes).unwrap();
    let model = Shim::new(Databases::new().db(parse(&lists[0])).dbx(parse(&lists[1])))
        .mok_list(parse(&lists[2]))
        .mok_list_x(parse(&lists[3]))
        .vendor_certificate(
            authenticode::Certificate::from_der(&fs::read(VENDOR).unwrap()).unwrap(),
        )
        .sbat_level(SbatLevel::parse(LEVEL.as_bytes()).unwrap());

    let all = std::env::var_os("TRUSTEDBOOT_CASES").is_some();
    let asked: Vec<_> = images.iter().step_by(if all { 1 } else { PART }).collect();
    let mut wrong = Vec::new();
    for part in asked.chunks(IN_ONE_START) {
        for ((name, bytes), runs) in part.iter().zip(ask(&lab, &lists, part)) {
            let image = Image::parse_with(bytes, &all_hashes()).unwrap();
            let verdict = model.judge(&image).unwrap();
            println!("{name}: shim {runs}, model {}", verdict.reason());
            if runs != verdict.is_allowed() {
                wrong.push(format!("{name}: shim {runs}, model {}", verdict.reason()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
