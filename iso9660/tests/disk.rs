//! Disks with a GUID partition table, as sgdisk, sfdisk and fsck.vfat see them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/judge.rs"]
mod judge;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use iso9660::{Disk, Entry, Fat, Guid, Partition, Tree};

const MIB: u64 = 1 << 20;

fn tree() -> Tree {
    Tree::new()
        .file("EFI/BOOT/BOOTX64.EFI", vec![0x4D; 90_001])
        .file("EFI/Linux/Talos-v1.9.0.efi", vec![0x55; 3_000_000])
        .entry("loader/random-seed", Entry::file(vec![0; 32]).read_only())
}

/// The secure boot disk of a node, with sectors of this length.
fn disk(sector_len: u64) -> Disk {
    Disk::new("talos-image-disk")
        .sector_len(sector_len)
        .partition(Partition::esp("EFI", Fat::new(tree()).label("EFI")).len(2101 * MIB))
        .partition(Partition::new(Guid::LINUX_DATA, "META").len(MIB))
        .partition(
            Partition::new(Guid::LINUX_DATA, "STATE")
                .content(b"state")
                .len(100 * MIB),
        )
        .partition(
            Partition::new(Guid::BIOS_BOOT, "BIOS")
                .len(MIB)
                .attributes(4),
        )
}

fn write(sector_len: u64, folder: &Path) {
    disk(sector_len)
        .plan()
        .unwrap()
        .write_file(folder.join("disk.raw"))
        .unwrap();
}

#[test]
fn sfdisk_finds_every_partition_at_both_sector_lengths() {
    let test = "sfdisk_finds_every_partition_at_both_sector_lengths";
    for sector_len in [512u64, 4096] {
        let folder = tempfile::tempdir().unwrap();
        write(sector_len, folder.path());
        let help = judge::text(test, "sfdisk", &["--help"], folder.path());
        if help.is_none_or(|help| sector_len == 4096 && !help.contains("--sector-size")) {
            // Versions before 2.40 cannot; the kernel judges these disks in the lab too.
            eprintln!("sfdisk does not read images of disks with {sector_len}-byte sectors");
            continue;
        }
        let option = sector_len.to_string();
        let size: &[&str] = match sector_len {
            512 => &[],
            _ => &["--sector-size", &option],
        };
        let arguments = [size, &["--verify", "disk.raw"]].concat();
        if let Some(said) = judge::text(test, "sfdisk", &arguments, folder.path()) {
            assert!(said.contains("No errors detected"), "{said}");
        }
        let arguments = [size, &["--json", "disk.raw"]].concat();
        if let Some(said) = judge::content(test, "sfdisk", &arguments, folder.path()) {
            let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
            let table = &said["partitiontable"];
            assert_eq!(table["label"], "gpt");
            assert_eq!(
                table["id"],
                Guid::from_label("talos-image-disk").to_string()
            );
            let partitions = table["partitions"].as_array().unwrap();
            let mut start = MIB / sector_len;
            let expected = [
                ("EFI", 2101, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
                ("META", 1, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
                ("STATE", 100, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
                ("BIOS", 1, "21686148-6449-6E6F-744E-656564454649"),
            ];
            assert_eq!(partitions.len(), expected.len());
            for (partition, (name, mib, kind)) in partitions.iter().zip(expected) {
                let size = mib * MIB / sector_len;
                assert_eq!(partition["name"], name);
                assert_eq!(partition["type"], kind);
                assert_eq!(partition["uuid"], Guid::from_label(name).to_string());
                assert_eq!(
                    (&partition["start"], &partition["size"]),
                    (&start.into(), &size.into())
                );
                start += size;
            }
            assert_eq!(partitions[3]["attrs"], "LegacyBIOSBootable");
        }
        if sector_len == 512
            && let Some(said) = judge::text(test, "sgdisk", &["-v", "disk.raw"], folder.path())
        {
            assert!(said.contains("No problems found"), "{said}");
        }
    }
}

#[test]
fn the_file_system_on_the_disk_is_clean_at_both_sector_lengths() {
    let test = "the_file_system_on_the_disk_is_clean_at_both_sector_lengths";
    for sector_len in [512, 4096] {
        let folder = tempfile::tempdir().unwrap();
        let esp = Fat::new(tree()).sector_len(sector_len).total_len(300 * MIB);
        let esp = esp.plan().unwrap();
        esp.write_file(folder.path().join("esp.img")).unwrap();
        if let Some(said) = judge::text(test, "fsck.vfat", &["-n", "-v", "esp.img"], folder.path())
        {
            assert!(
                said.contains(&format!("{sector_len} bytes per logical sector")),
                "{said}"
            );
        }
        write(sector_len, folder.path());
        let arguments = ["-i", "disk.raw@@1M", "-s", "-n", "::/EFI", "."];
        if judge::content(test, "mcopy", &arguments, folder.path()).is_some() {
            let kernel = std::fs::read(folder.path().join("EFI/Linux/Talos-v1.9.0.efi")).unwrap();
            assert!(kernel == vec![0x55; 3_000_000]);
        }
    }
}

#[test]
fn a_disk_takes_only_the_room_of_its_content() {
    let folder = tempfile::tempdir().unwrap();
    write(512, folder.path());
    let metadata = std::fs::metadata(folder.path().join("disk.raw")).unwrap();
    assert_eq!(metadata.len(), 2205 * MIB);
    let used = metadata.blocks() * 512;
    // Content, and two tables of a FAT32 volume of 2 GiB.
    assert!(used < 12 * MIB, "{used} bytes are used");
}

#[test]
fn guids_follow_from_labels_and_can_be_given() {
    let own: Guid = "01234567-89AB-CDEF-0123-456789ABCDEF".parse().unwrap();
    let plan = |partition: Partition| Disk::new("d").partition(partition.len(MIB)).plan().unwrap();
    let named = plan(Partition::new(Guid::LINUX_DATA, "META"));
    assert_eq!(named.regions()[0].guid, Some(Guid::from_label("META")));
    let given = plan(Partition::new(Guid::LINUX_DATA, "META").guid(own));
    assert_eq!(given.regions()[0].guid, Some(own));
    assert_eq!(
        Guid::from_label("META").to_string(),
        plan(Partition::new(Guid::EFI_SYSTEM, "META")).regions()[0]
            .guid
            .unwrap()
            .to_string()
    );
}

#[test]
fn a_disk_that_cannot_be_is_refused_by_name() {
    let partition = || Partition::new(Guid::LINUX_DATA, "META").len(MIB);
    let said = |disk: Disk| disk.plan().unwrap_err().to_string();
    let cases = [
        (
            Disk::new("d").sector_len(520).partition(partition()),
            "sector_len cannot be 520: 512 and 4096 are possible",
        ),
        (
            Disk::new("d").len(MIB).partition(partition()),
            "disk needs 2114048 bytes, but 1048576 are possible",
        ),
        (
            Disk::new("d").len(3 * MIB + 1).partition(partition()),
            "len cannot be 3145729: a multiple of the sector length is expected",
        ),
        (
            Disk::new("d").partition(Partition::new(Guid::LINUX_DATA, "EMPTY")),
            "partition without length \"EMPTY\" cannot be stored: it is empty",
        ),
        (
            Disk::new("d").partition(partition().content(vec![0; 2 << 20])),
            "content of a partition needs 2097152 bytes, but 1048576 are possible",
        ),
        (
            Disk::new("d").partition(Partition::new(Guid::LINUX_DATA, "n".repeat(37)).len(MIB)),
            "partition name \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\" cannot be stored: it is longer than 36",
        ),
        (
            (0..129).fold(Disk::new("d"), |disk, _| disk.partition(partition())),
            "partition table at \"\" has 129 entries, more than the 128 that are possible",
        ),
        (
            Disk::new("d").partition(Partition::esp("EFI", tree()).len(MIB)),
            "FAT volume needs 3122176 bytes, but 1048576 are possible",
        ),
    ];
    for (disk, message) in cases {
        assert_eq!(said(disk), message);
    }
}
