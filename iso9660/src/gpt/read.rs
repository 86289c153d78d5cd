//! Reading partition tables.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{Read, Seek};

use super::header::{Copy, load};
use super::{check, extended};
use crate::error::Error;
use crate::input::{Input, array, byte, le16, le32, le64};
use crate::{Check, Finding, Guid};

/// The partition tables of an image, and what is wrong with them.
///
/// ```
/// use std::io::Cursor;
/// use iso9660::{Disk, Guid, Partition, PartitionTable};
///
/// let mut disk = Vec::new();
/// let meta = Partition::new(Guid::LINUX_DATA, "META").len(1 << 20);
/// Disk::new("example").partition(meta).plan()?.write_to(&mut disk)?;
///
/// let table = PartitionTable::read(Cursor::new(disk))?;
/// assert!(table.findings.is_empty());
/// assert_eq!(table.gpt.unwrap().partitions[0].name, "META");
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionTable {
    /// The used entries of the MBR, and the logical partitions of extended ones.
    pub mbr: Vec<MbrEntry>,
    /// The GUID partition table.
    pub gpt: Option<Gpt>,
    /// Whether the first sector has code for PC BIOS.
    pub has_boot_code: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// An entry of the MBR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MbrEntry {
    /// Place in the table, from 1; logical partitions from 5.
    pub number: u32,
    /// Type; 0xEE protects a GPT, 0xEF is an ESP.
    pub kind: u8,
    /// Whether it is marked as active.
    pub is_active: bool,
    /// First sector, of 512 bytes unless the disk has others.
    pub first: u64,
    /// Count of sectors.
    pub sectors: u64,
}

/// A GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gpt {
    /// Length of a sector in bytes.
    pub sector_len: u64,
    /// GUID of the disk.
    pub disk: Guid,
    /// Checksums of the primary header and array are right.
    pub is_valid: bool,
    /// The backup header stands in the last sector, or where the primary one says, and it and its
    /// array are right.
    pub has_backup: bool,
    /// The partitions are those of the backup, since the primary table is damaged.
    pub is_from_backup: bool,
    /// First and last sector for partitions, both inclusive.
    pub usable: (u64, u64),
    /// The used entries.
    pub partitions: Vec<GptPartition>,
}

/// An entry of a GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GptPartition {
    /// Place in the table, from 1.
    pub number: u32,
    /// Type.
    pub kind: Guid,
    /// The partition's own GUID.
    pub guid: Guid,
    /// First sector.
    pub first: u64,
    /// Last sector, inclusive.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Name.
    pub name: String,
}

impl GptPartition {
    /// Count of sectors; 0 when the last one lies before the first.
    #[must_use]
    pub const fn sectors(&self) -> u64 {
        match self.last.checked_sub(self.first) {
            Some(n) => n.saturating_add(1),
            None => 0,
        }
    }
}

impl PartitionTable {
    /// Reads the tables of an image. An image without any has an empty MBR and no GPT; the boot
    /// sector of a file system is no MBR. When the primary GPT is damaged, the backup is used.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn read(reader: impl Read + Seek) -> Result<Self, Error> {
        let mut input = Input::new(reader)?;
        let mut out = Self::default();
        if input.len < 512 {
            return Ok(out);
        }
        let sector = input.read("MBR", 0, 512)?;
        out.read_mbr(&sector);
        out.read_gpt(&mut input)?;
        let sector_len = out.gpt.as_ref().map_or(512, |gpt| gpt.sector_len);
        let disk = input.len.checked_div(sector_len).unwrap_or(0);
        check::mbr(&mut out, disk);
        if out.gpt.is_none() {
            let logical = extended::logical(&mut input, &out.mbr)?;
            out.mbr.extend(logical);
        }
        Ok(out)
    }

    /// Whether an entry of the MBR protects a GPT.
    #[must_use]
    pub fn is_protective(&self) -> bool {
        self.mbr.iter().any(|entry| entry.kind == 0xEE)
    }

    /// Length of a sector in bytes: that of the GPT, else 512.
    #[must_use]
    pub fn sector_len(&self) -> u64 {
        self.gpt.as_ref().map_or(512, |gpt| gpt.sector_len)
    }

    fn read_mbr(&mut self, sector: &[u8]) {
        if sector.get(510..512) != Some(&[0x55, 0xAA]) {
            return;
        }
        let code = sector.get(..440).unwrap_or(&[]);
        self.has_boot_code = code.iter().any(|&b| b != 0);
        let entries = sector.get(446..510).unwrap_or(&[]).chunks_exact(16);
        let is_sane = |entry: &[u8]| matches!(byte(entry, 0), 0 | 0x80);
        let is_protective = entries.clone().any(|entry| byte(entry, 4) == 0xEE);
        // Boot sectors of file systems have code here, and FAT may have anything.
        if !is_protective && !entries.clone().all(is_sane) {
            return;
        }
        let looks_like_fat = matches!(byte(sector, 0), 0xEB | 0xE9)
            && matches!(le16(sector, 11), 512 | 1024 | 2048 | 4096)
            && matches!(byte(sector, 21), 0xF0 | 0xF8..)
            && byte(sector, 16) != 0;
        let used = entries.zip(1u32..).filter(|(entry, _)| byte(entry, 4) != 0);
        let entries = used.map(|(entry, number)| MbrEntry {
            number,
            kind: byte(entry, 4),
            is_active: byte(entry, 0) == 0x80,
            first: u64::from(le32(entry, 8)),
            sectors: u64::from(le32(entry, 12)),
        });
        let entries: Vec<MbrEntry> = entries.collect();
        if looks_like_fat && entries.iter().any(|e| e.first == 0 || e.sectors == 0) {
            return;
        }
        self.mbr = entries;
    }

    fn read_gpt<R: Read + Seek>(&mut self, input: &mut Input<R>) -> Result<(), Error> {
        let mut primary = None;
        for sector_len in [512, 4096, 2048, 1024] {
            primary = load(input, sector_len, 1)?;
            if primary.is_some() {
                break;
            }
        }
        let Some(primary) = primary else {
            return self.read_backup_alone(input);
        };
        let sector_len = primary.sector_len;
        let disk = input.len.checked_div(sector_len).unwrap_or(0);
        let last = disk.saturating_sub(1);
        let named = primary.alternate();
        let at = if primary.header_is_valid && named < disk {
            named
        } else {
            last
        };
        let backup = match load(input, sector_len, at)? {
            None if at != last => load(input, sector_len, last)?,
            found => found,
        };
        self.add(!primary.header_is_valid, Check::GptHeader, "");
        self.add(
            primary.header_is_valid && !primary.size_is_possible(),
            Check::GptEntries,
            "primary",
        );
        let is_readable = primary.header_is_valid && primary.size_is_possible();
        self.add(is_readable && !primary.array_is_valid, Check::GptArray, "");
        let good_backup = backup.filter(Copy::is_valid);
        match &good_backup {
            None => self.add(true, Check::GptBackupHeader, ""),
            Some(backup) => {
                let differs = primary.is_valid() && backup.entries != primary.entries;
                self.add(differs, Check::GptBackupArray, "");
                let place = format!("sector {} of {disk}", backup.sector);
                self.add(backup.sector != last, Check::GptBackupPlace, &place);
            }
        }
        let has_backup = good_backup.is_some();
        let is_from_backup = !primary.is_valid() && has_backup;
        self.add(is_from_backup, Check::GptBackupUsed, "");
        let is_valid = primary.is_valid();
        self.add(!is_valid && !has_backup, Check::GptUnusable, "");
        let used = match good_backup {
            Some(backup) if is_from_backup => backup,
            _ => primary,
        };
        self.gpt = Some(gpt(&used, is_valid, has_backup, is_from_backup));
        check::gpt(self, &used, disk);
        Ok(())
    }

    /// Looks for a backup where there is no primary header.
    fn read_backup_alone<R: Read + Seek>(&mut self, input: &mut Input<R>) -> Result<(), Error> {
        for sector_len in [512, 4096] {
            let disk = input.len.checked_div(sector_len).unwrap_or(0);
            let Some(backup) = load(input, sector_len, disk.saturating_sub(1))? else {
                continue;
            };
            if !backup.is_valid() {
                continue;
            }
            if !self.is_protective() {
                self.add(true, Check::GptStaleBackup, "");
                continue;
            }
            self.add(true, Check::GptHeader, "");
            self.add(true, Check::GptBackupUsed, "");
            self.gpt = Some(gpt(&backup, false, true, true));
            check::gpt(self, &backup, disk);
            break;
        }
        Ok(())
    }

    pub(super) fn add(&mut self, is_found: bool, check: Check, subject: &str) {
        if is_found && self.findings.len() < check::MAX_FINDINGS {
            self.findings.push(Finding::new(check, subject));
        }
    }
}

fn gpt(copy: &Copy, is_valid: bool, has_backup: bool, is_from_backup: bool) -> Gpt {
    let entry_len = usize::try_from(copy.entry_len()).unwrap_or(usize::MAX);
    let entries = copy.entries.chunks_exact(entry_len.max(128)).zip(1u32..);
    Gpt {
        sector_len: copy.sector_len,
        disk: Guid::from_bytes(array(&copy.header, 56).unwrap_or_default()),
        is_valid,
        has_backup,
        is_from_backup,
        usable: copy.usable(),
        partitions: entries
            .filter_map(|(entry, number)| partition(entry, number))
            .collect(),
    }
}

/// An entry; none when it is not used.
fn partition(entry: &[u8], number: u32) -> Option<GptPartition> {
    let kind = Guid::from_bytes(array(entry, 0)?);
    let units = entry
        .get(56..128)?
        .chunks_exact(2)
        .filter_map(|pair| array(pair, 0));
    let units: Vec<u16> = units
        .map(u16::from_le_bytes)
        .take_while(|&u| u != 0)
        .collect();
    (kind != Guid::NIL).then(|| GptPartition {
        number,
        kind,
        guid: Guid::from_bytes(array(entry, 16).unwrap_or_default()),
        first: le64(entry, 32),
        last: le64(entry, 40),
        attributes: le64(entry, 48),
        name: String::from_utf16_lossy(&units),
    })
}
