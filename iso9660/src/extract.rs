//! Copying a tree out of an image.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::fat_reader::directory::READ_ONLY;
use crate::item::{Item, ItemKind};
use crate::{Extent, FatReader, IsoReader, Namespace, Timestamp};

impl<R: Read + Seek> IsoReader<R> {
    /// Makes the files, directories and links of a tree below a directory, which is made if it does
    /// not exist. Nothing that exists is overwritten or followed, nothing is made outside of it;
    /// links are made last, so that no file is written through one. Devices, pipes and associated
    /// files are left out, owners are not set, and no file gets a set-user-ID bit. Times are those
    /// of the image, modes those of Rock Ridge. Plain ISO 9660 names lose their versions.
    ///
    /// # Errors
    ///
    /// [`Error::Extract`] for paths that must not be made, [`Error::Host`] when the host refuses,
    /// and what [`IsoReader::items`] and [`IsoReader::copy_to`] say. What was made until then stays.
    pub fn extract(&mut self, namespace: Namespace, dir: impl AsRef<Path>) -> Result<(), Error> {
        let items = self.items(namespace)?;
        let is_plain = matches!(namespace, Namespace::Iso | Namespace::Enhanced);
        let name = if is_plain {
            crate::iso_reader::plain_name
        } else {
            <[u8]>::to_vec
        };
        Extraction::new(dir.as_ref(), name)?.run(&items, |item, file| self.copy_to(item, file))
    }
}

impl<R: Read + Seek> FatReader<R> {
    /// Makes the files and directories of the volume below a directory, as
    /// [`IsoReader::extract`] does. Times are taken as UTC; read-only files are made read-only.
    ///
    /// # Errors
    ///
    /// As [`IsoReader::extract`].
    pub fn extract(&mut self, dir: impl AsRef<Path>) -> Result<(), Error> {
        let items = self.items()?;
        let extraction = Extraction::new(dir.as_ref(), <[u8]>::to_vec)?;
        extraction.run(&items, |item, file| self.copy_to(item, file))
    }
}

/// What tells the links to one file from other files: its serial number and its place.
type Identity = (u32, Vec<Extent>);

struct Extraction<'a> {
    dir: &'a Path,
    /// The name on the host of a name of the image.
    name: fn(&[u8]) -> Vec<u8>,
    links: Vec<(PathBuf, &'a Item, &'a [u8])>,
    directories: Vec<(PathBuf, &'a Item)>,
    files: HashMap<Identity, PathBuf>,
}

impl<'a> Extraction<'a> {
    fn new(dir: &'a Path, name: fn(&[u8]) -> Vec<u8>) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|e| host("cannot create directory", dir, e))?;
        Ok(Self {
            dir,
            name,
            links: Vec::new(),
            directories: Vec::new(),
            files: HashMap::new(),
        })
    }

    fn run(
        mut self,
        items: &'a [Item],
        mut copy: impl FnMut(&Item, &mut File) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        // All names are looked at before anything is made.
        let paths = self.targets(items)?;
        for (item, path) in items.iter().zip(paths) {
            if item.is_associated() {
                continue;
            }
            match &item.kind {
                ItemKind::Directory => {
                    fs::create_dir(&path)
                        .map_err(|e| refused(item, "cannot create directory", &path, e))?;
                    self.directories.push((path, item));
                }
                ItemKind::File => self.file(item, path, &mut copy)?,
                ItemKind::Symlink(link) => self.links.push((path, item, link)),
                ItemKind::Special => {}
            }
        }
        for (path, item, link) in &self.links {
            symlink(link, path).map_err(|e| refused(item, "cannot create link", path, e))?;
            set_link_time(path, item);
        }
        // Children before parents: what is made in a directory changes its time.
        for (path, item) in self.directories.iter().rev() {
            let directory = File::open(path).map_err(|e| host("cannot open directory", path, e))?;
            set_attributes(&directory, item).map_err(|e| host("cannot set mode of", path, e))?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        item: &Item,
        path: PathBuf,
        copy: &mut impl FnMut(&Item, &mut File) -> Result<u64, Error>,
    ) -> Result<(), Error> {
        let serial = item.posix.filter(|p| p.links > 1).and_then(|p| p.serial);
        let identity = serial.map(|serial| (serial, item.extents.clone()));
        if let Some(first) = identity.as_ref().and_then(|i| self.files.get(i)) {
            // A host without hard links gets a copy.
            match fs::hard_link(first, &path) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(refused(item, "cannot create", &path, e));
                }
                Err(_) => {}
            }
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| refused(item, "cannot create", &path, e))?;
        copy(item, &mut file)?;
        set_attributes(&file, item).map_err(|e| host("cannot set mode of", &path, e))?;
        if let Some(identity) = identity {
            self.files.entry(identity).or_insert(path);
        }
        Ok(())
    }

    /// Where the items go. Of several versions of a file, the first one loses its version: that is
    /// the highest one (ECMA-119 9.3).
    fn targets(&self, items: &[Item]) -> Result<Vec<PathBuf>, Error> {
        let mut taken = HashSet::new();
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            let mut path = self.target(item)?;
            if !item.is_associated() && !taken.insert(path.clone()) {
                let recorded = item.path.rsplit(|&b| b == b'/').next().unwrap_or(&[]);
                if let Some(name) = host_name(recorded.to_vec()) {
                    path.set_file_name(name);
                    taken.insert(path.clone());
                }
            }
            out.push(path);
        }
        Ok(out)
    }

    /// Where an item goes. Every directory on the way was made by this extraction: items come
    /// parents first, and a name that exists is never reused.
    fn target(&self, item: &Item) -> Result<PathBuf, Error> {
        let refuse = |reason| Error::Extract {
            path: item.path_text(),
            reason,
        };
        let mut out = self.dir.to_path_buf();
        for name in item.path.split(|&b| b == b'/') {
            crate::item::check_name(name).map_err(refuse)?;
            let name = (self.name)(name);
            crate::item::check_name(&name).map_err(refuse)?;
            out.push(host_name(name).ok_or_else(|| refuse("the host has no such names"))?);
        }
        Ok(out)
    }
}

fn host(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Host {
        doing,
        path: path.to_path_buf(),
        source,
    }
}

/// As [`host`]; what is in the way is the fault of the image or of the directory, not of the host.
fn refused(item: &Item, doing: &'static str, path: &Path, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::AlreadyExists {
        return Error::Extract {
            path: item.path_text(),
            reason: "something of that name is there already",
        };
    }
    host(doing, path, source)
}

fn system_time(time: Timestamp) -> Option<SystemTime> {
    let seconds = Duration::from_secs(time.as_unix().unsigned_abs());
    if time.as_unix() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    }
}

/// Sets permissions and times. Times that the host cannot store are left alone.
fn set_attributes(file: &File, item: &Item) -> io::Result<()> {
    if let Some(modified) = item.modified.and_then(system_time) {
        let accessed = item.accessed.and_then(system_time).unwrap_or(modified);
        let times = fs::FileTimes::new();
        let _ = file.set_times(times.set_modified(modified).set_accessed(accessed));
    }
    match item.posix {
        Some(posix) => set_mode(file, posix.mode & 0o777),
        None if item.short_name.is_some() && item.flags & READ_ONLY != 0 => {
            let mut permissions = file.metadata()?.permissions();
            permissions.set_readonly(true);
            file.set_permissions(permissions)
        }
        None => Ok(()),
    }
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(mode & 0o200 == 0);
    file.set_permissions(permissions)
}

/// Sets the time of a link itself. A host that cannot do that is no reason to fail.
#[cfg(unix)]
fn set_link_time(path: &Path, item: &Item) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    if let Some(modified) = item.modified {
        let spec = |time: Timestamp| Timespec {
            tv_sec: time.as_unix(),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: spec(item.accessed.unwrap_or(modified)),
            last_modification: spec(modified),
        };
        let _ = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
}

#[cfg(not(unix))]
fn set_link_time(_: &Path, _: &Item) {}

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
