//! GUIDs and `UEFI_VARIABLE_DATA`, the event data of everything about variables.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use super::reader::Reader;

/// A GUID in the byte order of UEFI: the first three fields little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Guid([u8; 16]);

impl Guid {
    /// `EFI_GLOBAL_VARIABLE`: SecureBoot, PK, KEK.
    pub const GLOBAL: Self = Self::new(
        0x8be4_df61,
        0x93ca,
        0x11d2,
        *b"\xaa\x0d\x00\xe0\x98\x03\x2b\x8c",
    );
    /// `EFI_IMAGE_SECURITY_DATABASE_GUID`: db, dbx, dbt, dbr.
    pub const IMAGE_SECURITY: Self = Self::new(
        0xd719_b2cb,
        0x3d3a,
        0x4596,
        *b"\xa3\xbc\xda\xd0\x0e\x67\x65\x6f",
    );
    /// `SHIM_LOCK_GUID`: MokList, SbatLevel and the other variables of shim.
    pub const SHIM_LOCK: Self = Self::new(
        0x605d_ab50,
        0xe046,
        0x4300,
        *b"\xab\xb6\x3d\xd8\x10\xdd\x8b\x23",
    );

    /// The GUID with these fields.
    #[must_use]
    pub const fn new(first: u32, second: u16, third: u16, last: [u8; 8]) -> Self {
        let [a, b, c, d] = first.to_le_bytes();
        let [e, f] = second.to_le_bytes();
        let [g, h] = third.to_le_bytes();
        let [i, j, k, l, m, n, o, p] = last;
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The GUID stored as these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as UEFI stores them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// `8be4df61-93ca-11d2-aa0d-00e098032b8c`
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (position, index) in ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0.get(index).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no GUID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a GUID, expected the form 8be4df61-93ca-11d2-aa0d-00e098032b8c")]
#[non_exhaustive]
pub struct ParseGuidError;

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, ParseGuidError> {
        let mut fields = text.split('-');
        let mut field = |digits: usize| {
            fields
                .next()
                .filter(|field| {
                    field.len() == digits && field.bytes().all(|byte| byte.is_ascii_hexdigit())
                })
                .and_then(|field| u64::from_str_radix(field, 16).ok())
                .ok_or(ParseGuidError)
        };
        let first = u32::try_from(field(8)?).map_err(|_| ParseGuidError)?;
        let second = u16::try_from(field(4)?).map_err(|_| ParseGuidError)?;
        let third = u16::try_from(field(4)?).map_err(|_| ParseGuidError)?;
        let [_, _, _, _, _, _, i, j] = field(4)?.to_be_bytes();
        let [_, _, k, l, m, n, o, p] = field(12)?.to_be_bytes();
        if fields.next().is_some() {
            return Err(ParseGuidError);
        }
        Ok(Self::new(first, second, third, [i, j, k, l, m, n, o, p]))
    }
}

/// What shim before 15.3 logged after a value: five bytes of padding of its structure, and one more.
const SURPLUS: usize = 6;

/// The event data of variables and authorities (`UEFI_VARIABLE_DATA`, TCG PC Client PFP 1.06, 10.4.2.6).
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 16 | vendor GUID |
/// | 16 | 8 | length of the name in characters, without terminator |
/// | 24 | 8 | length of the value in bytes |
/// | 32 | 2 n | name in UTF-16LE |
/// | 32 + 2 n | m | value |
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VariableData {
    /// Vendor GUID.
    pub guid: Guid,
    /// Name.
    pub name: String,
    /// The value; in authorities one signature entry, owner first.
    pub value: Vec<u8>,
}

impl VariableData {
    /// The event data for a variable.
    #[must_use]
    pub fn new(guid: Guid, name: &str, value: &[u8]) -> Self {
        Self {
            guid,
            name: name.into(),
            value: value.to_vec(),
        }
    }

    /// Reads event data; `None` when lengths do not fit the bytes exactly or the name is no UTF-16.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let guid = Guid(reader.take("GUID", 16).ok()?.try_into().ok()?);
        let name_len = reader.u64("name length").ok()?;
        let value_len = reader.u64("value length").ok()?;
        let name = reader.take("name", name_len.checked_mul(2)?).ok()?;
        let value = reader.take("value", value_len).ok()?;
        // shim before 15.3 wrote up to six bytes too many behind an authority.
        if reader.remaining() > SURPLUS {
            return None;
        }
        let name = name.chunks_exact(2).map(|unit| match unit {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        });
        Some(Self {
            guid,
            name: char::decode_utf16(name).collect::<Result<_, _>>().ok()?,
            value: value.to_vec(),
        })
    }

    pub(super) fn byte_len(&self) -> usize {
        let name = self.name.encode_utf16().count();
        name.saturating_mul(2)
            .saturating_add(32)
            .saturating_add(self.value.len())
    }

    /// The bytes that firmware hashes and logs.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let name: Vec<u16> = self.name.encode_utf16().collect();
        let length = |len: usize| u64::try_from(len).unwrap_or(u64::MAX).to_le_bytes();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.guid.0);
        bytes.extend_from_slice(&length(name.len()));
        bytes.extend_from_slice(&length(self.value.len()));
        for unit in name {
            bytes.extend_from_slice(&unit.to_le_bytes());
        }
        bytes.extend_from_slice(&self.value);
        bytes
    }
}

impl fmt::Debug for VariableData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VariableData")
            .field("guid", &self.guid)
            .field("name", &self.name)
            .field("value_len", &self.value.len())
            .finish()
    }
}
