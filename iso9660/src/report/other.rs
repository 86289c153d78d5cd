//! What an image holds beside what is read here.

use std::io::{Read, Seek};

use super::Format;
use super::findings::Findings;
use crate::Check;
use crate::error::Error;
use crate::input::{Input, be32, byte};
use crate::iso::{BLOCK, BLOCK_LEN, FIRST_DESCRIPTOR};

/// Entries of an Apple partition map that are named.
const MAX_ENTRIES: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Other {
    has_udf: bool,
    has_hfs: bool,
    /// Types of the partitions of an Apple partition map.
    apple: Option<Vec<String>>,
}

impl Other {
    pub(super) fn tell(&self, format: Format, findings: &mut Findings) {
        // Beside ISO 9660 it is told with the descriptors.
        let is_alone = format != Format::Iso9660;
        findings.add_if(self.has_udf && is_alone, Check::IsoUdf, "");
        findings.add_if(self.has_hfs, Check::Hfs, "");
        if let Some(kinds) = &self.apple {
            findings.add(Check::AppleMap, kinds.join(", "));
        }
    }

    /// Why an image with nothing else is not read.
    pub(super) fn error(&self) -> Option<Error> {
        let what = match self {
            Self { has_udf: true, .. } => "a UDF volume",
            Self { has_hfs: true, .. } => "an HFS or HFS+ volume",
            Self { apple: Some(_), .. } => "an Apple partition map",
            _ => return None,
        };
        Some(Error::NotRead { what })
    }
}

pub(super) fn find<R: Read + Seek>(reader: &mut R, len: u64) -> Result<Other, Error> {
    let mut input = Input::new(reader)?;
    let mut read = |offset: u64, most: u64| {
        let len = most.min(len.saturating_sub(offset));
        input.read("beginning of the image", offset, len)
    };
    let start = read(0, FIRST_DESCRIPTOR * BLOCK)?;
    // ECMA-167 2/9.1: the sequence begins where that of ISO 9660 does; a descriptor takes a sector,
    // which may have 4,096 bytes.
    let sequence = read(FIRST_DESCRIPTOR * BLOCK, 32 * BLOCK)?;
    let mut descriptors = sequence.chunks_exact(BLOCK_LEN);
    let is_udf = |block: &[u8]| matches!(block.get(1..6), Some(b"NSR02" | b"NSR03"));
    Ok(Other {
        has_udf: descriptors.any(is_udf),
        has_hfs: start.get(1024..).is_some_and(is_hfs),
        apple: [512, 2048].into_iter().find_map(|len| apple(&start, len)),
    })
}

/// Whether this is the header of HFS or HFS+: its signature and a number that must make sense.
fn is_hfs(header: &[u8]) -> bool {
    match header.get(..4) {
        Some([b'B', b'D', ..]) => {
            let block_len = be32(header, 20);
            block_len != 0 && block_len.is_multiple_of(512)
        }
        Some([b'H', b'+', 0, 4] | [b'H', b'X', 0, 5]) => be32(header, 40).is_power_of_two(),
        _ => false,
    }
}

/// The types of the partitions of a map whose entries lie a sector apart.
fn apple(start: &[u8], sector_len: usize) -> Option<Vec<String>> {
    let first = start.get(sector_len..)?;
    let count = be32(first, 4);
    if !first.starts_with(b"PM\0\0") || count == 0 || count > 256 {
        return None;
    }
    let entries = first
        .chunks(sector_len)
        .take_while(|e| e.starts_with(b"PM"));
    let kind = |entry: &[u8]| {
        let text = entry.get(48..80).unwrap_or(&[]);
        let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        String::from_utf8_lossy(text.get(..end).unwrap_or(&[])).into_owned()
    };
    let named = entries.filter(|entry| byte(entry, 48) != 0).map(kind);
    Some(named.take(count.min(MAX_ENTRIES) as usize).collect())
}
