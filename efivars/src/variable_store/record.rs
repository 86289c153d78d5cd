//! `AUTHENTICATED_VARIABLE_HEADER` and what follows it.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 2 | 0x55aa |
//! | 2 | 1 | state: bits are cleared one after the other |
//! | 4 | 4 | attributes |
//! | 8 | 8 | monotonic count |
//! | 16 | 16 | time |
//! | 32 | 4 | public key index |
//! | 36 | 4 | length of the name with its terminator |
//! | 40 | 4 | length of the value |
//! | 44 | 16 | vendor GUID |
//! | 60 | … | name, value, and 0xff up to a multiple of 4 |
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;

use super::volume::{u32_at, u64_at};
use crate::{Attributes, EfiTime, Error, Guid, Variable, VariableName};

const START: [u8; 2] = [0xaa, 0x55];
const HEADER_LEN: usize = 60;
/// Header, name and value are there.
const ADDED: u8 = 0x3f;
/// Being replaced: still good when its replacement never became valid.
const IN_DELETED_TRANSITION: u8 = 0x3e;

#[derive(Clone)]
pub(super) struct Record {
    pub(super) variable: Variable,
    count: u64,
    key_index: u32,
}

impl Record {
    pub(super) const fn new(variable: Variable) -> Self {
        Self {
            variable,
            count: 0,
            key_index: 0,
        }
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let Variable {
            name,
            attributes,
            time,
            data,
        } = &self.variable;
        let too_long = |len: usize| Error::TooLong {
            what: "variable",
            len: len as u64,
            max: u32::MAX.into(),
        };
        let mut text = name.to_utf16();
        text.extend_from_slice(&[0, 0]);
        let name_len = u32::try_from(text.len()).map_err(|_| too_long(text.len()))?;
        let data_len = u32::try_from(data.len()).map_err(|_| too_long(data.len()))?;
        out.extend_from_slice(&START);
        out.extend_from_slice(&[ADDED, 0]);
        out.extend_from_slice(&attributes.bits().to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&time.to_bytes());
        out.extend_from_slice(&self.key_index.to_le_bytes());
        out.extend_from_slice(&name_len.to_le_bytes());
        out.extend_from_slice(&data_len.to_le_bytes());
        out.extend_from_slice(&name.vendor().to_bytes());
        out.extend_from_slice(&text);
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(4), 0xff);
        Ok(())
    }
}

/// The valid records of the area that stands at `offset` of the file.
pub(super) fn read_all(area: &[u8], offset: u64) -> Result<Vec<Record>, Error> {
    let mut added: Vec<Record> = Vec::new();
    let mut replaced = Vec::new();
    let mut at = 0usize;
    while let Some(rest) = area.get(at..).filter(|rest| rest.starts_with(&START)) {
        let broken = |what| Error::BrokenStore {
            what,
            offset: offset.saturating_add(at as u64),
        };
        let state = rest.get(2).copied().unwrap_or(0xff);
        let header = || broken("variable header");
        let (Some(attributes), Some(count), Some(key_index)) =
            (u32_at(rest, 4), u64_at(rest, 8), u32_at(rest, 32))
        else {
            return Err(header());
        };
        let (name_len, data_len) = (
            u32_at(rest, 36).ok_or_else(header)?,
            u32_at(rest, 40).ok_or_else(header)?,
        );
        let time = rest
            .get(16..)
            .and_then(<[u8]>::first_chunk)
            .ok_or_else(header)?;
        let vendor = rest
            .get(44..)
            .and_then(<[u8]>::first_chunk)
            .ok_or_else(header)?;
        let name_end = HEADER_LEN.saturating_add(name_len as usize);
        let end = name_end.saturating_add(data_len as usize);
        if matches!(state, ADDED | IN_DELETED_TRANSITION) {
            let (name, data) = (rest.get(HEADER_LEN..name_end), rest.get(name_end..end));
            let (Some(name), Some(data)) = (name, data) else {
                return Err(broken("variable length"));
            };
            let name = VariableName::new(&text(name), Guid::from_bytes(*vendor))
                .map_err(|_| broken("variable name"))?;
            let variable = Variable::new(name, Attributes::from_bits(attributes), data.to_vec())
                .at(EfiTime::from_bytes(*time));
            let record = Record {
                variable,
                count,
                key_index,
            };
            if state == ADDED {
                added.push(record)
            } else {
                replaced.push(record)
            }
        } else if end > rest.len() {
            // A write that never got further than its header; nothing valid can follow.
            break;
        }
        at = at.saturating_add(end.next_multiple_of(4));
    }
    for record in replaced {
        if !added
            .iter()
            .any(|newer| newer.variable.name == record.variable.name)
        {
            added.push(record);
        }
    }
    Ok(added)
}

/// UTF-16 up to the terminator.
fn text(name: &[u8]) -> String {
    let units = name
        .chunks_exact(2)
        .filter_map(|unit| unit.first_chunk().copied().map(u16::from_le_bytes));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
