//! `EFI_SIGNATURE_LIST` databases, as far as judging images needs them.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use crate::certificate::Certificate;
use crate::error::Error;
use crate::hash::{Digest, HashAlgorithm};

/// A GUID as it is stored: the first three fields little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is sixteen bytes")]
pub struct Guid(pub [u8; 16]);

/// The type of the entries of a signature list.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "it is a GUID")]
pub struct SignatureType(pub Guid);

const fn kind(first: u32, second: u16, third: u16, rest: [u8; 8]) -> SignatureType {
    let (a, b, c, d) = (
        first.to_le_bytes(),
        second.to_le_bytes(),
        third.to_le_bytes(),
        rest,
    );
    SignatureType(Guid([
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]))
}

impl SignatureType {
    /// `EFI_CERT_X509_GUID`.
    pub const X509: Self = kind(
        0xa5c0_59a1,
        0x94e4,
        0x4aa7,
        [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72],
    );
    /// `EFI_CERT_SHA1_GUID`.
    pub const SHA1: Self = kind(
        0x826c_a512,
        0xcf10,
        0x4ac9,
        [0xb1, 0x87, 0xbe, 0x01, 0x49, 0x66, 0x31, 0xbd],
    );
    /// `EFI_CERT_SHA256_GUID`.
    pub const SHA256: Self = kind(
        0xc1c4_1626,
        0x504c,
        0x4092,
        [0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28],
    );
    /// `EFI_CERT_SHA384_GUID`.
    pub const SHA384: Self = kind(
        0xff3e_5307,
        0x9fd0,
        0x48c9,
        [0x85, 0xf1, 0x8a, 0xd5, 0x6c, 0x70, 0x1e, 0x01],
    );
    /// `EFI_CERT_SHA512_GUID`.
    pub const SHA512: Self = kind(
        0x093e_0fae,
        0xa6c4,
        0x4f50,
        [0x9f, 0x1b, 0xd4, 0x1e, 0x2b, 0x89, 0xc1, 0x9a],
    );
    /// `EFI_CERT_X509_SHA256_GUID`: hash of a certificate's signed part and a revocation time.
    pub const X509_SHA256: Self = kind(
        0x3bd2_a492,
        0x96c0,
        0x4079,
        [0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed],
    );
    /// `EFI_CERT_X509_SHA384_GUID`.
    pub const X509_SHA384: Self = kind(
        0x7076_876e,
        0x80c2,
        0x4ee6,
        [0xaa, 0xd2, 0x28, 0xb3, 0x49, 0xa6, 0x86, 0x5b],
    );
    /// `EFI_CERT_X509_SHA512_GUID`.
    pub const X509_SHA512: Self = kind(
        0x446d_bf63,
        0x2502,
        0x4cda,
        [0xbc, 0xfa, 0x24, 0x65, 0xd2, 0xb0, 0xfe, 0x9d],
    );

    /// The algorithm of a list of image hashes.
    #[must_use]
    pub fn image_hash(self) -> Option<HashAlgorithm> {
        HashAlgorithm::ALL
            .into_iter()
            .find(|algorithm| Self::of_image_hash(*algorithm) == self)
    }

    /// The type of a list of image hashes.
    #[must_use]
    pub fn of_image_hash(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha1 => Self::SHA1,
            HashAlgorithm::Sha256 => Self::SHA256,
            HashAlgorithm::Sha384 => Self::SHA384,
            HashAlgorithm::Sha512 => Self::SHA512,
        }
    }

    /// The algorithm of a list of certificate hashes.
    #[must_use]
    pub fn certificate_hash(self) -> Option<HashAlgorithm> {
        [
            (Self::X509_SHA256, HashAlgorithm::Sha256),
            (Self::X509_SHA384, HashAlgorithm::Sha384),
            (Self::X509_SHA512, HashAlgorithm::Sha512),
        ]
        .into_iter()
        .find_map(|(kind, algorithm)| (kind == self).then_some(algorithm))
    }
}

impl fmt::Debug for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(algorithm) = self.image_hash() {
            return write!(f, "{algorithm}");
        }
        if let Some(algorithm) = self.certificate_hash() {
            return write!(f, "x509_{algorithm}");
        }
        if *self == Self::X509 {
            f.write_str("x509")
        } else {
            self.0.fmt(f)
        }
    }
}

/// An entry: `EFI_SIGNATURE_DATA` and the type of its list.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseEntry {
    kind: SignatureType,
    data: Vec<u8>,
    certificate: Option<Certificate>,
    /// Whether it is the first of its list: shim looks at no other certificate.
    pub(crate) is_first: bool,
}

impl fmt::Debug for DatabaseEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseEntry")
            .field("kind", &self.kind)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl DatabaseEntry {
    fn new(kind: SignatureType, data: &[u8], is_first: bool) -> Self {
        let value = data.get(16..).unwrap_or_default();
        let certificate = if kind == SignatureType::X509 {
            Certificate::from_der(value).ok()
        } else {
            None
        };
        Self {
            kind,
            data: data.to_vec(),
            certificate,
            is_first,
        }
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The whole entry, owner first.
    #[must_use]
    pub fn signature_data(&self) -> &[u8] {
        &self.data
    }

    /// The entry without its owner.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.data.get(16..).unwrap_or_default()
    }

    /// The certificate, in entries of that type that hold a readable one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }
}

/// The content of a signature database variable.
///
/// ```
/// # fn demo(dbx: &[u8]) -> Result<(), authenticode::Error> {
/// let dbx = authenticode::SignatureDatabase::parse(dbx)?;
/// println!("{} entries", dbx.entries().len());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureDatabase {
    entries: Vec<DatabaseEntry>,
    exists: bool,
}

impl SignatureDatabase {
    /// Reads signature lists, the content of a variable without attributes and without authentication header.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::BadHeader`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut database = Self {
            entries: Vec::new(),
            exists: !bytes.is_empty(),
        };
        let mut rest = bytes;
        let mut offset = 0_u64;
        while !rest.is_empty() {
            let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            let truncated = |needed| Error::Truncated {
                what: "signature list",
                offset,
                needed,
                available,
            };
            let (header, _) = rest.split_at_checked(28).ok_or(truncated(28))?;
            let guid = header.first_chunk().copied().unwrap_or_default();
            let field = |at: usize| {
                let bytes = header.get(at..).and_then(|field| field.first_chunk::<4>());
                bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
            };
            let (list_len, header_len, entry_len) = (field(16), field(20), field(24));
            let bad = |what, at: u64, value: u32, expected| Error::BadHeader {
                what,
                offset: offset.saturating_add(at),
                value: value.into(),
                expected,
            };
            if list_len < 28 {
                return Err(bad(
                    "SignatureListSize",
                    16,
                    list_len,
                    "must be at least 28",
                ));
            }
            if entry_len < 17 {
                return Err(bad(
                    "SignatureSize",
                    24,
                    entry_len,
                    "must be more than an owner's",
                ));
            }
            let split = usize::try_from(list_len)
                .ok()
                .and_then(|len| rest.split_at_checked(len));
            let (list, after) = split.ok_or(truncated(list_len.into()))?;
            let start = usize::try_from(header_len)
                .ok()
                .and_then(|len| len.checked_add(28));
            let body = start.and_then(|start| list.get(start..));
            let body = body.ok_or(bad(
                "SignatureHeaderSize",
                20,
                header_len,
                "must leave room for entries",
            ))?;
            let entry_len = usize::try_from(entry_len).unwrap_or(usize::MAX);
            let entries = body.chunks_exact(entry_len);
            if !entries.remainder().is_empty() {
                let len = u32::try_from(entries.remainder().len()).unwrap_or(u32::MAX);
                return Err(bad(
                    "the rest of the list",
                    28,
                    len,
                    "must be a whole entry",
                ));
            }
            let kind = SignatureType(Guid(guid));
            database.entries.extend(
                entries
                    .enumerate()
                    .map(|(index, data)| DatabaseEntry::new(kind, data, index == 0)),
            );
            rest = after;
            offset = offset.saturating_add(list_len.into());
        }
        Ok(database)
    }

    /// A database of certificates, in this order, each in a list of its own, with a zero owner.
    #[must_use]
    pub fn from_certificates<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> Self {
        certificates
            .into_iter()
            .fold(Self::default(), |database, certificate| {
                database.with_certificate(certificate, Guid::default())
            })
    }

    /// Adds a certificate in a list of its own.
    #[must_use]
    pub fn with_certificate(self, certificate: &Certificate, owner: Guid) -> Self {
        self.with_entry(SignatureType::X509, owner, certificate.as_der())
    }

    /// Adds the hash of an image in a list of its own.
    #[must_use]
    pub fn with_hash(self, digest: &Digest, owner: Guid) -> Self {
        self.with_entry(
            SignatureType::of_image_hash(digest.algorithm()),
            owner,
            digest.as_bytes(),
        )
    }

    /// Adds an entry of any type in a list of its own.
    #[must_use]
    pub fn with_entry(mut self, kind: SignatureType, owner: Guid, value: &[u8]) -> Self {
        let mut data = owner.0.to_vec();
        data.extend_from_slice(value);
        self.entries.push(DatabaseEntry::new(kind, &data, true));
        self.exists = true;
        self
    }

    /// The entries of all lists, in order.
    #[must_use]
    pub fn entries(&self) -> &[DatabaseEntry] {
        &self.entries
    }

    /// Whether the variable exists: it holds at least one list.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// The entries that hold readable certificates.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (&DatabaseEntry, &Certificate)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry, entry.certificate.as_ref()?)))
    }

    /// The entry for the hash of an image.
    pub(crate) fn find_hash(&self, digest: &Digest) -> Option<&DatabaseEntry> {
        let kind = SignatureType::of_image_hash(digest.algorithm());
        self.entries
            .iter()
            .find(|entry| entry.kind == kind && entry.value() == digest.as_bytes())
    }

    /// The entry for the hash of a certificate's signed part, and the fields of its revocation time.
    pub(crate) fn find_certificate_hash(
        &self,
        certificate: &Certificate,
    ) -> Option<(&DatabaseEntry, RevocationTime)> {
        let digests = [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ]
        .map(|algorithm| certificate.tbs_digest(algorithm));
        self.entries.iter().find_map(|entry| {
            let algorithm = entry.kind.certificate_hash()?;
            let digest = digests
                .iter()
                .find(|digest| digest.algorithm() == algorithm)?;
            let time = entry.value().strip_prefix(digest.as_bytes())?;
            Some((entry, RevocationTime::parse(time)))
        })
    }

    pub(crate) fn hashes(&self) -> Vec<HashAlgorithm> {
        self.entries
            .iter()
            .filter_map(|entry| entry.kind.image_hash())
            .collect()
    }
}

/// `EFI_TIME` up to the second, as firmware compares it: field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RevocationTime([i64; 6]);

impl RevocationTime {
    fn parse(bytes: &[u8]) -> Self {
        let year = bytes
            .first_chunk::<2>()
            .map_or(0, |year| u16::from_le_bytes(*year));
        let field = |at: usize| bytes.get(at).copied().unwrap_or_default().into();
        Self([
            year.into(),
            field(2),
            field(3),
            field(4),
            field(5),
            field(6),
        ])
    }

    pub(crate) fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }

    pub(crate) fn is_before(self, time: crate::time::UnixTime) -> bool {
        let (year, month, day, hour, minute, second) = time.to_civil();
        self.0 < [year, month, day, hour, minute, second]
    }
}
