//! What the writers refuse, and that the error names the item.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/judge.rs"]
mod judge;

use iso9660::{Error, Fat, Image, Level, NameProblem, Source, Tree};

fn iso(tree: Tree) -> Error {
    Image::new(tree).plan().unwrap_err()
}

fn fat(tree: Tree) -> Error {
    Fat::new(tree).plan().unwrap_err()
}

/// A tree of so many directories, the root being one.
fn directories(count: usize) -> Tree {
    let outer = (0..255).map(|i| format!("d{i:03}"));
    let inner = (0..255 * 256).map(|i| format!("d{:03}/e{:03}", i / 256, i % 256));
    outer
        .chain(inner)
        .take(count - 1)
        .fold(Tree::new(), Tree::directory)
}

#[test]
fn more_directories_than_a_path_table_can_number_are_refused() {
    let error = iso(directories(65_536));
    assert_eq!(
        error.to_string(),
        "directories at \"d254/e255\" has 65536 entries, more than the 65535 that are possible"
    );
    let Error::TooMany {
        path, count, limit, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((path.as_str(), count, limit), ("d254/e255", 65_536, 65_535));
}

#[test]
fn as_many_directories_as_a_path_table_can_number_are_read() {
    let test = "as_many_directories_as_a_path_table_can_number_are_read";
    let folder = tempfile::tempdir().unwrap();
    let plan = Image::new(directories(65_535)).plan().unwrap();
    plan.write_file(folder.path().join("image.iso")).unwrap();
    // Rock Ridge first, then Joliet.
    for options in ["", "!rockridge"] {
        let arguments = ["-tf", "image.iso", "--options", options];
        if let Some(said) = judge::text(test, "bsdtar", &arguments, folder.path()) {
            assert_eq!(said.lines().count(), 65_535);
            assert!(said.lines().any(|line| line == "d254/e254"));
        }
    }
}

#[test]
fn names_that_no_image_can_hold_are_refused() {
    let long = "n".repeat(256);
    for (path, reason, text) in [
        (
            "d/../x",
            NameProblem::Reserved,
            "it is reserved for the directory itself and its parent",
        ),
        ("", NameProblem::Empty, "it is empty"),
        (
            "a\0b",
            NameProblem::Character { found: '\0' },
            "it contains '\\0'",
        ),
        (
            long.as_str(),
            NameProblem::TooLong { limit: 255 },
            "it is longer than 255",
        ),
    ] {
        let error = iso(Tree::new().file(path, "x"));
        let expected = format!("name of {path:?} cannot be stored in a tree: {text}");
        assert_eq!(error.to_string(), expected);
        let Error::Name { reason: found, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(found, reason);
    }
}

#[test]
fn names_that_fat_cannot_hold_are_refused() {
    let cases: [(&[u8], NameProblem); 5] = [
        (b"d/x:y", NameProblem::Character { found: ':' }),
        (b"d/\xFF", NameProblem::NotUnicode),
        (b"d/dot.", NameProblem::TrailingDotOrSpace),
        (b"d/space ", NameProblem::TrailingDotOrSpace),
        (b"d/line\nfeed", NameProblem::Character { found: '\n' }),
    ];
    for (name, expected) in cases {
        match fat(Tree::new().file(name, "x")) {
            Error::Name {
                path,
                format: "FAT",
                reason,
            } => {
                assert_eq!(path, String::from_utf8_lossy(name));
                assert_eq!(reason, expected);
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn names_that_differ_in_case_are_one_in_fat_and_two_in_iso_9660() {
    let tree = Tree::new().file("d/Grüße", "1").file("d/GRÜßE", "2");
    assert!(Image::new(tree.clone()).plan().is_ok());
    let error = fat(tree);
    assert_eq!(
        error.to_string(),
        "\"d/GRÜßE\" and \"d/Grüße\" are one name in FAT, which ignores case"
    );
    assert!(matches!(error, Error::NameCollision { format: "FAT", .. }));
}

#[test]
fn paths_that_contradict_each_other_are_refused() {
    let error = iso(Tree::new().file("a/b", "1").file("/a//b", "2"));
    assert!(
        matches!(error, Error::Duplicate { ref path } if path == "/a//b"),
        "{error}"
    );
    let error = iso(Tree::new().file("a/b", "1").file("a/b/c", "2"));
    assert_eq!(
        error.to_string(),
        "\"a/b\" is not a directory, but has entries below it"
    );
    assert!(matches!(error, Error::NotADirectory { path } if path == "a/b"));
}

#[test]
fn links_that_lead_nowhere_or_cannot_be_stored_are_refused() {
    let circle = Tree::new().hard_link("a", "b").hard_link("b", "a");
    assert!(matches!(iso(circle), Error::LinkTarget { .. }));
    let error = iso(Tree::new().directory("d").hard_link("d/l", "d"));
    assert_eq!(
        error.to_string(),
        "hard link \"d/l\" names \"d\", which is not a file of the tree"
    );
    let error = iso(Tree::new().symlink("d/l", ""));
    assert_eq!(
        error.to_string(),
        "name of \"d/l\" cannot be stored in Rock Ridge: its target cannot be stored"
    );
    let link = Tree::new().symlink("d/l", "x");
    let error = Image::new(link.clone())
        .rock_ridge(false)
        .plan()
        .unwrap_err();
    assert!(
        matches!(error, Error::Unsupported { ref path, .. } if path == "d/l"),
        "{error}"
    );
    assert_eq!(
        fat(link).to_string(),
        "\"d/l\" is a symbolic link, which FAT cannot hold"
    );
}

#[test]
fn files_larger_than_the_format_are_refused() {
    let file = |len| Tree::new().file("d/big", Source::reader(len, || Ok(std::io::repeat(0))));
    let error = fat(file(1 << 32));
    assert_eq!(
        error.to_string(),
        "\"d/big\" has 4294967296 bytes, more than the 4294967295 that FAT can hold"
    );
    assert!(matches!(
        error,
        Error::FileTooLarge {
            len: 0x1_0000_0000,
            limit: 0xFFFF_FFFF,
            ..
        }
    ));
    assert!(Fat::new(file((1 << 32) - 1)).plan().is_ok());
    let error = Image::new(file(1 << 32))
        .level(Level::Two)
        .plan()
        .unwrap_err();
    assert!(
        matches!(error, Error::FileTooLarge { ref path, .. } if path == "d/big"),
        "{error}"
    );
    assert!(Image::new(file(1 << 32)).plan().is_ok());
    let error = iso(file(1 << 60));
    assert!(
        matches!(error, Error::FileTooLarge { .. } | Error::TooLarge { .. }),
        "{error}"
    );
}

#[test]
fn labels_that_have_no_place_are_refused() {
    let long = "V".repeat(33);
    for (text, expected) in [
        (long.as_str(), NameProblem::TooLong { limit: 32 }),
        ("Zürich", NameProblem::Character { found: 'ü' }),
        ("a\nb", NameProblem::Character { found: '\n' }),
    ] {
        let image = Image::new(Tree::new()).volume_id(text);
        match image.plan().unwrap_err() {
            Error::Label {
                what: "volume identifier",
                text: found,
                reason,
            } => assert_eq!((found.as_str(), reason), (text, expected)),
            error => panic!("{error}"),
        }
    }
    for text in ["TWELVECHARSX", "lower", "A.B"] {
        let error = Fat::new(Tree::new()).label(text).plan().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Label {
                    what: "FAT label",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn strict_depth_names_the_directory_that_is_too_deep() {
    let tree = Tree::new().file("1/2/3/4/5/6/7/8/file", "x");
    assert!(Image::new(tree.clone()).plan().is_ok());
    let error = Image::new(tree).strict_depth(true).plan().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"1/2/3/4/5/6/7/8\" lies 9 levels deep, more than 8"
    );
}
