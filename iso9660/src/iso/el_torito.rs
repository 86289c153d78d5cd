//! Boot catalog and boot record (El Torito 1.0; UEFI 2.10, 13.3.2.1).

use super::BLOCK_LEN;
use crate::field::Fields;

/// Platform of an entry: PC BIOS.
pub(crate) const X86: u8 = 0;
/// Platform of an entry: UEFI.
pub(crate) const EFI: u8 = 0xEF;

/// A boot image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BootEntry {
    pub(crate) platform: u8,
    pub(crate) block: u32,
    /// In units of 512 bytes.
    pub(crate) sectors: u16,
}

/// The sector count of an ESP. The field ends at 65,535; 0 means "to the end of the volume".
pub(crate) fn esp_sectors(len: u64) -> u16 {
    u16::try_from(len.div_ceil(512)).unwrap_or(0)
}

/// The volume descriptor at block 17 that names the catalog.
pub(crate) fn boot_record(catalog: u32) -> Vec<u8> {
    let mut out = Fields::new(BLOCK_LEN);
    out.put(1, b"CD001\x01");
    out.put(7, b"EL TORITO SPECIFICATION");
    out.le(71, 4, u64::from(catalog));
    out.into_bytes()
}

/// The catalog: the first entry is the default one, each other gets a section of its own.
pub(crate) fn catalog(entries: &[BootEntry]) -> Vec<u8> {
    let mut out = Fields::new(BLOCK_LEN);
    let platform = entries.first().map_or(EFI, |entry| entry.platform);
    // Validation entry: the words add up to zero.
    out.put(0, &[1, platform]);
    out.put(30, &[0x55, 0xAA]);
    let sum = u16::from_le_bytes([1, platform]).wrapping_add(0xAA55);
    out.put(28, &sum.wrapping_neg().to_le_bytes());
    let mut at = 32;
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            let is_last = i + 1 == entries.len();
            out.put(
                at,
                &[if is_last { 0x91 } else { 0x90 }, entry.platform, 1, 0],
            );
            at += 32;
        }
        out.put(at, &[0x88]);
        out.le(at + 6, 2, u64::from(entry.sectors));
        out.le(at + 8, 4, u64::from(entry.block));
        at += 32;
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalog_for_uefi_alone_is_that_of_xorriso() {
        let bytes = catalog(&[BootEntry {
            platform: EFI,
            block: 107,
            sectors: 512,
        }]);
        assert_eq!(&bytes[..4], [1, 0xEF, 0, 0]);
        assert_eq!(&bytes[28..32], [0xAA, 0x66, 0x55, 0xAA]);
        assert_eq!(&bytes[32..44], [0x88, 0, 0, 0, 0, 0, 0, 2, 107, 0, 0, 0]);
        assert!(bytes[44..].iter().all(|&b| b == 0));
    }

    #[test]
    fn count_never_wraps() {
        assert_eq!(esp_sectors(65_535 * 512), 65_535);
        assert_eq!(esp_sectors(65_536 * 512), 0);
        assert_eq!(esp_sectors(36 << 20), 0);
    }
}
