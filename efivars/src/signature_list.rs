#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use crate::{Certificate, EfiTime, Error, Guid, SignatureType};

pub(crate) const HEADER_LEN: usize = 28;
pub(crate) const OWNER_LEN: usize = 16;

/// One `EFI_SIGNATURE_LIST`: entries of one type and one size, UEFI 2.10 §32.4.1.
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 16 | type |
/// | 16 | 4 | size of the whole list |
/// | 20 | 4 | H, size of the signature header, 0 for every type there is |
/// | 24 | 4 | size of one entry: 16 + length of its data |
/// | 28 | H | signature header |
/// | 28 + H | … | entries: owner GUID, data |
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SignatureList {
    kind: SignatureType,
    header: Vec<u8>,
    entry_len: u32,
    body: Vec<u8>,
}

/// One entry: its owner and its data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Signature<'a> {
    /// `SignatureOwner`.
    pub owner: Guid,
    /// `SignatureData`.
    pub data: &'a [u8],
}

impl SignatureList {
    /// A list with one entry.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] when the data does not fit a list.
    pub fn new(kind: SignatureType, owner: Guid, data: &[u8]) -> Result<Self, Error> {
        let too_long = || Error::TooLong {
            what: "signature entry",
            len: data.len() as u64,
            max: u64::from(u32::MAX).saturating_sub((HEADER_LEN + OWNER_LEN) as u64),
        };
        let len = data
            .len()
            .checked_add(HEADER_LEN + OWNER_LEN)
            .ok_or_else(too_long)?;
        u32::try_from(len).map_err(|_| too_long())?;
        let entry_len =
            u32::try_from(data.len().saturating_add(OWNER_LEN)).map_err(|_| too_long())?;
        let body = [&owner.to_bytes(), data].concat();
        Ok(Self {
            kind,
            header: Vec::new(),
            entry_len,
            body,
        })
    }

    /// Reads the list at the start of `bytes`, which stand at `offset` of the whole; only what every reader must insist on.
    pub(crate) fn parse_at(bytes: &[u8], offset: u64) -> Result<Self, Error> {
        let Some(([guid @ .., a, b, c, d], _)) = bytes.split_first_chunk::<20>() else {
            return Err(truncated(
                "signature list header",
                offset,
                HEADER_LEN,
                bytes.len(),
            ));
        };
        let size = u32::from_le_bytes([*a, *b, *c, *d]);
        let Some(&[h0, h1, h2, h3, e0, e1, e2, e3]) = bytes.get(20..28) else {
            return Err(truncated(
                "signature list header",
                offset,
                HEADER_LEN,
                bytes.len(),
            ));
        };
        let (header_len, entry_len) = (
            u32::from_le_bytes([h0, h1, h2, h3]),
            u32::from_le_bytes([e0, e1, e2, e3]),
        );
        let minimum = u64::from(header_len).saturating_add(HEADER_LEN as u64);
        if u64::from(size) < minimum {
            return Err(Error::ListSize {
                offset,
                size: size.into(),
                minimum,
            });
        }
        let whole = usize::try_from(size)
            .ok()
            .and_then(|size| bytes.get(HEADER_LEN..size));
        let Some(content) = whole else {
            return Err(Error::Truncated {
                what: "signature list",
                offset,
                needed: size.into(),
                available: bytes.len() as u64,
            });
        };
        if (entry_len as usize) < OWNER_LEN {
            return Err(Error::EntrySize {
                offset,
                size: entry_len.into(),
                minimum: OWNER_LEN as u64,
            });
        }
        let Some((header, body)) = content.split_at_checked(header_len as usize) else {
            return Err(Error::ListSize {
                offset,
                size: size.into(),
                minimum,
            });
        };
        if body.len().checked_rem(entry_len as usize) != Some(0) {
            return Err(Error::NotAMultiple {
                offset,
                body: body.len() as u64,
                entry: entry_len.into(),
            });
        }
        Ok(Self {
            kind: SignatureType::from_guid(Guid::from_bytes(*guid)),
            header: header.to_vec(),
            entry_len,
            body: body.to_vec(),
        })
    }

    /// What the strict reader minds beyond the layout.
    pub(crate) fn check(&self, offset: u64) -> Result<(), Error> {
        if !self.header.is_empty() {
            return Err(Error::SignatureHeader {
                offset,
                len: self.header.len() as u64,
            });
        }
        let found = u64::from(self.entry_len).saturating_sub(OWNER_LEN as u64);
        match self.kind.data_len() {
            Some(expected) if u64::from(expected) != found => {
                return Err(Error::DataLength {
                    offset,
                    kind: self.kind,
                    found,
                    expected: expected.into(),
                });
            }
            _ if self.body.is_empty() => return Err(Error::NoEntries { offset }),
            _ if found == 0 => {
                let minimum = OWNER_LEN as u64;
                return Err(Error::EntrySize {
                    offset,
                    size: self.entry_len.into(),
                    minimum: minimum.saturating_add(1),
                });
            }
            _ => {}
        }
        if self.kind == SignatureType::X509 {
            let mut at = offset.saturating_add((HEADER_LEN + OWNER_LEN) as u64);
            for signature in self.signatures() {
                if Certificate::from_der(signature.data).is_err() {
                    return Err(Error::NotACertificate { offset: at });
                }
                at = at.saturating_add(self.entry_len.into());
            }
        }
        Ok(())
    }

    /// The type of the entries.
    #[must_use]
    pub const fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The signature header, empty for every type there is.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Bytes of one entry, owner included.
    #[must_use]
    pub const fn entry_len(&self) -> u32 {
        self.entry_len
    }

    /// Bytes of the whole list.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        (HEADER_LEN as u64)
            .saturating_add(self.header.len() as u64)
            .saturating_add(self.body.len() as u64)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body
            .len()
            .checked_div(self.entry_len as usize)
            .unwrap_or(0)
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The entries, in order.
    pub fn signatures(&self) -> impl Iterator<Item = Signature<'_>> {
        self.raw_entries().filter_map(|entry| {
            let (owner, data) = entry.split_first_chunk::<OWNER_LEN>()?;
            Some(Signature {
                owner: Guid::from_bytes(*owner),
                data,
            })
        })
    }

    /// The entries as bytes, owner first.
    pub(crate) fn raw_entries(&self) -> impl Iterator<Item = &[u8]> {
        // parse_at and new keep entry_len at 16 or more.
        self.body
            .chunks_exact((self.entry_len as usize).max(OWNER_LEN))
    }

    /// Adds an entry of the same length as the others.
    ///
    /// # Errors
    ///
    /// [`Error::EntryMismatch`] for another length, [`Error::TooLong`] when the list would pass 4 GiB.
    pub fn push(&mut self, owner: Guid, data: &[u8]) -> Result<(), Error> {
        let found = (data.len() as u64).saturating_add(OWNER_LEN as u64);
        if found != u64::from(self.entry_len) {
            return Err(Error::EntryMismatch {
                expected: self.entry_len.into(),
                found,
            });
        }
        let len = self.byte_len().saturating_add(found);
        if len > u64::from(u32::MAX) {
            return Err(Error::TooLong {
                what: "signature list",
                len,
                max: u32::MAX.into(),
            });
        }
        self.body.extend_from_slice(&owner.to_bytes());
        self.body.extend_from_slice(data);
        Ok(())
    }

    /// Keeps the entries that `keep` says yes to, in order.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Signature<'_>) -> bool) {
        let mut body = Vec::with_capacity(self.body.len());
        for entry in self.raw_entries() {
            if let Some((owner, data)) = entry.split_first_chunk::<OWNER_LEN>()
                && keep(Signature {
                    owner: Guid::from_bytes(*owner),
                    data,
                })
            {
                body.extend_from_slice(entry);
            }
        }
        self.body = body;
    }

    pub(crate) fn append_to(&self, out: &mut Vec<u8>) {
        // parse_at, new and push keep the length below 4 GiB.
        let size = u32::try_from(self.byte_len()).unwrap_or(u32::MAX);
        let header_len = u32::try_from(self.header.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&self.kind.guid().to_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&header_len.to_le_bytes());
        out.extend_from_slice(&self.entry_len.to_le_bytes());
        out.extend_from_slice(&self.header);
        out.extend_from_slice(&self.body);
    }
}

fn truncated(what: &'static str, offset: u64, needed: usize, available: usize) -> Error {
    Error::Truncated {
        what,
        offset,
        needed: needed as u64,
        available: available as u64,
    }
}

impl fmt::Debug for SignatureList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureList")
            .field("kind", &self.kind)
            .field("entry_len", &self.entry_len)
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

impl Signature<'_> {
    /// The revocation time of an `X509_SHA…` entry: the last sixteen bytes of its data.
    #[must_use]
    pub fn revocation_time(&self) -> Option<EfiTime> {
        self.data
            .last_chunk::<16>()
            .map(|bytes| EfiTime::from_bytes(*bytes))
    }
}

impl fmt::Debug for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = crate::hash::hex(self.data.get(..32).unwrap_or(self.data));
        write!(
            f,
            "Signature({}, {} bytes {shown})",
            self.owner,
            self.data.len()
        )
    }
}
