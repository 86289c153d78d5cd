//! System use entries and what Rock Ridge says with them.

use std::io::{Read, Seek};

use crate::error::Error;
use crate::input::{Input, byte, le32};
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
    ) -> Result<Self, Error> {
        let mut out = Self::default();
        let mut next = out.area(system_use);
        let mut areas = 0;
        while let Some((block, offset, len)) = next {
            areas = usize::saturating_add(areas, 1);
            let at = block.saturating_mul(BLOCK).saturating_add(offset);
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
                _ => {}
            }
            rest = rest.get(len..).unwrap_or(&[]);
        }
        next
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

fn posix(entry: &[u8]) -> Option<PosixAttributes> {
    (entry.len() >= 36).then(|| PosixAttributes {
        mode: le32(entry, 4),
        links: le32(entry, 12),
        uid: le32(entry, 20),
        gid: le32(entry, 28),
        serial: (entry.len() >= 44).then(|| le32(entry, 36)),
    })
}
