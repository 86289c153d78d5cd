//! A tree from a directory of the host.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::{Attributes, Content, NodeId, ROOT, Tree, join};
use crate::error::{Error, text};
use crate::{Source, Timestamp, threads};

impl Tree {
    /// The tree below a directory of the host: names, attributes and links; content is opened only
    /// when it is written. Symbolic links stay links. Files with several names become hard links
    /// where the host tells them apart.
    ///
    /// ```no_run
    /// let tree = iso9660::Tree::from_dir("rootfs")?;
    /// iso9660::Image::new(tree).plan()?.write_file("rootfs.iso")?;
    /// # Ok::<(), iso9660::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Host`] when a directory cannot be listed, [`Error::Unsupported`] for devices,
    /// sockets and pipes, [`Error::Name`] for names that this host does not give as bytes.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let mut tree = Self::new();
        let metadata = fs::metadata(dir).map_err(|e| host("cannot read directory", dir, e))?;
        if let Some(root) = tree.nodes.get_mut(ROOT) {
            root.attributes = attributes(&metadata);
        }
        let mut links = Links::new();
        // Level by level, the directories of one level side by side.
        let mut level = vec![Found {
            host_path: dir.to_path_buf(),
            id: ROOT,
            path: Vec::new(),
        }];
        while !level.is_empty() {
            let lists = threads::map(&level, |found| list(&found.host_path));
            let mut below = Vec::new();
            for (found, entries) in level.into_iter().zip(lists) {
                for entry in entries? {
                    below.extend(tree.add_host_entry(&found, entry, &mut links)?);
                }
            }
            level = below;
        }
        Ok(tree)
    }

    /// Adds an entry of a host directory; answers the directory that it is.
    fn add_host_entry(
        &mut self,
        parent: &Found,
        entry: HostEntry,
        links: &mut Links,
    ) -> Result<Option<Found>, Error> {
        let path = join(&parent.path, &entry.name);
        let host_path = entry.host_path;
        let content = match entry.kind {
            HostKind::Directory => {
                let id = self.add_directory(parent.id, &entry.name, entry.attributes);
                return Ok(id.map(|id| Found {
                    host_path,
                    id,
                    path,
                }));
            }
            HostKind::Symlink(target) => Content::Symlink(target.into()),
            HostKind::File { len, link } => {
                let first = link.and_then(|link| links.get(&link));
                if let Some(first) = first {
                    Content::HardLink(first.clone())
                } else {
                    if let Some(link) = link {
                        links.insert(link, path.into());
                    }
                    Content::File {
                        source: Source::measured_file(host_path, len),
                        in_esp: false,
                    }
                }
            }
            HostKind::Other => {
                return Err(Error::Unsupported {
                    path: text(&path),
                    kind: "device, socket or pipe",
                    format: "an image",
                });
            }
        };
        self.add_content(parent.id, &entry.name, entry.attributes, content);
        Ok(None)
    }
}

/// The first name in the tree of each file that has several.
type Links = HashMap<(u64, u64), Box<[u8]>>;

/// A directory that is to be listed.
struct Found {
    host_path: PathBuf,
    id: NodeId,
    /// In the tree.
    path: Vec<u8>,
}

/// An entry of a host directory.
struct HostEntry {
    name: Vec<u8>,
    host_path: PathBuf,
    attributes: Attributes,
    kind: HostKind,
}

enum HostKind {
    Directory,
    File {
        len: u64,
        /// What the names of one file have in common, if it has several.
        link: Option<(u64, u64)>,
    },
    Symlink(Vec<u8>),
    Other,
}

/// The entries of a host directory by the bytes of their names.
fn list(dir: &Path) -> Result<Vec<HostEntry>, Error> {
    let failed = |e| host("cannot read directory", dir, e);
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let host_path = dir.join(&name);
        let metadata = entry
            .metadata()
            .map_err(|e| host("cannot read the attributes of", &host_path, e))?;
        let kind = if metadata.is_dir() {
            HostKind::Directory
        } else if metadata.is_file() {
            HostKind::File {
                len: metadata.len(),
                link: link_key(&metadata),
            }
        } else if metadata.is_symlink() {
            let target =
                fs::read_link(&host_path).map_err(|e| host("cannot read link", &host_path, e))?;
            HostKind::Symlink(name_bytes(target.into_os_string())?)
        } else {
            HostKind::Other
        };
        out.push(HostEntry {
            name: name_bytes(name)?,
            host_path,
            attributes: attributes(&metadata),
            kind,
        });
    }
    out.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

fn host(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Host {
        doing,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(unix)]
fn name_bytes(name: OsString) -> Result<Vec<u8>, Error> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(name.into_vec())
}

#[cfg(not(unix))]
fn name_bytes(name: OsString) -> Result<Vec<u8>, Error> {
    match name.to_str() {
        Some(name) => Ok(name.replace('\\', "/").into_bytes()),
        None => Err(Error::Name {
            path: name.to_string_lossy().into_owned(),
            format: "a tree",
            reason: crate::NameProblem::NotUnicode,
        }),
    }
}

/// What files with several names have in common.
#[cfg(unix)]
fn link_key(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn link_key(_: &Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(unix)]
fn attributes(metadata: &Metadata) -> Attributes {
    use std::os::unix::fs::MetadataExt as _;
    Attributes {
        mode: Some(metadata.mode() & 0o7777),
        uid: metadata.uid(),
        gid: metadata.gid(),
        modified: Some(Timestamp::from_unix(metadata.mtime())),
        ..Attributes::default()
    }
}

#[cfg(not(unix))]
fn attributes(metadata: &Metadata) -> Attributes {
    let modified = metadata.modified().ok().and_then(|time| {
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()
    });
    Attributes {
        modified: modified.map(Timestamp::from_unix),
        ..Attributes::default()
    }
}
