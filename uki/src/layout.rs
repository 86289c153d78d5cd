//! Placing sections one after another.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use crate::assemble::{Base, Slot};
use crate::grow::{Patches, Room};
use crate::headers::{CERTIFICATES, Section};
use crate::plan::{Content, Segment};
use crate::{Error, SectionName};

/// A section to be placed.
struct Wanted<'a> {
    name: SectionName,
    characteristics: u32,
    content: &'a Content,
    /// How much content there is.
    len: u64,
    virtual_len: u64,
    /// Before rounding.
    raw_len: u64,
    address: Option<u32>,
}

impl<'a> Wanted<'a> {
    fn new(name: SectionName, characteristics: u32, content: &'a Content, len: u64) -> Self {
        Self {
            name,
            characteristics,
            content,
            len,
            virtual_len: len,
            raw_len: len,
            address: None,
        }
    }
}

pub(crate) struct Layout<'a, 'b> {
    pub(crate) base: &'a Base<'b>,
    pub(crate) room: Room,
    pub(crate) patches: Patches,
    pub(crate) sections: Vec<Section>,
    pub(crate) segments: Vec<Segment>,
    /// The end of the file so far.
    pub(crate) cursor: u64,
    /// The end of the image in memory so far.
    pub(crate) end: u64,
    /// Whether something before has another size than in the old image.
    pub(crate) is_moved: bool,
    /// `VirtualSize` of all sections that are not the stub's.
    pub(crate) payload_len: u64,
    /// For each section of the old image, and behind them all, where the data before it ends.
    pub(crate) gap_starts: Vec<u64>,
}

impl Layout<'_, '_> {
    pub(crate) fn slot(&mut self, slot: &Slot) -> Result<(), Error> {
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
                self.place(&Wanted::new(*name, flags | Section::READ, content, *len))?;
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
            let moved = Wanted::new(old.name, old.characteristics, &content, old.file_len());
            return self.place(&Wanted {
                virtual_len: old.virtual_len(),
                ..moved
            });
        }
        let gap_start = self.gap_start(index);
        if old.raw_len != 0 && !skipped {
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
        let mut wanted = Wanted::new(old.name, old.characteristics, content, len);
        let is_fixed = index < self.base.fixed;
        if is_fixed || !self.is_moved {
            let gap_start = self.gap_start(index);
            self.copy_base(gap_start, old.raw_offset());
            wanted.address = Some(self.address(&old, index)?);
        }
        if is_fixed {
            // The caller has checked that the content fits.
            wanted.raw_len = old.raw_len();
        } else {
            let (file, memory) = (
                self.base.headers.file_alignment,
                self.base.headers.section_alignment,
            );
            self.is_moved |= round(len, file) != round(old.raw_len(), file)
                || round(len, memory) != round(old.virtual_len(), memory);
        }
        self.place(&wanted)
    }

    /// A section behind all others in the file, and in memory unless it has an address.
    fn place(&mut self, wanted: &Wanted<'_>) -> Result<(), Error> {
        self.pad();
        let name = wanted.name;
        let next = round(self.end, self.base.headers.section_alignment);
        let raw_len = round(wanted.raw_len, self.base.headers.file_alignment);
        let new = Section {
            name,
            virtual_len: low(wanted.virtual_len, &name, "size")?,
            address: wanted
                .address
                .map_or_else(|| low(next, &name, "address"), Ok)?,
            raw_len: low(raw_len, &name, "file size")?,
            raw_offset: self.cursor32(&name)?,
            characteristics: wanted.characteristics,
            index: self.sections.len(),
        };
        let section = Some(new.index);
        self.segments.push(Segment {
            content: wanted.content.clone(),
            len: wanted.len,
            section,
        });
        self.cursor = self.cursor.saturating_add(wanted.len);
        let zero_fill = wanted.virtual_len.saturating_sub(wanted.len);
        self.segments.push(Segment {
            content: Content::ZeroFill,
            len: zero_fill,
            section,
        });
        self.zeros(raw_len.saturating_sub(wanted.len));
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

    fn gap_start(&self, index: usize) -> u64 {
        self.gap_starts.get(index).copied().unwrap_or_default()
    }

    /// What stands behind the last section of the old image.
    pub(crate) fn trailer(&mut self) {
        let start = self.gap_start(self.base.headers.sections.len());
        self.copy_base(start, self.base.end);
    }

    fn copy_base(&mut self, start: u64, end: u64) {
        self.copy_base_as(start, end, None);
    }

    /// Copies bytes of the old image, patches applied.
    fn copy_base_as(&mut self, mut start: u64, end: u64, section: Option<usize>) {
        let first = self.patches.partition_point(|(offset, _)| *offset < start);
        let last = self
            .patches
            .partition_point(|(offset, _)| *offset < end)
            .max(first);
        for (offset, bytes) in self.patches.get(first..last).unwrap_or_default().to_vec() {
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
    pub(crate) fn pad(&mut self) {
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

    /// As ukify counts: the old number and the `VirtualSize` of what was added, code or not.
    pub(crate) fn initialized_len(&self) -> u32 {
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

pub(crate) fn round(value: u64, align: u64) -> u64 {
    value.checked_next_multiple_of(align).unwrap_or(u64::MAX)
}

pub(crate) fn low(value: u64, section: &SectionName, what: &'static str) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::TooLarge {
        section: *section,
        what,
        value,
    })
}
