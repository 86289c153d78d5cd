//! What `write_file` makes is what `write_to` gives, whatever the sources are and do meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/odd_trees.rs"]
mod odd_trees;
#[path = "support/pattern.rs"]
mod pattern;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use iso9660::{BiosBoot, Disk, Error, Fat, FatKind, Guid, Image, Partition, Plan, Source, Tree};
use pattern::pattern;

/// Length of the pieces that threads take, and from which on files get treatment of their own.
const PIECE: usize = 512 << 10;

/// Holds a written file to the forward pass; answers the file's metadata.
fn assert_written(name: &str, plan: &Plan, folder: &Path) -> fs::Metadata {
    let out = folder.join("out");
    plan.write_file(&out).unwrap();
    let mut expected = Vec::new();
    plan.write_to(&mut expected).unwrap();
    assert!(fs::read(&out).unwrap() == expected, "{name} differs");
    let metadata = fs::metadata(&out).unwrap();
    fs::remove_file(out).unwrap();
    metadata
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_odd_tree_is_written_to_a_file_as_in_one_pass() {
    for (name, tree) in odd_trees::odd_trees() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        odd_trees::write(&tree, &source);
        let tree = Tree::from_dir(&source).unwrap();
        assert_written(
            name,
            &Image::new(tree.clone()).plan().unwrap(),
            folder.path(),
        );
        if let Ok(plan) = Fat::new(tree.clone()).plan() {
            assert_written(name, &plan, folder.path());
            let boot = tree.file("EFI/BOOT/BOOTX64.EFI", "MZ");
            let boot = Image::bootable(boot).unwrap();
            assert_written(name, &boot.plan().unwrap(), folder.path());
        }
    }
}

#[test]
fn files_at_the_limits_of_pieces_are_written_as_in_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    for (i, pieces) in [1usize, 2, 5].into_iter().enumerate() {
        for len in [PIECE * pieces - 1, PIECE * pieces, PIECE * pieces + 1] {
            let host = folder.path().join(len.to_string());
            fs::write(&host, pattern(len, len as u64)).unwrap();
            tree = tree
                .file(format!("{i} host {len}"), Source::file(host))
                .file(
                    format!("{i} reader {len}"),
                    Source::reader(len as u64, move || {
                        Ok(io::Cursor::new(pattern(len, 1 + len as u64)))
                    }),
                )
                .file(format!("{i} empty {len}"), "")
                .file(format!("{i} small {len}"), pattern(3000, 2));
        }
    }
    assert_written(
        "the ISO",
        &Image::new(tree.clone()).plan().unwrap(),
        folder.path(),
    );
    for kind in [None, Some(FatKind::Fat32)] {
        let fat = Fat::new(tree.clone().file("EFI/BOOT/BOOTX64.EFI", "MZ"));
        let fat = kind.into_iter().fold(fat, Fat::kind);
        let image = Image::bootable(fat.clone()).unwrap();
        assert_written("the ISO that boots", &image.plan().unwrap(), folder.path());
        let disk = Disk::new("disk").partition(Partition::esp("EFI", fat));
        assert_written("the disk", &disk.plan().unwrap(), folder.path());
    }
}

#[test]
fn holes_anywhere_in_a_source_are_zeros_and_stay_holes() {
    let folder = tempfile::tempdir().unwrap();
    let mib = 1 << 20;
    let data = pattern(100_000, 5);
    for (name, places) in [
        ("all", vec![]),
        ("a hole at the end", vec![0]),
        ("a hole at the start", vec![8 * mib - 100_000]),
        ("holes around", vec![4 * mib + 3]),
        (
            "holes between",
            vec![0, 2 * mib - 1, 5 * mib, 8 * mib - 100_000],
        ),
    ] {
        let host = folder.path().join("host");
        let file = File::create(&host).unwrap();
        file.set_len(8 * mib).unwrap();
        for at in &places {
            file.write_all_at(&data, *at).unwrap();
        }
        // The place in the image is not at a page the second time.
        for neighbour in [0, 5000] {
            let tree = Tree::new()
                .file("EFI/BOOT/BOOTX64.EFI", pattern(neighbour, 8))
                .file("host", Source::file(&host))
                .file("next", pattern(70_000, 9));
            let iso = Image::new(tree.clone()).plan().unwrap();
            let metadata = assert_written(name, &iso, folder.path());
            let used = metadata.blocks() * 512;
            assert!(used < 2 * mib, "{name}: {used} bytes are used");
            let boot = Image::bootable(tree).unwrap().plan().unwrap();
            assert_written(name, &boot, folder.path());
        }
    }
}

#[test]
fn pipes_and_directories_in_the_place_of_a_file_are_errors_and_nothing_waits() {
    for len in [0, 10, 3 << 20] {
        for command in ["mkfifo", "mkdir"] {
            let folder = tempfile::tempdir().unwrap();
            let host = folder.path().join("content");
            fs::write(&host, pattern(len, 1)).unwrap();
            let tree = Tree::new().file("item", Source::file(&host));
            let plan = Image::new(tree).plan().unwrap();
            fs::remove_file(&host).unwrap();
            let made = Command::new(command).arg(&host).status().unwrap();
            assert!(made.success());
            let out = folder.path().join("out");
            if len == 0 && command == "mkfifo" {
                // A pipe that no one writes to is as empty as was planned.
                plan.write_file(&out).unwrap();
                continue;
            }
            for result in [plan.write_file(&out), plan.write_to(&mut io::sink())] {
                let error = result.unwrap_err();
                assert!(
                    error.is_io() && error.to_string().contains("\"item\""),
                    "{error}"
                );
            }
            assert_eq!(names(folder.path()), ["content"]);
        }
    }
}

#[test]
fn a_file_that_changes_while_it_is_written_is_an_error_or_came_too_late() {
    let lens = [0, 5 << 20, (5 << 20) + 1, 9 << 20];
    for (round, sparse) in (0..16).flat_map(|round| [(round, false), (round, true)]) {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("z");
        let len = 8 << 20;
        fs::write(&host, pattern(if sparse { 1 << 20 } else { len }, 3)).unwrap();
        let file = File::options().write(true).open(&host).unwrap();
        file.set_len(len as u64).unwrap();
        let tree = Tree::new().file("z", Source::file(&host));
        let plan = Image::new(tree).plan().unwrap();
        let mut expected = Vec::new();
        plan.write_to(&mut expected).unwrap();
        let out = folder.path().join("out");
        let (changed, wait) = (lens[round % 4], AtomicUsize::new(round * 2000));
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while wait.load(Ordering::Relaxed) > 0 {
                    wait.fetch_sub(1, Ordering::Relaxed);
                }
                file.set_len(changed).unwrap();
            });
            plan.write_file(&out)
        });
        match result {
            Ok(()) => assert!(fs::read(&out).unwrap() == expected, "{round}, {sparse}"),
            Err(Error::SourceChanged { path, planned, .. }) => {
                assert_eq!((path.as_str(), planned), ("z", len as u64));
                assert_eq!(names(folder.path()), ["z"]);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_reader_that_panics_ends_the_writing_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let open = || -> io::Result<io::Empty> { panic!("the reader's own fault") };
    let mut tree = Tree::new().file("m", Source::reader(5_000_000, open));
    for i in 0..20 {
        tree = tree.file(format!("a{i}"), pattern(PIECE, i));
        tree = tree.file(format!("z{i}"), pattern(PIECE, i));
    }
    let plan = Image::new(tree).plan().unwrap();
    let out = folder.path().join("out");
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| plan.write_file(&out)));
    let reason = result.unwrap_err();
    assert_eq!(reason.downcast_ref(), Some(&"the reader's own fault"));
    assert!(names(folder.path()).is_empty());
}

/// A reader that gives one byte at a time.
struct Slow(io::Cursor<Vec<u8>>);

impl io::Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(1);
        self.0.read(&mut buf[..len])
    }
}

#[test]
fn readers_may_give_little_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let slow = |len: usize| {
        Source::reader(len as u64, move || {
            Ok(Slow(io::Cursor::new(pattern(len, 4))))
        })
    };
    let tree = Tree::new()
        .file("a", slow(100))
        .file("b", slow(PIECE + 1))
        .file("c", "c")
        .file("d", slow(2048));
    assert_written(
        "the image",
        &Image::new(tree).plan().unwrap(),
        folder.path(),
    );
}

#[test]
fn kernel_files_whose_length_is_not_true_are_errors_that_name_them() {
    if !Path::new("/proc/self/status").exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new().file("status", Source::file("/proc/self/status"));
    let plan = Image::new(tree).plan().unwrap();
    let error = plan.write_file(folder.path().join("out")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"status\" changed its length: planned 0 bytes, found more"
    );
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_full_device_is_an_error_of_the_output() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let tree = Tree::new().file("a", pattern(PIECE * 3, 1));
    let plan = Image::new(tree).plan().unwrap();
    match plan.write_file("/dev/full").unwrap_err() {
        Error::Output { source, .. } => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
        error => panic!("{error}"),
    }
}

#[test]
fn a_link_stays_a_link_and_what_it_names_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    fs::create_dir(folder.path().join("d")).unwrap();
    std::os::unix::fs::symlink("d/second", &link).unwrap();
    std::os::unix::fs::symlink("image", folder.path().join("d/second")).unwrap();
    let plan = Image::new(Tree::new().file("a", "a")).plan().unwrap();
    // The first time there is no such file.
    for _ in 0..2 {
        plan.write_file(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(&folder.path().join("d")), ["image", "second"]);
        let written = fs::metadata(folder.path().join("d/image")).unwrap();
        assert_eq!(written.len(), plan.len());
    }
    // A link to itself leads nowhere.
    fs::remove_file(folder.path().join("d/second")).unwrap();
    std::os::unix::fs::symlink("second", folder.path().join("d/second")).unwrap();
    assert!(plan.write_file(&link).is_err());
}

#[test]
fn a_file_opened_for_appending_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::write(&out, "what was there").unwrap();
    let file = File::options().append(true).open(&out).unwrap();
    let plan = Image::new(Tree::new().file("a", "a")).plan().unwrap();
    match plan.write_to_file(&file).unwrap_err() {
        Error::Output { offset: 0, source } => {
            assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
        }
        error => panic!("{error}"),
    }
    assert_eq!(fs::read(&out).unwrap(), b"what was there");
}

#[test]
fn a_bios_boot_image_of_another_length_than_planned_is_an_error() {
    for (has, found) in [(9u64, Some(9)), (5000, None)] {
        let source = Source::reader(10, move || Ok(io::repeat(1).take(has)));
        let image = Image::new(Tree::new().file("a", "a")).bios_boot(BiosBoot::new(source));
        match image.plan().unwrap_err() {
            Error::SourceChanged {
                path,
                planned: 10,
                found: other,
            } => assert_eq!((path.as_str(), other), ("BIOS boot image", found)),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn readers_that_are_not_as_long_as_they_say_share_nothing_with_the_system_partition() {
    let reader = |has: u64| Source::reader(5000, move || Ok(io::repeat(7).take(has)));
    let esp = || Tree::new().file("EFI/BOOT/BOOTX64.EFI", "MZ");
    for (in_esp, in_tree) in [(5000, 4000), (5000, 6000)] {
        let image = Image::bootable(esp().file("both", reader(in_esp)))
            .unwrap()
            .tree(Tree::new().file("both", reader(in_tree)));
        let error = image.plan().unwrap().write_to(&mut io::sink()).unwrap_err();
        match error {
            Error::SourceChanged { path, planned, .. } => {
                assert_eq!((path.as_str(), planned), ("both", 5000));
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_file_measured_twice_with_two_lengths_is_an_error_that_names_it() {
    for (first, second) in [(5000, 6000), (6000, 5000), (0, 5000), (5000, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("tree");
        fs::create_dir(&source).unwrap();
        let host = source.join("both");
        fs::write(&host, pattern(first, 1)).unwrap();
        let tree = Tree::from_dir(&source).unwrap();
        fs::write(&host, pattern(second, 1)).unwrap();
        let esp = Tree::new()
            .file("EFI/BOOT/BOOTX64.EFI", "MZ")
            .file("both", Source::file(&host));
        let image = Image::bootable(esp).unwrap().tree(tree);
        let error = match image.plan() {
            Ok(plan) => plan.write_to(&mut io::sink()).unwrap_err(),
            Err(error) => error,
        };
        match error {
            Error::SourceChanged { path, .. } => assert_eq!(path, "both"),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn absurd_lengths_are_errors_and_do_not_overflow() {
    let most = u64::MAX - u64::MAX % 4096;
    let partition = || Partition::new(Guid::LINUX_DATA, "META");
    let esp = || Fat::new(Tree::new().file("EFI/BOOT/BOOTX64.EFI", "MZ"));
    let huge = || Source::reader(most, || Ok(io::empty()));
    let plans = [
        Disk::new("d").partition(partition().len(u64::MAX)).plan(),
        Disk::new("d").partition(partition().len(most)).plan(),
        Disk::new("d")
            .partition(partition().len(1 << 63))
            .partition(partition().len(1 << 63))
            .plan(),
        Disk::new("d").partition(partition().content(huge())).plan(),
        Disk::new("d")
            .partition(Partition::esp("EFI", esp()).len(most))
            .plan(),
        esp().free_space(u64::MAX).plan(),
        Image::bootable(esp()).unwrap().padding(u64::MAX).plan(),
        Image::bootable(esp())
            .unwrap()
            .esp_alignment(1 << 63)
            .plan(),
        Image::new(Tree::new().file("a", huge())).plan(),
        Image::new(Tree::new())
            .bios_boot(BiosBoot::new(huge()))
            .plan(),
    ];
    for (i, plan) in plans.into_iter().enumerate() {
        assert!(plan.is_err(), "{i}");
    }
}
