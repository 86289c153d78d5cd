//! As much DER as certificates and PKCS#7 need: elements with definite lengths.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// One element: its tag, its content, and all its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

/// The elements of a content, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn read(&mut self) -> Option<Element<'a>> {
        let [tag, first, after @ ..] = self.rest else {
            return None;
        };
        // Tags of several bytes occur in none of the structures that are read here.
        if *tag & 0x1f == 0x1f {
            return None;
        }
        let (length, header) = match first {
            0x00..=0x7f => (usize::from(*first), 2_usize),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let bytes = after.get(..count)?;
                let length = bytes.iter().try_fold(0_usize, |length, byte| {
                    length.checked_mul(256)?.checked_add(usize::from(*byte))
                })?;
                (length, count.checked_add(2)?)
            }
            _ => return None,
        };
        let (raw, rest) = self.rest.split_at_checked(header.checked_add(length)?)?;
        self.rest = rest;
        Some(Element {
            tag: *tag,
            content: raw.get(header..)?,
            raw,
        })
    }

    /// The next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.read().filter(|element| element.tag == tag)
    }

    /// The next element if it has this tag; otherwise nothing is read.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.expect(tag)?;
        *self = ahead;
        Some(element)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.read()
    }
}

impl<'a> Element<'a> {
    pub(super) const fn elements(&self) -> Elements<'a> {
        Elements::new(self.content)
    }
}

/// The one element that `bytes` start with, if it has this tag. Bytes behind it are padding of tables.
pub(super) fn first(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    Elements::new(bytes).expect(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_short_and_long_lengths() {
        let mut elements = Elements::new(&[0x02, 1, 7, 0x04, 0x81, 2, 8, 9, 0x30, 0]);
        assert_eq!(elements.read().unwrap().content, [7]);
        assert_eq!(elements.optional(INTEGER).map(|element| element.tag), None);
        assert_eq!(elements.expect(OCTET_STRING).unwrap().content, [8, 9]);
        assert!(elements.expect(SEQUENCE).unwrap().content.is_empty());
        assert!(elements.read().is_none());
    }

    #[test]
    fn refuses_lengths_beyond_the_bytes() {
        for bytes in [
            &[0x30][..],
            &[0x30, 1],
            &[0x30, 0x80],
            &[0x30, 0x84, 255, 255, 255, 255],
            &[0x1f, 1, 0],
        ] {
            assert!(Elements::new(bytes).read().is_none(), "{bytes:?}");
        }
    }
}
