//! Items of CBOR (RFC 8949) of definite length.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

/// Major types.
pub(super) const NUMBER: u8 = 0;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// How deep arrays and maps may be nested in content of unknown kinds.
const MAX_DEPTH: u32 = 16;

/// Writes the head of an item in its shortest form.
pub(super) fn put(major: u8, value: u64, bytes: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..=23 => bytes.push(major | u8::try_from(value).unwrap_or(0)),
        24..=0xff => bytes.extend_from_slice(&[major | 24, u8::try_from(value).unwrap_or(0)]),
        0x100..=0xffff => {
            bytes.push(major | 25);
            bytes.extend_from_slice(&u16::try_from(value).unwrap_or(0).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(major | 26);
            bytes.extend_from_slice(&u32::try_from(value).unwrap_or(0).to_be_bytes());
        }
        _ => {
            bytes.push(major | 27);
            bytes.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Writes a byte string.
pub(super) fn put_bytes(string: &[u8], bytes: &mut Vec<u8>) {
    put(
        BYTES,
        u64::try_from(string.len()).unwrap_or(u64::MAX),
        bytes,
    );
    bytes.extend_from_slice(string);
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, rest: bytes }
    }

    pub(super) fn offset(&self) -> u64 {
        let offset = self.bytes.len().saturating_sub(self.rest.len());
        u64::try_from(offset).unwrap_or(u64::MAX)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether the next item is of this major type.
    pub(super) fn is_next(&self, major: u8) -> bool {
        self.rest.first().is_some_and(|byte| byte >> 5 == major)
    }

    /// The number, length or count in the head of the next item, if it is of this major type.
    pub(super) fn head(&mut self, wanted: u8) -> Option<u64> {
        if !self.is_next(wanted) {
            return None;
        }
        Some(self.any_head()?.1)
    }

    fn any_head(&mut self) -> Option<(u8, u64)> {
        let (&first, after) = self.rest.split_first()?;
        let width = match first & 0x1f {
            small @ 0..=23 => {
                self.rest = after;
                return Some((first >> 5, small.into()));
            }
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let (value, after) = after.split_at_checked(width)?;
        self.rest = after;
        let value = value
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        Some((first >> 5, value))
    }

    /// A byte or text string.
    pub(super) fn string(&mut self, wanted: u8) -> Option<&'a [u8]> {
        let len = usize::try_from(self.head(wanted)?).ok()?;
        let (string, after) = self.rest.split_at_checked(len)?;
        self.rest = after;
        Some(string)
    }

    /// Any one item, as it stands there.
    pub(super) fn item(&mut self) -> Option<&'a [u8]> {
        let start = self.rest;
        self.skip(0)?;
        start.get(..start.len().checked_sub(self.rest.len())?)
    }

    fn skip(&mut self, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (major, value) = self.any_head()?;
        let inner = match major {
            BYTES | TEXT => {
                let len = usize::try_from(value).ok()?;
                self.rest = self.rest.get(len..)?;
                0
            }
            ARRAY => value,
            MAP => value.checked_mul(2)?,
            TAG => 1,
            NUMBER | 1 | SIMPLE => 0,
            _ => return None,
        };
        for _ in 0..inner {
            self.skip(depth.saturating_add(1))?;
        }
        Some(())
    }
}
