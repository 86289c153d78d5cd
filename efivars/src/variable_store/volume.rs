//! The firmware volume around the variables: its header, the header of the store, and the area for fault tolerant writes.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::ops::Range;

use crate::{Error, Guid};

const NV_DATA: Guid = Guid::from_text("fff12b8d-7696-4c8b-a985-2747075b4f50");
const AUTHENTICATED_STORE: Guid = Guid::from_text("aaf32c78-947b-439a-a180-2e144ec37792");
const WORKING_BLOCK: Guid = Guid::from_text("9e58292b-7c68-497d-a0ce-6500fd9f1b95");
const SIGNATURE: &[u8] = b"_FVH";
const STORE_HEADER_LEN: usize = 28;
/// Volumes start at multiples of this.
const STEP: usize = 1024;
const BLOCK: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Volume {
    /// Bytes of the volume.
    pub(super) len: usize,
    /// Bytes of the variable store with its header.
    pub(super) store_len: usize,
    /// Where in the file the records stand.
    pub(super) records: Range<usize>,
}

impl Volume {
    pub(super) fn find(bytes: &[u8]) -> Result<Self, Error> {
        let start = (0..bytes.len())
            .step_by(STEP)
            .find(|start| {
                let volume = bytes.get(*start..).unwrap_or_default();
                volume.get(16..32) == Some(&NV_DATA.to_bytes())
                    && volume.get(40..44) == Some(SIGNATURE)
            })
            .ok_or(Error::NoVariableStore)?;
        let volume = bytes.get(start..).unwrap_or_default();
        let broken = |what, at: usize| Error::BrokenStore {
            what,
            offset: start.saturating_add(at) as u64,
        };
        let header = || broken("volume header", 0);
        let len = usize::try_from(u64_at(volume, 32).ok_or_else(header)?).map_err(|_| header())?;
        let header_len = usize::from(u16_at(volume, 48).ok_or_else(header)?);
        let volume = volume
            .get(..len)
            .ok_or_else(|| broken("volume length", 32))?;
        let sum = volume
            .get(..header_len)
            .filter(|_| header_len >= 56)
            .ok_or_else(header)?;
        let words = sum.chunks_exact(2).filter_map(|word| u16_at(word, 0));
        if words.fold(0u16, u16::wrapping_add) != 0 {
            return Err(broken("volume checksum", 50));
        }
        let store = volume.get(header_len..).unwrap_or_default();
        let store_header = || broken("store header", header_len);
        if store.get(..16) != Some(&AUTHENTICATED_STORE.to_bytes()) {
            return Err(store_header());
        }
        let store_len = u32_at(store, 16).ok_or_else(store_header)? as usize;
        // Formatted and healthy.
        if store.get(20..22) != Some(&[0x5a, 0xfe]) {
            return Err(broken("store state", header_len.saturating_add(20)));
        }
        if store_len < STORE_HEADER_LEN || store_len > store.len() {
            return Err(broken("store length", header_len.saturating_add(16)));
        }
        let end = header_len.saturating_add(store_len);
        check_fault_tolerance(volume, end).map_err(|(what, at)| broken(what, at))?;
        let base = start.saturating_add(header_len);
        Ok(Self {
            len,
            store_len,
            records: base.saturating_add(STORE_HEADER_LEN)..base.saturating_add(store_len),
        })
    }
}

/// The working block says whether firmware was interrupted while it rewrote the store: then the truth is in the spare block, and
/// writing here would be undone.
fn check_fault_tolerance(volume: &[u8], after: usize) -> Result<(), (&'static str, usize)> {
    let found = (0..volume.len())
        .step_by(BLOCK)
        .filter(|at| *at >= after)
        .find(|at| {
            volume
                .get(*at..)
                .is_some_and(|block| block.starts_with(&WORKING_BLOCK.to_bytes()))
        });
    let Some(at) = found else { return Ok(()) };
    let block = volume.get(at..).unwrap_or_default();
    let mut header = [0xff; 32];
    let (signature, length) = (block.get(..16), block.get(24..32));
    if let (Some(signature), Some(length)) = (signature, length) {
        let (head, tail) = header.split_at_mut(24);
        if let Some(place) = head.get_mut(..16) {
            place.copy_from_slice(signature);
        }
        tail.copy_from_slice(length);
    }
    // The checksum is over the header as it was before checksum and state were written.
    if u32_at(block, 16) != Some(crc32(&header)) {
        return Err(("working block checksum", at));
    }
    let queue = usize::try_from(u64_at(block, 24).unwrap_or(0)).unwrap_or(usize::MAX);
    let queue = block
        .get(32..)
        .and_then(|rest| rest.get(..queue))
        .unwrap_or_default();
    if has_unfinished_write(queue) {
        Err(("unfinished write", at))
    } else {
        Ok(())
    }
}

/// Walks over the write headers; a cleared bit means that the step was done.
fn has_unfinished_write(mut queue: &[u8]) -> bool {
    const HEADER_LEN: usize = 40;
    const RECORD_LEN: u64 = 40;
    const ALLOCATED: u8 = 1;
    const WRITES: u8 = 2;
    const COMPLETE: u8 = 4;
    while let Some(state) = queue
        .first()
        .copied()
        .filter(|state| state & ALLOCATED == 0)
    {
        let (Some(writes), Some(private)) = (u64_at(queue, 24), u64_at(queue, 32)) else {
            return false;
        };
        let records = queue.get(HEADER_LEN..).unwrap_or_default();
        // Only a record whose spare copy is complete is replayed.
        let spare_complete = records
            .first()
            .is_some_and(|bits| bits & 2 == 0 && bits & 4 != 0);
        if state & WRITES == 0 && state & COMPLETE != 0 && spare_complete {
            return true;
        }
        let len = RECORD_LEN
            .checked_add(private)
            .and_then(|record| record.checked_mul(writes));
        let next = len
            .and_then(|len| usize::try_from(len).ok())
            .and_then(|len| records.get(len..));
        match next {
            Some(next) => queue = next,
            None => return false,
        }
    }
    false
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc.wrapping_shr(1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may stop at a surprise")]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_empty_working_block_is_the_one_that_ovmf_is_built_with() {
        let mut header = [0xff; 32];
        header[..16].copy_from_slice(&WORKING_BLOCK.to_bytes());
        header[24..].copy_from_slice(&0xfe0u64.to_le_bytes());
        assert_eq!(crc32(&header), 0x642c_af2c);
    }
}
