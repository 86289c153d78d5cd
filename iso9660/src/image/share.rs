//! Files that are in the ESP and in the ISO tree.

use std::io::{self, Read as _};

use crate::error::{Error, text};
use crate::tree::{Content, Kind, Node, ROOT, Tree, join, names};
use crate::{Source, source};

impl Tree {
    /// Adds the files of the ESP to an ISO tree. A file that both have keeps the ISO tree's content;
    /// if that is the same, it is stored in the ESP only when `possible`.
    pub(super) fn show_esp(&mut self, esp: &Self, possible: bool) -> Result<(), Error> {
        // Nodes that are added get the numbers from here on.
        let first_of_esp = self.nodes.len();
        let mut pending = vec![(ROOT, ROOT, Vec::new())];
        while let Some((from, to, path)) = pending.pop() {
            for (name, &child) in esp.children(from).into_iter().flatten() {
                let Some(node) = esp.nodes.get(child) else {
                    continue;
                };
                let path = join(&path, name);
                let own = self.children(to).and_then(|c| c.get(name)).copied();
                let conflict = || Error::NotADirectory { path: text(&path) };
                match (&node.kind, own) {
                    (Kind::Directory(_), _) => {
                        let id = match own {
                            Some(id) if self.children(id).is_some() => id,
                            Some(_) => return Err(conflict()),
                            None => self
                                .add_directory(to, name, node.attributes.clone())
                                .ok_or_else(conflict)?,
                        };
                        pending.push((child, id, path));
                    }
                    (Kind::Content(content), None) => {
                        let (mut content, mut attributes) =
                            (content.clone(), node.attributes.clone());
                        if let Content::HardLink(target) = &mut content
                            && let Some((path, file)) = esp.linked_file(target)
                        {
                            *target = path.into();
                            let other = self.find(target, |_, _| false);
                            // Where the ISO tree has something else under the file's name, the
                            // link still is what it is in the ESP.
                            if other.is_some_and(|id| id < first_of_esp)
                                && let Kind::Content(file_content) = &file.kind
                            {
                                content = file_content.clone();
                                attributes = file.attributes.clone();
                            }
                        }
                        if let Content::File { in_esp, .. } = &mut content {
                            *in_esp = possible;
                        }
                        self.add_content(to, name, attributes, content);
                    }
                    (Kind::Content(content), Some(id)) => {
                        let Some(own) = self.nodes.get_mut(id) else {
                            continue;
                        };
                        match (&mut own.kind, content) {
                            (Kind::Directory(_), _) => return Err(conflict()),
                            (
                                Kind::Content(Content::File { source, in_esp }),
                                Content::File { source: other, .. },
                            ) => *in_esp = possible && same_content(source, other, &path),
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The file that a hard link stands for, through further links, and its path.
    fn linked_file(&self, target: &[u8]) -> Option<(Vec<u8>, &Node)> {
        let mut target = target;
        // A chain longer than the tree is a circle.
        for _ in &self.nodes {
            let node = self.nodes.get(self.find(target, |_, _| false)?)?;
            match &node.kind {
                Kind::Content(Content::HardLink(next)) => target = next,
                Kind::Content(Content::File { .. }) => {
                    let names: Vec<&[u8]> = names(target).collect();
                    return Some((names.join(&b'/'), node));
                }
                _ => return None,
            }
        }
        None
    }
}

/// Whether two sources give the same bytes. What cannot be read is said when it is written.
fn same_content(a: &Source, b: &Source, path: &[u8]) -> bool {
    let (Ok(a_len), Ok(b_len)) = (a.measure(path), b.measure(path)) else {
        return false;
    };
    if a_len != b_len {
        return false;
    }
    if a.is_same(b) || is_one_file(a, b) {
        return true;
    }
    let (Ok(a), Ok(b)) = (a.open(), b.open()) else {
        return false;
    };
    let (mut a, mut b) = (a.take(a_len), b.take(b_len));
    let mut buffers = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let n = match a.read(&mut buffers.0) {
            // Content that ends early or goes on is not shared, so that writing it tells.
            Ok(0) => {
                return a.limit() == 0 && has_ended(a.into_inner()) && has_ended(b.into_inner());
            }
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        let (Some(x), Some(y)) = (buffers.0.get(..n), buffers.1.get_mut(..n)) else {
            return false;
        };
        if b.read_exact(y).is_err() || x != y {
            return false;
        }
    }
}

/// Whether a reader has nothing more to give.
fn has_ended(mut reader: impl io::Read) -> bool {
    reader.read(&mut [0]).is_ok_and(|n| n == 0)
}

/// Whether both are the same file of the host under two names.
#[cfg(unix)]
fn is_one_file(a: &Source, b: &Source) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (source::Kind::File { path: a, .. }, source::Kind::File { path: b, .. }) = (&a.0, &b.0)
    else {
        return false;
    };
    let number = |path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    number(a).is_some_and(|a| number(b) == Some(a))
}

#[cfg(not(unix))]
fn is_one_file(_: &Source, _: &Source) -> bool {
    false
}
