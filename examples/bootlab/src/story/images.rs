//! Keys and images of the story, made by `imager`, and their predictions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::esp::Esp;
use crate::generation::{Generation, Kernel};
use crate::guest::{CMDLINE, Guest};
use crate::prediction::Prediction;
use crate::process::run;
use crate::programs::program;

/// The phase for which the disk key may be unsealed.
pub(crate) const PHASE: &str = "enter-initrd";

/// What makes one image differ from another.
struct Recipe<'a> {
    name: &'a str,
    initramfs: &'a Path,
    cmdline: &'a str,
    pcr_key: &'a Path,
}

/// Where everything lies.
#[derive(Debug)]
pub(crate) struct Images {
    generation: Generation,
    kernel: Kernel,
    imager: PathBuf,
    folder: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) main: PathBuf,
    pub(crate) upgrade: PathBuf,
    pub(crate) other_pcr_key: PathBuf,
    pub(crate) tampered: PathBuf,
    pub(crate) wrong_signer: PathBuf,
    pub(crate) passed_arguments: PathBuf,
    /// The command line inside the main image.
    pub(crate) cmdline: String,
}

impl Images {
    pub(crate) fn make(generation: Generation, key_bits: u32, folder: &Path) -> Result<Self> {
        let path = |name: &str| folder.join(name);
        let kernel = generation.kernel()?;
        let images = Self {
            generation,
            imager: program("imager", "trustedboot-imager")?,
            folder: folder.to_path_buf(),
            keys: path("keys"),
            main: path("main.iso"),
            upgrade: path("upgrade.iso"),
            other_pcr_key: path("other-pcr-key.iso"),
            tampered: path("tampered.iso"),
            wrong_signer: path("wrong-signer.img"),
            passed_arguments: path("passed-arguments.img"),
            cmdline: format!("{CMDLINE} bootlab.edition=first"),
            kernel,
        };
        let others = path("other-keys");
        for keys in [&images.keys, &others] {
            images.generate_keys(keys, key_bits)?;
        }
        let (first, second) = images.write_guests()?;
        let pcr_key = images.keys.join("pcr-signing-key.pem");
        let cmdline = images.cmdline.as_str();
        let main = Recipe {
            name: "main.iso",
            initramfs: &first,
            cmdline,
            pcr_key: &pcr_key,
        };
        images.build("secureboot-iso", &images.keys, &main)?;
        images.build(
            "secureboot-iso",
            &images.keys,
            &Recipe {
                name: "upgrade.iso",
                initramfs: &second,
                cmdline: &format!("{CMDLINE} bootlab.edition=second"),
                pcr_key: &pcr_key,
            },
        )?;
        images.build(
            "secureboot-iso",
            &images.keys,
            &Recipe {
                name: "other-pcr-key.iso",
                pcr_key: &others.join("pcr-signing-key.pem"),
                ..main
            },
        )?;
        images.build(
            "secureboot-metal-uki",
            &images.keys,
            &Recipe {
                name: "main.efi",
                ..main
            },
        )?;
        images.build(
            "secureboot-metal-uki",
            &others,
            &Recipe {
                name: "other.efi",
                ..main
            },
        )?;
        images.tamper()?;
        Esp::new()
            .file("EFI/BOOT/BOOTX64.EFI", read(&path("other.efi"))?)
            .write(&images.wrong_signer)?;
        images.pass_arguments()?;
        Ok(images)
    }

    fn imager(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        run(Command::new(&self.imager)
            .arg("--quiet")
            .args(arguments)
            .current_dir(&self.folder))
    }

    fn generate_keys(&self, keys: &Path, bits: u32) -> Result<()> {
        let keys = text(keys)?;
        self.imager(&["gen", "uki", "--bits", &bits.to_string(), "--output", keys])?;
        self.imager(&["gen", "pcr", "--output", keys])?;
        self.imager(&["gen", "database", "--output", keys])?;
        Ok(())
    }

    /// The guests of the first and the second edition; they differ by one file.
    fn write_guests(&self) -> Result<(PathBuf, PathBuf)> {
        let disk_key = program("disk-key", "trustedboot-disk-key")?;
        let stripped = self.folder.join("disk-key");
        run(Command::new("strip").arg("-o").args([&stripped, &disk_key]))?;
        let guest = |edition: &str| {
            Guest::new(&self.kernel)
                .binary("/usr/sbin/cryptsetup")
                .binary_as(&stripped, "/bin/disk-key")
                .library("libtss2-tcti-device.so.0")
                .file("/etc/edition", edition)
                .build()
        };
        let paths =
            ["first", "second"].map(|edition| self.folder.join(format!("{edition}.initramfs")));
        let [first, second] = &paths;
        write(first, &guest("first\n")?)?;
        write(second, &guest("second\n")?)?;
        write(
            &self.folder.join("os-release"),
            b"ID=bootlab\nNAME=\"bootlab guest\"\nVERSION_ID=1\n",
        )?;
        Ok(paths.into())
    }

    fn build(&self, command: &str, keys: &Path, recipe: &Recipe<'_>) -> Result<()> {
        let (stub, loader) = (self.generation.stub()?, self.generation.loader()?);
        self.imager(&[
            command,
            "--kernel",
            text(&self.kernel.image)?,
            "--initramfs",
            text(recipe.initramfs)?,
            "--sd-stub",
            text(&stub)?,
            "--sd-boot",
            text(&loader)?,
            "--cmdline",
            recipe.cmdline,
            "--os-release",
            "os-release",
            "--phases",
            PHASE,
            "--secureboot-dir",
            text(keys)?,
            "--pcr-key",
            text(recipe.pcr_key)?,
            "--output",
            recipe.name,
        ])?;
        Ok(())
    }

    /// The main image with one byte of the UKI's command line changed, in each copy of the UKI.
    fn tamper(&self) -> Result<()> {
        let mut image = read(&self.main)?;
        let marker = b"bootlab.edition=first";
        let mut found = 0;
        let mut start = 0;
        while let Some(at) = image.get(start..).and_then(|rest| find(rest, marker)) {
            let at = start.saturating_add(at);
            if let Some(byte) = image.get_mut(at) {
                *byte = b'B';
            }
            start = at.saturating_add(1);
            found += 1;
        }
        if found == 0 {
            return Err(Error::Invalid {
                what: "main.iso".to_owned(),
                problem: "holds no command line".to_owned(),
            });
        }
        write(&self.tampered, &image)
    }

    /// A system partition whose loader entry passes arguments to the UKI.
    fn pass_arguments(&self) -> Result<()> {
        let loader = self.folder.join("loader.efi");
        run(Command::new("sbsign")
            .arg("--key")
            .arg(self.keys.join("uki-signing-key.pem"))
            .arg("--cert")
            .arg(self.keys.join("uki-signing-cert.pem"))
            .arg("--output")
            .args([&loader, &self.generation.loader()?]))?;
        let entry = format!("title passed\nefi /EFI/lab.efi\noptions {PASSED}\n");
        Esp::new()
            .file("EFI/BOOT/BOOTX64.EFI", read(&loader)?)
            .file("EFI/lab.efi", read(&self.folder.join("main.efi"))?)
            .file("loader/entries/passed.conf", entry)
            .file("loader/loader.conf", "timeout 0\ndefault passed.conf\n")
            .write(&self.passed_arguments)
    }

    /// What `imager predict` says about one of the images.
    pub(crate) fn predict(&self, image: &Path, more: &[&str]) -> Result<Prediction> {
        let keys = text(&self.keys)?;
        let mut arguments = vec![
            "predict",
            text(image)?,
            "--secureboot-dir",
            keys,
            "--phases",
            PHASE,
            "--json",
        ];
        arguments.extend(more);
        Prediction::from_json(&String::from_utf8_lossy(&self.imager(&arguments)?))
    }

    /// A scratch file beside the images.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What the loader passes to the UKI in the boot with passed arguments.
pub(crate) const PASSED: &str = "bootlab.passed=yes init=/in/passed";

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Invalid {
        what: path.display().to_string(),
        problem: "the path is not UTF-8".to_owned(),
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::file(path))
}

pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(Error::file(path))
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
