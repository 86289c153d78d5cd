//! Writes initramfs archives: cpio in its `newc` form, the same bytes for the same content.

use std::collections::BTreeMap;

/// What stands at a path.
#[derive(Debug, Clone)]
enum Node {
    Directory,
    File { mode: u32, content: Vec<u8> },
    Link(String),
}

/// A tree of files that becomes an archive. Folders above a file are made by themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    pub(crate) fn directory(&mut self, path: &str) {
        self.insert(path, Node::Directory);
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        self.insert(path, Node::File { mode, content });
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.insert(path, Node::Link(target.to_owned()));
    }

    pub(crate) fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path.trim_matches('/'))
    }

    fn insert(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            let above = path.get(..end).unwrap_or_default();
            self.nodes
                .entry(above.to_owned())
                .or_insert(Node::Directory);
        }
        self.nodes.insert(path.to_owned(), node);
    }

    /// The archive. A folder comes before what is in it, because paths are sorted.
    pub(crate) fn to_cpio(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (inode, (path, node)) in (1u32..).zip(&self.nodes) {
            let (mode, content) = match node {
                Node::Directory => (0o040_755, &[][..]),
                Node::File { mode, content } => (0o100_000 | mode, content.as_slice()),
                Node::Link(target) => (0o120_777, target.as_bytes()),
            };
            entry(&mut archive, inode, mode, path, content);
        }
        entry(&mut archive, 0, 0, "TRAILER!!!", &[]);
        archive
    }
}

fn entry(archive: &mut Vec<u8>, inode: u32, mode: u32, path: &str, content: &[u8]) {
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let size = content.len();
    let name_len = path.len().saturating_add(1);
    let header = format!(
        "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_len:08x}{0:08x}",
        0
    );
    archive.extend(header.as_bytes());
    archive.extend(path.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend(content);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_their_files() {
        let mut tree = Tree::default();
        tree.file("/a/b/c", 0o644, b"x".to_vec());
        let archive = tree.to_cpio();
        let names: Vec<usize> = ["a\0", "a/b\0", "a/b/c\0"]
            .iter()
            .map(|name| find(&archive, name.as_bytes()))
            .collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn every_part_is_aligned_to_four_bytes() {
        let mut tree = Tree::default();
        tree.file("odd", 0o755, b"12345".to_vec());
        let archive = tree.to_cpio();
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(find(&archive, b"12345") % 4, 0);
        assert_eq!(&archive[..14], b"07070100000001");
    }

    fn find(archive: &[u8], text: &[u8]) -> usize {
        archive
            .windows(text.len())
            .position(|window| window == text)
            .unwrap()
    }
}
