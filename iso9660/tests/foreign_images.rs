//! Images with what few writers use: packed files, Apple's and UDF's structures, isohybrid, logical
//! partitions, versions, associated and interleaved files, extended attribute records.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/reading.rs"]
mod reading;

use std::fs::File;
use std::io::Cursor;
use std::path::Path;

use iso9660::{Error, Image, IsoReader, Medium, Namespace, Report, Tree};
use reading::{Node, difference, nodes, pattern, tool, write};

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|f| f.check.code()).collect()
}

/// Extracts an image as a user would.
fn extracted(image: &Path) -> (Report, reading::Nodes) {
    let target = tempfile::tempdir().unwrap();
    let report = Report::read(File::open(image).unwrap()).unwrap();
    report
        .extract(File::open(image).unwrap(), target.path())
        .unwrap();
    (report, nodes(target.path()))
}

#[test]
fn packed_files_of_xorriso_and_bsdtar_are_unpacked() {
    let test = "packed_files_of_xorriso_and_bsdtar_are_unpacked";
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    write(&tree, "zeros", &vec![0; 300_000]);
    write(
        &tree,
        "mixed",
        &[vec![0; 131_072], pattern(70_000, 1)].concat(),
    );
    write(&tree, "dir/text", &b"some text\n".repeat(10_000));
    write(&tree, "small", b"x");
    let expected = nodes(&tree);
    let image = folder.path().join("packed.iso");
    let xorriso = |options: &[&str]| {
        let mut arguments = vec!["-outdev", "packed.iso"];
        arguments.extend(options);
        arguments.extend(["-map", "tree", "/", "-set_filter_r", "--zisofs", "/", "--"]);
        arguments.push("-commit");
        tool(test, "xorriso", &arguments, folder.path()).is_some()
    };
    let bsdtar = || {
        let options = "zisofs=direct";
        let arguments = [
            "--format=iso9660",
            "--options",
            options,
            "-C",
            "tree",
            "-cf",
            "packed.iso",
            ".",
        ];
        tool(test, "bsdtar", &arguments, folder.path()).is_some()
    };
    let second: &[&str] = &["-zisofs", "level=9:block_size=64k:version_2=on:susp_z2=on"];
    let makers: [&dyn Fn() -> bool; 3] = [&|| xorriso(&[]), &|| xorriso(second), &bsdtar];
    for (number, make) in makers.into_iter().enumerate() {
        let _ = std::fs::remove_file(&image);
        if !make() {
            return;
        }
        let (report, found) = extracted(&image);
        assert_eq!(difference(&expected, &found), [""; 0], "{number}");
        assert!(codes(&report).contains(&"iso-compressed"), "{number}");
        damaged_packed_files_are_errors(&std::fs::read(&image).unwrap());
    }
}

/// Nothing that a packed file may say of itself makes a reader panic or write without end.
fn damaged_packed_files_are_errors(image: &[u8]) {
    let open = |image| IsoReader::read(Cursor::new(image)).unwrap();
    let items = open(image.to_vec()).items(Namespace::RockRidge).unwrap();
    let item = items.iter().find(|item| item.path == b"dir/text").unwrap();
    let start = usize::try_from(item.extents[0].offset).unwrap();
    let mut refused = 0;
    for at in start..start + 80 {
        let mut image = image.to_vec();
        image[at] ^= 0xFF;
        match open(image).copy_to(item, &mut std::io::sink()) {
            Ok(len) => assert_eq!(Some(len), item.unpacked_len),
            Err(Error::Malformed { .. } | Error::Truncated { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 40, "{refused}");
}

#[test]
fn what_is_not_read_is_named() {
    let with = |at: usize, bytes: &[u8]| {
        let mut image = vec![0; 200_000];
        image[at..at + bytes.len()].copy_from_slice(bytes);
        let Err(error) = Report::read(Cursor::new(image)) else {
            panic!("there is nothing to read")
        };
        error.to_string()
    };
    let mut map = b"PM\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x3F".to_vec();
    map.resize(48, 0);
    map.extend(b"Apple_partition_map");
    let said = "the image holds an Apple partition map, which is not read here";
    assert_eq!(with(512, &map), said);
    assert_eq!(with(2048, &map), said);
    let said = "the image holds a UDF volume, which is not read here";
    assert_eq!(with(17 * 2048, b"\0NSR02\x01"), said);
    assert_eq!(with(20 * 2048, b"\0NSR03\x01"), said);
    let mut header = b"H+\0\x04".to_vec();
    header.resize(40, 0);
    header.extend([0, 0, 0x10, 0]);
    let said = "the image holds an HFS or HFS+ volume, which is not read here";
    assert_eq!(with(1024, &header), said);
    let nothing = "no ISO 9660 volume, FAT volume or partition table found";
    assert_eq!(with(1024, b"BDxx"), nothing);
}

#[test]
fn udf_and_hfs_beside_the_tree_do_no_harm() {
    let test = "udf_and_hfs_beside_the_tree_do_no_harm";
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    write(&tree, "Some long name.text", &pattern(5000, 1));
    write(&tree, "dir/other", b"other");
    let expected = nodes(&tree);
    let cases: [(&str, &[&str], &str); 4] = [
        ("genisoimage", &["-udf", "-R"], "iso-udf"),
        ("genisoimage", &["-hfs", "-R"], "hfs"),
        ("genisoimage", &["-hfs", "-part", "-R"], "apple-map"),
        ("xorrisofs", &["-hfsplus", "-R"], "apple-map"),
    ];
    for (program, options, code) in cases {
        let mut arguments = vec!["-quiet", "-o", "image.iso"];
        arguments.extend(options);
        arguments.push("tree");
        if tool(test, program, &arguments, folder.path()).is_none() {
            return;
        }
        let (report, found) = extracted(&folder.path().join("image.iso"));
        assert_eq!(difference(&expected, &found), [""; 0], "{options:?}");
        assert!(
            codes(&report).contains(&code),
            "{options:?}: {:?}",
            report.findings
        );
        assert!(!report.is_damaged());
    }
}

#[test]
fn isohybrid_boots_by_its_mbr_and_is_not_damaged() {
    let test = "isohybrid_boots_by_its_mbr_and_is_not_damaged";
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("tree"), "bios.img", &[0x90; 2048]);
    let esp = Tree::new().file("EFI/BOOT/BOOTX64.EFI", b"MZ");
    let plan = iso9660::Fat::new(esp).plan().unwrap();
    plan.write_file(at("tree/efi.img")).unwrap();
    std::fs::write(at("mbr"), [0x90; 432]).unwrap();
    let expected = nodes(&at("tree"));
    let arguments = "-quiet -R -o image.iso -isohybrid-mbr mbr -b bios.img -no-emul-boot \
                     -boot-load-size 4 -eltorito-alt-boot -e efi.img -no-emul-boot \
                     -isohybrid-gpt-basdat tree";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    if tool(test, "xorrisofs", &arguments, folder.path()).is_none() {
        return;
    }
    let judge = |image: &Path| {
        let (report, mut found) = extracted(image);
        found.remove("boot.catalog");
        assert_eq!(difference(&expected, &found), [""; 0]);
        assert!(!report.is_damaged(), "{:?}", report.findings);
        assert!(codes(&report).contains(&"gpt-isohybrid"));
        for medium in [
            Medium::CdUefi,
            Medium::CdBios,
            Medium::UsbMbr,
            Medium::UsbBios,
        ] {
            assert!(report.boots(medium), "{medium:?}");
        }
        assert!(!report.boots(Medium::UsbGpt));
    };
    judge(&at("image.iso"));
    // pycdlib writes such tables with wrong checksums, and firmware ignores them all the same.
    let mut image = std::fs::read(at("image.iso")).unwrap();
    image[512 + 88] ^= 1;
    let end = image.len();
    image[end - 512..].fill(0);
    std::fs::write(at("wrong.iso"), image).unwrap();
    judge(&at("wrong.iso"));
}

#[test]
fn logical_partitions_and_sectors_of_4096_bytes_are_found() {
    let test = "logical_partitions_and_sectors_of_4096_bytes_are_found";
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.img");
    let esp = || {
        let tree = Tree::new().file("EFI/BOOT/BOOTX64.EFI", b"MZ");
        let plan = iso9660::Fat::new(tree).plan().unwrap();
        let mut out = Vec::new();
        plan.write_to(&mut out).unwrap();
        out
    };
    let run = |command: &str| {
        File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        let arguments = ["-c", command];
        let said = tool(test, "sh", &arguments, folder.path()).unwrap();
        if said == b"missing\n" {
            eprintln!("SKIPPED: {test}: fdisk not found");
            assert!(std::env::var_os("CI").is_none());
            return None;
        }
        Some(std::fs::read(&disk).unwrap())
    };
    let command = "PATH=$PATH:/usr/sbin:/sbin
        command -v sfdisk >/dev/null || { echo missing; exit 0; }
        printf 'label: dos\\nstart=2048,size=100000,type=5\\nstart=4096,size=8192,type=83\\n\
                start=16384,size=16384,type=ef\\n' | sfdisk disk.img >/dev/null";
    let Some(mut image) = run(command) else {
        return;
    };
    image[16_384 * 512..][..esp().len()].copy_from_slice(&esp());
    let report = Report::read(Cursor::new(&image)).unwrap();
    let numbers = report.partitions.mbr.iter();
    let numbers: Vec<_> = numbers.map(|e| (e.number, e.kind, e.first)).collect();
    let expected = [(1, 0x05, 2048), (5, 0x83, 4096), (6, 0xEF, 16_384)];
    assert_eq!(numbers, expected);
    assert!(report.boots(Medium::UsbMbr) && !report.is_damaged());
    // A chain that leads back to its beginning ends.
    let second = image[2048 * 512 + 446 + 16 + 8..][..4].to_vec();
    let second = u32::from_le_bytes(second.try_into().unwrap()) as usize + 2048;
    let next = second * 512 + 446 + 16;
    image[next..next + 16].copy_from_slice(&[0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]);
    let report = Report::read(Cursor::new(&image)).unwrap();
    assert_eq!(report.partitions.mbr.len(), 3);
    let command = "PATH=$PATH:/usr/sbin:/sbin
        command -v fdisk >/dev/null || { echo missing; exit 0; }
        printf 'g\\nn\\n1\\n256\\n8191\\nt\\n1\\nw\\n' | fdisk -b 4096 disk.img >/dev/null";
    let Some(mut image) = run(command) else {
        return;
    };
    image[256 * 4096..][..esp().len()].copy_from_slice(&esp());
    let report = Report::read(Cursor::new(&image)).unwrap();
    assert_eq!(report.partitions.findings, []);
    assert_eq!(report.partitions.gpt.as_ref().unwrap().sector_len, 4096);
    assert!(
        report.boots(Medium::UsbGpt),
        "{:?}",
        report.path(Medium::UsbGpt)
    );
}

/// A plain image of five files, and a way to change the record of one.
struct Plain(Vec<u8>);

impl Plain {
    fn new() -> Self {
        let tree = Tree::new()
            .file("A.TXT", "first")
            .file("B.TXT", "second")
            .file("D.BIN", pattern(9000, 1))
            .file("SUB/C.TXT", "third");
        let mut out = Vec::new();
        let image = Image::new(tree).rock_ridge(false).joliet(false);
        image.plan().unwrap().write_to(&mut out).unwrap();
        Self(out)
    }

    fn record(&mut self, name: &[u8]) -> &mut [u8] {
        let mut windows = self.0.windows(name.len());
        let at = windows.position(|window| window == name).unwrap();
        &mut self.0[at - 33..]
    }

    /// Moves the content of D.BIN to the end of the image.
    fn move_content(&mut self, content: &[u8]) {
        let block = u32::try_from(self.0.len() / 2048).unwrap();
        let record = self.record(b"D.BIN;1");
        record[2..6].copy_from_slice(&block.to_le_bytes());
        record[6..10].copy_from_slice(&block.to_be_bytes());
        self.0.extend(content);
        let len = self.0.len().next_multiple_of(2048);
        self.0.resize(len, 0);
    }

    fn extract(&self) -> (Vec<&'static str>, reading::Nodes) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.iso");
        std::fs::write(&path, &self.0).unwrap();
        let (report, found) = extracted(&path);
        assert!(!report.is_damaged(), "{:?}", report.findings);
        (codes(&report), found)
    }
}

fn text(node: &Node) -> String {
    match node {
        Node::File(content) => String::from_utf8_lossy(content).into_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_highest_version_has_the_plain_name() {
    let mut image = Plain::new();
    image.record(b"A.TXT;1")[33 + 6] = b'7';
    assert_eq!(text(&image.extract().1["A.TXT"]), "first");
    // B becomes an older version of A.
    image.record(b"B.TXT;1")[33] = b'A';
    let (_, found) = image.extract();
    assert_eq!(text(&found["A.TXT"]), "first");
    assert_eq!(text(&found["A.TXT;1"]), "second");
}

#[test]
fn associated_files_and_part_flags_of_other_files_do_not_mix_with_a_file() {
    let mut image = Plain::new();
    let record = image.record(b"B.TXT;1");
    (record[33], record[25]) = (b'A', 0x04);
    let (_, found) = image.extract();
    assert_eq!(text(&found["A.TXT"]), "first");
    assert!(!found.contains_key("B.TXT"));
    // More parts are promised, but the next record is that of another file.
    let mut image = Plain::new();
    image.record(b"A.TXT;1")[25] = 0x80;
    let (_, found) = image.extract();
    assert_eq!(text(&found["A.TXT"]), "first");
    assert_eq!(text(&found["B.TXT"]), "second");
}

#[test]
fn interleaved_files_and_extended_attribute_records_are_read() {
    let content = pattern(9000, 1);
    let mut image = Plain::new();
    let with_gaps: Vec<u8> = content
        .chunks(2048)
        .flat_map(|piece| {
            let mut piece = piece.to_vec();
            piece.resize(2048, 0);
            piece.extend([b'G'; 2048]);
            piece
        })
        .collect();
    image.move_content(&with_gaps);
    image.record(b"D.BIN;1")[26..28].copy_from_slice(&[1, 1]);
    let (codes, found) = image.extract();
    assert!(found["D.BIN"] == Node::File(content.clone()));
    assert!(codes.contains(&"iso-interleaved"));
    let mut image = Plain::new();
    image.move_content(&[vec![b'X'; 4096], content.clone()].concat());
    image.record(b"D.BIN;1")[1] = 2;
    assert!(image.extract().1["D.BIN"] == Node::File(content));
}
