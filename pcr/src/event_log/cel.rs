//! The TCG Canonical Event Log in its JSON encoding.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde_json::{Value, json};

use super::error::EventLogError;
use super::event::{Event, EventDigest, EventType};
use super::json::{digests_from_json, digests_to_json, from_hex, hex};
use super::{EventLog, SpecId};
use crate::bank::{Bank, Digest, Register};

const FORMAT: &str = "CEL-JSON";
const PC_CLIENT: &str = "pcclient_std";

/// A TCG Canonical Event Log (CEL 1.0), in its JSON encoding.
///
/// Read are an array of records, as the specification and `systemd-pcrlock cel` have it, and a sequence of records, as
/// systemd keeps it in `/run/log/systemd/tpm2-measure.log`. Content of other kinds than firmware events is kept.
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

    /// Reads an array of records, or a sequence of records.
    ///
    /// # Errors
    /// [`EventLogError::Text`] that names the record and the member that is missing or wrong.
    pub fn parse_json(text: &str) -> Result<Self, EventLogError> {
        let values = read_values(text)?;
        let records = values.iter().zip(0..).map(|(value, record)| {
            read_record(value).map_err(|what| EventLogError::Text {
                format: FORMAT,
                what,
                record,
            })
        });
        Ok(Self {
            records: records.collect::<Result<_, _>>()?,
        })
    }

    /// An array of all records, as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Array(self.records.iter().map(record_to_json).collect()).to_string()
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
                    format: FORMAT,
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
        }
    } else {
        let mut spec_id = SpecId::crypto_agile(&[]);
        spec_id.algorithms = algorithms;
        EventLog::with_spec_id(spec_id)
    };
    log.push(first)?;
    Ok(log)
}

/// An array, or values that follow each other with record separators (RFC 7464) or white space between them.
fn read_values(text: &str) -> Result<Vec<Value>, EventLogError> {
    let wrong = |record| EventLogError::Text {
        format: FORMAT,
        what: "JSON value",
        record,
    };
    if text.trim_start().starts_with('[') {
        return match serde_json::from_str(text) {
            Ok(Value::Array(values)) => Ok(values),
            _ => Err(wrong(0)),
        };
    }
    let mut values = Vec::new();
    for part in text.split('\u{1e}') {
        for value in serde_json::Deserializer::from_str(part).into_iter::<Value>() {
            let record = u64::try_from(values.len()).unwrap_or(u64::MAX);
            values.push(value.map_err(|_| wrong(record))?);
        }
    }
    Ok(values)
}

fn read_record(value: &Value) -> Result<CelRecord, &'static str> {
    let pcr = value.get("pcr").and_then(Value::as_u64);
    Ok(CelRecord {
        number: value.get("recnum").and_then(Value::as_u64),
        pcr: pcr.and_then(|pcr| u32::try_from(pcr).ok()).ok_or("pcr")?,
        digests: value
            .get("digests")
            .and_then(digests_from_json)
            .ok_or("digests")?,
        content: match value.get("content_type").and_then(Value::as_str) {
            Some(PC_CLIENT) => read_event(value.get("content").ok_or("content")?)?,
            other => CelContent::Other {
                content_type: other.map(String::from),
                json: value.get("content").unwrap_or(&Value::Null).to_string(),
            },
        },
    })
}

fn read_event(content: &Value) -> Result<CelContent, &'static str> {
    let event_type = match content.get("event_type").ok_or("event_type")? {
        // The specification has names, systemd writes unknown types as decimal text, others as numbers.
        Value::String(text) => EventType::from_name(&text.to_ascii_uppercase())
            .or_else(|| text.parse().ok().map(EventType::new))
            .or_else(|| {
                let digits = text.strip_prefix("0x")?;
                u32::from_str_radix(digits, 16).ok().map(EventType::new)
            }),
        number => number
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .map(EventType::new),
    };
    let data = content
        .get("event_data")
        .and_then(Value::as_str)
        .and_then(from_hex);
    Ok(CelContent::PcClient {
        event_type: event_type.ok_or("event_type")?,
        data: data.ok_or("event_data")?,
    })
}

fn record_to_json(record: &CelRecord) -> Value {
    let mut value = json!({"pcr": record.pcr, "digests": digests_to_json(&record.digests)});
    let mut put = |name: &str, member: Value| {
        if let Some(object) = value.as_object_mut() {
            object.insert(name.into(), member);
        }
    };
    if let Some(number) = record.number {
        put("recnum", number.into());
    }
    match &record.content {
        CelContent::PcClient { event_type, data } => {
            let event_type = match event_type.name() {
                Some(name) => Value::from(name),
                None => event_type.value().into(),
            };
            put("content_type", PC_CLIENT.into());
            put(
                "content",
                json!({"event_type": event_type, "event_data": hex(data)}),
            );
        }
        CelContent::Other { content_type, json } => {
            if let Some(content_type) = content_type {
                put("content_type", content_type.as_str().into());
            }
            put("content", serde_json::from_str(json).unwrap_or(Value::Null));
        }
    }
    value
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
        }
    }
}
