//! The headers of a PE image: DOS header, COFF header, optional header, section table.
//!
//! Offsets are those of the Microsoft PE/COFF specification (revision of 2024). Read with the bounds of the file
//! only; whether addresses make sense is for [`crate::lint`] and the builder to say.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use alloc::vec::Vec;

use crate::profile_view::NameIndex;
use crate::read_at::copy;
use crate::{Error, Machine, ReadAt, SectionName};

pub(crate) const SECTION_HEADER_LEN: u64 = 40;
pub(crate) const COFF_LEN: u64 = 24;
/// Index of the certificate table among the data directories.
pub(crate) const CERTIFICATES: usize = 4;
/// Index of the base relocation table among the data directories.
pub(crate) const RELOCATIONS: usize = 5;
/// Index of the debug directory among the data directories.
pub(crate) const DEBUG: usize = 6;
pub(crate) const NX_COMPAT: u16 = 0x100;

/// Offsets of fields that are written again, relative to the `PE\0\0` signature.
pub(crate) mod field {
    pub(crate) const SECTIONS: u64 = 6;
    pub(crate) const SYMBOLS: u64 = 12;
    pub(crate) const INITIALIZED_LEN: u64 = 32;
    pub(crate) const ENTRY: u64 = 40;
    pub(crate) const BASE_OF_CODE: u64 = 44;
    pub(crate) const BASE_OF_DATA_32: u64 = 48;
    pub(crate) const IMAGE_BASE_64: u64 = 48;
    pub(crate) const IMAGE_BASE_32: u64 = 52;
    pub(crate) const IMAGE_LEN: u64 = 80;
    pub(crate) const HEADERS_LEN: u64 = 84;
    pub(crate) const CHECKSUM: u64 = 88;
    pub(crate) const DLL_CHARACTERISTICS: u64 = 94;
}

/// One entry of the section table.
///
/// # Examples
///
/// ```
/// # let image: &[u8] = include_bytes!("../tests/vectors/addon-stub.efi");
/// let uki = uki::Uki::parse(image)?;
/// let section = &uki.sections()[1];
/// assert_eq!((section.name().as_str(), section.virtual_len()), (".sdmagic", 0x28));
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Section {
    pub(crate) name: SectionName,
    pub(crate) virtual_len: u32,
    pub(crate) address: u32,
    pub(crate) raw_len: u32,
    pub(crate) raw_offset: u32,
    pub(crate) characteristics: u32,
    pub(crate) index: usize,
}

impl Section {
    pub(crate) const CODE: u32 = 0x20;
    pub(crate) const INITIALIZED: u32 = 0x40;
    pub(crate) const EXECUTE: u32 = 0x2000_0000;
    pub(crate) const READ: u32 = 0x4000_0000;
    pub(crate) const WRITE: u32 = 0x8000_0000;

    /// The name.
    #[must_use]
    pub fn name(&self) -> &SectionName {
        &self.name
    }

    /// The place in the section table.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// `VirtualSize`: how many bytes the stub sees and measures.
    #[must_use]
    pub fn virtual_len(&self) -> u64 {
        self.virtual_len.into()
    }

    /// `VirtualAddress`: where the section starts in memory, from the start of the image.
    #[must_use]
    pub fn virtual_address(&self) -> u64 {
        self.address.into()
    }

    /// `SizeOfRawData`: how many bytes the file holds, padding included.
    #[must_use]
    pub fn raw_len(&self) -> u64 {
        self.raw_len.into()
    }

    /// `PointerToRawData`: where they start in the file.
    #[must_use]
    pub fn raw_offset(&self) -> u64 {
        self.raw_offset.into()
    }

    /// The section's flags.
    #[must_use]
    pub fn characteristics(&self) -> u32 {
        self.characteristics
    }

    /// How many of the bytes that the stub sees come from the file.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.virtual_len.min(self.raw_len).into()
    }

    /// How many zero bytes the loader adds to what the file holds; the stub measures them.
    #[must_use]
    pub fn zero_fill(&self) -> u64 {
        self.virtual_len.saturating_sub(self.raw_len).into()
    }

    pub(crate) fn end(&self) -> u64 {
        self.virtual_address().saturating_add(self.virtual_len())
    }

    pub(crate) fn raw_end(&self) -> u64 {
        self.raw_offset().saturating_add(self.raw_len())
    }

    pub(crate) fn to_header(&self) -> [u8; 40] {
        let fields = [
            self.virtual_len,
            self.address,
            self.raw_len,
            self.raw_offset,
            0,
            0,
            0,
            self.characteristics,
        ];
        let bytes = self
            .name
            .header_bytes()
            .iter()
            .copied()
            .chain(fields.into_iter().flat_map(u32::to_le_bytes));
        let mut header = [0; 40];
        header
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = from);
        header
    }
}

/// What the headers of an image say.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    pub(crate) pe_offset: u64,
    pub(crate) machine: Machine,
    pub(crate) symbols: u64,
    pub(crate) symbol_count: u64,
    pub(crate) is_plus: bool,
    pub(crate) initialized_len: u32,
    pub(crate) entry: u32,
    pub(crate) base_of_code: u32,
    pub(crate) base_of_data: u32,
    pub(crate) image_base: u64,
    pub(crate) section_alignment: u64,
    pub(crate) file_alignment: u64,
    pub(crate) image_version: (u16, u16),

    pub(crate) image_len: u32,
    pub(crate) headers_len: u32,
    pub(crate) subsystem: u16,
    pub(crate) dll_characteristics: u16,
    /// Where the data directories start in the file.
    pub(crate) directories_offset: u64,
    /// Address and length of each data directory; the certificate table's address is a file offset.
    pub(crate) directories: Vec<(u32, u32)>,
    /// Where the section table starts in the file.
    pub(crate) table_offset: u64,
    pub(crate) sections: Vec<Section>,
    pub(crate) names: NameIndex,
}

impl Headers {
    pub(crate) fn read(source: &impl ReadAt) -> Result<Self, Error> {
        let dos = Block::read(source, "DOS header", 0, 64)?;
        dos.magic("MZ", b"MZ")?;
        let pe_offset = u64::from(dos.u32(0x3c));
        let coff = Block::read(source, "PE header", pe_offset, COFF_LEN)?;
        coff.magic("PE signature", b"PE\0\0")?;
        let optional_offset = coff.end();
        let optional_len = u64::from(coff.u16(20));
        let optional = Block::read(source, "optional header", optional_offset, optional_len)?;
        let is_plus = match optional.u16(0) {
            0x20b => true,
            0x10b => false,
            value => {
                return Err(bad_field(
                    "Magic",
                    optional_offset,
                    value.into(),
                    "0x20b (PE32+) or 0x10b (PE32)",
                ));
            }
        };
        let fixed_len = if is_plus { 112 } else { 96 };
        if optional_len < fixed_len {
            let offset = pe_offset.saturating_add(20);
            return Err(bad_field(
                "SizeOfOptionalHeader",
                offset,
                optional_len,
                "at least 96 (PE32) or 112 (PE32+)",
            ));
        }
        let count = u64::from(optional.u32(if is_plus { 108 } else { 92 }));
        let present = optional_len.saturating_sub(fixed_len) / 8;
        let directories = (0..count.min(present).min(16))
            .map(|index| {
                let at = usize::try_from(index.saturating_mul(8).saturating_add(fixed_len))
                    .unwrap_or(usize::MAX);
                (optional.u32(at), optional.u32(at.saturating_add(4)))
            })
            .collect();
        let table_offset = optional.end();
        let table_len = u64::from(coff.u16(6)).saturating_mul(SECTION_HEADER_LEN);
        let table = copy(source, "section table", table_offset, table_len)?;
        let sections: Vec<Section> = table
            .as_chunks::<40>()
            .0
            .iter()
            .enumerate()
            .map(|(index, bytes)| {
                let header = Block {
                    bytes: bytes.to_vec(),
                    offset: 0,
                };
                let (name, _) = bytes.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
                Section {
                    name: SectionName::from_header(*name),
                    virtual_len: header.u32(8),
                    address: header.u32(12),
                    raw_len: header.u32(16),
                    raw_offset: header.u32(20),
                    characteristics: header.u32(36),
                    index,
                }
            })
            .collect();
        let headers = Self {
            pe_offset,
            machine: Machine(coff.u16(4)),
            symbols: coff.u32(12).into(),
            symbol_count: coff.u32(16).into(),
            is_plus,
            initialized_len: optional.u32(8),
            entry: optional.u32(16),
            base_of_code: optional.u32(20),
            base_of_data: optional.u32(24),
            image_base: if is_plus {
                optional.u64(24)
            } else {
                optional.u32(28).into()
            },
            section_alignment: optional.u32(32).into(),
            file_alignment: optional.u32(36).into(),
            image_version: (optional.u16(44), optional.u16(46)),

            image_len: optional.u32(56),
            headers_len: optional.u32(60),
            subsystem: optional.u16(68),
            dll_characteristics: optional.u16(70),
            directories_offset: optional_offset.saturating_add(fixed_len),
            directories,
            table_offset,
            names: NameIndex::of(&sections),
            sections,
        };
        headers.check_alignment()?;
        headers.check_file(source.size())?;
        Ok(headers)
    }

    fn check_alignment(&self) -> Result<(), Error> {
        let fields = [
            ("SectionAlignment", 56, self.section_alignment),
            ("FileAlignment", 60, self.file_alignment),
        ];
        for (field, offset, value) in fields {
            if !value.is_power_of_two() {
                return Err(bad_field(
                    field,
                    self.pe_offset.saturating_add(offset),
                    value,
                    "a power of two",
                ));
            }
        }
        Ok(())
    }

    fn check_file(&self, size: u64) -> Result<(), Error> {
        for section in self.sections.iter().filter(|section| section.raw_len != 0) {
            if section.raw_end() > size {
                return Err(Error::SectionTruncated {
                    section: section.name,
                    offset: section.raw_offset(),
                    needed: section.raw_len(),
                    available: size.saturating_sub(section.raw_offset()),
                });
            }
        }
        let (offset, len) = self.certificates();
        if len != 0 && offset.saturating_add(len) > size {
            let available = size.saturating_sub(offset);
            return Err(Error::Truncated {
                what: "certificate table",
                offset,
                needed: len,
                available,
            });
        }
        Ok(())
    }

    /// File offset and length of the certificate table.
    pub(crate) fn certificates(&self) -> (u64, u64) {
        let (offset, len) = self.directory(CERTIFICATES);
        (offset.into(), len.into())
    }

    pub(crate) fn directory(&self, index: usize) -> (u32, u32) {
        self.directories.get(index).copied().unwrap_or_default()
    }

    /// The first section with these name bytes.
    pub(crate) fn section(&self, name: &SectionName) -> Option<&Section> {
        self.sections.iter().find(|section| section.name.same(name))
    }
}

fn bad_field(field: &'static str, offset: u64, value: u64, expected: &'static str) -> Error {
    Error::BadField {
        field,
        offset,
        value,
        expected,
    }
}

/// Bytes of one header. Fields beyond its end read as zero: lengths are checked once, where a block is made.
struct Block {
    bytes: Vec<u8>,
    offset: u64,
}

impl Block {
    fn read(
        source: &impl ReadAt,
        what: &'static str,
        offset: u64,
        len: u64,
    ) -> Result<Self, Error> {
        Ok(Self {
            bytes: copy(source, what, offset, len)?,
            offset,
        })
    }

    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }

    fn magic(&self, expected: &'static str, magic: &[u8]) -> Result<(), Error> {
        if self.bytes.starts_with(magic) {
            return Ok(());
        }
        Err(Error::BadMagic {
            expected,
            offset: self.offset,
            found: self.array(0),
        })
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<N>())
            .copied()
            .unwrap_or([0; N])
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}
