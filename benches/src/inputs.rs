//! The folder of one run: inputs of the wanted size, keys, and what cases leave behind until the next one.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use authenticode::{Certificate, ImageHasher, Prepared};
use uki::{Builder, Source, Stub};

use crate::Outcome;

/// Sizes at full scale, divided by `TRUSTEDBOOT_BENCH_DIVISOR` otherwise.
const INITRAMFS: u64 = 512 << 20;
const LARGE_FILE: u64 = 1 << 30;
const SMALL_FILES: u64 = 10_000;
const IMAGE_INITRAMFS: u64 = 538 << 20;
const SECTIONS: u64 = 256 << 20;

/// Folders among which the small files are spread.
pub(crate) const FOLDERS: u64 = 100;

/// The folder that all cases share.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    divisor: u64,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let divisor = std::env::var("TRUSTEDBOOT_BENCH_DIVISOR").unwrap_or_else(|_| "1".into());
        let divisor = divisor
            .parse()
            .ok()
            .filter(|divisor| *divisor > 0)
            .ok_or("TRUSTEDBOOT_BENCH_DIVISOR is to be a number from 1")?;
        Ok(Self {
            path: path.to_owned(),
            divisor,
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn read_text(&self, name: &str) -> Outcome<String> {
        Ok(fs::read_to_string(self.file(name))?)
    }

    /// Where a case writes.
    pub(crate) fn output(&self) -> PathBuf {
        self.file("output")
    }

    /// Makes everything that cases read.
    pub(crate) fn prepare(&self) -> Outcome<()> {
        self.fill("initramfs", INITRAMFS / self.divisor)?;
        self.fill("large/file", LARGE_FILE / self.divisor)?;
        self.fill("sections", SECTIONS / self.divisor)?;
        for n in 0..SMALL_FILES / self.divisor.min(100) {
            let name = format!("small/{:03}/{n:05}", n % FOLDERS);
            self.fill(&name, 4096)?;
        }
        for (name, script) in [
            ("pycdlib_iso.py", include_str!("../peers/pycdlib_iso.py")),
            ("mtools_esp.sh", include_str!("../peers/mtools_esp.sh")),
        ] {
            fs::write(self.file(name), script)?;
        }
        for key in ["signing", "pcr"] {
            self.make_key(key)?;
        }
        if self.file("stub").exists() {
            self.make_images()?;
        }
        crate::cases::unseal::prepare(self)
    }

    /// Removes what the case before left.
    pub(crate) fn reset(&self) -> Outcome<()> {
        let output = self.output();
        if output.exists() {
            fs::remove_file(output)?;
        }
        Ok(())
    }

    /// Bytes that no tool can compress or leave out, made without a generator of random numbers.
    fn fill(&self, name: &str, len: u64) -> Outcome<()> {
        let path = self.file(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut state = len | 1;
        for _ in 0..len / 8 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            out.write_all(&state.to_le_bytes())?;
        }
        out.flush()?;
        Ok(())
    }

    fn make_key(&self, name: &str) -> Outcome<()> {
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256"])
            .args(["-days", "3650", "-subj", "/CN=bench", "-keyout"])
            .arg(self.file(&format!("{name}.key")))
            .arg("-out")
            .arg(self.file(&format!("{name}.crt")))
            .output()
            .map_err(|error| format!("openssl: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let public = Command::new("openssl")
            .args(["x509", "-pubkey", "-noout", "-in"])
            .arg(self.file(&format!("{name}.crt")))
            .output()?;
        fs::write(self.file(&format!("{name}.pub")), public.stdout)?;
        Ok(())
    }

    /// An unsigned image and a signed one, of about 550 MiB with kernel and stub.
    fn make_images(&self) -> Outcome<()> {
        self.fill("image-initramfs", IMAGE_INITRAMFS / self.divisor)?;
        let plan = Builder::new(Stub::parse(&fs::read(self.file("stub"))?)?)
            .linux(Source::file(self.file("vmlinuz")))
            .initrd(Source::file(self.file("image-initramfs")))
            .plan()?;
        plan.write_to(&mut File::create(self.file("unsigned"))?)?;
        let mut hasher = ImageHasher::new();
        let mut signed = File::create(self.file("signed"))?;
        plan.write(
            &mut signed,
            &mut hasher,
            |hasher, part| hasher.update(part.bytes()),
            |_, _| Ok(Vec::new()),
        )?;
        let certificate = Certificate::from_pem(&self.read_text("signing.crt")?)?;
        let signer = authenticode::RsaSigner::from_pem(&self.read_text("signing.key")?)?;
        Prepared::new(hasher.finish()?, &certificate)?
            .sign(&signer)?
            .append_to(&mut signed)?;
        fs::remove_file(self.file("image-initramfs"))?;
        Ok(())
    }
}
