//! Foreign readers agree with what was written: xorriso, bsdtar, isoinfo, sgdisk, fsck.vfat, mtools.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use iso9660::{Entry, Fat, FatKind, Image, Tree};

/// Runs a judge; nothing when it is not installed, which only a test on a desk may get away with.
fn judge(test: &str, program: &str, arguments: &[&str], folder: &Path) -> Option<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success(),
                "{test}: {program} {arguments:?}: {said}{}",
                String::from_utf8_lossy(&output.stdout)
            );
            Some(output.stdout)
        }
        Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {test}: {program} not found");
            None
        }
        Err(error) => panic!("{test}: {program}: {error}"),
    }
}

/// Content that tells which file it belongs to, of a length that is no multiple of a block.
fn content(name: &str, len: usize) -> Vec<u8> {
    name.bytes().cycle().take(len).collect()
}

type Files = BTreeMap<String, Vec<u8>>;

/// Odd trees, by name.
fn trees() -> Vec<(&'static str, Files)> {
    let file = |name: &str, len: usize| (name.to_owned(), content(name, len));
    let long = "a-name-that-goes-on-and-on-".repeat(8);
    vec![
        ("one file", Files::from([file("hello.txt", 5)])),
        (
            "empty files",
            Files::from([file("a", 0), file("b", 0), file("d/c", 0)]),
        ),
        (
            "block borders",
            (2046..2051)
                .map(|len| file(&format!("n{len}"), len))
                .collect(),
        ),
        (
            "sorting by parts",
            ["S2", "S2046", "A", "A_1", "A.B", "A_B.C"]
                .map(|name| file(name, 9))
                .into(),
        ),
        (
            "names alike in their first letters",
            (0..120)
                .map(|n| file(&format!("common-prefix-number-{n:03}.text"), 7))
                .collect(),
        ),
        (
            "names alike after folding",
            ["readme", "README", "ReadMe", "read-me"]
                .map(|name| file(name, 6))
                .into(),
        ),
        (
            "many in one folder",
            (0..600)
                .map(|n| file(&format!("folder/file-{n}"), n % 5))
                .collect(),
        ),
        (
            "deep",
            Files::from([file("1/2/3/4/5/6/7/8/9/10/11/12/deep", 11)]),
        ),
        (
            "long names",
            Files::from([file(&format!("{long}.x"), 3), file(&format!("{long}.y"), 4)]),
        ),
        (
            "UTF-8",
            ["grüße.txt", "日本語", "смесь/файл", "😀.bin"]
                .map(|name| file(name, 13))
                .into(),
        ),
        (
            "dots",
            [".hidden", "a.b.c.d", "trailing.", "no-extension"]
                .map(|name| file(name, 8))
                .into(),
        ),
        (
            "odd characters",
            ["a b", "c;d", "e+f", "g#h", "i[j]"]
                .map(|name| file(name, 4))
                .into(),
        ),
        (
            "a hundred folders",
            (0..100).map(|n| file(&format!("d{n:03}/f"), 3)).collect(),
        ),
    ]
}

fn tree_of(files: &Files) -> Tree {
    files.iter().fold(Tree::new(), |tree, (name, bytes)| {
        tree.file(name.as_str(), bytes.clone())
    })
}

fn read_back(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            read_back(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn extracted(folder: &Path) -> Files {
    let mut files = Files::new();
    read_back(folder, "", &mut files);
    files
}

#[test]
fn bsdtar_and_xorriso_extract_every_odd_tree_as_it_was() {
    let test = "bsdtar_and_xorriso_extract_every_odd_tree_as_it_was";
    for (name, files) in trees() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.iso");
        Image::new(tree_of(&files))
            .plan()
            .unwrap()
            .write_file(&path)
            .unwrap();
        for (program, arguments) in [
            ("bsdtar", &["-xf", "image.iso", "-C", "bsdtar"][..]),
            (
                "xorriso",
                &[
                    "-osirrox",
                    "on",
                    "-indev",
                    "image.iso",
                    "-extract",
                    "/",
                    "xorriso",
                ][..],
            ),
        ] {
            let target = folder.path().join(program);
            std::fs::create_dir(&target).unwrap();
            if judge(test, program, arguments, folder.path()).is_some() {
                // Folders come out read-only, as the image has them.
                Command::new("chmod")
                    .args(["-R", "u+w"])
                    .arg(&target)
                    .status()
                    .unwrap();
                let found = extracted(&target);
                assert!(
                    found == files,
                    "{name}: {program} found {:?}",
                    found.keys().collect::<Vec<_>>()
                );
            }
        }
        if let Some(listing) = judge(
            test,
            "isoinfo",
            &["-R", "-f", "-i", "image.iso"],
            folder.path(),
        ) {
            let listing = String::from_utf8_lossy(&listing).into_owned();
            for file in files.keys() {
                assert!(
                    listing.lines().any(|line| line == format!("/{file}")),
                    "{name}: isoinfo lists no {file}"
                );
            }
        }
    }
}

fn esp(extra_len: usize) -> Tree {
    Tree::new()
        .file("EFI/BOOT/BOOTX64.EFI", content("boot", 90_001))
        .file(
            "EFI/Linux/a long name of a kernel.efi",
            content("kernel", extra_len),
        )
        .file("loader/loader.conf", "timeout 3\n")
        .entry("loader/random-seed", Entry::file(vec![0; 32]).read_only())
}

#[test]
fn fsck_and_mtools_accept_system_partitions_of_every_kind_and_size() {
    let test = "fsck_and_mtools_accept_system_partitions_of_every_kind_and_size";
    let cases = [
        (1_000, None),
        (3 << 20, None),
        (20 << 20, None),
        (40 << 20, Some(FatKind::Fat32)),
        (300 << 20, None),
    ];
    for (len, kind) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut volume = Fat::new(esp(len)).label("EFI");
        if let Some(kind) = kind {
            volume = volume.kind(kind);
        }
        volume
            .plan()
            .unwrap()
            .write_file(folder.path().join("esp.img"))
            .unwrap();
        judge(test, "fsck.vfat", &["-n", "esp.img"], folder.path());
        let arguments = ["-i", "esp.img", "-s", "-n", "::/EFI", "::/loader", "."];
        if judge(test, "mcopy", &arguments, folder.path()).is_some() {
            let kernel =
                std::fs::read(folder.path().join("EFI/Linux/a long name of a kernel.efi")).unwrap();
            assert!(
                kernel == content("kernel", len),
                "mtools reads another kernel, {len} bytes"
            );
        }
        if let Some(said) = judge(
            test,
            "mattrib",
            &["-i", "esp.img", "::/loader/random-seed"],
            folder.path(),
        ) {
            assert!(
                String::from_utf8_lossy(&said).contains('R'),
                "random-seed is read-only"
            );
        }
    }
}

#[test]
fn bootable_images_have_a_valid_partition_table_and_share_their_bytes() {
    let test = "bootable_images_have_a_valid_partition_table_and_share_their_bytes";
    for len in [1_000, 3 << 20, 40 << 20] {
        let folder = tempfile::tempdir().unwrap();
        let plan = Image::bootable(esp(len)).unwrap().plan().unwrap();
        plan.write_file(folder.path().join("boot.iso")).unwrap();
        if let Some(said) = judge(test, "sgdisk", &["-v", "boot.iso"], folder.path()) {
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(said.contains("No problems found"), "{said}");
        }
        let arguments = ["-indev", "boot.iso", "-report_el_torito", "plain"];
        if let Some(said) = judge(test, "xorriso", &arguments, folder.path()) {
            assert!(
                String::from_utf8_lossy(&said).contains("UEFI  y   none"),
                "{}",
                String::from_utf8_lossy(&said)
            );
        }
        std::fs::create_dir(folder.path().join("out")).unwrap();
        if judge(
            test,
            "bsdtar",
            &["-xf", "boot.iso", "-C", "out"],
            folder.path(),
        )
        .is_some()
        {
            let kernel = std::fs::read(
                folder
                    .path()
                    .join("out/EFI/Linux/a long name of a kernel.efi"),
            )
            .unwrap();
            assert!(kernel == content("kernel", len));
        }
        let esp_len = plan
            .regions()
            .iter()
            .find(|region| region.name == "esp")
            .unwrap()
            .len;
        if len > 1 << 20 {
            assert!(
                plan.len() * 100 <= esp_len * 102 + (400 << 10) * 100,
                "{} for an ESP of {esp_len}",
                plan.len()
            );
        }
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_in_whatever_order_it_was_named() {
    let files = trees()
        .into_iter()
        .flat_map(|(_, files)| files)
        .filter(|(name, _)| name.is_ascii());
    let files: Files = files.filter(|(name, _)| !name.contains('/')).collect();
    let forward = Image::new(tree_of(&files)).plan().unwrap();
    let backward = files.iter().rev().fold(Tree::new(), |tree, (name, bytes)| {
        tree.file(name.as_str(), bytes.clone())
    });
    let backward = Image::new(backward).plan().unwrap();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    forward.write_to(&mut one).unwrap();
    backward.write_to(&mut two).unwrap();
    assert!(one == two);
}
