//! Writes variables on booted machines, in every order that matters, and compares each verdict, each stored value and the mode
//! with what the firmware model of `efivars` says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bootlab::{Boot, Ending, Esp, Generation, Guest, Medium};
use efivars::{
    Attributes, Certificate, DB, DBT, DBX, EfiStatus, EfiTime, Enrolment, Firmware, Guid, KEK,
    Machine, PK, RsaSigner, SignatureDatabase, SignatureType, SignedUpdate, Update, VariableName,
    Write,
};
use sha2::{Digest as _, Sha256};

/// Runs the writes and notes for each: what the write returned, SetupMode, and the digest of the value.
const SCRIPT: &str = r#"
vars=/sys/firmware/efi/efivars
while read -r name file; do
    target=$vars/$name
    [ -e "$target" ] && chattr -i "$target"
    if told=$(dd if="/in/$file" of="$target" bs=1M 2>&1); then verdict=OK; else
        case $told in
            *ermission*) verdict=EACCES ;;
            *nvalid*) verdict=EINVAL ;;
            *"/O error"*|*nput/output*) verdict=EIO ;;
            *pace*) verdict=ENOSPC ;;
            *ead-only*) verdict=EROFS ;;
            *) verdict="$told" ;;
        esac
    fi
    value=-
    if [ -e "$target" ] && [ "$(wc -c <"$target")" -gt 4 ]; then
        value=$(tail -c +5 "$target" | sha256sum | cut -d' ' -f1)
    fi
    setup=$(tail -c 1 $vars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tu1 | tr -d ' ')
    echo "$verdict $setup $value"
done </in/plan >/out/verdicts
"#;

fn vector(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../efivars/tests/vectors")
            .join(name),
    )
    .unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(vector(name)).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&text(&format!("keys/{name}.crt"))).unwrap()
}

fn signed(update: Result<Update, efivars::Error>, by: &str) -> Write {
    let signer = RsaSigner::from_pem(&text(&format!("keys/{by}.key"))).unwrap();
    update
        .unwrap()
        .sign(&certificate(by), &signer)
        .unwrap()
        .to_write()
}

fn unsigned_delete(name: VariableName) -> Write {
    Update::delete(name, time(9))
        .unwrap()
        .unsigned()
        .unwrap()
        .to_write()
}

fn time(second: u8) -> EfiTime {
    EfiTime::new(2024, 1, 2, 3, 4, second).unwrap()
}

fn hashes(owner: Guid, bytes: &[u8]) -> SignatureDatabase {
    let mut database = SignatureDatabase::new();
    for byte in bytes {
        database
            .add_signature(SignatureType::SHA256, owner, &[*byte; 32])
            .unwrap();
    }
    database
}

/// Back to an empty machine in setup mode, whatever was written.
fn reset(writes: &mut Vec<Write>) {
    writes.push(signed(Update::delete(PK, time(30)), "PK"));
    writes.extend([KEK, DB, DBX, DBT].map(unsigned_delete));
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let rest = |at: usize| {
        items
            .iter()
            .copied()
            .enumerate()
            .filter(move |(index, _)| *index != at)
            .map(|(_, item)| item)
    };
    (0..items.len())
        .flat_map(|at| {
            let tails = permutations(&rest(at).collect::<Vec<_>>());
            tails
                .into_iter()
                .map(move |tail| std::iter::once(items[at]).chain(tail).collect())
        })
        .collect()
}

/// All orders of db, dbx, KEK and PK from setup mode.
fn orders(writes: &mut Vec<Write>) {
    let plan = Enrolment::new(&certificate("PK"), &certificate("KEK"), Guid::ZERO, time(5))
        .db(Guid::ZERO, &certificate("db"))
        .dbx_lists(&hashes(Guid::ZERO, &[1]));
    let signer = |name: &str| RsaSigner::from_pem(&text(&format!("keys/{name}.key"))).unwrap();
    let set = plan.sign_with(&signer("PK"), &signer("KEK")).unwrap();
    for order in permutations(&[0, 1, 2, 3]) {
        writes.extend(
            order
                .iter()
                .map(|index| SignedUpdate::to_write(&set.updates()[*index])),
        );
        reset(writes);
    }
}

/// Rules that the recorded writes do not touch.
fn rules(writes: &mut Vec<Write>) {
    let list =
        |name: &str| SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate(name));
    let raw = |name: VariableName, attributes: u32, value: Vec<u8>| {
        let update = Update::raw(name, Attributes::from_bits(attributes), value, time(5));
        update.unwrap().unsigned().unwrap().to_write()
    };
    // Forms that are refused, or not, in setup mode.
    for file in [
        "warn-header.esl",
        "warn-no-entries.esl",
        "ok-unknown-type.esl",
        "warn-x509-garbage.esl",
        "warn-two-x509.esl",
    ] {
        writes.push(raw(DB, 0x27, vector(&format!("malformed/{file}"))));
    }
    let mut empty = hashes(Guid::ZERO, &[1]).to_bytes();
    empty.truncate(28);
    empty[16] = 28;
    writes.push(raw(DBX, 0x27, empty));
    for attributes in [0x26, 0x07, 0x37, 0xa7, 0x25] {
        writes.push(raw(DB, attributes, list("db").to_bytes()));
    }
    writes.extend([unsigned_delete(DB), unsigned_delete(DBX)]);
    // An append that creates a variable leaves it without a time: an earlier write is good.
    writes.push(signed(
        Update::append(DBX, &hashes(Guid::ZERO, &[1]), time(20)),
        "KEK",
    ));
    writes.push(signed(Update::replace(PK, &list("PK"), time(5)), "PK"));
    writes.push(signed(Update::replace(KEK, &list("KEK"), time(5)), "PK"));
    writes.push(signed(
        Update::replace(DBX, &hashes(Guid::ZERO, &[2, 3]), time(10)),
        "KEK",
    ));
    writes.push(signed(
        Update::replace(DBX, &hashes(Guid::ZERO, &[2]), time(10)),
        "KEK",
    ));
    writes.push(signed(
        Update::append(
            DBX,
            &hashes(Guid::MICROSOFT, &[2, 4, 4]),
            EfiTime::MICROSOFT_APPEND,
        ),
        "KEK",
    ));
    writes.push(signed(Update::append(DBT, &list("db2"), time(6)), "KEK"));
    // Who may write what, and deletions of what does not exist.
    writes.push(signed(Update::replace(DB, &list("db"), time(6)), "PK"));
    writes.push(signed(Update::append(DB, &list("db2"), time(7)), "db"));
    writes.push(signed(Update::append(KEK, &list("db2"), time(7)), "KEK"));
    writes.push(signed(Update::append(KEK, &list("db2"), time(7)), "PK"));
    writes.push(signed(Update::append(DB, &list("db2"), time(7)), "db2"));
    writes.push(signed(Update::delete(DB, time(8)), "KEK"));
    writes.push(signed(Update::delete(DB, time(8)), "KEK"));
    writes.push(signed(Update::replace(PK, &list("db2"), time(8)), "PK"));
    writes.push(signed(Update::replace(DB, &list("db"), time(9)), "db2"));
    writes.push(signed(Update::delete(PK, time(9)), "db2"));
    reset(writes);
}

/// Signers whose certificates lead to one in KEK, or do not: whether each write is taken is for the firmware to say.
fn chains(writes: &mut Vec<Write>) {
    let list =
        |name: &str| SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate(name));
    let unsigned =
        |update: Result<Update, efivars::Error>| update.unwrap().unsigned().unwrap().to_write();
    for in_kek in ["root", "inter", "leaf"] {
        writes.push(unsigned(Update::replace(DB, &list("db"), time(5))));
        writes.push(unsigned(Update::replace(KEK, &list(in_kek), time(5))));
        writes.push(signed(Update::replace(PK, &list("PK"), time(5)), "PK"));
        let cases: [(&str, &[&str]); 12] = [
            ("root", &[]),
            ("root", &["inter"]),
            ("root", &["leaf", "inter"]),
            ("inter", &[]),
            ("inter", &["root"]),
            ("inter", &["leaf", "root"]),
            ("leaf", &[]),
            ("leaf", &["inter"]),
            ("leaf", &["root"]),
            ("leaf", &["inter", "root"]),
            ("leaf", &["root", "inter"]),
            ("leaf", &["PK", "KEK", "inter"]),
        ];
        for (second, (signer, further)) in (10..).zip(cases) {
            let further: Vec<Certificate> = further.iter().map(|name| certificate(name)).collect();
            let update = Update::replace(DB, &hashes(Guid::ZERO, &[second]), time(second));
            let update = update.map(|update| update.with_chain(further.clone()));
            writes.push(signed(update, signer));
            // KEK takes no chain at all.
            let update = Update::append(KEK, &hashes(Guid::ZERO, &[second]), time(second));
            writes.push(signed(
                update.map(|update| update.with_chain(further)),
                signer,
            ));
        }
        reset(writes);
    }
}

/// Microsoft's certificates enrolled beside our PK, and its own updates.
fn microsoft(writes: &mut Vec<Write>) {
    let own = |name: &str| Certificate::from_der(&vector(&format!("microsoft/{name}"))).unwrap();
    let mut kek = SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate("KEK"));
    for name in [
        "MicCorKEKCA2011_2011-06-24.der",
        "microsoft-corporation-kek-2k-ca-2023.der",
    ] {
        kek = kek.with_certificate(Guid::MICROSOFT, &own(name));
    }
    let mut db = SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate("db"));
    for name in [
        "MicCorUEFCA2011_2011-06-27.der",
        "MicWinProPCA2011_2011-10-19.der",
    ] {
        db = db.with_certificate(Guid::MICROSOFT, &own(name));
    }
    let unsigned =
        |update: Result<Update, efivars::Error>| update.unwrap().unsigned().unwrap().to_write();
    let pk = SignatureDatabase::new().with_certificate(Guid::ZERO, &certificate("PK"));
    writes.push(unsigned(Update::replace(DB, &db, time(5))));
    writes.push(unsigned(Update::replace(KEK, &kek, time(5))));
    writes.push(signed(Update::replace(PK, &pk, time(5)), "PK"));
    for (name, attributes, file) in [
        (DBX, Attributes::KEY, "DBXUpdate-amd64.bin"),
        (DBX, Attributes::KEY_APPEND, "DBXUpdate-amd64.bin"),
        (DBX, Attributes::KEY_APPEND, "DBXUpdate-amd64.bin"),
        (DB, Attributes::KEY_APPEND, "DBXUpdate-amd64.bin"),
        (DB, Attributes::KEY_APPEND, "DBUpdate3P2023.bin"),
        (DB, Attributes::KEY_APPEND, "DBUpdateOROM2023.bin"),
        (DB, Attributes::KEY_APPEND, "DBUpdate3P2023.bin"),
        (KEK, Attributes::KEY_APPEND, "KEKUpdate_HP_PK1.bin"),
        (KEK, Attributes::KEY_APPEND, "KEKUpdate_ECS_PK1.bin"),
    ] {
        let data = vector(&format!("microsoft/{file}"));
        writes.push(Write::new(name, attributes, data));
    }
    reset(writes);
}

/// The recorded writes, from an empty machine.
fn recorded(writes: &mut Vec<Write>) {
    let steps: serde_json::Value =
        serde_json::from_slice(&vector("firmware-oracle/steps.json")).unwrap();
    for step in steps.as_array().unwrap() {
        let name = VariableName::well_known(step["variable"].as_str().unwrap()).unwrap();
        let attributes = u32::try_from(step["attributes"].as_u64().unwrap()).unwrap();
        let data = vector(&format!(
            "firmware-oracle/{}",
            step["file"].as_str().unwrap()
        ));
        writes.push(Write::new(name, Attributes::from_bits(attributes), data));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn agree(generation: Generation, firmware: Firmware) {
    if !Generation::available().contains(&generation) {
        assert!(
            std::env::var_os("CI").is_none(),
            "the tree of Debian 13 is missing"
        );
        eprintln!("SKIPPED: a boot of {generation:?}: its tree was not found");
        return;
    }
    let mut writes = Vec::new();
    orders(&mut writes);
    rules(&mut writes);
    chains(&mut writes);
    microsoft(&mut writes);
    recorded(&mut writes);

    let mut model = Machine::new(firmware);
    model.exit_boot_services();
    let (mut plan, mut expected, mut files) = (String::new(), Vec::new(), BTreeMap::new());
    for write in &writes {
        let content = [
            &write.attributes.bits().to_le_bytes(),
            write.data.as_slice(),
        ]
        .concat();
        let file = hex(&Sha256::digest(&content)[..8]);
        writeln!(plan, "{} {file}", write.name).unwrap();
        files.insert(file, content);
        let result = model.write(write);
        let status = result
            .as_ref()
            .map_or_else(|refusal| refusal.status, |_| EfiStatus::SUCCESS);
        let value = model
            .variable(&write.name)
            .map_or_else(|| "-".into(), |v| hex(&Sha256::digest(&v.data)));
        let setup = u8::from(model.setup_mode());
        expected.push((
            format!("{} {setup} {value}", status.linux_errno().unwrap_or("OK")),
            result,
        ));
    }

    let directory = tempfile::tempdir().unwrap();
    let kernel = generation.kernel().unwrap();
    let stub = uki::Stub::parse(&fs::read(generation.stub().unwrap()).unwrap()).unwrap();
    let image = uki::Builder::new(stub)
        .linux(uki::Source::file(&kernel.image))
        .initrd(Guest::new(&kernel).build().unwrap())
        .cmdline(bootlab::CMDLINE)
        .os_release("ID=trial\nVERSION_ID=1\n");
    let mut bytes = Vec::new();
    image.plan().unwrap().write_to(&mut bytes).unwrap();
    let esp = directory.path().join("esp.img");
    Esp::new()
        .file("EFI/BOOT/BOOTX64.EFI", &bytes)
        .write(&esp)
        .unwrap();
    let mut machine = bootlab::Machine::builder(generation.firmware(true).unwrap())
        .create(directory.path().join("machine"))
        .unwrap();
    let boot = Boot::new(Medium::virtio(&esp))
        .script(SCRIPT)
        .input("plan", plan.as_bytes());
    let boot = files
        .iter()
        .fold(boot, |boot, (name, content)| boot.input(name, content));
    let report = machine.boot(&boot).unwrap().expect(&Ending::Done).unwrap();

    let verdicts: Vec<&str> = report.file("verdicts").unwrap().lines().collect();
    let mut differences = String::new();
    for (index, (expected, result)) in expected.iter().enumerate() {
        let seen = verdicts.get(index).copied().unwrap_or("nothing");
        if seen != expected {
            writeln!(
                differences,
                "write {index}, {:?}: firmware {seen}, model {expected} ({result:?})",
                writes[index]
            )
            .unwrap();
        }
    }
    assert!(
        differences.is_empty() && verdicts.len() == expected.len(),
        "{}\n{differences}",
        report.script_log()
    );
    eprintln!(
        "{firmware}: {} writes, {} retries",
        expected.len(),
        report.retries()
    );
}

#[test]
fn firmware_of_debian_12_agrees_with_the_model_in_all_orders() {
    agree(Generation::Debian12, Firmware::Edk2_2022_11);
}

#[test]
fn firmware_of_debian_13_agrees_with_the_model_in_all_orders() {
    agree(Generation::Debian13, Firmware::Edk2_2025_02);
}
