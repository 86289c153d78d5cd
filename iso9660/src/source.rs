//! Where the content of a file comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Plan;
use crate::error::{Error, text};

/// The content of a file or partition: bytes whose length is known before they are read.
///
/// Nothing is read when a source is made. The length of a file is taken when the image is planned, by
/// [`Tree::from_dir`](crate::Tree::from_dir) when the directory is listed; content that has another
/// length when it is written is an error that names the item.
///
/// ```
/// use iso9660::{Source, Tree};
///
/// let tree = Tree::new()
///     .file("hello.txt", "hello\n")
///     .file("zeros", Source::reader(1 << 20, || Ok(std::io::repeat(0))));
/// # // A reader that is longer than announced is noticed when it is written.
/// # assert!(iso9660::Image::new(tree).plan()?.write_to(&mut std::io::sink()).is_err());
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Clone)]
pub struct Source(pub(crate) Kind);

/// Opens a reader on the content from its beginning.
type Open = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync;

#[derive(Clone)]
pub(crate) enum Kind {
    Bytes(Arc<[u8]>),
    File {
        path: Arc<Path>,
        /// The length, if it was taken already.
        len: Option<u64>,
    },
    Reader {
        len: u64,
        open: Arc<Open>,
    },
    Plan(Arc<Plan>),
}

impl Source {
    /// Content that is in memory.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Bytes(bytes.into().into()))
    }

    /// The content of a file on the host, opened when it is needed.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File {
            path: path.into().into(),
            len: None,
        })
    }

    /// The content of a regular file on the host whose length is known.
    pub(crate) fn measured_file(path: PathBuf, len: u64) -> Self {
        Self(Kind::File {
            path: path.into(),
            len: Some(len),
        })
    }

    /// Content of `len` bytes that `open` gives a reader on, each time from the beginning. Readers of
    /// several sources may be open at once and in any order, each in a thread.
    #[must_use]
    pub fn reader<R: Read + Send + 'static>(
        len: u64,
        open: impl Fn() -> io::Result<R> + Send + Sync + 'static,
    ) -> Self {
        let open = move || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(open()?)) };
        Self(Kind::Reader {
            len,
            open: Arc::new(open),
        })
    }

    /// The length, for the item `path`.
    pub(crate) fn measure(&self, path: &[u8]) -> Result<u64, Error> {
        let unreadable = |source| Error::Source {
            path: text(path),
            source,
        };
        match &self.0 {
            Kind::Bytes(bytes) => Ok(bytes.len() as u64),
            Kind::Reader { len, .. } => Ok(*len),
            Kind::Plan(plan) => Ok(plan.len()),
            Kind::File { len: Some(len), .. } => Ok(*len),
            Kind::File { path: file, .. } => {
                let metadata = std::fs::metadata(file).map_err(unreadable)?;
                if metadata.is_file() {
                    Ok(metadata.len())
                } else {
                    Err(unreadable(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "not a regular file, so its length is not known",
                    )))
                }
            }
        }
    }

    /// Whether content can be read from the middle without reading what is before.
    pub(crate) const fn reads_anywhere(&self) -> bool {
        matches!(self.0, Kind::Bytes(_) | Kind::File { .. })
    }

    /// A reader on the content from its beginning.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        match &self.0 {
            Kind::Bytes(bytes) => Ok(Box::new(bytes.as_ref())),
            Kind::File { path, .. } => Ok(Box::new(open_file(path)?)),
            Kind::Reader { open, .. } => open(),
            Kind::Plan(plan) => Ok(Box::new(plan.reader())),
        }
    }

    /// Whether both sources certainly give the same bytes, without reading them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Bytes(a), Kind::Bytes(b)) => Arc::ptr_eq(a, b) || a == b,
            (Kind::File { path: a, .. }, Kind::File { path: b, .. }) => a == b,
            (Kind::Reader { open: a, .. }, Kind::Reader { open: b, .. }) => Arc::ptr_eq(a, b),
            (Kind::Plan(a), Kind::Plan(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Opens a file of the host. A pipe that took its place must not be waited for.
#[cfg(unix)]
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    File::open(path)
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => write!(f, "Source::bytes({} bytes)", bytes.len()),
            Kind::File { path, .. } => write!(f, "Source::file({path:?})"),
            Kind::Reader { len, .. } => write!(f, "Source::reader({len} bytes)"),
            Kind::Plan(plan) => write!(f, "Source::from(Plan of {} bytes)", plan.len()),
        }
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Self {
        Self::bytes(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Source {
    fn from(bytes: &[u8; N]) -> Self {
        Self::bytes(bytes.as_slice())
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        Self::bytes(text)
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self::bytes(text)
    }
}

impl From<Plan> for Source {
    fn from(plan: Plan) -> Self {
        Self(Kind::Plan(Arc::new(plan)))
    }
}
