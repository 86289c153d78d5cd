//! Trees that writers of images get wrong, for the foreign readers and for the kernel.

#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
}

/// A tree by path; directories on the way need not be named.
pub(crate) type OddTree = BTreeMap<Vec<u8>, Item>;

/// Content that tells which file it belongs to.
fn content(name: &[u8], len: usize) -> Vec<u8> {
    name.iter().copied().cycle().take(len).collect()
}

fn file(name: impl AsRef<[u8]>, len: usize) -> (Vec<u8>, Item) {
    let name = name.as_ref();
    (name.to_vec(), Item::File(content(name, len)))
}

fn files<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>) -> OddTree {
    let sizes = (1..).map(|n| n * 7 % 23);
    names
        .into_iter()
        .zip(sizes)
        .map(|(n, len)| file(n, len))
        .collect()
}

fn links(targets: &[(&str, &str)]) -> OddTree {
    let link = |&(name, target): &(&str, &str)| (name.into(), Item::Symlink(target.into()));
    targets.iter().map(link).collect()
}

/// All trees, by name.
pub(crate) fn odd_trees() -> Vec<(&'static str, OddTree)> {
    let level = |n: usize| format!("level-{n}/");
    let (x64, y103) = ("x".repeat(64), "y".repeat(103));
    let borders = [0, 2048, 4096, 65_536, 262_144, 524_288, 1 << 20];
    let borders = borders
        .into_iter()
        .flat_map(|n: usize| n.saturating_sub(1)..n + 2);
    let long_link = "a-directory/".repeat(80) + "file";
    vec![
        ("one file", files(["hello.txt"])),
        (
            "empty",
            [
                file("a", 0),
                file("b", 0),
                file("d/c", 0),
                ("e".into(), Item::Directory),
                ("f/g/h".into(), Item::Directory),
            ]
            .into(),
        ),
        (
            "borders",
            borders.map(|n| file(format!("n{n}"), n)).collect(),
        ),
        (
            "sorting by parts",
            files([
                "S2", "S2046", "A", "A_1", "A.B", "A_B.C", "A-B", "A.B.C", "S2.X", "S_2",
            ]),
        ),
        (
            "alike in the first letters",
            files((0..120).map(|n| format!("common-prefix-number-{n:03}.text"))),
        ),
        (
            "alike after folding",
            files([
                "readme", "README", "ReadMe", "read-me", "dir/x", "DIR/x", "Dir/X/y", "dir/X",
            ]),
        ),
        (
            "alike in the first 64 and 103",
            files((0..40).flat_map(|n| [format!("{x64}{n}.conf"), format!("{y103}{n}")])),
        ),
        (
            "alike in 8.3",
            files([
                "TALOS-~1.EFI",
                "talos-v1.9.0.efi",
                "talos-v1.9.1.efi",
                "Talos v1.efi",
                "LONGNA~1",
                "longname1",
                "longname2.x",
                "x.longext",
                "x.longexu",
                "X~1.LON",
                "a+b",
                "a=b",
                "a b",
            ]),
        ),
        (
            "many in one folder",
            files((0..1200).map(|n| format!("folder/file-{n}.dat"))),
        ),
        ("many folders", files((0..300).map(|n| format!("d{n}/e/f")))),
        (
            "deep",
            files([
                (0..40).map(level).collect::<String>() + "file",
                "level-0/rr_moved/x".to_owned(),
            ]),
        ),
        (
            "long names",
            files([
                "n".repeat(255),
                "n".repeat(254) + "m",
                "a".repeat(250) + ".text",
                format!("{0}/{0}/{0}/{0}/f", "deep".repeat(63)),
            ]),
        ),
        (
            "UTF-8",
            files([
                "grüße.txt",
                "日本語",
                "смесь/файл",
                "😀.bin",
                "é",
                "STRASSE",
                "straße",
                &"日".repeat(85),
                &"é".repeat(127),
                &"😀".repeat(63),
                "ﬁ",
                "İ",
                "ı",
            ]),
        ),
        ("two forms of one letter", files(["e\u{301}", "é"])),
        (
            "dots",
            files([
                ".hidden",
                "a.b.c.d",
                "..two",
                "...",
                "x..y",
                "no-extension",
                ".a.b",
                "_",
            ]),
        ),
        (
            "odd characters",
            files([
                "a b", "c;d", "e+f", "g#h", "i[j]", "k;1", "k", " first", "~", "$%&'", "(){}^@!`",
                "l,m",
            ]),
        ),
        (
            "not for FAT",
            files([
                "trailing.",
                "trailing ",
                "co:lon",
                "c*d?",
                "\"quoted\"",
                "back\\slash",
                "<>|",
                "tab\there",
            ]),
        ),
        (
            "not UTF-8",
            files([&b"\xFF\xFE"[..], b"ok\xE9", b"\x80/\x81", b"plain"]),
        ),
        (
            "symlinks",
            links(&[
                ("relative", "../x/../y"),
                ("absolute", "/etc/passwd"),
                ("here", "."),
                ("up", ".."),
                ("root", "/"),
                ("loop", "loop"),
                ("double", "a//b"),
                ("slash", "a/"),
                ("net", "//net/x"),
                ("dots", "./../.././x"),
                ("up-slash", "../"),
                ("many", "/a//b///c////"),
                ("spaces", "a b c"),
                ("utf-8", "grüße/日本"),
                ("long", &long_link),
                ("names", &format!("{0}/{0}", "n".repeat(255))),
                ("ups", &("../".repeat(300) + "z")),
                ("single", &("x/".repeat(500) + "y")),
                ("doubles", &"dir//".repeat(180)),
                ("248", &"s".repeat(248)),
                ("249", &"s".repeat(249)),
            ]),
        ),
        (
            "hard links",
            [
                file("first", 5000),
                ("d/second".into(), Item::HardLink("first".into())),
                ("a/third".into(), Item::HardLink("d/second".into())),
                file("empty", 0),
                ("empty too".into(), Item::HardLink("empty".into())),
            ]
            .into(),
        ),
    ]
}

/// The same with everything said: directories on the way, hard links as the files they are.
pub(crate) fn in_full(tree: &OddTree) -> OddTree {
    let mut out = OddTree::new();
    for (path, item) in tree {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            out.insert(path[..at].to_vec(), Item::Directory);
        }
        let mut item = item;
        while let Item::HardLink(target) = item {
            item = &tree[target];
        }
        out.insert(path.clone(), item.clone());
    }
    out
}

/// Makes the tree in a folder of the host.
pub(crate) fn write(tree: &OddTree, folder: &Path) {
    let at = |path: &[u8]| folder.join(OsStr::from_bytes(path));
    let mut later = Vec::new();
    for (path, item) in tree {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        match item {
            Item::File(content) => fs::write(at(path), content).unwrap(),
            Item::Directory => fs::create_dir_all(at(path)).unwrap(),
            Item::Symlink(target) => {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), at(path)).unwrap();
            }
            Item::HardLink(target) => later.push((at(path), target)),
        }
    }
    while let Some((path, target)) = later.pop() {
        match fs::hard_link(at(target), &path) {
            Ok(()) => {}
            // A link to a link that is not there yet.
            Err(_) => later.insert(0, (path, target)),
        }
    }
}

/// What stands in a folder of the host.
pub(crate) fn read(folder: &Path) -> OddTree {
    let mut out = OddTree::new();
    let mut pending = vec![(folder.to_path_buf(), PathBuf::new())];
    while let Some((folder, path)) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = path.join(entry.file_name());
            let kind = entry.file_type().unwrap();
            let item = if kind.is_dir() {
                pending.push((entry.path(), path.clone()));
                Item::Directory
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                Item::Symlink(target.into_os_string().into_vec())
            } else {
                Item::File(fs::read(entry.path()).unwrap())
            };
            out.insert(path.into_os_string().into_vec(), item);
        }
    }
    out
}

/// The paths at which two trees differ, for a message.
pub(crate) fn differences(expected: &OddTree, found: &OddTree) -> Vec<String> {
    let all = expected.keys().chain(found.keys());
    let differ = all.filter(|path| expected.get(*path) != found.get(*path));
    let name = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    let mut names: Vec<_> = differ.map(name).collect();
    names.sort();
    names.dedup();
    names
}
