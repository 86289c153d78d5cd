//! The attribute certificate table: `WIN_CERTIFICATE` entries one after another.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::der;
use crate::error::Error;
use crate::hash::HashAlgorithm;
use crate::oid;

/// What a table entry holds (`wCertificateType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is a number")]
pub struct EntryType(pub u16);

impl EntryType {
    /// An X.509 certificate, which no firmware reads.
    pub const X509: Self = Self(1);
    /// PKCS#7 SignedData: an Authenticode signature.
    pub const PKCS_SIGNED_DATA: Self = Self(2);
    /// A PKCS#1 signature of UEFI.
    pub const EFI_PKCS1_15: Self = Self(0x0ef0);
    /// Data of the type that a GUID names.
    pub const EFI_GUID: Self = Self(0x0ef1);
}

/// `EFI_CERT_TYPE_PKCS7_GUID` as it is stored.
pub(crate) const PKCS7_GUID: [u8; 16] = [
    0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7,
];

/// One entry of the certificate table.
#[derive(Clone, PartialEq, Eq)]
pub struct TableEntry {
    offset: u64,
    stored_len: u32,
    revision: u16,
    kind: EntryType,
    data: Vec<u8>,
    pad: Vec<u8>,
}

impl core::fmt::Debug for TableEntry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TableEntry")
            .field("offset", &self.offset)
            .field("len", &self.stored_len)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl TableEntry {
    /// An entry for a signature, written with `dwLength` not including the padding, as the specification has it.
    pub(crate) fn for_pkcs7(der: &[u8]) -> Result<Self, Error> {
        let len = u32::try_from(der.len())
            .ok()
            .and_then(|len| len.checked_add(8))
            .ok_or(Error::TooLong)?;
        Ok(Self {
            offset: 0,
            stored_len: len,
            revision: 0x0200,
            kind: EntryType::PKCS_SIGNED_DATA,
            data: der.to_vec(),
            pad: padding(len.into()).to_vec(),
        })
    }

    /// Where the entry starts in the file it was read from; 0 for a new one.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// `dwLength`, header included, with or without the padding: both occur.
    #[must_use]
    pub fn stored_len(&self) -> u32 {
        self.stored_len
    }

    /// `wRevision`, 0x0200 in practice.
    #[must_use]
    pub fn revision(&self) -> u16 {
        self.revision
    }

    /// `wCertificateType`.
    #[must_use]
    pub fn kind(&self) -> EntryType {
        self.kind
    }

    /// The bytes after the entry's header, as `dwLength` counts them.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where firmware looks for PKCS#7, if in this entry at all: in entries of type 2, and after the GUID of type 0x0EF1.
    #[must_use]
    pub fn pkcs7_data(&self) -> Option<&[u8]> {
        match self.kind {
            EntryType::PKCS_SIGNED_DATA => Some(&self.data),
            EntryType::EFI_GUID => self.data.strip_prefix(&PKCS7_GUID),
            _ => None,
        }
    }

    /// The signature as a detached file would have it: the ContentInfo by its own length, without what follows it.
    #[must_use]
    pub fn pkcs7(&self) -> Option<&[u8]> {
        let data = self.pkcs7_data()?;
        der::first(data).map(|(blob, _)| blob)
    }

    /// Bytes after the signature that nothing authenticates: the rest of the data, and the padding.
    #[must_use]
    pub fn unauthenticated(&self) -> (&[u8], &[u8]) {
        let rest = self
            .pkcs7_data()
            .and_then(der::first)
            .map_or(&[][..], |(_, rest)| rest);
        (rest, &self.pad)
    }

    /// Whether the UEFI reference firmware looks at the entry, and the image hash that it takes for it.
    ///
    /// It compares the object identifier at a fixed place, byte 32.
    pub(crate) fn firmware_hash(&self) -> Option<HashAlgorithm> {
        hash_at_32(self.pkcs7_data()?)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.kind.0.to_le_bytes());
        out.extend_from_slice(&self.data);
        out.extend_from_slice(&self.pad);
    }

    fn len_in_table(&self) -> u64 {
        let data = self
            .data
            .len()
            .saturating_add(self.pad.len())
            .saturating_add(8);
        u64::try_from(data).unwrap_or(u64::MAX)
    }
}

pub(crate) fn hash_at_32(data: &[u8]) -> Option<HashAlgorithm> {
    if data.get(1)? & 0x82 != 0x82 {
        return None;
    }
    let at = data.get(32..)?;
    HashAlgorithm::ALL
        .into_iter()
        .find(|algorithm| at.starts_with(oid::of_hash(*algorithm)))
}

/// Zero bytes up to the next multiple of 8.
pub(crate) fn padding(len: u64) -> &'static [u8] {
    const ZEROS: [u8; 8] = [0; 8];
    let over = usize::try_from(len % 8).unwrap_or_default();
    if over == 0 {
        &[]
    } else {
        ZEROS.get(over..).unwrap_or_default()
    }
}

/// The entries of a certificate table.
///
/// Changes are made here and then written with [`Image::with_table`](crate::Image::with_table).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureTable {
    entries: Vec<TableEntry>,
    problem: Option<TableProblem>,
}

/// Where the walk over a table broke off. Firmware refuses such an image even after a good signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TableProblem {
    /// File offset of the entry.
    pub offset: u64,
    /// Its `dwLength`.
    pub len: u64,
    /// Bytes of the table that are left.
    pub available: u64,
}

impl From<TableProblem> for Error {
    fn from(problem: TableProblem) -> Self {
        Self::BadTable {
            offset: problem.offset,
            len: problem.len,
            available: problem.available,
        }
    }
}

impl SignatureTable {
    /// Walks the bytes of a table that starts at `offset` in its file.
    pub(crate) fn parse(bytes: &[u8], offset: u64) -> Self {
        let mut table = Self::default();
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let Some((entry, after)) = parse_entry(rest, at) else {
                let len = rest.first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
                let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                table.problem = Some(TableProblem {
                    offset: at,
                    len: len.into(),
                    available,
                });
                return table;
            };
            at = at.saturating_add(entry.len_in_table());
            rest = after;
            table.entries.push(entry);
        }
        table
    }

    /// The entries, in file order.
    #[must_use]
    pub fn entries(&self) -> &[TableEntry] {
        &self.entries
    }

    /// Where the walk broke off, if it did not end exactly at the end of the table.
    #[must_use]
    pub fn problem(&self) -> Option<TableProblem> {
        self.problem
    }

    /// The table as bytes, each entry padded to 8.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in &self.entries {
            entry.write(&mut out);
        }
        out
    }

    pub(crate) fn push(&mut self, entry: TableEntry) {
        self.entries.push(entry);
    }

    /// Adds the entries of another table that this one does not have.
    ///
    /// They are copied as they are. Use [`Image::merge`](crate::Image::merge) to take only signatures for the same image.
    pub(crate) fn extend_new(&mut self, entries: impl IntoIterator<Item = TableEntry>) -> usize {
        let before = self.entries.len();
        for entry in entries {
            if !self
                .entries
                .iter()
                .any(|known| known.kind == entry.kind && known.data == entry.data)
            {
                self.entries.push(entry);
            }
        }
        self.entries.len().saturating_sub(before)
    }

    /// Removes the entry of this number, counted from 0.
    ///
    /// # Errors
    /// [`Error::NoSuchSignature`].
    pub fn remove(&mut self, index: usize) -> Result<TableEntry, Error> {
        let count = self.entries.len();
        if index >= count {
            return Err(Error::NoSuchSignature { index, count });
        }
        self.problem = None;
        Ok(self.entries.remove(index))
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.problem = None;
        self.entries.clear();
    }

    /// Removes the entries for which `unwanted` is true, and tells how many they were.
    pub fn remove_if(&mut self, mut unwanted: impl FnMut(&TableEntry) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| !unwanted(entry));
        before.saturating_sub(self.entries.len())
    }

    pub(crate) fn replace(&mut self, index: usize, entry: TableEntry) -> Result<(), Error> {
        let count = self.entries.len();
        let slot = self
            .entries
            .get_mut(index)
            .ok_or(Error::NoSuchSignature { index, count })?;
        *slot = entry;
        Ok(())
    }

    /// Algorithms that the entries name, as firmware reads them and as their digestAlgorithms say.
    pub(crate) fn hashes(&self) -> Vec<HashAlgorithm> {
        let mut all = Vec::new();
        for entry in &self.entries {
            all.extend(entry.firmware_hash());
            if let Some(Ok(signed)) = entry.pkcs7().map(crate::signed_data::SignedData::parse) {
                all.extend(signed.hashes());
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn parse_entry(bytes: &[u8], offset: u64) -> Option<(TableEntry, &[u8])> {
    let stored_len = u32::from_le_bytes(*bytes.first_chunk()?);
    let revision = u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let kind = EntryType(u16::from_le_bytes(*bytes.get(6..)?.first_chunk()?));
    // Firmware ends its walk at entries without content, and wants more than a header to be left.
    let least = match kind {
        EntryType::PKCS_SIGNED_DATA => 9,
        EntryType::EFI_GUID => 25,
        _ => 8,
    };
    if bytes.len() <= 8 || stored_len < least {
        return None;
    }
    let (entry, rest) = bytes.split_at_checked(usize::try_from(stored_len).ok()?)?;
    let (pad, rest) = rest.split_at_checked(padding(stored_len.into()).len())?;
    let data = entry.get(8..)?.to_vec();
    Some((
        TableEntry {
            offset,
            stored_len,
            revision,
            kind,
            data,
            pad: pad.to_vec(),
        },
        rest,
    ))
}
