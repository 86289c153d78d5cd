//! The TLV encoding: one byte of type, four of length (big-endian), value.
//!
//! | type | value |
//! | --- | --- |
//! | 0 | record number: 1 to 8 bytes, big-endian |
//! | 1 | register, likewise |
//! | 3 | digests: a TLV for each, its type is the `TPM_ALG_ID` |
//! | 5 | event of firmware: TLVs 0 (type, a number) and 1 (data); other types are content of other kinds |
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::{CelContent, CelEncoding, CelLog, CelRecord, PC_CLIENT};
use crate::event_log::error::EventLogError;
use crate::event_log::event::{EventDigest, EventType, algorithm_size};

const RECORD_NUMBER: u8 = 0;
const REGISTER: u8 = 1;
const DIGESTS: u8 = 3;
const EVENT_TYPE: u8 = 0;
const EVENT_DATA: u8 = 1;

impl CelLog {
    /// Reads the TLV encoding.
    ///
    /// # Errors
    /// [`EventLogError::Encoding`] that names the record and the field that is missing or wrong, also when the log is cut off.
    pub fn parse_tlv(bytes: &[u8]) -> Result<Self, EventLogError> {
        let mut rest = bytes;
        let mut records = Vec::new();
        while !rest.is_empty() {
            let number = u64::try_from(records.len()).unwrap_or(u64::MAX);
            let record = record(&mut rest).map_err(|what| {
                let offset = bytes.len().saturating_sub(rest.len());
                CelEncoding::Tlv.error(what, number, u64::try_from(offset).unwrap_or(u64::MAX))
            })?;
            records.push(record);
        }
        Ok(Self { records })
    }

    /// All records in the TLV encoding; records without a number get their place.
    ///
    /// # Errors
    /// [`EventLogError::Encoding`] for content that was read from another encoding and is no event of firmware, and for
    /// algorithms above 255.
    pub fn to_tlv(&self) -> Result<Vec<u8>, EventLogError> {
        let mut bytes = Vec::new();
        for (record, place) in self.records.iter().zip(0..) {
            let wrong = |what| CelEncoding::Tlv.error(what, place, 0);
            put(
                RECORD_NUMBER,
                &number(record.number.unwrap_or(place)),
                &mut bytes,
            );
            put(REGISTER, &number(record.pcr.into()), &mut bytes);
            let mut digests = Vec::new();
            for digest in &record.digests {
                let algorithm = u8::try_from(digest.algorithm_id()).map_err(|_| wrong("digest"))?;
                put(algorithm, digest.as_bytes(), &mut digests);
            }
            put(DIGESTS, &digests, &mut bytes);
            let (kind, content) = match &record.content {
                CelContent::PcClient { event_type, data } => {
                    let mut content = Vec::new();
                    put(EVENT_TYPE, &number(event_type.value().into()), &mut content);
                    put(EVENT_DATA, data, &mut content);
                    (PC_CLIENT, content)
                }
                CelContent::Encoded {
                    content_type,
                    encoding: CelEncoding::Tlv,
                    bytes,
                } => (*content_type, bytes.clone()),
                _ => return Err(wrong("content that has a TLV form")),
            };
            let kind = u8::try_from(kind).map_err(|_| wrong("content type"))?;
            put(kind, &content, &mut bytes);
        }
        Ok(bytes)
    }
}

fn put(kind: u8, value: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(kind);
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// Without leading zeros, at least one byte.
fn number(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(7);
    bytes.get(zeros..).unwrap_or_default().to_vec()
}

fn record(rest: &mut &[u8]) -> Result<CelRecord, &'static str> {
    let number = wanted(rest, RECORD_NUMBER, "record number")?;
    let number = read_number(number).ok_or("record number")?;
    let register = wanted(rest, REGISTER, "register")?;
    let pcr = read_number(register).and_then(|number| u32::try_from(number).ok());
    let mut inner = wanted(rest, DIGESTS, "digests")?;
    let mut digests = Vec::new();
    while !inner.is_empty() {
        let (algorithm, digest) = next(&mut inner).ok_or("digest")?;
        let size = algorithm_size(algorithm.into()).map(usize::from);
        if size.is_some_and(|size| size != digest.len()) {
            return Err("digest");
        }
        digests.push(EventDigest::new(algorithm.into(), digest));
    }
    let (kind, mut content) = next(rest).ok_or("content")?;
    let content = if u64::from(kind) == PC_CLIENT {
        let event_type = wanted(&mut content, EVENT_TYPE, "event type")?;
        let event_type = read_number(event_type).and_then(|number| u32::try_from(number).ok());
        let data = wanted(&mut content, EVENT_DATA, "event data")?;
        if !content.is_empty() {
            return Err("end of content");
        }
        CelContent::PcClient {
            event_type: EventType::new(event_type.ok_or("event type")?),
            data: data.to_vec(),
        }
    } else {
        CelContent::Encoded {
            content_type: kind.into(),
            encoding: CelEncoding::Tlv,
            bytes: content.to_vec(),
        }
    };
    Ok(CelRecord {
        number: Some(number),
        pcr: pcr.ok_or("register")?,
        digests,
        content,
    })
}

fn wanted<'a>(rest: &mut &'a [u8], kind: u8, what: &'static str) -> Result<&'a [u8], &'static str> {
    match next(rest) {
        Some((found, value)) if found == kind => Ok(value),
        _ => Err(what),
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&kind, after) = rest.split_first()?;
    let (len, after) = after.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (value, after) = after.split_at_checked(len)?;
    *rest = after;
    Some((kind, value))
}

fn read_number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 8 {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}
