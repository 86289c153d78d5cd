//! System partitions and bootable images, as fsck.vfat, mtools, sgdisk, sfdisk and xorriso see them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/judge.rs"]
mod judge;
#[path = "support/odd_trees.rs"]
mod odd_trees;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use iso9660::{Entry, Fat, FatKind, Image, IsoReader, Namespace, Plan, Source, Tree};
use odd_trees::{differences, in_full};

const MIB: u64 = 1 << 20;

/// A boot tree whose kernel is a file of the host, which may be all holes.
fn boot_tree(folder: &Path, kernel_len: u64) -> Tree {
    let kernel = folder.join("kernel");
    let file = File::create(&kernel).unwrap();
    file.set_len(kernel_len).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"end", kernel_len - 3).unwrap();
    Tree::new()
        .file("EFI/BOOT/BOOTX64.EFI", vec![0x4D; 90_001])
        .file(
            "EFI/Linux/a long name of a kernel.efi",
            Source::file(kernel),
        )
        .file("loader/loader.conf", "timeout 3\n")
        .entry("loader/random-seed", Entry::file(vec![0; 32]).read_only())
}

fn assert_clean(test: &str, image: &str, folder: &Path) {
    if let Some(said) = judge::text(test, "fsck.vfat", &["-n", "-v", image], folder) {
        for bad in [
            "differ",
            "rong",
            "nvalid",
            "Free cluster summary wrong",
            "orphan",
            "Dirty",
        ] {
            assert!(!said.contains(bad), "{said}");
        }
    }
}

#[test]
fn fsck_and_mtools_accept_every_kind_and_size() {
    let test = "fsck_and_mtools_accept_every_kind_and_size";
    let cases = [
        (1_000, None, "FAT12"),
        (3 * MIB, None, "FAT12"),
        (20 * MIB, None, "FAT16"),
        (40 * MIB, Some(FatKind::Fat32), "FAT32"),
        (100 * MIB, Some(FatKind::Fat16), "FAT16"),
        (600 * MIB, None, "FAT32"),
    ];
    for (len, kind, name) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut volume = Fat::new(boot_tree(folder.path(), len));
        if let Some(kind) = kind {
            volume = volume.kind(kind);
        }
        let image = folder.path().join("esp.img");
        volume.plan().unwrap().write_file(&image).unwrap();
        assert_clean(test, "esp.img", folder.path());
        let mut sector = [0; 512];
        File::open(&image)
            .unwrap()
            .read_exact_at(&mut sector, 0)
            .unwrap();
        let at = if name == "FAT32" { 82 } else { 54 };
        assert_eq!(&sector[at..at + 5], name.as_bytes(), "{len}");
        let arguments = ["-i", "esp.img", "-s", "-n", "::/loader", "."];
        if judge::content(test, "mcopy", &arguments, folder.path()).is_some() {
            let conf = std::fs::read_to_string(folder.path().join("loader/loader.conf"));
            assert_eq!(conf.unwrap(), "timeout 3\n");
            let arguments = ["-i", "esp.img", "::/loader/random-seed"];
            let said = judge::text(test, "mattrib", &arguments, folder.path()).unwrap();
            assert!(said.contains('R'), "random-seed is read-only: {said}");
            let arguments = ["-i", "esp.img", "::/EFI/Linux"];
            let said = judge::text(test, "mdir", &arguments, folder.path()).unwrap();
            assert!(said.contains("a long name of a kernel.efi"), "{said}");
        }
    }
}

#[test]
fn mtools_reads_every_odd_tree_that_fat_can_hold() {
    let test = "mtools_reads_every_odd_tree_that_fat_can_hold";
    let mut refused = Vec::new();
    for (name, tree) in odd_trees::odd_trees() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        odd_trees::write(&tree, &source);
        let plan = match Fat::new(Tree::from_dir(&source).unwrap()).plan() {
            Ok(plan) => plan,
            Err(error) => {
                refused.push((name, error.to_string()));
                continue;
            }
        };
        plan.write_file(folder.path().join("esp.img")).unwrap();
        assert_clean(test, "esp.img", folder.path());
        std::fs::create_dir(folder.path().join("out")).unwrap();
        let arguments = ["-i", "esp.img", "-s", "-n", "-Q", "::", "out"];
        // mtools has no names of more than one UTF-16 unit a character.
        if name == "UTF-8" {
            continue;
        }
        if judge::content(test, "mcopy", &arguments, folder.path()).is_some() {
            let found = odd_trees::read(&folder.path().join("out"));
            let wrong = differences(&in_full(&tree), &found);
            assert!(wrong.is_empty(), "{name}: mtools differs at {wrong:?}");
        }
    }
    assert_eq!(
        refused,
        [
            (
                "alike after folding",
                "\"DIR\" and \"Dir\" are one name in FAT, which ignores case"
            ),
            (
                "dots",
                "name of \"...\" cannot be stored in FAT: it ends in a dot or space"
            ),
            (
                "not for FAT",
                "name of \"\\\"quoted\\\"\" cannot be stored in FAT: it contains '\"'"
            ),
            (
                "not UTF-8",
                "name of \"ok\u{FFFD}\" cannot be stored in FAT: it is not UTF-8"
            ),
            (
                "symlinks",
                "\"248\" is a symbolic link, which FAT cannot hold"
            ),
        ]
        .map(|(name, message)| (name, message.to_owned()))
    );
}

#[test]
fn partition_tools_find_nothing_wrong_with_bootable_images() {
    let test = "partition_tools_find_nothing_wrong_with_bootable_images";
    for len in [1_000, 3 * MIB, 31 * MIB, 40 * MIB, 700 * MIB] {
        let folder = tempfile::tempdir().unwrap();
        let image = Image::bootable(boot_tree(folder.path(), len)).unwrap();
        let plan = image.iso_partition(len > 9 * MIB).plan().unwrap();
        plan.write_file(folder.path().join("boot.iso")).unwrap();
        let esp = &plan.regions()[0];
        if let Some(said) = judge::text(test, "sgdisk", &["-v", "boot.iso"], folder.path()) {
            assert!(said.contains("No problems found"), "{said}");
            assert!(!said.contains("Warning"), "{said}");
        }
        if let Some(said) = judge::text(test, "sfdisk", &["--verify", "boot.iso"], folder.path()) {
            assert!(said.contains("No errors detected"), "{said}");
        }
        if let Some(said) = judge::text(test, "sfdisk", &["--dump", "boot.iso"], folder.path()) {
            let entry = format!(
                "start={:>12}, size={:>12}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid={}, name=\"EFI System Partition\"",
                esp.offset / 512,
                esp.len / 512,
                esp.guid.unwrap()
            );
            assert!(said.contains(&entry), "{said} lacks {entry}");
        }
        let arguments = ["-indev", "boot.iso", "-report_el_torito", "plain"];
        if let Some(said) = judge::text(test, "xorriso", &arguments, folder.path()) {
            let count = if esp.len / 512 > 65_535 {
                0
            } else {
                esp.len / 512
            };
            let line = said
                .lines()
                .find(|line| line.starts_with("El Torito boot img"));
            let words: Vec<&str> = line.unwrap().split_whitespace().collect();
            let block = (esp.offset / 2048).to_string();
            let end = [&count.to_string(), block.as_str()];
            assert_eq!(words[5..9], ["1", "UEFI", "y", "none"], "{said}");
            assert_eq!(words[11..13], end, "{said}");
        }
        let arguments = ["-d", "-i", "boot.iso"];
        if let Some(said) = judge::text(test, "isoinfo", &arguments, folder.path()) {
            let blocks = format!("Volume size is: {}\n", plan.len() / 2048);
            assert!(said.contains(&blocks), "{said}");
            for feature in [
                "El Torito VD version 1 found",
                "Joliet with UCS level 3 found",
            ] {
                assert!(said.contains(feature), "{said}");
            }
        }
    }
}

#[test]
fn files_of_the_system_partition_are_stored_once() {
    for (len, percent) in [(7 * MIB, 2), (40 * MIB, 2), (300 * MIB, 1), (1030 * MIB, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let plan = Image::bootable(boot_tree(folder.path(), len))
            .unwrap()
            .plan()
            .unwrap();
        let esp = &plan.regions()[0];
        assert!(
            plan.len() * 100 <= esp.len * (100 + percent),
            "{} bytes for an ESP of {}",
            plan.len(),
            esp.len
        );
        // What sheet and standards ask for: partition, data area and clusters at whole blocks.
        let mut boot_sector = [0; 64];
        plan.read_at(esp.offset, &mut boot_sector).unwrap();
        let word =
            |at: usize| u64::from(u16::from_le_bytes([boot_sector[at], boot_sector[at + 1]]));
        let table = match word(22) {
            0 => word(36) | word(38) << 16,
            sectors => sectors,
        };
        let data = (word(14) + 2 * table) * 512 + word(17) * 32;
        let cluster = u64::from(boot_sector[13]) * 512;
        for place in [esp.offset, data, cluster] {
            assert_eq!(place % 2048, 0);
        }
        // Every file of the ISO tree lies in the partition, in one piece, with its content.
        let mut iso = IsoReader::read(plan.reader()).unwrap();
        let items = iso.items(Namespace::RockRidge).unwrap();
        let mut files = 0;
        for item in items.iter().filter(|item| !item.is_directory()) {
            files += 1;
            assert_eq!(item.extents.len(), 1);
            let extent = item.extents[0];
            assert_eq!((extent.offset - esp.offset - data) % cluster, 0);
            assert!(extent.offset + extent.len <= esp.offset + esp.len);
            let mut begin = [0; 5];
            let n = plan.read_at(extent.offset, &mut begin).unwrap();
            let expected: &[u8] = match item.path_text().as_str() {
                "EFI/BOOT/BOOTX64.EFI" => b"MMMMM",
                "loader/loader.conf" => b"timeo",
                "loader/random-seed" => &[0; 5],
                _ => b"begin",
            };
            assert_eq!(&begin[..n], expected);
        }
        assert_eq!(files, 4);
    }
}

/// Whether the kernel lies in the system partition, and how long the image is.
fn is_shared(plan: &Plan) -> bool {
    let mut iso = IsoReader::read(plan.reader()).unwrap();
    let items = iso.items(Namespace::RockRidge).unwrap();
    let kernel = items.iter().find(|item| item.path.ends_with(b"kernel.efi"));
    let esp = &plan.regions()[0];
    kernel.unwrap().extents[0].offset >= esp.offset
}

#[test]
fn files_are_stored_twice_where_clusters_do_not_fit_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let tree = || boot_tree(folder.path(), 3 * MIB);
    let plan = |fat: Fat| Image::bootable(fat).unwrap().plan().unwrap();
    let shared = plan(Fat::new(tree()).cluster_len(2048));
    let apart = plan(Fat::new(tree()).cluster_len(1024));
    assert!(is_shared(&shared) && !is_shared(&apart));
    assert!(apart.len() > shared.len() + 3 * MIB);
    for plan in [shared, apart] {
        let mut iso = IsoReader::read(plan.reader()).unwrap();
        let items = iso.items(Namespace::RockRidge).unwrap();
        let kernel = items
            .iter()
            .find(|item| item.path.ends_with(b"kernel.efi"))
            .unwrap();
        let mut content = Vec::new();
        iso.copy_to(kernel, &mut content).unwrap();
        assert_eq!(content.len() as u64, 3 * MIB);
        assert!(content.starts_with(b"begin") && content.ends_with(b"end"));
    }
}

#[test]
fn a_file_of_both_trees_is_stored_once_only_when_it_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let name = "EFI/Linux/a long name of a kernel.efi";
    let plan = |extra: Tree| {
        let image = Image::bootable(boot_tree(folder.path(), 3 * MIB)).unwrap();
        image.tree(extra).plan().unwrap()
    };
    let same = plan(boot_tree(folder.path(), 3 * MIB));
    let link = folder.path().join("another name");
    std::fs::hard_link(folder.path().join("kernel"), &link).unwrap();
    let same_file = plan(Tree::new().file(name, Source::file(link)));
    let mut bytes = vec![0; 3 << 20];
    bytes[..5].copy_from_slice(b"begin");
    bytes[(3 << 20) - 3..].copy_from_slice(b"end");
    let same_bytes = plan(Tree::new().file(name, bytes.clone()));
    bytes[1_000_000] = 1;
    let other = plan(Tree::new().file(name, bytes));
    for shared in [&same, &same_file, &same_bytes] {
        assert!(is_shared(shared));
        assert_eq!(shared.len(), same.len());
    }
    assert!(!is_shared(&other));
    assert!(other.len() > same.len() + 3 * MIB - 65_536);
}

#[test]
fn a_link_of_the_system_partition_shows_its_file_whatever_the_iso_tree_has() {
    let esp = Tree::new()
        .file("EFI/BOOT/BOOTX64.EFI", b"MZ, of the system partition")
        .hard_link("EFI/link.efi", "EFI/BOOT/BOOTX64.EFI")
        .hard_link("EFI/second.efi", "EFI/link.efi");
    for own in [
        Tree::new(),
        Tree::new().file("EFI/BOOT/BOOTX64.EFI", "of the ISO tree"),
        Tree::new().symlink("EFI/BOOT/BOOTX64.EFI", "elsewhere"),
    ] {
        let mut image = Vec::new();
        let plan = Image::bootable(esp.clone()).unwrap().tree(own).plan();
        plan.unwrap().write_to(&mut image).unwrap();
        let mut iso = IsoReader::read(std::io::Cursor::new(image)).unwrap();
        let items = iso.items(Namespace::RockRidge).unwrap();
        for path in ["EFI/link.efi", "EFI/second.efi"] {
            let item = items.iter().find(|item| item.path == path.as_bytes());
            let mut content = Vec::new();
            iso.copy_to(item.unwrap(), &mut content).unwrap();
            assert_eq!(content, b"MZ, of the system partition", "{path}");
        }
    }
}
