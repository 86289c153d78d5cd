//! What a file holds, whatever kind of medium it is: a UKI alone, or an ISO or disk image with loader and UKI on it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pcr::{Bank, BootImage, Digest, Pcr11};
use uki::Uki;

use crate::Error;
use crate::boot_entry::{self, BootEntry};
use crate::companions::Companions;
use crate::esp::Esp;
use crate::one_pass;

/// A part of a file, as a file of its own.
#[derive(Debug)]
pub struct Part {
    file: File,
    /// Offset and length of each piece.
    pieces: Vec<(u64, u64)>,
    len: u64,
    position: u64,
}

impl Part {
    /// The bytes from `start` on, `len` of them.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened.
    pub fn open(path: &Path, start: u64, len: u64) -> Result<Self, Error> {
        Self::pieces(path, vec![(start, len)])
    }

    /// Several ranges, each its offset and length, one after the other.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened.
    pub fn pieces(path: &Path, pieces: Vec<(u64, u64)>) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
        Ok(Self {
            file,
            len: pieces
                .iter()
                .fold(0, |total, piece| total.saturating_add(piece.1)),
            pieces,
            position: 0,
        })
    }

    /// A second view of the same bytes.
    fn again(&self) -> io::Result<Self> {
        // A clone shares its position with the original; each read sets it, and nothing reads at the same time.
        Ok(Self {
            file: self.file.try_clone()?,
            pieces: self.pieces.clone(),
            len: self.len,
            position: 0,
        })
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut within = self.position;
        for (start, len) in &self.pieces {
            if within >= *len {
                within -= len;
                continue;
            }
            let left = usize::try_from(len - within).unwrap_or(usize::MAX);
            let take = left.min(buffer.len());
            self.file
                .seek(SeekFrom::Start(start.saturating_add(within)))?;
            let read = self.file.read(buffer.get_mut(..take).unwrap_or_default())?;
            self.position += read as u64;
            return Ok(read);
        }
        Ok(0)
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
    /// The boot entry that starts the UKI, on a medium.
    pub entry: Option<BootEntry>,
    /// What was chosen for the reader.
    pub notes: Vec<String>,
}

impl Contents {
    /// Finds loader and UKI.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Input`] when the file is neither an EFI image nor a medium with a UKI.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_entry(path, None)
    }

    /// As [`Contents::open`], with the boot entry of this name instead of the one that starts by itself.
    ///
    /// # Errors
    /// As [`Contents::open`]; [`Error::Usage`] when there is no such entry.
    pub fn open_entry(path: &Path, entry: Option<&str>) -> Result<Self, Error> {
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
                entry: None,
                notes: Vec::new(),
            });
        }
        Self::from_medium(path, start, entry)
    }

    fn from_medium(path: &Path, start: Vec<u8>, entry: Option<&str>) -> Result<Self, Error> {
        let esp = Esp::find(path)?;
        let read = |name: &str| esp.read(name);
        let loader = esp.find_file("EFI/BOOT", "BOOT", ".EFI");
        let loader_conf = read("loader/loader.conf")?;
        let (entry, notes) = boot_entry::choose(&esp, loader_conf.as_deref(), entry)?;
        let uki = esp.part(&entry.path)?;
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
            loader_conf,
            enrolment,
            start,
            entry: Some(entry),
            notes,
        })
    }

    /// What lies beside the UKI on the medium.
    pub(crate) fn companions(&self) -> Result<Companions, Error> {
        match &self.entry {
            Some(entry) => Companions::on_medium(&Esp::find(&self.path)?, entry),
            None => Ok(Companions::default()),
        }
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

    /// The UKI's sections hashed for these banks, and the image as firmware judges and measures it: both from one pass
    /// over the file.
    ///
    /// # Errors
    /// As [`Contents::uki`], and read errors.
    pub fn hashed(
        &self,
        uki: &Uki<uki::Stream<Part>>,
        banks: &[Bank],
    ) -> Result<(Pcr11, authenticode::Image), Error> {
        let failed = |source| Error::io("read", &self.path, source);
        let mut part = self.uki.again().map_err(failed)?;
        let len = self.uki.len;
        let (boot, image) = one_pass::hash(&mut part, len, uki, banks).map_err(failed)?;
        match image {
            Ok(image) => Ok((boot, image)),
            // Images that cannot be hashed while they pass by are looked at again.
            Err(_) => Ok((boot, self.uki_image()?)),
        }
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
}

/// An image in memory, hashed for every bank.
pub(crate) fn image(bytes: &[u8]) -> Result<authenticode::Image, authenticode::Error> {
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
