//! Foreign readers agree with what was written: xorriso, isoinfo, bsdtar, pycdlib.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/judge.rs"]
mod judge;
#[path = "support/odd_trees.rs"]
mod odd_trees;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use iso9660::{Image, Tree};
use odd_trees::{Item, OddTree, differences, in_full};

/// Writes every odd tree from a folder of the host, and asks about the image.
fn for_every_tree(ask: impl Fn(&str, &OddTree, &Path)) {
    for (name, tree) in odd_trees::odd_trees() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        odd_trees::write(&tree, &source);
        let image = folder.path().join("image.iso");
        let plan = Image::new(Tree::from_dir(&source).unwrap()).plan().unwrap();
        plan.write_file(&image).unwrap();
        ask(name, &in_full(&tree), folder.path());
    }
}

/// Compares what a program extracted to a folder.
fn compare(judge: &str, name: &str, expected: &OddTree, folder: &Path) {
    judge::make_writable(folder);
    let found = odd_trees::read(folder);
    let wrong = differences(expected, &found);
    assert!(wrong.is_empty(), "{name}: {judge} differs at {wrong:?}");
}

#[test]
fn bsdtar_extracts_every_odd_tree_as_it_was() {
    let test = "bsdtar_extracts_every_odd_tree_as_it_was";
    for_every_tree(|name, expected, folder| {
        let target = folder.join("out");
        std::fs::create_dir(&target).unwrap();
        let arguments = ["-xf", "image.iso", "-C", "out"];
        if judge::content(test, "bsdtar", &arguments, folder).is_some() {
            compare("bsdtar", name, expected, &target);
        }
    });
}

#[test]
fn xorriso_extracts_every_odd_tree_as_it_was() {
    let test = "xorriso_extracts_every_odd_tree_as_it_was";
    for_every_tree(|name, expected, folder| {
        let arguments = [
            "-osirrox",
            "on",
            "-indev",
            "image.iso",
            "-extract",
            "/",
            "out",
        ];
        if let Some(output) = judge::run(test, "xorriso", &arguments, folder) {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {said}");
            assert!(
                !said.contains("WARNING") && !said.contains("SORRY"),
                "{name}: {said}"
            );
            compare("xorriso", name, expected, &folder.join("out"));
        }
    });
}

#[test]
fn pycdlib_reads_every_odd_tree_as_it_was() {
    let test = "pycdlib_reads_every_odd_tree_as_it_was";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/rock_ridge.py");
    for_every_tree(|name, expected, folder| {
        // Its paths are text.
        if name == "not UTF-8" {
            return;
        }
        let arguments = [script.to_str().unwrap(), "image.iso"];
        let Some(said) = judge::text(test, &judge::python(), &arguments, folder) else {
            return;
        };
        let found = said.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let path = unhex(&words.next().unwrap());
            let kind = words.next().unwrap();
            let value = unhex(&words.next().unwrap());
            match kind.as_str() {
                "link" => (path, Item::Symlink(value)),
                "folder" => (path, Item::Directory),
                _ => (path, Item::File(value)),
            }
        });
        let wrong = differences(expected, &found.collect());
        assert!(wrong.is_empty(), "{name}: pycdlib differs at {wrong:?}");
    });
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn isoinfo_lists_and_reads_every_odd_tree_as_it_was() {
    let test = "isoinfo_lists_and_reads_every_odd_tree_as_it_was";
    for_every_tree(|name, expected, folder| {
        let said = judge::content(test, "isoinfo", &["-R", "-f", "-i", "image.iso"], folder);
        let Some(said) = said else { return };
        let lines = said.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let found: BTreeSet<&[u8]> = lines.map(|line| &line[1..]).collect();
        let wanted: BTreeSet<&[u8]> = expected.keys().map(Vec::as_slice).collect();
        let differ: Vec<_> = found.symmetric_difference(&wanted).collect();
        assert!(differ.is_empty(), "{name}: isoinfo differs at {differ:?}");

        let listing = judge::text(test, "isoinfo", &["-R", "-l", "-i", "image.iso"], folder);
        let listing = listing.unwrap();
        let mut read = 0;
        for (path, item) in expected {
            let Ok(path) = str::from_utf8(path) else {
                continue;
            };
            match item {
                Item::File(content) if read < 25 => {
                    read += 1;
                    let arguments = ["-R", "-i", "image.iso", "-x", &format!("/{path}")];
                    let found = judge::content(test, "isoinfo", &arguments, folder).unwrap();
                    assert!(found == *content, "{name}: isoinfo reads another {path}");
                }
                // It drops a slash at the end.
                Item::Symlink(target) if !target.ends_with(b"/") => {
                    let end = format!(" {path} -> {}", str::from_utf8(target).unwrap());
                    let is_there = listing.lines().any(|line| line.ends_with(&end));
                    assert!(is_there, "{name}: isoinfo lists no{end}: {listing}");
                }
                _ => {}
            }
        }
    });
}

/// Contents of all files, whatever their names.
fn contents(tree: &OddTree) -> Vec<&[u8]> {
    let mut all: Vec<&[u8]> = tree
        .values()
        .filter_map(|item| match item {
            Item::File(content) => Some(content.as_slice()),
            _ => None,
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_file_is_in_the_joliet_tree_and_in_the_plain_tree() {
    let test = "every_file_is_in_the_joliet_tree_and_in_the_plain_tree";
    for_every_tree(|name, expected, folder| {
        // bsdtar makes one form of names that are not Rock Ridge's.
        if name == "two forms of one letter" {
            return;
        }
        for option in ["!rockridge", "!rockridge,!joliet"] {
            let target = folder.join(option);
            std::fs::create_dir(&target).unwrap();
            let arguments = ["-xf", "image.iso", "-C", option, "--options", option];
            if judge::content(test, "bsdtar", &arguments, folder).is_none() {
                continue;
            }
            judge::make_writable(&target);
            let found = odd_trees::read(&target);
            // A link has no Joliet name; in the plain tree it is an empty file.
            let links = expected
                .values()
                .filter(|item| matches!(item, Item::Symlink(_)) && option.contains("joliet"));
            let mut wanted = contents(expected);
            wanted.extend(links.map(|_| &b""[..]));
            wanted.sort();
            assert!(contents(&found) == wanted, "{name}: {option} differs");
            if option == "!rockridge" && ["UTF-8", "dots", "alike after folding"].contains(&name) {
                let kept = |path: &&Vec<u8>| {
                    let mut names = path.split(|&b| b == b'/');
                    names.all(|name| str::from_utf8(name).unwrap().encode_utf16().count() <= 64)
                };
                let lost: Vec<_> = expected
                    .keys()
                    .filter(kept)
                    .filter(|path| !found.contains_key(*path))
                    .map(|path| String::from_utf8_lossy(path))
                    .collect();
                assert!(lost.is_empty(), "{name}: Joliet has no {lost:?}");
            }
        }
    });
}

#[test]
fn hard_links_are_extracted_as_such() {
    let test = "hard_links_are_extracted_as_such";
    let tree = Tree::new()
        .file("b/file", vec![7; 5000])
        .hard_link("a", "b/file")
        .hard_link("z/link", "a");
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image.iso");
    Image::new(tree).plan().unwrap().write_file(image).unwrap();
    for (program, arguments) in [
        ("bsdtar", &["-xf", "image.iso"][..]),
        (
            "xorriso",
            &[
                "-osirrox",
                "on",
                "-hardlinks",
                "on",
                "-indev",
                "image.iso",
                "-extract",
                "/",
                "x",
            ],
        ),
    ] {
        if judge::content(test, program, arguments, folder.path()).is_some() {
            let at = folder
                .path()
                .join(if program == "xorriso" { "x" } else { "" });
            let numbers = ["a", "b/file", "z/link"].map(|name| {
                let metadata = std::fs::metadata(at.join(name)).unwrap();
                (metadata.ino(), metadata.nlink())
            });
            assert!(
                numbers.iter().all(|n| *n == (numbers[0].0, 3)),
                "{program}: {numbers:?}"
            );
        }
    }
    judge::make_writable(folder.path());
}

#[test]
fn a_file_of_more_than_4_gib_is_read_in_full() {
    use std::os::unix::fs::FileExt as _;
    const PART: u64 = 0xFFFF_F800;
    let test = "a_file_of_more_than_4_gib_is_read_in_full";
    let folder = tempfile::tempdir().unwrap();
    let len = PART + 5000;
    let source = std::fs::File::create(folder.path().join("large")).unwrap();
    source.set_len(len).unwrap();
    let marks = [(0, b"first"), (PART - 3, b"cross"), (len - 5, b"final")];
    for (offset, mark) in marks {
        source.write_all_at(mark, offset).unwrap();
    }
    let exact = std::fs::File::create(folder.path().join("exact")).unwrap();
    exact.set_len(u64::from(u32::MAX)).unwrap();
    let tree = Tree::from_dir(folder.path())
        .unwrap()
        .file("small", "small");
    let image = folder.path().join("image.iso");
    Image::new(tree).plan().unwrap().write_file(&image).unwrap();
    // The holes of the sources are holes of the image.
    let metadata = std::fs::metadata(&image).unwrap();
    assert!(metadata.len() > len + u64::from(u32::MAX));
    assert!(
        metadata.blocks() * 512 < 4 << 20,
        "{} blocks",
        metadata.blocks()
    );

    if let Some(said) = judge::text(test, "bsdtar", &["-tvf", "image.iso"], folder.path()) {
        for expected in [format!(" {len} "), " 4294967295 ".to_owned()] {
            assert!(said.contains(&expected), "{said}");
        }
    }
    let listing = [
        "-indev",
        "image.iso",
        "-lsl",
        "/large",
        "--",
        "-find",
        "/large",
        "-exec",
        "report_lba",
    ];
    if let Some(said) = judge::text(test, "xorriso", &listing, folder.path()) {
        assert!(said.contains(&format!(" {len} ")), "{said}");
        // Two consecutive parts.
        let parts: Vec<Vec<u64>> = said
            .lines()
            .filter(|line| line.starts_with("File data lba:"))
            .map(|line| {
                line.split(',')
                    .filter_map(|word| word.trim().parse().ok())
                    .collect()
            })
            .collect();
        assert_eq!((parts.len(), parts[0][1]), (2, PART / 2048), "{said}");
        assert_eq!(parts[1][0], parts[0][0] + parts[0][1]);
        let image = std::fs::File::open(&image).unwrap();
        for (offset, mark) in marks {
            let mut found = [0; 5];
            image
                .read_exact_at(&mut found, parts[0][0] * 2048 + offset)
                .unwrap();
            assert_eq!(&found, mark);
        }
    }
    if let Some(said) = judge::text(
        test,
        "isoinfo",
        &["-R", "-l", "-i", "image.iso"],
        folder.path(),
    ) {
        for expected in [" 4294965248 ", " 5000 ", " 4294967295 "] {
            assert!(said.contains(expected), "{said}");
        }
    }
}
