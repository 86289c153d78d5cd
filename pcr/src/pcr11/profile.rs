//! What one profile of a UKI puts into PCR 11.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::EventType;
use crate::bank::{Bank, Digest, Register};
use crate::boot_plan::PlannedEvent;
use crate::error::Error;
use crate::pcr11::Pcr11;
use crate::pcr11::section::{Key, Section};
use crate::phase::PhasePath;
use crate::policy::{Policies, Policy};

/// Which of the hardware-dependent sections the stub picks on a machine.
///
/// A UKI with `.dtbauto` sections has one PCR 11 for each of them and one for machines that match
/// none; `.efifw` likewise. Candidates are counted in file order, the profile's own before the
/// base's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct HardwareChoice {
    /// The `.dtbauto` section that matches, or none.
    pub dtbauto: Option<usize>,
    /// The `.efifw` section that matches, or none.
    pub efifw: Option<usize>,
}

impl HardwareChoice {
    /// The machine matches none of the hardware-dependent sections.
    pub const NONE: Self = Self {
        dtbauto: None,
        efifw: None,
    };

    /// The machine matches this `.dtbauto` section and no `.efifw`.
    #[must_use]
    pub const fn dtbauto(index: usize) -> Self {
        Self {
            dtbauto: Some(index),
            efifw: None,
        }
    }
}

/// `none`, `dtbauto 0`, `efifw 1`, `dtbauto 0 efifw 1`.
impl fmt::Display for HardwareChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.dtbauto, self.efifw) {
            (None, None) => f.write_str("none"),
            (Some(dtbauto), None) => write!(f, "dtbauto {dtbauto}"),
            (None, Some(efifw)) => write!(f, "efifw {efifw}"),
            (Some(dtbauto), Some(efifw)) => write!(f, "dtbauto {dtbauto} efifw {efifw}"),
        }
    }
}

/// A section as the stub measures it: first its name with a NUL, then its content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeasuredSection {
    /// Name with the dot.
    pub name: &'static str,
    /// Length of the content in bytes.
    pub len: u64,
    /// Digests of the content, one for each bank.
    pub content: Vec<Digest>,
}

/// A predicted value of PCR 11.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prediction {
    /// Number of the profile that was started.
    pub profile: usize,
    /// Which hardware-dependent sections were picked.
    pub hardware: HardwareChoice,
    /// How far the boot has come.
    pub phase: PhasePath,
    /// The register; its bank is [`Digest::bank`].
    pub value: Digest,
}

/// One profile of a UKI: its sections over those of the base.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    pcr11: &'a Pcr11,
    index: usize,
}

impl<'a> Profile<'a> {
    pub(super) const fn new(pcr11: &'a Pcr11, index: usize) -> Self {
        Self { pcr11, index }
    }

    /// The profile's number, 0 for the default.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The observer that the profile belongs to.
    #[must_use]
    pub const fn pcr11(&self) -> &'a Pcr11 {
        self.pcr11
    }

    /// Every hardware choice there is, the one that matches nothing first; at most
    /// [`Profile::MAX_HARDWARE`] of them.
    #[must_use]
    pub fn hardware(&self) -> Vec<HardwareChoice> {
        self.choices().take(Self::MAX_HARDWARE).collect()
    }

    /// More hardware choices than any honest UKI has; for one with more, nothing is predicted.
    pub const MAX_HARDWARE: usize = 4096;

    /// All choices, or an error when they are too many.
    fn every_hardware(&self) -> Result<Vec<HardwareChoice>, Error> {
        if self.choices().nth(Self::MAX_HARDWARE).is_some() {
            return Err(Error::TooLarge {
                what: "the number of hardware choices",
                limit: Self::MAX_HARDWARE as u64,
            });
        }
        Ok(self.hardware())
    }

    fn choices(&self) -> impl Iterator<Item = HardwareChoice> {
        let choices = move |name| {
            let count = if self.pcr11.dialect.measures(name) {
                self.candidates(name).count()
            } else {
                0
            };
            [None].into_iter().chain((0..count).map(Some))
        };
        choices(".dtbauto").flat_map(move |dtbauto| {
            choices(".efifw").map(move |efifw| HardwareChoice { dtbauto, efifw })
        })
    }

    /// The sections that the stub measures, in its order.
    ///
    /// # Errors
    /// [`Error::NoKernel`] when there is nothing to start, [`Error::NoSuchHardware`] when the choice
    /// is none of [`Profile::hardware`].
    pub fn sections(&self, hardware: HardwareChoice) -> Result<Vec<MeasuredSection>, Error> {
        let measured = self.measured(hardware)?.into_iter();
        let sections = measured.map(|(name, section)| MeasuredSection {
            name,
            len: section.len(),
            content: section.digests(),
        });
        Ok(sections.collect())
    }

    /// The sections that the stub measures, in its order.
    fn measured(
        &self,
        hardware: HardwareChoice,
    ) -> Result<Vec<(&'static str, &'a Section)>, Error> {
        if self.section(".linux").is_none() {
            return Err(Error::NoKernel {
                profile: self.index,
            });
        }
        let mut sections = Vec::new();
        for name in self.pcr11.dialect.measured_sections() {
            let section = match name {
                ".dtbauto" => self.candidate(".dtbauto", hardware.dtbauto)?,
                ".efifw" => self.candidate(".efifw", hardware.efifw)?,
                _ => self.section(name),
            };
            sections.extend(section.map(|section| (name, section)));
        }
        Ok(sections)
    }

    /// The events that the stub writes into PCR 11: name and content of each section.
    ///
    /// # Errors
    /// As [`Profile::sections`].
    pub fn events(&self, hardware: HardwareChoice) -> Result<Vec<PlannedEvent>, Error> {
        let mut events = Vec::new();
        for section in self.sections(hardware)? {
            let name = format!("{}\0", section.name);
            let banks = self.pcr11.banks.iter();
            let event = |digests, what: String| {
                PlannedEvent::new(Register::KERNEL_BOOT, EventType::IPL, digests, what)
                    .with_text(section.name)
            };
            events.push(event(
                banks.map(|bank| bank.hash(name.as_bytes())).collect(),
                format!("name of {}", section.name),
            ));
            events.push(event(
                section.content.clone(),
                format!("content of {}", section.name),
            ));
        }
        Ok(events)
    }

    /// PCR 11 as the stub leaves it, in one bank.
    ///
    /// # Errors
    /// As [`Profile::sections`]; [`Error::MissingDigest`] for a bank that was not observed.
    pub fn register(&self, hardware: HardwareChoice, bank: Bank) -> Result<Digest, Error> {
        let sections = self.content_digests(hardware, bank)?;
        let extend = |value: Digest, (name, content): &(&str, Digest)| {
            let name = bank.hash_parts(&[name.as_bytes(), b"\0"]);
            value.extended(&name).extended(content)
        };
        Ok(sections.iter().fold(Digest::zero(bank), extend))
    }

    /// PCR 11 for each hardware choice, bank and phase path, in this order. Paths are sorted,
    /// repetitions dropped.
    ///
    /// # Errors
    /// [`Error::NoKernel`] when there is nothing to start, [`Error::TooLarge`] when there are more
    /// hardware choices than [`Profile::MAX_HARDWARE`].
    pub fn registers(&self, paths: &[PhasePath]) -> Result<Vec<Prediction>, Error> {
        let mut predictions = Vec::new();
        let paths = PhasePath::sorted(paths);
        for hardware in self.every_hardware()? {
            for bank in &self.pcr11.banks {
                let stub = self.register(hardware, *bank)?;
                for phase in &paths {
                    predictions.push(Prediction {
                        profile: self.index,
                        hardware,
                        value: phase.extend(stub),
                        phase: phase.clone(),
                    });
                }
            }
        }
        Ok(predictions)
    }

    /// The policies to sign for this profile, one for each hardware choice, bank and phase path.
    ///
    /// # Errors
    /// As [`Profile::registers`].
    pub fn policies(&self, paths: &[PhasePath]) -> Result<Policies, Error> {
        let predictions = self.registers(paths)?;
        Ok(predictions.into_iter().map(Policy::from).collect())
    }

    /// The section that the stub uses, if it has content.
    pub(crate) fn section(&self, name: &'static str) -> Option<&'a Section> {
        if self.pcr11.dialect.generation() < 257 {
            return self.last_section(name);
        }
        self.candidates(name).next()
    }

    /// The text of a section, if it has one and is small.
    pub(crate) fn text(&self, name: &'static str) -> Option<&'a [u8]> {
        self.section(name)?.text()
    }

    /// What [`Profile::sections`] answers, for one bank: names and digests in measuring order.
    pub(crate) fn content_digests(
        &self,
        hardware: HardwareChoice,
        bank: Bank,
    ) -> Result<Vec<(&'static str, Digest)>, Error> {
        let digest = |(name, section): (&'static str, &Section)| {
            let missing = || Error::MissingDigest {
                what: name.into(),
                bank,
            };
            Ok((name, section.digest(bank).ok_or_else(missing)?))
        };
        self.measured(hardware)?.into_iter().map(digest).collect()
    }

    /// Every section of this name in the whole UKI, with its profile and its place there, but the one
    /// that the stub uses.
    pub(crate) fn others_named(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = (Option<usize>, usize, &'a Section)> {
        let used = self.section(name).map(core::ptr::from_ref);
        self.pcr11
            .sections
            .iter()
            .filter(move |(key, section)| {
                key.name == name && section.len() > 0 && Some(core::ptr::from_ref(*section)) != used
            })
            .map(|(key, section)| (key.profile, key.ordinal, section))
    }

    /// Sections of this name with content: the profile's own, then the base's.
    fn candidates(&self, name: &'static str) -> impl Iterator<Item = &'a Section> {
        let of = move |profile: Option<usize>| {
            let key = move |ordinal| Key {
                name,
                profile,
                ordinal,
            };
            self.pcr11
                .sections
                .range(key(0)..=key(usize::MAX))
                .map(|(_, section)| section)
        };
        of(Some(self.index))
            .chain(of(None))
            .filter(|section| section.len() > 0)
    }

    /// The candidate that the hardware picks.
    fn candidate(
        &self,
        name: &'static str,
        index: Option<usize>,
    ) -> Result<Option<&'a Section>, Error> {
        let Some(index) = index else {
            return Ok(None);
        };
        match self.candidates(name).nth(index) {
            Some(section) => Ok(Some(section)),
            None => Err(Error::NoSuchHardware {
                section: name,
                index,
                available: self.candidates(name).count(),
            }),
        }
    }

    /// Before profiles existed, the last section of a name in the whole table won, and names were
    /// compared by their beginning only, so that `.dtbauto` passed for `.dtb`.
    fn last_section(&self, name: &'static str) -> Option<&'a Section> {
        let sections = &self.pcr11.sections;
        sections
            .iter()
            .filter(|(key, _)| key.name.starts_with(name))
            .max_by_key(|(key, _)| (key.profile, key.name, key.ordinal))
            .map(|(_, section)| section)
            .filter(|section| section.len() > 0)
    }
}
