//! From a list of wanted sections to a laid-out image.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use crate::grow::{Room, first_raw};
use crate::headers::{Headers, SECTION_HEADER_LEN, Section};
use crate::layout::Layout;
use crate::new_headers::NewHeaders;
use crate::plan::{Content, Plan, Segment};
use crate::profile_view::NameIndex;
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
            gap_starts: self.gap_starts(),
        };
        let fixed_slots = self.fixed_slots(slots);
        for (place, slot) in slots.iter().enumerate() {
            layout.slot(slot)?;
            if place.saturating_add(1) == fixed_slots {
                layout.trailer();
            }
        }
        layout.pad();
        let header = NewHeaders {
            old: self.headers,
            sections: &layout.sections,
            room,
            initialized_len: layout.initialized_len(),
            image_end: layout.end,
            drops_symbols: self.drop_symbols,
            nx_compat,
        };
        let header = header.to_bytes(&source)?;
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
            names: NameIndex::of(&layout.sections),
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

    fn gap_starts(&self) -> Vec<u64> {
        let ends = self
            .headers
            .sections
            .iter()
            .scan(first_raw(self.headers), |end, section| {
                if section.raw_len != 0 {
                    *end = section.raw_end().max(*end);
                }
                Some(*end)
            });
        std::iter::once(first_raw(self.headers))
            .chain(ends)
            .collect()
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
