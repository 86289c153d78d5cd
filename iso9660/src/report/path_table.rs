//! Comparing the path tables of a volume with its tree (ECMA-119 9.4).

use std::collections::HashSet;
use std::io::{Read, Seek};

use crate::error::Error;
use crate::input::{Extent, Input, array, byte, le16, le32};
use crate::iso_reader::joliet_name;
use crate::{Volume, VolumeKind};

/// The longest table that is read; 65,535 directories with names of 255 bytes.
const MAX_LEN: u64 = 18 << 20;

/// A directory as a table has it.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    /// Block of the directory itself, behind its extended attribute record.
    block: u32,
    parent: u16,
    name: Vec<u8>,
}

/// Why the tables do not fit the directories of the tree, of which the root is the first.
pub(super) fn problem<R: Read + Seek>(
    input: &mut Input<R>,
    volume: &Volume,
    directories: &[(Vec<u8>, Extent)],
) -> Result<Option<&'static str>, Error> {
    let (len, little, big) = volume.path_tables;
    if len > MAX_LEN {
        return Ok(Some("it is longer than any can be"));
    }
    let mut read = |block: u64| {
        let offset = block.saturating_mul(volume.block_len);
        match input.read("path table", offset, len) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error @ Error::Image { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    };
    let (Some(little), Some(big)) = (read(little)?, read(big)?) else {
        return Ok(Some("it lies behind the end of the image"));
    };
    let (Some(little), Some(big)) = (parse(&little, false), parse(&big, true)) else {
        return Ok(Some("its records do not fill it"));
    };
    if little != big {
        return Ok(Some("the little-endian and the big-endian one differ"));
    }
    if !little.iter().skip(1).map(|r| r.parent).is_sorted() {
        return Ok(Some("its records are not in the order of their parents"));
    }
    Ok(compare(&little, volume, directories))
}

fn parse(bytes: &[u8], is_big: bool) -> Option<Vec<Record>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let name_len = usize::from(byte(rest, 0));
        let len = name_len.checked_next_multiple_of(2)?.checked_add(8)?;
        let record = rest.get(..len).filter(|_| name_len > 0)?;
        let (block, parent) = if is_big {
            let (block, parent) = (array(record, 2)?, array(record, 6)?);
            (u32::from_be_bytes(block), u16::from_be_bytes(parent))
        } else {
            (le32(record, 2), le16(record, 6))
        };
        out.push(Record {
            block: block.saturating_add(u32::from(byte(record, 1))),
            parent,
            name: record.get(8..name_len.checked_add(8)?)?.to_vec(),
        });
        rest = rest.get(len..)?;
    }
    Some(out)
}

fn compare(
    records: &[Record],
    volume: &Volume,
    directories: &[(Vec<u8>, Extent)],
) -> Option<&'static str> {
    let is_joliet = volume.kind == VolumeKind::Joliet;
    let mut paths: Vec<Vec<u8>> = Vec::new();
    let mut found: HashSet<(Vec<u8>, u64)> = HashSet::new();
    let mut path_bytes = 0usize;
    for record in records {
        let path = if paths.is_empty() {
            Vec::new()
        } else {
            let parent = usize::from(record.parent).checked_sub(1);
            let Some(parent) = parent.and_then(|parent| paths.get(parent)) else {
                return Some("a record names a parent that comes later");
            };
            let name = match is_joliet {
                true => joliet_name(&record.name),
                false => record.name.clone(),
            };
            crate::tree::join(parent, &name)
        };
        // Paths of a hostile table grow with their depth.
        path_bytes = path_bytes.saturating_add(path.len());
        if path_bytes > 256 << 20 {
            return Some("its paths are longer than a reader bears");
        }
        let offset = u64::from(record.block).saturating_mul(volume.block_len);
        found.insert((path.clone(), offset));
        paths.push(path);
    }
    let is_found =
        |(path, extent): &(Vec<u8>, Extent)| found.contains(&(path.clone(), extent.offset));
    if records.len() != directories.len() {
        return Some("it has another count of directories");
    }
    if !directories.iter().all(is_found) {
        return Some("it has other directories or other blocks");
    }
    None
}
