use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::string::{String, ToString as _};
use std::vec::Vec;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::{Attributes, Error, SignedUpdate, Variable, VariableName};

/// What efivarfs needs of the operating system; replaced by a fake in tests.
pub trait FileSystem {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// The whole content of a file.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Writes all bytes with **one** write, creating the file when it does not exist.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn write_once(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Whether the immutable flag is set.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn is_immutable(&self, name: &str) -> io::Result<bool>;

    /// Sets or clears the immutable flag.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    fn set_immutable(&self, name: &str, immutable: bool) -> io::Result<()>;
}

/// efivarfs where Linux has mounted it.
#[derive(Clone, Debug)]
pub struct LinuxFileSystem {
    root: PathBuf,
}

impl LinuxFileSystem {
    /// efivarfs mounted at this folder.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Default for LinuxFileSystem {
    fn default() -> Self {
        Self::new("/sys/firmware/efi/efivars")
    }
}

impl FileSystem for LinuxFileSystem {
    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.root)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.root.join(name))
    }

    fn write_once(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.root.join(name))?;
        let written = file.write(bytes)?;
        if written == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn is_immutable(&self, name: &str) -> io::Result<bool> {
        let file = fs::File::open(self.root.join(name))?;
        Ok(ioctl_getflags(&file)?.contains(IFlags::IMMUTABLE))
    }

    fn set_immutable(&self, name: &str, immutable: bool) -> io::Result<()> {
        let file = fs::File::open(self.root.join(name))?;
        let mut flags = ioctl_getflags(&file)?;
        flags.set(IFlags::IMMUTABLE, immutable);
        Ok(ioctl_setflags(&file, flags)?)
    }
}

/// The variables of the running machine.
///
/// # Examples
///
/// ```no_run
/// # fn demo(update: efivars::SignedUpdate) -> Result<(), efivars::Error> {
/// let machine = efivars::Efivarfs::new();
/// if let Some(db) = machine.read(&efivars::DB)? {
///     println!("db has {} bytes", db.data.len());
/// }
/// machine.write(&update)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Efivarfs<F = LinuxFileSystem> {
    files: F,
}

impl Efivarfs {
    /// efivarfs at its usual place.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<F: FileSystem> Efivarfs<F> {
    /// efivarfs somewhere else, or a fake.
    pub const fn on(files: F) -> Self {
        Self { files }
    }

    /// The names of all variables.
    ///
    /// # Errors
    ///
    /// [`Error::Efivarfs`].
    pub fn list(&self) -> Result<Vec<VariableName>, Error> {
        let names = self
            .files
            .list()
            .map_err(|source| fail("listing", "all variables", source))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// A variable; nothing when it does not exist. Linux does not tell the time of the last write.
    ///
    /// # Errors
    ///
    /// [`Error::Efivarfs`].
    pub fn read(&self, name: &VariableName) -> Result<Option<Variable>, Error> {
        let file = name.to_string();
        let bytes = match self.files.read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail("reading", &file, error)),
        };
        // A first write that failed leaves an empty file.
        Ok(bytes.split_first_chunk::<4>().map(|(attributes, data)| {
            Variable::new(
                name.clone(),
                Attributes::from_bits(u32::from_le_bytes(*attributes)),
                data.to_vec(),
            )
        }))
    }

    /// Writes a signed update.
    ///
    /// # Errors
    ///
    /// [`Error::Efivarfs`] with what firmware means by its refusal.
    pub fn write(&self, update: &SignedUpdate) -> Result<(), Error> {
        self.write_raw(update.name(), update.attributes(), update.to_bytes())
    }

    /// Writes any data with any attributes.
    ///
    /// # Errors
    ///
    /// [`Error::Efivarfs`] with what firmware means by its refusal.
    pub fn write_raw(
        &self,
        name: &VariableName,
        attributes: Attributes,
        data: &[u8],
    ) -> Result<(), Error> {
        let file = name.to_string();
        let immutable = match self.files.is_immutable(&file) {
            Ok(immutable) => immutable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(fail("writing", &file, error)),
        };
        if immutable {
            self.files
                .set_immutable(&file, false)
                .map_err(|source| fail("unlocking", &file, source))?;
        }
        let bytes = [&attributes.bits().to_le_bytes(), data].concat();
        let result = self
            .files
            .write_once(&file, &bytes)
            .map_err(|source| fail("writing", &file, source));
        if immutable {
            match self.files.set_immutable(&file, true) {
                // The write deleted the variable.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if result.is_ok() => return Err(fail("locking", &file, error)),
                _ => {}
            }
        }
        result
    }
}

fn fail(operation: &'static str, variable: &str, source: io::Error) -> Error {
    Error::Efivarfs {
        operation,
        variable: variable.to_string(),
        meaning: meaning(&source),
        source,
    }
}

/// What Linux's error numbers stand for here.
fn meaning(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => {
            "not allowed (EFI_SECURITY_VIOLATION): wrong signer or attributes, or not later than the stored value"
        }
        Some(Errno::PERM) => "not permitted: not root, or the file is immutable",
        Some(Errno::INVAL) => "malformed, or too large for this firmware (EFI_INVALID_PARAMETER)",
        Some(Errno::NOSPC) => "no space left in the variable store (EFI_OUT_OF_RESOURCES)",
        Some(Errno::ROFS) => {
            "write-protected (EFI_WRITE_PROTECTED), or efivarfs is mounted read-only"
        }
        Some(Errno::IO) => {
            "the device failed (EFI_DEVICE_ERROR), or a variable that is needed does not exist (EFI_NOT_FOUND)"
        }
        Some(Errno::NOENT) => "no such variable (EFI_NOT_FOUND), or efivarfs is not mounted",
        Some(Errno::INTR) => "aborted by firmware (EFI_ABORTED)",
        _ => "the operating system reports an error",
    }
}
