//! A tree from a directory of the host.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::{Attributes, Content, ROOT, Tree, join};
use crate::error::{Error, text};
use crate::{Source, Timestamp};

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
        let mut links = HashMap::new();
        let mut pending = vec![(dir.to_path_buf(), ROOT, Vec::new())];
        while let Some((dir, id, path)) = pending.pop() {
            for (name, entry) in list(&dir)? {
                let host_path = entry.path();
                let path = join(&path, &name);
                let metadata = entry
                    .metadata()
                    .map_err(|e| host("cannot read the attributes of", &host_path, e))?;
                let attributes = attributes(&metadata);
                if metadata.is_dir() {
                    if let Some(id) = tree.add_directory(id, &name, attributes) {
                        pending.push((host_path, id, path));
                    }
                    continue;
                }
                let content = content(&path, host_path, &metadata, &mut links)?;
                tree.add_content(id, &name, attributes, content);
            }
        }
        Ok(tree)
    }
}

/// The entries of a host directory by the bytes of their names.
fn list(dir: &Path) -> Result<Vec<(Vec<u8>, fs::DirEntry)>, Error> {
    let failed = |e| host("cannot read directory", dir, e);
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = name_bytes(&entry.file_name())?;
        out.push((name, entry));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}

fn content(
    path: &[u8],
    host_path: PathBuf,
    metadata: &Metadata,
    links: &mut HashMap<(u64, u64), Box<[u8]>>,
) -> Result<Content, Error> {
    if metadata.is_symlink() {
        let target =
            fs::read_link(&host_path).map_err(|e| host("cannot read link", &host_path, e))?;
        return Ok(Content::Symlink(name_bytes(target.as_os_str())?.into()));
    }
    if !metadata.is_file() {
        return Err(Error::Unsupported {
            path: text(path),
            kind: "device, socket or pipe",
            format: "an image",
        });
    }
    if let Some(key) = link_key(metadata) {
        if let Some(first) = links.get(&key) {
            return Ok(Content::HardLink(first.clone()));
        }
        links.insert(key, path.into());
    }
    Ok(Content::File {
        source: Source::file(host_path),
        in_esp: false,
    })
}

fn host(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Host {
        doing,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(unix)]
fn name_bytes(name: &std::ffi::OsStr) -> Result<Vec<u8>, Error> {
    use std::os::unix::ffi::OsStrExt as _;
    Ok(name.as_bytes().to_vec())
}

#[cfg(not(unix))]
fn name_bytes(name: &std::ffi::OsStr) -> Result<Vec<u8>, Error> {
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
