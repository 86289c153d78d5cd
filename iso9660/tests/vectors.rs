//! The images of the vectors are read as their manifest has them, which an own parser made.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/reading.rs"]
mod reading;

use std::io::Cursor;

use iso9660::{FatKind, Format, Guid, IsoReader, Medium, Namespace, Place, Report, VolumeKind};
use reading::{Node, difference, vector, vector_path};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(vector_path("manifest.json")).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

fn compare(name: &str) {
    let expected = &manifest()[name];
    let image = vector(name);
    assert_eq!(image.len() as u64, expected["bytes"]);
    assert_eq!(sha256(&image), expected["sha256"]);
    let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
    let primary = &iso.volumes()[0];
    assert_eq!(primary.kind, VolumeKind::Primary);
    assert_eq!(primary.id, expected["volume_id"]);
    assert_eq!(primary.blocks, expected["volume_space"]);
    for (tree, records) in expected["trees"].as_object().unwrap() {
        let namespace = match tree.as_str() {
            "joliet" => Namespace::Joliet,
            _ => Namespace::Iso,
        };
        let items = iso.items(namespace).unwrap();
        let records = records.as_array().unwrap();
        assert_eq!(items.len(), records.len(), "{name} {tree}");
        for (item, record) in items.iter().zip(records) {
            assert_eq!(format!("/{}", item.path_text()), record["path"]);
            assert_eq!(item.extents[0].offset / 2048, record["extent"]);
            assert_eq!(item.len, record["size"]);
            assert_eq!(item.flags, record["flags"]);
            if let Some(digest) = record["sha256"].as_str() {
                let mut content = Vec::new();
                iso.copy_to(item, &mut content).unwrap();
                assert_eq!(
                    sha256(&content),
                    digest,
                    "{name} {tree} {}",
                    item.path_text()
                );
            }
        }
    }
    let report = Report::read(Cursor::new(&image)).unwrap();
    assert!(!report.is_damaged(), "{name}: {:?}", report.findings);
    let mbr = expected["mbr"].as_array().unwrap();
    assert_eq!(report.partitions.mbr.len(), mbr.len());
    for (entry, expected) in report.partitions.mbr.iter().zip(mbr) {
        assert_eq!(entry.kind, expected["type"]);
        assert_eq!(entry.first, expected["start"]);
        assert_eq!(entry.sectors, expected["count"]);
    }
    let gpt = expected.get("gpt").and_then(Value::as_array);
    let found = report.partitions.gpt.as_ref().map(|gpt| &gpt.partitions);
    assert_eq!(found.map(Vec::len), gpt.map(Vec::len));
    for (partition, expected) in found.into_iter().flatten().zip(gpt.into_iter().flatten()) {
        let kind: String = partition
            .kind
            .to_bytes()
            .map(|b| format!("{b:02x}"))
            .concat();
        assert_eq!(kind, expected["type"]);
        assert_eq!(partition.first, expected["first"]);
        assert_eq!(partition.last, expected["last"]);
        assert_eq!(partition.name, expected["name"]);
    }
    if let Some(boot) = expected.get("eltorito") {
        let catalog = report.catalog.as_ref().unwrap();
        assert!(catalog.is_valid);
        assert_eq!(catalog.offset / 2048, boot["catalog"]);
        assert_eq!(catalog.platform, boot["platform"]);
        assert_eq!(catalog.images[0].sectors, boot["load_sectors"]);
        assert_eq!(catalog.images[0].offset / 2048, boot["lba"]);
    }
}

#[test]
fn plain_image_is_read_as_the_manifest_has_it() {
    compare("plain.iso");
}

#[test]
fn rock_ridge_image_is_read_as_the_manifest_has_it() {
    compare("rr.iso");
}

#[test]
fn joliet_image_is_read_as_the_manifest_has_it() {
    compare("joliet-rr.iso");
}

#[test]
fn image_of_the_second_writer_is_read_as_the_manifest_has_it() {
    compare("geniso.iso");
}

#[test]
fn hybrid_image_with_a_gpt_is_read_as_the_manifest_has_it() {
    compare("efi-gpt.iso");
}

#[test]
fn hybrid_image_with_an_mbr_is_read_as_the_manifest_has_it() {
    compare("efi-mbr.iso");
}

#[test]
fn all_writers_give_the_same_rock_ridge_tree() {
    let tree = |name| {
        let mut iso = IsoReader::read(Cursor::new(vector(name))).unwrap();
        let items = iso.items(Namespace::RockRidge).unwrap();
        reading::read(&items, |item| {
            let mut content = Vec::new();
            iso.copy_to(item, &mut content).unwrap();
            content
        })
    };
    let nodes = tree("rr.iso");
    let link = |target: &str| Node::Link(target.as_bytes().to_vec());
    assert_eq!(nodes["link-rel"], link("README.TXT"));
    assert_eq!(nodes["link-abs"], link("/etc/hostname"));
    assert_eq!(nodes["MixedCase/link-up"], link("../data/big.bin"));
    assert_eq!(nodes["emptydir"], Node::Directory);
    assert_eq!(nodes["empty.dat"], Node::File(Vec::new()));
    let long = format!("{}.long", "n".repeat(150));
    assert_eq!(nodes[&long], Node::File(b"very long\n".to_vec()));
    let text = "unicode/h\u{e9}llo-\u{65e5}\u{672c}.txt";
    assert_eq!(nodes[text], Node::File("h\u{e9}llo\n".as_bytes().to_vec()));
    for name in ["joliet-rr.iso", "geniso.iso"] {
        assert_eq!(difference(&nodes, &tree(name)), [""; 0], "{name}");
    }
}

#[test]
fn the_boot_volume_of_hybrid_images_has_the_files_of_the_tree() {
    for (name, places) in [
        ("efi-gpt.iso", [Place::Gpt(2), Place::BootImage(0)]),
        ("efi-mbr.iso", [Place::Mbr(2), Place::BootImage(0)]),
    ] {
        let image = vector(name);
        let report = Report::read(Cursor::new(&image)).unwrap();
        assert_eq!(report.format, Format::Iso9660);
        let [volume] = report.fat_volumes.as_slice() else {
            panic!("{name} has {} FAT volumes", report.fat_volumes.len());
        };
        assert_eq!(volume.places, places);
        assert_eq!((volume.kind, volume.len), (FatKind::Fat12, 256 << 10));
        assert_eq!(volume.label, "EFI");
        let mut fat = volume.reader(Cursor::new(&image)).unwrap();
        let items = fat.items().unwrap();
        let in_fat = reading::read(&items, |item| {
            let mut content = Vec::new();
            fat.copy_to(item, &mut content).unwrap();
            content
        });
        let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
        let items = iso.items(Namespace::RockRidge).unwrap();
        let mut in_tree = reading::read(&items, |item| {
            let mut content = Vec::new();
            iso.copy_to(item, &mut content).unwrap();
            content
        });
        in_tree.remove("boot.catalog");
        assert_eq!(difference(&in_tree, &in_fat), [""; 0], "{name}");
        let modified = volume.items.iter().find_map(|item| item.modified).unwrap();
        assert_eq!(modified.to_string(), "2023-11-14T22:13:20Z");
    }
}

#[test]
fn reports_tell_how_the_hybrid_images_boot() {
    let works = |name| {
        let report = Report::read(Cursor::new(vector(name))).unwrap();
        let paths = report.boot_paths.into_iter().filter(|path| path.works);
        paths.map(|path| path.medium.name()).collect::<Vec<_>>()
    };
    assert_eq!(
        works("efi-gpt.iso"),
        ["cd-uefi", "usb-gpt", "rufus-iso", "ventoy", "windows"]
    );
    assert_eq!(
        works("efi-mbr.iso"),
        ["cd-uefi", "usb-mbr", "rufus-iso", "ventoy", "windows"]
    );
    assert_eq!(works("rr.iso"), ["windows"]);
    let report = Report::read(Cursor::new(vector("efi-mbr.iso"))).unwrap();
    let reason = |medium| report.path(medium).reasons[0].to_string();
    assert_eq!(reason(Medium::UsbGpt), "no-gpt: there is no GPT");
    assert_eq!(
        report.path(Medium::UsbMbr).warnings[0].check.code(),
        "mbr-only"
    );
    let gpt = Report::read(Cursor::new(vector("efi-gpt.iso"))).unwrap();
    let gpt = gpt.partitions.gpt.unwrap();
    assert!(gpt.is_valid && gpt.has_backup && !gpt.is_from_backup);
    assert_eq!(gpt.partitions[1].kind, Guid::EFI_SYSTEM);
}
