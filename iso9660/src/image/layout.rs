//! Where everything lies in the image.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::Image;
use super::namespace::{Namespace, PART_LEN};
use crate::Guid;
use crate::error::{Error, text};
use crate::fat::Volume;
use crate::gpt;
use crate::iso::descriptor::{Descriptor, terminator};
use crate::iso::directory::Points;
use crate::iso::el_torito::{self, BootEntry};
use crate::iso::record::{self, Record};
use crate::iso::{BLOCK, FIRST_DESCRIPTOR};
use crate::plan::{Layout, Plan, Region};
use crate::tree::Flat;

/// Directories that a path table can number.
const MAX_DIRECTORIES: usize = 65_535;
/// Levels of the standard (ECMA-119 6.8.2.1).
const MAX_DEPTH: usize = 8;
/// libarchive does not look at an image of less than 48 KiB.
const MIN_BLOCKS: u64 = 24;
/// Files from this length on begin at a page, so that a file system can share their blocks.
const PAGED_LEN: u64 = 256 << 10;
const PAGE_BLOCKS: u64 = 2;
const SECTOR: u64 = 512;
/// Backup array and header of the GPT.
const TABLES_LEN: u64 = (1 + gpt::Tables::array_sectors(SECTOR)) * SECTOR;

/// A block number as it is recorded; the length of the whole image was checked before.
pub(super) fn block(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One namespace with its places.
struct Placed {
    namespace: Namespace,
    table_l: u64,
    table_m: u64,
    directories: Vec<u64>,
}

impl Image {
    /// Lays the image out: nothing of the content is read, except to compare files that stand at
    /// one path in the ESP and in the tree, and a BIOS boot image.
    ///
    /// # Errors
    ///
    /// An error that names the item for everything that the image cannot hold, and
    /// [`Error::Source`] for a file that is not there.
    pub fn plan(&self) -> Result<Plan, Error> {
        self.check_options()?;
        let esp = self.esp_volume()?;
        let mut tree = Cow::Borrowed(&self.tree);
        if let (Some(fat), Some(volume), true) = (&self.esp, &esp, self.esp_in_tree) {
            let possible = volume.cluster_len.is_multiple_of(BLOCK);
            tree.to_mut().show_esp(&fat.tree, possible)?;
        }
        let flat = Flat::new(&tree)?;
        drop(tree);
        self.check_directories(&flat)?;
        Builder::new(self, &flat, esp.as_ref())?.finish()
    }

    fn check_options(&self) -> Result<(), Error> {
        self.texts.check()?;
        gpt::check_name(&self.esp_name)?;
        match self.esp_alignment {
            Some(bytes) if bytes < BLOCK || !bytes.is_power_of_two() => Err(Error::Option {
                option: "esp_alignment",
                value: bytes,
                reason: "a power of two of 2048 at least is expected",
            }),
            _ => Ok(()),
        }
    }

    fn check_directories(&self, flat: &Flat) -> Result<(), Error> {
        if let Some(directory) = flat.directories.get(MAX_DIRECTORIES) {
            return Err(Error::TooMany {
                what: "directories",
                path: text(&directory.path),
                count: flat.directories.len() as u64,
                limit: MAX_DIRECTORIES as u64,
            });
        }
        let deep = flat.directories.iter().find(|d| d.depth > MAX_DEPTH);
        match deep.filter(|_| self.strict_depth) {
            Some(directory) => Err(Error::TooDeep {
                path: text(&directory.path),
                depth: directory.depth as u64,
                limit: MAX_DEPTH as u64,
            }),
            None => Ok(()),
        }
    }

    fn esp_volume(&self) -> Result<Option<Volume>, Error> {
        let Some(fat) = &self.esp else {
            return Ok(None);
        };
        let mut fat = fat.clone();
        fat.time.get_or_insert(self.time);
        fat.keep_times |= self.keep_attributes;
        Volume::lay_out(&fat, self.esp_in_tree).map(Some)
    }

    /// Alignment of an ESP that comes at `next` at the earliest, in an image whose structures take
    /// `structures` bytes.
    fn alignment(&self, next: u64, structures: u64, esp_len: u64) -> u64 {
        let padding = |alignment: u64| next.next_multiple_of(alignment) - next;
        // The whole image takes a fiftieth more than the ESP at most, as far as that is possible.
        let most = (esp_len / 50).saturating_sub(structures).min(esp_len / 100);
        self.esp_alignment.unwrap_or_else(|| {
            let possible = (12..=20).rev().map(|power| 1 << power);
            let cheap = possible.into_iter().find(|&by| padding(by) <= most);
            cheap.unwrap_or(PAGE_BLOCKS * BLOCK)
        })
    }
}

/// Hands out blocks in the order of the image.
struct Builder<'a> {
    image: &'a Image,
    flat: &'a Flat,
    esp: Option<&'a Volume>,
    next: u64,
    primary: Placed,
    joliet: Option<Placed>,
    catalog: u64,
    empty: u64,
    bios: u64,
    /// The first block of each file.
    files: Vec<u64>,
    /// Offset of the ESP.
    esp_offset: u64,
}

impl<'a> Builder<'a> {
    fn new(image: &'a Image, flat: &'a Flat, esp: Option<&'a Volume>) -> Result<Self, Error> {
        let boots = esp.is_some() || image.bios.is_some();
        let primary = Namespace::primary(image, flat)?;
        let joliet = image
            .joliet
            .map(|limit| Namespace::joliet(image, flat, limit))
            .transpose()?;
        // Primary descriptor and terminator, boot record, Joliet's descriptor.
        let descriptors = 2 + u64::from(boots) + u64::from(joliet.is_some());
        let mut next = FIRST_DESCRIPTOR + descriptors;
        let mut tables = |namespace: &Namespace| {
            let blocks = namespace.path_table_len().div_ceil(BLOCK);
            let place = (next, next + blocks);
            next += 2 * blocks;
            place
        };
        let primary_tables = tables(&primary);
        let joliet_tables = joliet.as_ref().map(&mut tables);
        let catalog = next;
        next += u64::from(boots);
        let mut place = |namespace: Namespace, (table_l, table_m)| {
            let directories = namespace.place(next);
            next += namespace.blocks();
            Placed {
                namespace,
                table_l,
                table_m,
                directories,
            }
        };
        let primary = place(primary, primary_tables);
        let joliet = joliet
            .zip(joliet_tables)
            .map(|(n, tables)| place(n, tables));
        let mut out = Self {
            image,
            flat,
            esp,
            next,
            primary,
            joliet,
            catalog,
            empty: 0,
            bios: 0,
            files: Vec::new(),
            esp_offset: 0,
        };
        out.place_content()?;
        Ok(out)
    }

    /// Places what is not structure.
    fn place_content(&mut self) -> Result<(), Error> {
        // Empty files and links share a block that no other file has.
        self.empty = self.next;
        self.next += 1;
        if let Some(bios) = &self.image.bios {
            self.bios = self.next;
            self.next += bios.content.measure(b"BIOS boot image")?.div_ceil(BLOCK);
        }
        for file in &self.flat.files {
            if file.len >= PAGED_LEN && !file.in_esp {
                self.next = self.next.next_multiple_of(PAGE_BLOCKS);
            }
            self.files.push(self.next);
            if !file.in_esp {
                let blocks = file.len.div_ceil(BLOCK);
                self.next = self.next.saturating_add(blocks);
            }
        }
        let Some(esp) = self.esp else {
            return Ok(());
        };
        let next = self.next.saturating_mul(BLOCK);
        let structures = self.empty * BLOCK + TABLES_LEN;
        let alignment = self.image.alignment(next, structures, esp.plan.len());
        self.esp_offset = next.next_multiple_of(alignment);
        let end = self.esp_offset.saturating_add(esp.plan.len());
        self.next = end.div_ceil(BLOCK);
        let placed: HashMap<&[u8], (u64, u64)> = esp
            .files
            .iter()
            .map(|placed| (placed.path.as_slice(), (placed.offset, placed.len)))
            .collect();
        for (place, file) in self.files.iter_mut().zip(&self.flat.files) {
            if !file.in_esp {
                continue;
            }
            let (offset, len) = placed.get(file.path.as_ref()).copied().unwrap_or((0, 0));
            // Each tree measured the file for itself.
            if len != file.len {
                return Err(Error::SourceChanged {
                    path: text(&file.path),
                    planned: len,
                    found: Some(file.len),
                });
            }
            *place = (self.esp_offset + offset) / BLOCK;
        }
        Ok(())
    }

    /// Blocks of the whole image.
    fn blocks(&self) -> Result<u64, Error> {
        let mut end = self.next.saturating_mul(BLOCK);
        end = end.saturating_add(self.image.padding);
        if self.esp.is_some() {
            end = end.saturating_add(TABLES_LEN);
        }
        let blocks = end.div_ceil(BLOCK).max(MIN_BLOCKS);
        if blocks > u64::from(u32::MAX) {
            return Err(Error::TooLarge {
                what: "ISO 9660 volume",
                needed: end,
                limit: u64::from(u32::MAX) * BLOCK,
            });
        }
        Ok(blocks)
    }

    fn finish(self) -> Result<Plan, Error> {
        let blocks = self.blocks()?;
        let mut layout = Layout::default();
        self.partitions(&mut layout, blocks);
        self.content(&mut layout);
        let boot = self.boot_entries(&mut layout)?;
        self.descriptors(&mut layout, blocks, !boot.is_empty());
        if !boot.is_empty() {
            layout.bytes(self.catalog * BLOCK, el_torito::catalog(&boot));
        }
        let (flat, files, empty) = (self.flat, self.files, self.empty);
        for placed in [Some(self.primary), self.joliet].into_iter().flatten() {
            let (l, m) = placed.namespace.path_tables(flat, &placed.directories);
            layout.bytes(placed.table_l * BLOCK, l);
            layout.bytes(placed.table_m * BLOCK, m);
            let directories = &placed.directories;
            let lens: Vec<u64> = placed
                .namespace
                .directories
                .iter()
                .map(|d| d.len())
                .collect();
            let place = |points| match points {
                Points::Directory(i) => (at(directories, i), at(&lens, i)),
                Points::File { file, part } => {
                    let len = flat.files.get(file).map_or(0, |f| f.len);
                    let first = u64::from(at(&files, file)) + part * (PART_LEN / BLOCK);
                    let left = len.saturating_sub(part * PART_LEN);
                    let len = if len <= u64::from(u32::MAX) {
                        left
                    } else {
                        left.min(PART_LEN)
                    };
                    (block(first), block(len))
                }
                Points::Empty => (block(empty), 0),
            };
            for (i, directory) in placed.namespace.directories.into_iter().enumerate() {
                let first = at(directories, i);
                let offset = u64::from(first) * BLOCK;
                let len = directory.len();
                let (bytes, continuation) = directory.finish(first, place);
                layout.bytes(offset, bytes);
                if !continuation.is_empty() {
                    layout.bytes(offset + len, continuation);
                }
            }
        }
        Ok(layout.finish(blocks * BLOCK))
    }

    /// MBR and GPT, when there is an ESP to point at.
    fn partitions(&self, layout: &mut Layout, blocks: u64) {
        let Some(esp) = self.esp else {
            return;
        };
        let volume = &self.image.texts.volume;
        let guid = |name: &str| Guid::from_label(&format!("{volume}/{name}"));
        let first = self.esp_offset / SECTOR;
        let mut entries = Vec::new();
        if self.image.iso_partition {
            entries.push(gpt::Entry {
                kind: Guid::BASIC_DATA,
                guid: guid("ISO9660"),
                first: FIRST_DESCRIPTOR * BLOCK / SECTOR,
                last: first.saturating_sub(1),
                // Required and read-only.
                attributes: 1 << 60 | 1,
                name: "ISO9660".to_owned(),
            });
        }
        let guid = guid(&self.image.esp_name);
        entries.push(gpt::Entry {
            kind: Guid::EFI_SYSTEM,
            guid,
            first,
            last: (self.esp_offset + esp.plan.len()) / SECTOR - 1,
            attributes: 0,
            name: self.image.esp_name.clone(),
        });
        let tables = gpt::Tables {
            sector_len: SECTOR,
            sectors: blocks * BLOCK / SECTOR,
            disk: Guid::from_label(volume),
            entries: &entries,
        };
        layout.bytes(0, tables.head());
        let tail = tables.tail();
        layout.bytes(blocks * BLOCK - tail.len() as u64, tail);
        layout.regions.push(Region {
            name: "esp".to_owned(),
            offset: self.esp_offset,
            len: esp.plan.len(),
            guid: Some(guid),
        });
    }

    fn content(&self, layout: &mut Layout) {
        for (file, &place) in self.flat.files.iter().zip(&self.files) {
            if !file.in_esp {
                let place = if file.len == 0 { self.empty } else { place };
                layout.content(place * BLOCK, file.len, &file.path, &file.source);
            }
        }
        if let Some(esp) = self.esp {
            layout.plan(self.esp_offset, &esp.plan);
        }
    }

    fn boot_entries(&self, layout: &mut Layout) -> Result<Vec<BootEntry>, Error> {
        let mut out = Vec::new();
        if let Some(bios) = &self.image.bios {
            let bytes: Arc<[u8]> = bios.bytes(block(self.bios))?.into();
            layout.bytes(self.bios * BLOCK, bytes);
            out.push(BootEntry {
                platform: el_torito::X86,
                block: block(self.bios),
                sectors: bios.load_sectors,
            });
        }
        if let Some(esp) = self.esp {
            out.push(BootEntry {
                platform: el_torito::EFI,
                block: block(self.esp_offset / BLOCK),
                sectors: el_torito::esp_sectors(esp.plan.len()),
            });
        }
        Ok(out)
    }

    fn descriptors(&self, layout: &mut Layout, blocks: u64, boots: bool) {
        let descriptor = |placed: &Placed, is_joliet| {
            let root = placed.directories.first().copied().unwrap_or(0);
            let len = placed.namespace.directories.first().map_or(0, |d| d.len());
            let mut record = Vec::new();
            Record {
                identifier: &[0],
                flags: record::DIRECTORY,
                time: self.image.time.record(),
            }
            .append(&[], &mut record);
            record::place(&mut record, 0, block(root), block(len));
            Descriptor {
                is_joliet,
                texts: &self.image.texts,
                time: self.image.time,
                blocks: block(blocks),
                path_table_len: block(placed.namespace.path_table_len()),
                path_table_l: block(placed.table_l),
                path_table_m: block(placed.table_m),
                root: &record,
            }
            .to_bytes()
        };
        let mut out = descriptor(&self.primary, false);
        if boots {
            out.extend(el_torito::boot_record(block(self.catalog)));
        }
        if let Some(joliet) = &self.joliet {
            out.extend(descriptor(joliet, true));
        }
        out.extend(terminator());
        layout.bytes(FIRST_DESCRIPTOR * BLOCK, out);
    }
}

/// An element as it is recorded.
fn at(list: &[u64], index: usize) -> u32 {
    list.get(index).map_or(0, |&value| block(value))
}
