//! Directories (ECMA-119 6.8): records packed into blocks, their places set later.

use super::record::{self, Record};
use super::rock_ridge::{Continuation, Patch, pack};
use super::{BLOCK, BLOCK_LEN};

/// What a record points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Points {
    Directory(usize),
    /// One part of a file.
    File {
        file: usize,
        part: u64,
    },
    /// The block that empty files and links share.
    Empty,
}

/// The bytes of a directory with its continuation area.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    bytes: Vec<u8>,
    continuation: Continuation,
    places: Vec<(usize, Points)>,
    patches: Vec<Patch>,
    /// Memory for the system use of one record.
    system_use: Vec<u8>,
}

impl Directory {
    /// Adds a record; `entries` are its system use entries, one behind the other.
    pub(crate) fn push(&mut self, record: &Record<'_>, entries: &[u8], points: Points) {
        let base_len = record::base_len(record.identifier.len());
        let mut system_use = std::mem::take(&mut self.system_use);
        system_use.clear();
        let room = record::MAX_LEN - base_len;
        let patch = pack(entries, room, &mut self.continuation, &mut system_use);
        let len = base_len + system_use.len().next_multiple_of(2);
        // A record does not cross a block.
        if self.bytes.len() % BLOCK_LEN + len > BLOCK_LEN {
            let end = self.bytes.len().next_multiple_of(BLOCK_LEN);
            self.bytes.resize(end, 0);
        }
        let at = self.bytes.len();
        record.append(&system_use, &mut self.bytes);
        self.places.push((at, points));
        if let Some(mut patch) = patch {
            patch.at += at + base_len;
            self.patches.push(patch);
        }
        self.system_use = system_use;
    }

    /// Data length: whole blocks.
    pub(crate) const fn len(&self) -> u64 {
        (self.bytes.len() as u64).next_multiple_of(BLOCK)
    }

    /// Blocks of the directory and its continuation area.
    pub(crate) const fn blocks(&self) -> u64 {
        self.len() / BLOCK + (self.continuation.bytes.len() as u64).div_ceil(BLOCK)
    }

    /// Sets all places and gives the bytes of the directory and of its continuation area, which begins
    /// at the next block. The rest of the last block is zero. `place` answers block and length.
    pub(crate) fn finish(
        mut self,
        first_block: u32,
        place: impl Fn(Points) -> (u32, u32),
    ) -> (Vec<u8>, Vec<u8>) {
        for (at, points) in self.places {
            let (block, len) = place(points);
            record::place(&mut self.bytes, at, block, len);
        }
        let blocks = self.bytes.len().div_ceil(BLOCK_LEN);
        let area = first_block.saturating_add(u32::try_from(blocks).unwrap_or(0));
        for patch in self.patches {
            patch.apply(&mut self.bytes, area);
        }
        let mut continuation = self.continuation;
        for patch in continuation.patches {
            patch.apply(&mut continuation.bytes, area);
        }
        (self.bytes, continuation.bytes)
    }
}
