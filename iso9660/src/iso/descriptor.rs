//! Volume descriptors (ECMA-119 8).

use super::BLOCK_LEN;
use crate::Timestamp;
use crate::error::{Error, NameProblem};
use crate::field::Fields;

/// The texts of a volume.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) system: String,
    pub(crate) volume: String,
    pub(crate) volume_set: String,
    pub(crate) publisher: String,
    pub(crate) preparer: String,
    pub(crate) application: String,
}

impl Texts {
    /// Refuses what has no place in the primary descriptor.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (what, text, limit) in [
            ("system identifier", &self.system, 32),
            ("volume identifier", &self.volume, 32),
            ("volume set identifier", &self.volume_set, 128),
            ("publisher", &self.publisher, 128),
            ("preparer", &self.preparer, 128),
            ("application", &self.application, 128),
        ] {
            let problem = |reason| Error::Label {
                what,
                text: text.clone(),
                reason,
            };
            if let Some(found) = text.chars().find(|c| !(' '..='~').contains(c)) {
                return Err(problem(NameProblem::Character { found }));
            }
            if text.len() > limit {
                return Err(problem(NameProblem::TooLong { limit }));
            }
        }
        Ok(())
    }
}

/// A primary or supplementary descriptor.
pub(crate) struct Descriptor<'a> {
    pub(crate) is_joliet: bool,
    pub(crate) texts: &'a Texts,
    pub(crate) time: Timestamp,
    /// Blocks of the whole volume.
    pub(crate) blocks: u32,
    pub(crate) path_table_len: u32,
    pub(crate) path_table_l: u32,
    pub(crate) path_table_m: u32,
    /// The root's record, 34 bytes.
    pub(crate) root: &'a [u8],
}

impl Descriptor<'_> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Fields::new(BLOCK_LEN);
        out.put(0, &[if self.is_joliet { 2 } else { 1 }]);
        out.put(1, b"CD001\x01");
        self.text(&mut out, 8, 32, &self.texts.system);
        self.text(&mut out, 40, 32, &self.texts.volume);
        out.both32(80, self.blocks);
        if self.is_joliet {
            // UCS-2 level 3.
            out.put(88, b"%/E");
        }
        out.both16(120, 1);
        out.both16(124, 1);
        out.both16(128, 2048);
        out.both32(132, self.path_table_len);
        out.le(140, 4, u64::from(self.path_table_l));
        out.be32(148, self.path_table_m);
        out.put(156, self.root);
        self.text(&mut out, 190, 128, &self.texts.volume_set);
        self.text(&mut out, 318, 128, &self.texts.publisher);
        self.text(&mut out, 446, 128, &self.texts.preparer);
        self.text(&mut out, 574, 128, &self.texts.application);
        for file in [702, 739, 776] {
            self.text(&mut out, file, 37, "");
        }
        let time = self.time.long();
        out.put(813, &time);
        out.put(830, &time);
        // Not given: digits, not zero bytes.
        out.put(847, &[b'0'; 16]);
        out.put(864, &time);
        out.put(881, &[1]);
        out.into_bytes()
    }

    /// A text padded with spaces; in UCS-2 an odd last byte stays zero.
    fn text(&self, out: &mut Fields, offset: usize, len: usize, text: &str) {
        let units = text.encode_utf16().chain(std::iter::repeat(0x20));
        let bytes: Vec<u8> = if self.is_joliet {
            units.take(len / 2).flat_map(u16::to_be_bytes).collect()
        } else {
            units
                .take(len)
                .filter_map(|u| u8::try_from(u).ok())
                .collect()
        };
        out.put(offset, &bytes);
    }
}

/// The terminator (ECMA-119 8.3).
pub(crate) fn terminator() -> Vec<u8> {
    let mut out = Fields::new(BLOCK_LEN);
    out.put(0, b"\xFFCD001\x01");
    out.into_bytes()
}
