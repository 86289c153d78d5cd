//! Why a measured PCR 7 is another one: a search over known causes, when there is no event log.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::assemble::{
    BootEvent, action, authority, firmware_variable, key_variable, secure_boot, separator,
};
use super::prediction::{EventCause, PredictedEvent};
use super::quirk::Quirk;
use super::variables::{KeyVariable, SecureBootVariables, VariableUpdate, entries_of};
use super::{Pcr7, SecureBootError};
use crate::bank::{Bank, Digest, Register};

/// Most pairs of causes that are tried. Each takes about ten hashes of one block.
const MAX_PAIRS: usize = 150_000;

/// What may have changed on the machine, beside what is always tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pcr7Candidates {
    updates: Vec<VariableUpdate>,
}

impl Pcr7Candidates {
    /// Nothing in particular: Secure Boot off, absent variables, single entries missing, other authorities of db, and
    /// quirks are tried in any case.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A write that may have happened: another value, or entries that may have been appended.
    ///
    /// Of appended lists each entry is tried alone as well.
    #[must_use]
    pub fn update(mut self, update: VariableUpdate) -> Self {
        self.updates.push(update);
        self
    }
}

/// One reason for another PCR 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pcr7Cause {
    /// The register was never extended: the firmware measures nothing in this bank.
    NotMeasured,
    /// Secure Boot is off; the keys are as predicted.
    SecureBootOff,
    /// No key is enrolled, and Secure Boot is off.
    SetupMode,
    /// The variable is empty or does not exist.
    VariableAbsent(KeyVariable),
    /// An entry (its number in the variable, from 0) is missing.
    EntryMissing(KeyVariable, usize),
    /// One of the candidate updates has happened (its number, from 0).
    Updated(KeyVariable, usize),
    /// One entry of an appended candidate is there: number of the update, number of the entry.
    EntryAdded(KeyVariable, usize, usize),
    /// Nothing has been authorised: no image was started, or it was refused.
    NoAuthority,
    /// This authority (its number in the prediction, from 0) was not measured.
    AuthorityMissing(usize),
    /// Another entry of db (its number) authorised instead of this authority (its number in the prediction).
    OtherAuthority(usize, usize),
    /// One more image was started, authorised by this entry of db (its number).
    FurtherAuthority(usize),
    /// The firmware has this quirk.
    Firmware(Quirk),
}

impl fmt::Display for Pcr7Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMeasured => f.write_str("nothing was measured in this bank"),
            Self::SecureBootOff => f.write_str("Secure Boot is off"),
            Self::SetupMode => f.write_str("no keys are enrolled"),
            Self::VariableAbsent(variable) => write!(f, "{variable} is empty"),
            Self::EntryMissing(variable, entry) => {
                write!(f, "entry {entry} of {variable} is missing")
            }
            Self::Updated(variable, update) => {
                write!(f, "{variable} has changed as in candidate {update}")
            }
            Self::EntryAdded(variable, update, entry) => {
                write!(
                    f,
                    "{variable} has one more entry: entry {entry} of candidate {update}"
                )
            }
            Self::NoAuthority => f.write_str("no image was authorised"),
            Self::AuthorityMissing(number) => write!(f, "authority {number} was not measured"),
            Self::OtherAuthority(number, entry) => {
                write!(
                    f,
                    "entry {entry} of db authorised in place of authority {number}"
                )
            }
            Self::FurtherAuthority(entry) => {
                write!(f, "entry {entry} of db authorised a further image")
            }
            Self::Firmware(quirk) => write!(f, "firmware: {quirk}"),
        }
    }
}

/// Causes that together give the measured value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pcr7Explanation {
    /// The causes; none when the value is the predicted one.
    pub causes: Vec<Pcr7Cause>,
}

impl fmt::Display for Pcr7Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes = self.causes.iter();
        match causes.next() {
            None => return f.write_str("as predicted"),
            Some(first) => write!(f, "{first}")?,
        }
        causes.try_for_each(|cause| write!(f, "; {cause}"))
    }
}

/// A place in the sequence of digests that causes act on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    SecureBoot,
    Key(KeyVariable),
    Separator,
    Early,
    Authority,
    Other,
}

type Sequence = Vec<(Place, Digest)>;
type Edit = (Pcr7Cause, Box<dyn Fn(&mut Sequence)>);

impl Pcr7 {
    /// Looks for the causes that turn the prediction into a measured value: each known cause alone, then two at a time.
    ///
    /// Explanations with fewer causes come first; none at all means that none fits. With an event log of the boot
    /// [`Pcr7::explain_log`] says more.
    ///
    /// # Errors
    /// As [`Pcr7::predict`], also for the values of candidates.
    pub fn explain(
        &self,
        measured: &Digest,
        candidates: &Pcr7Candidates,
    ) -> Result<Vec<Pcr7Explanation>, SecureBootError> {
        let bank = measured.bank();
        let decisions = self.decide()?;
        let base = self.sequence(&decisions.events, bank);
        if value(&base) == *measured {
            return Ok(Vec::from([Pcr7Explanation { causes: Vec::new() }]));
        }
        if *measured == Digest::zero(bank) || *measured == Digest::ones(bank) {
            return Ok(Vec::from([Pcr7Explanation {
                causes: Vec::from([Pcr7Cause::NotMeasured]),
            }]));
        }
        let edits = self.edits(&decisions.events, candidates, bank)?;
        let mut found: Vec<Pcr7Explanation> = Vec::new();
        for (cause, edit) in &edits {
            let mut sequence = base.clone();
            edit(&mut sequence);
            if value(&sequence) == *measured {
                found.push(Pcr7Explanation {
                    causes: Vec::from([*cause]),
                });
            }
        }
        if found.is_empty() {
            let pairs = edits.iter().enumerate().flat_map(|(index, one)| {
                edits
                    .iter()
                    .skip(index.saturating_add(1))
                    .map(move |other| (one, other))
            });
            for (one, other) in pairs.take(MAX_PAIRS) {
                let mut sequence = base.clone();
                (one.1)(&mut sequence);
                (other.1)(&mut sequence);
                if value(&sequence) == *measured {
                    found.push(Pcr7Explanation {
                        causes: Vec::from([one.0, other.0]),
                    });
                }
            }
        }
        Ok(found)
    }

    fn sequence(&self, boot: &[BootEvent], bank: Bank) -> Sequence {
        let is_early =
            |event: &PredictedEvent| boot.iter().any(|boot| boot.early && boot.event == *event);
        self.assemble(&self.variables, boot)
            .iter()
            .filter(|event| event.register() == Register::SECURE_BOOT_POLICY)
            .map(|event| {
                let place = match event.cause() {
                    EventCause::SecureBoot => Place::SecureBoot,
                    EventCause::Variable(variable) => Place::Key(variable),
                    EventCause::Separator => Place::Separator,
                    _ if event.is_authority() && is_early(event) => Place::Early,
                    _ if event.is_authority() => Place::Authority,
                    _ => Place::Other,
                };
                (place, event.digest(bank))
            })
            .collect()
    }

    /// Every single cause that is known, the likely ones first: pairs are tried in this order.
    fn edits(
        &self,
        boot: &[BootEvent],
        candidates: &Pcr7Candidates,
        bank: Bank,
    ) -> Result<Vec<Edit>, SecureBootError> {
        let mut edits: Vec<Edit> = Vec::new();
        edits.push(edit(Pcr7Cause::SecureBootOff, {
            let off = secure_boot(false).digest(bank);
            move |sequence| {
                set(sequence, Place::SecureBoot, off);
                sequence.retain(|(place, _)| !matches!(place, Place::Authority | Place::Early));
            }
        }));
        let setup_mode = self.assemble(&SecureBootVariables::setup_mode(), &[]);
        let setup_mode: Vec<Digest> = setup_mode.iter().map(|event| event.digest(bank)).collect();
        edits.push(edit(Pcr7Cause::SetupMode, move |sequence| {
            *sequence = setup_mode
                .iter()
                .map(|digest| (Place::Other, *digest))
                .collect();
        }));
        edits.push(edit(Pcr7Cause::NoAuthority, |sequence| {
            sequence.retain(|(place, _)| *place != Place::Authority);
        }));
        for (number, update) in candidates.updates.iter().enumerate() {
            self.edits_of_update(number, update, bank, &mut edits)?;
        }
        for quirk in Quirk::ALL {
            let with = self.clone().quirk(quirk).sequence(boot, bank);
            if let Some(insertion) = quirk_edit(quirk, bank) {
                edits.push(edit(Pcr7Cause::Firmware(quirk), insertion));
            } else {
                edits.push(edit(Pcr7Cause::Firmware(quirk), move |sequence| {
                    sequence.clone_from(&with)
                }));
            }
        }
        self.edits_of_authorities(boot, bank, &mut edits)?;
        for variable in [
            KeyVariable::Dbx,
            KeyVariable::Dbt,
            KeyVariable::Kek,
            KeyVariable::Pk,
            KeyVariable::Db,
        ] {
            self.edits_of_variable(variable, bank, &mut edits)?;
        }
        Ok(edits)
    }

    fn edits_of_update(
        &self,
        number: usize,
        update: &VariableUpdate,
        bank: Bank,
        edits: &mut Vec<Edit>,
    ) -> Result<(), SecureBootError> {
        let variable = update.variable();
        let after = self.variables.updated(update)?;
        edits.push(set_variable(
            Pcr7Cause::Updated(variable, number),
            variable,
            after.value(variable),
            bank,
        ));
        for (index, entry) in update.single_entries()?.iter().enumerate() {
            let after = self.variables.updated(entry)?;
            let cause = Pcr7Cause::EntryAdded(variable, number, index);
            edits.push(set_variable(cause, variable, after.value(variable), bank));
        }
        Ok(())
    }

    fn edits_of_variable(
        &self,
        variable: KeyVariable,
        bank: Bank,
        edits: &mut Vec<Edit>,
    ) -> Result<(), SecureBootError> {
        let value = self.variables.value(variable);
        if value.is_empty() {
            return Ok(());
        }
        edits.push(set_variable(
            Pcr7Cause::VariableAbsent(variable),
            variable,
            &[],
            bank,
        ));
        for (index, without) in without_each(entries_of(variable, value)?.as_slice())
            .into_iter()
            .enumerate()
        {
            edits.push(set_variable(
                Pcr7Cause::EntryMissing(variable, index),
                variable,
                &without,
                bank,
            ));
        }
        Ok(())
    }

    fn edits_of_authorities(
        &self,
        boot: &[BootEvent],
        bank: Bank,
        edits: &mut Vec<Edit>,
    ) -> Result<(), SecureBootError> {
        let count = boot
            .iter()
            .filter(|event| !event.early && event.event.is_authority())
            .count();
        let entries = self.variables.entries(KeyVariable::Db)?;
        for (index, entry) in entries.iter().enumerate() {
            let digest = authority(entry.bytes, EventCause::Firmware).digest(bank);
            for number in 0..count {
                edits.push(edit(
                    Pcr7Cause::OtherAuthority(number, index),
                    move |sequence| {
                        if let Some(slot) = nth_authority(sequence, number) {
                            slot.1 = digest;
                        }
                    },
                ));
            }
            edits.push(edit(Pcr7Cause::FurtherAuthority(index), move |sequence| {
                sequence.push((Place::Authority, digest));
            }));
        }
        for number in 0..count {
            edits.push(edit(Pcr7Cause::AuthorityMissing(number), move |sequence| {
                let position = sequence
                    .iter()
                    .enumerate()
                    .filter(|(_, (place, _))| *place == Place::Authority);
                if let Some((position, _)) =
                    position.map(|(index, slot)| (index, *slot)).nth(number)
                {
                    sequence.remove(position);
                }
            }));
        }
        Ok(())
    }
}

/// Quirks that add or change one event, so that they can be combined with other causes.
fn quirk_edit(quirk: Quirk, bank: Bank) -> Option<impl Fn(&mut Sequence) + 'static> {
    let (before, digests): (Option<Place>, Vec<Digest>) = match quirk {
        Quirk::DebugMode => (
            Some(Place::SecureBoot),
            Vec::from([action(b"UEFI Debug Mode").digest(bank)]),
        ),
        Quirk::DmaProtectionDisabled {
            after_variables,
            terminated,
        } => {
            let text: &[u8] = if terminated {
                b"DMA Protection Disabled\0"
            } else {
                b"DMA Protection Disabled"
            };
            let place = if after_variables {
                Place::Separator
            } else {
                Place::SecureBoot
            };
            (Some(place), Vec::from([action(text).digest(bank)]))
        }
        Quirk::AuditAndDeployedMode => {
            let names = ["AuditMode", "DeployedMode"];
            let digests = names.map(|name| firmware_variable(name, &[0]).digest(bank));
            (Some(Place::Separator), digests.into())
        }
        Quirk::ErrorSeparator => (None, Vec::from([separator(true).digest(bank)])),
        _ => return None,
    };
    Some(move |sequence: &mut Sequence| match before {
        None => digests
            .iter()
            .for_each(|digest| set(sequence, Place::Separator, *digest)),
        Some(place) => {
            let position = sequence.iter().position(|(other, _)| *other == place);
            for digest in digests.iter().rev() {
                sequence.insert(position.unwrap_or(0), (Place::Other, *digest));
            }
        }
    })
}

fn edit(cause: Pcr7Cause, change: impl Fn(&mut Sequence) + 'static) -> Edit {
    (cause, Box::new(change))
}

fn set_variable(cause: Pcr7Cause, variable: KeyVariable, value: &[u8], bank: Bank) -> Edit {
    let optional = matches!(variable, KeyVariable::Dbt | KeyVariable::Dbr) && value.is_empty();
    let digest = key_variable(variable, value).digest(bank);
    edit(cause, move |sequence| {
        let place = Place::Key(variable);
        if optional {
            sequence.retain(|(other, _)| *other != place);
        } else if sequence.iter().any(|(other, _)| *other == place) {
            set(sequence, place, digest);
        } else {
            let separator = sequence
                .iter()
                .position(|(other, _)| *other == Place::Separator);
            sequence.insert(separator.unwrap_or(sequence.len()), (place, digest));
        }
    })
}

fn set(sequence: &mut Sequence, place: Place, digest: Digest) {
    for (_, slot) in sequence.iter_mut().filter(|(other, _)| *other == place) {
        *slot = digest;
    }
}

fn nth_authority(sequence: &mut Sequence, number: usize) -> Option<&mut (Place, Digest)> {
    sequence
        .iter_mut()
        .filter(|(place, _)| *place == Place::Authority)
        .nth(number)
}

fn value(sequence: &Sequence) -> Digest {
    let bank = sequence
        .first()
        .map_or(Bank::Sha256, |(_, digest)| digest.bank());
    sequence
        .iter()
        .fold(Digest::zero(bank), |value, (_, digest)| {
            value.extended(digest)
        })
}

/// The value of a variable without its first entry, without its second, and so on.
fn without_each(entries: &[super::signature_list::Entry<'_>]) -> Vec<Vec<u8>> {
    (0..entries.len())
        .map(|missing| {
            let mut value = Vec::new();
            let mut index = 0_usize;
            for list in entries.chunk_by(|one, other| one.list() == other.list()) {
                let rest: Vec<&[u8]> = list
                    .iter()
                    .zip(index..)
                    .filter(|(_, number)| *number != missing)
                    .map(|(entry, _)| entry.bytes)
                    .collect();
                index = index.saturating_add(list.len());
                if let (Some(first), false) = (list.first(), rest.is_empty()) {
                    value.extend(super::signature_list::list(first.kind(), &rest));
                }
            }
            value
        })
        .collect()
}
