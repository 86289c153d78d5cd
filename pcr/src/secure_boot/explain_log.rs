//! Why a measured PCR 7 is another one, event by event, from the log of the boot.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::prediction::subject;
use super::signature_list::{self, Entry};
use super::variables::KeyVariable;
use super::{Pcr7, SecureBootError};
use crate::bank::Register;
use crate::event_log::{
    Event, EventData, EventLog, EventType, Hex, LogDifference, is_error_separator,
};

/// One difference between predicted and measured events of PCR 7 (or 14, with shim).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pcr7Difference {
    /// The register.
    pub register: Register,
    /// The event that was predicted; `None` when nothing was.
    pub predicted: Option<Event>,
    /// The event that was measured; `None` when nothing was.
    pub measured: Option<Event>,
    /// What it means, in words.
    pub reason: String,
}

impl fmt::Display for Pcr7Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PCR {}: {}", self.register, self.reason)
    }
}

impl Pcr7 {
    /// Compares the prediction with the log of a boot, event by event. No difference means that the log is as predicted.
    ///
    /// The log is taken as it is: whether it belongs to the measured registers is what [`EventLog::replay`] tells.
    ///
    /// # Errors
    /// As [`Pcr7::predict`].
    pub fn explain_log(&self, log: &EventLog) -> Result<Vec<Pcr7Difference>, SecureBootError> {
        let prediction = self.predict()?;
        let predicted = prediction.to_log(&log.banks());
        let registers = prediction.registers();
        let differences = predicted.diff(log).into_iter().filter_map(|difference| {
            let register = difference.before().or(difference.after())?.register()?;
            registers.contains(&register).then_some(())?;
            // Events that extend nothing are no difference of a register.
            let extends = [difference.before(), difference.after()]
                .into_iter()
                .flatten()
                .any(Event::extends);
            extends.then(|| Pcr7Difference {
                register,
                predicted: difference.before().cloned(),
                measured: difference.after().cloned(),
                reason: reason(&difference),
            })
        });
        Ok(differences.collect())
    }
}

fn reason(difference: &LogDifference<'_>) -> String {
    match difference {
        LogDifference::Removed(event) => match event.event_type() {
            EventType::EFI_VARIABLE_AUTHORITY => {
                format!(
                    "{} was not measured: its image was not started or another key vouches for it",
                    subject(event)
                )
            }
            EventType::SEPARATOR => "the separator comes at another place or not at all".into(),
            _ => format!("{} was not measured by the firmware", subject(event)),
        },
        LogDifference::Added(event) => match event.event_type() {
            EventType::EFI_VARIABLE_AUTHORITY => {
                format!(
                    "{} was measured in addition: a further image was started",
                    subject(event)
                )
            }
            EventType::SEPARATOR => "the separator comes at another place or twice".into(),
            _ => format!("the firmware measured {} in addition", subject(event)),
        },
        LogDifference::Changed(predicted, measured) => changed(predicted, measured),
    }
}

fn changed(predicted: &Event, measured: &Event) -> String {
    let name = subject(measured);
    if measured.event_type() == EventType::SEPARATOR {
        return if is_error_separator(measured) {
            "the separator reports an error of the firmware".into()
        } else {
            format!("the separator is {}", Hex(measured.data()))
        };
    }
    let (EventData::Variable(before), EventData::Variable(after)) =
        (predicted.decoded(), measured.decoded())
    else {
        return format!("{name} has another content");
    };
    if measured.data() == predicted.data() {
        return format!("{name} was logged with a digest that is not that of its data");
    }
    if measured.event_type() == EventType::EFI_VARIABLE_AUTHORITY {
        return if before.value.get(16..) == after.value.get(16..) {
            format!("the same key authorised, but its owner is {name}")
        } else {
            format!("another key authorised the image: {name}")
        };
    }
    if before.name == "SecureBoot" {
        return match after.value.as_slice() {
            [0] => "Secure Boot is off".into(),
            [1] => "Secure Boot is on".into(),
            _ => "the firmware measures SecureBoot without a value: it was built without Secure Boot, or has it off".into(),
        };
    }
    if KeyVariable::find(after.guid, &after.name).is_none() {
        return format!("{name} has another value");
    }
    match (
        signature_list::entries(&before.value),
        signature_list::entries(&after.value),
    ) {
        _ if after.value.is_empty() => format!("{name} is empty"),
        (Ok(before), Ok(after)) => {
            let missing = missing(&before, &after);
            let added = self::missing(&after, &before);
            if missing == 0 && added == 0 {
                format!("{name} has the same entries in another order or in other lists")
            } else {
                format!("{name} has {added} entries more and lacks {missing}")
            }
        }
        _ => format!("{name} has another value"),
    }
}

/// How many entries `one` has that `other` does not have.
fn missing(one: &[Entry<'_>], other: &[Entry<'_>]) -> usize {
    let known: alloc::collections::BTreeSet<&[u8]> =
        other.iter().map(|entry| entry.bytes).collect();
    let unknown: Vec<_> = one
        .iter()
        .filter(|entry| !known.contains(entry.bytes))
        .collect();
    unknown.len()
}
