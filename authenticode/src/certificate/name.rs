//! Distinguished names: compared as OpenSSL, and with it firmware, compares them.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::der::{self, Reader, Tlv};
use crate::error::{DerProblem, Error};

const WHAT: &str = "name";

/// Whether a Name has the right structure.
pub(crate) fn check(name: &Tlv<'_>) -> Result<(), Error> {
    let mut sets = name.reader();
    while !sets.is_empty() {
        let mut attributes = sets.expect(der::SET, WHAT)?.reader();
        while !attributes.is_empty() {
            let mut pair = attributes.expect(der::SEQUENCE, WHAT)?.reader();
            pair.expect(der::OID, WHAT)?;
            let value = pair.any(WHAT)?;
            pair.finish(WHAT)?;
            check_value(&value)?;
        }
    }
    Ok(())
}

/// Only types of strings, and text that is text: OpenSSL reads no other names.
fn check_value(value: &Tlv<'_>) -> Result<(), Error> {
    match value.tag {
        // Numeric strings and bits are compared as they are.
        0x12 | der::BIT_STRING => Ok(()),
        0x0c | 0x13 | 0x14 | 0x16 | 0x1c | 0x1e if text(value).is_some() => Ok(()),
        0x0c | 0x13 | 0x14 | 0x16 | 0x1c | 0x1e => Err(value.error(WHAT, DerProblem::BadValue)),
        _ => Err(value.error(WHAT, DerProblem::UnexpectedTag)),
    }
}

/// A form that is the same for equal names: text without regard to its string type, ASCII case and repeated spaces.
///
/// The attributes of a name that begins with another begin with those of the other.
pub(crate) fn canonical(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Ok(outer) = Reader::new(name).any(WHAT) else {
        return name.to_vec();
    };
    let mut sets = outer.reader();
    while let Ok(set) = sets.any(WHAT) {
        let mut attributes = Vec::new();
        let mut pairs = set.reader();
        while let Ok(pair) = pairs.any(WHAT) {
            let mut fields = pair.reader();
            let (Ok(kind), Ok(value)) = (fields.any(WHAT), fields.any(WHAT)) else {
                continue;
            };
            let value = canonical_value(&value);
            attributes.push(der::sequence(&[kind.raw, &value]));
        }
        out.extend_from_slice(&der::set_of(der::SET, attributes));
    }
    out
}

fn canonical_value(value: &Tlv<'_>) -> Vec<u8> {
    let Some(text) = text(value) else {
        return value.raw.to_vec();
    };
    let mut out = String::new();
    for word in text
        .split(|c: char| c.is_ascii_whitespace() || c == '\u{b}')
        .filter(|word| !word.is_empty())
    {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    der::tlv(0x0c, &[out.as_bytes()])
}

/// The text of a string type, or nothing for other types and malformed text.
fn text(value: &Tlv<'_>) -> Option<String> {
    match value.tag {
        0x0c => core::str::from_utf8(value.value).ok().map(String::from),
        // Printable, T61 (read as Latin-1), IA5, Visible.
        0x13 | 0x14 | 0x16 | 0x1a => {
            Some(value.value.iter().map(|byte| char::from(*byte)).collect())
        }
        0x1c => value
            .value
            .chunks(4)
            .map(|unit| char::from_u32(u32::from_be_bytes(*unit.first_chunk()?)))
            .collect(),
        0x1e => value
            .value
            .chunks(2)
            .map(|unit| char::from_u32(u32::from(u16::from_be_bytes(*unit.first_chunk()?))))
            .collect(),
        _ => None,
    }
}

/// A name for people.
pub(crate) fn display(name: &[u8]) -> String {
    let mut out = String::new();
    let Ok(outer) = Reader::new(name).any(WHAT) else {
        return out;
    };
    let mut sets = outer.reader();
    while let Ok(set) = sets.any(WHAT) {
        let mut pairs = set.reader();
        while let Ok(pair) = pairs.any(WHAT) {
            let mut fields = pair.reader();
            let (Ok(kind), Ok(value)) = (fields.any(WHAT), fields.any(WHAT)) else {
                continue;
            };
            if !out.is_empty() {
                out.push_str(", ");
            }
            let label = match kind.value {
                [0x55, 4, 3] => "CN",
                [0x55, 4, 6] => "C",
                [0x55, 4, 7] => "L",
                [0x55, 4, 8] => "ST",
                [0x55, 4, 10] => "O",
                [0x55, 4, 11] => "OU",
                _ => "?",
            };
            out.push_str(label);
            out.push('=');
            match text(&value) {
                Some(text) => out.extend(
                    text.chars()
                        .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
                ),
                None => value.value.iter().take(16).for_each(|byte| {
                    let _ = write!(out, "{byte:02x}");
                }),
            }
        }
    }
    out
}
