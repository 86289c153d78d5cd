//! What a file holds, whatever kind of medium it is: a UKI alone, or an ISO or disk image with loader and UKI on it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pcr::{Bank, BootImage, Digest, Pcr11, SectionId};
use uki::{SectionName, Uki};

use crate::Error;

/// A part of a file, as a file of its own.
#[derive(Debug)]
pub struct Part {
    file: File,
    start: u64,
    len: u64,
    position: u64,
}

impl Part {
    /// The bytes from `start` on, `len` of them.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened.
    pub fn open(path: &Path, start: u64, len: u64) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
        Ok(Self {
            file,
            start,
            len,
            position: 0,
        })
    }

    /// A second view of the same bytes.
    fn again(&self) -> io::Result<Self> {
        // A clone shares its position with the original; each read sets it, and nothing reads at the same time.
        Ok(Self {
            file: self.file.try_clone()?,
            start: self.start,
            len: self.len,
            position: 0,
        })
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.position);
        let take = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.file
            .seek(SeekFrom::Start(self.start + self.position))?;
        let read = self.file.read(buffer.get_mut(..take).unwrap_or_default())?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// What boots from a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Contents {
    /// The file.
    pub path: PathBuf,
    /// The UKI.
    pub uki: Part,
    /// The boot loader that starts it; none when firmware starts the UKI itself.
    pub loader: Option<Vec<u8>>,
    /// `loader/loader.conf`.
    pub loader_conf: Option<Vec<u8>>,
    /// Enrolment files on the medium: variable name and `.auth`.
    pub enrolment: Vec<(&'static str, Vec<u8>)>,
    /// The first sectors, where a partition table is.
    pub start: Vec<u8>,
}

impl Contents {
    /// Finds loader and UKI.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`] when the file is neither an EFI image nor a medium with a UKI.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|source| Error::io("read", path, source))?;
        let mut start = Vec::new();
        let len = file
            .metadata()
            .map_err(|source| Error::io("read", path, source))?
            .len();
        Read::by_ref(&mut file)
            .take(64 << 10)
            .read_to_end(&mut start)
            .map_err(|source| Error::io("read", path, source))?;
        if start.starts_with(b"MZ") {
            let uki = Part::open(path, 0, len)?;
            return Ok(Self {
                path: path.to_owned(),
                uki,
                loader: None,
                loader_conf: None,
                enrolment: Vec::new(),
                start: Vec::new(),
            });
        }
        Self::from_medium(path, start)
    }

    fn from_medium(path: &Path, start: Vec<u8>) -> Result<Self, Error> {
        let esp = crate::esp::Esp::find(path)?;
        let read = |name: &str| esp.read(name);
        let loader = esp.find_file("EFI/BOOT", "BOOT", ".EFI");
        let ukis = esp.list("EFI/Linux", ".efi");
        let uki = match ukis.as_slice() {
            [] => return Err(Error::input("medium", path, "no UKI in EFI/Linux")),
            // systemd-boot sorts by version, newest first; with one UKI there is nothing to choose.
            [.., last] => esp.part(last)?,
        };
        let mut enrolment = Vec::new();
        for (name, file) in [
            ("db", "db.auth"),
            ("dbx", "dbx.auth"),
            ("KEK", "KEK.auth"),
            ("PK", "PK.auth"),
        ] {
            if let Some(bytes) = read(&format!("loader/keys/auto/{file}"))? {
                enrolment.push((name, bytes));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            uki,
            loader: loader.map(|name| esp.read(&name)).transpose()?.flatten(),
            loader_conf: read("loader/loader.conf")?,
            enrolment,
            start,
        })
    }

    /// The UKI's headers.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no UKI.
    pub fn uki(&self) -> Result<Uki<uki::Stream<Part>>, Error> {
        let part = self
            .uki
            .again()
            .map_err(|source| Error::io("read", &self.path, source))?;
        let uki = Uki::read(part).map_err(|error| Error::input("UKI", &self.path, error))?;
        if uki.is_uki() {
            return Ok(uki);
        }
        Err(Error::input("UKI", &self.path, "it has no .linux section"))
    }

    /// The section hashes of the UKI for these banks.
    ///
    /// # Errors
    /// As [`Contents::uki`], and read errors.
    pub fn pcr11(&self, uki: &Uki<uki::Stream<Part>>, banks: &[Bank]) -> Result<Pcr11, Error> {
        let mut boot = Pcr11::new(
            pcr::Dialect::identify(uki.stub().name(), uki.stub().version()),
            banks,
        );
        let mut buffer = vec![0; 1 << 20];
        let names = uki.sections().iter().map(|section| section.name().as_str());
        for (section, id) in uki.sections().iter().zip(SectionId::in_table(names)) {
            let mut reader = uki.reader(section);
            loop {
                let len = reader
                    .read(&mut buffer)
                    .map_err(|source| Error::io("read", &self.path, source))?;
                if len == 0 {
                    break;
                }
                boot.observe(id, buffer.get(..len).unwrap_or_default());
            }
        }
        Ok(boot)
    }

    /// The UKI as firmware judges and measures it.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn uki_image(&self) -> Result<authenticode::Image, Error> {
        let mut part = self
            .uki
            .again()
            .map_err(|source| Error::io("read", &self.path, source))?;
        let options = authenticode::ImageOptions::new().hashes(&authenticode::HashAlgorithm::ALL);
        authenticode::Image::read_with(&mut part, &options)
            .map_err(|error| Error::input("UKI", &self.path, error))
    }

    /// The UKI, or whatever EFI image the file is, hashed with these options; what is wrong with it is for the caller.
    pub(crate) fn read_image(
        &self,
        options: &authenticode::ImageOptions,
    ) -> Result<Result<authenticode::Image, authenticode::Error>, Error> {
        let mut part = self
            .uki
            .again()
            .map_err(|source| Error::io("read", &self.path, source))?;
        Ok(authenticode::Image::read_with(&mut part, options))
    }

    /// The loader likewise.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn loader_image(&self) -> Result<Option<authenticode::Image>, Error> {
        let Some(bytes) = &self.loader else {
            return Ok(None);
        };
        image(bytes)
            .map(Some)
            .map_err(|error| Error::input("boot loader", &self.path, error))
    }

    /// The kernel inside, likewise: firmware measures it when the stub lets it load the kernel.
    ///
    /// # Errors
    /// [`Error::Input`], read errors.
    pub fn kernel_image(
        &self,
        uki: &Uki<uki::Stream<Part>>,
    ) -> Result<Option<authenticode::Image>, Error> {
        let Some(section) = uki.base().section(&SectionName::LINUX) else {
            return Ok(None);
        };
        let bytes = uki
            .bytes(section)
            .map_err(|error| Error::input("UKI", &self.path, error))?;
        // A kernel that is no EFI image, or one whose digest tools disagree about, has no predictable measurement.
        Ok(image(&bytes).ok())
    }
}

fn image(bytes: &[u8]) -> Result<authenticode::Image, authenticode::Error> {
    let options = authenticode::ImageOptions::new().hashes(&authenticode::HashAlgorithm::ALL);
    authenticode::Image::parse_with(bytes, &options)
}

/// The digests that PCR 4 gets, one for each bank.
///
/// # Errors
/// [`Error::Step`] when the image's digest is not settled.
pub fn digests(image: &authenticode::Image) -> Result<Vec<Digest>, Error> {
    Bank::ALL
        .into_iter()
        .zip(authenticode::HashAlgorithm::ALL)
        .map(|(bank, algorithm)| {
            let digest = image
                .digest_as_loaded(algorithm)
                .map_err(|error| Error::step("hash the image", error))?;
            Digest::new(bank, digest.as_bytes()).ok_or_else(|| {
                Error::step(
                    "hash the image",
                    "the digest has another length than its bank",
                )
            })
        })
        .collect()
}

/// The image as PCR 7 sees it: digests and signatures.
///
/// # Errors
/// As [`digests`].
pub fn boot_image(image: &authenticode::Image, name: &str) -> Result<BootImage, Error> {
    let mut boot = BootImage::new(digests(image)?).named(name);
    if image.is_signed() {
        boot = boot.certificate_table(image.table().problem().is_none());
        for entry in image.entries() {
            if let Some(body) = entry.pkcs7_data() {
                boot = boot.signature(body);
            }
        }
    }
    Ok(boot)
}
