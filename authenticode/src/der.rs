//! Reading DER without copying, and writing it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::error::{DerProblem, Error};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Tag of a constructed, context-specific value.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Tag of a primitive, context-specific value.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// One element: tag, length, value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    /// All of it.
    pub(crate) raw: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Where it starts in the outermost blob.
    pub(crate) offset: usize,
}

impl<'a> Tlv<'a> {
    /// Reads the elements inside.
    pub(crate) fn reader(&self) -> Reader<'a> {
        let header = self.raw.len().saturating_sub(self.value.len());
        Reader {
            rest: self.value,
            offset: self.offset.saturating_add(header),
        }
    }

    pub(crate) fn error(&self, what: &'static str, problem: DerProblem) -> Error {
        error(what, self.offset, problem)
    }

    pub(crate) fn range(&self) -> core::ops::Range<usize> {
        self.offset..self.offset.saturating_add(self.raw.len())
    }
}

/// Reads elements in order.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

fn error(what: &'static str, offset: usize, problem: DerProblem) -> Error {
    Error::Der {
        what,
        offset: u64::try_from(offset).unwrap_or(u64::MAX),
        problem,
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            offset: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn any(&mut self, what: &'static str) -> Result<Tlv<'a>, Error> {
        let (tag, header, len) =
            header(self.rest).map_err(|problem| error(what, self.offset, problem))?;
        let (raw, rest) = header
            .checked_add(len)
            .and_then(|total| self.rest.split_at_checked(total))
            .ok_or_else(|| error(what, self.offset, DerProblem::Truncated))?;
        let value = raw.get(header..).unwrap_or_default();
        if !has_form(tag, value) {
            return Err(error(what, self.offset, DerProblem::BadValue));
        }
        let tlv = Tlv {
            tag,
            raw,
            value,
            offset: self.offset,
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(raw.len());
        Ok(tlv)
    }

    pub(crate) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Tlv<'a>, Error> {
        match self.peek() {
            Some(found) if found != tag => Err(error(what, self.offset, DerProblem::UnexpectedTag)),
            _ => self.any(what),
        }
    }

    /// A UTCTime or GeneralizedTime, well-formed or not.
    pub(crate) fn time(&mut self, what: &'static str) -> Result<Tlv<'a>, Error> {
        let time = self.any(what)?;
        match time.tag {
            UTC_TIME | GENERALIZED_TIME => Ok(time),
            _ => Err(time.error(what, DerProblem::UnexpectedTag)),
        }
    }

    pub(crate) fn optional(
        &mut self,
        tag: u8,
        what: &'static str,
    ) -> Result<Option<Tlv<'a>>, Error> {
        if self.peek() == Some(tag) {
            self.any(what).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn finish(&self, what: &'static str) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(error(what, self.offset, DerProblem::TrailingData))
        }
    }
}

/// Whether a value of a universal type can be one: what OpenSSL refuses, no element that is read may be.
fn has_form(tag: u8, value: &[u8]) -> bool {
    match tag {
        // The mark that ends values of indefinite length, and structures that are not marked as such.
        0 | 0x10 | 0x11 => false,
        BOOLEAN => value.len() == 1,
        INTEGER | 0x0a => match value {
            [] => false,
            [0, next, ..] => next & 0x80 != 0,
            [0xff, next, ..] => next & 0x80 == 0,
            _ => true,
        },
        BIT_STRING => value.first().is_some_and(|unused| *unused < 8),
        NULL => value.is_empty(),
        OID => is_object_identifier(value),
        // UniversalString and BMPString.
        0x1c => value.len().is_multiple_of(4),
        0x1e => value.len().is_multiple_of(2),
        SEQUENCE | SET => true,
        // Strings in parts.
        0x20..=0x3f => false,
        _ => true,
    }
}

pub(crate) fn is_object_identifier(value: &[u8]) -> bool {
    let mut starts = true;
    for byte in value {
        if starts && *byte == 0x80 {
            return false;
        }
        starts = byte & 0x80 == 0;
    }
    starts && !value.is_empty()
}

/// Reads an AlgorithmIdentifier: the object identifier, parameters or none, nothing else.
pub(crate) fn read_algorithm<'a>(identifier: &Tlv<'a>) -> Result<&'a [u8], Error> {
    const WHAT: &str = "algorithm";
    let mut fields = identifier.reader();
    let id = fields.expect(OID, WHAT)?.value;
    if !fields.is_empty() {
        fields.any(WHAT)?;
    }
    fields.finish(WHAT)?;
    Ok(id)
}

/// Tag, length of the header, length of the value.
fn header(bytes: &[u8]) -> Result<(u8, usize, usize), DerProblem> {
    let (&tag, rest) = bytes.split_first().ok_or(DerProblem::Truncated)?;
    if tag & 0x1f == 0x1f {
        return Err(DerProblem::HighTag);
    }
    let (&first, rest) = rest.split_first().ok_or(DerProblem::Truncated)?;
    if first < 0x80 {
        return Ok((tag, 2, first.into()));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(DerProblem::NotDer);
    }
    let digits = rest.get(..count).ok_or(DerProblem::Truncated)?;
    let len = digits
        .iter()
        .fold(0_u64, |len, byte| len << 8 | u64::from(*byte));
    if digits.first() == Some(&0) || len < 0x80 {
        return Err(DerProblem::NotDer);
    }
    let len = usize::try_from(len).map_err(|_| DerProblem::Truncated)?;
    Ok((tag, count.saturating_add(2), len))
}

/// The first element and what follows it.
pub(crate) fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, header, len) = header(bytes).ok()?;
    bytes.split_at_checked(header.checked_add(len)?)
}

/// A BOOLEAN; any value but 0 is true, as in BER.
pub(crate) fn boolean(tlv: &Tlv<'_>) -> bool {
    tlv.value.iter().any(|byte| *byte != 0)
}

/// A small non-negative INTEGER.
pub(crate) fn small(tlv: &Tlv<'_>) -> Option<u32> {
    let value = match tlv.value {
        [0, rest @ ..] if !rest.is_empty() => rest,
        [first, ..] if first & 0x80 != 0 => return None,
        value => value,
    };
    (value.len() <= 4 && !value.is_empty()).then(|| {
        value
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    })
}

/// Writes an element around the concatenation of `parts`.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(len.saturating_add(6));
    out.push(tag);
    let bytes = len.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            out.extend_from_slice(digits);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, parts)
}

pub(crate) fn oid(value: &[u8]) -> Vec<u8> {
    tlv(OID, &[value])
}

/// An AlgorithmIdentifier with NULL parameters.
pub(crate) fn algorithm(value: &[u8]) -> Vec<u8> {
    sequence(&[&oid(value), &[NULL, 0]])
}

/// The elements as a SET OF, in DER order.
pub(crate) fn set_of(tag: u8, mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    let parts: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    tlv(tag, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_trip() {
        for len in [0, 1, 127, 128, 255, 256, 65535, 65536] {
            let value = alloc::vec![7; len];
            let raw = tlv(OCTET_STRING, &[&value]);
            let mut reader = Reader::new(&raw);
            assert_eq!(reader.any("test").unwrap().value, &value);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn refuses_lengths_that_are_not_der() {
        let read = |bytes: &[u8]| Reader::new(bytes).any("test").unwrap_err().to_string();
        assert_eq!(
            read(&[0x30, 0x80, 0, 0]),
            "test at byte 0: its length is not in DER form"
        );
        assert_eq!(
            read(&[0x30, 0x81, 0x01, 0]),
            "test at byte 0: its length is not in DER form"
        );
        assert_eq!(
            read(&[0x30, 0x82, 0x00, 0x80]),
            "test at byte 0: its length is not in DER form"
        );
        assert_eq!(
            read(&[0x30, 0x85, 1, 0, 0, 0, 0]),
            "test at byte 0: its length is not in DER form"
        );
        assert_eq!(
            read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
            "test at byte 0: it is truncated"
        );
        assert_eq!(
            read(&[0x1f, 0x81, 0x01, 0]),
            "test at byte 0: its tag is too high"
        );
        assert_eq!(read(&[0x30]), "test at byte 0: it is truncated");
    }
}
