//! The CBOR encoding: an array (or sequence) of maps with these keys.
//!
//! | key | value |
//! | --- | --- |
//! | 0 | record number |
//! | 1 | register |
//! | 3 | digests: an array of maps with 0, the `TPM_ALG_ID`, and 1, the digest |
//! | 9 | content type; 5 is an event of firmware |
//! | 10 | content; of an event of firmware a map with 0, its type, and 1, its data |
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod item;

use alloc::vec::Vec;

use item::{ARRAY, BYTES, MAP, NUMBER, Reader, TEXT, put, put_bytes};

use super::{CelContent, CelEncoding, CelLog, CelRecord, PC_CLIENT};
use crate::event_log::error::EventLogError;
use crate::event_log::event::{EventDigest, EventType, algorithm_size};

const RECORD_NUMBER: u64 = 0;
const REGISTER: u64 = 1;
const DIGESTS: u64 = 3;
const CONTENT_TYPE: u64 = 9;
const CONTENT: u64 = 10;

impl CelLog {
    /// Reads the CBOR encoding: an array of records, or a sequence of records (RFC 8742).
    ///
    /// # Errors
    /// [`EventLogError::Encoding`] that names the record and the member that is missing or wrong, also when the log is cut
    /// off, has anything after its array, or uses indefinite lengths.
    pub fn parse_cbor(bytes: &[u8]) -> Result<Self, EventLogError> {
        let mut reader = Reader::new(bytes);
        let mut records = Vec::new();
        let read = read(&mut reader, &mut records);
        read.map_err(|what| {
            let number = u64::try_from(records.len()).unwrap_or(u64::MAX);
            CelEncoding::Cbor.error(what, number, reader.offset())
        })?;
        Ok(Self { records })
    }

    /// All records in the CBOR encoding, one array; records without a number get their place.
    ///
    /// # Errors
    /// [`EventLogError::Encoding`] for content that was read from another encoding and is no event of firmware.
    pub fn to_cbor(&self) -> Result<Vec<u8>, EventLogError> {
        let mut bytes = Vec::new();
        put(ARRAY, len(self.records.len()), &mut bytes);
        for (record, place) in self.records.iter().zip(0..) {
            put(MAP, 5, &mut bytes);
            let mut number = |value: u64| put(NUMBER, value, &mut bytes);
            number(RECORD_NUMBER);
            number(record.number.unwrap_or(place));
            number(REGISTER);
            number(record.pcr.into());
            number(DIGESTS);
            put(ARRAY, len(record.digests.len()), &mut bytes);
            for digest in &record.digests {
                put(MAP, 2, &mut bytes);
                put(NUMBER, 0, &mut bytes);
                put(NUMBER, digest.algorithm_id().into(), &mut bytes);
                put(NUMBER, 1, &mut bytes);
                put_bytes(digest.as_bytes(), &mut bytes);
            }
            put(NUMBER, CONTENT_TYPE, &mut bytes);
            match &record.content {
                CelContent::PcClient { event_type, data } => {
                    put(NUMBER, PC_CLIENT, &mut bytes);
                    put(NUMBER, CONTENT, &mut bytes);
                    put(MAP, 2, &mut bytes);
                    put(NUMBER, 0, &mut bytes);
                    put(NUMBER, event_type.value().into(), &mut bytes);
                    put(NUMBER, 1, &mut bytes);
                    put_bytes(data, &mut bytes);
                }
                CelContent::Encoded {
                    content_type,
                    encoding: CelEncoding::Cbor,
                    bytes: item,
                } => {
                    put(NUMBER, *content_type, &mut bytes);
                    put(NUMBER, CONTENT, &mut bytes);
                    bytes.extend_from_slice(item);
                }
                _ => return Err(CelEncoding::Cbor.error("content that has a CBOR form", place, 0)),
            }
        }
        Ok(bytes)
    }
}

fn len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn read(reader: &mut Reader<'_>, records: &mut Vec<CelRecord>) -> Result<(), &'static str> {
    if reader.is_next(ARRAY) {
        // A hostile count ends at the end of the bytes, as each record takes some of them.
        for _ in 0..reader.head(ARRAY).ok_or("array")? {
            records.push(record(reader)?);
        }
        return if reader.is_empty() {
            Ok(())
        } else {
            Err("end of the log")
        };
    }
    while !reader.is_empty() {
        records.push(record(reader)?);
    }
    Ok(())
}

fn record(reader: &mut Reader<'_>) -> Result<CelRecord, &'static str> {
    let (mut number, mut pcr, mut digests, mut kind, mut content) = (None, None, None, None, None);
    for _ in 0..reader.head(MAP).ok_or("map")? {
        let twice = match reader.head(NUMBER).ok_or("key")? {
            RECORD_NUMBER => number
                .replace(reader.head(NUMBER).ok_or("record number")?)
                .is_some(),
            REGISTER => {
                let index = reader
                    .head(NUMBER)
                    .and_then(|index| u32::try_from(index).ok());
                pcr.replace(index.ok_or("register")?).is_some()
            }
            DIGESTS => digests.replace(read_digests(reader)?).is_some(),
            CONTENT_TYPE => kind
                .replace(reader.head(NUMBER).ok_or("content type")?)
                .is_some(),
            CONTENT => content.replace(reader.item().ok_or("content")?).is_some(),
            _ => return Err("key"),
        };
        if twice {
            return Err("key that occurs once");
        }
    }
    let (kind, bytes) = (kind.ok_or("content type")?, content.ok_or("content")?);
    Ok(CelRecord {
        number,
        pcr: pcr.ok_or("register")?,
        digests: digests.ok_or("digests")?,
        content: if kind == PC_CLIENT {
            read_event(bytes)?
        } else {
            CelContent::Encoded {
                content_type: kind,
                encoding: CelEncoding::Cbor,
                bytes: bytes.to_vec(),
            }
        },
    })
}

fn read_digests(reader: &mut Reader<'_>) -> Result<Vec<EventDigest>, &'static str> {
    let mut digests = Vec::new();
    for _ in 0..reader.head(ARRAY).ok_or("digests")? {
        let algorithm = (reader.head(MAP) == Some(2) && reader.head(NUMBER) == Some(0))
            .then(|| reader.head(NUMBER).and_then(|id| u16::try_from(id).ok()))
            .flatten();
        let algorithm = algorithm.ok_or("digest algorithm")?;
        let digest = (reader.head(NUMBER) == Some(1))
            .then(|| reader.string(BYTES))
            .flatten()
            .ok_or("digest")?;
        let size = algorithm_size(algorithm).map(usize::from);
        if size.is_some_and(|size| size != digest.len()) {
            return Err("digest");
        }
        digests.push(EventDigest::new(algorithm, digest));
    }
    Ok(digests)
}

fn read_event(bytes: &[u8]) -> Result<CelContent, &'static str> {
    let mut reader = Reader::new(bytes);
    if reader.head(MAP) != Some(2) || reader.head(NUMBER) != Some(0) {
        return Err("event type");
    }
    // Either the number or the name of the specification.
    let event_type = if reader.is_next(TEXT) {
        reader
            .string(TEXT)
            .and_then(|name| core::str::from_utf8(name).ok())
            .and_then(|name| EventType::from_name(&name.to_ascii_uppercase()))
    } else {
        let number = reader
            .head(NUMBER)
            .and_then(|number| u32::try_from(number).ok());
        number.map(EventType::new)
    };
    let event_type = event_type.ok_or("event type")?;
    if reader.head(NUMBER) != Some(1) {
        return Err("event data");
    }
    let data = reader.string(BYTES).ok_or("event data")?.to_vec();
    Ok(CelContent::PcClient { event_type, data })
}
