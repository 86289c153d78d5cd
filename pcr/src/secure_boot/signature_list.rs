//! Signature lists, as much as matching needs: which entry is of which type.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::bank::{Bank, Digest};
use crate::event_log::Guid;

pub(super) const X509: Guid = Guid::new(
    0xa5c0_59a1,
    0x94e4,
    0x4aa7,
    *b"\x87\xb5\xab\x15\x5c\x2b\xf0\x72",
);

pub(super) const SHA256: Guid = Guid::new(
    0xc1c4_1626,
    0x504c,
    0x4092,
    *b"\xac\xa9\x41\xf9\x36\x93\x43\x28",
);

const HASHES: [(Bank, Guid); 4] = [
    (
        Bank::Sha1,
        Guid::new(
            0x826c_a512,
            0xcf10,
            0x4ac9,
            *b"\xb1\x87\xbe\x01\x49\x66\x31\xbd",
        ),
    ),
    (Bank::Sha256, SHA256),
    (
        Bank::Sha384,
        Guid::new(
            0xff3e_5307,
            0x9fd0,
            0x48c9,
            *b"\x85\xf1\x8a\xd5\x6c\x70\x1e\x01",
        ),
    ),
    (
        Bank::Sha512,
        Guid::new(
            0x093e_0fae,
            0xa6c4,
            0x4f50,
            *b"\x9f\x1b\xd4\x1e\x2b\x89\xc1\x9a",
        ),
    ),
];

const CERTIFICATE_HASHES: [(Bank, Guid); 3] = [
    (
        Bank::Sha256,
        Guid::new(
            0x3bd2_a492,
            0x96c0,
            0x4079,
            *b"\xb4\x20\xfc\xf9\x8e\xf1\x03\xed",
        ),
    ),
    (
        Bank::Sha384,
        Guid::new(
            0x7076_876e,
            0x80c2,
            0x4ee6,
            *b"\xaa\xd2\x28\xb3\x49\xa6\x86\x5b",
        ),
    ),
    (
        Bank::Sha512,
        Guid::new(
            0x446d_bf63,
            0x2502,
            0x4cda,
            *b"\xbc\xfa\x24\x65\xd2\xb0\xfe\x9d",
        ),
    ),
];

/// One entry of a database: owner and data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    kind: Guid,
    /// Where the list starts that the entry is in.
    list: usize,
    /// `EFI_SIGNATURE_DATA`: owner (16 bytes) and data. This is what an authority event holds.
    pub(super) bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(super) fn data(&self) -> &'a [u8] {
        self.bytes.get(16..).unwrap_or_default()
    }

    pub(super) fn certificate(&self) -> Option<&'a [u8]> {
        (self.kind == X509).then(|| self.data())
    }

    pub(super) fn is_hash_of(&self, bank: Bank) -> bool {
        HASHES.contains(&(bank, self.kind))
    }

    pub(super) fn is_image(&self, digest: &Digest) -> bool {
        self.data() == digest.as_bytes() && HASHES.contains(&(digest.bank(), self.kind))
    }

    /// The revocation time, when the entry is a hash of a TBSCertificate.
    pub(super) fn revokes(&self, tbs: &[u8]) -> Option<&'a [u8]> {
        let (bank, _) = CERTIFICATE_HASHES
            .into_iter()
            .find(|(_, kind)| *kind == self.kind)?;
        let (digest, time) = self.data().split_at_checked(bank.digest_len())?;
        (digest == bank.hash(tbs).as_bytes()).then_some(time)
    }

    /// A list with this entry alone.
    pub(super) fn to_list(self) -> Vec<u8> {
        list(self.kind, &[self.bytes])
    }

    pub(super) const fn kind(&self) -> Guid {
        self.kind
    }

    pub(super) const fn list(&self) -> usize {
        self.list
    }
}

/// A list of entries of one size.
pub(super) fn list(kind: Guid, entries: &[&[u8]]) -> Vec<u8> {
    let entry_len = entries.first().map_or(0, |entry| entry.len());
    let word = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut list = Vec::new();
    list.extend_from_slice(&kind.to_bytes());
    list.extend_from_slice(&word(
        entry_len.saturating_mul(entries.len()).saturating_add(28),
    ));
    list.extend_from_slice(&word(0));
    list.extend_from_slice(&word(entry_len));
    for entry in entries {
        list.extend_from_slice(entry);
    }
    list
}

/// What is wrong with a database, and where.
pub(super) type Malformed = (&'static str, u64);

/// All entries in the order of the database. The database must be made of whole lists.
pub(super) fn entries(database: &[u8]) -> Result<Vec<Entry<'_>>, Malformed> {
    let mut entries = Vec::new();
    let mut rest = database;
    while !rest.is_empty() {
        let offset = database.len().saturating_sub(rest.len());
        let wrong = |what| (what, u64::try_from(offset).unwrap_or(u64::MAX));
        let (kind, sizes) = rest
            .split_first_chunk::<16>()
            .ok_or(wrong("a truncated header"))?;
        let ([list_len, header_len, entry_len], _) = sizes
            .split_first_chunk::<12>()
            .and_then(|(words, rest)| Some((words.as_chunks::<4>().0.first_chunk::<3>()?, rest)))
            .ok_or(wrong("a truncated header"))?;
        let number =
            |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
        let start = number(header_len)
            .checked_add(28)
            .ok_or(wrong("a header size beyond the list"))?;
        let entry_len = number(entry_len);
        let (list, after) = rest
            .split_at_checked(number(list_len))
            .ok_or(wrong("a list size beyond the end"))?;
        let body = list
            .get(start..)
            .ok_or(wrong("a header size beyond the list"))?;
        if entry_len <= 16 {
            return Err(wrong("entries without data"));
        }
        let chunks = body.chunks_exact(entry_len);
        if !chunks.remainder().is_empty() {
            return Err(wrong("a list size that entries do not divide"));
        }
        entries.extend(chunks.map(|bytes| Entry {
            kind: Guid::from_bytes(*kind),
            list: offset,
            bytes,
        }));
        rest = after;
    }
    Ok(entries)
}
