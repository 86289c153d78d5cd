//! Logical partitions: a chain of boot records inside an extended partition of the MBR.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::read::MbrEntry;
use crate::error::Error;
use crate::input::{Input, byte, le32};

/// Logical partitions that are listed.
const MAX_LOGICAL: u32 = 128;

/// Whether entries of this type hold logical partitions.
pub(super) const fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0F | 0x85)
}

/// The logical partitions, numbered from 5 on as all tools do.
pub(super) fn logical<R: Read + Seek>(
    input: &mut Input<R>,
    entries: &[MbrEntry],
) -> Result<Vec<MbrEntry>, Error> {
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    let extended = entries.iter().filter(|entry| is_extended(entry.kind));
    for base in extended.map(|entry| entry.first) {
        let mut next = Some(base);
        while let Some(sector) = next.take().filter(|&sector| seen.insert(sector)) {
            let record = match input.read("boot record", sector.saturating_mul(512), 512) {
                Ok(record) => record,
                Err(error @ Error::Image { .. }) => return Err(error),
                Err(_) => break,
            };
            if record.get(510..512) != Some(&[0x55, 0xAA]) {
                break;
            }
            // The first entry is the partition, counted from here; the second leads on, counted
            // from the beginning of the whole.
            for at in [446usize, 462] {
                let entry = record.get(at..).unwrap_or(&[]);
                let (kind, first) = (byte(entry, 4), u64::from(le32(entry, 8)));
                let sectors = u64::from(le32(entry, 12));
                if is_extended(kind) {
                    next = next.or(Some(base.saturating_add(first)));
                } else if kind != 0 && sectors != 0 {
                    let number = u32::try_from(out.len()).unwrap_or(u32::MAX);
                    if number >= MAX_LOGICAL {
                        return Ok(out);
                    }
                    out.push(MbrEntry {
                        number: number.saturating_add(5),
                        kind,
                        is_active: byte(entry, 0) == 0x80,
                        first: sector.saturating_add(first),
                        sectors,
                    });
                }
            }
        }
    }
    Ok(out)
}
