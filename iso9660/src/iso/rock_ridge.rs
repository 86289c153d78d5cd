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
    /// PX and TF.
    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        let mut px = b"PX\x2C\x01".to_vec();
        for value in [self.mode, self.links, self.uid, self.gid, self.serial] {
            px.extend(both32(value));
        }
        // Modification, access, attributes.
        let mut tf = b"TF\x1A\x01\x0E".to_vec();
        for _ in 0..3 {
            tf.extend(self.time);
        }
        vec![px, tf]
    }
}

/// SP, for the root's "." only.
pub(crate) fn marker() -> Vec<u8> {
    b"SP\x07\x01\xBE\xEF\0".to_vec()
}

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

/// NM, as many as the name needs.
pub(crate) fn name(name: &[u8]) -> Vec<Vec<u8>> {
    let parts = name.chunks(NAME_PART);
    let last = parts.len().saturating_sub(1);
    parts
        .enumerate()
        .map(|(i, part)| {
            let len = u8::try_from(5 + part.len()).unwrap_or(0);
            let mut out = vec![b'N', b'M', len, 1, u8::from(i < last)];
            out.extend(part);
            out
        })
        .collect()
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

/// Packs entries into `room` bytes; what does not fit goes to the continuation area. The patch, if
/// any, counts from the beginning of the answer.
pub(crate) fn pack(
    entries: &[Vec<u8>],
    room: usize,
    continuation: &mut Continuation,
) -> (Vec<u8>, Option<Patch>) {
    let (mut out, rest) = fill(entries, room);
    let patch = (!rest.is_empty()).then(|| {
        let at = out.len();
        out.extend(ce());
        continuation.add(rest, at)
    });
    (out, patch)
}

/// As many entries as fit; room for a CE is kept unless all fit.
fn fill(entries: &[Vec<u8>], room: usize) -> (Vec<u8>, &[Vec<u8>]) {
    let total: usize = entries.iter().map(Vec::len).sum();
    if total <= room {
        return (entries.concat(), &[]);
    }
    let room = room.saturating_sub(CE_LEN);
    let mut used = 0;
    let fitting = entries
        .iter()
        .take_while(|entry| {
            used += entry.len();
            used <= room
        })
        .count();
    let (now, later) = entries.split_at(fitting);
    (now.concat(), later)
}

impl Continuation {
    /// Puts entries into areas that do not cross blocks; answers the patch of the CE at `at`.
    fn add(&mut self, entries: &[Vec<u8>], at: usize) -> Patch {
        let total: usize = entries.iter().map(Vec::len).sum();
        let left = BLOCK_LEN - self.bytes.len() % BLOCK_LEN;
        if total > left {
            let end = self.bytes.len().next_multiple_of(BLOCK_LEN);
            self.bytes.resize(end, 0);
        }
        let to = self.bytes.len();
        let (now, later) = fill(entries, BLOCK_LEN);
        self.bytes.extend(&now);
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
        let made = name(&[b'n'; 255]);
        assert_eq!(made.len(), 2);
        assert_eq!((made[0].len(), made[0][4]), (255, 1));
        assert_eq!((made[1].len(), made[1][4]), (10, 0));
    }

    #[test]
    fn areas_do_not_cross_blocks_and_chain_when_they_must() {
        let mut continuation = Continuation::default();
        let entries = vec![vec![7; 255]; 20];
        let (inline, patch) = pack(&entries, 100, &mut continuation);
        let patch = patch.unwrap();
        assert_eq!((inline.len(), patch.at, patch.to), (28, 0, 0));
        assert_eq!(patch.len, 7 * 255 + 28);
        assert_eq!(continuation.patches.len(), 2);
        for patch in &continuation.patches {
            assert_eq!(patch.to % 2048, 0);
            assert!(patch.to % 2048 + patch.len <= 2048);
        }
    }
}
