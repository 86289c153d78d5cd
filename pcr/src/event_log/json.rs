//! Logs as JSON: all bytes as hexadecimal, and beside them what they mean.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use super::data::EventData;
use super::error::EventLogError;
use super::event::{ALGORITHMS, Event, EventDigest, EventType, Hex, algorithm_name};
use super::{EventLog, LogFormat, parse};

const FORMAT: &str = "JSON";

impl EventLog {
    /// The log as JSON text: for each event its offset, register, type, digests, data in hexadecimal, and what the data
    /// means. [`EventLog::from_json`] gives the same log back.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut document = Map::new();
        if let (Some(header), Some(spec_id)) = (&self.header, &self.spec_id) {
            let mut first = Vec::new();
            super::write_sha1(header, &mut first);
            let (major, minor, errata) = spec_id.version;
            document.insert("first_record".into(), hex(&first));
            document.insert(
                "spec_id".into(),
                json!({
                    "format": match spec_id.format {
                        LogFormat::CryptoAgile => "crypto-agile",
                        LogFormat::Sha1Only => "sha1-only",
                    },
                    "platform_class": spec_id.platform_class,
                    "version": format!("{major}.{minor} errata {errata}"),
                    "uintn_size": spec_id.uintn_size,
                    "algorithms": spec_id.algorithms.iter().map(|(id, size)| {
                        json!({"hashAlg": name_of(*id), "size": size})
                    }).collect::<Vec<_>>(),
                    "vendor_info": hex(&spec_id.vendor_info),
                }),
            );
        }
        let events = self.events.iter().map(event_to_json).collect();
        document.insert("events".into(), Value::Array(events));
        if let Some(byte) = self.padding.first() {
            let padding = json!({"byte": byte, "length": self.padding.len()});
            document.insert("padding".into(), padding);
        }
        Value::Object(document).to_string()
    }

    /// Reads the JSON of [`EventLog::to_json`]. Only what is needed is read: `first_record`, `padding`, and `pcr`,
    /// `type`, `digests` and `data` of each event.
    ///
    /// # Errors
    /// [`EventLogError::Text`] for text of another form, [`EventLogError::ForeignDigests`] for an event whose digests
    /// are not those of the log.
    pub fn from_json(text: &str) -> Result<Self, EventLogError> {
        let missing = |what, record| EventLogError::Text {
            format: FORMAT,
            what,
            record,
        };
        let document: Value =
            serde_json::from_str(text).map_err(|_| missing("JSON document", 0))?;
        let mut log = match document.get("first_record") {
            Some(first) => {
                let bytes = first
                    .as_str()
                    .and_then(from_hex)
                    .ok_or_else(|| missing("first_record", 0))?;
                let parts = parse::log(&bytes)?;
                Self {
                    header: parts.header,
                    spec_id: parts.spec_id,
                    events: parts.events,
                    padding: Vec::new(),
                }
            }
            None => Self {
                header: None,
                spec_id: None,
                events: Vec::new(),
                padding: Vec::new(),
            },
        };
        let events = document
            .get("events")
            .and_then(Value::as_array)
            .ok_or_else(|| missing("events", 0))?;
        for (event, record) in events.iter().zip(0..) {
            let member = |what: &'static str| event.get(what).ok_or_else(|| missing(what, record));
            let number = |what: &'static str| {
                let value = member(what)?
                    .as_u64()
                    .and_then(|value| u32::try_from(value).ok());
                value.ok_or_else(|| missing(what, record))
            };
            log.push(Event {
                offset: event.get("offset").and_then(Value::as_u64).unwrap_or(0),
                pcr_index: number("pcr")?,
                event_type: EventType::new(number("type")?),
                digests: digests_from_json(member("digests")?)
                    .ok_or_else(|| missing("digests", record))?,
                data: member("data")?
                    .as_str()
                    .and_then(from_hex)
                    .ok_or_else(|| missing("data", record))?,
            })?;
        }
        if let Some(padding) = document.get("padding") {
            log.padding = padding_from_json(padding).ok_or_else(|| missing("padding", 0))?;
        }
        Ok(log)
    }
}

/// What fills the memory of a log, as long as that may be.
fn padding_from_json(value: &Value) -> Option<Vec<u8>> {
    const LONGEST: u64 = 16 << 20;
    let byte = value.get("byte")?.as_u64()?;
    let byte = u8::try_from(byte).ok()?;
    let len = value.get("length")?.as_u64()?;
    let len = usize::try_from(len).ok().filter(|_| len <= LONGEST)?;
    Some(alloc::vec![byte; len])
}

fn event_to_json(event: &Event) -> Value {
    let mut object = Map::new();
    object.insert("offset".into(), event.offset().into());
    object.insert("pcr".into(), event.pcr_index().into());
    object.insert("type".into(), event.event_type().value().into());
    object.insert("type_name".into(), event.event_type().to_string().into());
    object.insert("digests".into(), digests_to_json(event.digests()));
    object.insert("data".into(), hex(event.data()));
    if let Some(decoded) = decoded_to_json(&event.decoded()) {
        object.insert("decoded".into(), decoded);
    }
    Value::Object(object)
}

fn decoded_to_json(decoded: &EventData<'_>) -> Option<Value> {
    Some(match decoded {
        EventData::Separator(_) | EventData::Opaque(_) => return None,
        EventData::Text(text) => json!({"text": text}),
        EventData::Variable(variable) => json!({
            "variable": {"guid": variable.guid.to_string(), "name": variable.name, "value": hex(&variable.value)}
        }),
        EventData::Image(image) => json!({
            "image": {
                "address": image.address,
                "length": image.length,
                "link_address": image.link_address,
                "file_path": image.file_path(),
            }
        }),
        EventData::FirmwareBlob(blob) => json!({
            "firmware_blob": {"description": blob.description, "address": blob.address, "length": blob.length}
        }),
        EventData::Gpt(gpt) => json!({
            "gpt": {
                "header": hex(gpt.header),
                "entries": gpt.entries.iter().map(|entry| hex(entry)).collect::<Vec<_>>(),
            }
        }),
        EventData::HandoffTables(tables) => json!({
            "tables": tables.iter().map(|(guid, address)| {
                json!({"guid": guid.to_string(), "address": address})
            }).collect::<Vec<_>>()
        }),
        EventData::Tagged { tag, data } => {
            json!({"tag": format!("{tag:#010x}"), "data": hex(data)})
        }
        EventData::StartupLocality(locality) => json!({"startup_locality": locality}),
        EventData::HcrtmComponent(data) => json!({"hcrtm_component": hex(data)}),
        EventData::ReferenceManifest {
            kind,
            vendor,
            manifest,
            ..
        } => json!({
            "reference_manifest": {"kind": kind, "vendor": vendor, "guid": manifest.to_string()}
        }),
    })
}

fn name_of(algorithm: u16) -> String {
    algorithm_name(algorithm).map_or_else(|| format!("{algorithm:#06x}"), ToString::to_string)
}

pub(super) fn hex(bytes: &[u8]) -> Value {
    Value::String(Hex(bytes).to_string())
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect()
}

pub(super) fn digests_to_json(digests: &[EventDigest]) -> Value {
    let digest = |digest: &EventDigest| json!({"hashAlg": name_of(digest.algorithm_id()), "digest": hex(digest.as_bytes())});
    Value::Array(digests.iter().map(digest).collect())
}

pub(super) fn digests_from_json(value: &Value) -> Option<Vec<EventDigest>> {
    let digest = |value: &Value| {
        let algorithm = match value.get("hashAlg")? {
            Value::String(name) => algorithm_from_name(name)?,
            number => u16::try_from(number.as_u64()?).ok()?,
        };
        let bytes = from_hex(value.get("digest")?.as_str()?)?;
        Some(EventDigest::new(algorithm, &bytes))
    };
    value.as_array()?.iter().map(digest).collect()
}

fn algorithm_from_name(name: &str) -> Option<u16> {
    let lower = name.to_ascii_lowercase();
    let known = ALGORITHMS.iter().find(|(_, known, _)| *known == lower);
    known.map(|(id, ..)| *id).or_else(|| {
        let digits = lower.strip_prefix("0x")?;
        u16::from_str_radix(digits, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hexadecimal_strictly() {
        assert_eq!(from_hex("00fF"), Some(Vec::from([0, 255])));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("+1"), None);
        assert_eq!(algorithm_from_name("0x0012"), Some(0x12));
    }
}
