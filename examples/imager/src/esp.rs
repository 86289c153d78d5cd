//! The EFI system partition of an ISO or disk image: enough of FAT to find what boots.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::contents::Part;

/// Files of a directory are not looked for beyond this many bytes of it.
const MAX_DIRECTORY: usize = 2 << 20;
/// Small files are read whole up to this length.
const MAX_FILE: u64 = 64 << 20;

/// A FAT volume inside a file.
#[derive(Debug)]
pub(crate) struct Esp {
    path: PathBuf,
    /// Where the volume starts in the file.
    start: u64,
    fat: Vec<u8>,
    kind: Kind,
    cluster_len: u64,
    data_start: u64,
    clusters: u64,
    root: Root,
    files: Vec<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

#[derive(Debug, Clone, Copy)]
enum Root {
    /// FAT12 and FAT16: a fixed place.
    Fixed {
        offset: u64,
        len: u64,
    },
    Cluster(u64),
}

/// A file by its path, as it is written in the directories.
#[derive(Debug)]
struct Found {
    path: String,
    cluster: u64,
    len: u64,
}

impl Esp {
    /// Finds the EFI system partition by GPT, or else the image that El Torito names, or else takes the file for the
    /// volume itself.
    pub(crate) fn find(path: &Path) -> Result<Self, Error> {
        let mut last = None;
        for start in places(path)? {
            match Self::at(path, start) {
                Ok(esp) => return Ok(esp),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::input("medium", path, "no EFI system partition")))
    }

    fn at(path: &Path, start: u64) -> Result<Self, Error> {
        let wrong =
            |what: &'static str| Error::input("medium", path, format!("{what} at byte {start}"));
        let sector = read_at(path, start, 512)?;
        let (u16_at, u32_at) = (
            |at| u64::from(le16(&sector, at)),
            |at| u64::from(le32(&sector, at)),
        );
        let sector_len = u16_at(11);
        let per_cluster = u64::from(sector.get(13).copied().unwrap_or(0));
        let fats = u64::from(sector.get(16).copied().unwrap_or(0));
        if !matches!(sector_len, 512 | 1024 | 2048 | 4096)
            || !per_cluster.is_power_of_two()
            || fats == 0
        {
            return Err(wrong("no FAT volume"));
        }
        let reserved = u16_at(14);
        let root_len = u16_at(17).saturating_mul(32);
        let total = if u16_at(19) != 0 {
            u16_at(19)
        } else {
            u32_at(32)
        };
        let fat_sectors = if u16_at(22) != 0 {
            u16_at(22)
        } else {
            u32_at(36)
        };
        let fat_end = reserved.saturating_add(fats.saturating_mul(fat_sectors));
        let root_offset = fat_end.saturating_mul(sector_len);
        let data_start =
            root_offset.saturating_add(root_len.div_ceil(sector_len).saturating_mul(sector_len));
        let cluster_len = per_cluster.saturating_mul(sector_len);
        let data_len = total.saturating_mul(sector_len).saturating_sub(data_start);
        let clusters = data_len.checked_div(cluster_len).unwrap_or(0);
        let kind = match clusters {
            0..4085 => Kind::Fat12,
            4085..65_525 => Kind::Fat16,
            _ => Kind::Fat32,
        };
        let fat_len = fat_sectors
            .saturating_mul(sector_len)
            .min(clusters.saturating_add(2).saturating_mul(4));
        let fat = read_at(
            path,
            start.saturating_add(reserved.saturating_mul(sector_len)),
            fat_len,
        )?;
        let root = match kind {
            Kind::Fat32 => Root::Cluster(u32_at(44)),
            _ => Root::Fixed {
                offset: root_offset,
                len: root_len,
            },
        };
        let mut esp = Self {
            path: path.to_owned(),
            start,
            fat,
            kind,
            cluster_len,
            data_start,
            clusters,
            root,
            files: Vec::new(),
        };
        esp.files = esp.walk()?;
        Ok(esp)
    }

    /// The file that the volume is in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All files, by a walk that enters no directory deeper than eight and no more than a few thousand.
    fn walk(&self) -> Result<Vec<Found>, Error> {
        let mut files = Vec::new();
        let root = match self.root {
            Root::Fixed { offset, len } => {
                read_at(&self.path, self.start.saturating_add(offset), len)?
            }
            Root::Cluster(first) => self.chain_bytes(first, MAX_DIRECTORY)?,
        };
        let mut folders = vec![(String::new(), root, 0_u32)];
        let mut visited = 0_u32;
        while let Some((prefix, bytes, depth)) = folders.pop() {
            visited = visited.saturating_add(1);
            for entry in entries(&bytes) {
                let path = if prefix.is_empty() {
                    entry.name
                } else {
                    format!("{prefix}/{}", entry.name)
                };
                if !entry.folder {
                    files.push(Found {
                        path,
                        cluster: entry.cluster,
                        len: entry.len,
                    });
                } else if depth < 8 && visited < 4096 {
                    folders.push((
                        path,
                        self.chain_bytes(entry.cluster, MAX_DIRECTORY)?,
                        depth.saturating_add(1),
                    ));
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn next(&self, cluster: u64) -> Option<u64> {
        let index = usize::try_from(cluster).ok()?;
        let value = match self.kind {
            Kind::Fat12 => {
                let pair = le16(&self.fat, index.checked_add(index / 2)?);
                u64::from(if index.is_multiple_of(2) {
                    pair & 0xfff
                } else {
                    pair >> 4
                })
            }
            Kind::Fat16 => u64::from(le16(&self.fat, index.checked_mul(2)?)),
            Kind::Fat32 => u64::from(le32(&self.fat, index.checked_mul(4)?) & 0x0fff_ffff),
        };
        (value >= 2 && value < self.clusters.saturating_add(2)).then_some(value)
    }

    fn offset_of(&self, cluster: u64) -> u64 {
        let within = cluster.saturating_sub(2).saturating_mul(self.cluster_len);
        self.start
            .saturating_add(self.data_start)
            .saturating_add(within)
    }

    fn chain_bytes(&self, first: u64, limit: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut cluster = Some(first).filter(|first| *first >= 2);
        while let Some(at) = cluster {
            bytes.extend(read_at(&self.path, self.offset_of(at), self.cluster_len)?);
            if bytes.len() > limit {
                return Err(Error::input(
                    "medium",
                    &self.path,
                    "a directory without end",
                ));
            }
            cluster = self.next(at);
        }
        Ok(bytes)
    }

    fn file(&self, name: &str) -> Option<&Found> {
        self.files
            .iter()
            .find(|file| file.path.eq_ignore_ascii_case(name))
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
        self.part(&file.path)?
            .read_to_end(&mut bytes)
            .map_err(|source| Error::io("read", &self.path, source))?;
        Ok(Some(bytes))
    }

    /// A file as a range of the medium; image builders lay files in one piece.
    pub(crate) fn part(&self, name: &str) -> Result<Part, Error> {
        let missing = || Error::input("medium", &self.path, format!("no file {name}"));
        let file = self.file(name).ok_or_else(missing)?;
        let mut cluster = file.cluster;
        for _ in 1..file.len.div_ceil(self.cluster_len.max(1)) {
            let following = self.next(cluster);
            if following != cluster.checked_add(1) {
                let problem = format!("{name} is in pieces; copy it out and name the file itself");
                return Err(Error::input("medium", &self.path, problem));
            }
            cluster = cluster.saturating_add(1);
        }
        Part::open(&self.path, self.offset_of(file.cluster), file.len)
    }

    /// The paths of files in a folder with this ending, sorted.
    pub(crate) fn list(&self, folder: &str, ending: &str) -> Vec<String> {
        let in_folder = |path: &str| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            parent.eq_ignore_ascii_case(folder)
                && name
                    .to_ascii_lowercase()
                    .ends_with(&ending.to_ascii_lowercase())
        };
        self.files
            .iter()
            .filter(|file| in_folder(&file.path))
            .map(|file| file.path.clone())
            .collect()
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

struct Entry {
    name: String,
    folder: bool,
    cluster: u64,
    len: u64,
}

fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut long: Vec<u16> = Vec::new();
    for record in bytes.chunks_exact(32) {
        let at = |index: usize| record.get(index).copied().unwrap_or(0);
        match (at(0), at(11)) {
            (0, _) => break,
            (0xe5, _) => long.clear(),
            (_, 0x0f) => {
                let mut units: Vec<u16> = (0..5)
                    .map(|n: usize| 1_usize.saturating_add(n.saturating_mul(2)))
                    .chain((0..6).map(|n: usize| 14_usize.saturating_add(n.saturating_mul(2))))
                    .chain([28, 30])
                    .map(|offset| le16(record, offset))
                    .take_while(|unit| *unit != 0)
                    .collect();
                units.append(&mut long);
                long = units;
            }
            (_, attributes) if attributes & 0x08 == 0 => {
                let name = if long.is_empty() {
                    short_name(record)
                } else {
                    String::from_utf16_lossy(&long)
                };
                long.clear();
                if name != "." && name != ".." {
                    found.push(Entry {
                        name,
                        folder: attributes & 0x10 != 0,
                        cluster: u64::from(le16(record, 20)) << 16 | u64::from(le16(record, 26)),
                        len: u64::from(le32(record, 28)),
                    });
                }
            }
            _ => long.clear(),
        }
    }
    found
}

fn short_name(record: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>, lower: bool| {
        let text = String::from_utf8_lossy(record.get(range).unwrap_or_default())
            .trim_end()
            .to_owned();
        if lower {
            text.to_ascii_lowercase()
        } else {
            text
        }
    };
    let case = record.get(12).copied().unwrap_or(0);
    let (base, extension) = (part(0..8, case & 0x08 != 0), part(8..11, case & 0x10 != 0));
    if extension.is_empty() {
        base
    } else {
        format!("{base}.{extension}")
    }
}

/// Where a volume may start: GPT partitions of the EFI system type, the El Torito image, the file's first byte.
fn places(path: &Path) -> Result<Vec<u64>, Error> {
    const EFI_SYSTEM: [u8; 16] = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9,
        0x3b,
    ];
    let mut places = Vec::new();
    for sector_len in [512_u64, 4096] {
        let header = read_at(path, sector_len, 92)?;
        if !header.starts_with(b"EFI PART") {
            continue;
        }
        let array = le64(&header, 72).saturating_mul(sector_len);
        let (count, size) = (
            u64::from(le32(&header, 80)).min(1024),
            u64::from(le32(&header, 84)).clamp(128, 4096),
        );
        let table = read_at(path, array, count.saturating_mul(size))?;
        for entry in table.chunks_exact(usize::try_from(size).unwrap_or(128)) {
            if entry.starts_with(&EFI_SYSTEM) {
                places.push(le64(entry, 32).saturating_mul(sector_len));
            }
        }
    }
    let boot_record = read_at(path, 17 * 2048, 2048)?;
    if boot_record.starts_with(b"\0CD001\x01EL TORITO") {
        let catalog = read_at(
            path,
            u64::from(le32(&boot_record, 71)).saturating_mul(2048),
            2048,
        )?;
        for entry in catalog.chunks_exact(32).skip(1) {
            if entry.first() == Some(&0x88) {
                places.push(u64::from(le32(entry, 8)).saturating_mul(2048));
            }
        }
    }
    places.push(0);
    Ok(places)
}

fn read_at(path: &Path, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
    let available = file
        .metadata()
        .map_err(|source| Error::io("read", path, source))?
        .len()
        .saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(len.min(available)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|source| Error::io("read", path, source))?;
    Ok(bytes)
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    let range = at..at.saturating_add(2);
    bytes
        .get(range)
        .and_then(|two| two.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    let range = at..at.saturating_add(4);
    bytes
        .get(range)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    let range = at..at.saturating_add(8);
    bytes
        .get(range)
        .and_then(|eight| eight.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
