//! Laying a volume out.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::boot_sector::{BACKUP_SECTOR, Identity, boot_sector, fs_info};
use super::directory::{ENTRY_LEN, Entry};
use super::geometry::{Geometry, Wish};
use super::name::{self, Names};
use super::{Fat, FatKind, Table};
use crate::error::{Error, NameProblem, text};
use crate::plan::{Layout, Plan};
use crate::tree::{Attributes, Child, Flat, Target, join};

/// Entries that one directory can have: its length is 2 MiB at most.
const DIRECTORY_LIMIT: u64 = 65_536;
/// The largest file.
const FILE_LIMIT: u64 = 0xFFFF_FFFF;

/// A volume laid out.
pub(crate) struct Volume {
    pub(crate) plan: Plan,
    pub(crate) cluster_len: u64,
    /// The files that have content.
    pub(crate) files: Vec<Placed>,
}

/// A file with content in a volume.
pub(crate) struct Placed {
    pub(crate) path: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A file or directory of the volume. FAT has no hard links: each name has its own content.
struct Listing {
    names: Vec<Names>,
    entries: u64,
}

impl Volume {
    /// `share`: an ISO tree will point at the files.
    pub(crate) fn lay_out(fat: &Fat, share: bool) -> Result<Self, Error> {
        let label = label_bytes(&fat.label)?;
        check_options(fat)?;
        let flat = Flat::new(&fat.tree)?;
        let listings = list(&flat, label.is_some())?;
        let needed = |cluster_len: u64, kind| clusters(&flat, &listings, cluster_len, kind);
        let geometry = Geometry::choose(&Wish {
            sector_len: fat.sector_len,
            kind: fat.kind,
            cluster_len: fat.cluster_len,
            total_len: fat.total_len,
            free_space: fat.free_space,
            root_entries: listings.first().map_or(0, |l| l.entries),
            copy_len: share.then(|| flat.files.iter().map(|f| f.len).sum()),
            needed: &needed,
        })?;
        if geometry.root_entries > 0xFFF0 {
            return Err(too_many(&flat, 0, geometry.root_entries, 0xFFF0));
        }
        Ok(Writer::new(fat, &flat, listings, geometry).finish(label))
    }
}

fn too_many(flat: &Flat, directory: usize, count: u64, limit: u64) -> Error {
    Error::TooMany {
        what: "FAT directory",
        path: flat
            .directories
            .get(directory)
            .map_or_else(String::new, |d| text(&d.path)),
        count,
        limit,
    }
}

fn check_options(fat: &Fat) -> Result<(), Error> {
    let option = |option, value, reason| {
        Err(Error::Option {
            option,
            value,
            reason,
        })
    };
    if fat.sector_len != 512 && fat.sector_len != 4096 {
        return option("sector_len", fat.sector_len, "512 and 4096 are possible");
    }
    if let Some(len) = fat.cluster_len
        && (!len.is_power_of_two() || len < fat.sector_len || len > 65_536)
    {
        let reason = "a power of two from the sector length to 65536 is expected";
        return option("cluster_len", len, reason);
    }
    if let Some(len) = fat
        .total_len
        .filter(|len| !len.is_multiple_of(fat.sector_len))
    {
        return option(
            "total_len",
            len,
            "a multiple of the sector length is expected",
        );
    }
    Ok(())
}

/// The label as it is stored; none when it is empty.
fn label_bytes(label: &str) -> Result<Option<[u8; 11]>, Error> {
    let problem = |reason| Error::Label {
        what: "FAT label",
        text: label.to_owned(),
        reason,
    };
    let is_good =
        |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || " $%'-_@~`!(){}^#&".contains(c);
    if let Some(found) = label.chars().find(|&c| !is_good(c)) {
        return Err(problem(NameProblem::Character { found }));
    }
    if label.len() > 11 {
        return Err(problem(NameProblem::TooLong { limit: 11 }));
    }
    let mut out = [b' '; 11];
    for (to, from) in out.iter_mut().zip(label.bytes()) {
        *to = from;
    }
    Ok((!label.is_empty()).then_some(out))
}

/// Finds the names of every directory and counts its entries.
fn list(flat: &Flat, has_label: bool) -> Result<Vec<Listing>, Error> {
    let mut out = Vec::with_capacity(flat.directories.len());
    for (i, directory) in flat.directories.iter().enumerate() {
        let children: Vec<&[u8]> = directory.children.iter().map(|c| c.name.as_ref()).collect();
        let names = name::assign(&directory.path, &children)?;
        for child in &directory.children {
            check_child(flat, &directory.path, child)?;
        }
        // "." and "..", or the label.
        let own = if i == 0 { u64::from(has_label) } else { 2 };
        let entries = names.iter().map(Names::entries).sum::<u64>() + own;
        if entries > DIRECTORY_LIMIT {
            return Err(too_many(flat, i, entries, DIRECTORY_LIMIT));
        }
        out.push(Listing { names, entries });
    }
    Ok(out)
}

fn check_child(flat: &Flat, directory: &[u8], child: &Child) -> Result<(), Error> {
    match &child.target {
        Target::Directory(_) => Ok(()),
        Target::Symlink(_) => Err(Error::Unsupported {
            path: text(&join(directory, &child.name)),
            kind: "symbolic link",
            format: "FAT",
        }),
        Target::File(file) => match flat.files.get(*file) {
            Some(file) if file.len > FILE_LIMIT => Err(Error::FileTooLarge {
                path: text(&join(directory, &child.name)),
                len: file.len,
                limit: FILE_LIMIT,
                format: "FAT",
            }),
            _ => Ok(()),
        },
    }
}

/// Clusters that directories and files need.
fn clusters(flat: &Flat, listings: &[Listing], cluster_len: u64, kind: FatKind) -> u64 {
    let mut total = 0u64;
    for (i, listing) in listings.iter().enumerate() {
        if i > 0 || kind == FatKind::Fat32 {
            total += (listing.entries * ENTRY_LEN).div_ceil(cluster_len).max(1);
        }
    }
    for directory in &flat.directories {
        for child in &directory.children {
            if let Target::File(file) = child.target {
                let len = flat.files.get(file).map_or(0, |f| f.len);
                total = total.saturating_add(len.div_ceil(cluster_len));
            }
        }
    }
    total
}

/// Gives clusters to everything and writes the directories.
struct Writer<'a> {
    fat: &'a Fat,
    flat: &'a Flat,
    listings: Vec<Listing>,
    geometry: Geometry,
    next: u64,
    ends: Vec<u32>,
}

impl<'a> Writer<'a> {
    fn new(fat: &'a Fat, flat: &'a Flat, listings: Vec<Listing>, geometry: Geometry) -> Self {
        Self {
            fat,
            flat,
            listings,
            geometry,
            next: 2,
            ends: Vec::new(),
        }
    }

    /// The next run of clusters, for so many bytes; 0 for none.
    fn take(&mut self, len: u64) -> u32 {
        let count = len.div_ceil(self.geometry.cluster_len);
        if count == 0 {
            return 0;
        }
        let first = self.next;
        self.next += count;
        self.ends.extend(u32::try_from(self.next - 1));
        u32::try_from(first).unwrap_or(0)
    }

    fn offset(&self, cluster: u32) -> u64 {
        let index = u64::from(cluster).saturating_sub(2);
        self.geometry.data_offset() + index * self.geometry.cluster_len
    }

    fn finish(mut self, label: Option<[u8; 11]>) -> Volume {
        let (fat, flat, g) = (self.fat, self.flat, self.geometry);
        let default_time = fat.time.unwrap_or_default();
        let time = |attributes: &Attributes| match attributes.modified {
            Some(modified) if fat.keep_times => modified.min(default_time),
            _ => default_time,
        };
        let mut layout = Layout::default();
        let starts = self.directories();
        let mut files = Vec::new();
        let listings = std::mem::take(&mut self.listings);
        for (i, (directory, listing)) in flat.directories.iter().zip(&listings).enumerate() {
            let start = |index: usize| starts.get(index).copied().unwrap_or(0);
            let mut out = Vec::new();
            if i > 0 {
                // The root is cluster 0 for its children, whatever its true number.
                let parent = match directory.parent {
                    0 => 0,
                    parent => start(parent),
                };
                let own = time(&directory.attributes);
                Entry::directory(own, start(i)).append_short(&mut out, b".          ");
                Entry::directory(own, parent).append_short(&mut out, b"..         ");
            } else if let Some(label) = &label {
                Entry::label(default_time).append_short(&mut out, label);
            }
            for (child, names) in directory.children.iter().zip(&listing.names) {
                let time = time(&child.attributes);
                let entry = match child.target {
                    Target::Directory(index) => Entry::directory(time, start(index)),
                    Target::File(index) => {
                        let Some(file) = flat.files.get(index) else {
                            continue;
                        };
                        let cluster = self.take(file.len);
                        let path: Arc<[u8]> = join(&directory.path, &child.name).into();
                        let offset = match cluster {
                            // Empty content has no place, but is watched all the same.
                            0 => 0,
                            _ => self.offset(cluster),
                        };
                        layout.content(offset, file.len, &path, &file.source);
                        if cluster != 0 {
                            files.push(Placed {
                                path: path.to_vec(),
                                offset,
                                len: file.len,
                            });
                        }
                        Entry::file(time, cluster, u32::try_from(file.len).unwrap_or(u32::MAX))
                    }
                    Target::Symlink(_) => continue,
                };
                entry.with(&child.attributes).append(&mut out, names);
            }
            let offset = match start(i) {
                0 => g.root_offset(),
                cluster => self.offset(cluster),
            };
            layout.bytes(offset, out);
        }
        self.tables(&mut layout, label);
        Volume {
            plan: layout.finish(fat.total_len.unwrap_or_else(|| g.len())),
            cluster_len: g.cluster_len,
            files,
        }
    }

    /// The first cluster of each directory; 0 for a root with its own place.
    fn directories(&mut self) -> Vec<u32> {
        let lens: Vec<u64> = self
            .listings
            .iter()
            .map(|l| (l.entries * ENTRY_LEN).max(1))
            .collect();
        let is_fixed = self.geometry.kind != FatKind::Fat32;
        lens.iter()
            .enumerate()
            .map(|(i, &len)| {
                if i == 0 && is_fixed {
                    0
                } else {
                    self.take(len)
                }
            })
            .collect()
    }

    /// Boot sector, FSInfo and the two tables.
    fn tables(self, layout: &mut Layout, label: Option<[u8; 11]>) {
        let g = self.geometry;
        let identity = Identity {
            serial: self.fat.serial.unwrap_or_else(|| serial(self.fat)),
            label: label.unwrap_or(*b"NO NAME    "),
            hidden_sectors: self.fat.hidden_sectors,
        };
        let mut head = vec![boot_sector(&g, &identity)];
        if g.kind == FatKind::Fat32 {
            head.push(fs_info(&g, self.next - 2));
            for (sector, bytes) in (BACKUP_SECTOR..).zip(&head) {
                layout.bytes(sector * g.sector_len, bytes.clone());
            }
        }
        layout.bytes(0, head.concat());
        let table = Arc::new(Table::new(g.kind, g.table_len(), self.ends));
        layout.table(g.table_offset(), &table);
        layout.table(g.table_offset() + g.table_len(), &table);
    }
}

/// A serial number that follows from label and time; never 0.
fn serial(fat: &Fat) -> u32 {
    let digest = Sha256::new()
        .chain_update("FAT serial")
        .chain_update(&fat.label)
        .chain_update(fat.time.unwrap_or_default().as_unix().to_le_bytes())
        .finalize();
    let number = digest.iter().take(4).fold(0, |n, &b| n << 8 | u32::from(b));
    number.max(1)
}
