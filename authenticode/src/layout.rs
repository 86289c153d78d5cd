//! The headers of a PE image, as far as its digest depends on them.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::error::Error;

/// Where the PE header may start at most; firmware has no limit, real images stay below 4 KiB.
const MAX_PE_OFFSET: u64 = 0x10_0000;

/// A section header's fields that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: [u8; 8],
    pub(crate) virtual_size: u32,
    pub(crate) virtual_address: u32,
    pub(crate) raw_size: u32,
    pub(crate) raw_start: u32,
    pub(crate) relocations: u16,
    pub(crate) line_numbers: u16,
    pub(crate) relocations_start: u32,
    pub(crate) characteristics: u32,
}

impl Section {
    pub(crate) fn start(&self) -> u64 {
        u64::from(self.raw_start)
    }

    pub(crate) fn end(&self) -> u64 {
        u64::from(self.raw_start).saturating_add(u64::from(self.raw_size))
    }
}

/// The headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) pe_offset: u64,
    pub(crate) machine: u16,
    pub(crate) characteristics: u16,
    pub(crate) is_pe32_plus: bool,
    pub(crate) section_alignment: u32,
    pub(crate) headers_len: u64,
    pub(crate) checksum_offset: u64,
    pub(crate) checksum: u32,
    pub(crate) subsystem: u16,
    pub(crate) dll_characteristics: u16,
    /// Place of directory entry 4, if there is one.
    pub(crate) directory_offset: Option<u64>,
    pub(crate) table_offset: u64,
    pub(crate) table_len: u64,
    /// In the order of the section table.
    pub(crate) sections: Vec<Section>,
    /// Indexes of the sections with data, in file order (stable).
    pub(crate) in_file: Vec<usize>,
    /// SizeOfHeaders plus all sections' raw sizes.
    pub(crate) sum: u64,
}

/// What makes the specification's digest differ from hashing the file from front to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Irregularity {
    Gap { start: u64, end: u64 },
    Overlap { start: u64, previous_end: u64 },
    DataAfterTable { table_end: u64, file_end: u64 },
}

impl From<Irregularity> for Error {
    fn from(what: Irregularity) -> Self {
        match what {
            Irregularity::Gap { start, end } => Self::Gap { start, end },
            Irregularity::Overlap {
                start,
                previous_end,
            } => Self::Overlap {
                start,
                previous_end,
            },
            Irregularity::DataAfterTable {
                table_end,
                file_end,
            } => Self::DataAfterTable {
                table_end,
                file_end,
            },
        }
    }
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    let at = usize::try_from(at).ok()?;
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    let at = usize::try_from(at).ok()?;
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads `e_lfanew` from the first 64 bytes.
pub(crate) fn pe_offset(dos: &[u8; 64]) -> Result<u64, Error> {
    if !dos.starts_with(b"MZ") {
        return Err(Error::NotPe {
            what: "MZ",
            offset: 0,
        });
    }
    let offset = u64::from(u32_at(dos, 0x3c).unwrap_or_default());
    if !(64..=MAX_PE_OFFSET).contains(&offset) {
        return Err(Error::BadHeader {
            what: "the offset of the PE header",
            offset: 0x3c,
            value: offset,
            expected: "must be between 64 and 1 MiB",
        });
    }
    Ok(offset)
}

/// Bytes from the PE signature to the Magic of the optional header.
pub(crate) const COFF_LEN: usize = 26;

/// How long the header is from the PE signature to the end of the section table, told by its first [`COFF_LEN`] bytes.
pub(crate) fn header_len(pe_offset: u64, header: &[u8]) -> Result<u64, Error> {
    if !header.starts_with(b"PE\0\0") {
        return Err(Error::NotPe {
            what: "PE",
            offset: pe_offset,
        });
    }
    let sections = u64::from(u16_at(header, 6).unwrap_or_default());
    let optional = u64::from(u16_at(header, 20).unwrap_or_default());
    let magic = u16_at(header, 24).unwrap_or_default();
    let fixed = match magic {
        0x10b => 96,
        0x20b => 112,
        _ => {
            return Err(Error::BadHeader {
                what: "Magic",
                offset: pe_offset.saturating_add(24),
                value: magic.into(),
                expected: "must be 0x10b or 0x20b",
            });
        }
    };
    if optional < fixed {
        return Err(Error::BadHeader {
            what: "SizeOfOptionalHeader",
            offset: pe_offset.saturating_add(20),
            value: optional,
            expected: "must hold the standard fields",
        });
    }
    Ok(sections
        .saturating_mul(40)
        .saturating_add(optional)
        .saturating_add(24))
}

impl Layout {
    /// Reads the header that starts at `pe_offset`; `header` reaches to the end of the section table.
    pub(crate) fn parse(pe_offset: u64, header: &[u8]) -> Result<Self, Error> {
        const OPTIONAL: u64 = 24;
        let table_end = pe_offset.saturating_add(header_len(pe_offset, header)?);
        let word = |at| u16_at(header, at).unwrap_or_default();
        let long = |at| u32_at(header, at).unwrap_or_default();
        let bad = |what, at: u64, value: u64, expected| Error::BadHeader {
            what,
            offset: pe_offset.saturating_add(at),
            value,
            expected,
        };
        let is_pe32_plus = word(24) == 0x20b;
        let optional_len = u64::from(word(20));
        let fixed: u64 = if is_pe32_plus { 112 } else { 96 };
        let directories = u64::from(long(if is_pe32_plus { 132 } else { 116 }));
        if directories > 16 {
            return Err(bad(
                "NumberOfRvaAndSizes",
                fixed.saturating_add(20),
                directories,
                "must be at most 16",
            ));
        }
        if optional_len != fixed.saturating_add(directories.saturating_mul(8)) {
            return Err(bad(
                "SizeOfOptionalHeader",
                20,
                optional_len,
                "must fit the number of data directories",
            ));
        }
        let headers_len = u64::from(long(84));
        if headers_len < table_end {
            return Err(bad(
                "SizeOfHeaders",
                84,
                headers_len,
                "must include the section table",
            ));
        }
        if headers_len >= u64::from(long(80)) {
            return Err(bad(
                "SizeOfHeaders",
                84,
                headers_len,
                "must be less than SizeOfImage",
            ));
        }
        let directory =
            (directories > 4).then(|| OPTIONAL.saturating_add(fixed).saturating_add(32));
        let sections = read_sections(header, OPTIONAL.saturating_add(optional_len), word(6));
        let mut in_file: Vec<usize> = sections
            .iter()
            .enumerate()
            .filter(|(_, section)| section.raw_size != 0)
            .map(|(index, _)| index)
            .collect();
        in_file.sort_by_key(|index| sections.get(*index).map(|section| section.raw_start));
        let mut sum = headers_len;
        for section in in_file.iter().filter_map(|index| sections.get(*index)) {
            if section.start() < headers_len {
                return Err(Error::Overlap {
                    start: section.start(),
                    previous_end: headers_len,
                });
            }
            sum = sum.saturating_add(u64::from(section.raw_size));
        }
        Ok(Self {
            pe_offset,
            machine: word(4),
            characteristics: word(22),
            is_pe32_plus,
            section_alignment: long(56),
            headers_len,
            checksum_offset: pe_offset.saturating_add(88),
            checksum: long(88),
            subsystem: word(92),
            dll_characteristics: word(94),
            directory_offset: directory.map(|at| pe_offset.saturating_add(at)),
            table_offset: directory.map_or(0, long).into(),
            table_len: directory.map_or(0, |at| long(at.saturating_add(4))).into(),
            sections,
            in_file,
            sum,
        })
    }

    /// Reads the headers of an image in memory.
    pub(crate) fn of(image: &[u8]) -> Result<Self, Error> {
        let available = u64::try_from(image.len()).unwrap_or(u64::MAX);
        let truncated = |what, offset, needed| Error::Truncated {
            what,
            offset,
            needed,
            available,
        };
        let dos = image.first_chunk().ok_or(truncated("DOS header", 0, 64))?;
        let start = pe_offset(dos)?;
        let header = usize::try_from(start).ok().and_then(|at| image.get(at..));
        let header = header.ok_or(truncated("PE header", start, 26))?;
        let coff = u64::try_from(COFF_LEN).unwrap_or_default();
        if header.len() < COFF_LEN {
            return Err(truncated("PE header", start, coff));
        }
        let len = header_len(start, header)?;
        let header = usize::try_from(len).ok().and_then(|len| header.get(..len));
        let layout = Self::parse(start, header.ok_or(truncated("PE header", start, len))?)?;
        layout.check(available)?;
        Ok(layout)
    }

    /// Sections with data, in file order.
    pub(crate) fn in_file_order(&self) -> impl Iterator<Item = &Section> {
        self.in_file
            .iter()
            .filter_map(|index| self.sections.get(*index))
    }

    /// Firmware takes an image as unsigned if directory 4 is missing or its size is 0.
    pub(crate) const fn is_signed(&self) -> bool {
        self.table_len != 0
    }

    pub(crate) fn table_end(&self) -> u64 {
        self.table_offset.saturating_add(self.table_len)
    }

    /// End of what a front-to-back digest covers.
    pub(crate) fn content_end(&self, file_len: u64) -> u64 {
        if self.is_signed() {
            self.table_offset
        } else {
            file_len
        }
    }

    /// Checks what depends on the file's length.
    pub(crate) fn check(&self, file_len: u64) -> Result<(), Error> {
        let inside = |what, offset: u64, end: u64| {
            if end <= file_len {
                return Ok(());
            }
            let needed = end.saturating_sub(offset);
            Err(Error::Truncated {
                what,
                offset,
                needed,
                available: file_len.saturating_sub(offset),
            })
        };
        inside("headers", 0, self.headers_len)?;
        for section in self.in_file_order() {
            inside("section", section.start(), section.end())?;
        }
        if self.is_signed() {
            inside("certificate table", self.table_offset, self.table_end())?;
        }
        Ok(())
    }

    /// The first thing that makes the two rules differ, if any.
    pub(crate) fn irregularity(&self, file_len: u64) -> Option<Irregularity> {
        let mut at = self.headers_len;
        for section in self.in_file_order() {
            let start = section.start();
            if start > at {
                return Some(Irregularity::Gap {
                    start: at,
                    end: start,
                });
            }
            if start < at {
                return Some(Irregularity::Overlap {
                    start,
                    previous_end: at,
                });
            }
            at = section.end();
        }
        if self.is_signed() {
            if self.table_offset < at {
                return Some(Irregularity::Overlap {
                    start: self.table_offset,
                    previous_end: at,
                });
            }
            if self.table_end() != file_len {
                return Some(Irregularity::DataAfterTable {
                    table_end: self.table_end(),
                    file_end: file_len,
                });
            }
        }
        None
    }

    /// The file ranges of the specification's digest after the headers, in hashing order.
    pub(crate) fn ranges_after_headers(&self, file_len: u64) -> Result<Vec<(u64, u64)>, Error> {
        if self.sum > file_len.saturating_mul(4) {
            return Err(Error::ExcessiveOverlap {
                sum: self.sum,
                file_len,
            });
        }
        let mut ranges: Vec<(u64, u64)> = self
            .in_file_order()
            .map(|section| (section.start(), section.end()))
            .collect();
        if file_len > self.sum {
            let covered = self.sum.saturating_add(self.table_len);
            if covered > file_len {
                return Err(Error::Overlap {
                    start: self.table_offset,
                    previous_end: self.sum,
                });
            }
            ranges.push((self.sum, file_len.saturating_sub(self.table_len)));
        }
        Ok(ranges)
    }
}

fn read_sections(header: &[u8], start: u64, count: u16) -> Vec<Section> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let table = header.get(start..).unwrap_or_default();
    table
        .chunks_exact(40)
        .take(count.into())
        .map(|row| Section {
            name: row.first_chunk().copied().unwrap_or_default(),
            virtual_size: u32_at(row, 8).unwrap_or_default(),
            virtual_address: u32_at(row, 12).unwrap_or_default(),
            raw_size: u32_at(row, 16).unwrap_or_default(),
            raw_start: u32_at(row, 20).unwrap_or_default(),
            relocations_start: u32_at(row, 24).unwrap_or_default(),
            relocations: u16_at(row, 32).unwrap_or_default(),
            line_numbers: u16_at(row, 34).unwrap_or_default(),
            characteristics: u32_at(row, 36).unwrap_or_default(),
        })
        .collect()
}
