//! The TCG Canonical Event Log in its three encodings.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod cbor;
mod json;
mod tlv;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::error::EventLogError;
use super::event::{Event, EventDigest, EventType};
use super::{EventLog, SpecId};
use crate::bank::{Bank, Digest, Register};

/// Number of the content type `pcclient_std` in TLV and CBOR.
const PC_CLIENT: u64 = 5;

/// A TCG Canonical Event Log (CEL 1.1), in its JSON, TLV or CBOR encoding.
///
/// In JSON and CBOR, both an array of records is read, as the specification and `systemd-pcrlock cel` have it, and a
/// sequence of records, as systemd keeps it in `/run/log/systemd/tpm2-measure.log`. Content of other kinds than firmware
/// events is kept.
///
/// ```
/// use pcr::{Bank, CelLog, Event, EventLog, EventType, Register};
///
/// let mut log = EventLog::crypto_agile(&[Bank::Sha256]);
/// let register = Register::SECURE_BOOT_POLICY;
/// log.push(Event::hashed(register, EventType::SEPARATOR, &[Bank::Sha256], &[0; 4]))?;
///
/// let cel = CelLog::from_log(&log);
/// assert_eq!(CelLog::parse(&cel.to_tlv()?)?.to_log()?, log);
/// assert_eq!(CelLog::parse(&cel.to_cbor()?)?.to_log()?, log);
/// assert_eq!(CelLog::parse(cel.to_json().as_bytes())?.to_log()?, log);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CelLog {
    records: Vec<CelRecord>,
}

/// One record of a Canonical Event Log.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CelRecord {
    /// Number of the record; systemd's files have none.
    pub number: Option<u64>,
    /// Number of the register.
    pub pcr: u32,
    /// Digests.
    pub digests: Vec<EventDigest>,
    /// What was measured.
    pub content: CelContent,
}

/// What a record says was measured.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CelContent {
    /// `pcclient_std`: an event of firmware or boot loader.
    PcClient {
        /// Type of the event.
        event_type: EventType,
        /// Data of the event.
        data: Vec<u8>,
    },
    /// Content of another kind (`systemd`, `ima_template`, …).
    Other {
        /// The kind; `None` when the record does not say.
        content_type: Option<String>,
        /// The content as JSON text; `null` when there is none.
        json: String,
    },
    /// Content of another kind that was read from TLV or CBOR: 4 is `cel`, 7 `ima_template`, 8 `ima_tlv`.
    Encoded {
        /// The kind.
        content_type: u64,
        /// The encoding it was read from.
        encoding: CelEncoding,
        /// The content as it stands there.
        bytes: Vec<u8>,
    },
}

/// A binary encoding of Canonical Event Logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CelEncoding {
    /// Type, length and value.
    Tlv,
    /// Concise Binary Object Representation (RFC 8949).
    Cbor,
}

impl CelEncoding {
    const fn name(self) -> &'static str {
        match self {
            Self::Tlv => "CEL-TLV",
            Self::Cbor => "CEL-CBOR",
        }
    }

    const fn error(self, what: &'static str, record: u64, offset: u64) -> EventLogError {
        EventLogError::Encoding {
            format: self.name(),
            what,
            record,
            offset,
        }
    }
}

impl CelLog {
    /// The records of a log, the Spec ID event among them, numbered from 0.
    #[must_use]
    pub fn from_log(log: &EventLog) -> Self {
        let events = log.header.iter().chain(log.events());
        let records = events.zip(0..).map(|(event, number)| CelRecord {
            number: Some(number),
            pcr: event.pcr_index(),
            digests: event.digests().to_vec(),
            content: CelContent::PcClient {
                event_type: event.event_type(),
                data: event.data().to_vec(),
            },
        });
        Self {
            records: records.collect(),
        }
    }

    /// Reads a log in whichever encoding it is.
    ///
    /// # Errors
    /// As [`CelLog::parse_json`], [`CelLog::parse_tlv`] and [`CelLog::parse_cbor`]; [`EventLogError::Empty`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EventLogError> {
        match bytes.first() {
            None => Err(EventLogError::Empty),
            // A record number opens each record.
            Some(0) => Self::parse_tlv(bytes),
            // Arrays and maps.
            Some(0x80..=0xbf) => Self::parse_cbor(bytes),
            Some(_) => match core::str::from_utf8(bytes) {
                Ok(text) => Self::parse_json(text),
                Err(_) => Err(EventLogError::Text {
                    format: "CEL",
                    what: "first record",
                    record: 0,
                }),
            },
        }
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[CelRecord] {
        &self.records
    }

    /// The event log with these records, when all of them are firmware events.
    ///
    /// Without a Spec ID event among the records, one is made for the algorithms of the first record.
    ///
    /// # Errors
    /// [`EventLogError::Text`] for a record of another kind, [`EventLogError::ForeignDigests`] for a record with other
    /// digests than the rest, and all errors of [`EventLog::parse`] for the Spec ID event.
    pub fn to_log(&self) -> Result<EventLog, EventLogError> {
        let mut log = None;
        for (record, index) in self.records.iter().zip(0..) {
            let CelContent::PcClient { event_type, data } = &record.content else {
                return Err(EventLogError::Text {
                    format: "CEL",
                    what: "content_type",
                    record: index,
                });
            };
            let event = Event {
                offset: 0,
                pcr_index: record.pcr,
                event_type: *event_type,
                digests: record.digests.clone(),
                data: data.clone(),
            };
            match &mut log {
                None => log = Some(start_log(event)?),
                Some(log) => EventLog::push(log, event)?,
            }
        }
        log.ok_or(EventLogError::Empty)
    }

    /// What the records make of a register whose value was `start` before the first of them.
    #[must_use]
    pub fn replay(&self, register: Register, start: Digest) -> Digest {
        let bank = start.bank();
        let extends = |record: &&CelRecord| {
            let no_action = matches!(
                record.content,
                CelContent::PcClient {
                    event_type: EventType::NO_ACTION,
                    ..
                }
            );
            record.pcr == u32::from(register.index()) && !no_action
        };
        let digests = self
            .records
            .iter()
            .filter(extends)
            .flat_map(|record| &record.digests);
        digests
            .filter_map(EventDigest::digest)
            .filter(|digest| digest.bank() == bank)
            .fold(start, |value, digest| value.extended(&digest))
    }

    /// Number of records for each register.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for record in &self.records {
            let count = counts.entry(record.pcr).or_default();
            *count = count.saturating_add(1);
        }
        counts
    }
}

fn start_log(first: Event) -> Result<EventLog, EventLogError> {
    let spec_id = if first.event_type == EventType::NO_ACTION {
        SpecId::parse(&first.data)?
    } else {
        None
    };
    if spec_id.is_some() {
        return Ok(EventLog {
            header: Some(first),
            spec_id,
            events: Vec::new(),
            padding: Vec::new(),
        });
    }
    let mut algorithms: Vec<(u16, u16)> = Vec::new();
    for digest in &first.digests {
        let size =
            u16::try_from(digest.as_bytes().len()).map_err(|_| EventLogError::ForeignDigests)?;
        algorithms.push((digest.algorithm_id(), size));
    }
    let sha1_only = algorithms == [(Bank::Sha1.algorithm_id(), 20)];
    let mut log = if sha1_only {
        EventLog {
            header: None,
            spec_id: None,
            events: Vec::new(),
            padding: Vec::new(),
        }
    } else {
        let mut spec_id = SpecId::crypto_agile(&[]);
        spec_id.algorithms = algorithms;
        EventLog::with_spec_id(spec_id)
    };
    log.push(first)?;
    Ok(log)
}

impl fmt::Debug for CelRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CelRecord")
            .field("number", &self.number)
            .field("pcr", &self.pcr)
            .field("digests", &self.digests)
            .field("content", &self.content)
            .finish()
    }
}

impl fmt::Debug for CelContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PcClient { event_type, data } => f
                .debug_struct("PcClient")
                .field("event_type", &format_args!("{event_type}"))
                .field("data_len", &data.len())
                .finish(),
            Self::Other { content_type, json } => f
                .debug_struct("Other")
                .field("content_type", content_type)
                .field("json_len", &json.len())
                .finish(),
            Self::Encoded {
                content_type,
                encoding,
                bytes,
            } => f
                .debug_struct("Encoded")
                .field("content_type", content_type)
                .field("encoding", encoding)
                .field("len", &bytes.len())
                .finish(),
        }
    }
}
