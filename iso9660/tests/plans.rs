//! What a plan promises: any piece of the image before it is written, an error when content changed
//! meanwhile, and the same bytes for the same tree.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/pattern.rs"]
mod pattern;

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use iso9660::{Disk, Entry, Error, Fat, Guid, Image, Partition, Plan, Source, Tree};
use pattern::pattern;

/// Files at the limits of blocks, from memory, from the host and from readers.
fn tree(folder: &Path) -> Tree {
    let host = folder.join("host");
    std::fs::write(&host, pattern(600_001, 7)).unwrap();
    let lens = [0, 1, 511, 512, 513, 2047, 2048, 2049, 65_537];
    let tree = lens.into_iter().fold(Tree::new(), |tree, len| {
        tree.file(format!("lens/{len}.bin"), pattern(len, len as u64))
    });
    tree.file("EFI/BOOT/BOOTX64.EFI", b"MZ")
        .file("host.bin", Source::file(host))
        .file(
            "a reader of some length",
            Source::reader(70_000, || Ok(io::Cursor::new(pattern(70_000, 3)))),
        )
        .directory("empty")
}

/// One plan of every kind.
fn plans(folder: &Path) -> [(&'static str, Plan); 3] {
    let tree = tree(folder);
    let iso = Image::bootable(tree.clone()).unwrap().tree(
        Tree::new()
            .symlink("link", "EFI")
            .file("more", vec![9; 5000]),
    );
    let disk = Disk::new("disk")
        .partition(Partition::esp("EFI", Fat::new(tree.clone())))
        .partition(
            Partition::new(Guid::LINUX_DATA, "META")
                .content(b"meta")
                .len(1 << 20),
        );
    [
        ("ISO", iso.plan().unwrap()),
        ("FAT", Fat::new(tree).plan().unwrap()),
        ("disk", disk.plan().unwrap()),
    ]
}

fn bytes(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    plan.write_to(&mut out).unwrap();
    out
}

#[test]
fn any_piece_of_a_plan_is_that_of_the_written_image() {
    let folder = tempfile::tempdir().unwrap();
    for (name, plan) in plans(folder.path()) {
        let image = bytes(&plan);
        assert_eq!(image.len() as u64, plan.len(), "{name}");
        let file = folder.path().join("image");
        plan.write_file(&file).unwrap();
        assert!(
            std::fs::read(&file).unwrap() == image,
            "{name}: the file differs"
        );

        let mut whole = Vec::new();
        plan.reader().read_to_end(&mut whole).unwrap();
        assert!(whole == image, "{name}: the reader differs");

        let len = image.len();
        let mut ranges = vec![
            (0, 0),
            (0, len),
            (len, 1),
            (len - 1, 5),
            (len + 9, 9),
            (0, 1),
        ];
        // Where something begins: bytes of the head, then places where zeros end or begin.
        let edges = (1..len).filter(|&i| (image[i] == 0) != (image[i - 1] == 0));
        ranges.extend(edges.step_by(1009).take(40).map(|edge| (edge - 1, 3)));
        ranges.extend(
            (0..len)
                .step_by(len / 40 / 2048 * 2048 + 2048)
                .map(|at| (at, 2048)),
        );
        let random = pattern(7 * 60, 11);
        ranges.extend(random.chunks(7).map(|r| {
            let at = u32::from_le_bytes([r[0], r[1], r[2], r[3]]) as usize % len;
            let size = u32::from_le_bytes([r[4], r[5], r[6] & 3, 0]) as usize;
            (at, size)
        }));
        let mut reader = plan.reader();
        for (at, size) in ranges {
            let expected = &image[at.min(len)..(at + size).min(len)];
            let mut found = vec![0xEE; size];
            let n = plan.read_at(at as u64, &mut found).unwrap();
            assert!(
                &found[..n] == expected,
                "{name}: {size} bytes at {at} differ"
            );
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut found = Vec::new();
            reader
                .by_ref()
                .take(size as u64)
                .read_to_end(&mut found)
                .unwrap();
            assert!(
                found == expected,
                "{name}: {size} bytes at {at} differ in the reader"
            );
        }
    }
}

/// Plans with a file of the host in them, as ISO, FAT and disk.
fn plans_of(folder: &Path, content: &[u8]) -> Vec<Plan> {
    let host = folder.join("content");
    std::fs::write(&host, content).unwrap();
    let tree = Tree::new()
        .file("d/item", Source::file(host))
        .file("z", "z");
    let esp = Partition::esp("EFI", Fat::new(tree.clone()));
    vec![
        Image::new(tree.clone()).plan().unwrap(),
        Fat::new(tree).plan().unwrap(),
        Disk::new("disk").partition(esp).plan().unwrap(),
    ]
}

#[test]
fn content_that_changed_after_the_plan_is_an_error_that_names_it_and_leaves_no_file() {
    for len in [10usize, 3 << 20] {
        let folder = tempfile::tempdir().unwrap();
        for changed in [Some(0), Some(len - 1), Some(len + 1), None] {
            for plan in plans_of(folder.path(), &vec![1; len]) {
                let host = folder.path().join("content");
                match changed {
                    Some(other) => std::fs::write(&host, vec![1; other]).unwrap(),
                    None => drop(std::fs::remove_file(&host)),
                }
                let out = folder.path().join("out");
                std::fs::write(&out, "what was there").unwrap();
                let mut piece = vec![0; usize::try_from(plan.len()).unwrap()];
                let errors = [
                    plan.write_file(&out).unwrap_err(),
                    plan.write_to(&mut io::sink()).unwrap_err(),
                    plan.read_at(0, &mut piece).unwrap_err(),
                ];
                for error in errors {
                    assert!(error.is_io(), "{error}");
                    match (error, changed) {
                        (Error::Source { path, source }, None) => {
                            assert_eq!(path, "d/item");
                            assert_eq!(source.kind(), io::ErrorKind::NotFound);
                        }
                        (
                            Error::SourceChanged {
                                path,
                                planned,
                                found,
                            },
                            Some(other),
                        ) => {
                            assert_eq!((path.as_str(), planned), ("d/item", len as u64));
                            let other = other as u64;
                            let known = found == Some(other);
                            assert!(known || (found.is_none() && other > planned), "{found:?}");
                        }
                        (error, _) => panic!("{changed:?}: {error}"),
                    }
                }
                assert_eq!(std::fs::read(&out).unwrap(), b"what was there");
                std::fs::remove_file(&out).unwrap();
                assert!(plan.write_file(&out).is_err());
                let mut left: Vec<_> = std::fs::read_dir(folder.path())
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name())
                    .collect();
                left.retain(|name| name != "content");
                assert!(left.is_empty(), "{left:?}");
            }
        }
    }
}

#[test]
fn a_reader_of_another_length_is_an_error_that_names_it() {
    for (has, found) in [(9usize, Some(9)), (11, None)] {
        let source = Source::reader(10, move || Ok(io::Cursor::new(vec![1; has])));
        let plan = Image::new(Tree::new().file("item", source)).plan().unwrap();
        let error = plan.write_to(&mut io::sink()).unwrap_err();
        let text = match found {
            Some(_) => "\"item\" changed its length: planned 10 bytes, found 9",
            None => "\"item\" changed its length: planned 10 bytes, found more",
        };
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_in_whatever_order_it_was_named() {
    let names: Vec<String> = (0..40)
        .flat_map(|i| {
            [
                format!("d{}/a long name that is cut {i}", i % 7),
                format!("{i}"),
            ]
        })
        .collect();
    let add = |tree: Tree, name: &String| tree.file(name, name.as_str());
    let fixed = |tree: Tree| {
        tree.symlink("link", "d0")
            .hard_link("hard", "0")
            .entry("EFI/BOOT/BOOTX64.EFI", Entry::file(b"MZ"))
    };
    let forward = fixed(names.iter().fold(Tree::new(), add));
    let backward = names.iter().rev().fold(fixed(Tree::new()), add);
    let iso = |tree: &Tree| bytes(&Image::new(tree.clone()).plan().unwrap());
    assert!(iso(&forward) == iso(&backward));

    let forward = names
        .iter()
        .fold(Tree::new(), add)
        .file("EFI/BOOT/BOOTX64.EFI", b"MZ");
    let first = Tree::new().file("EFI/BOOT/BOOTX64.EFI", b"MZ");
    let backward = names.iter().rev().fold(first, add);
    let boot = |tree: &Tree| bytes(&Image::bootable(tree.clone()).unwrap().plan().unwrap());
    assert!(boot(&forward) == boot(&backward));
    let fat = |tree: &Tree| bytes(&Fat::new(tree.clone()).plan().unwrap());
    assert!(fat(&forward) == fat(&backward));
}

#[test]
fn folders_made_in_another_order_and_at_another_time_give_the_same_bytes() {
    let names = ["b", "a", "d/c", "d/a long name that needs another one", "Z"];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let write = |folder: &Path, name: &str, time: u64| {
        std::fs::create_dir_all(folder.join("d")).unwrap();
        let file = std::fs::File::create(folder.join(name)).unwrap();
        std::fs::write(folder.join(name), name).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        file.set_modified(time).unwrap();
    };
    for (i, name) in names.iter().enumerate() {
        write(folders[0].path(), name, 1_000_000_000);
        write(
            folders[1].path(),
            names[names.len() - 1 - i],
            1_700_000_000 + i as u64,
        );
    }
    let [one, two] = folders.each_ref().map(|folder| {
        let tree = Tree::from_dir(folder.path()).unwrap();
        let fat = bytes(&Fat::new(tree.clone()).plan().unwrap());
        (bytes(&Image::new(tree).plan().unwrap()), fat)
    });
    assert!(one == two);
}
