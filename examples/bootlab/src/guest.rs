//! The guest: a small initramfs that runs a script and hands out what it found.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::generation::Kernel;
use crate::initramfs::Tree;
use crate::module::Modules;
use crate::process::run;

/// The kernel command line that the guest needs.
pub const CMDLINE: &str = "console=ttyS0 loglevel=6 oops=panic panic=-1 mitigations=off cryptomgr.notests random.trust_cpu=on";

/// Modules that are loaded at once.
const LOADED: [&str; 3] = ["virtio_pci", "virtio_blk", "efivarfs"];

/// Modules that the script can load by name. Few, because firmware, stub and kernel hash the
/// initramfs a dozen times, in software emulation.
const AT_HAND: [&str; 5] = [
    "ext4",
    "dm_crypt",
    "algif_skcipher",
    "xts",
    "crc32c_generic",
];

/// Modules that only some kernels have; in the others they are built in or not needed.
const AT_HAND_IF_THERE: [&str; 1] = ["ecb"];

const BUSYBOX: &str = "/bin/busybox";

/// Builder of the guest's initramfs.
///
/// The script is not part of it: it comes with each [`Boot`](crate::Boot), on a disk, so that the
/// same image can do different things and still be measured the same.
///
/// In the script there are `/in`, `/out`, `/dev/disk/NAME` and the commands
/// - `load MODULE…`: loads kernel modules with what they need,
/// - `registers NAME [PCR…]`: notes registers for [`Report::registers_at`](crate::Report::registers_at),
/// - `write_variable NAME-GUID FILE`: writes an EFI variable with one `write`; the file holds the
///   attributes and the value,
/// - `leave reset` and `leave poweroff`: ends the machine at once, with nothing handed out.
///
/// ```no_run
/// let kernel = bootlab::Generation::Debian12.kernel()?;
/// let initramfs = bootlab::Guest::new(&kernel).binary("/usr/sbin/cryptsetup").build()?;
/// # Ok::<(), bootlab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Guest {
    kernel: Kernel,
    binaries: Vec<(PathBuf, String)>,
    libraries: Vec<String>,
    modules: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

impl Guest {
    /// A guest for this kernel.
    #[must_use]
    pub fn new(kernel: &Kernel) -> Self {
        Self {
            kernel: kernel.clone(),
            binaries: vec![("/usr/bin/chattr".into(), "/usr/bin/chattr".into())],
            libraries: Vec::new(),
            modules: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Adds a program with the libraries it is linked to, at the same path.
    #[must_use]
    pub fn binary(self, path: impl AsRef<Path>) -> Self {
        let to = path.as_ref().to_string_lossy().into_owned();
        self.binary_as(path, &to)
    }

    /// Adds a program with the libraries it is linked to, at another path.
    #[must_use]
    pub fn binary_as(mut self, path: impl AsRef<Path>, to: &str) -> Self {
        self.binaries
            .push((path.as_ref().to_path_buf(), to.to_owned()));
        self
    }

    /// Adds a library that is opened by name at run time, such as `libtss2-tcti-device.so.0`.
    #[must_use]
    pub fn library(mut self, soname: &str) -> Self {
        self.libraries.push(soname.to_owned());
        self
    }

    /// Adds a kernel module that the script can `load`, beside `ext4`, `dm-crypt`, `algif_skcipher`,
    /// `xts` and `ecb`; for instance `ahci`, `sr_mod` and `isofs` for the CD, `xhci_pci`, `usb_storage` and
    /// `sd_mod` for a USB stick, `vfat`, `nls_cp437` and `nls_ascii` for the system partition.
    #[must_use]
    pub fn module(mut self, name: &str) -> Self {
        self.modules.push(name.to_owned());
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files
            .push((path.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// The initramfs, compressed with zstd.
    ///
    /// # Errors
    /// When a program, library or module is not there.
    pub fn build(&self) -> Result<Vec<u8>> {
        let mut tree = Tree::default();
        for folder in [
            "proc",
            "sys",
            "dev",
            "tmp",
            "run",
            "in",
            "out/files",
            "out/registers",
            "mnt",
            "etc",
        ] {
            tree.directory(folder);
        }
        tree.file("init", 0o755, include_bytes!("init.sh").to_vec());
        tree.file(
            "lib/bootlab.sh",
            0o644,
            include_bytes!("commands.sh").to_vec(),
        );
        tree.file("bin/busybox", 0o755, read(Path::new(BUSYBOX))?);
        tree.link("bin/sh", "busybox");
        tree.file(
            "sbin/modprobe",
            0o755,
            include_bytes!("modprobe.sh").to_vec(),
        );
        self.add_modules(&mut tree)?;
        for (from, to) in &self.binaries {
            tree.file(to, 0o755, read(from)?);
            add_libraries(&mut tree, from)?;
        }
        for soname in &self.libraries {
            let path = find_library(soname)?;
            tree.file(&path.to_string_lossy(), 0o755, read(&path)?);
            add_libraries(&mut tree, &path)?;
        }
        for (path, content) in &self.files {
            tree.file(path, 0o644, content.clone());
        }
        let archive = tree.to_cpio();
        zstd::bulk::compress(&archive, 9).map_err(Error::file("initramfs"))
    }

    fn add_modules(&self, tree: &mut Tree) -> Result<()> {
        let modules = Modules::of(&self.kernel)?;
        let wanted = LOADED
            .into_iter()
            .chain(AT_HAND)
            .chain(AT_HAND_IF_THERE)
            .chain(self.modules.iter().map(String::as_str));
        for name in wanted {
            let mut list = String::new();
            let needed = match modules.with_needs(name) {
                Err(_) if AT_HAND_IF_THERE.contains(&name) => Vec::new(),
                other => other?,
            };
            for module in needed {
                let path = format!("lib/modules/{}.ko", module.name);
                list.push_str(&module.name);
                list.push('\n');
                if !tree.contains(&path) {
                    tree.file(&path, 0o644, module.content);
                }
            }
            tree.file(
                &format!("lib/needs/{}", name.replace('-', "_")),
                0o644,
                list.into_bytes(),
            );
        }
        let loaded = LOADED.join(" ");
        tree.file("lib/needs.first", 0o644, loaded.into_bytes());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::file(path))
}

/// Adds the libraries that a program or library is linked to, and the dynamic linker.
fn add_libraries(tree: &mut Tree, program: &Path) -> Result<()> {
    let listing = match run(Command::new("ldd").arg(program)) {
        Ok(listing) => listing,
        // ldd's answer for static programs.
        Err(Error::Tool { message, .. }) if message.contains("not a dynamic executable") => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for line in String::from_utf8_lossy(&listing).lines() {
        if line.contains("not found") {
            let hint = "the program cannot run on this machine";
            return Err(Error::Missing {
                what: line.trim().to_owned(),
                hint,
            });
        }
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        if let Some(path) = path.filter(|path| !tree.contains(path)) {
            tree.file(path, 0o755, read(Path::new(path))?);
        }
    }
    Ok(())
}

fn find_library(soname: &str) -> Result<PathBuf> {
    let listing = run(Command::new("/sbin/ldconfig").arg("-p"))?;
    String::from_utf8_lossy(&listing)
        .lines()
        .filter(|line| line.split_whitespace().next() == Some(soname) && line.contains("x86-64"))
        .find_map(|line| line.rsplit(" => ").next().map(PathBuf::from))
        .ok_or_else(|| Error::Missing {
            what: soname.to_owned(),
            hint: "install the package that holds the library",
        })
}
