//! The entries of a FAT directory.

use crate::Timestamp;
use crate::input::{array, byte, le16, le32};

pub(crate) const READ_ONLY: u8 = 0x01;
pub(crate) const LABEL: u8 = 0x08;
pub(crate) const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0F;

/// The upper half of code page 850, which mtools and Windows in Europe use for short names. It has
/// letters where others have lines of boxes, which stand in no name.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{AD}±‗¾¶§÷¸°¨·¹³²■\u{A0}";

/// An entry with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    /// The long name, or the short one when there is none.
    pub(crate) name: String,
    /// The eight and three bytes as text.
    pub(crate) short_name: String,
    pub(crate) attributes: u8,
    pub(crate) cluster: u64,
    pub(crate) len: u64,
    pub(crate) modified: Option<Timestamp>,
    /// Offset within the directory.
    pub(crate) at: u64,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<RawEntry>,
    /// The label, if it is here.
    pub(crate) label: Option<String>,
    /// Parts of long names that belong to no entry.
    pub(crate) orphans: u64,
    /// It has the entries of itself and its parent.
    pub(crate) dots: u8,
    /// Those have long names, which no reader expects.
    pub(crate) named_dots: bool,
}

/// The parts of a long name that were read.
#[derive(Debug, Default)]
struct LongName {
    units: Vec<u16>,
    checksum: u8,
    /// The number of the part that must follow; 0 when the name is whole.
    expected: Option<u8>,
}

impl Entries {
    /// Reads a directory; the high half of cluster numbers counts in FAT32 only.
    pub(crate) fn parse(bytes: &[u8], is_32: bool) -> Self {
        let mut out = Self::default();
        let mut long = LongName::default();
        for (index, record) in bytes.chunks_exact(32).enumerate() {
            let attributes = byte(record, 11) & 0x3F;
            match byte(record, 0) {
                0 => break,
                0xE5 => out.orphans = out.orphans.saturating_add(long.drop_parts()),
                _ if attributes == LONG_NAME => {
                    out.orphans = out.orphans.saturating_add(long.add(record));
                }
                _ => {
                    let at = (index as u64).saturating_mul(32);
                    out.short(record, at, is_32, &mut long);
                }
            }
        }
        out.orphans = out.orphans.saturating_add(long.drop_parts());
        out
    }

    fn short(&mut self, record: &[u8], at: u64, is_32: bool, long: &mut LongName) {
        let raw: [u8; 11] = array(record, 0).unwrap_or([b' '; 11]);
        let attributes = byte(record, 11) & 0x3F;
        let had_parts = long.expected.is_some();
        let name = long.take(checksum(&raw));
        if had_parts && name.is_none() {
            self.orphans = self.orphans.saturating_add(1);
        }
        if raw.starts_with(b".       ") || raw.starts_with(b"..      ") {
            self.dots = self.dots.saturating_add(1);
            self.named_dots |= had_parts;
            return;
        }
        if attributes & LABEL != 0 {
            self.label.get_or_insert_with(|| label(&raw));
            return;
        }
        let short_name = short_name(&raw, byte(record, 12));
        let high = if is_32 { le16(record, 20) } else { 0 };
        self.entries.push(RawEntry {
            name: name.unwrap_or_else(|| short_name.clone()),
            short_name,
            attributes,
            cluster: u64::from(high) << 16 | u64::from(le16(record, 26)),
            len: u64::from(le32(record, 28)),
            modified: time(le16(record, 24), le16(record, 22)),
            at,
        });
    }
}

impl LongName {
    /// Forgets what was read; answers 1 when that was something.
    fn drop_parts(&mut self) -> u64 {
        u64::from(std::mem::take(self).expected.is_some())
    }

    /// Adds a part; answers the count of names that are lost by it.
    fn add(&mut self, record: &[u8]) -> u64 {
        let number = byte(record, 0);
        let sum = byte(record, 13);
        let mut lost = 0;
        if number & 0x40 != 0 {
            lost = self.drop_parts();
            self.expected = Some(number & 0x3F);
            self.checksum = sum;
        }
        let number = number & 0x3F;
        let fits = self.expected == Some(number) && self.checksum == sum;
        if !fits || !(1..=20).contains(&number) {
            return self.drop_parts().max(1);
        }
        let fields = (1..11usize).chain(14..26).chain(28..32).step_by(2);
        let mut units: Vec<u16> = fields
            .map(|at| le16(record, at))
            .take_while(|&unit| unit != 0)
            .collect();
        units.append(&mut self.units);
        self.units = units;
        self.expected = Some(number.saturating_sub(1));
        lost
    }

    /// The name, if it is whole and belongs to the short name with this checksum.
    fn take(&mut self, sum: u8) -> Option<String> {
        let long = std::mem::take(self);
        let is_whole = long.expected == Some(0) && long.checksum == sum && !long.units.is_empty();
        is_whole.then(|| String::from_utf16_lossy(&long.units))
    }
}

/// The checksum of a short name that the parts of its long name carry.
pub(crate) fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0u8, |sum, &byte| sum.rotate_right(1).wrapping_add(byte))
}

fn character(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => char::from(byte),
        Some(index) => CODE_PAGE
            .chars()
            .nth(usize::from(index))
            .unwrap_or('\u{FFFD}'),
    }
}

fn text(bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|&byte| character(byte)).collect();
    text.trim_end_matches(' ').to_owned()
}

/// A label in the form of a short name.
pub(crate) fn label(raw: &[u8; 11]) -> String {
    text(raw)
}

fn short_name(raw: &[u8; 11], case: u8) -> String {
    let mut raw = *raw;
    // 0xE5 marks a deleted entry, so a name that begins with it is written with this.
    if let [first @ 0x05, ..] = &mut raw {
        *first = 0xE5;
    }
    let (base, extension) = raw.split_at(8);
    let part = |bytes: &[u8], is_lower: bool| {
        let text = text(bytes);
        if is_lower { text.to_lowercase() } else { text }
    };
    let (base, extension) = (
        part(base, case & 0x08 != 0),
        part(extension, case & 0x10 != 0),
    );
    if extension.is_empty() {
        base
    } else {
        format!("{base}.{extension}")
    }
}

/// Date and time of an entry; none when they are no date.
fn time(date: u16, time: u16) -> Option<Timestamp> {
    let small = |value: u16| u8::try_from(value).unwrap_or(0);
    let (year, month, day) = (date >> 9, small(date >> 5 & 0x0F), small(date & 0x1F));
    let (hour, minute, second) = (
        small(time >> 11),
        small(time >> 5 & 0x3F),
        small(time & 0x1F).saturating_mul(2),
    );
    let is_date = (1..=12).contains(&month) && day != 0;
    let is_time = hour < 24 && minute < 60 && second < 60;
    (is_date && is_time).then(|| {
        let year = i64::from(year).saturating_add(1980);
        Timestamp::from_civil((year, month, day), (hour, minute, second))
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "tests stop at the first surprise"
    )]
    use super::*;

    fn short(name: &[u8; 11], attributes: u8, case: u8) -> Vec<u8> {
        let mut out = vec![0; 32];
        out[..11].copy_from_slice(name);
        out[11] = attributes;
        out[12] = case;
        out
    }

    fn long(number: u8, sum: u8, units: &[u16]) -> Vec<u8> {
        let mut out = vec![0xFF; 32];
        out[0] = number;
        out[11] = LONG_NAME;
        out[12] = 0;
        out[13] = sum;
        let mut units = units.to_vec();
        units.push(0);
        let fields = (1..11usize).chain(14..26).chain(28..32).step_by(2);
        for (at, unit) in fields.zip(units) {
            out[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        out[26..28].copy_from_slice(&[0, 0]);
        out
    }

    fn names(records: &[Vec<u8>]) -> (Vec<String>, u64) {
        let out = Entries::parse(&records.concat(), true);
        let names = out.entries.into_iter().map(|entry| entry.name);
        (names.collect(), out.orphans)
    }

    #[test]
    fn joins_the_parts_of_a_long_name() {
        let raw = b"ALONGN~1TXT";
        let sum = checksum(raw);
        let units: Vec<u16> = "a long name 😀.txt".encode_utf16().collect();
        let records = [
            long(0x42, sum, &units[13..]),
            long(0x01, sum, &units[..13]),
            short(raw, 0x20, 0),
        ];
        assert_eq!(names(&records), (vec!["a long name 😀.txt".to_owned()], 0));
    }

    #[test]
    fn a_long_name_of_another_entry_is_left_out() {
        let raw = b"REAL    TXT";
        let units: Vec<u16> = "other".encode_utf16().collect();
        let records = [
            long(0x41, checksum(raw).wrapping_add(1), &units),
            short(raw, 0, 0),
        ];
        assert_eq!(names(&records), (vec!["REAL.TXT".to_owned()], 1));
    }

    #[test]
    fn parts_out_of_order_and_behind_deleted_entries_are_left_out() {
        let raw = b"REAL    TXT";
        let sum = checksum(raw);
        let units: Vec<u16> = "x".encode_utf16().collect();
        let mut deleted = short(raw, 0, 0);
        deleted[0] = 0xE5;
        for records in [
            vec![long(0x43, sum, &units), long(0x01, sum, &units)],
            vec![long(0x01, sum, &units)],
            vec![long(0x41, sum, &units), deleted],
            vec![long(0x55, sum, &units)],
            vec![long(0x40, sum, &units)],
        ] {
            let mut records = records;
            records.push(short(raw, 0, 0));
            let (found, orphans) = names(&records);
            assert_eq!(found, ["REAL.TXT"]);
            assert!(orphans > 0);
        }
    }

    #[test]
    fn short_names_have_case_bits_and_a_code_page() {
        assert_eq!(short_name(b"BOOTX64 EFI", 0x18), "bootx64.efi");
        assert_eq!(short_name(b"BOOTX64 EFI", 0x08), "bootx64.EFI");
        assert_eq!(short_name(b"NOEXT      ", 0), "NOEXT");
        assert_eq!(short_name(b"\x05\x9AX     A  ", 0), "ÕÜX.A");
        assert_eq!(CODE_PAGE.chars().count(), 128);
    }

    #[test]
    fn dates_that_do_not_exist_are_none() {
        assert_eq!(time(0, 0), None);
        assert_eq!(time(0x21, 0), Some(Timestamp::default()));
        assert_eq!(time(0x21, 0xFFFF), None);
    }
}
