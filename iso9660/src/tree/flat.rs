//! A tree as lists, parents before children, with every length known.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Attributes, Content, Kind, ROOT, Tree, join, names};
use crate::Source;
use crate::error::{Error, text};

/// The lists.
pub(crate) struct Flat {
    /// Breadth first, the root first.
    pub(crate) directories: Vec<Directory>,
    pub(crate) files: Vec<File>,
}

pub(crate) struct Directory {
    pub(crate) path: Arc<[u8]>,
    pub(crate) parent: usize,
    /// Levels from the root, which is 1.
    pub(crate) depth: usize,
    pub(crate) attributes: Attributes,
    /// By the bytes of their names.
    pub(crate) children: Vec<Child>,
    /// How many of the children are directories.
    pub(crate) subdirectories: usize,
}

pub(crate) struct Child {
    pub(crate) name: Box<[u8]>,
    pub(crate) attributes: Attributes,
    pub(crate) target: Target,
}

pub(crate) enum Target {
    /// Index in [`Flat::directories`].
    Directory(usize),
    /// Index in [`Flat::files`].
    File(usize),
    Symlink(Box<[u8]>),
}

/// Content, under one name or several.
pub(crate) struct File {
    pub(crate) path: Arc<[u8]>,
    pub(crate) source: Source,
    pub(crate) len: u64,
    pub(crate) links: u32,
    pub(crate) in_esp: bool,
    pub(crate) attributes: Attributes,
}

/// A child whose file is found once all files have their numbers.
struct Link {
    directory: usize,
    child: usize,
    path: Vec<u8>,
    target: Box<[u8]>,
}

impl Flat {
    /// Lists a tree and measures its sources.
    pub(crate) fn new(tree: &Tree) -> Result<Self, Error> {
        tree.check()?;
        let mut flat = Self {
            directories: Vec::new(),
            files: Vec::new(),
        };
        let root = tree.nodes.first();
        let mut nodes = vec![ROOT];
        flat.directories.push(Directory {
            path: Arc::from(&[][..]),
            parent: 0,
            depth: 1,
            attributes: root.map(|n| n.attributes.clone()).unwrap_or_default(),
            children: Vec::new(),
            subdirectories: 0,
        });
        let mut links = Vec::new();
        let mut at = 0;
        while let (Some(&node), Some(directory)) = (nodes.get(at), flat.directories.get(at)) {
            let (path, depth) = (directory.path.clone(), directory.depth);
            let entries = tree.children(node).into_iter().flatten();
            let (mut children, mut subdirectories) = (Vec::new(), 0);
            for (name, &id) in entries {
                let Some(node) = tree.nodes.get(id) else {
                    continue;
                };
                let path = join(&path, name);
                let target = match &node.kind {
                    Kind::Directory(_) => {
                        nodes.push(id);
                        flat.directories.push(Directory {
                            path: path.into(),
                            parent: at,
                            depth: depth + 1,
                            attributes: node.attributes.clone(),
                            children: Vec::new(),
                            subdirectories: 0,
                        });
                        subdirectories += 1;
                        Target::Directory(flat.directories.len() - 1)
                    }
                    Kind::Content(Content::File { source, in_esp }) => {
                        let len = source.measure(&path)?;
                        flat.files.push(File {
                            path: path.into(),
                            source: source.clone(),
                            len,
                            links: 1,
                            in_esp: *in_esp,
                            attributes: node.attributes.clone(),
                        });
                        Target::File(flat.files.len() - 1)
                    }
                    Kind::Content(Content::Symlink(target)) => Target::Symlink(target.clone()),
                    Kind::Content(Content::HardLink(target)) => {
                        links.push(Link {
                            directory: at,
                            child: children.len(),
                            path,
                            target: target.clone(),
                        });
                        Target::File(usize::MAX)
                    }
                };
                children.push(Child {
                    name: name.clone(),
                    attributes: node.attributes.clone(),
                    target,
                });
            }
            if let Some(directory) = flat.directories.get_mut(at) {
                directory.children = children;
                directory.subdirectories = subdirectories;
            }
            at += 1;
        }
        flat.resolve(links)?;
        Ok(flat)
    }

    /// Gives hard links the number of their file. A link may name another link.
    fn resolve(&mut self, mut links: Vec<Link>) -> Result<(), Error> {
        if links.is_empty() {
            return Ok(());
        }
        let mut by_path: HashMap<Vec<u8>, usize> = self
            .files
            .iter()
            .enumerate()
            .map(|(i, file)| (file.path.to_vec(), i))
            .collect();
        loop {
            let before = links.len();
            let mut open = Vec::new();
            for link in links {
                let target: Vec<&[u8]> = names(&link.target).collect();
                let Some(&file) = by_path.get(&target.join(&b'/')) else {
                    open.push(link);
                    continue;
                };
                let child = self
                    .directories
                    .get_mut(link.directory)
                    .and_then(|d| d.children.get_mut(link.child));
                if let (Some(child), Some(file_data)) = (child, self.files.get_mut(file)) {
                    file_data.links = file_data.links.saturating_add(1);
                    child.attributes = file_data.attributes.clone();
                    child.target = Target::File(file);
                }
                by_path.insert(link.path, file);
            }
            match open.first() {
                None => return Ok(()),
                Some(link) if open.len() == before => {
                    return Err(Error::LinkTarget {
                        path: text(&link.path),
                        target: text(&link.target),
                    });
                }
                Some(_) => links = open,
            }
        }
    }
}
