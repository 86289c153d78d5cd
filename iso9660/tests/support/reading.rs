//! Images for the tests of the readers.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses its part of this and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use iso9660::{Item, ItemKind};

pub(crate) fn vector_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

/// A vector. The larger ones are stored as their length and those sectors that are not zero, each
/// behind its number.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    if let Ok(bytes) = std::fs::read(vector_path(name)) {
        return bytes;
    }
    let stored = std::fs::read(vector_path(&name.replace(".iso", ".sectors"))).unwrap();
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    let mut out = vec![0; number(&stored)];
    for piece in stored[4..].chunks_exact(516) {
        let at = number(piece) * 512;
        out[at..at + 512].copy_from_slice(&piece[4..]);
    }
    out
}

/// Runs a tool in a folder; nothing when it is not installed, which only a test on a desk may get
/// away with.
pub(crate) fn tool(
    test: &str,
    program: &str,
    arguments: &[&str],
    folder: &Path,
) -> Option<Vec<u8>> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let status = output.status;
            assert!(
                status.success(),
                "{test}: {program} {arguments:?}: {status}: {said}"
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

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
}

pub(crate) type Nodes = BTreeMap<String, Node>;

/// The tree below a folder of the host.
pub(crate) fn nodes(folder: &Path) -> Nodes {
    let mut out = Nodes::new();
    collect(folder, "", &mut out);
    out
}

fn collect(folder: &Path, prefix: &str, out: &mut Nodes) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), &format!("{name}/"), out);
            out.insert(name, Node::Directory);
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap();
            let target = target.into_os_string().into_string().unwrap();
            out.insert(name, Node::Link(target.into_bytes()));
        } else {
            out.insert(name, Node::File(std::fs::read(entry.path()).unwrap()));
        }
    }
}

/// The tree that a reader gives; `content` reads a file.
pub(crate) fn read(items: &[Item], mut content: impl FnMut(&Item) -> Vec<u8>) -> Nodes {
    let mut out = Nodes::new();
    for item in items {
        let node = match &item.kind {
            ItemKind::Directory => Node::Directory,
            ItemKind::Symlink(target) => Node::Link(target.clone()),
            _ => Node::File(content(item)),
        };
        let before = out.insert(item.path_text(), node);
        assert_eq!(before, None, "{} is there twice", item.path_text());
    }
    out
}

/// Names of what differs between two trees, for messages.
pub(crate) fn difference(expected: &Nodes, found: &Nodes) -> Vec<String> {
    let names = expected.keys().chain(found.keys());
    let differing = names.filter(|name| expected.get(*name) != found.get(*name));
    let mut out: Vec<String> = differing.cloned().collect();
    out.sort();
    out.dedup();
    out
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Bytes that differ from their neighbours and between files.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i * 7 + seed * 13 + (i >> 8)).to_le_bytes()[0])
        .collect()
}
