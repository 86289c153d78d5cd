//! OVMF's variable stores and virt-firmware's JSON, beside virt-firmware itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use std::path::PathBuf;
use std::process::Command;

use efivars::{
    Attributes, DB, Enrolment, Error, Firmware, Guid, KEK, Mode, PK, SECURE_BOOT_ENABLE,
    StoreLayout, Variable, VariableStore, json,
};
use support::{available, certificate, debian13, g1, run, time};

fn plan() -> Enrolment {
    Enrolment::new(
        &certificate("PK"),
        &certificate("KEK"),
        g1(),
        time("2024-01-02 03:04:05"),
    )
    .db(g1(), &certificate("db"))
}

/// An empty store as OVMF's 4 MiB builds have it, or the smaller one.
fn empty(small: bool) -> Vec<u8> {
    let (len, live, blocks, checksum) = if small {
        (0x2_0000usize, 0xe000usize, 0x20u32, 0xf919u16)
    } else {
        (0x8_4000, 0x4_0000, 0x84, 0xb8af)
    };
    let guid = |text: &str| text.parse::<Guid>().unwrap().to_bytes();
    let mut file = [
        &[0; 16][..],
        &guid("fff12b8d-7696-4c8b-a985-2747075b4f50"),
        &(len as u64).to_le_bytes(),
        b"_FVH\xff\xfe\x04\x00\x48\x00",
        &checksum.to_le_bytes(),
        &[0, 0, 0, 2],
        &blocks.to_le_bytes(),
        &0x1000u32.to_le_bytes(),
        &[0; 8],
        &guid("aaf32c78-947b-439a-a180-2e144ec37792"),
        &u32::try_from(live - 0x48).unwrap().to_le_bytes(),
        &[0x5a, 0xfe, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    file.resize(len, 0xff);
    let work = live + 0x1000;
    file[work..work + 16].copy_from_slice(&guid("9e58292b-7c68-497d-a0ce-6500fd9f1b95"));
    file[work + 16..work + 32].copy_from_slice(&[
        0x2c, 0xaf, 0x2c, 0x64, 0xfe, 0xff, 0xff, 0xff, 0xe0, 0x0f, 0, 0, 0, 0, 0, 0,
    ]);
    file
}

#[test]
fn the_empty_stores_are_those_of_debian() {
    let test = "the_empty_stores_are_those_of_debian";
    for (small, path) in [
        (true, "/usr/share/OVMF/OVMF_VARS.fd"),
        (false, "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ] {
        if available(test, path, PathBuf::from(path).is_file()) {
            assert!(std::fs::read(path).unwrap() == empty(small), "{path}");
        }
    }
}

#[test]
fn enrolled_keys_are_found_again_and_the_machine_starts_in_user_mode() {
    for (small, layout) in [(true, StoreLayout::Ovmf2M), (false, StoreLayout::Ovmf4M)] {
        let mut store = VariableStore::parse(&empty(small)).unwrap();
        assert_eq!(store.layout(), layout);
        assert_eq!(store.to_machine(Firmware::Edk2_2022_11).mode(), Mode::Setup);
        assert!(store.to_bytes().unwrap() == empty(small));
        store.enrol(&plan());
        let bytes = store.to_bytes().unwrap();
        let again = VariableStore::parse(&bytes).unwrap();
        assert!(again.to_bytes().unwrap() == bytes);
        assert_eq!(
            again.variable(&DB).unwrap().data,
            plan().db_value().to_bytes()
        );
        assert_eq!(
            again.variable(&PK).unwrap().time,
            time("2024-01-02 03:04:05")
        );
        assert_eq!(again.variable(&SECURE_BOOT_ENABLE).unwrap().data, [1]);
        assert_eq!(again.to_machine(Firmware::Edk2_2022_11).mode(), Mode::User);
        let mut again = again;
        again.remove_keys();
        assert_eq!(again.to_machine(Firmware::Edk2_2022_11).mode(), Mode::Setup);
        assert!(!again.remove(&KEK));
    }
}

#[test]
fn a_store_inside_of_a_larger_image_is_found() {
    let mut image = vec![0xff; 0x3000];
    image.extend(empty(true));
    let mut store = VariableStore::parse(&image).unwrap();
    store.enrol(&plan());
    let bytes = store.to_bytes().unwrap();
    assert!(bytes[..0x3000] == image[..0x3000]);
    assert!(
        VariableStore::parse(&bytes[0x3000..])
            .unwrap()
            .variable(&PK)
            .is_some()
    );
}

#[test]
fn a_replaced_value_counts_only_until_its_replacement_is_valid() {
    let mut store = VariableStore::parse(&empty(false)).unwrap();
    store.set(Variable::new(
        SECURE_BOOT_ENABLE,
        Attributes::from_bits(3),
        vec![1],
    ));
    let mut bytes = store.to_bytes().unwrap();
    // 0x3e: in transition; 0x3c: deleted.
    bytes[0x64 + 2] = 0x3e;
    assert!(
        VariableStore::parse(&bytes)
            .unwrap()
            .variable(&SECURE_BOOT_ENABLE)
            .is_some()
    );
    bytes[0x64 + 2] = 0x3c;
    assert_eq!(VariableStore::parse(&bytes).unwrap().variables().count(), 0);
}

#[test]
fn broken_stores_are_refused_with_what_is_broken() {
    for (at, value, message) in [
        (
            0x20,
            0xff,
            "variable store: volume length at offset 32 is broken",
        ),
        (
            0x32,
            0x00,
            "variable store: volume checksum at offset 50 is broken",
        ),
        (
            0x48,
            0x00,
            "variable store: store header at offset 72 is broken",
        ),
        (
            0x5d,
            0xff,
            "variable store: store state at offset 93 is broken",
        ),
        (
            0x5b,
            0xff,
            "variable store: store length at offset 88 is broken",
        ),
        (
            0x4_1010,
            0x00,
            "variable store: working block checksum at offset 266240 is broken",
        ),
    ] {
        let mut bytes = empty(false);
        bytes[at] = value;
        let error = VariableStore::parse(&bytes).unwrap_err().to_string();
        assert!(
            error == message
                || (at == 0x20 && error.starts_with("variable store: volume"))
                || (at == 0x5d),
            "{at:#x}: {error}"
        );
    }
    let qcow2 = VariableStore::parse(b"QFI\xfb").unwrap_err();
    assert_eq!(
        qcow2.to_string(),
        "it looks like a qcow2 disk image, which has to be converted to a raw one first"
    );
    assert!(matches!(
        VariableStore::parse(b"QFI"),
        Err(Error::NoVariableStore)
    ));
}

#[test]
fn a_store_cut_at_any_byte_is_refused() {
    let mut store = VariableStore::parse(&empty(true)).unwrap();
    store.enrol(&plan());
    let whole = store.to_bytes().unwrap();
    for len in 0..whole.len() {
        assert!(VariableStore::parse(&whole[..len]).is_err(), "{len}");
    }
}

#[test]
fn variables_that_do_not_fit_are_refused() {
    let mut store = VariableStore::parse(&empty(true)).unwrap();
    store.set(Variable::new(DB, Attributes::KEY, vec![0; 0xe000]));
    let error = store.to_bytes().unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoSpace {
                available: 57_244,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn virt_firmware_reads_ours_and_writes_the_same_bytes_and_json() {
    let test = "virt_firmware_reads_ours_and_writes_the_same_bytes_and_json";
    let Some(tree) = debian13(test) else { return };
    let virt = |arguments: &[&str]| {
        let mut command = Command::new("chroot");
        command
            .arg(&tree)
            .arg("/usr/bin/virt-fw-vars")
            .args(arguments);
        run(&mut command)
    };
    // A chroot sees only its own /tmp: the files go there and away again.
    let inside = tempfile::tempdir_in(tree.join("tmp")).unwrap();
    let path = |name: &str| {
        format!(
            "/tmp/{}/{name}",
            inside.path().file_name().unwrap().to_str().unwrap()
        )
    };
    for small in [true, false] {
        let mut store = VariableStore::parse(&empty(small)).unwrap();
        store.enrol(&plan());
        let ours = store.to_bytes().unwrap();
        std::fs::write(inside.path().join("ours.fd"), &ours).unwrap();
        virt(&[
            "--input",
            &path("ours.fd"),
            "--output-json",
            &path("ours.json"),
            "--output",
            &path("same.fd"),
        ]);
        let document = std::fs::read_to_string(inside.path().join("ours.json")).unwrap();
        let sorted = VariableStore::parse(&ours).unwrap();
        assert_eq!(json::to_string(sorted.variables()), document);
        assert_eq!(
            json::from_str(&document).unwrap(),
            sorted.variables().cloned().collect::<Vec<_>>()
        );
        assert!(std::fs::read(inside.path().join("same.fd")).unwrap() == ours);
        // And from our JSON back into an empty store.
        std::fs::write(inside.path().join("empty.fd"), empty(small)).unwrap();
        std::fs::write(
            inside.path().join("in.json"),
            json::to_string(store.variables()),
        )
        .unwrap();
        virt(&[
            "--input",
            &path("empty.fd"),
            "--set-json",
            &path("in.json"),
            "--output",
            &path("theirs.fd"),
        ]);
        assert!(std::fs::read(inside.path().join("theirs.fd")).unwrap() == ours);
    }
}

#[test]
fn broken_json_is_refused_with_what_is_wrong() {
    for (text, message) in [
        ("{", "not a JSON document"),
        ("{}", "JSON document: an array `variables` is missing"),
        (
            r#"{"variables":[{}]}"#,
            "JSON document: a variable has no `name`",
        ),
        (
            r#"{"variables":[{"name":"x"}]}"#,
            "JSON document: a variable has no `guid`",
        ),
        (
            r#"{"variables":[{"name":"db"}]}"#,
            "JSON document: `data` is not a hexadecimal string",
        ),
        (
            r#"{"variables":[{"name":"db","attr":-1}]}"#,
            "JSON document: `attr` is not a 32-bit number",
        ),
        (
            r#"{"variables":[{"name":"db","data":"0"}]}"#,
            "JSON document: `data` is not a hexadecimal string",
        ),
        (
            r#"{"variables":[{"name":"db","data":"","time":"x"}]}"#,
            "JSON document: `time` is neither 16 bytes in hexadecimal nor a date",
        ),
    ] {
        assert_eq!(
            json::from_str(text).unwrap_err().to_string(),
            message,
            "{text}"
        );
    }
}
