//! `.efifw`: a firmware bundle that the stub picks by hardware (systemd 258).
//!
//! | offset | length | content, little endian |
//! | --- | --- | --- |
//! | 0 | 4 | magic 0xfeeddead, so `ad de ed fe` |
//! | 4 | 4 | length of this header: 16, or more in a later version |
//! | 8 | 4 | length of the id with its NUL |
//! | 12 | 4 | length of the payload |
//! | length of the header | | id, NUL, payload |

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use alloc::vec::Vec;

use crate::{Error, SectionName};

const MAGIC: [u8; 4] = 0xfeed_dead_u32.to_le_bytes();

/// The content of an `.efifw` section.
///
/// # Examples
///
/// ```
/// let section = uki::FirmwareBundle::new("acme-board", b"capsule").to_bytes()?;
/// assert_eq!(uki::FirmwareBundle::parse(&section)?.id(), "acme-board");
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FirmwareBundle<'a> {
    id: &'a str,
    payload: &'a [u8],
}

impl<'a> FirmwareBundle<'a> {
    /// A bundle for the computers whose `.hwids` record has this id.
    #[must_use]
    pub fn new(id: &'a str, payload: &'a [u8]) -> Self {
        Self { id, payload }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// The firmware.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The section's content.
    ///
    /// # Errors
    ///
    /// [`Error::BadContent`] when the id has a NUL or a length does not fit 32 bits.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        if self.id.contains('\0') {
            return Err(bad(16, "the id contains a NUL"));
        }
        let id_len = u32::try_from(self.id.len().saturating_add(1))
            .map_err(|_| bad(8, "more than 4 GiB"))?;
        let payload_len =
            u32::try_from(self.payload.len()).map_err(|_| bad(12, "more than 4 GiB"))?;
        let mut bytes = MAGIC.to_vec();
        for length in [16, id_len, payload_len] {
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(self.payload);
        Ok(bytes)
    }

    /// Reads a section's content.
    ///
    /// # Errors
    ///
    /// [`Error::BadContent`] with the byte at which it does not follow the format.
    pub fn parse(section: &'a [u8]) -> Result<Self, Error> {
        let rest = section
            .strip_prefix(&MAGIC)
            .ok_or_else(|| bad(0, "no firmware bundle magic"))?;
        let (lengths, rest) = rest
            .split_first_chunk::<12>()
            .ok_or_else(|| bad(4, "ends inside the header"))?;
        let [header_len, id_len, payload_len] = [0, 4, 8].map(|at| {
            lengths
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |four| u32::from_le_bytes(*four))
        });
        if header_len < 16 {
            return Err(bad(4, "the header is shorter than 16 bytes"));
        }
        let further = usize::try_from(header_len.saturating_sub(16))
            .ok()
            .and_then(|len| rest.get(len..));
        let rest = further.ok_or_else(|| bad(4, "the header is longer than the section"))?;
        let split = usize::try_from(id_len)
            .ok()
            .and_then(|len| rest.split_at_checked(len));
        let (id, payload) = split.ok_or_else(|| bad(8, "the id is longer than the section"))?;
        let id = id
            .strip_suffix(b"\0")
            .and_then(|id| core::str::from_utf8(id).ok());
        let id = id.ok_or_else(|| bad(16, "the id is not text that ends with a NUL"))?;
        let payload = usize::try_from(payload_len)
            .ok()
            .and_then(|len| payload.get(..len));
        Ok(Self {
            id,
            payload: payload.ok_or_else(|| bad(12, "the payload is longer than the section"))?,
        })
    }
}

fn bad(offset: u64, reason: &'static str) -> Error {
    Error::BadContent {
        section: SectionName::EFIFW,
        offset,
        reason,
    }
}
