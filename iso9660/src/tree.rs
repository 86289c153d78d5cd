//! The files, directories and links that go into an image.

mod directory;
mod entry;
mod flat;

use std::collections::BTreeMap;

pub use entry::Entry;
pub(crate) use entry::{Attributes, Content};
pub(crate) use flat::{Child, Flat, Target};

use crate::Source;
use crate::error::{Error, NameProblem, text};

/// The tree of an image: files, directories, symbolic and hard links, in memory by name only.
///
/// Paths are bytes with `/` between the names; a leading `/` makes no difference, and directories
/// that are missing on the way are made. The order of the calls makes no difference either. What is
/// wrong with a path is kept and reported when the image is planned.
///
/// ```
/// use iso9660::{Entry, Source, Tree};
///
/// let esp = Tree::new()
///     .file("EFI/BOOT/BOOTX64.EFI", Source::file("systemd-bootx64.efi"))
///     .file("EFI/Linux/linux.efi", Source::file("linux.efi"))
///     .file("loader/loader.conf", "timeout 10\n")
///     .entry("loader/random-seed", Entry::file(vec![0; 32]).read_only());
/// ```
#[derive(Debug, Clone)]
pub struct Tree {
    /// The root is the first.
    pub(crate) nodes: Vec<Node>,
    problem: Option<Problem>,
}

/// Index of a node in [`Tree::nodes`].
pub(crate) type NodeId = usize;

/// The root's place among the nodes.
pub(crate) const ROOT: NodeId = 0;

/// Levels below the root that a tree may have.
const MAX_DEPTH: usize = 4096;

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) attributes: Attributes,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Directory(BTreeMap<Box<[u8]>, NodeId>),
    Content(Content),
}

/// What was wrong with the first call that was wrong.
#[derive(Debug, Clone)]
enum Problem {
    Name(Vec<u8>, NameProblem),
    Duplicate(Vec<u8>),
    NotADirectory(Vec<u8>),
    TooDeep(Vec<u8>, usize),
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        let root = Node {
            attributes: Attributes::default(),
            kind: Kind::Directory(BTreeMap::new()),
        };
        Self {
            nodes: vec![root],
            problem: None,
        }
    }

    /// Adds a file with the default attributes.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, content: impl Into<Source>) -> Self {
        self.entry(path, Entry::file(content))
    }

    /// Adds a directory, which need not have anything in it.
    #[must_use]
    pub fn directory(self, path: impl AsRef<[u8]>) -> Self {
        self.entry(path, Entry::directory())
    }

    /// Adds a symbolic link to `target`, which need not exist. FAT has no such links.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl Into<Vec<u8>>) -> Self {
        self.entry(path, Entry::symlink(target))
    }

    /// Adds a second name for the file `existing` of this tree. FAT stores the content again.
    #[must_use]
    pub fn hard_link(self, path: impl AsRef<[u8]>, existing: impl Into<Vec<u8>>) -> Self {
        self.entry(path, Entry::hard_link(existing))
    }

    /// Adds an entry with its attributes.
    #[must_use]
    pub fn entry(mut self, path: impl AsRef<[u8]>, entry: Entry) -> Self {
        let path = path.as_ref();
        if let Err(problem) = self.insert(path, entry) {
            self.problem.get_or_insert(problem);
        }
        self
    }

    /// Adds a file or link, or puts it in the place of the one that has this path.
    #[must_use]
    pub fn replace(mut self, path: impl AsRef<[u8]>, entry: Entry) -> Self {
        let path = path.as_ref();
        let old = self.find(path, |_, _| false);
        match (old.and_then(|id| self.nodes.get_mut(id)), entry) {
            (
                Some(Node {
                    attributes,
                    kind: Kind::Content(old),
                }),
                Entry {
                    attributes: new_attributes,
                    content: Some(content),
                },
            ) => {
                *old = content;
                *attributes = new_attributes;
                self
            }
            (_, entry) => self.entry(path, entry),
        }
    }

    /// Adds everything that `other` holds. Directories of the same path become one, with the
    /// attributes of `other`; any other path that both have is an error.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        if let Some(problem) = other.problem {
            self.problem.get_or_insert(problem);
        }
        let mut nodes: Vec<Option<Node>> = other.nodes.into_iter().map(Some).collect();
        let mut pending = vec![(ROOT, ROOT, Vec::new())];
        while let Some((from, to, path)) = pending.pop() {
            let Some(Kind::Directory(children)) =
                nodes.get_mut(from).and_then(Option::take).map(|n| n.kind)
            else {
                continue;
            };
            for (name, child) in children {
                let child_path = join(&path, &name);
                let Some(node) = nodes.get_mut(child) else {
                    continue;
                };
                let moved = match node {
                    Some(Node {
                        attributes,
                        kind: Kind::Directory(_),
                    }) => self.add_directory(to, &name, attributes.clone()),
                    other => match other.take().map(|n| (n.attributes, n.kind)) {
                        Some((attributes, Kind::Content(content))) => {
                            self.add_content(to, &name, attributes, content)
                        }
                        _ => continue,
                    },
                };
                match moved {
                    Some(id) => pending.push((child, id, child_path)),
                    None => {
                        self.problem.get_or_insert(Problem::Duplicate(child_path));
                    }
                }
            }
        }
        self
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.problem.is_none()
    }

    /// The first thing that was wrong with a call.
    pub(crate) fn check(&self) -> Result<(), Error> {
        Err(match &self.problem {
            None => return Ok(()),
            Some(Problem::Name(path, reason)) => Error::Name {
                path: text(path),
                format: "a tree",
                reason: *reason,
            },
            Some(Problem::Duplicate(path)) => Error::Duplicate { path: text(path) },
            Some(Problem::NotADirectory(path)) => Error::NotADirectory { path: text(path) },
            Some(Problem::TooDeep(path, depth)) => Error::TooDeep {
                path: text(path),
                depth: *depth as u64,
                limit: MAX_DEPTH as u64,
            },
        })
    }

    /// The children of a directory.
    pub(crate) fn children(&self, id: NodeId) -> Option<&BTreeMap<Box<[u8]>, NodeId>> {
        match self.nodes.get(id).map(|node| &node.kind) {
            Some(Kind::Directory(children)) => Some(children),
            _ => None,
        }
    }

    /// The node at a path, its names compared as `fold` leaves them.
    pub(crate) fn find(&self, path: &[u8], same: fn(&[u8], &[u8]) -> bool) -> Option<NodeId> {
        let mut at = ROOT;
        for name in names(path) {
            let children = self.children(at)?;
            at = match children.get(name) {
                Some(id) => *id,
                None => *children.iter().find(|(other, _)| same(other, name))?.1,
            };
        }
        Some(at)
    }

    fn insert(&mut self, path: &[u8], entry: Entry) -> Result<(), Problem> {
        let mut all: Vec<&[u8]> = names(path).collect();
        let depth = all.len();
        if depth > MAX_DEPTH {
            return Err(Problem::TooDeep(path.to_vec(), depth));
        }
        for name in &all {
            check_name(name).map_err(|reason| Problem::Name(path.to_vec(), reason))?;
        }
        let Some(last) = all.pop() else {
            return match entry.content {
                // The root exists already; only its attributes can be given.
                None => {
                    if let Some(root) = self.nodes.get_mut(ROOT) {
                        root.attributes = entry.attributes;
                    }
                    Ok(())
                }
                Some(_) => Err(Problem::Name(path.to_vec(), NameProblem::Empty)),
            };
        };
        let mut at = ROOT;
        for (i, name) in all.iter().enumerate() {
            let existing = self.children(at).and_then(|c| c.get(*name)).copied();
            at = match existing {
                Some(id) if self.children(id).is_some() => Some(id),
                Some(_) => None,
                None => self.add_directory(at, name, Attributes::default()),
            }
            .ok_or_else(|| {
                let way: Vec<&[u8]> = all.iter().take(i + 1).copied().collect();
                Problem::NotADirectory(way.join(&b'/'))
            })?;
        }
        match entry.content {
            None => self.add_directory(at, last, entry.attributes),
            Some(content) => self.add_content(at, last, entry.attributes, content),
        }
        .map(|_| ())
        .ok_or_else(|| Problem::Duplicate(path.to_vec()))
    }

    /// Adds a directory or gives the one there is its attributes; none if the name is a file's.
    pub(crate) fn add_directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        attributes: Attributes,
    ) -> Option<NodeId> {
        if let Some(id) = self.children(parent)?.get(name).copied() {
            self.children(id)?;
            self.nodes.get_mut(id)?.attributes = attributes;
            return Some(id);
        }
        self.add(parent, name, attributes, Kind::Directory(BTreeMap::new()))
    }

    /// Adds a file or link; none if the name is taken.
    pub(crate) fn add_content(
        &mut self,
        parent: NodeId,
        name: &[u8],
        attributes: Attributes,
        content: Content,
    ) -> Option<NodeId> {
        if self.children(parent)?.contains_key(name) {
            return None;
        }
        self.add(parent, name, attributes, Kind::Content(content))
    }

    fn add(
        &mut self,
        parent: NodeId,
        name: &[u8],
        attributes: Attributes,
        kind: Kind,
    ) -> Option<NodeId> {
        let id = self.nodes.len();
        match self.nodes.get_mut(parent).map(|node| &mut node.kind) {
            Some(Kind::Directory(children)) => children.insert(name.into(), id),
            _ => return None,
        };
        self.nodes.push(Node { attributes, kind });
        Some(id)
    }
}

/// The names of a path.
pub(crate) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty())
}

/// A path one level deeper.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1 + name.len());
    if !path.is_empty() {
        out.extend_from_slice(path);
        out.push(b'/');
    }
    out.extend_from_slice(name);
    out
}

/// What no file system can hold.
fn check_name(name: &[u8]) -> Result<(), NameProblem> {
    if name == b"." || name == b".." {
        return Err(NameProblem::Reserved);
    }
    if name.len() > 255 {
        return Err(NameProblem::TooLong { limit: 255 });
    }
    if name.contains(&0) {
        return Err(NameProblem::Character { found: '\0' });
    }
    Ok(())
}
