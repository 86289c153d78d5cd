//! A tree, and what a reader must find of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use iso9660::{Entry, Item, ItemKind, Timestamp, Tree};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::names;

/// Paths with what they stand for. Every parent is there too.
pub type Nodes = BTreeMap<Vec<u8>, Node>;

#[derive(Debug, Clone)]
pub struct Node {
    pub kind: Kind,
    pub attributes: Attributes,
    /// A hard link to a file that comes under another name.
    pub is_link: bool,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Directory,
    /// Names of one file have the same number.
    File(Arc<[u8]>, usize),
    Symlink(Vec<u8>),
}

#[derive(Debug, Clone, Default)]
pub struct Attributes {
    pub mode: Option<u32>,
    pub owner: (u32, u32),
    pub modified: Option<i64>,
    pub is_read_only: bool,
    pub is_hidden: bool,
    pub is_system: bool,
}

impl Attributes {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        if u.ratio(3, 4)? {
            return Ok(Self::default());
        }
        Ok(Self {
            mode: u
                .arbitrary::<Option<u16>>()?
                .map(|mode| u32::from(mode) & 0o7777),
            owner: u.arbitrary()?,
            // From 1980 to 2106, the years that all formats have.
            modified: u
                .arbitrary::<Option<u32>>()?
                .map(|t| i64::from(t.max(1 << 29))),
            is_read_only: u.arbitrary()?,
            is_hidden: u.arbitrary()?,
            is_system: u.arbitrary()?,
        })
    }

    fn apply(&self, mut entry: Entry) -> Entry {
        if let Some(mode) = self.mode {
            entry = entry.mode(mode);
        }
        if let Some(time) = self.modified {
            entry = entry.modified(Timestamp::from_unix(time));
        }
        entry = entry.owner(self.owner.0, self.owner.1);
        if self.is_read_only {
            entry = entry.read_only();
        }
        if self.is_hidden {
            entry = entry.hidden();
        }
        if self.is_system {
            entry = entry.system();
        }
        entry
    }
}

/// What a tree is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum For {
    Iso,
    Fat,
    Esp,
}

/// A tree and its nodes. `next` numbers the files.
pub fn tree(u: &mut Unstructured<'_>, purpose: For, next: &mut usize) -> Result<(Tree, Nodes)> {
    let mut nodes = Nodes::new();
    let mut entries: Vec<(Vec<u8>, Entry)> = Vec::new();
    if purpose == For::Esp {
        let path = *u.choose(&["EFI/BOOT/BOOTX64.EFI", "efi/boot/bootaa64.efi"])?;
        let (source, content) = (boot_file(path), boot_file(path).into());
        add_parents(&mut nodes, path.as_bytes());
        let kind = Kind::File(content, number(next));
        let node = Node {
            kind,
            attributes: Attributes::default(),
            is_link: false,
        };
        nodes.insert(path.into(), node);
        entries.push((path.into(), Entry::file(source)));
    }
    let most = if u.ratio(1, 16)? { 200 } else { 12 };
    let count = u.int_in_range(0..=most)?;
    for _ in 0..count {
        if u.is_empty() {
            break;
        }
        let path = path(u, &nodes, purpose)?;
        if nodes.contains_key(&path) || !has_room(&nodes, &path) {
            continue;
        }
        let mut attributes = Attributes::arbitrary(u)?;
        let mut is_link = false;
        let (kind, entry) = match u.int_in_range(0..=9)? {
            0 | 1 => (Kind::Directory, Entry::directory()),
            2 if purpose == For::Iso => {
                let target = target(u)?;
                (Kind::Symlink(target.clone()), Entry::symlink(target))
            }
            3 | 4 if nodes.values().any(|n| matches!(n.kind, Kind::File(..))) => {
                let is_file = |n: &&Node| matches!(n.kind, Kind::File(..));
                let files: Vec<_> = nodes.iter().filter(|(_, n)| is_file(n)).collect();
                let (existing, node) = *u.choose(&files)?;
                attributes = node.attributes.clone();
                is_link = true;
                let mut named = existing.clone();
                if u.ratio(1, 4)? {
                    named.insert(0, b'/');
                }
                (node.kind.clone(), Entry::hard_link(named))
            }
            _ => {
                let (source, content) = names::content(u)?;
                (Kind::File(content, number(next)), Entry::file(source))
            }
        };
        entries.push((path.clone(), attributes.apply(entry)));
        add_parents(&mut nodes, &path);
        nodes.insert(
            path,
            Node {
                kind,
                attributes,
                is_link,
            },
        );
    }
    // The order makes no difference.
    if u.arbitrary()? {
        entries.reverse();
    }
    let add = |tree: Tree, (path, entry): (Vec<u8>, Entry)| tree.entry(path, entry);
    Ok((entries.into_iter().fold(Tree::new(), add), nodes))
}

fn number(next: &mut usize) -> usize {
    *next += 1;
    *next
}

fn path(u: &mut Unstructured<'_>, nodes: &Nodes, purpose: For) -> Result<Vec<u8>> {
    let mut path = Vec::new();
    if !nodes.is_empty() && u.ratio(1, 2)? {
        let all: Vec<&Vec<u8>> = nodes.keys().collect();
        path.clone_from(u.choose(&all)?);
    }
    let is_plain = purpose != For::Iso && u.ratio(63, 64)?;
    let most = if u.ratio(1, 16)? { 10 } else { 2 };
    for _ in 0..u.int_in_range(1..=most)? {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(names::name(u, is_plain)?);
    }
    Ok(path)
}

/// Parents of a path, itself left out.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    slashes.map(|(i, _)| &path[..i])
}

fn has_room(nodes: &Nodes, path: &[u8]) -> bool {
    let is_directory = |parent| nodes.get(parent).is_none_or(Node::is_directory);
    parents(path).all(is_directory)
}

fn add_parents(nodes: &mut Nodes, path: &[u8]) {
    for parent in parents(path) {
        nodes.entry(parent.to_vec()).or_insert_with(|| Node {
            kind: Kind::Directory,
            attributes: Attributes::default(),
            is_link: false,
        });
    }
}

/// The target of a symbolic link; some are such that no Rock Ridge image can hold them.
fn target(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    if u.ratio(1, 4)? {
        out.push(b'/');
    }
    for i in 0..u.int_in_range(1..=5)? {
        if i > 0 {
            out.push(b'/');
        }
        match u.int_in_range(0..=3)? {
            0 => out.extend(b".."),
            1 => out.push(b'.'),
            _ => out.extend(names::name(u, false)?),
        }
    }
    Ok(out)
}

/// The beginning of an EFI image for the machine in a boot file's name.
fn boot_file(path: &str) -> Vec<u8> {
    let machine = if path.contains("64.EFI") {
        0x8664u16
    } else {
        0xAA64
    };
    let mut out = names::pattern(9, 3000);
    out[..2].copy_from_slice(b"MZ");
    out[60..64].copy_from_slice(&64u32.to_le_bytes());
    out[64..68].copy_from_slice(b"PE\0\0");
    out[68..70].copy_from_slice(&machine.to_le_bytes());
    out
}

impl Node {
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// Time in a volume of such a time.
    pub fn time(&self, volume: i64, keep: bool) -> i64 {
        let modified = self.attributes.modified.filter(|_| keep);
        modified.map_or(volume, |time| time.min(volume))
    }
}

/// What was found: kind and content.
pub type Found = BTreeMap<Vec<u8>, (Item, Vec<u8>)>;

/// Asserts that exactly the paths and contents of a tree were found.
pub fn assert_same(nodes: &Nodes, found: &Found, what: &str) {
    let missing: Vec<_> = nodes
        .keys()
        .filter(|path| !found.contains_key(*path))
        .collect();
    let surplus: Vec<_> = found
        .keys()
        .filter(|path| !nodes.contains_key(*path))
        .collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{what}: {missing:?} not found, {surplus:?} found"
    );
    for (path, node) in nodes {
        let (item, content) = &found[path];
        match (&node.kind, &item.kind) {
            (Kind::Directory, ItemKind::Directory) => {}
            (Kind::File(expected, _), ItemKind::File) => {
                assert!(expected.as_ref() == content, "{what}: content of {path:?}");
            }
            (Kind::Symlink(expected), ItemKind::Symlink(target)) => {
                assert_eq!(expected, target, "{what}: target of {path:?}");
            }
            (expected, found) => panic!("{what}: {path:?} is {found:?} instead of {expected:?}"),
        }
    }
}

/// A number for the shape of a tree with its contents, whatever the names.
pub fn shape(nodes: &Nodes) -> u64 {
    let form = |node: &Node| match &node.kind {
        Kind::Directory => None,
        Kind::File(content, _) => Some(content.to_vec()),
        // Where there is no Rock Ridge, a link shows as an empty file.
        Kind::Symlink(_) => Some(Vec::new()),
    };
    shape_of(
        nodes
            .iter()
            .map(|(path, node)| (path.clone(), form(node)))
            .collect(),
    )
}

/// The same of what was found.
pub fn found_shape(found: &Found) -> u64 {
    let form = |item: &Item, content: &Vec<u8>| (!item.is_directory()).then(|| content.clone());
    let forms = found
        .iter()
        .map(|(path, (item, content))| (path.clone(), form(item, content)));
    shape_of(forms.collect())
}

fn shape_of(forms: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> u64 {
    let hash = |value: (Option<&Vec<u8>>, &[u64])| {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        hasher.finish()
    };
    let mut below: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    // Longer paths first: children come before their parents.
    let mut paths: Vec<_> = forms.into_iter().collect();
    paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    for (path, form) in paths {
        let mut children = below.remove(&path).unwrap_or_default();
        children.sort_unstable();
        let parent = parents(&path).last().unwrap_or(b"").to_vec();
        below
            .entry(parent)
            .or_default()
            .push(hash((form.as_ref(), &children)));
    }
    let mut root = below.remove(&b""[..]).unwrap_or_default();
    root.sort_unstable();
    hash((None, &root))
}
