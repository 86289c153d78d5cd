//! From a list of wanted sections to a laid-out image.

#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::grow::{Patches, Room, first_raw};
use crate::headers::{CERTIFICATES, Headers, SECTION_HEADER_LEN, Section, field};
use crate::plan::{Content, Plan, Segment};
use crate::read_at::copy;
use crate::source::SourceAt;
use crate::{Error, ReadAt, SectionName, Source, StubId};

/// A section of the image to be made.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// A section of the old image as it is.
    Kept(usize),
    /// A section of the old image with other content.
    Replaced(usize, Content, u64),
    /// A section that the old image does not have.
    New(SectionName, Content, u64),
}

/// The image that is built upon: a stub, or a UKI to be edited.
pub(crate) struct Base<'a> {
    pub(crate) source: &'a Source,
    pub(crate) headers: &'a Headers,
    pub(crate) stub: &'a StubId,
    /// How many of its sections must stay at their addresses.
    pub(crate) fixed: usize,
    /// Where the file ends, a symbol table or certificates that are left out not counted.
    pub(crate) end: u64,
    /// Whether a symbol table was left out.
    pub(crate) drop_symbols: bool,
}

impl Base<'_> {
    /// Lays the sections out in the given order.
    pub(crate) fn assemble(&self, slots: &[Slot], nx_compat: bool) -> Result<Plan, Error> {
        let count = slots.len();
        if count > usize::from(u16::MAX) {
            return Err(Error::TooManySections { count });
        }
        self.check_order()?;
        let table_end = self
            .headers
            .table_offset
            .saturating_add((count as u64).saturating_mul(SECTION_HEADER_LEN));
        let room = Room::find(self.headers, table_end)?;
        let source = SourceAt::new(self.source)?;
        self.check_header_padding(&source, table_end)?;
        let mut layout = Layout {
            base: self,
            patches: room.patches(self.headers, &source)?,
            room,
            sections: Vec::with_capacity(count),
            segments: Vec::new(),
            cursor: first_raw(self.headers).saturating_add(room.shift),
            end: 0,
            is_moved: false,
            payload_len: 0,
        };
        for (place, slot) in slots.iter().enumerate() {
            layout.slot(slot)?;
            if place.saturating_add(1) == self.fixed_slots(slots) {
                layout.trailer();
            }
        }
        layout.pad();
        let header = layout.header(&source, nx_compat)?;
        let len = header.len() as u64;
        let padding = first_raw(self.headers)
            .saturating_add(room.shift)
            .saturating_sub(len);
        let mut segments = vec![
            Segment {
                content: Content::Bytes(header),
                len,
                section: None,
            },
            Segment {
                content: Content::Zeros,
                len: padding,
                section: None,
            },
        ];
        segments.append(&mut layout.segments);
        segments.retain(|segment| segment.len != 0);
        Ok(Plan {
            stub: self.stub.clone(),
            sections: layout.sections,
            segments,
            len: layout.cursor,
        })
    }

    fn fixed_slots(&self, slots: &[Slot]) -> usize {
        let is_fixed = |slot: &Slot| matches!(slot, Slot::Kept(index) | Slot::Replaced(index, ..) if *index < self.fixed);
        slots
            .iter()
            .rposition(is_fixed)
            .map_or(0, |last| last.saturating_add(1))
    }

    /// Raw data must follow the order of the table, or it could not be moved as a whole.
    fn check_order(&self) -> Result<(), Error> {
        let mut before: Option<&Section> = None;
        for section in self
            .headers
            .sections
            .iter()
            .filter(|section| section.raw_len != 0)
        {
            let overlapped = before.filter(|before| before.raw_end() > section.raw_offset());
            if let Some(before) = overlapped {
                return Err(Error::SectionOverlap {
                    first: before.name,
                    second: section.name,
                    place: "in the file",
                });
            }
            before = Some(section);
        }
        Ok(())
    }

    /// What the longer section table will cover must be padding.
    fn check_header_padding(&self, source: &impl ReadAt, table_end: u64) -> Result<(), Error> {
        let old_len = (self.headers.sections.len() as u64).saturating_mul(SECTION_HEADER_LEN);
        let start = self.headers.table_offset.saturating_add(old_len);
        let end = table_end.min(first_raw(self.headers)).max(start);
        let padding = copy(source, "header padding", start, end.saturating_sub(start))?;
        if padding.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let reason = "data stands between the section table and the first section";
        Err(Error::NoHeaderRoom {
            needed: table_end,
            available: start,
            reason,
        })
    }
}

struct Layout<'a, 'b> {
    base: &'a Base<'b>,
    room: Room,
    patches: Patches,
    sections: Vec<Section>,
    segments: Vec<Segment>,
    /// The end of the file so far.
    cursor: u64,
    /// The end of the image in memory so far.
    end: u64,
    /// Whether something before has another size than in the old image.
    is_moved: bool,
    /// `VirtualSize` of all sections that are not the stub's.
    payload_len: u64,
}

impl Layout<'_, '_> {
    fn slot(&mut self, slot: &Slot) -> Result<(), Error> {
        match slot {
            Slot::Kept(index) => self.kept(*index)?,
            Slot::Replaced(index, content, len) => self.replaced(*index, content, *len)?,
            Slot::New(name, content, len) => {
                let flags = if name.same(&SectionName::LINUX) {
                    Section::CODE
                } else {
                    Section::INITIALIZED
                };
                self.is_moved |= self.sections.len() < self.base.headers.sections.len();
                self.place(*name, flags | Section::READ, content, *len)?;
            }
        }
        if !matches!(slot, Slot::Kept(index) | Slot::Replaced(index, ..) if *index < self.base.fixed)
        {
            let len = self.sections.last().map_or(0, Section::virtual_len);
            self.payload_len = self.payload_len.saturating_add(len);
        }
        Ok(())
    }

    fn old(&self, index: usize) -> Result<&Section, Error> {
        let count = self.base.headers.sections.len();
        self.base
            .headers
            .sections
            .get(index)
            .ok_or(Error::TooManySections { count })
    }

    fn kept(&mut self, index: usize) -> Result<(), Error> {
        let old = self.old(index)?.clone();
        let skipped = self.sections.len() != index;
        self.is_moved |= skipped;
        let content = Content::Source(self.base.source.clone(), old.raw_offset(), false);
        if index >= self.base.fixed && self.is_moved {
            self.check_movable(&old)?;
            // VirtualSize beyond the raw data: the zeros go into the file now.
            if old.zero_fill() == 0 {
                return self.place(old.name, old.characteristics, &content, old.virtual_len());
            }
        }
        let gap_start = self.gap_start(index);
        if old.raw_len != 0 && !skipped && !(index >= self.base.fixed && self.is_moved) {
            self.copy_base(gap_start, old.raw_offset());
        }
        self.pad();
        let address = self.address(&old, index)?;
        let new = Section {
            address,
            raw_offset: if old.raw_len == 0 {
                old.raw_offset
            } else {
                self.cursor32(&old.name)?
            },
            raw_len: low(
                round(old.raw_len(), self.base.headers.file_alignment),
                &old.name,
                "file size",
            )?,
            index: self.sections.len(),
            ..old.clone()
        };
        let here = Some(self.sections.len());
        let start = old.raw_offset();
        let file_end = start.saturating_add(old.file_len());
        self.copy_base_as(start, file_end, here);
        self.copy_base(file_end, old.raw_end());
        if old.zero_fill() != 0 {
            self.segments.push(Segment {
                content: Content::ZeroFill,
                len: old.zero_fill(),
                section: here,
            });
        }
        self.pad();
        self.push(new)
    }

    fn replaced(&mut self, index: usize, content: &Content, len: u64) -> Result<(), Error> {
        let old = self.old(index)?.clone();
        self.is_moved |= self.sections.len() != index;
        if index >= self.base.fixed {
            let same_address = !self.is_moved;
            let rounded = |len: u64| round(len, self.base.headers.file_alignment);
            let memory = |len: u64| round(len, self.base.headers.section_alignment);
            if same_address {
                let gap_start = self.gap_start(index);
                self.copy_base(gap_start, old.raw_offset());
                self.is_moved = rounded(len) != rounded(old.raw_len())
                    || memory(len) != memory(old.virtual_len());
            }
            let address = if same_address {
                Some(self.address(&old, index)?)
            } else {
                None
            };
            return self.place_at(old.name, old.characteristics, content, len, address);
        }
        // Within the stub: same place, same room (the caller has checked that the content fits).
        let gap_start = self.gap_start(index);
        self.copy_base(gap_start, old.raw_offset());
        self.pad();
        let new = Section {
            address: self.address(&old, index)?,
            raw_offset: self.cursor32(&old.name)?,
            raw_len: low(
                round(old.raw_len(), self.base.headers.file_alignment),
                &old.name,
                "file size",
            )?,
            virtual_len: low(len, &old.name, "size")?,
            index: self.sections.len(),
            ..old
        };
        self.segments.push(Segment {
            content: content.clone(),
            len,
            section: Some(self.sections.len()),
        });
        self.cursor = self.cursor.saturating_add(len);
        self.zeros(new.raw_len().saturating_sub(len));
        self.push(new)
    }

    /// A section after all others, in the file and in memory.
    fn place(
        &mut self,
        name: SectionName,
        characteristics: u32,
        content: &Content,
        len: u64,
    ) -> Result<(), Error> {
        self.place_at(name, characteristics, content, len, None)
    }

    fn place_at(
        &mut self,
        name: SectionName,
        characteristics: u32,
        content: &Content,
        len: u64,
        address: Option<u32>,
    ) -> Result<(), Error> {
        self.pad();
        let next = round(self.end, self.base.headers.section_alignment);
        let new = Section {
            name,
            virtual_len: low(len, &name, "size")?,
            address: address.map_or_else(|| low(next, &name, "address"), Ok)?,
            raw_len: low(
                round(len, self.base.headers.file_alignment),
                &name,
                "file size",
            )?,
            raw_offset: self.cursor32(&name)?,
            characteristics,
            index: self.sections.len(),
        };
        self.segments.push(Segment {
            content: content.clone(),
            len,
            section: Some(new.index),
        });
        self.cursor = self.cursor.saturating_add(len);
        self.pad();
        self.push(new)
    }

    fn push(&mut self, section: Section) -> Result<(), Error> {
        low(self.cursor, &section.name, "end in the file")?;
        self.end = self.end.max(section.end());
        low(
            round(self.end, self.base.headers.section_alignment),
            &section.name,
            "end in memory",
        )?;
        self.sections.push(section);
        Ok(())
    }

    /// The address of a section that stays where it was.
    fn address(&self, old: &Section, index: usize) -> Result<u32, Error> {
        let address = old.virtual_address().saturating_add(self.room.rebase);
        if index >= self.base.fixed && address < self.end && old.virtual_len != 0 {
            let first = self.sections.last().map_or(old.name, |before| before.name);
            return Err(Error::SectionOverlap {
                first,
                second: old.name,
                place: "in memory",
            });
        }
        low(address, &old.name, "address")
    }

    fn check_movable(&self, section: &Section) -> Result<(), Error> {
        let immovable = |reason| {
            Err(Error::Immovable {
                section: section.name,
                reason,
            })
        };
        let headers = self.base.headers;
        let holds =
            |address: u32| (section.virtual_address()..section.end()).contains(&u64::from(address));
        if section.characteristics & (Section::EXECUTE | Section::WRITE) != 0
            || holds(headers.entry)
        {
            return immovable("it holds code or variables of the stub");
        }
        let directories = headers
            .directories
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != CERTIFICATES);
        if directories
            .into_iter()
            .any(|(_, (address, len))| *len != 0 && holds(*address))
        {
            return immovable("a data directory points into it");
        }
        Ok(())
    }

    /// Where the data before a section of the old image ends.
    fn gap_start(&self, index: usize) -> u64 {
        let before = self
            .base
            .headers
            .sections
            .iter()
            .take(index)
            .filter(|section| section.raw_len != 0);
        before
            .map(Section::raw_end)
            .max()
            .unwrap_or_else(|| first_raw(self.base.headers))
    }

    /// What stands behind the last section of the old image.
    fn trailer(&mut self) {
        let start = self.gap_start(self.base.headers.sections.len());
        self.copy_base(start, self.base.end);
    }

    fn copy_base(&mut self, start: u64, end: u64) {
        self.copy_base_as(start, end, None);
    }

    /// Copies bytes of the old image, patches applied.
    fn copy_base_as(&mut self, mut start: u64, end: u64, section: Option<usize>) {
        let inside = |patch: &&(u64, Vec<u8>)| patch.0 >= start && patch.0 < end;
        let mut patches: Vec<_> = self.patches.iter().filter(inside).cloned().collect();
        patches.sort();
        for (offset, bytes) in patches {
            self.copy_range(start, offset, section);
            let len = (bytes.len() as u64).min(end.saturating_sub(offset));
            self.segments.push(Segment {
                content: Content::Bytes(bytes),
                len,
                section,
            });
            self.cursor = self.cursor.saturating_add(len);
            start = offset.saturating_add(len);
        }
        self.copy_range(start, end, section);
    }

    fn copy_range(&mut self, start: u64, end: u64, section: Option<usize>) {
        let len = end.saturating_sub(start);
        let content = Content::Source(self.base.source.clone(), start, false);
        self.segments.push(Segment {
            content,
            len,
            section,
        });
        self.cursor = self.cursor.saturating_add(len);
    }

    /// Fills up to the file alignment.
    fn pad(&mut self) {
        self.zeros(
            round(self.cursor, self.base.headers.file_alignment).saturating_sub(self.cursor),
        );
    }

    fn zeros(&mut self, len: u64) {
        self.segments.push(Segment {
            content: Content::Zeros,
            len,
            section: None,
        });
        self.cursor = self.cursor.saturating_add(len);
    }

    fn cursor32(&self, name: &SectionName) -> Result<u32, Error> {
        low(self.cursor, name, "file offset")
    }

    /// The headers of the new image, up to the end of the section table or to where data started before.
    fn header(&self, source: &impl ReadAt, nx_compat: bool) -> Result<Vec<u8>, Error> {
        let old = self.base.headers;
        let table_len = (self.sections.len() as u64).saturating_mul(SECTION_HEADER_LEN);
        let end = old.table_offset.saturating_add(table_len);
        let kept = end.max(first_raw(old).min(source.size()));
        let mut header = copy(source, "headers", 0, kept.min(source.size()))?;
        header.resize(usize::try_from(kept).unwrap_or(header.len()), 0);
        let mut put = |offset: u64, bytes: &[u8]| {
            let place = usize::try_from(offset)
                .ok()
                .and_then(|at| header.get_mut(at..at.saturating_add(bytes.len())));
            if let Some(place) = place {
                place.copy_from_slice(bytes);
            }
        };
        let old_table = (old.sections.len() as u64).saturating_mul(SECTION_HEADER_LEN);
        put(
            old.table_offset,
            &vec![0; usize::try_from(old_table).unwrap_or_default()],
        );
        for (index, section) in self.sections.iter().enumerate() {
            let offset = (index as u64)
                .saturating_mul(SECTION_HEADER_LEN)
                .saturating_add(old.table_offset);
            put(offset, &section.to_header());
        }
        let at = |field: u64| old.pe_offset.saturating_add(field);
        let count = u16::try_from(self.sections.len()).unwrap_or(u16::MAX);
        put(at(field::SECTIONS), &count.to_le_bytes());
        if self.base.drop_symbols {
            put(at(field::SYMBOLS), &[0; 8]);
        } else if old.symbols != 0 {
            let symbols = low(
                old.symbols.saturating_add(self.room.shift),
                &SectionName::SBAT,
                "symbol table offset",
            )?;
            put(at(field::SYMBOLS), &symbols.to_le_bytes());
        }
        put(
            at(field::CHARACTERISTICS),
            &old.characteristics.to_le_bytes(),
        );
        put(
            at(field::INITIALIZED_LEN),
            &self.initialized_len().to_le_bytes(),
        );
        put(at(field::CHECKSUM), &[0; 4]);
        let last = self
            .sections
            .last()
            .map_or(SectionName::LINUX, |section| section.name);
        let image_len = low(
            round(self.end, old.section_alignment),
            &last,
            "end in memory",
        )?;
        put(at(field::IMAGE_LEN), &image_len.to_le_bytes());
        put(
            at(field::HEADERS_LEN),
            &low(self.room.headers_len, &last, "headers")?.to_le_bytes(),
        );
        let dll = if nx_compat {
            old.dll_characteristics
        } else {
            old.dll_characteristics & !crate::headers::NX_COMPAT
        };
        put(at(field::DLL_CHARACTERISTICS), &dll.to_le_bytes());
        let directory = |index: usize| {
            old.directories_offset
                .saturating_add((index as u64).saturating_mul(8))
        };
        if old.directories.len() > CERTIFICATES {
            put(directory(CERTIFICATES), &[0; 8]);
        }
        if self.room.rebase != 0 {
            let moved = |value: u32| {
                low(
                    u64::from(value).saturating_add(self.room.rebase),
                    &last,
                    "address",
                )
            };
            put(at(field::ENTRY), &moved(old.entry)?.to_le_bytes());
            put(
                at(field::BASE_OF_CODE),
                &moved(old.base_of_code)?.to_le_bytes(),
            );
            let base = old.image_base.saturating_sub(self.room.rebase);
            if old.is_plus {
                put(at(field::IMAGE_BASE), &base.to_le_bytes());
            } else {
                put(
                    at(field::BASE_OF_DATA),
                    &moved(old.base_of_data)?.to_le_bytes(),
                );
                put(
                    at(field::IMAGE_BASE).saturating_add(4),
                    &low(base, &last, "image base")?.to_le_bytes(),
                );
            }
            for (index, (address, len)) in old.directories.iter().enumerate() {
                if *address != 0 && *len != 0 && index != CERTIFICATES {
                    put(directory(index), &moved(*address)?.to_le_bytes());
                }
            }
        }
        Ok(header)
    }

    /// As ukify counts: the old number and the `VirtualSize` of what was added, code or not.
    fn initialized_len(&self) -> u32 {
        let old = self
            .base
            .headers
            .sections
            .iter()
            .skip(self.base.fixed)
            .map(Section::virtual_len);
        let removed = old.fold(0_u64, u64::saturating_add);
        let total = u64::from(self.base.headers.initialized_len).saturating_add(self.payload_len);
        u32::try_from(total.saturating_sub(removed)).unwrap_or(u32::MAX)
    }
}

fn round(value: u64, align: u64) -> u64 {
    value.checked_next_multiple_of(align).unwrap_or(u64::MAX)
}

fn low(value: u64, section: &SectionName, what: &'static str) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::TooLarge {
        section: *section,
        what,
        value,
    })
}
