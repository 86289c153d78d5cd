//! TCG event logs: what firmware and boot loader measured, in order.

use alloc::vec::Vec;

mod cel;
mod check;
mod data;
mod diff;
mod error;
mod event;
mod json;
mod parse;
mod reader;
mod replay;
mod spec_id;
mod variable;

pub use cel::{CelContent, CelEncoding, CelLog, CelRecord};
pub(crate) use check::is_error_separator;
pub use check::{Finding, FindingKind};
pub use data::{EventData, FirmwareBlob, GptEntries, ImageLoad};
pub use diff::LogDifference;
pub use error::EventLogError;
pub(crate) use event::Hex;
pub use event::{Event, EventDigest, EventType};
pub use replay::Replay;
pub use spec_id::{LogFormat, SpecId};
pub use variable::{Guid, ParseGuidError, VariableData};

use crate::bank::Bank;

/// An event log (TCG PC Client PFP 1.06, chapter 10): crypto-agile, or SHA-1 only.
///
/// On Linux it is `/sys/kernel/security/tpm0/binary_bios_measurements`; read that file to its end first, it reports
/// a size of 0. Reading is strict: a truncated log is an error, never a short list. Only zeros or 0xFF up to the end are
/// taken as unused memory, as in logs read from ACPI tables. Every byte is kept, so [`EventLog::to_bytes`] gives the log
/// back as it was.
///
/// ```
/// use pcr::{Bank, Event, EventLog, EventType, Register};
///
/// let mut log = EventLog::crypto_agile(&[Bank::Sha256]);
/// let register = Register::SECURE_BOOT_POLICY;
/// log.push(Event::hashed(register, EventType::SEPARATOR, &[Bank::Sha256], &[0; 4]))?;
///
/// let log = EventLog::parse(&log.to_bytes())?;
/// let value = log.replay().value(Bank::Sha256, register).ok_or("no such bank")?;
/// assert_eq!(value.to_string(), "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969");
/// assert!(log.check().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    header: Option<Event>,
    spec_id: Option<SpecId>,
    events: Vec<Event>,
    padding: Vec<u8>,
}

impl EventLog {
    /// Reads a whole log.
    ///
    /// # Errors
    /// [`EventLogError`] for a log that is empty, truncated, or contradicts its Spec ID event.
    pub fn parse(bytes: &[u8]) -> Result<Self, EventLogError> {
        let parts = parse::log(bytes)?;
        Ok(Self {
            header: parts.header,
            spec_id: parts.spec_id,
            events: parts.events,
            padding: parts.padding,
        })
    }

    /// A new crypto-agile log without events, for these banks.
    #[must_use]
    pub fn crypto_agile(banks: &[Bank]) -> Self {
        Self::with_spec_id(SpecId::crypto_agile(banks))
    }

    /// A new log without events that starts with this Spec ID event.
    #[must_use]
    pub fn with_spec_id(spec_id: SpecId) -> Self {
        Self {
            header: Some(Event {
                offset: 0,
                pcr_index: 0,
                event_type: EventType::NO_ACTION,
                digests: Vec::from([EventDigest::new(Bank::Sha1.algorithm_id(), &[0; 20])]),
                data: spec_id.to_bytes(),
            }),
            spec_id: Some(spec_id),
            events: Vec::new(),
            padding: Vec::new(),
        }
    }

    /// A crypto-agile log of events that have exactly these banks.
    pub(crate) fn of_events(banks: &[Bank], events: Vec<Event>) -> Self {
        Self {
            events,
            ..Self::crypto_agile(banks)
        }
    }

    /// Appends an event.
    ///
    /// # Errors
    /// [`EventLogError::ForeignDigests`] when the event does not have exactly one digest of each algorithm of the log.
    pub fn push(&mut self, event: Event) -> Result<(), EventLogError> {
        let declared = self.algorithms();
        let fits = event.digests.len() == declared.len()
            && declared.iter().all(|(algorithm, size)| {
                event.digests.iter().any(|digest| {
                    digest.algorithm_id() == *algorithm
                        && digest.as_bytes().len() == usize::from(*size)
                })
            });
        if !fits {
            return Err(EventLogError::ForeignDigests);
        }
        self.events.push(event);
        Ok(())
    }

    /// Adds the final events table (`EFI_TCG2_FINAL_EVENTS_TABLE`), leaving out the events at its start that the log
    /// already ends with. Gives the number of events that were added.
    ///
    /// Linux has done this already for the file in securityfs.
    ///
    /// # Errors
    /// [`EventLogError`] for a table that is truncated, has another version, or other banks than the log.
    pub fn merge_final_events(&mut self, table: &[u8]) -> Result<usize, EventLogError> {
        let events = parse::final_events(table, &self.algorithms())?;
        let known = overlap(&self.events, &events);
        let before = self.events.len();
        self.events.extend(events.into_iter().skip(known));
        Ok(self.events.len() - before)
    }

    /// Number of bytes after the last event that hold nothing: zeros or 0xFF up to the end of the memory that firmware reserved.
    #[must_use]
    pub fn padding_len(&self) -> u64 {
        u64::try_from(self.padding.len()).unwrap_or(u64::MAX)
    }

    /// The Spec ID event; `None` when the log does not start with one.
    #[must_use]
    pub fn spec_id(&self) -> Option<&SpecId> {
        self.spec_id.as_ref()
    }

    /// The layout of the records.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.spec_id
            .as_ref()
            .map_or(LogFormat::Sha1Only, |spec_id| spec_id.format)
    }

    /// The events, without the Spec ID event.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The banks of the log that this crate can compute.
    #[must_use]
    pub fn banks(&self) -> Vec<Bank> {
        self.algorithms()
            .iter()
            .filter_map(|(algorithm, _)| Bank::from_algorithm_id(*algorithm))
            .collect()
    }

    /// Identifier and digest size of each bank, also of banks that this crate cannot compute.
    #[must_use]
    pub fn algorithms(&self) -> Vec<(u16, u16)> {
        match &self.spec_id {
            Some(spec_id) => spec_id.algorithms.clone(),
            None => Vec::from([(Bank::Sha1.algorithm_id(), 20)]),
        }
    }

    /// The register values that the events give. The digests of the log are used, never hashes of event data.
    #[must_use]
    pub fn replay(&self) -> Replay {
        Replay::new(self)
    }

    /// What is wrong or remarkable: digests that do not fit their data, error separators and the like.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        check::check(self)
    }

    /// What `other` has in place of this log's events, register by register.
    #[must_use]
    pub fn diff<'a>(&'a self, other: &'a Self) -> Vec<LogDifference<'a>> {
        diff::diff(self, other)
    }

    /// The log's bytes: those that were read, when nothing was added.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(header) = &self.header {
            write_sha1(header, &mut bytes);
        }
        let agile = self.format() == LogFormat::CryptoAgile;
        for event in &self.events {
            if agile {
                write_agile(event, &mut bytes);
            } else {
                write_sha1(event, &mut bytes);
            }
        }
        bytes.extend_from_slice(&self.padding);
        bytes
    }
}

/// Number of events at the start of `table` that are also the end of `log`: the longest border of
/// table ‖ log end, found in linear time (Knuth, Morris and Pratt).
fn overlap(log: &[Event], table: &[Event]) -> usize {
    let tail = log
        .get(log.len().saturating_sub(table.len())..)
        .unwrap_or_default();
    let mut borders: Vec<usize> = Vec::with_capacity(table.len());
    let mut matched = 0;
    for (index, event) in table.iter().enumerate() {
        while index > 0 && matched > 0 && table.get(matched) != Some(event) {
            matched = border(&borders, matched);
        }
        if index > 0 && table.get(matched) == Some(event) {
            matched += 1;
        }
        borders.push(matched);
    }
    matched = 0;
    for event in tail {
        while matched > 0 && table.get(matched) != Some(event) {
            matched = border(&borders, matched);
        }
        if table.get(matched) == Some(event) {
            matched += 1;
        }
    }
    matched
}

fn border(borders: &[usize], matched: usize) -> usize {
    matched
        .checked_sub(1)
        .and_then(|last| borders.get(last))
        .copied()
        .unwrap_or(0)
}

fn write_len(len: usize, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_sha1(event: &Event, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&event.pcr_index.to_le_bytes());
    bytes.extend_from_slice(&event.event_type.value().to_le_bytes());
    for digest in &event.digests {
        bytes.extend_from_slice(digest.as_bytes());
    }
    write_len(event.data.len(), bytes);
    bytes.extend_from_slice(&event.data);
}

fn write_agile(event: &Event, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&event.pcr_index.to_le_bytes());
    bytes.extend_from_slice(&event.event_type.value().to_le_bytes());
    write_len(event.digests.len(), bytes);
    for digest in &event.digests {
        bytes.extend_from_slice(&digest.algorithm_id().to_le_bytes());
        bytes.extend_from_slice(digest.as_bytes());
    }
    write_len(event.data.len(), bytes);
    bytes.extend_from_slice(&event.data);
}
