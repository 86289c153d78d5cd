//! The two generations of firmware, boot loader and kernel that images are tried on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};
use crate::process::run;

/// A Debian release: its OVMF, systemd-stub, systemd-boot and kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Generation {
    /// OVMF 2022.11, systemd 252, Linux 6.1; from the packages of this machine.
    Debian12,
    /// OVMF 2025.02, systemd 257, Linux 6.12; from the tree that `.ci/debian13` makes.
    Debian13,
}

/// An OVMF build and its empty variable store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Firmware {
    /// The code, mapped read-only.
    pub code: PathBuf,
    /// The variable store of a machine that nobody has set up.
    pub variables: PathBuf,
    /// Whether the build keeps its variables in system management mode.
    pub smm: bool,
}

/// A kernel and its modules, unpacked and not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kernel {
    /// The kernel image.
    pub image: PathBuf,
    /// What `uname -r` says on it.
    pub release: String,
    /// The folder `lib/modules/RELEASE`.
    pub modules: PathBuf,
}

impl Generation {
    /// Both generations, the older one first.
    pub const ALL: [Self; 2] = [Self::Debian12, Self::Debian13];

    /// The generations whose files are on this machine.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|generation| generation.loader().is_ok())
            .collect()
    }

    /// A short name: `debian12` or `debian13`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian12 => "debian12",
            Self::Debian13 => "debian13",
        }
    }

    /// The folder that holds this generation's files.
    ///
    /// # Errors
    /// [`Error::Missing`] when neither `HOME` nor a cache folder is set.
    pub fn root(self) -> Result<PathBuf> {
        match self {
            Self::Debian12 => Ok(PathBuf::from("/")),
            Self::Debian13 => Ok(cache()?.join("debian13")),
        }
    }

    fn file(self, path: &str) -> Result<PathBuf> {
        let file = self.root()?.join(path);
        if file.is_file() {
            return Ok(file);
        }
        let hint = match self {
            Self::Debian12 => "install the packages named in .ci/packages (.ci/setup does it)",
            Self::Debian13 => "run .ci/debian13",
        };
        Err(Error::Missing {
            what: file.display().to_string(),
            hint,
        })
    }

    /// systemd-stub, unsigned.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there.
    pub fn stub(self) -> Result<PathBuf> {
        self.file("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    }

    /// systemd-boot, unsigned.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there.
    pub fn loader(self) -> Result<PathBuf> {
        self.file("usr/lib/systemd/boot/efi/systemd-bootx64.efi")
    }

    /// The firmware; `smm` chooses the build that defends its variables in system management mode.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there.
    pub fn firmware(self, smm: bool) -> Result<Firmware> {
        let code = if smm {
            "OVMF_CODE_4M.secboot.fd"
        } else {
            "OVMF_CODE_4M.fd"
        };
        Ok(Firmware {
            code: self.file(&format!("usr/share/OVMF/{code}"))?,
            variables: self.file("usr/share/OVMF/OVMF_VARS_4M.fd")?,
            smm,
        })
    }

    /// The kernel. Debian 12's is downloaded into the cache folder when it is not there.
    ///
    /// # Errors
    /// [`Error::Missing`] without a kernel, [`Error::Tool`] when it cannot be downloaded.
    pub fn kernel(self) -> Result<Kernel> {
        let tree = match self {
            Self::Debian12 => download_kernel(&cache()?)?,
            Self::Debian13 => self.root()?.join("kernel"),
        };
        let missing = || Error::Missing {
            what: format!("kernel under {}", tree.display()),
            hint: "run .ci/debian13",
        };
        let boot = tree.join("boot");
        let mut names: Vec<String> = std::fs::read_dir(&boot)
            .map_err(Error::file(&boot))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned))
            .collect();
        names.sort();
        let release = names.pop().ok_or_else(missing)?;
        let modules = ["lib", "usr/lib"]
            .map(|lib| tree.join(lib).join("modules").join(&release))
            .into_iter()
            .find(|folder| folder.is_dir())
            .ok_or_else(missing)?;
        Ok(Kernel {
            image: boot.join(format!("vmlinuz-{release}")),
            release,
            modules,
        })
    }
}

impl core::fmt::Display for Generation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Generation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|generation| generation.name() == text)
            .ok_or_else(|| Error::Invalid {
                what: "generation".to_owned(),
                problem: format!("{text:?} is neither debian12 nor debian13"),
            })
    }
}

/// The folder for things that are made or downloaded once.
fn cache() -> Result<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("TRUSTEDBOOT_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("trustedboot")))
        .or_else(|| Some(variable("HOME")?.join(".cache/trustedboot")))
        .ok_or(Error::Missing {
            what: "cache folder".to_owned(),
            hint: "set HOME or TRUSTEDBOOT_CACHE",
        })
}

/// Unpacks the kernel package that `linux-image-amd64` stands for, once.
fn download_kernel(cache: &Path) -> Result<PathBuf> {
    let tree = cache.join("debian12-kernel");
    std::fs::create_dir_all(cache).map_err(Error::file(cache))?;
    let lock = cache.join("debian12-kernel.lock");
    let lock = std::fs::File::create(&lock).map_err(Error::file(&lock))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|error| Error::File {
        path: cache.to_path_buf(),
        source: error.into(),
    })?;
    if tree.is_dir() {
        return Ok(tree);
    }
    let listing = run(Command::new("apt-cache").args(["depends", "linux-image-amd64"]))?;
    let package = String::from_utf8_lossy(&listing)
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("Depends: ")
                .filter(|name| name.starts_with("linux-image-"))
        })
        .map(str::to_owned)
        .ok_or(Error::Missing {
            what: "package linux-image-amd64".to_owned(),
            hint: "run apt-get update",
        })?;
    let scratch = tempfile::Builder::new()
        .prefix("kernel")
        .tempdir_in(cache)
        .map_err(Error::file(cache))?;
    run(Command::new("apt-get")
        .args(["download", "-q", &package])
        .current_dir(scratch.path()))?;
    let archive = std::fs::read_dir(scratch.path())
        .map_err(Error::file(scratch.path()))?
        .find_map(|entry| {
            Some(entry.ok()?.path()).filter(|path| path.extension().is_some_and(|end| end == "deb"))
        })
        .ok_or(Error::Missing {
            what: package,
            hint: "run apt-get update",
        })?;
    let unpacked = scratch.path().join("tree");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .args([&archive, &unpacked]))?;
    std::fs::rename(&unpacked, &tree).map_err(Error::file(&tree))?;
    Ok(tree)
}
