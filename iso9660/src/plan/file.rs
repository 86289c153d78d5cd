//! Writing a plan to a file: by several threads, with what the file system can do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Plan;
use super::draft::Draft;
use super::kernel::appends;
use super::pieces::Pieces;
use super::write::Buffer;
use crate::error::Error;
use crate::threads::on_threads;

/// Bytes that are written at a time. Linux takes one run of pages for them; such of up to 32 KiB it
/// keeps at hand, while larger ones often come from memory that a virtual machine has given back,
/// which makes writing ten times slower.
const WRITE_LEN: usize = 32 << 10;

/// What went wrong, and at which offset of the image.
pub(super) type Failure = (u64, Error);

impl Plan {
    /// Writes the image to a file that appears under its name only when it is complete; what had
    /// the name before stays until then. Long runs that no content fills and the holes of large
    /// files become holes; large files that begin at 4 KiB in the image share their blocks with it
    /// where the file system can do that. The rest is copied by up to four threads.
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
        let path = followed(path).map_err(|source| Error::Host {
            doing: "cannot create",
            path: path.to_path_buf(),
            source,
        })?;
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

    /// Writes the image to a regular file that is already open, with holes and shared extents as
    /// [`Plan::write_file`]; what the file held before is lost. For callers that name their files
    /// themselves.
    ///
    /// # Errors
    ///
    /// As [`Plan::write_to`]; also [`Error::Output`] for a file that was opened for appending.
    pub fn write_to_file(&self, file: &File) -> Result<(), Error> {
        self.check_empty_content()?;
        let failed = |offset| move |source| Error::Output { offset, source };
        if appends(file) {
            let reason = "a file opened for appending takes no bytes at their place";
            let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
            return Err(failed(0)(source));
        }
        let pieces = Mutex::new(Pieces::new(self, file).map_err(failed(0))?);
        let results = on_threads(|| self.write_pieces(&pieces, file));
        // Pieces are handed out in order, so the first failure is always among these.
        let failures = results.into_iter().filter_map(Result::err);
        if let Some((_, error)) = failures.min_by_key(|(offset, _)| *offset) {
            return Err(error);
        }
        let len = self.len();
        file.set_len(len).map_err(failed(len))?;
        let mut file = file;
        file.seek(SeekFrom::Start(len)).map_err(failed(len))?;
        Ok(())
    }

    /// Writes pieces until there are no more.
    fn write_pieces(&self, pieces: &Mutex<Pieces<'_>>, file: &File) -> Result<(), Failure> {
        let share = Share(pieces);
        let mut reader = self.reader();
        let mut buffer = Buffer::new();
        while let Some(piece) = share.next()? {
            let mut at = piece.start;
            reader.go_to(at);
            while at < piece.end {
                let bytes = buffer.get(piece.end - at);
                reader.fill(bytes).map_err(|error| (at, error))?;
                write_at(file, bytes, at)?;
                at += bytes.len() as u64;
            }
        }
        Ok(())
    }
}

/// One thread's share of the pieces. When it ends, by an error or a panic too, no more are handed out.
struct Share<'a, 'b>(&'b Mutex<Pieces<'a>>);

impl<'a> Share<'a, '_> {
    /// The next piece. The lock ends here, not with the writing of the piece.
    fn next(&self) -> Result<Option<Range<u64>>, Failure> {
        self.lock().next()
    }

    fn lock(&self) -> MutexGuard<'_, Pieces<'a>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_, '_> {
    fn drop(&mut self) {
        self.lock().stop();
    }
}

/// Where a path leads when it is a link, also to a file that is not there yet, as when a file is made
/// by opening it.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    // As many links as Linux follows.
    for _ in 0..40 {
        match (fs::canonicalize(&path), fs::read_link(&path)) {
            (Ok(path), _) => return Ok(path),
            (_, Ok(target)) => path = path.with_file_name(target),
            _ => return Ok(path),
        }
    }
    fs::canonicalize(path)
}

/// Writes bytes to their place.
fn write_at(file: &File, bytes: &[u8], mut at: u64) -> Result<(), Failure> {
    // The first part ends where the others do in the page cache.
    let first = WRITE_LEN - usize::try_from(at % WRITE_LEN as u64).unwrap_or(0);
    let (first, others) = bytes.split_at(first.min(bytes.len()));
    for part in std::iter::once(first).chain(others.chunks(WRITE_LEN)) {
        write_all_at(file, part, at)
            .map_err(|source| (at, Error::Output { offset: at, source }))?;
        at += part.len() as u64;
    }
    Ok(())
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt as _;
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                bytes = bytes.get(n..).unwrap_or(&[]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
