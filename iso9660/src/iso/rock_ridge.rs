//! System use entries (SUSP 1.12) of Rock Ridge (RRIP 1.12).

use super::BLOCK_LEN;
use crate::field::both32;

/// Length of a CE entry.
const CE_LEN: usize = 28;
/// Name bytes of one NM entry.
const NAME_PART: usize = 250;

pub(crate) const TYPE_DIRECTORY: u32 = 0o040_000;
pub(crate) const TYPE_FILE: u32 = 0o100_000;
pub(crate) const TYPE_SYMLINK: u32 = 0o120_000;

/// POSIX attributes of an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posix {
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) serial: u32,
    pub(crate) time: [u8; 7],
}

impl Posix {
    /// Appends PX and TF.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        out.extend(b"PX\x2C\x01");
        for value in [self.mode, self.links, self.uid, self.gid, self.serial] {
            out.extend(both32(value));
        }
        // Modification, access, attributes.
        out.extend(b"TF\x1A\x01\x0E");
        for _ in 0..3 {
            out.extend(self.time);
        }
    }
}

/// SP, for the root's "." only.
pub(crate) const MARKER: &[u8] = b"SP\x07\x01\xBE\xEF\0";

/// ER, for the root's "." only.
pub(crate) fn reference() -> Vec<u8> {
    const ID: &[u8] = b"IEEE_P1282";
    const DESCRIPTOR: &[u8] =
        b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS.";
    const SOURCE: &[u8] = b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR \
        THE P1282 SPECIFICATION.";
    let mut out = b"ER\0\x01".to_vec();
    let lens = [ID.len(), DESCRIPTOR.len(), SOURCE.len()];
    out.extend(lens.map(|len| u8::try_from(len).unwrap_or(0)));
    out.push(1);
    out.extend([ID, DESCRIPTOR, SOURCE].concat());
    let len = u8::try_from(out.len()).unwrap_or(0);
    if let Some(byte) = out.get_mut(2) {
        *byte = len;
    }
    out
}

/// Appends NM, as many as the name needs.
pub(crate) fn append_name(name: &[u8], out: &mut Vec<u8>) {
    let mut parts = name.chunks(NAME_PART).peekable();
    while let Some(part) = parts.next() {
        let len = u8::try_from(5 + part.len()).unwrap_or(0);
        out.extend([b'N', b'M', len, 1, u8::from(parts.peek().is_some())]);
        out.extend(part);
    }
}

/// The continuation area of one directory: the blocks right behind it, shared by its records.
#[derive(Debug, Default)]
pub(crate) struct Continuation {
    pub(crate) bytes: Vec<u8>,
    /// CE entries within the area itself.
    pub(crate) patches: Vec<Patch>,
}

/// A CE entry that does not know its block yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patch {
    /// Offset of the entry.
    pub(crate) at: usize,
    /// What it points at, in the continuation area.
    to: usize,
    len: usize,
}

impl Patch {
    /// Sets the place, once the first block of the area is known.
    pub(crate) fn apply(&self, bytes: &mut [u8], first_block: u32) {
        let block = u32::try_from(self.to / BLOCK_LEN).unwrap_or(u32::MAX);
        let offset = u32::try_from(self.to % BLOCK_LEN).unwrap_or(0);
        let len = u32::try_from(self.len).unwrap_or(0);
        let values = [first_block.saturating_add(block), offset, len];
        let fields = values.into_iter().flat_map(both32);
        for (to, from) in bytes.iter_mut().skip(self.at + 4).zip(fields) {
            *to = from;
        }
    }
}

fn ce() -> Vec<u8> {
    let mut out = b"CE\x1C\x01".to_vec();
    out.resize(CE_LEN, 0);
    out
}

/// Packs entries, one behind the other, into `room` bytes of `out`; what does not fit goes to the
/// continuation area. The patch, if any, counts from the beginning of what was appended.
pub(crate) fn pack(
    entries: &[u8],
    room: usize,
    continuation: &mut Continuation,
    out: &mut Vec<u8>,
) -> Option<Patch> {
    let (now, rest) = fill(entries, room);
    out.extend(now);
    (!rest.is_empty()).then(|| {
        out.extend(ce());
        continuation.add(rest, now.len())
    })
}

/// As many entries as fit, and the others; room for a CE is kept unless all fit.
fn fill(entries: &[u8], room: usize) -> (&[u8], &[u8]) {
    if entries.len() <= room {
        return (entries, &[]);
    }
    let room = room.saturating_sub(CE_LEN);
    let mut used = 0;
    // The third byte of an entry is its length.
    while let Some(&len) = entries.get(used + 2) {
        if used + usize::from(len) > room {
            break;
        }
        used += usize::from(len);
    }
    entries.split_at(used)
}

impl Continuation {
    /// Puts entries into areas that do not cross blocks; answers the patch of the CE at `at`.
    fn add(&mut self, entries: &[u8], at: usize) -> Patch {
        let left = BLOCK_LEN - self.bytes.len() % BLOCK_LEN;
        if entries.len() > left {
            let end = self.bytes.len().next_multiple_of(BLOCK_LEN);
            self.bytes.resize(end, 0);
        }
        let to = self.bytes.len();
        let (now, later) = fill(entries, BLOCK_LEN);
        self.bytes.extend(now);
        let len = now.len();
        if later.is_empty() {
            return Patch { at, to, len };
        }
        let ce_at = self.bytes.len();
        self.bytes.extend(ce());
        let patch = self.add(later, ce_at);
        self.patches.push(patch);
        Patch {
            at,
            to,
            len: len + CE_LEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_255_bytes_takes_two_entries() {
        let mut made = Vec::new();
        append_name(&[b'n'; 255], &mut made);
        let (first, second) = made.split_at(255);
        assert_eq!(first[..5], [b'N', b'M', 255, 1, 1]);
        assert_eq!(second[..5], [b'N', b'M', 10, 1, 0]);
        assert_eq!(second[5..], [b'n'; 5]);
    }

    #[test]
    fn areas_do_not_cross_blocks_and_chain_when_they_must() {
        let mut continuation = Continuation::default();
        let entries = [255; 255].repeat(20);
        let mut inline = Vec::new();
        let patch = pack(&entries, 100, &mut continuation, &mut inline).unwrap();
        assert_eq!((inline.len(), patch.at, patch.to), (28, 0, 0));
        assert_eq!(patch.len, 7 * 255 + 28);
        assert_eq!(continuation.patches.len(), 2);
        for patch in &continuation.patches {
            assert_eq!(patch.to % 2048, 0);
            assert!(patch.to % 2048 + patch.len <= 2048);
        }
    }
}
