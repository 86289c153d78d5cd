//! Images that are cut, damaged or made to harm: an answer or an error, never a panic, never
//! without end, and nothing outside of the folder that is extracted to.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/reading.rs"]
mod reading;

use std::io::Cursor;

use iso9660::{
    Disk, Error, Fat, FatKind, FatReader, Guid, Image, IsoReader, Medium, Namespace, Partition,
    PartitionTable, Plan, Report, Tree,
};

fn bytes(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    plan.write_to(&mut out).unwrap();
    out
}

fn small_iso() -> Vec<u8> {
    let tree = Tree::new()
        .file("dir/inner/file", "content")
        .file("top", "t")
        .symlink("link", "dir/inner/file")
        .file(format!("{}.long", "n".repeat(200)), "long");
    bytes(&Image::new(tree).plan().unwrap())
}

fn small_fat() -> Vec<u8> {
    let tree = Tree::new()
        .file("EFI/BOOT/BOOTX64.EFI", vec![7; 1500])
        .file("a long name of a file.text", "long")
        .file("empty", "");
    let fat = Fat::new(tree).kind(FatKind::Fat12).cluster_len(512);
    bytes(&fat.plan().unwrap())
}

fn small_disk() -> Vec<u8> {
    let disk = Disk::new("small")
        .partition(Partition::new(Guid::LINUX_DATA, "one").content("1"))
        .partition(Partition::new(Guid::LINUX_DATA, "two").content("2"));
    bytes(&disk.plan().unwrap())
}

/// Everything that readers do with an image.
fn read_all(image: &[u8]) {
    if let Ok(mut iso) = IsoReader::read(Cursor::new(image)) {
        for namespace in iso.namespaces() {
            let listing = iso.list(namespace).unwrap();
            for item in listing.items.iter().take(20) {
                let _ = iso.copy_to(item, &mut std::io::sink());
            }
        }
        let _ = iso.boot_catalog();
    }
    if let Ok(mut fat) = FatReader::read(Cursor::new(image)) {
        let listing = fat.list().unwrap();
        for item in listing.items.iter().take(20) {
            let _ = fat.copy_to(item, &mut std::io::sink());
        }
        let _ = fat.label();
    }
    let _ = PartitionTable::read(Cursor::new(image)).unwrap();
    if let Ok(report) = Report::read(Cursor::new(image)) {
        assert!(report.to_json().ends_with('}'));
    }
}

fn find(image: &[u8], needle: &[u8]) -> usize {
    let mut windows = image.windows(needle.len());
    windows.position(|window| window == needle).unwrap()
}

/// Offset of the record of an identifier in a small ISO image.
fn record(image: &[u8], identifier: &[u8]) -> usize {
    let mut needle = vec![u8::try_from(identifier.len()).unwrap()];
    needle.extend(identifier);
    find(image, &needle) - 32
}

fn set_both(image: &mut [u8], at: usize, value: u32) {
    image[at..at + 4].copy_from_slice(&value.to_le_bytes());
    image[at + 4..at + 8].copy_from_slice(&value.to_be_bytes());
}

fn block_of(image: &[u8], record: usize) -> u32 {
    u32::from_le_bytes(image[record + 2..record + 6].try_into().unwrap())
}

fn iso_error(image: &[u8], namespace: Namespace) -> String {
    let mut iso = IsoReader::read(Cursor::new(image)).unwrap();
    iso.items(namespace).unwrap_err().to_string()
}

fn codes(image: &[u8]) -> Vec<&'static str> {
    let report = Report::read(Cursor::new(image)).unwrap();
    let findings = report.findings.iter();
    let mut codes: Vec<_> = findings.map(|finding| finding.check.code()).collect();
    codes.dedup();
    codes
}

#[test]
fn an_iso_image_cut_at_any_byte_is_an_error_or_a_shorter_tree() {
    let image = small_iso();
    let whole = IsoReader::read(Cursor::new(&image)).unwrap();
    let blocks = whole.volumes()[0].blocks;
    assert_eq!(blocks * 2048, image.len() as u64);
    assert!(IsoReader::read(Cursor::new(&image[..34_815])).is_err());
    // Within a run of zeros it makes no difference where the image ends.
    let is_zeros =
        |len: &usize| image[*len] == 0 && image[len - 1] == 0 && !len.is_multiple_of(512);
    for len in (34_815..image.len()).filter(|len| !is_zeros(len)) {
        let Ok(mut iso) = IsoReader::read(Cursor::new(&image[..len])) else {
            continue;
        };
        let listing = iso.list(iso.best_namespace()).unwrap();
        let is_whole = listing.problems.is_empty()
            && listing
                .items
                .iter()
                .all(|item| iso.copy_to(item, &mut std::io::sink()).is_ok());
        // The last file is shorter than its block.
        assert!(!is_whole || len + 2048 > image.len(), "{len}");
    }
    for len in (0..image.len()).step_by(499) {
        read_all(&image[..len]);
    }
}

#[test]
fn a_fat_volume_cut_at_any_byte_is_an_error_or_has_findings() {
    let image = small_fat();
    for len in 0..image.len() {
        let Ok(mut fat) = FatReader::read(Cursor::new(&image[..len])) else {
            assert!(len < 512, "{len}");
            continue;
        };
        let _ = fat.list().unwrap();
        if len % 149 == 0 {
            let report = Report::read(Cursor::new(&image[..len])).unwrap();
            assert!(report.is_damaged(), "{len}");
        }
    }
}

#[test]
fn a_disk_cut_at_any_byte_of_its_tables_has_findings() {
    let image = small_disk();
    let start = 0..40_000;
    let end = image.len() - 40_000..image.len();
    for len in start.chain(end) {
        let table = PartitionTable::read(Cursor::new(&image[..len])).unwrap();
        assert!(table.gpt.is_none() || !table.findings.is_empty(), "{len}");
    }
    let whole = PartitionTable::read(Cursor::new(&image)).unwrap();
    assert_eq!(whole.findings, []);
    assert_eq!(whole.gpt.unwrap().partitions.len(), 2);
}

#[test]
fn no_byte_of_an_image_makes_a_reader_panic() {
    let iso = small_iso();
    let fat = small_fat();
    let boot = reading::vector("efi-gpt.iso");
    // Descriptors, directories and tables: not the contents of files.
    let places = [
        (&iso, 32_768..iso.len(), 67usize),
        (&fat, 0..fat.len().min(6000), 7),
        (&boot, 440..1200, 41),
        (&boot, 32_768..36_864, 97),
        (&boot, 55 * 2048..55 * 2048 + 64, 7),
    ];
    for (image, range, step) in places {
        let mut image = image.clone();
        for at in range.step_by(step) {
            let before = image[at];
            for value in [0, 0x7F, 0xFF, before.wrapping_add(1)] {
                image[at] = value;
                read_all(&image);
            }
            image[at] = before;
        }
    }
}

#[test]
fn a_directory_that_contains_its_parent_is_an_error() {
    let mut image = small_iso();
    let (dir, inner) = (record(&image, b"DIR"), record(&image, b"INNER"));
    let block = block_of(&image, dir);
    set_both(&mut image, inner + 2, block);
    let said = iso_error(&image, Namespace::RockRidge);
    assert!(
        said.ends_with("is damaged: it is in the tree twice"),
        "{said}"
    );
    assert!(codes(&image).contains(&"iso-unreadable"));
    read_all(&image);
}

#[test]
fn a_directory_behind_the_end_is_an_error_and_the_rest_is_listed() {
    let mut image = small_iso();
    let inner = record(&image, b"INNER");
    set_both(&mut image, inner + 2, 0xFFFF_FFF0);
    let said = iso_error(&image, Namespace::Iso);
    assert!(said.starts_with("directory at offset"), "{said}");
    let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
    let listing = iso.list(Namespace::RockRidge).unwrap();
    assert_eq!(listing.problems.len(), 1);
    assert_eq!(listing.problems[0].path, "dir/inner");
    assert!(listing.items.iter().any(|item| item.path == b"top"));
}

#[test]
fn a_directory_of_four_gigabytes_takes_no_memory() {
    let mut image = small_iso();
    let inner = record(&image, b"INNER");
    set_both(&mut image, inner + 10, u32::MAX);
    let said = iso_error(&image, Namespace::Iso);
    assert!(
        said.contains("passes the limit") || said.contains("are left"),
        "{said}"
    );
}

#[test]
fn a_file_behind_the_end_is_a_finding_and_cannot_be_read() {
    let mut image = small_iso();
    let top = record(&image, b"TOP.;1");
    set_both(&mut image, top + 2, 0x00FF_FFFF);
    assert!(codes(&image).contains(&"iso-past-end"));
    let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
    let items = iso.items(Namespace::RockRidge).unwrap();
    let item = items.iter().find(|item| item.path == b"top").unwrap();
    let error = iso.copy_to(item, &mut std::io::sink()).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn continuation_areas_in_a_circle_are_an_error() {
    let mut image = small_iso();
    // The long name goes on in a continuation area; the area is made to point to itself.
    let mut windows = image.windows(4);
    let at = windows.rposition(|w| w == b"CE\x1C\x01").unwrap();
    let number = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    let area = number(at + 4) * 2048 + number(at + 12);
    let entry: Vec<u8> = image[at..at + 28].to_vec();
    image[area..area + 28].copy_from_slice(&entry);
    let said = iso_error(&image, Namespace::RockRidge);
    assert!(said.ends_with("it goes on without an end"), "{said}");
    read_all(&image);
}

#[test]
fn names_that_climb_out_of_the_folder_are_refused() {
    for name in [&b".."[..], b".", b"a/b", b"/", b"x\0y"] {
        let mut image = small_iso();
        let at = find(&image, b"NM\x08\x01\0top");
        image[at + 5..at + 8].copy_from_slice(&[b'z'; 3]);
        image[at + 5..at + 5 + name.len()].copy_from_slice(name);
        image[at + 2] = u8::try_from(5 + name.len()).unwrap();
        // What is left of the entry must not look like one.
        image[at + 5 + name.len()..at + 8].fill(0);
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
        let error = iso.extract(Namespace::RockRidge, &target).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn nothing_is_written_through_a_link_of_the_image() {
    // A link and a directory of one name: files of the directory would go where the link leads.
    let tree = Tree::new()
        .symlink("aaa", "/nowhere/outside")
        .file("bbb/file", "evil");
    let mut image = bytes(&Image::new(tree).plan().unwrap());
    let at = find(&image, b"NM\x08\x01\0bbb");
    image[at + 5..at + 8].copy_from_slice(b"aaa");
    let folder = tempfile::tempdir().unwrap();
    let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
    let error = iso
        .extract(Namespace::RockRidge, folder.path())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"aaa\" of the image cannot be extracted: something of that name is there already"
    );
    assert!(folder.path().join("aaa/file").is_file());
    assert!(codes(&image).contains(&"iso-duplicate"));
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    reading::write(folder.path(), "top", b"mine");
    let mut iso = IsoReader::read(Cursor::new(small_iso())).unwrap();
    let error = iso
        .extract(Namespace::RockRidge, folder.path())
        .unwrap_err();
    assert!(matches!(error, Error::Extract { .. }), "{error}");
    let content = std::fs::read(folder.path().join("top")).unwrap();
    assert_eq!(content, b"mine");
}

/// Sets an entry of the table of a FAT12 volume.
fn set_entry(image: &mut [u8], cluster: usize, value: u16) {
    let at = 512 + cluster + cluster / 2;
    let old = u16::from_le_bytes([image[at], image[at + 1]]);
    let new = match cluster % 2 {
        0 => old & 0xF000 | value,
        _ => old & 0x000F | value << 4,
    };
    image[at..at + 2].copy_from_slice(&new.to_le_bytes());
}

/// First cluster of a short name with these attributes behind it.
fn cluster_of(image: &[u8], short: &[u8; 12]) -> usize {
    let at = find(image, short);
    usize::from(u16::from_le_bytes([image[at + 26], image[at + 27]]))
}

#[test]
fn clusters_in_a_circle_are_an_error() {
    let mut image = small_fat();
    let file = cluster_of(&image, b"BOOTX64 EFI\x20");
    set_entry(&mut image, file + 1, u16::try_from(file).unwrap());
    let mut fat = FatReader::read(Cursor::new(&image)).unwrap();
    let said = fat.items().unwrap_err().to_string();
    assert!(
        said.ends_with("its clusters go round in a circle"),
        "{said}"
    );
    let listing = fat.list().unwrap();
    assert_eq!(listing.problems[0].path, "EFI/BOOT/BOOTX64.EFI");
    let item = fat.find("efi/boot/bootx64.efi").unwrap().unwrap();
    assert!(fat.copy_to(&item, &mut std::io::sink()).is_err());
    assert!(codes(&image).contains(&"fat-unreadable"));
}

#[test]
fn a_fat_directory_in_a_circle_or_twice_in_the_tree_is_an_error() {
    let image = small_fat();
    let (efi, boot) = (
        cluster_of(&image, b"EFI        \x10"),
        cluster_of(&image, b"BOOT       \x10"),
    );
    let mut circle = image.clone();
    set_entry(&mut circle, boot, u16::try_from(boot).unwrap());
    let mut twice = image.clone();
    let at = find(&twice, b"BOOT       \x10");
    twice[at + 26..at + 28].copy_from_slice(&u16::try_from(efi).unwrap().to_le_bytes());
    for (image, reason) in [
        (circle, "its clusters go round in a circle"),
        (twice, "it is in the tree twice"),
    ] {
        let mut fat = FatReader::read(Cursor::new(&image)).unwrap();
        let said = fat.items().unwrap_err().to_string();
        assert!(said.ends_with(reason), "{said}");
    }
}

#[test]
fn chains_that_end_early_or_lead_nowhere_are_errors() {
    for (value, reason) in [
        (0xFFF, "it has fewer clusters than its length needs"),
        (0, "its clusters lead to a free one"),
        (0xFF7, "its clusters lead to one that does not exist"),
        (0xF00, "its clusters lead to one that does not exist"),
    ] {
        let mut image = small_fat();
        let file = cluster_of(&image, b"BOOTX64 EFI\x20");
        set_entry(&mut image, file, value);
        let mut fat = FatReader::read(Cursor::new(&image)).unwrap();
        let said = fat.items().unwrap_err().to_string();
        assert!(said.ends_with(reason), "{said}");
    }
}

#[test]
fn files_that_share_clusters_are_a_finding() {
    let mut image = small_fat();
    let file = cluster_of(&image, b"BOOTX64 EFI\x20");
    let at = find(&image, b"ALONGN~1TEX");
    image[at + 26..at + 28].copy_from_slice(&u16::try_from(file).unwrap().to_le_bytes());
    let found = codes(&image);
    assert!(found.contains(&"fat-cross-linked"), "{found:?}");
}

#[test]
fn four_gigabyte_files_in_a_small_volume_do_not_hold_the_reader_up() {
    let mut image = small_fat();
    let at = find(&image, b"BOOTX64 EFI");
    image[at + 28..at + 32].fill(0xFF);
    let mut fat = FatReader::read(Cursor::new(&image)).unwrap();
    assert!(fat.items().is_err());
    let item = fat.find("EFI/BOOT/BOOTX64.EFI").unwrap().unwrap();
    assert_eq!(item.len, u64::from(u32::MAX));
    let error = fat.copy_to(&item, &mut std::io::sink()).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

/// Changes a GPT entry of the small disk and sets the checksums right.
fn with_entry(index: usize, at: usize, value: u64) -> Vec<u8> {
    let mut image = small_disk();
    let len = image.len();
    for (header, array) in [(512, 1024), (len - 512, len - 33 * 512)] {
        let at = array + index * 128 + at;
        image[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let sum = crc32fast::hash(&image[array..array + 128 * 128]);
        image[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
        seal(&mut image, header);
    }
    image
}

fn seal(image: &mut [u8], header: usize) {
    image[header + 16..header + 20].fill(0);
    let sum = crc32fast::hash(&image[header..header + 92]);
    image[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn overlapping_partitions_and_ranges_outside_are_findings() {
    assert!(codes(&with_entry(1, 32, 2048)).contains(&"gpt-overlap"));
    assert!(codes(&with_entry(0, 32, 1)).contains(&"gpt-range"));
    assert!(codes(&with_entry(0, 40, 100)).contains(&"gpt-range"));
    let past = codes(&with_entry(1, 40, u64::MAX));
    assert!(past.contains(&"gpt-past-end") && past.contains(&"gpt-range"));
    let image = with_entry(1, 32, 2048);
    let report = Report::read(Cursor::new(&image)).unwrap();
    assert!(report.is_damaged() && !report.boots(Medium::UsbGpt));
}

#[test]
fn the_backup_is_used_when_the_primary_table_is_damaged() {
    let whole = small_disk();
    for (at, code) in [
        (512, "gpt-header"),
        (512 + 60, "gpt-header"),
        (1024, "gpt-array"),
    ] {
        let mut image = whole.clone();
        image[at] ^= 0xFF;
        let table = PartitionTable::read(Cursor::new(&image)).unwrap();
        let found: Vec<_> = table.findings.iter().map(|f| f.check.code()).collect();
        assert_eq!(found, [code, "gpt-backup-used"], "{at}");
        let gpt = table.gpt.unwrap();
        assert!(gpt.is_from_backup && !gpt.is_valid && gpt.has_backup);
        assert_eq!(gpt.partitions[1].name, "two");
    }
    let mut both = whole.clone();
    both[512 + 60] ^= 1;
    let len = both.len();
    both[len - 500] ^= 1;
    assert!(codes(&both).contains(&"gpt-unusable"));
    let mut stale = whole;
    stale[..1024].fill(0);
    let table = PartitionTable::read(Cursor::new(&stale)).unwrap();
    assert_eq!(table.gpt, None);
    assert_eq!(table.findings[0].check.code(), "gpt-stale-backup");
}

#[test]
fn entry_counts_that_no_table_has_take_no_memory() {
    for (at, value) in [(80, u32::MAX), (84, 0), (84, 1), (84, 0x8000_0000), (80, 0)] {
        let mut image = small_disk();
        image[512 + at..512 + at + 4].copy_from_slice(&value.to_le_bytes());
        seal(&mut image, 512);
        let table = PartitionTable::read(Cursor::new(&image)).unwrap();
        assert_eq!(table.findings[0].check.code(), "gpt-entries");
        assert!(table.gpt.unwrap().is_from_backup);
    }
}

#[test]
fn what_is_no_image_is_told_apart_from_a_damaged_one() {
    for image in [
        vec![],
        vec![0; 511],
        vec![0xAA; 100_000],
        b"text".repeat(9000),
    ] {
        let error = Report::read(Cursor::new(image)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no ISO 9660 volume, FAT volume or partition table found"
        );
    }
}
