//! The boot sector of a FAT volume, as it is read.

use std::io::{Read, Seek};

use crate::FatKind;
use crate::error::Error;
use crate::input::{Input, byte, le16, le32};

/// What the boot sector says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootSector {
    pub(crate) kind: FatKind,
    pub(crate) sector_len: u64,
    pub(crate) cluster_len: u64,
    /// Count of data clusters that the table can speak of.
    pub(crate) clusters: u64,
    /// Count of data clusters by the length of the volume alone.
    pub(crate) declared_clusters: u64,
    /// Length of the volume.
    pub(crate) len: u64,
    /// Offset of the first table, length of one, and count.
    pub(crate) tables: (u64, u64, u64),
    /// The table to use.
    pub(crate) active_table: u64,
    pub(crate) is_mirrored: bool,
    /// Offset and length of the root directory of FAT12 and FAT16.
    pub(crate) fixed_root: (u64, u64),
    /// First cluster of the root directory of FAT32.
    pub(crate) root_cluster: u64,
    /// Offset of the first data cluster.
    pub(crate) data: u64,
    pub(crate) label: [u8; 11],
    pub(crate) serial: u32,
    pub(crate) has_signature: bool,
    /// Sectors of FSInfo and of the copy of the boot sector; 0 for none.
    pub(crate) info_sector: u64,
    pub(crate) backup_sector: u64,
}

pub(crate) fn read<R: Read + Seek>(input: &mut Input<R>) -> Result<BootSector, Error> {
    let bytes = input.read("FAT boot sector", 0, 512)?;
    let base = input.absolute(0);
    parse(&bytes).map_err(|reason| Error::Malformed {
        what: "FAT boot sector",
        offset: base,
        reason,
    })
}

fn parse(bytes: &[u8]) -> Result<BootSector, &'static str> {
    let word = |at| u64::from(le16(bytes, at));
    let double = |at| u64::from(le32(bytes, at));
    let sector_len = word(11);
    let per_cluster = u64::from(byte(bytes, 13));
    let reserved = word(14);
    let count = u64::from(byte(bytes, 16));
    if !matches!(sector_len, 512 | 1024 | 2048 | 4096) {
        return Err("its sectors have none of the lengths there are");
    }
    if !per_cluster.is_power_of_two() {
        return Err("its clusters are not a power of two of sectors");
    }
    if reserved == 0 || count == 0 {
        return Err("it has no reserved sectors or no table");
    }
    if !matches!(byte(bytes, 21), 0xF0 | 0xF8..) {
        return Err("its media byte is none");
    }
    let root_len = word(17).saturating_mul(32);
    let either = |short, long| if short == 0 { long } else { short };
    let sectors = either(word(19), double(32));
    let table_sectors = either(word(22), double(36));
    if sectors == 0 || table_sectors == 0 {
        return Err("its length or that of its table is 0");
    }
    let bytes_of = |sectors: u64| sectors.saturating_mul(sector_len);
    let table_len = bytes_of(table_sectors);
    let tables = bytes_of(reserved);
    let root = tables.saturating_add(table_len.saturating_mul(count));
    let data = root.saturating_add(root_len.next_multiple_of(sector_len));
    let len = bytes_of(sectors);
    if data > len {
        return Err("its tables are longer than the volume");
    }
    let cluster_len = bytes_of(per_cluster);
    let declared_clusters = len
        .saturating_sub(data)
        .checked_div(cluster_len)
        .unwrap_or(0);
    // Where FAT32 keeps the length of its table, others have their label and type.
    let is_32 = word(22) == 0;
    if is_32 && word(42) != 0 {
        return Err("it is of a version of FAT32 that is not known");
    }
    let kind = match declared_clusters {
        _ if is_32 => FatKind::Fat32,
        0..4085 => FatKind::Fat12,
        _ => FatKind::Fat16,
    };
    let entries = match kind {
        FatKind::Fat12 => table_len.saturating_mul(2).checked_div(3).unwrap_or(0),
        FatKind::Fat16 => table_len.checked_div(2).unwrap_or(0),
        FatKind::Fat32 => table_len.checked_div(4).unwrap_or(0),
    };
    let flags = word(40);
    let is_mirrored = !is_32 || flags & 0x80 == 0;
    let tail = if is_32 { 64usize } else { 36 };
    let has_tail = matches!(byte(bytes, tail.saturating_add(2)), 0x28 | 0x29);
    Ok(BootSector {
        kind,
        sector_len,
        cluster_len,
        clusters: declared_clusters.min(entries.saturating_sub(2)),
        declared_clusters,
        len,
        tables: (tables, table_len, count),
        active_table: if is_mirrored { 0 } else { flags & 0x0F },
        is_mirrored,
        fixed_root: (root, root_len),
        root_cluster: if is_32 { double(44) } else { 0 },
        data,
        label: match crate::input::array(bytes, tail.saturating_add(7)) {
            Some(label) if has_tail => label,
            _ => [b' '; 11],
        },
        serial: match le32(bytes, tail.saturating_add(3)) {
            serial if has_tail => serial,
            _ => 0,
        },
        has_signature: bytes.get(510..512) == Some(&[0x55, 0xAA]),
        info_sector: if is_32 { word(48) } else { 0 },
        backup_sector: if is_32 { word(50) } else { 0 },
    })
}

impl BootSector {
    /// Offset of the table that is used.
    pub(crate) const fn table_offset(&self) -> u64 {
        let (offset, len, _) = self.tables;
        offset.saturating_add(len.saturating_mul(self.active_table))
    }

    /// Offset of a cluster.
    pub(crate) const fn cluster_offset(&self, cluster: u64) -> u64 {
        self.data
            .saturating_add(cluster.saturating_sub(2).saturating_mul(self.cluster_len))
    }

    /// Whether there is such a cluster.
    pub(crate) const fn has_cluster(&self, cluster: u64) -> bool {
        cluster >= 2 && cluster < self.clusters.saturating_add(2)
    }

    /// The type that the count of clusters gives, which firmware goes by.
    pub(crate) const fn kind_by_clusters(&self) -> FatKind {
        match self.declared_clusters {
            0..4085 => FatKind::Fat12,
            4085..65_525 => FatKind::Fat16,
            _ => FatKind::Fat32,
        }
    }
}
