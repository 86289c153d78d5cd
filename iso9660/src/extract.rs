//! Copying a tree out of an image.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::item::{Item, ItemKind};
use crate::{IsoReader, Namespace};

impl<R: Read + Seek> IsoReader<R> {
    /// Makes the files, directories and links of a tree below a directory, which is made if it does
    /// not exist. Nothing that exists is overwritten or followed, nothing is made outside of it;
    /// links are made last, so that no file is written through one. Devices and pipes are left out.
    /// Plain ISO 9660 names lose their versions.
    ///
    /// # Errors
    ///
    /// [`Error::Extract`] for paths that must not be made, [`Error::Host`] when the host refuses,
    /// and what [`IsoReader::items`] and [`IsoReader::copy_to`] say.
    pub fn extract(&mut self, namespace: Namespace, dir: impl AsRef<Path>) -> Result<(), Error> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|e| host("cannot create directory", dir, e))?;
        let mut links = Vec::new();
        for item in self.items(namespace)? {
            let path = target(dir, &item, namespace)?;
            match &item.kind {
                ItemKind::Directory => {
                    fs::create_dir(&path).map_err(|e| host("cannot create directory", &path, e))?;
                }
                ItemKind::File => {
                    let mut file = OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .open(&path)
                        .map_err(|e| host("cannot create", &path, e))?;
                    self.copy_to(&item, &mut file)?;
                }
                ItemKind::Symlink(link) => links.push((path, link.clone())),
                ItemKind::Special => {}
            }
        }
        for (path, link) in links {
            symlink(&link, &path).map_err(|e| host("cannot create link", &path, e))?;
        }
        Ok(())
    }
}

fn host(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Host {
        doing,
        path: path.to_path_buf(),
        source,
    }
}

/// Where an item goes. Every directory on the way was made by this extraction: items come parents
/// first, and a name that exists is never reused.
fn target(dir: &Path, item: &Item, namespace: Namespace) -> Result<PathBuf, Error> {
    let refuse = |reason| Error::Extract {
        path: item.path_text(),
        reason,
    };
    let mut out = dir.to_path_buf();
    for name in item.path.split(|&b| b == b'/') {
        crate::item::check_name(name).map_err(refuse)?;
        let name = match namespace {
            Namespace::Iso => crate::iso_reader::plain_name(name),
            _ => name.to_vec(),
        };
        crate::item::check_name(&name).map_err(refuse)?;
        out.push(host_name(name).ok_or_else(|| refuse("the host has no such names"))?);
    }
    Ok(out)
}

#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "other hosts have names that are not bytes"
)]
fn host_name(name: Vec<u8>) -> Option<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt as _;
    Some(std::ffi::OsString::from_vec(name))
}

#[cfg(not(unix))]
fn host_name(name: Vec<u8>) -> Option<std::ffi::OsString> {
    let name = String::from_utf8(name).ok()?;
    (!name.contains(['\\', ':'])).then(|| name.into())
}

#[cfg(unix)]
fn symlink(target: &[u8], path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path)
}

#[cfg(not(unix))]
fn symlink(_: &[u8], _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
