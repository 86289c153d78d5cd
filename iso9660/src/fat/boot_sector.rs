//! Boot sector and FSInfo (Microsoft FAT specification).

use super::FatKind;
use super::geometry::Geometry;
use crate::field::Fields;

/// Sector of the copy of boot sector and FSInfo.
pub(super) const BACKUP_SECTOR: u64 = 6;

/// What the boot sector says beside the sizes.
pub(super) struct Identity {
    pub(super) serial: u32,
    pub(super) label: [u8; 11],
    pub(super) hidden_sectors: u32,
}

/// The boot sector.
pub(super) fn boot_sector(g: &Geometry, identity: &Identity) -> Vec<u8> {
    let mut sector = Fields::new(usize::try_from(g.sector_len).unwrap_or(512));
    let is_32 = g.kind == FatKind::Fat32;
    let jump = if is_32 { 0x58 } else { 0x3C };
    sector.put(0, &[0xEB, jump, 0x90]);
    sector.put(3, b"MSWIN4.1");
    sector.le(11, 2, g.sector_len);
    sector.le(13, 1, g.cluster_len / g.sector_len);
    sector.le(14, 2, g.reserved_sectors);
    sector.le(16, 1, 2);
    sector.le(17, 2, g.root_entries);
    if g.sectors() < 0x1_0000 && !is_32 {
        sector.le(19, 2, g.sectors());
    } else {
        sector.le(32, 4, g.sectors());
    }
    sector.le(21, 1, 0xF8);
    // The geometry of a disk that no one has any more; readers ignore it.
    sector.le(24, 2, 32);
    sector.le(26, 2, 8);
    sector.le(28, 4, u64::from(identity.hidden_sectors));
    let tail = if is_32 {
        sector.le(36, 4, g.table_sectors);
        sector.le(44, 4, 2);
        sector.le(48, 2, 1);
        sector.le(50, 2, BACKUP_SECTOR);
        64
    } else {
        sector.le(22, 2, g.table_sectors);
        36
    };
    sector.le(tail, 1, 0x80);
    sector.le(tail + 2, 1, 0x29);
    sector.le(tail + 3, 4, u64::from(identity.serial));
    sector.put(tail + 7, &identity.label);
    sector.put(tail + 18, format!("{:8}", g.kind.to_string()).as_bytes());
    sector.put(510, &[0x55, 0xAA]);
    sector.into_bytes()
}

/// The FSInfo sector of FAT32.
pub(super) fn fs_info(g: &Geometry, used_clusters: u64) -> Vec<u8> {
    let mut sector = Fields::new(usize::try_from(g.sector_len).unwrap_or(512));
    sector.le(0, 4, 0x4161_5252);
    sector.le(484, 4, 0x6141_7272);
    sector.le(488, 4, g.clusters.saturating_sub(used_clusters));
    let next = if used_clusters < g.clusters {
        used_clusters + 2
    } else {
        0xFFFF_FFFF
    };
    sector.le(492, 4, next);
    sector.le(508, 4, 0xAA55_0000);
    sector.into_bytes()
}
