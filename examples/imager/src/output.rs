//! Files that appear whole or not at all.
//!
//! An output is written to an unnamed file (`O_TMPFILE`) in the folder of its final name and gets that name when it
//! is complete, so a run that fails, is interrupted or is killed leaves nothing behind. Where the file system has no
//! unnamed files, a hidden named one stands in, and [`remove_unfinished_on_interrupt`] takes it away.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::Error;

/// May an output replace a file that is there already?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Existing {
    /// Refuse and leave it alone.
    Keep,
    /// Replace it (`--force`).
    Replace,
    /// Replace it, and keep it beside the new one as `NAME.1`, `NAME.2`, …: a key that is gone opens nothing any more.
    Retire,
}

/// An output that is being written.
#[derive(Debug)]
pub struct Output {
    file: File,
    path: PathBuf,
    named: Option<PathBuf>,
    existing: Existing,
    /// Folders that were made for this output, innermost first; they go with it when it fails.
    new_folders: Vec<PathBuf>,
}

static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes unfinished named files and ends with 130 when the process is interrupted or told to terminate.
///
/// # Errors
/// [`Error::Interrupt`] when the handler cannot be installed.
pub fn remove_unfinished_on_interrupt() -> Result<(), Error> {
    ctrlc::set_handler(|| {
        for path in UNFINISHED
            .lock()
            .map(|list| list.clone())
            .unwrap_or_default()
        {
            // The process ends here; a file that cannot be removed has nobody left to tell.
            let _ = fs::remove_file(path);
        }
        std::process::exit(130);
    })
    .map_err(|source| Error::Interrupt {
        source: Box::new(source),
    })
}

impl Output {
    /// Opens an output for `path` with the given permission bits.
    ///
    /// # Errors
    /// [`Error::Exists`] when the file exists and may not be replaced, [`Error::Io`] when its folder cannot be
    /// written.
    pub fn create(path: &Path, mode: u32, existing: Existing) -> Result<Self, Error> {
        if existing == Existing::Keep && path.symlink_metadata().is_ok() {
            return Err(Error::Exists {
                path: path.to_owned(),
            });
        }
        let folder = folder_of(path);
        let new_folders = folder
            .ancestors()
            .take_while(|part| !part.as_os_str().is_empty() && part.symlink_metadata().is_err())
            .map(Path::to_owned)
            .collect();
        fs::create_dir_all(&folder)
            .map_err(|source| Error::io("create the folder", &folder, source))?;
        let bits = Mode::from_raw_mode(mode);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let (file, named) = match rustix::fs::openat(CWD, &folder, flags | OFlags::TMPFILE, bits) {
            Ok(unnamed) => (File::from(unnamed), None),
            Err(_) => {
                let named = beside(path, &format!("unfinished-{}", std::process::id()));
                if let Ok(mut list) = UNFINISHED.lock() {
                    list.push(named.clone());
                }
                let file =
                    rustix::fs::openat(CWD, &named, flags | OFlags::CREATE | OFlags::EXCL, bits)
                        .map_err(|errno| Error::io("create", path, errno.into()))?;
                (File::from(file), Some(named))
            }
        };
        // The mode is a promise (0600 for keys), whatever the umask took or left.
        rustix::fs::fchmod(&file, bits)
            .map_err(|errno| Error::io("set the mode of", path, errno.into()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            named,
            existing,
            new_folders,
        })
    }

    /// The file, for writers that need more than [`Write`].
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A path under which this process can open what was written so far once more, from its start.
    #[must_use]
    pub fn reopen_path(&self) -> PathBuf {
        match &self.named {
            Some(named) => named.clone(),
            None => PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())),
        }
    }

    /// How much was written so far, in bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn written_len(&self) -> Result<u64, Error> {
        let meta = self.file.metadata();
        Ok(meta
            .map_err(|source| Error::io("read", &self.path, source))?
            .len())
    }

    /// The name that the file will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file durable and gives it its name, in one step that either happens or does not.
    ///
    /// # Errors
    /// [`Error::Exists`] when such a file has appeared meanwhile, [`Error::Io`] when the disk is full or the like.
    pub fn publish(mut self) -> Result<PathBuf, Error> {
        self.file
            .flush()
            .and_then(|()| self.file.sync_data())
            .map_err(|source| Error::io("write", &self.path, source))?;
        if self.existing == Existing::Retire {
            retire(&self.path)?;
        }
        let staged = match self.named.take() {
            Some(named) => named,
            None if self.existing == Existing::Replace => {
                let staged = beside(&self.path, &format!("unfinished-{}", std::process::id()));
                self.link_to(&staged)?;
                staged
            }
            None => return self.link_to(&self.path).map(|()| self.path.clone()),
        };
        let renamed = if self.existing == Existing::Replace {
            rustix::fs::rename(&staged, &self.path)
        } else {
            rustix::fs::linkat(CWD, &staged, CWD, &self.path, AtFlags::empty())
        };
        if renamed.is_err() || self.existing != Existing::Replace {
            // After a link the staged name is a second one; after a failure it is litter. Both go.
            let _ = fs::remove_file(&staged);
        }
        renamed.map_err(|errno| self.naming_error(errno))?;
        Ok(self.path.clone())
    }

    fn link_to(&self, target: &Path) -> Result<(), Error> {
        let source = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, source, CWD, target, AtFlags::SYMLINK_FOLLOW)
            .map_err(|errno| self.naming_error(errno))
    }

    fn naming_error(&self, errno: rustix::io::Errno) -> Error {
        match errno {
            rustix::io::Errno::EXIST => Error::Exists {
                path: self.path.clone(),
            },
            other => Error::io("name", &self.path, other.into()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(named) = self.named.take() {
            let _ = fs::remove_file(named);
        }
        for folder in &self.new_folders {
            // Refused, and rightly, when something else lies in the folder by now.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Writes a set of small files: all are complete before the first gets its name.
///
/// # Errors
/// As [`Output::create`] and [`Output::publish`].
pub fn write_all(files: &[(&Path, &[u8], u32, Existing)]) -> Result<(), Error> {
    let mut outputs = Vec::with_capacity(files.len());
    for (path, bytes, mode, existing) in files {
        let mut output = Output::create(path, *mode, *existing)?;
        output
            .write_all(bytes)
            .map_err(|source| Error::io("write", path, source))?;
        outputs.push(output);
    }
    for output in outputs {
        output.publish()?;
    }
    Ok(())
}

fn retire(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    for number in 1..1000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let old = PathBuf::from(name);
        match rustix::fs::linkat(CWD, path, CWD, &old, AtFlags::empty()) {
            Ok(()) => {
                return fs::remove_file(path).map_err(|source| Error::io("retire", path, source));
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("retire", path, errno.into())),
        }
    }
    Err(Error::Exists {
        path: path.to_owned(),
    })
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    folder_of(path).join(format!(".{name}.{suffix}"))
}
