//! Comparing event by event.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::bank::{Digest, Register};
use crate::boot_plan::BootPlan;
use crate::error::Error;
use crate::event_log::EventLog;
use crate::explain::Pcr11Cause;
use crate::explain::search::{other_boots, word_of};
use crate::explain::variant::{SECTIONS, Variant, endings, name_digest, tidied};
use crate::pcr11::{HardwareChoice, Profile};
use crate::phase::PhasePath;

pub(super) fn explain(
    profile: &Profile<'_>,
    hardware: HardwareChoice,
    phase: &PhasePath,
    measured: &[Digest],
) -> Result<Vec<Pcr11Cause>, Error> {
    let Some(bank) = measured.first().map(Digest::bank) else {
        return Ok([Pcr11Cause::NotMeasured].into());
    };
    let predicted = Variant::predicted(profile, hardware, bank)?.sections;
    let mut causes = Vec::new();
    let mut found: Vec<(&'static str, Option<Digest>)> = Vec::new();
    let mut words = Vec::new();
    let mut events = measured.iter().enumerate();
    while let Some((index, event)) = events.next() {
        let name = SECTIONS
            .into_iter()
            .find(|name| name_digest(bank, name) == *event);
        if let Some(name) = name {
            found.push((name, events.next().map(|(_, content)| *content)));
            continue;
        }
        match word_of(event) {
            Some(word) => words.push(word),
            None => causes.push(Pcr11Cause::UnknownEvent { index }),
        }
    }
    let found_phase = PhasePath::new(&words.join(":"));
    let other_phase = (!words.is_empty() && found_phase != *phase).then(|| Pcr11Cause::Phase {
        predicted: phase.clone(),
        found: found_phase,
    });
    // Another stub, profile or hardware choice explains all at once.
    let whole: Option<Vec<_>> = found
        .iter()
        .map(|(name, content)| Some((*name, (*content)?)))
        .collect();
    if let Some(whole) = whole.filter(|whole| causes.is_empty() && *whole != predicted) {
        let others = other_boots(profile, hardware, bank);
        if let Some(boot) = others.into_iter().find(|boot| boot.sections == whole) {
            return Ok(boot.causes.into_iter().chain(other_phase).collect());
        }
    }
    for (section, content) in &predicted {
        match found.iter().find(|(name, _)| name == section) {
            None => causes.push(Pcr11Cause::Missing { section }),
            Some((_, Some(measured))) if measured == content => {}
            Some((_, measured)) => causes.push(content_cause(profile, section, *measured)),
        }
    }
    for (section, content) in &found {
        if !predicted.iter().any(|(name, _)| name == section) {
            causes.push(if *content == Some(bank.hash(b"")) {
                Pcr11Cause::Empty { section }
            } else {
                Pcr11Cause::Extra { section }
            });
        }
    }
    let common = |names: &[&'static str], others: &[&'static str]| {
        let both = names.iter().copied().filter(|name| others.contains(name));
        both.collect::<Vec<_>>()
    };
    let ours: Vec<_> = predicted.iter().map(|(name, _)| *name).collect();
    let theirs: Vec<_> = found.iter().map(|(name, _)| *name).collect();
    if common(&ours, &theirs) != common(&theirs, &ours) {
        causes.push(Pcr11Cause::Order);
    }
    causes.extend(other_phase);
    Ok(causes)
}

/// What is known of a content that is not the predicted one.
fn content_cause(
    profile: &Profile<'_>,
    section: &'static str,
    measured: Option<Digest>,
) -> Pcr11Cause {
    let known = measured.and_then(|measured| {
        let bank = measured.bank();
        if let Some(text) = profile.text(section) {
            let mut endings = endings(text, bank).into_iter();
            if let Some((ending, _)) = endings.find(|(_, digest)| *digest == measured) {
                return Some(Pcr11Cause::Ending { section, ending });
            }
            if section == ".cmdline" && bank.hash(tidied(text).as_bytes()) == measured {
                return Some(Pcr11Cause::Blanks { section });
            }
        }
        let mut others = profile.others_named(section);
        let (profile, ordinal, _) =
            others.find(|(.., other)| other.digest(bank) == Some(measured))?;
        Some(Pcr11Cause::Duplicate {
            section,
            profile,
            ordinal,
        })
    });
    known.unwrap_or(Pcr11Cause::Content { section })
}

/// Where a log leaves a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventDifference {
    /// The log lacks a measurement of the plan.
    Missing {
        /// The register.
        register: Register,
        /// What should have been measured.
        what: String,
    },
    /// The log has a measurement that the plan lacks.
    Extra {
        /// The register.
        register: Register,
        /// What the log says about it, as far as it is text.
        text: String,
    },
}

impl EventDifference {
    /// The register that differs.
    #[must_use]
    pub const fn register(&self) -> Register {
        match self {
            Self::Missing { register, .. } | Self::Extra { register, .. } => *register,
        }
    }
}

impl fmt::Display for EventDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { register, what } => {
                write!(f, "PCR {register}: predicted but not measured: {what}")
            }
            Self::Extra { register, text } => {
                write!(f, "PCR {register}: measured but not predicted: {text}")
            }
        }
    }
}

impl BootPlan {
    /// Compares the plan with the log of a boot, register by register, in the log's strongest bank
    /// that the plan has. Words of userspace stand in no log and are left out.
    ///
    /// An empty answer means that every predicted register has exactly the predicted events.
    #[must_use]
    pub fn compare(&self, log: &EventLog) -> Vec<EventDifference> {
        let banks = log.banks();
        let bank = self.banks().iter().rev().find(|bank| banks.contains(bank));
        let Some(bank) = bank.copied() else {
            return Vec::new();
        };
        let mut differences = Vec::new();
        for register in self.registers() {
            let planned: Vec<_> = self
                .events()
                .iter()
                .filter(|event| event.register() == *register && !event.is_phase())
                .filter_map(|event| Some((*event.digest(bank).ok()?, event.what())))
                .collect();
            let logged: Vec<_> = log
                .events()
                .iter()
                .filter(|event| event.register() == Some(*register) && event.extends())
                .filter_map(|event| Some((event.digest(bank)?, event.data())))
                .collect();
            let mut rest = logged.as_slice();
            for (digest, what) in planned {
                match rest.iter().position(|(logged, _)| *logged == digest) {
                    Some(place) => {
                        let (extra, after) = rest.split_at(place);
                        differences
                            .extend(extra.iter().map(|(_, data)| extra_event(*register, data)));
                        rest = after.get(1..).unwrap_or_default();
                    }
                    None => differences.push(EventDifference::Missing {
                        register: *register,
                        what: what.into(),
                    }),
                }
            }
            differences.extend(rest.iter().map(|(_, data)| extra_event(*register, data)));
        }
        differences
    }
}

fn extra_event(register: Register, data: &[u8]) -> EventDifference {
    EventDifference::Extra {
        register,
        text: readable(data),
    }
}

/// Event data as text: UTF-16 or ASCII, with or without a tag before it.
fn readable(data: &[u8]) -> String {
    const MAX: usize = 4096;
    let data = data.get(..MAX.min(data.len())).unwrap_or_default();
    let text = |data: &[u8]| -> Option<String> {
        let units = data.chunks_exact(2).map(|pair| match pair {
            [low, high] => u16::from_le_bytes([*low, *high]),
            _ => 0,
        });
        let wide: Result<String, _> = char::decode_utf16(units).collect();
        let narrow = core::str::from_utf8(data).map(String::from);
        let candidates = [wide.ok(), narrow.ok()];
        candidates.into_iter().flatten().find_map(|text| {
            let text = text.trim_end_matches('\0');
            let plain = !text.is_empty()
                && text.chars().all(|c| !c.is_control())
                && text.chars().filter(char::is_ascii).count() * 2 > text.chars().count();
            plain.then(|| text.into())
        })
    };
    text(data)
        .or_else(|| text(data.get(8..)?))
        .unwrap_or_else(|| alloc::format!("{} bytes of data", data.len()))
}
