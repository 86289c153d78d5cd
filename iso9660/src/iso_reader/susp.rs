//! System use entries and what Rock Ridge says with them.

use std::io::{Read, Seek};

use super::record::time;
use crate::Timestamp;
use crate::error::Error;
use crate::input::{Input, array, byte, le32, le64};
use crate::iso::BLOCK;
use crate::item::PosixAttributes;

/// Continuation areas of one record.
const MAX_AREAS: usize = 64;
/// Bytes of names and targets of one record.
const MAX_TEXT: usize = 64 << 10;

/// What Rock Ridge says of a record.
#[derive(Debug, Default)]
pub(super) struct RockRidge {
    pub(super) name: Option<Vec<u8>>,
    pub(super) posix: Option<PosixAttributes>,
    pub(super) target: Option<Vec<u8>>,
    /// Block of a directory that was moved elsewhere.
    pub(super) child: Option<u32>,
    /// This record is where a directory was moved to.
    pub(super) is_moved: bool,
    pub(super) modified: Option<Timestamp>,
    pub(super) accessed: Option<Timestamp>,
    /// Length of the content once it is unpacked.
    pub(super) unpacked_len: Option<u64>,
    /// The content is compressed (zisofs).
    pub(super) is_packed: bool,
    /// The last component of the target goes on.
    inside_component: bool,
}

/// The bytes that SP says to skip; none without SP.
pub(super) fn marker(system_use: &[u8]) -> Option<usize> {
    // CD-ROM XA puts 14 bytes before it.
    [0, 14].into_iter().find_map(|at| {
        let entry = system_use.get(at..)?;
        let is_marker = entry.starts_with(b"SP\x07\x01\xBE\xEF");
        is_marker.then(|| usize::from(byte(entry, 6)))
    })
}

impl RockRidge {
    /// Reads the entries of a record and of its continuation areas.
    pub(super) fn read<R: Read + Seek>(
        input: &mut Input<R>,
        system_use: &[u8],
        block_len: u64,
    ) -> Result<Self, Error> {
        let mut out = Self::default();
        let mut next = out.area(system_use);
        let mut areas = 0;
        while let Some((block, offset, len)) = next {
            areas = usize::saturating_add(areas, 1);
            let at = block.saturating_mul(block_len).saturating_add(offset);
            if areas > MAX_AREAS {
                return Err(Error::Malformed {
                    what: "SUSP continuation",
                    offset: at,
                    reason: "it goes on without an end",
                });
            }
            if len > 16 * BLOCK {
                return Err(Error::Malformed {
                    what: "SUSP continuation",
                    offset: at,
                    reason: "it is longer than any area can be",
                });
            }
            let bytes = input.read("SUSP continuation", at, len)?;
            next = out.area(&bytes);
            if out.name.as_ref().map_or(0, Vec::len) > MAX_TEXT
                || out.target.as_ref().map_or(0, Vec::len) > MAX_TEXT
            {
                return Err(Error::Limit {
                    what: "Rock Ridge name",
                    offset: at,
                    limit: MAX_TEXT as u64,
                });
            }
        }
        Ok(out)
    }

    /// Reads one area; answers the next one.
    fn area(&mut self, bytes: &[u8]) -> Option<(u64, u64, u64)> {
        let mut next = None;
        let mut rest = bytes;
        while rest.len() >= 4 {
            let len = usize::from(byte(rest, 2));
            let Some(entry) = rest.get(..len).filter(|entry| entry.len() >= 4) else {
                break;
            };
            match entry {
                [b'C', b'E', ..] => {
                    let number = |at| u64::from(le32(entry, at));
                    next = Some((number(4), number(12), number(20)));
                }
                [b'S', b'T', ..] => break,
                [b'N', b'M', _, _, flags, name @ ..] if flags & 0x06 == 0 => {
                    self.name.get_or_insert_default().extend(name);
                }
                [b'P', b'X', ..] => self.posix = posix(entry),
                [b'S', b'L', _, _, _, components @ ..] => self.link(components),
                [b'C', b'L', ..] => self.child = Some(le32(entry, 4)),
                [b'R', b'E', ..] => self.is_moved = true,
                [b'T', b'F', _, _, flags, times @ ..] => self.times(*flags, times),
                [b'Z', b'F', _, _, b'p', b'z', ..] => {
                    self.unpacked_len = Some(u64::from(le32(entry, 8)));
                    self.is_packed = true;
                }
                [b'Z', b'F' | b'2', _, _, b'P', b'Z', ..] => {
                    self.unpacked_len = Some(le64(entry, 8));
                    self.is_packed = true;
                }
                [b'S', b'F', ..] => {
                    // Two numbers in version 1.12, the high half first; one before.
                    let high = if len >= 21 { le32(entry, 4) } else { 0 };
                    let low = le32(entry, if len >= 21 { 12 } else { 4 });
                    self.unpacked_len = Some(u64::from(high) << 32 | u64::from(low));
                }
                _ => {}
            }
            rest = rest.get(len..).unwrap_or(&[]);
        }
        next
    }

    /// The times of TF, which come in the order of their bits.
    fn times(&mut self, flags: u8, bytes: &[u8]) {
        let is_long = flags & 0x80 != 0;
        let mut times = bytes.chunks_exact(if is_long { 17 } else { 7 });
        for bit in 0..7u8 {
            if flags & 1u8.checked_shl(u32::from(bit)).unwrap_or(0) == 0 {
                continue;
            }
            let found = times.next().and_then(|bytes| match is_long {
                true => long_time(bytes),
                false => time(array(bytes, 0)?),
            });
            match bit {
                1 => self.modified = found.or(self.modified),
                2 => self.accessed = found.or(self.accessed),
                _ => {}
            }
        }
    }

    /// Appends components to the target.
    fn link(&mut self, mut rest: &[u8]) {
        let target = self.target.get_or_insert_default();
        while let [flags, len, tail @ ..] = rest {
            let (name, tail) = tail.split_at(usize::from(*len).min(tail.len()));
            if !self.inside_component && !target.is_empty() && !target.ends_with(b"/") {
                target.push(b'/');
            }
            match flags & 0x0E {
                0x02 => target.push(b'.'),
                0x04 => target.extend(b".."),
                0x08 => {
                    target.clear();
                    target.push(b'/');
                }
                _ => target.extend(name),
            }
            self.inside_component = flags & 1 != 0;
            rest = tail;
        }
    }
}

/// A time of sixteen digits and an offset; none when it is not given or no date.
pub(super) fn long_time(bytes: &[u8]) -> Option<Timestamp> {
    let digits = str::from_utf8(bytes.get(..14)?).ok()?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |range| digits.get(range).and_then(|d: &str| d.parse::<u8>().ok());
    let year: i64 = digits.get(..4)?.parse().ok()?;
    let (month, day) = (part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let local = Timestamp::from_civil((year, month, day), (hour, minute, second.min(59)));
    let offset = i64::from(i8::from_le_bytes([byte(bytes, 16)])).saturating_mul(900);
    Some(Timestamp::from_unix(local.as_unix().saturating_sub(offset)))
}

fn posix(entry: &[u8]) -> Option<PosixAttributes> {
    (entry.len() >= 36).then(|| PosixAttributes {
        mode: le32(entry, 4),
        links: le32(entry, 12),
        uid: le32(entry, 20),
        gid: le32(entry, 28),
        serial: (entry.len() >= 44).then(|| le32(entry, 36)),
    })
}
