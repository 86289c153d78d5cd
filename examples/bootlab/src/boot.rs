//! One boot of a machine.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};
use crate::machine::{Machine, check_disk_name, copy_state};
use crate::medium::Medium;
use crate::report::{Ending, Report};
use crate::run::run_once;

/// At most this many crashed guests are tried again.
const RETRIES: usize = 4;

/// Everything about one boot.
///
/// ```
/// use bootlab::{Boot, Medium};
///
/// let boot = Boot::new(Medium::cd("image.iso"))
///     .script("disk-key status >/out/status.json")
///     .input("expected", b"abc");
/// # let _ = boot;
/// ```
#[derive(Debug, Clone)]
pub struct Boot {
    pub(crate) medium: Medium,
    pub(crate) script: Option<String>,
    pub(crate) inputs: Vec<(String, Vec<u8>)>,
    pub(crate) disks: Vec<(String, PathBuf)>,
    pub(crate) qemu: Vec<String>,
    pub(crate) patience: Duration,
    pub(crate) end_at_start: bool,
    retries: usize,
}

impl Boot {
    /// A boot from this medium.
    #[must_use]
    pub fn new(medium: Medium) -> Self {
        Self {
            medium,
            script: None,
            inputs: Vec::new(),
            disks: Vec::new(),
            qemu: Vec::new(),
            patience: Duration::from_secs(180),
            end_at_start: false,
            retries: RETRIES,
        }
    }

    /// What the guest runs, in its shell; see [`Guest`](crate::Guest) for what the shell offers.
    #[must_use]
    pub fn script(mut self, text: impl Into<String>) -> Self {
        self.script = Some(text.into());
        self
    }

    /// A file for the guest, `/in/NAME`.
    #[must_use]
    pub fn input(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.inputs
            .push((name.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// A further disk for this boot only, `/dev/disk/NAME` in the guest; writes are thrown away.
    #[must_use]
    pub fn disk(mut self, name: &str, image: impl AsRef<Path>) -> Self {
        self.disks
            .push((name.to_owned(), image.as_ref().to_path_buf()));
        self
    }

    /// An argument of QEMU's `-smbios`.
    #[must_use]
    pub fn smbios(self, value: &str) -> Self {
        self.qemu("-smbios").qemu(value)
    }

    /// One more argument for QEMU.
    #[must_use]
    pub fn qemu(mut self, argument: &str) -> Self {
        self.qemu.push(argument.to_owned());
        self
    }

    /// How long nothing may happen, neither on the serial port nor on the TPM's bus.
    #[must_use]
    pub fn patience(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// How often a guest that crashes is started, the first time included; five times by default.
    #[must_use]
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.retries = attempts.saturating_sub(1);
        self
    }

    /// Ends the machine as soon as the firmware starts the image, with [`Ending::PowerOff`].
    #[must_use]
    pub(crate) fn end_at_start(mut self) -> Self {
        self.end_at_start = true;
        self
    }
}

impl Machine {
    /// Boots the machine and waits for the end of the boot.
    ///
    /// A guest that crashes is started again from the state before, at most four times; the report
    /// counts that. Everything that was started is ended when this returns, also with an error.
    ///
    /// # Errors
    /// When a file or program fails. A boot that ends badly is not an error: see
    /// [`Report::ending`].
    pub fn boot(&mut self, boot: &Boot) -> Result<Report> {
        for (name, _) in &boot.disks {
            check_disk_name(name)?;
        }
        let _lock = self.lock()?;
        // Absolute and short-lived: on the same file system, so that a copy can be a cheap one.
        let before = tempfile::Builder::new()
            .prefix(".before")
            .tempdir_in(self.directory())
            .map_err(Error::file(self.directory()))?;
        copy_state(self.directory(), before.path())?;
        let mut crashes = Vec::new();
        loop {
            let mut report = run_once(self, boot)?;
            let Ending::Crashed { message } = &report.ending else {
                report.crashes = crashes;
                return Ok(report);
            };
            if crashes.len() >= boot.retries {
                report.crashes = crashes;
                return Ok(report);
            }
            crashes.push(message.clone());
            copy_state(before.path(), self.directory())?;
        }
    }

    /// Holds the machine for this process.
    fn lock(&self) -> Result<File> {
        let path = self.directory().join(".lock");
        let file = File::create(&path).map_err(Error::file(&path))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Error::Machine {
                path: self.directory().to_path_buf(),
                problem: "another boot of this machine runs",
            }
        })?;
        Ok(file)
    }

    /// Writes the guest's input as an archive, padded to whole sectors.
    pub(crate) fn write_input(&self, boot: &Boot) -> Result<PathBuf> {
        let path = self.directory().join(".in.tar");
        let script = boot.script.as_deref().unwrap_or("true\n");
        let mut archive = tar::Builder::new(File::create(&path).map_err(Error::file(&path))?);
        let script = ("script".to_owned(), script.as_bytes().to_vec());
        for (name, content) in core::iter::once(&script).chain(&boot.inputs) {
            let mut header = tar::Header::new_ustar();
            header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
            header.set_mode(0o644);
            archive
                .append_data(&mut header, format!("in/{name}"), content.as_slice())
                .map_err(Error::file(&path))?;
        }
        archive.into_inner().map_err(Error::file(&path))?;
        Ok(path)
    }

    /// The disk that the guest writes its results to.
    pub(crate) fn make_output(&self) -> Result<PathBuf> {
        let path = self.directory().join(".out.tar");
        File::create(&path)
            .and_then(|file| file.set_len(64 << 20))
            .map_err(Error::file(&path))?;
        Ok(path)
    }

    /// What the guest wrote out.
    pub(crate) fn read_output(path: &Path) -> Result<std::collections::BTreeMap<String, Vec<u8>>> {
        let mut files = std::collections::BTreeMap::new();
        let mut archive = tar::Archive::new(File::open(path).map_err(Error::file(path))?);
        for entry in archive.entries().map_err(Error::file(path))? {
            let mut entry = entry.map_err(Error::file(path))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = entry.path().map_err(Error::file(path))?;
            let name = name
                .strip_prefix("./")
                .unwrap_or(&name)
                .to_string_lossy()
                .into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(Error::file(path))?;
            files.insert(name, content);
        }
        Ok(files)
    }

    /// Removes what only the boot needed.
    pub(crate) fn clean_up(&self) {
        for name in [".in.tar", ".out.tar"] {
            // A file that is not there needs no removal.
            let _ = fs::remove_file(self.directory().join(name));
        }
    }
}
