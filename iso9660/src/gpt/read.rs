//! Reading partition tables.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{Read, Seek};

use crate::Guid;
use crate::error::Error;
use crate::input::{Input, array, byte, le32, le64};

/// The partition tables of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionTable {
    /// The used entries of the MBR.
    pub mbr: Vec<MbrEntry>,
    /// The GUID partition table.
    pub gpt: Option<Gpt>,
}

/// An entry of the MBR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MbrEntry {
    /// Type; 0xEE protects a GPT, 0xEF is an ESP.
    pub kind: u8,
    /// Whether it is marked as active.
    pub is_active: bool,
    /// First sector of 512 bytes.
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
    /// The backup header stands in the last sector and its checksum is right.
    pub has_backup: bool,
    /// The used entries.
    pub partitions: Vec<GptPartition>,
}

/// An entry of a GUID partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GptPartition {
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

/// The longest array that is read.
const MAX_ARRAY: u64 = 4 << 20;

impl PartitionTable {
    /// Reads the tables of an image. An image without any has an empty MBR and no GPT.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] and [`Error::Truncated`] for a GPT whose array cannot be read,
    /// [`Error::Image`].
    pub fn read(reader: impl Read + Seek) -> Result<Self, Error> {
        let mut input = Input::new(reader)?;
        let mut out = Self {
            mbr: Vec::new(),
            gpt: None,
        };
        if input.len < 512 {
            return Ok(out);
        }
        let sector = input.read("MBR", 0, 512)?;
        if sector.get(510..512) == Some(&[0x55, 0xAA]) {
            let table = sector.get(446..510).unwrap_or(&[]);
            let entries = table.chunks_exact(16).filter(|entry| byte(entry, 4) != 0);
            out.mbr.extend(entries.map(|entry| MbrEntry {
                kind: byte(entry, 4),
                is_active: byte(entry, 0) == 0x80,
                first: u64::from(le32(entry, 8)),
                sectors: u64::from(le32(entry, 12)),
            }));
        }
        for sector_len in [512, 4096] {
            if out.gpt.is_none() {
                out.gpt = read_gpt(&mut input, sector_len)?;
            }
        }
        Ok(out)
    }
}

/// A header at an offset: its bytes and whether its checksum is right.
fn header<R: Read + Seek>(input: &mut Input<R>, offset: u64) -> Option<(Vec<u8>, bool)> {
    let bytes = input.read("GPT header", offset, 512).ok()?;
    if !bytes.starts_with(b"EFI PART") {
        return None;
    }
    let len = usize::try_from(le32(&bytes, 12)).ok()?;
    let is_valid = bytes.get(..len).filter(|b| b.len() >= 92).is_some_and(|b| {
        let mut copy = b.to_vec();
        copy.iter_mut().skip(16).take(4).for_each(|b| *b = 0);
        crc32fast::hash(&copy) == le32(b, 16)
    });
    Some((bytes, is_valid))
}

fn read_gpt<R: Read + Seek>(input: &mut Input<R>, sector_len: u64) -> Result<Option<Gpt>, Error> {
    let Some((bytes, header_is_valid)) = header(input, sector_len) else {
        return Ok(None);
    };
    let malformed = |reason| Error::Malformed {
        what: "GPT",
        offset: sector_len,
        reason,
    };
    let entry_len = u64::from(le32(&bytes, 84));
    if entry_len < 128 {
        return Err(malformed("its entries are shorter than 128 bytes"));
    }
    let array_len = u64::from(le32(&bytes, 80)).saturating_mul(entry_len);
    if array_len > MAX_ARRAY {
        return Err(malformed("its array is longer than any can be"));
    }
    let at = le64(&bytes, 72)
        .checked_mul(sector_len)
        .ok_or_else(|| malformed("its array lies behind every end"))?;
    let entries = input.read("GPT array", at, array_len)?;
    let backup = input.len.saturating_sub(sector_len);
    let entry_len = usize::try_from(entry_len).unwrap_or(usize::MAX);
    Ok(Some(Gpt {
        sector_len,
        disk: Guid::from_bytes(array(&bytes, 56).unwrap_or_default()),
        is_valid: header_is_valid && crc32fast::hash(&entries) == le32(&bytes, 88),
        has_backup: header(input, backup).is_some_and(|(_, is_valid)| is_valid),
        partitions: entries
            .chunks_exact(entry_len)
            .filter_map(partition)
            .collect(),
    }))
}

/// An entry; none when it is not used.
fn partition(entry: &[u8]) -> Option<GptPartition> {
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
        kind,
        guid: Guid::from_bytes(array(entry, 16).unwrap_or_default()),
        first: le64(entry, 32),
        last: le64(entry, 40),
        attributes: le64(entry, 48),
        name: String::from_utf16_lossy(&units),
    })
}
