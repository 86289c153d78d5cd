//! A file that appears under its name when it is finished.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file that has no name yet, or one that no one looks for.
pub(super) struct Draft {
    pub(super) file: File,
    /// The name it has until it is finished, if it needs one.
    name: Option<PathBuf>,
}

impl Draft {
    pub(super) fn new(target: &Path) -> io::Result<Self> {
        if let Some(file) = nameless(directory(target)) {
            return Ok(Self { file, name: None });
        }
        let name = free_name(target, |name| {
            OpenOptions::new().write(true).create_new(true).open(name)
        })?;
        Ok(Self {
            file: name.1,
            name: Some(name.0),
        })
    }

    /// Gives the file its name, replacing what has it.
    pub(super) fn publish(mut self, target: &Path) -> io::Result<()> {
        if self.name.is_none() {
            if give_name(&self.file, target).is_ok() {
                return Ok(());
            }
            let (name, ()) = free_name(target, |name| give_name(&self.file, name))?;
            self.name = Some(name);
        }
        if let Some(name) = &self.name {
            fs::rename(name, target)?;
            self.name = None;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // Nothing can be done about a draft that cannot be removed.
            let _ = fs::remove_file(name);
        }
    }
}

/// The directory a file stands in.
fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The first name beside the target that `make` can make.
fn free_name<T>(
    target: &Path,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    let file_name = target.file_name().unwrap_or_default().to_string_lossy();
    // Names are 255 bytes at most; the draft's has to be its own, not the target's.
    let short: String = file_name.chars().take(40).collect();
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for n in 0..1000 {
        let name = directory(target).join(format!(".{short}.{}-{n}.part", std::process::id()));
        match make(&name) {
            Ok(made) => return Ok((name, made)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => last = e,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// A file without a name, which vanishes with the process however that ends.
#[cfg(target_os = "linux")]
fn nameless(directory: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    let file = rustix::fs::open(directory, flags, mode)
        .ok()
        .map(File::from)?;
    // Without /proc it could not be given a name later.
    fs::symlink_metadata(open_name(&file))
        .is_ok()
        .then_some(file)
}

/// The name by which the system finds an open file.
#[cfg(target_os = "linux")]
fn open_name(file: &File) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<File> {
    None
}

#[cfg(target_os = "linux")]
fn give_name(file: &File, name: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    rustix::fs::linkat(CWD, open_name(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_name(_: &File, _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
