//! Finding the last session of an image that was written in several.
//!
//! A file has no table of contents as a disc has, so a later session is looked for behind the end
//! of the volume: a primary descriptor whose root directory lies in its own session. An image that
//! merely stands in a file or partition counts its blocks from its own beginning and does not match.

use std::io::{Read, Seek};

use super::descriptor::{self, Descriptors};
use super::record::RawRecord;
use crate::error::Error;
use crate::input::{Input, array, le32};
use crate::iso::{BLOCK, FIRST_DESCRIPTOR};

/// How far behind the end of a volume the next one may begin, in blocks: 64 MiB.
const MAX_GAP: u64 = 32_768;
/// Blocks that are looked at in one read.
const STEP: u64 = 64;
/// Sessions that are followed, as many as a disc can have.
const MAX_SESSIONS: usize = 99;

/// The descriptors of the last session.
pub(super) fn last<R: Read + Seek>(
    input: &mut Input<R>,
    first: Descriptors,
) -> Result<Descriptors, Error> {
    let mut out = first;
    for _ in 0..MAX_SESSIONS {
        match next(input, &out)? {
            Some(later) => out = later,
            None => break,
        }
    }
    Ok(out)
}

/// The session behind this one.
fn next<R: Read + Seek>(
    input: &mut Input<R>,
    session: &Descriptors,
) -> Result<Option<Descriptors>, Error> {
    let Some(volume) = session.volumes.first() else {
        return Ok(None);
    };
    // The length of the volume counts from block 0 or from the beginning of the session.
    let behind = session.session.saturating_add(FIRST_DESCRIPTOR);
    let start = volume.blocks.max(behind.saturating_add(1));
    let end = start.saturating_add(MAX_GAP).min(input.len / BLOCK);
    let mut block = start;
    while block < end {
        let count = STEP.min(end.saturating_sub(block));
        let offset = block.saturating_mul(BLOCK);
        let bytes = input.read("volume", offset, count.saturating_mul(BLOCK))?;
        for (i, bytes) in bytes.chunks_exact(2048).enumerate() {
            if !bytes.starts_with(b"\x01CD001\x01") {
                continue;
            }
            let at = block.saturating_add(i as u64);
            let session = at.saturating_sub(FIRST_DESCRIPTOR);
            if is_session(input, bytes, at)
                && let Ok(found) = descriptor::read_all(input, session)
            {
                return Ok(Some(found));
            }
        }
        block = block.saturating_add(count);
    }
    Ok(None)
}

/// Whether the root directory that a descriptor names lies behind it and names itself.
fn is_session<R: Read + Seek>(input: &mut Input<R>, descriptor: &[u8], block: u64) -> bool {
    let root = u64::from(le32(descriptor, 158));
    if root <= block || array(descriptor, 128) != Some(2048u16.to_le_bytes()) {
        return false;
    }
    let bytes = input.read("root directory", root.saturating_mul(BLOCK), BLOCK);
    let Ok(bytes) = bytes else { return false };
    RawRecord::parse(&bytes)
        .is_some_and(|record| record.identifier == [0] && u64::from(record.block) == root)
}
