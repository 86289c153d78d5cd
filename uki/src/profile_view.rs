//! Which sections the stub sees when a profile is booted.

use alloc::vec::Vec;

use crate::{Section, SectionName};

/// A bootable view of an image: a profile on top of the base, or the base alone.
///
/// Sections before the first `.profile` are the base. A profile has its own sections, and those of the base that it
/// does not have itself. Of two sections with one name in one place the first counts; a section with a `VirtualSize`
/// of zero is not there.
#[derive(Clone, Copy, Debug)]
pub struct ProfileView<'a> {
    index: Option<usize>,
    own: &'a [Section],
    base: &'a [Section],
}

impl<'a> ProfileView<'a> {
    pub(crate) fn all(sections: &'a [Section]) -> Vec<Self> {
        let starts: Vec<usize> = (0..sections.len())
            .filter(|index| {
                sections
                    .get(*index)
                    .is_some_and(|section| section.name.same(&SectionName::PROFILE))
            })
            .collect();
        if starts.is_empty() {
            return [Self::base(sections)].into();
        }
        let base = Self::base(sections).own;
        let ends = starts.iter().skip(1).copied().chain([sections.len()]);
        let profiles = starts
            .iter()
            .zip(ends)
            .enumerate()
            .map(|(index, (start, end))| Self {
                index: Some(index),
                own: sections.get(*start..end).unwrap_or_default(),
                base,
            });
        profiles.collect()
    }

    pub(crate) fn base(sections: &'a [Section]) -> Self {
        let end = sections
            .iter()
            .position(|section| section.name.same(&SectionName::PROFILE));
        let own = sections
            .get(..end.unwrap_or(sections.len()))
            .unwrap_or_default();
        Self {
            index: None,
            own,
            base: &[],
        }
    }

    /// The profile's number, as in `@1` on the command line; none for a base alone.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.index
    }

    /// The section that the stub uses for a name.
    #[must_use]
    pub fn section(&self, name: &SectionName) -> Option<&'a Section> {
        self.candidates(name).next()
    }

    /// All sections of a name that the stub may choose from, best first: for names that may repeat
    /// ([`SectionName::may_repeat`]) it takes the first that fits the hardware.
    pub fn candidates(&self, name: &SectionName) -> impl Iterator<Item = &'a Section> {
        let all = self.own.iter().chain(self.base);
        all.filter(move |section| section.virtual_len != 0 && section.name.same(name))
    }

    /// The sections in the order in which the stub measures them, `.pcrsig` included although it is never measured.
    /// Names that may repeat come with all their candidates.
    pub fn sections(&self) -> impl Iterator<Item = &'a Section> {
        SectionName::CANONICAL.iter().flat_map(|name| {
            let limit = if name.may_repeat() { usize::MAX } else { 1 };
            self.candidates(name).take(limit)
        })
    }

    /// Whether a section stands in the profile itself and does not come from the base.
    #[must_use]
    pub fn owns(&self, section: &Section) -> bool {
        self.own.iter().any(|own| own.index == section.index)
    }
}
