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
    /// Sectors of 512 bytes; 0 and 1 mean "to the end of the volume" for UEFI.
    pub sectors: u16,
    /// Offset of the image.
    pub offset: u64,
}

pub(super) fn read<R: Read + Seek>(input: &mut Input<R>, block: u32) -> Result<BootCatalog, Error> {
    let offset = u64::from(block).saturating_mul(BLOCK);
    let bytes = input.read("boot catalog", offset, BLOCK)?;
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
                    sectors: le16(entry, 6),
                    offset: u64::from(le32(entry, 8)).saturating_mul(BLOCK),
                });
            }
            _ => break,
        }
    }
    Ok(out)
}
