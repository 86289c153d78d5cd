//! PCR 11: the sections of a UKI, hashed as they stream by.

mod hashing;
mod profile;
mod section;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

pub(crate) use hashing::update as hash_with_all;
pub use profile::{HardwareChoice, MeasuredSection, Prediction, Profile};
pub use section::SectionId;

use crate::bank::Bank;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::phase::PhasePath;
use crate::policy::Policies;
use section::{Key, Section};

/// As many profiles as the stub looks at.
const MAX_PROFILES: usize = 256;

/// Predicts PCR 11 of a UKI from the bytes of its sections.
///
/// Sections may come in any order and in any number of pieces; each byte is hashed once for each
/// bank, and no section is kept (small text sections aside, which other registers need). With
/// feature `std`, large pieces are hashed on one thread for each bank.
///
/// The bytes of a section are those that the stub sees in memory: as many as its virtual size, with
/// the loader's zero fill when that exceeds the raw data.
///
/// # Examples
/// ```
/// use pcr::{Bank, Dialect, Pcr11, PhasePath};
///
/// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
/// boot.observe(".cmdline", b"qui");
/// boot.observe(".linux", b"kernel");
/// boot.observe(".cmdline", b"et");
/// let predicted = boot.registers(&[PhasePath::new("enter-initrd")])?;
/// assert_eq!(
///     predicted[0].value.to_string(),
///     "67f3c9421654cc2182fdafac72d78634e85a99af6d9746004bbef3d77d1b1fb4"
/// );
/// # Ok::<(), pcr::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pcr11 {
    dialect: Dialect,
    banks: Vec<Bank>,
    sections: BTreeMap<Key, Section>,
}

impl Pcr11 {
    /// An observer that has seen nothing yet. Banks are sorted, repetitions dropped.
    #[must_use]
    pub fn new(dialect: Dialect, banks: &[Bank]) -> Self {
        let banks: BTreeSet<Bank> = banks.iter().copied().collect();
        Self {
            dialect,
            banks: banks.into_iter().collect(),
            sections: BTreeMap::new(),
        }
    }

    /// Takes the next bytes of a section. Sections that no stub measures are ignored.
    pub fn observe<'a>(&mut self, section: impl Into<SectionId<'a>>, bytes: &[u8]) {
        let Some(key) = section.into().key() else {
            return;
        };
        let banks = &self.banks;
        self.sections
            .entry(key)
            .or_insert_with(|| Section::new(key.name, banks))
            .update(bytes);
    }

    /// The rules that predictions follow.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The same sections, measured by another stub. Nothing is hashed again.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The banks that are predicted, in ascending order.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// How many profiles can be booted: at least one, since profile 0 is implied, and at most 256,
    /// the stub's limit.
    #[must_use]
    pub fn profile_count(&self) -> usize {
        if !self.dialect.has_profiles() {
            return 1;
        }
        self.sections
            .keys()
            .filter_map(|key| key.profile)
            .max()
            .map_or(1, |last| last.saturating_add(1).min(MAX_PROFILES))
    }

    /// One profile, by its number.
    ///
    /// # Errors
    /// [`Error::NoSuchProfile`]; the stub refuses to start such a profile.
    pub fn profile(&self, index: usize) -> Result<Profile<'_>, Error> {
        let available = self.profile_count();
        if index >= available {
            return Err(Error::NoSuchProfile {
                profile: index,
                available,
            });
        }
        Ok(Profile::new(self, index))
    }

    /// The profile that boots when none is asked for.
    #[must_use]
    pub fn default_profile(&self) -> Profile<'_> {
        Profile::new(self, 0)
    }

    /// PCR 11 of profile 0 for each hardware choice, phase path and bank.
    ///
    /// # Errors
    /// As [`Profile::registers`].
    pub fn registers(&self, paths: &[PhasePath]) -> Result<Vec<Prediction>, Error> {
        self.default_profile().registers(paths)
    }

    /// The policies to sign for profile 0, one for each hardware choice, phase path and bank.
    ///
    /// # Errors
    /// As [`Profile::registers`].
    pub fn policies(&self, paths: &[PhasePath]) -> Result<Policies, Error> {
        self.default_profile().policies(paths)
    }
}
