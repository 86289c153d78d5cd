//! Room for the section table: what has to move when it grows.
//!
//! Three steps, each only when the one before is not enough:
//! 1. the padding up to `SizeOfHeaders`, rounded up to `FileAlignment`;
//! 2. raw data moves back in the file, as far as headers may reach in memory: to the first section's address;
//! 3. all sections move up in memory by a multiple of 64 KiB while `ImageBase` goes down by as much. Distances within
//!    the image and all absolute addresses stay what they are, so code needs no change; the entry point, the data
//!    directories and the relocation blocks, which count from the image base, are rewritten.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use crate::headers::{DEBUG, Headers, RELOCATIONS, Section};
use crate::read_at::copy;
use crate::{Error, ReadAt};

/// Image bases are multiples of this (PE/COFF specification, optional header).
const BASE_STEP: u64 = 0x1_0000;

const DEBUG_ENTRY_LEN: u64 = 28;

/// Bytes to write over the old image, by their old file offset.
pub(crate) type Patches = Vec<(u64, Vec<u8>)>;

/// How far things move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// The new `SizeOfHeaders`.
    pub(crate) headers_len: u64,
    /// How far raw data moves back in the file.
    pub(crate) shift: u64,
    /// How far addresses move up in memory.
    pub(crate) rebase: u64,
}

impl Room {
    /// Finds the room for headers that end at `needed`.
    pub(crate) fn find(headers: &Headers, needed: u64) -> Result<Self, Error> {
        let align = headers.file_alignment;
        let round = |value: u64| value.checked_next_multiple_of(align).unwrap_or(u64::MAX);
        let old_len = round(headers.headers_len.into());
        let headers_len = if needed <= old_len {
            old_len
        } else {
            round(needed)
        };
        let used = |section: &&Section| section.virtual_len != 0;
        let first = headers
            .sections
            .iter()
            .filter(used)
            .map(Section::virtual_address)
            .min();
        let first = first.unwrap_or(u64::MAX);
        let step = BASE_STEP.max(headers.section_alignment);
        let rebase = match headers_len.checked_sub(first) {
            None | Some(0) => 0,
            // Headers that reach beyond the first section from the start are for the loader to refuse.
            Some(_) if needed <= old_len => 0,
            Some(excess) => excess.checked_next_multiple_of(step).unwrap_or(u64::MAX),
        };
        let no_room = |reason| Error::NoHeaderRoom {
            needed,
            available: first,
            reason,
        };
        if rebase != 0 {
            can_rebase(headers, rebase).map_err(no_room)?;
        }
        // Memory between the headers and the first section belongs to the headers, so that no hole is left.
        let headers_len = if rebase == 0 {
            headers_len
        } else {
            first.saturating_add(rebase)
        };
        let shift = round(headers_len.saturating_sub(first_raw(headers)));
        Ok(Self {
            headers_len,
            shift,
            rebase,
        })
    }

    /// What changes in the data of the old image.
    pub(crate) fn patches(
        &self,
        headers: &Headers,
        source: &impl ReadAt,
    ) -> Result<Patches, Error> {
        let mut patches = Patches::new();
        if self.shift == 0 && self.rebase == 0 {
            return Ok(patches);
        }
        let (mut offset, mut left) = place(headers, DEBUG).unwrap_or_default();
        while left >= DEBUG_ENTRY_LEN {
            for (at, delta) in [(20, self.rebase), (24, self.shift)] {
                let field = offset.saturating_add(at);
                let value = u32_at(source, "debug directory", field)?;
                if value != 0 {
                    patches.push((
                        field,
                        low32(u64::from(value).wrapping_add(delta))
                            .to_le_bytes()
                            .to_vec(),
                    ));
                }
            }
            offset = offset.saturating_add(DEBUG_ENTRY_LEN);
            left = left.saturating_sub(DEBUG_ENTRY_LEN);
        }
        if self.rebase != 0 {
            self.relocation_patches(headers, source, &mut patches)?;
        }
        patches.sort();
        Ok(patches)
    }

    /// Each block starts with the address of its page and its own length.
    fn relocation_patches(
        &self,
        headers: &Headers,
        source: &impl ReadAt,
        patches: &mut Patches,
    ) -> Result<(), Error> {
        let Some((mut offset, mut left)) = place(headers, RELOCATIONS) else {
            return Ok(());
        };
        while left >= 8 {
            let page = u32_at(source, "relocation block", offset)?;
            let len = u64::from(u32_at(
                source,
                "relocation block",
                offset.saturating_add(4),
            )?);
            if len < 8 || len > left {
                break;
            }
            patches.push((
                offset,
                low32(u64::from(page).wrapping_add(self.rebase))
                    .to_le_bytes()
                    .to_vec(),
            ));
            offset = offset.saturating_add(len);
            left = left.saturating_sub(len);
        }
        Ok(())
    }
}

/// Where the data of the first section starts in the file.
pub(crate) fn first_raw(headers: &Headers) -> u64 {
    let offsets = headers
        .sections
        .iter()
        .filter(|section| section.raw_len != 0)
        .map(Section::raw_offset);
    offsets
        .min()
        .unwrap_or_else(|| u64::from(headers.headers_len))
}

fn can_rebase(headers: &Headers, rebase: u64) -> Result<(), &'static str> {
    if headers.image_base < rebase || !headers.image_base.is_multiple_of(BASE_STEP) {
        return Err("the image base cannot go down by as much as the sections would go up");
    }
    let is_moved =
        |index: usize| matches!(index, crate::headers::CERTIFICATES | RELOCATIONS | DEBUG);
    if headers
        .directories
        .iter()
        .enumerate()
        .any(|(index, entry)| *entry != (0, 0) && !is_moved(index))
    {
        return Err("the stub has data directories whose contents count from the image base");
    }
    Ok(())
}

/// File offset and length of a data directory.
fn place(headers: &Headers, directory: usize) -> Option<(u64, u64)> {
    let (address, len) = headers.directory(directory);
    let address = u64::from(address);
    let holds =
        |section: &&Section| section.virtual_address() <= address && address < section.end();
    let section = headers.sections.iter().find(holds).filter(|_| len != 0)?;
    let within = address.saturating_sub(section.virtual_address());
    let left = section.raw_len().saturating_sub(within);
    Some((
        section.raw_offset().saturating_add(within),
        u64::from(len).min(left),
    ))
}

fn u32_at(source: &impl ReadAt, what: &'static str, offset: u64) -> Result<u32, Error> {
    let bytes = copy(source, what, offset, 4)?;
    Ok(bytes
        .first_chunk()
        .map_or(0, |four| u32::from_le_bytes(*four)))
}

/// The low half: callers have checked, or the old value was beyond 4 GiB already.
#[expect(clippy::cast_possible_truncation, reason = "wanted")]
fn low32(value: u64) -> u32 {
    value as u32
}
