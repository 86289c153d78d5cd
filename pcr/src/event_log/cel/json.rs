//! The JSON encoding.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::{CelContent, CelLog, CelRecord};
use crate::event_log::error::EventLogError;
use crate::event_log::event::EventType;
use crate::event_log::json::{digests_from_json, digests_to_json, from_hex, hex};

const FORMAT: &str = "CEL-JSON";
const PC_CLIENT: &str = "pcclient_std";

impl CelLog {
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
        // No name is known for it, and the bytes mean nothing in JSON: both as they are.
        CelContent::Encoded {
            content_type,
            bytes,
            ..
        } => {
            put("content_type", (*content_type).into());
            put("content", hex(bytes));
        }
    }
    value
}
