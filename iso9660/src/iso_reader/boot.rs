//! The El Torito boot catalog.

use std::io::{Read, Seek};

use crate::error::Error;
use crate::input::{Input, byte, le16, le32};
use crate::iso::BLOCK;

/// The boot catalog of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootCatalog {
    /// Offset of the catalog.
    pub offset: u64,
    /// Platform of the validation entry: 0 for PC BIOS, 0xEF for UEFI.
    pub platform: u8,
    /// Whether the checksum of the validation entry is right.
    pub is_valid: bool,
    /// The default entry and those of the sections.
    pub images: Vec<BootImage>,
}

/// An entry of the boot catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootImage {
    /// Platform: 0 for PC BIOS, 0xEF for UEFI.
    pub platform: u8,
    /// Whether the entry is marked as bootable.
    pub is_bootable: bool,
    /// Media to emulate; 0 for none.
    pub media: u8,
    /// Segment that a PC BIOS loads the image to; 0 stands for 0x7C0.
    pub load_segment: u16,
    /// Sectors of 512 bytes; 0 and 1 mean "to the end of the volume" for UEFI.
    pub sectors: u16,
    /// Offset of the image.
    pub offset: u64,
}

/// The longest catalog that is read.
const MAX_CATALOG: u64 = 16 * BLOCK;

impl BootImage {
    /// Whether UEFI firmware may start it: it is for UEFI and emulates no other medium.
    #[must_use]
    pub const fn is_uefi(&self) -> bool {
        self.platform == 0xEF && self.media == 0
    }

    /// The count of bytes that UEFI firmware takes for the image, the volume having `volume_len`
    /// bytes: that of its sectors, or all up to the end of the volume (UEFI 2.10, 13.3.2.1).
    #[must_use]
    pub const fn uefi_len(&self, volume_len: u64) -> u64 {
        match self.sectors {
            0 | 1 => volume_len.saturating_sub(self.offset),
            sectors => (sectors as u64).saturating_mul(512),
        }
    }
}

pub(super) fn read<R: Read + Seek>(input: &mut Input<R>, block: u32) -> Result<BootCatalog, Error> {
    let offset = u64::from(block).saturating_mul(BLOCK);
    // Catalogs of more than one block are allowed, and very rare.
    let len = input.len.saturating_sub(offset).min(MAX_CATALOG);
    let bytes = input.read("boot catalog", offset, len.max(64))?;
    let mut entries = bytes.chunks_exact(32);
    let validation = entries.next().unwrap_or(&[]);
    if byte(validation, 0) != 1 || le16(validation, 30) != 0xAA55 {
        return Err(Error::Malformed {
            what: "boot catalog",
            offset,
            reason: "it does not begin with a validation entry",
        });
    }
    let words = (0..16usize).map(|i| le16(validation, i.saturating_mul(2)));
    let sum = words.fold(0u16, u16::wrapping_add);
    let mut platform = byte(validation, 1);
    let mut out = BootCatalog {
        offset,
        platform,
        is_valid: sum == 0,
        images: Vec::new(),
    };
    let mut left = 1u16;
    let mut is_last = false;
    for entry in entries {
        match byte(entry, 0) {
            0x90 | 0x91 if left == 0 && !is_last => {
                platform = byte(entry, 1);
                left = le16(entry, 2);
                is_last = byte(entry, 0) == 0x91;
            }
            // An extension of the entry before.
            0x44 => {}
            indicator @ (0 | 0x88) if left > 0 => {
                left = left.saturating_sub(1);
                out.images.push(BootImage {
                    platform,
                    is_bootable: indicator == 0x88,
                    media: byte(entry, 1) & 0x0F,
                    load_segment: le16(entry, 2),
                    sectors: le16(entry, 6),
                    offset: u64::from(le32(entry, 8)).saturating_mul(BLOCK),
                });
            }
            _ => break,
        }
    }
    Ok(out)
}
