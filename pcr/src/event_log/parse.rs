//! Reading logs and final events tables.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::error::EventLogError;
use super::event::{Event, EventDigest, EventType};
use super::reader::Reader;
use super::spec_id::{LogFormat, SpecId};
use crate::bank::Bank;

/// The parts of a log.
pub(super) struct Parts {
    /// The first record, if it is a Spec ID event.
    pub(super) header: Option<Event>,
    pub(super) spec_id: Option<SpecId>,
    /// The events after it.
    pub(super) events: Vec<Event>,
    /// What fills the rest of the memory that firmware reserved for the log.
    pub(super) padding: Vec<u8>,
}

/// Shortest run of equal bytes that cannot be the start of a record of the crypto-agile form: there, register, type and a
/// digest count of 0 or 0xFFFFFFFF.
const SHORTEST_PADDING: usize = 12;
/// The same for SHA-1 records: one of 32 zeros would be of no type, without digest and data.
const SHORTEST_SHA1_PADDING: usize = 32;

/// Where the run of zeros (or of 0xFF) begins that goes to the end of the bytes.
fn padding_start(bytes: &[u8]) -> usize {
    let Some(last @ (0 | 0xff)) = bytes.last() else {
        return bytes.len();
    };
    bytes
        .iter()
        .rposition(|byte| byte != last)
        .map_or(0, |position| position.saturating_add(1))
}

pub(super) fn log(bytes: &[u8]) -> Result<Parts, EventLogError> {
    let mut reader = Reader::new(bytes);
    let padding = padding_start(bytes);
    if padding == 0 && (reader.is_empty() || bytes.len() >= SHORTEST_SHA1_PADDING) {
        return Err(EventLogError::Empty);
    }
    let first = sha1_event(&mut reader)?;
    let spec_id = if first.event_type == EventType::NO_ACTION {
        SpecId::parse(&first.data)
            .map_err(|error| within_first_record(error, bytes, &reader, &first))?
    } else {
        None
    };
    let mut events = Vec::new();
    let header = match &spec_id {
        Some(_) => Some(first),
        None if first.register().is_none() && first.event_type != EventType::NO_ACTION => {
            return Err(EventLogError::FirstRegister {
                found: first.pcr_index,
            });
        }
        None => {
            events.push(first);
            None
        }
    };
    let agile = spec_id
        .as_ref()
        .filter(|spec_id| spec_id.format == LogFormat::CryptoAgile);
    let shortest = match agile {
        Some(_) => SHORTEST_PADDING,
        None => SHORTEST_SHA1_PADDING,
    };
    while !reader.is_empty() {
        if reader.position() >= padding && reader.remaining() >= shortest {
            break;
        }
        events.push(match agile {
            Some(spec_id) => agile_event(&mut reader, &spec_id.algorithms)?,
            None => sha1_event(&mut reader)?,
        });
    }
    let padding = bytes.get(reader.position()..).unwrap_or_default().to_vec();
    Ok(Parts {
        header,
        spec_id,
        events,
        padding,
    })
}

/// Moves offsets within the data of the first record to offsets in the log.
fn within_first_record(
    error: EventLogError,
    bytes: &[u8],
    reader: &Reader<'_>,
    first: &Event,
) -> EventLogError {
    let start = bytes
        .len()
        .saturating_sub(reader.remaining())
        .saturating_sub(first.data.len());
    let start = u64::try_from(start).unwrap_or(u64::MAX);
    match error {
        EventLogError::Truncated {
            what,
            offset,
            needed,
            available,
        } => EventLogError::Truncated {
            what,
            offset: offset.saturating_add(start),
            needed,
            available,
        },
        EventLogError::DuplicateAlgorithm { algorithm, offset } => {
            EventLogError::DuplicateAlgorithm {
                algorithm,
                offset: offset.saturating_add(start),
            }
        }
        other => other,
    }
}

/// `TCG_PCR_EVENT`: the only form in SHA-1 logs, and the form of every first record.
fn sha1_event(reader: &mut Reader<'_>) -> Result<Event, EventLogError> {
    let offset = reader.offset();
    let pcr_index = reader.u32("register number")?;
    let event_type = EventType::new(reader.u32("event type")?);
    let digest = reader.take("SHA-1 digest", 20)?;
    let size = reader.u32("event size")?;
    let data = reader.take("event data", u64::from(size))?;
    Ok(Event {
        offset,
        pcr_index,
        event_type,
        digests: Vec::from([EventDigest::new(Bank::Sha1.algorithm_id(), digest)]),
        data: data.to_vec(),
    })
}

/// `TCG_PCR_EVENT2`. Digests are found by their identifier: their order may differ between records.
fn agile_event(reader: &mut Reader<'_>, declared: &[(u16, u16)]) -> Result<Event, EventLogError> {
    let offset = reader.offset();
    let pcr_index = reader.u32("register number")?;
    let event_type = EventType::new(reader.u32("event type")?);
    let count_offset = reader.offset();
    let count = reader.u32("digest count")?;
    let expected = u32::try_from(declared.len()).unwrap_or(u32::MAX);
    if count != expected {
        return Err(EventLogError::DigestCount {
            offset: count_offset,
            found: count,
            expected,
        });
    }
    let mut digests: Vec<EventDigest> = Vec::with_capacity(declared.len());
    for _ in 0..count {
        let offset = reader.offset();
        let algorithm = reader.u16("digest algorithm")?;
        let size = declared
            .iter()
            .find(|(known, _)| *known == algorithm)
            .map(|(_, size)| *size)
            .ok_or(EventLogError::UndeclaredAlgorithm { algorithm, offset })?;
        if digests
            .iter()
            .any(|digest| digest.algorithm_id() == algorithm)
        {
            return Err(EventLogError::DuplicateAlgorithm { algorithm, offset });
        }
        digests.push(EventDigest::new(
            algorithm,
            reader.take("digest", u64::from(size))?,
        ));
    }
    let size = reader.u32("event size")?;
    let data = reader.take("event data", u64::from(size))?;
    Ok(Event {
        offset,
        pcr_index,
        event_type,
        digests,
        data: data.to_vec(),
    })
}

/// `EFI_TCG2_FINAL_EVENTS_TABLE`: version, number of events, events.
pub(super) fn final_events(
    bytes: &[u8],
    declared: &[(u16, u16)],
) -> Result<Vec<Event>, EventLogError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u64("final events version")?;
    if version != 1 {
        return Err(EventLogError::FinalEventsVersion { found: version });
    }
    // A hostile count ends at the end of the bytes, as each event takes some of them.
    let count = reader.u64("number of final events")?;
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(agile_event(&mut reader, declared)?);
    }
    Ok(events)
}
