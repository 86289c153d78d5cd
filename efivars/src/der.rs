//! Just enough DER to read and write what stands in authenticated variables, on slices: what is verified is never
//! encoded again.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::Error;

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

/// The constructed context tag of this number.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One element: where it stands, its tag, its content and all of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    pub(crate) raw: &'a [u8],
    offset: u64,
    header_len: u64,
}

impl<'a> Element<'a> {
    /// A reader over the content.
    pub(crate) const fn reader(self, what: &'static str) -> Reader<'a> {
        Reader {
            rest: self.value,
            offset: self.offset.saturating_add(self.header_len),
            what,
        }
    }
}

/// Walks over the elements of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: u64,
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            rest: bytes,
            offset: 0,
            what,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn error(&self) -> Error {
        Error::Der {
            what: self.what,
            offset: self.offset,
        }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever it is.
    pub(crate) fn any(&mut self) -> Result<Element<'a>, Error> {
        let (header, len) = header(self.rest).ok_or_else(|| self.error())?;
        let end = header.checked_add(len).ok_or_else(|| self.error())?;
        let raw = self.rest.get(..end).ok_or_else(|| self.error())?;
        let value = raw.get(header..).ok_or_else(|| self.error())?;
        let tag = self.peek().ok_or_else(|| self.error())?;
        let element = Element {
            tag,
            value,
            raw,
            offset: self.offset,
            header_len: header as u64,
        };
        self.rest = self.rest.get(end..).unwrap_or_default();
        self.offset = self.offset.saturating_add(end as u64);
        Ok(element)
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Error> {
        if self.peek() != Some(tag) {
            return Err(self.error());
        }
        self.any()
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Error> {
        if self.peek() == Some(tag) {
            self.any().map(Some)
        } else {
            Ok(None)
        }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.error())
        }
    }
}

/// Length of the header and of the content.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    // Tags above 30 do not occur in these formats.
    if tag & 0x1f == 0x1f {
        return None;
    }
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    // 0x80 is BER's indefinite form; five length bytes would be a terabyte.
    if count == 0 || count > 4 {
        return None;
    }
    let end = count.checked_add(2)?;
    let mut len = 0usize;
    for byte in bytes.get(2..end)? {
        len = len.checked_mul(256)?.checked_add(usize::from(*byte))?;
    }
    Some((end, len))
}

/// Writes one element with the given contents one after the other.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = parts
        .iter()
        .fold(0usize, |sum, part| sum.saturating_add(part.len()));
    let mut out = Vec::with_capacity(len.saturating_add(6));
    out.push(tag);
    let be = (len as u64).to_be_bytes();
    let short = be
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|first| be.get(first..))
        .unwrap_or(&[0]);
    match (short, u8::try_from(short.len())) {
        ([single], _) if *single < 0x80 => out.push(*single),
        (_, Ok(count)) => {
            out.push(0x80 | count);
            out.extend_from_slice(short);
        }
        // A u64 has eight bytes.
        (_, Err(_)) => {}
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may stop at a surprise")]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(SEQUENCE, &[]), [0x30, 0]);
        assert_eq!(element(SEQUENCE, &[&[0; 127]])[..2], [0x30, 127]);
        assert_eq!(element(SEQUENCE, &[&[0; 128]])[..3], [0x30, 0x81, 128]);
        assert_eq!(
            element(SEQUENCE, &[&[0; 200], &[0; 100]])[..4],
            [0x30, 0x82, 1, 44]
        );
        assert_eq!(
            element(SEQUENCE, &[&[0; 70_000]])[..5],
            [0x30, 0x83, 1, 0x11, 0x70]
        );
    }

    #[test]
    fn a_length_beyond_the_input_is_an_error_with_its_offset() {
        let mut reader = Reader::new(&[2, 1, 0, 0x30, 0x84, 0xff, 0xff, 0xff, 0xff], "test");
        reader.expect(INTEGER).unwrap();
        assert!(matches!(
            reader.any(),
            Err(Error::Der {
                what: "test",
                offset: 3
            })
        ));
    }

    #[test]
    fn indefinite_lengths_and_long_tags_are_refused() {
        assert!(Reader::new(&[0x30, 0x80, 0, 0], "test").any().is_err());
        assert!(Reader::new(&[0x1f, 0x81, 0, 0], "test").any().is_err());
        assert!(Reader::new(&[], "test").any().is_err());
    }
}
