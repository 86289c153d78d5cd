//! Writing a plan to a file, with what the file system can do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Plan;
use super::write::Output;
use crate::error::Error;

impl Plan {
    /// Writes the image to a file that appears under its name only when it is complete; what had
    /// the name before stays until then. Long runs of zeros and the holes of large files become
    /// holes, and large files are shared or copied inside the kernel where the file system can do
    /// that.
    ///
    /// A device or pipe is written in place.
    ///
    /// ```no_run
    /// # let tree = iso9660::Tree::new();
    /// iso9660::Image::bootable(tree)?.plan()?.write_file("boot.iso")?;
    /// # Ok::<(), iso9660::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Plan::write_to`], and [`Error::Host`] when the file cannot be made. No file is left then.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        // A link is followed, as it is when a file is opened.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let failed = |doing, source| Error::Host {
            doing,
            path: path.clone(),
            source,
        };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Err(failed(
                "cannot write an image over directory",
                io::Error::from(io::ErrorKind::IsADirectory),
            )),
            Ok(metadata) if !metadata.is_file() => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map_err(|e| failed("cannot open", e))?;
                self.write_to(&mut file)
            }
            _ => {
                let draft = Draft::new(&path).map_err(|e| failed("cannot create", e))?;
                self.write_to_file(&draft.file)?;
                draft.publish(&path).map_err(|e| failed("cannot name", e))
            }
        }
    }

    /// Writes the image to an empty regular file that is already open, with holes and shared
    /// extents as [`Plan::write_file`]. For callers that name their files themselves.
    ///
    /// # Errors
    ///
    /// As [`Plan::write_to`].
    pub fn write_to_file(&self, file: &File) -> Result<(), Error> {
        self.write_output(&mut Sparse { file })?;
        file.set_len(self.len()).map_err(|source| Error::Output {
            offset: self.len(),
            source,
        })
    }
}

/// A file that can have holes.
struct Sparse<'a> {
    file: &'a File,
}

impl Output for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn skip(&mut self, len: u64) -> io::Result<bool> {
        let by = i64::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.file.seek(SeekFrom::Current(by))?;
        Ok(true)
    }

    #[cfg(target_os = "linux")]
    fn copy(&mut self, mut from: &File, len: u64) -> io::Result<u64> {
        // Of a file that has become shorter only what there is; the caller notices the rest.
        let len = len.min(from.metadata()?.len());
        let mut done = 0;
        while done < len {
            let (start, end) = next_data(from, done, len);
            if self.skip(start - done)? {
                done = start;
            }
            from.seek(SeekFrom::Start(done))?;
            let copied = self.copy_data(from, end - done)?;
            done += copied;
            if done < end {
                break;
            }
        }
        from.seek(SeekFrom::Start(done))?;
        Ok(done)
    }

    #[cfg(not(target_os = "linux"))]
    fn copy(&mut self, _: &File, _: u64) -> io::Result<u64> {
        Ok(0)
    }
}

impl Sparse<'_> {
    /// Copies from the place where a file is, inside the kernel; answers how much was copied.
    #[cfg(target_os = "linux")]
    fn copy_data(&self, from: &File, len: u64) -> io::Result<u64> {
        use rustix::io::Errno;
        let mut done = 0;
        while done < len {
            // The kernel takes at most 2 GiB at a time.
            let chunk = usize::try_from((len - done).min(1 << 30)).unwrap_or(1 << 30);
            match rustix::fs::copy_file_range(from, None, self.file, None, chunk) {
                Ok(0) => break,
                Ok(n) => done += n as u64,
                Err(Errno::INTR) => {}
                Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
                    return Err(error.into());
                }
                // Not possible here, or an error that plain reading and writing will tell apart.
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// Where the next data of a file begins and ends, between `from` and `len`; all of it where the file
/// system does not tell.
#[cfg(target_os = "linux")]
fn next_data(file: &File, from: u64, len: u64) -> (u64, u64) {
    use rustix::fs::{SeekFrom, seek};
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start.clamp(from, len),
        // No data from here on.
        Err(rustix::io::Errno::NXIO) => len,
        Err(_) => return (from, len),
    };
    let end = seek(file, SeekFrom::Hole(start)).map_or(len, |end| end.clamp(start, len));
    (start, end)
}

/// A file that has no name yet, or one that no one looks for.
struct Draft {
    file: File,
    /// The name it has until it is finished, if it needs one.
    name: Option<PathBuf>,
}

impl Draft {
    fn new(target: &Path) -> io::Result<Self> {
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
    fn publish(mut self, target: &Path) -> io::Result<()> {
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
    rustix::fs::open(directory, flags, mode)
        .ok()
        .map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<File> {
    None
}

#[cfg(target_os = "linux")]
fn give_name(file: &File, name: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    use std::os::fd::AsRawFd as _;
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, open, CWD, name, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn give_name(_: &File, _: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
