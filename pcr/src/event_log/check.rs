//! Whether event data fits the digests.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use super::data::{EventData, has_form};
use super::event::{Event, EventType};
use super::{EventLog, variable::VariableData};
use crate::bank::{Bank, Digest};

/// Something about an event that a verifier must know. A log with findings still replays.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Index into [`EventLog::events`]; their number, for something after the last event.
    pub event: usize,
    /// What was found.
    pub kind: FindingKind,
}

/// What was found about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The digest of this bank is not the hash of what the event's type says it hashes.
    DigestMismatch(Bank),
    /// The separator reports an error of the firmware.
    ErrorSeparator,
    /// The data does not have the form of the event's type.
    MalformedData,
    /// The event extends, but its register number is above 23.
    NoSuchRegister,
    /// The locality differs from an earlier statement, or comes after PCR 0 was extended.
    LocalityConflict,
    /// So many bytes of unused memory follow the last event.
    Padding(u64),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let FindingKind::Padding(len) = self.kind {
            return write!(f, "{len} bytes of padding after the last event");
        }
        write!(f, "event {}: ", self.event)?;
        match self.kind {
            FindingKind::Padding(_) => Ok(()),
            FindingKind::DigestMismatch(bank) => write!(f, "digest mismatch in bank {bank}"),
            FindingKind::ErrorSeparator => f.write_str("error separator"),
            FindingKind::MalformedData => f.write_str("malformed data"),
            FindingKind::NoSuchRegister => f.write_str("register number above 23"),
            FindingKind::LocalityConflict => {
                f.write_str("startup locality after or against another")
            }
        }
    }
}

pub(super) fn check(log: &EventLog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut extended = false;
    let mut locality = None;
    for (index, event) in log.events().iter().enumerate() {
        let mut found = |kind| findings.push(Finding { event: index, kind });
        let decoded = event.decoded();
        if let EventData::StartupLocality(value) = decoded {
            if extended || locality.is_some_and(|earlier| earlier != value) {
                found(FindingKind::LocalityConflict);
            }
            locality = Some(value);
        }
        if !event.extends() {
            continue;
        }
        if event.pcr_index() == 0 {
            extended = true;
        }
        if event.register().is_none() {
            found(FindingKind::NoSuchRegister);
        }
        if has_form(event.event_type()) && matches!(decoded, EventData::Opaque(_)) {
            found(FindingKind::MalformedData);
        }
        if event.event_type() == EventType::SEPARATOR && is_error_separator(event) {
            found(FindingKind::ErrorSeparator);
        }
        for digest in event
            .digests()
            .iter()
            .filter_map(super::EventDigest::digest)
        {
            if !fits(event, &decoded, digest) {
                found(FindingKind::DigestMismatch(digest.bank()));
            }
        }
    }
    if log.padding_len() > 0 {
        findings.push(Finding {
            event: log.events().len(),
            kind: FindingKind::Padding(log.padding_len()),
        });
    }
    findings
}

/// The value of an error separator is 1. Its data is that value, or a message that is not hashed. Other data occurs:
/// Windows ends its registers with the text "WBCL".
pub(crate) fn is_error_separator(event: &Event) -> bool {
    let error = 1_u32.to_le_bytes();
    event.data() == error
        || event
            .digests()
            .iter()
            .filter_map(super::EventDigest::digest)
            .any(|digest| digest == digest.bank().hash(&error))
}

/// Whether the digest is the hash that the event's type promises; true where the type promises none.
fn fits(event: &Event, decoded: &EventData<'_>, digest: Digest) -> bool {
    let bank = digest.bank();
    let of_data = || digest == bank.hash(event.data());
    match event.event_type() {
        EventType::SEPARATOR => of_data() || digest == bank.hash(&1_u32.to_le_bytes()),
        EventType::EFI_VARIABLE_BOOT => match decoded {
            // edk2 hashes the value only; the specification wants the whole structure.
            EventData::Variable(variable) => digest == bank.hash(&variable.value) || of_data(),
            _ => true,
        },
        EventType::EFI_VARIABLE_AUTHORITY => match decoded {
            // shim before 15.3 measured some surplus bytes, and logged one more than it measured.
            EventData::Variable(variable) => {
                let but_last = event.data().split_last().map_or(&[][..], |(_, rest)| rest);
                of_data()
                    || digest == bank.hash(&VariableData::to_bytes(variable))
                    || (variable.byte_len() < event.data().len() && digest == bank.hash(but_last))
            }
            _ => of_data(),
        },
        EventType::ACTION
        | EventType::EFI_ACTION
        | EventType::S_CRTM_VERSION
        | EventType::EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EFI_VARIABLE_BOOT2
        | EventType::EFI_GPT_EVENT => of_data(),
        _ => true,
    }
}
