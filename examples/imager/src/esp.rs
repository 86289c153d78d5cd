//! The EFI system partition of an ISO or disk image: where it is and what boots from it.

use std::fs::File;
use std::path::{Path, PathBuf};

use iso9660::{FatReader, FatVolume, Guid, Item, ItemKind, Place, Report};

use crate::Error;
use crate::contents::Part;

/// Small files are read whole up to this length.
const MAX_FILE: u64 = 64 << 20;

/// A FAT volume inside a file.
#[derive(Debug)]
pub(crate) struct Esp {
    path: PathBuf,
    fat: FatReader<File>,
    items: Vec<Item>,
}

/// Everything there is to say about a medium.
pub(crate) fn report(path: &Path) -> Result<Report, Error> {
    let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
    Report::read(file).map_err(|error| Error::input("medium", path, error))
}

impl Esp {
    /// Finds the EFI system partition by GPT, or else by the MBR, or else the image that El Torito names for UEFI, or
    /// else takes the file for the volume itself.
    pub(crate) fn find(path: &Path) -> Result<Self, Error> {
        Self::of(path, &report(path)?)
    }

    /// The EFI system partition of a medium that was looked at.
    pub(crate) fn of(path: &Path, report: &Report) -> Result<Self, Error> {
        let mut volumes: Vec<&FatVolume> = report.fat_volumes.iter().collect();
        volumes.sort_by_key(|volume| rank(report, volume));
        let volume = volumes
            .first()
            .ok_or_else(|| Error::input("medium", path, "no EFI system partition"))?;
        let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
        let fat = volume
            .reader(file)
            .map_err(|error| Error::input("medium", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            fat,
            items: files(volume),
        })
    }

    fn file(&self, name: &str) -> Option<&Item> {
        self.items
            .iter()
            .find(|file| file.path_text().eq_ignore_ascii_case(name))
    }

    /// A small file's content.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.file(name) else {
            return Ok(None);
        };
        if file.len > MAX_FILE {
            return Err(Error::input(
                "medium",
                &self.path,
                format!("{name} is too long: {} bytes", file.len),
            ));
        }
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut self.part(name)?, &mut bytes)
            .map_err(|source| Error::io("read", &self.path, source))?;
        Ok(Some(bytes))
    }

    /// A file as a part of the medium.
    pub(crate) fn part(&self, name: &str) -> Result<Part, Error> {
        let missing = || Error::input("medium", &self.path, format!("no file {name}"));
        let file = self.file(name).ok_or_else(missing)?;
        let pieces = self.fat.extents(file).into_iter();
        Part::pieces(
            &self.path,
            pieces.map(|piece| (piece.offset, piece.len)).collect(),
        )
    }

    /// The paths of files in a folder with this ending, sorted.
    pub(crate) fn list(&self, folder: &str, ending: &str) -> Vec<String> {
        let in_folder = |path: &String| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            parent.eq_ignore_ascii_case(folder)
                && name
                    .to_ascii_lowercase()
                    .ends_with(&ending.to_ascii_lowercase())
        };
        let mut found: Vec<String> = self.items.iter().map(Item::path_text).collect();
        found.retain(in_folder);
        found.sort();
        found
    }

    /// The first file in a folder whose name starts and ends so.
    pub(crate) fn find_file(&self, folder: &str, start: &str, ending: &str) -> Option<String> {
        let starts = |path: &String| {
            path.rsplit('/')
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase()
                .starts_with(start)
        };
        self.list(folder, ending).into_iter().find(starts)
    }
}

fn files(volume: &FatVolume) -> Vec<Item> {
    let items = volume.items.iter();
    items
        .filter(|item| item.kind == ItemKind::File)
        .cloned()
        .collect()
}

/// The lower, the sooner firmware starts from it.
fn rank(report: &Report, volume: &FatVolume) -> u32 {
    let gpt = report.partitions.gpt.iter().flat_map(|gpt| &gpt.partitions);
    let is_esp = |number: u32| {
        gpt.clone()
            .any(|partition| partition.number == number && partition.kind == Guid::EFI_SYSTEM)
    };
    let is_mbr_esp = |number: u32| {
        let mut entries = report.partitions.mbr.iter();
        entries.any(|entry| entry.number == number && entry.kind == 0xEF)
    };
    let images = report.catalog.iter().flat_map(|catalog| &catalog.images);
    let is_uefi = |index: usize| {
        let image = images.clone().nth(index);
        image.is_some_and(|image| image.is_uefi() && image.is_bootable)
    };
    let rank = |place: &Place| match *place {
        Place::Gpt(number) if is_esp(number) => 0,
        Place::Mbr(number) if is_mbr_esp(number) => 1,
        Place::BootImage(index) if is_uefi(index) => 2,
        Place::Whole => 3,
        _ => 4,
    };
    volume.places.iter().map(rank).min().unwrap_or(4)
}
