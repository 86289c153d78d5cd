//! The headers of a laid-out image: the old ones with what has changed.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use crate::grow::{Room, first_raw};
use crate::headers::{CERTIFICATES, Headers, NX_COMPAT, SECTION_HEADER_LEN, Section, field};
use crate::layout::{low, round};
use crate::read_at::copy;
use crate::{Error, ReadAt, SectionName};

/// What goes into the new headers.
pub(crate) struct NewHeaders<'a> {
    pub(crate) old: &'a Headers,
    pub(crate) sections: &'a [Section],
    pub(crate) room: Room,
    pub(crate) initialized_len: u32,
    /// Where the last section ends in memory.
    pub(crate) image_end: u64,
    pub(crate) drops_symbols: bool,
    pub(crate) nx_compat: bool,
}

impl NewHeaders<'_> {
    /// The headers up to the end of the section table, or to where data started before.
    pub(crate) fn to_bytes(&self, source: &impl ReadAt) -> Result<Vec<u8>, Error> {
        let old = self.old;
        let table_len = |count: usize| (count as u64).saturating_mul(SECTION_HEADER_LEN);
        let end = old
            .table_offset
            .saturating_add(table_len(self.sections.len()));
        let len = end.max(first_raw(old).min(source.size()));
        let mut bytes = copy(source, "headers", 0, len.min(source.size()))?;
        bytes.resize(usize::try_from(len).unwrap_or(bytes.len()), 0);
        let mut fields = Fields {
            bytes,
            pe_offset: old.pe_offset,
        };
        let old_table = usize::try_from(table_len(old.sections.len())).unwrap_or_default();
        fields.put(old.table_offset, &vec![0; old_table]);
        for (index, section) in self.sections.iter().enumerate() {
            fields.put(
                old.table_offset.saturating_add(table_len(index)),
                &section.to_header(),
            );
        }
        let count = u16::try_from(self.sections.len()).unwrap_or(u16::MAX);
        fields.set(field::SECTIONS, &count.to_le_bytes());
        if self.drops_symbols {
            fields.set(field::SYMBOLS, &[0; 8]);
        } else if old.symbols != 0 {
            let moved = self.low(
                old.symbols.saturating_add(self.room.shift),
                "symbol table offset",
            )?;
            fields.set(field::SYMBOLS, &moved);
        }
        fields.set(field::INITIALIZED_LEN, &self.initialized_len.to_le_bytes());
        fields.set(field::CHECKSUM, &[0; 4]);
        fields.set(
            field::IMAGE_LEN,
            &self.low(
                round(self.image_end, old.section_alignment),
                "end in memory",
            )?,
        );
        fields.set(
            field::HEADERS_LEN,
            &self.low(self.room.headers_len, "headers")?,
        );
        let nx_mask = if self.nx_compat { u16::MAX } else { !NX_COMPAT };
        fields.set(
            field::DLL_CHARACTERISTICS,
            &(old.dll_characteristics & nx_mask).to_le_bytes(),
        );
        if old.directories.len() > CERTIFICATES {
            fields.put(self.directory(CERTIFICATES), &[0; 8]);
        }
        if self.room.rebase != 0 {
            self.rebase(&mut fields)?;
        }
        Ok(fields.bytes)
    }

    /// All that counts from the image base.
    fn rebase(&self, fields: &mut Fields) -> Result<(), Error> {
        let old = self.old;
        let moved =
            |value: u32| self.low(u64::from(value).saturating_add(self.room.rebase), "address");
        fields.set(field::ENTRY, &moved(old.entry)?);
        fields.set(field::BASE_OF_CODE, &moved(old.base_of_code)?);
        let base = old.image_base.saturating_sub(self.room.rebase);
        if old.is_plus {
            fields.set(field::IMAGE_BASE_64, &base.to_le_bytes());
        } else {
            fields.set(field::BASE_OF_DATA_32, &moved(old.base_of_data)?);
            fields.set(field::IMAGE_BASE_32, &self.low(base, "image base")?);
        }
        for (index, (address, len)) in old.directories.iter().enumerate() {
            if (*address, *len) != (0, 0) && index != CERTIFICATES {
                fields.put(self.directory(index), &moved(*address)?);
            }
        }
        Ok(())
    }

    fn directory(&self, index: usize) -> u64 {
        self.old
            .directories_offset
            .saturating_add((index as u64).saturating_mul(8))
    }

    fn low(&self, value: u64, what: &'static str) -> Result<[u8; 4], Error> {
        let last = self
            .sections
            .last()
            .map_or(SectionName::LINUX, |section| section.name);
        low(value, &last, what).map(u32::to_le_bytes)
    }
}

/// Headers in which fields are set.
struct Fields {
    bytes: Vec<u8>,
    pe_offset: u64,
}

impl Fields {
    fn set(&mut self, field: u64, bytes: &[u8]) {
        self.put(self.pe_offset.saturating_add(field), bytes);
    }

    /// Fields lie within the headers that were read; one that does not is left alone.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(place) = self.bytes.get_mut(start..start.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}
