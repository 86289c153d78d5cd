//! One section: which it is, its length, its hashes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::bank::{Bank, Digest, Hasher};
use crate::dialect::Dialect;
use crate::pcr11::hashing;

/// Which section of a UKI some bytes belong to.
///
/// A section is named by its profile (`None` for the base, before the first `.profile`), its name
/// with the dot, and, where several of one name stand in one profile, its place among them. A plain
/// name means the base. A missing name (headers, padding) is accepted and ignored, so that an image
/// writer's parts can be passed on as they come.
///
/// # Examples
/// ```
/// use pcr::{Bank, Dialect, Pcr11};
///
/// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
/// boot.observe(".linux", b"kernel");               // base
/// boot.observe((Some(1), ".cmdline"), b"debug");   // profile @1
/// boot.observe((None, ".dtbauto", 1), b"...");     // the second of its name in the base
/// boot.observe((None, None), b"padding");          // no section
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SectionId<'a> {
    profile: Option<usize>,
    name: Option<&'a str>,
    ordinal: usize,
}

impl<'a> SectionId<'a> {
    /// The first section of this name in this profile.
    #[must_use]
    pub const fn new(profile: Option<usize>, name: &'a str) -> Self {
        Self {
            profile,
            name: Some(name),
            ordinal: 0,
        }
    }

    /// The section after `ordinal` others of the same name in the same profile.
    #[must_use]
    pub const fn nth(mut self, ordinal: usize) -> Self {
        self.ordinal = ordinal;
        self
    }

    /// The sections of a UKI from their names in table order: those before the first `.profile` are
    /// the base, each `.profile` begins the next profile.
    ///
    /// # Examples
    /// ```
    /// use pcr::SectionId;
    ///
    /// let names = [".linux", ".dtbauto", ".dtbauto", ".profile", ".cmdline"];
    /// let sections: Vec<SectionId<'_>> = SectionId::in_table(names).collect();
    /// assert_eq!(sections[2], SectionId::new(None, ".dtbauto").nth(1));
    /// assert_eq!(sections[4], SectionId::new(Some(0), ".cmdline"));
    /// ```
    pub fn in_table(names: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = Self> {
        let mut profile: Option<usize> = None;
        let mut seen: BTreeMap<&'a str, usize> = BTreeMap::new();
        names.into_iter().map(move |name| {
            if name == ".profile" {
                profile = Some(profile.map_or(0, |last| last.saturating_add(1)));
                seen.clear();
            }
            let ordinal = seen.entry(name).or_default();
            let section = Self::new(profile, name).nth(*ordinal);
            *ordinal = ordinal.saturating_add(1);
            section
        })
    }

    /// The key under which the section is kept; `None` for sections of no interest.
    pub(super) fn key(self) -> Option<Key> {
        Some(Key {
            name: Dialect::known_section(self.name?)?,
            profile: self.profile,
            ordinal: self.ordinal,
        })
    }
}

impl<'a> From<&'a str> for SectionId<'a> {
    fn from(name: &'a str) -> Self {
        Self::new(None, name)
    }
}

impl<'a> From<(Option<usize>, &'a str)> for SectionId<'a> {
    fn from((profile, name): (Option<usize>, &'a str)) -> Self {
        Self::new(profile, name)
    }
}

impl<'a> From<(Option<usize>, &'a str, usize)> for SectionId<'a> {
    fn from((profile, name, ordinal): (Option<usize>, &'a str, usize)) -> Self {
        Self::new(profile, name).nth(ordinal)
    }
}

impl<'a> From<Option<&'a str>> for SectionId<'a> {
    fn from(name: Option<&'a str>) -> Self {
        Self {
            profile: None,
            name,
            ordinal: 0,
        }
    }
}

impl<'a> From<(Option<usize>, Option<&'a str>)> for SectionId<'a> {
    fn from((profile, name): (Option<usize>, Option<&'a str>)) -> Self {
        Self {
            profile,
            name,
            ordinal: 0,
        }
    }
}

impl<'a> From<(Option<usize>, Option<&'a str>, usize)> for SectionId<'a> {
    fn from((profile, name, ordinal): (Option<usize>, Option<&'a str>, usize)) -> Self {
        Self {
            profile,
            name,
            ordinal,
        }
    }
}

/// Sections in table order within one name: base, then the profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) profile: Option<usize>,
    pub(crate) ordinal: usize,
}

/// Sections up to this size are kept, if another register or the initrd needs their text.
const KEPT_MAX: usize = 1 << 20;

/// As much of the kernel as tells how large it says to be in memory.
const HEAD_LEN: usize = 1 << 10;

/// What is remembered of a section.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    len: u64,
    hashers: Vec<Hasher>,
    text: Option<Vec<u8>>,
    /// The first bytes of `.linux`.
    head: Option<Vec<u8>>,
}

impl Section {
    pub(super) fn new(name: &str, banks: &[Bank]) -> Self {
        let kept = matches!(
            name,
            ".osrel" | ".cmdline" | ".uname" | ".pcrsig" | ".pcrpkey" | ".profile"
        );
        Self {
            len: 0,
            hashers: if name == ".pcrsig" {
                Vec::new()
            } else {
                banks.iter().copied().map(Hasher::new).collect()
            },
            text: kept.then(Vec::new),
            head: (name == ".linux").then(Vec::new),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len() as u64);
        hashing::update(&mut self.hashers, bytes);
        if let Some(head) = &mut self.head {
            let room = HEAD_LEN.saturating_sub(head.len());
            head.extend(bytes.iter().take(room));
        }
        if let Some(text) = &mut self.text {
            if text.len().saturating_add(bytes.len()) > KEPT_MAX {
                self.text = None;
            } else {
                text.extend_from_slice(bytes);
            }
        }
    }

    /// Bytes seen so far.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// The digests of the content, one for each bank.
    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.hashers.iter().cloned().map(Hasher::finish).collect()
    }

    /// The digest of the content for one bank.
    pub(crate) fn digest(&self, bank: Bank) -> Option<Digest> {
        Some(self.hasher(bank)?.clone().finish())
    }

    /// The digest of the content and of zeros up to this length, unless they are very many.
    pub(crate) fn padded_digest(&self, bank: Bank, len: u64) -> Option<Digest> {
        const MAX: u64 = 64 << 20;
        let zeros = len.checked_sub(self.len).filter(|zeros| *zeros <= MAX)?;
        let mut left = usize::try_from(zeros).ok()?;
        let mut hasher = self.hasher(bank)?.clone();
        while left > 0 {
            let piece = left.min(4096);
            hasher.update([0; 4096].get(..piece)?);
            left = left.saturating_sub(piece);
        }
        Some(hasher.finish())
    }

    fn hasher(&self, bank: Bank) -> Option<&Hasher> {
        self.hashers.iter().find(|hasher| hasher.bank() == bank)
    }

    /// The first bytes of a kernel.
    pub(crate) fn head(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }

    /// The content, of small text sections.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        self.text.as_deref()
    }
}
