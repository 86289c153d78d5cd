//! Files that are stored compressed (zisofs): in version 1, which xorriso, libarchive and mkzftree
//! write and Linux reads, or in version 2 of xorriso for files of any size.
//!
//! A header with the length of the whole and of a block, an array of where the blocks begin and
//! end, and the blocks, each a zlib stream; a block of zeros takes no bytes.

use std::io::{Read, Seek, Write};

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::Error;
use crate::input::{Extent, Input, byte, le32, le64};
use crate::item::Item;

/// Pointers that are read at once.
const POINTERS: u64 = 4096;

/// Writes the content of a packed file as it was before.
pub(super) fn unpack<R: Read + Seek>(
    input: &mut Input<R>,
    item: &Item,
    out: &mut impl Write,
) -> Result<u64, Error> {
    let start = item.extents.first().map_or(0, |extent| extent.offset);
    let damaged = |reason| Error::Malformed {
        what: "zisofs file",
        offset: start,
        reason,
    };
    let len = 24.min(item.len);
    let header = Header::parse(&piece(input, &item.extents, 0, len)?);
    let Header {
        len,
        block_bits,
        table,
        width,
    } = header.ok_or_else(|| damaged("it does not begin with a header that is known"))?;
    if item.unpacked_len != Some(len) {
        return Err(damaged("it has another length than its record says"));
    }
    let block_len = 1u64.checked_shl(block_bits).unwrap_or(0);
    let blocks = len.div_ceil(block_len.max(1));
    let mut pointers = Pointers {
        table,
        width,
        first: 0,
        held: Vec::new(),
    };
    let mut inflate = Decompress::new(true);
    let mut left = len;
    for block in 0..blocks {
        let begin = pointers.get(input, item, block)?;
        let end = pointers.get(input, item, block.saturating_add(1))?;
        let wanted = usize::try_from(left.min(block_len)).unwrap_or(0);
        let mut content = vec![0; wanted];
        if begin != end {
            // A block that cannot be packed grows by little.
            let stored = end.checked_sub(begin);
            let stored = stored.filter(|stored| *stored <= block_len.saturating_mul(2));
            let stored = stored.ok_or_else(|| damaged("its blocks are out of order"))?;
            let packed = piece(input, &item.extents, begin, stored)?;
            inflate.reset(true);
            let done = inflate.decompress(&packed, &mut content, FlushDecompress::Finish);
            let is_whole = inflate.total_out() == wanted as u64;
            if !is_whole || !matches!(done, Ok(Status::StreamEnd | Status::Ok)) {
                return Err(damaged("a block cannot be unpacked"));
            }
        }
        out.write_all(&content).map_err(|source| Error::Output {
            offset: len.saturating_sub(left),
            source,
        })?;
        left = left.saturating_sub(wanted as u64);
    }
    Ok(len)
}

/// What stands before the pointers.
struct Header {
    /// Length of the content.
    len: u64,
    block_bits: u32,
    /// Offset of the pointers, and bytes of each.
    table: u64,
    width: u64,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let words = |at| u64::from(byte(bytes, at)).saturating_mul(4);
        let out = match bytes.get(..8)? {
            b"\x37\xE4\x53\x96\xC9\xDB\xD6\x07" => Self {
                len: u64::from(le32(bytes, 8)),
                block_bits: u32::from(byte(bytes, 13)),
                table: words(12),
                width: 4,
            },
            // The algorithm must be zlib.
            b"\xEF\x22\x55\xA1\xBC\x1B\x95\xA0" if byte(bytes, 10) == 1 => Self {
                len: le64(bytes, 12),
                block_bits: u32::from(byte(bytes, 11)),
                table: words(9),
                width: 8,
            },
            _ => return None,
        };
        (15..=20).contains(&out.block_bits).then_some(out)
    }
}

/// The array of pointers, a part of it at a time.
struct Pointers {
    table: u64,
    width: u64,
    first: u64,
    held: Vec<u8>,
}

impl Pointers {
    fn get<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        item: &Item,
        index: u64,
    ) -> Result<u64, Error> {
        let held = (self.held.len() as u64)
            .checked_div(self.width)
            .unwrap_or(0);
        if index < self.first || index >= self.first.saturating_add(held) {
            let at = self.table.saturating_add(index.saturating_mul(self.width));
            let left = item.len.saturating_sub(at);
            let len = left.clamp(self.width, self.width.saturating_mul(POINTERS));
            self.held = piece(input, &item.extents, at, len)?;
            self.first = index;
        }
        let within = index.saturating_sub(self.first).saturating_mul(self.width);
        let within = usize::try_from(within).unwrap_or(usize::MAX);
        Ok(match self.width {
            8 => le64(&self.held, within),
            _ => u64::from(le32(&self.held, within)),
        })
    }
}

/// Bytes of a file, which may lie in several extents.
fn piece<R: Read + Seek>(
    input: &mut Input<R>,
    extents: &[Extent],
    at: u64,
    len: u64,
) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; usize::try_from(len).unwrap_or(0)];
    let mut done = 0usize;
    while done < out.len() {
        let rest = out.get_mut(done..).unwrap_or(&mut []);
        let offset = at.saturating_add(done as u64);
        match input.read_some(extents, offset, rest)? {
            0 => {
                return Err(Error::Truncated {
                    what: "zisofs file",
                    offset: extents.first().map_or(0, |extent| extent.offset),
                    needed: at.saturating_add(len),
                    available: offset,
                });
            }
            n => done = done.saturating_add(n),
        }
    }
    Ok(out)
}
