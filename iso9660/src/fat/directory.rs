//! Directory entries.

use super::name::Names;
use crate::Timestamp;

const READ_ONLY: u8 = 0x01;
const HIDDEN: u8 = 0x02;
const SYSTEM: u8 = 0x04;
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0F;

/// Length of one entry.
pub(super) const ENTRY_LEN: u64 = 32;

/// What an entry says beside its name.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) attributes: u8,
    pub(super) time: Timestamp,
    pub(super) cluster: u32,
    pub(super) len: u32,
}

impl Entry {
    pub(super) const fn directory(time: Timestamp, cluster: u32) -> Self {
        Self {
            attributes: DIRECTORY,
            time,
            cluster,
            len: 0,
        }
    }

    pub(super) const fn file(time: Timestamp, cluster: u32, len: u32) -> Self {
        Self {
            attributes: ARCHIVE,
            time,
            cluster,
            len,
        }
    }

    pub(super) const fn label(time: Timestamp) -> Self {
        Self {
            attributes: VOLUME_LABEL,
            time,
            cluster: 0,
            len: 0,
        }
    }

    /// Adds the attributes that the tree gives.
    pub(super) fn with(mut self, attributes: &crate::tree::Attributes) -> Self {
        for (given, bit) in [
            (attributes.read_only, READ_ONLY),
            (attributes.hidden, HIDDEN),
            (attributes.system, SYSTEM),
        ] {
            if given {
                self.attributes |= bit;
            }
        }
        self
    }

    /// The 32 bytes under a short name.
    fn bytes(self, short: &[u8; 11]) -> [u8; 32] {
        let (date, time) = self.time.dos();
        let mut out = [0; 32];
        out[..11].copy_from_slice(short);
        // 0xE5 in the first place means "deleted".
        if out[0] == 0xE5 {
            out[0] = 0x05;
        }
        out[11] = self.attributes;
        out[14..16].copy_from_slice(&time.to_le_bytes());
        out[16..18].copy_from_slice(&date.to_le_bytes());
        out[18..20].copy_from_slice(&date.to_le_bytes());
        let cluster = self.cluster.to_le_bytes();
        out[20..22].copy_from_slice(&cluster[2..]);
        out[22..24].copy_from_slice(&time.to_le_bytes());
        out[24..26].copy_from_slice(&date.to_le_bytes());
        out[26..28].copy_from_slice(&cluster[..2]);
        out[28..].copy_from_slice(&self.len.to_le_bytes());
        out
    }

    /// Appends the entry without a long name.
    pub(super) fn append_short(self, out: &mut Vec<u8>, short: &[u8; 11]) {
        out.extend(self.bytes(short));
    }

    /// Appends the entry with its long name before it.
    pub(super) fn append(self, out: &mut Vec<u8>, names: &Names) {
        let long = names.long.as_deref().unwrap_or(&[]);
        let sum = checksum(&names.short);
        let parts = long.chunks(13).enumerate();
        let last = long.len().div_ceil(13);
        for (i, part) in parts.rev() {
            let ordinal = u8::try_from(i + 1).unwrap_or(0);
            let flag = if i + 1 == last { 0x40 } else { 0 };
            out.extend(long_entry(ordinal | flag, sum, part));
        }
        self.append_short(out, &names.short);
    }
}

/// One entry of a long name: 13 UTF-16 units, then one zero, then ones.
fn long_entry(ordinal: u8, sum: u8, part: &[u16]) -> [u8; 32] {
    let mut units = part
        .iter()
        .copied()
        .chain([0])
        .chain(std::iter::repeat(0xFFFF));
    let mut out = [0; 32];
    out[0] = ordinal;
    out[11] = LONG_NAME;
    out[13] = sum;
    for at in [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30] {
        let unit = units.next().unwrap_or(0xFFFF).to_le_bytes();
        out[at] = unit[0];
        out[at + 1] = unit[1];
    }
    out
}

/// The checksum that ties a long name to its short one.
pub(crate) fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0u8, |sum, &b| sum.rotate_right(1).wrapping_add(b))
}
