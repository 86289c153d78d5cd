//! Headers and section table.

use alloc::vec::Vec;

use super::Findings;
use crate::headers::SECTION_HEADER_LEN;
use crate::{Check, Section, Uki};

impl Findings {
    pub(super) fn layout<S: crate::ReadAt>(&mut self, uki: &Uki<S>) {
        let headers = &uki.headers;
        if headers.subsystem != 10 {
            self.add(Check::Subsystem, None, None);
        }
        let table_len = (headers.sections.len() as u64).saturating_mul(SECTION_HEADER_LEN);
        if headers.table_offset.saturating_add(table_len) > u64::from(headers.headers_len) {
            self.add(Check::HeadersShort, None, None);
        }
        let in_memory = || {
            headers
                .sections
                .iter()
                .filter(|section| section.virtual_len != 0)
        };
        let mut before: Option<&Section> = None;
        for section in in_memory() {
            let name = Some(section.name);
            if section.end() > u64::from(headers.image_len) || section.end() > u64::from(u32::MAX) {
                self.add(Check::AddressWrapped, name, None);
            }
            let is_aligned = |value: u64, align: u64| value.checked_rem(align) == Some(0);
            if !is_aligned(section.virtual_address(), headers.section_alignment)
                || section.raw_len != 0 && !is_aligned(section.raw_offset(), headers.file_alignment)
            {
                self.add(Check::SectionAlignment, name, None);
            }
            if section.virtual_address() < u64::from(headers.headers_len) {
                self.add(Check::HeaderOverlap, name, None);
            }
            let flags = Section::WRITE | Section::EXECUTE;
            if section.characteristics & flags == flags {
                self.add(Check::WritableCode, name, None);
            }
            if before.is_some_and(|before| before.address > section.address) {
                self.add(Check::SectionOrder, name, None);
            }
            before = Some(section);
        }
        self.overlaps(Check::SectionOverlap, in_memory(), |section| {
            (section.virtual_address(), section.end())
        });
        let in_file = headers
            .sections
            .iter()
            .filter(|section| section.raw_len != 0);
        self.overlaps(Check::RawOverlap, in_file, |section| {
            (section.raw_offset(), section.raw_end())
        });
        let entry = u64::from(headers.entry);
        let is_code = |section: &Section| {
            section.characteristics & Section::EXECUTE != 0
                && (section.virtual_address()..section.end()).contains(&entry)
        };
        // The stub of an addon has no code.
        if !uki.stub().is_addon() && !in_memory().any(is_code) {
            self.add(Check::EntryPoint, None, None);
        }
    }

    /// Each section that starts before one with a lower start has ended.
    fn overlaps<'a>(
        &mut self,
        check: Check,
        sections: impl Iterator<Item = &'a Section>,
        range: impl Fn(&Section) -> (u64, u64),
    ) {
        let mut sorted: Vec<&Section> = sections.collect();
        sorted.sort_by_key(|section| range(section));
        let mut reached = 0;
        for section in sorted {
            let (start, end) = range(section);
            if start < reached {
                self.add(check, Some(section.name), None);
            }
            reached = reached.max(end);
        }
    }
}
