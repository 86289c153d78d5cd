#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod problem;

pub use problem::Problem;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use crate::{Certificate, EfiTime, Error, Guid, HashAlgorithm, SignatureList, SignatureType};

/// The value of PK, KEK, db, dbx, dbt or MokList: signature lists one after the other.
///
/// Reading keeps every byte: [`to_bytes`](Self::to_bytes) gives back exactly what was parsed, unknown types included.
///
/// # Examples
///
/// ```
/// use efivars::{Guid, SignatureDatabase, SignatureType};
/// let owner: Guid = "a0b1c2d3-e4f5-4607-8899-aabbccddeeff".parse()?;
/// let mut dbx = SignatureDatabase::new();
/// dbx.add_signature(SignatureType::SHA256, owner, &[1; 32])?;
/// dbx.add_signature(SignatureType::SHA256, owner, &[2; 32])?;
/// let bytes = dbx.to_bytes();
/// assert_eq!(bytes.len(), 28 + 2 * 48);
/// assert_eq!(SignatureDatabase::parse(&bytes)?, dbx);
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SignatureDatabase {
    lists: Vec<SignatureList>,
}

/// One entry of a database with its type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The type of its list.
    pub kind: SignatureType,
    /// `SignatureOwner`.
    pub owner: Guid,
    /// `SignatureData`.
    pub data: &'a [u8],
}

/// What two databases do not have in common.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Difference<'a> {
    /// Entries that only the newer one has, in its order.
    pub added: Vec<Entry<'a>>,
    /// Entries that only the older one has, in its order.
    pub removed: Vec<Entry<'a>>,
    /// Whether the order of the common entries differs; it counts for PCR 7.
    pub reordered: bool,
}

impl SignatureDatabase {
    /// No lists: the value of a variable that does not exist.
    #[must_use]
    pub const fn new() -> Self {
        Self { lists: Vec::new() }
    }

    /// Reads a value and refuses what firmware refuses by its form: lists without entries, with a signature header, with a
    /// data length that the type does not have, X.509 entries that are no certificates.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its offset.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::read_lists(bytes, true)
    }

    /// Reads a value and refuses only what cannot be laid out; [`problems`](Self::problems) tells the rest.
    ///
    /// # Errors
    ///
    /// The first size that does not fit, with its offset.
    pub fn parse_lenient(bytes: &[u8]) -> Result<Self, Error> {
        Self::read_lists(bytes, false)
    }

    fn read_lists(bytes: &[u8], strict: bool) -> Result<Self, Error> {
        let (mut rest, mut offset) = (bytes, 0u64);
        let mut lists = Vec::new();
        while !rest.is_empty() {
            let list = SignatureList::parse_at(rest, offset)?;
            if strict {
                list.check(offset)?;
            }
            let len = list.byte_len();
            rest = usize::try_from(len)
                .ok()
                .and_then(|len| rest.get(len..))
                .unwrap_or_default();
            offset = offset.saturating_add(len);
            lists.push(list);
        }
        Ok(Self { lists })
    }

    /// The value as it stands in the variable or an `.esl` file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(usize::try_from(self.byte_len()).unwrap_or(0));
        for list in &self.lists {
            list.append_to(&mut out);
        }
        out
    }

    /// Writes [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    ///
    /// What the writer reports.
    #[cfg(feature = "std")]
    pub fn write_to(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        out.write_all(&self.to_bytes())
    }

    /// Length of the value in bytes.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.lists
            .iter()
            .fold(0, |sum, list| sum.saturating_add(list.byte_len()))
    }

    /// The lists, in order.
    #[must_use]
    pub fn lists(&self) -> &[SignatureList] {
        &self.lists
    }

    /// Number of entries in all lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists
            .iter()
            .fold(0, |sum, list| sum.saturating_add(list.len()))
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.lists.iter().flat_map(|list| {
            let kind = list.kind();
            list.signatures().map(move |signature| Entry {
                kind,
                owner: signature.owner,
                data: signature.data,
            })
        })
    }

    /// The certificates among the entries, each with its owner; entries that are no certificates are left out.
    pub fn certificates(&self) -> impl Iterator<Item = (Guid, Certificate)> {
        self.entries()
            .filter_map(|entry| Some((entry.owner, entry.certificate()?)))
    }

    /// Whether there is such an entry.
    #[must_use]
    pub fn contains(&self, kind: SignatureType, owner: Guid, data: &[u8]) -> bool {
        self.entries()
            .any(|entry| entry == Entry { kind, owner, data })
    }

    /// Adds a list at the end as it is.
    pub fn push_list(&mut self, list: SignatureList) {
        self.lists.push(list);
    }

    /// Adds an entry at the end: a certificate in a list of its own, because shim reads only the first of a list, anything
    /// else in the last list when that has the same type and size.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] for data of another length than the type has, [`Error::TooLong`] above 4 GiB.
    pub fn add_signature(
        &mut self,
        kind: SignatureType,
        owner: Guid,
        data: &[u8],
    ) -> Result<(), Error> {
        if let Some(expected) = kind.data_len().map(u64::from) {
            let found = data.len() as u64;
            if found != expected {
                return Err(Error::DataLength {
                    offset: self.byte_len(),
                    kind,
                    found,
                    expected,
                });
            }
        }
        let entry_len = (data.len() as u64).saturating_add(16);
        let last = self.lists.last_mut().filter(|list| {
            kind != SignatureType::X509
                && list.kind() == kind
                && u64::from(list.entry_len()) == entry_len
                && list.header().is_empty()
        });
        match last {
            Some(list) => list.push(owner, data),
            None => {
                self.lists.push(SignatureList::new(kind, owner, data)?);
                Ok(())
            }
        }
    }

    /// The same with a certificate at the end, in a list of its own.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # let (pem, owner) = ("", efivars::Guid::ZERO);
    /// use efivars::{Certificate, SignatureDatabase};
    /// let db = SignatureDatabase::new().with_certificate(owner, &Certificate::from_pem(pem)?);
    /// # Ok::<(), efivars::Error>(())
    /// ```
    #[must_use]
    pub fn with_certificate(mut self, owner: Guid, certificate: &Certificate) -> Self {
        // A parsed certificate is at most 4 GiB long minus its own header, which leaves room for the owner.
        if let Ok(list) = SignatureList::new(SignatureType::X509, owner, certificate.to_der()) {
            self.lists.push(list);
        }
        self
    }

    /// Adds the digest of an image.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] when the digest has another length.
    pub fn add_image_digest(
        &mut self,
        algorithm: HashAlgorithm,
        owner: Guid,
        digest: &[u8],
    ) -> Result<(), Error> {
        self.add_signature(SignatureType::image_digest(algorithm), owner, digest)
    }

    /// Adds the revocation of a certificate: the digest of its `TBSCertificate` and a time; [`EfiTime::ZERO`] revokes all that
    /// it ever signed. Only meaningful in dbx.
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] for SHA-1, which has no such type.
    pub fn add_revocation(
        &mut self,
        algorithm: HashAlgorithm,
        owner: Guid,
        certificate: &Certificate,
        time: EfiTime,
    ) -> Result<(), Error> {
        let kind = match algorithm {
            HashAlgorithm::Sha384 => SignatureType::X509_SHA384,
            HashAlgorithm::Sha512 => SignatureType::X509_SHA512,
            HashAlgorithm::Sha256 | HashAlgorithm::Sha1 => SignatureType::X509_SHA256,
        };
        let mut data = algorithm.digest(&[certificate.tbs()]);
        data.extend_from_slice(&time.to_bytes());
        self.add_signature(kind, owner, &data)
    }

    /// Appends the lists of `other` as firmware does on an append write: entries that are here already, owner included, are
    /// dropped, what remains of each list becomes a new list at the end. Returns the number of entries added.
    pub fn append_as_firmware(&mut self, other: &Self) -> usize {
        let mut known: BTreeMap<(SignatureType, u32), BTreeSet<&[u8]>> = BTreeMap::new();
        for list in &self.lists {
            known
                .entry((list.kind(), list.entry_len()))
                .or_default()
                .extend(list.raw_entries());
        }
        let mut added = 0usize;
        let mut new = Vec::new();
        for list in &other.lists {
            let mut list = list.clone();
            if let Some(known) = known.get(&(list.kind(), list.entry_len())) {
                list.retain(|entry| {
                    !known.contains([&entry.owner.to_bytes(), entry.data].concat().as_slice())
                });
            }
            if !list.is_empty() {
                added = added.saturating_add(list.len());
                new.push(list);
            }
        }
        self.lists.append(&mut new);
        added
    }

    /// Removes the entries that `which` says yes to, and lists that become empty. Returns how many.
    pub fn remove(&mut self, mut which: impl FnMut(Entry<'_>) -> bool) -> usize {
        let before = self.len();
        for list in &mut self.lists {
            let kind = list.kind();
            list.retain(|entry| {
                !which(Entry {
                    kind,
                    owner: entry.owner,
                    data: entry.data,
                })
            });
        }
        let after = self.len();
        if after != before {
            self.lists.retain(|list| !list.is_empty());
        }
        before.saturating_sub(after)
    }

    /// What `newer` has that this one has not, and the reverse; owners count.
    #[must_use]
    pub fn diff<'a>(&'a self, newer: &'a Self) -> Difference<'a> {
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (self.entries().collect(), newer.entries().collect());
        let common = |entries: &BTreeSet<Entry<'a>>, entry: &Entry<'a>| entries.contains(entry);
        Difference {
            added: newer
                .entries()
                .filter(|entry| !common(&ours, entry))
                .collect(),
            removed: self
                .entries()
                .filter(|entry| !common(&theirs, entry))
                .collect(),
            reordered: !self
                .entries()
                .filter(|entry| common(&theirs, entry))
                .eq(newer.entries().filter(|entry| common(&ours, entry))),
        }
    }

    /// What firmware or other readers take badly; empty for a database made with this crate.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, list) in self.lists.iter().enumerate() {
            let kind = list.kind();
            if !list.header().is_empty() {
                problems.push(Problem::SignatureHeader { list: index });
            }
            if list.is_empty() {
                problems.push(Problem::NoEntries { list: index });
            }
            if !kind.is_known_to_edk2() {
                problems.push(Problem::UnknownToFirmware { list: index, kind });
            }
            if kind
                .data_len()
                .is_some_and(|len| len.checked_add(16) != Some(list.entry_len()))
            {
                problems.push(Problem::DataLength { list: index });
            }
            if kind == SignatureType::X509 && list.len() > 1 {
                problems.push(Problem::SeveralCertificates { list: index });
            }
            for (entry, signature) in list.signatures().enumerate() {
                if !seen.insert((kind, signature)) {
                    problems.push(Problem::Duplicate { list: index, entry });
                }
                if kind == SignatureType::X509 {
                    match Certificate::from_der(signature.data) {
                        Ok(certificate) if !certificate.is_rsa() => {
                            problems.push(Problem::NotRsa { list: index, entry })
                        }
                        Ok(_) => {}
                        Err(_) => problems.push(Problem::NotACertificate { list: index, entry }),
                    }
                }
            }
        }
        problems
    }
}

impl Entry<'_> {
    /// The certificate, when it is one.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        if self.kind == SignatureType::X509 {
            Certificate::from_der(self.data).ok()
        } else {
            None
        }
    }
}

impl fmt::Debug for SignatureDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.lists).finish()
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = crate::hash::hex(self.data.get(..32).unwrap_or(self.data));
        write!(
            f,
            "Entry({} {}, {} bytes {shown})",
            self.kind,
            self.owner,
            self.data.len()
        )
    }
}
