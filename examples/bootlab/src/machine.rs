//! A machine: a directory with firmware variables, TPM state and disks.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::generation::Firmware;
use crate::tpm::Tpm;
use crate::tpm_command::BANKS;

/// A machine whose state persists between boots.
///
/// The directory holds `machine.json`, the variable store `variables.fd`, the TPM's state in
/// `tpm/` and one file a disk. Copying the directory copies the machine, its TPM included.
///
/// ```no_run
/// use bootlab::{Boot, Generation, Machine, Medium};
///
/// let firmware = Generation::Debian12.firmware(true)?;
/// let mut machine = Machine::builder(firmware).disk("data", 64 << 20).create("machine")?;
/// let report = machine.boot(&Boot::new(Medium::cd("image.iso")))?;
/// println!("{:?}", report.registers().hex("sha256", 11));
/// # Ok::<(), bootlab::Error>(())
/// ```
#[derive(Debug)]
pub struct Machine {
    directory: PathBuf,
    description: Description,
}

/// What `machine.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) code: PathBuf,
    pub(crate) smm: bool,
    pub(crate) tpm: bool,
    pub(crate) memory_mib: u32,
    pub(crate) disks: Vec<String>,
}

/// Options of a new machine.
#[derive(Debug, Clone)]
pub struct MachineBuilder {
    firmware: Firmware,
    variables: PathBuf,
    banks: Option<Vec<String>>,
    memory_mib: u32,
    disks: Vec<(String, DiskContent)>,
}

#[derive(Debug, Clone)]
enum DiskContent {
    Blank(u64),
    Copy(PathBuf),
}

impl MachineBuilder {
    /// Starts from this variable store instead of the firmware's empty one.
    #[must_use]
    pub fn variables(mut self, store: impl AsRef<Path>) -> Self {
        self.variables = store.as_ref().to_path_buf();
        self
    }

    /// The TPM's active banks, by the names `sha1`, `sha256`, `sha384`, `sha512`; all by default.
    #[must_use]
    pub fn banks(mut self, banks: &[&str]) -> Self {
        self.banks = Some(banks.iter().map(|&bank| bank.to_owned()).collect());
        self
    }

    /// No TPM.
    #[must_use]
    pub fn without_tpm(mut self) -> Self {
        self.banks = None;
        self
    }

    /// Size of the memory in MiB; 640 by default.
    #[must_use]
    pub fn memory_mib(mut self, size: u32) -> Self {
        self.memory_mib = size;
        self
    }

    /// Adds a blank disk, `/dev/disk/NAME` in the guest.
    #[must_use]
    pub fn disk(mut self, name: &str, len: u64) -> Self {
        self.disks.push((name.to_owned(), DiskContent::Blank(len)));
        self
    }

    /// Adds a disk with the content of a file.
    #[must_use]
    pub fn disk_from(mut self, name: &str, image: impl AsRef<Path>) -> Self {
        self.disks.push((
            name.to_owned(),
            DiskContent::Copy(image.as_ref().to_path_buf()),
        ));
        self
    }

    /// Makes the machine in a new or empty directory.
    ///
    /// # Errors
    /// When the directory holds something, a bank or disk name is not one, or a file fails.
    pub fn create(self, directory: impl AsRef<Path>) -> Result<Machine> {
        let directory = directory.as_ref();
        for bank in self.banks.iter().flatten() {
            if !BANKS.iter().any(|(name, _)| name == bank) {
                return Err(invalid(
                    "bank",
                    format!("{bank:?} is not one of sha1, sha256, sha384, sha512"),
                ));
            }
        }
        for (name, _) in &self.disks {
            check_disk_name(name)?;
        }
        fs::create_dir_all(directory).map_err(Error::file(directory))?;
        let used = fs::read_dir(directory)
            .map_err(Error::file(directory))?
            .next()
            .is_some();
        if used {
            let path = directory.to_path_buf();
            return Err(Error::Machine {
                path,
                problem: "the directory is not empty",
            });
        }
        let machine = Machine {
            directory: directory.to_path_buf(),
            description: Description {
                code: self.firmware.code,
                smm: self.firmware.smm,
                tpm: self.banks.is_some(),
                memory_mib: self.memory_mib,
                disks: self.disks.iter().map(|(name, _)| name.clone()).collect(),
            },
        };
        copy_sparse(&self.variables, &machine.variable_store())?;
        for (name, content) in &self.disks {
            let path = machine.disk_path(name);
            match content {
                DiskContent::Blank(len) => {
                    File::create(&path)
                        .and_then(|file| file.set_len(*len))
                        .map_err(Error::file(&path))?;
                }
                DiskContent::Copy(from) => copy_sparse(from, &path)?,
            }
        }
        if let Some(banks) = &self.banks {
            let state = machine.tpm_state();
            fs::create_dir(&state).map_err(Error::file(&state))?;
            Tpm::make(&state, banks)?;
        }
        let document =
            serde_json::to_vec_pretty(&machine.description).map_err(|error| Error::Invalid {
                what: "machine.json".to_owned(),
                problem: error.to_string(),
            })?;
        let path = directory.join("machine.json");
        fs::write(&path, document).map_err(Error::file(path))?;
        Ok(machine)
    }
}

impl Machine {
    /// A new machine with this firmware.
    #[must_use]
    pub fn builder(firmware: Firmware) -> MachineBuilder {
        MachineBuilder {
            variables: firmware.variables.clone(),
            firmware,
            banks: Some(BANKS.iter().map(|(name, _)| (*name).to_owned()).collect()),
            memory_mib: 640,
            disks: Vec::new(),
        }
    }

    /// An existing machine.
    ///
    /// # Errors
    /// When the directory holds no machine.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref().to_path_buf();
        let path = directory.join("machine.json");
        if !path.exists() {
            return Err(Error::Machine {
                path: directory,
                problem: "there is no machine (no machine.json)",
            });
        }
        let text = fs::read(&path).map_err(Error::file(&path))?;
        let description = serde_json::from_slice(&text)
            .map_err(|error| invalid("machine.json", error.to_string()))?;
        Ok(Self {
            directory,
            description,
        })
    }

    /// Copies the machine, its TPM included, into a new or empty directory.
    ///
    /// # Errors
    /// When the directory holds something or a file fails.
    pub fn fork(&self, directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        fs::create_dir_all(directory).map_err(Error::file(directory))?;
        if fs::read_dir(directory)
            .map_err(Error::file(directory))?
            .next()
            .is_some()
        {
            let path = directory.to_path_buf();
            return Err(Error::Machine {
                path,
                problem: "the directory is not empty",
            });
        }
        copy_state(&self.directory, directory)?;
        Self::open(directory)
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file with the firmware's variables, as OVMF keeps them.
    #[must_use]
    pub fn variable_store(&self) -> PathBuf {
        self.directory.join("variables.fd")
    }

    /// The image file of one of its disks.
    #[must_use]
    pub fn disk_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.img"))
    }

    pub(crate) fn tpm_state(&self) -> PathBuf {
        self.directory.join("tpm")
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }
}

fn invalid(what: &str, problem: String) -> Error {
    Error::Invalid {
        what: what.to_owned(),
        problem,
    }
}

/// Names of disks become file names and virtio serial numbers (at most 20 bytes).
pub(crate) fn check_disk_name(name: &str) -> Result<()> {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let reserved = ["medium", "lab-in", "lab-out"].contains(&name);
    if plain && !reserved && (1..=20).contains(&name.len()) {
        return Ok(());
    }
    Err(invalid(
        "disk name",
        format!("{name:?} is reserved or not 1 to 20 letters, digits and hyphens"),
    ))
}

/// Copies the files of a machine, without what a boot leaves behind.
pub(crate) fn copy_state(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::file(from))? {
        let entry = entry.map_err(Error::file(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name == "tpm" {
                let target = to.join(&name);
                fs::create_dir_all(&target).map_err(Error::file(&target))?;
                copy_state(&path, &target)?;
            }
        } else if name != ".lock" {
            copy_sparse(&path, &to.join(&name))?;
        }
    }
    Ok(())
}

/// Copies a file and leaves holes where it holds zeros.
pub(crate) fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(Error::file(from))?;
    let mut target = File::create(to).map_err(Error::file(to))?;
    let mut block = vec![0; 256 * 1024];
    let mut len = 0u64;
    loop {
        let count = source.read(&mut block).map_err(Error::file(from))?;
        let Some(data) = block.get(..count).filter(|data| !data.is_empty()) else {
            break;
        };
        if data.iter().any(|byte| *byte != 0) {
            target.write_all(data).map_err(Error::file(to))?;
        } else {
            target
                .seek(SeekFrom::Current(i64::try_from(count).unwrap_or(i64::MAX)))
                .map_err(Error::file(to))?;
        }
        len = len.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    target.set_len(len).map_err(Error::file(to))
}
