//! Which sections the stub sees when a profile is booted.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

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
    table: &'a [Section],
    names: &'a NameIndex,
    /// Places in the table: from, to.
    own: (usize, usize),
    base: (usize, usize),
}

impl<'a> ProfileView<'a> {
    pub(crate) fn all(table: &'a [Section], names: &'a NameIndex) -> Vec<Self> {
        let base = Self::base(table, names);
        if names.profiles.is_empty() {
            return [base].into();
        }
        let ends = names.profiles.iter().skip(1).copied().chain([table.len()]);
        let profiles = names
            .profiles
            .iter()
            .zip(ends)
            .enumerate()
            .map(|(index, (start, end))| Self {
                index: Some(index),
                own: (*start, end),
                base: base.own,
                ..base
            });
        profiles.collect()
    }

    pub(crate) fn base(table: &'a [Section], names: &'a NameIndex) -> Self {
        let end = names.profiles.first().copied().unwrap_or(table.len());
        Self {
            index: None,
            table,
            names,
            own: (0, end),
            base: (0, 0),
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
        let Self {
            table, names, own, ..
        } = *self;
        let (base, name) = (self.base, *name);
        let rank = name.rank();
        let known = [own, base]
            .into_iter()
            .flat_map(move |part| rank.map_or(&[][..], |rank| names.places(rank, part)))
            .filter_map(|(_, place)| table.get(*place));
        // Names without a meaning are not indexed: nobody asks for them often.
        let walked = [own, base]
            .into_iter()
            .flat_map(move |(start, end)| table.get(start..end).unwrap_or_default())
            .take(if rank.is_none() { usize::MAX } else { 0 })
            .filter(move |section| section.virtual_len != 0 && section.name.same(&name));
        known.chain(walked)
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
        (self.own.0..self.own.1).contains(&section.index)
    }
}

/// Where the sections with a meaning stand, by name: an image can have 65,535 of them and 256 profiles.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex {
    /// Rank of the name and place in the table, sorted. Empty sections are not there.
    places: Vec<(usize, usize)>,
    /// Where profiles start.
    profiles: Vec<usize>,
}

impl NameIndex {
    pub(crate) fn of(table: &[Section]) -> Self {
        let ranks = || {
            table
                .iter()
                .enumerate()
                .filter_map(|(place, section)| Some((section.name.rank()?, place)))
        };
        let mut places: Vec<_> = ranks()
            .filter(|(_, place)| {
                table
                    .get(*place)
                    .is_some_and(|found| found.virtual_len != 0)
            })
            .collect();
        places.sort_unstable();
        let profile = SectionName::PROFILE.rank();
        Self {
            places,
            profiles: ranks()
                .filter(|(rank, _)| Some(*rank) == profile)
                .map(|(_, place)| place)
                .collect(),
        }
    }

    fn places(&self, rank: usize, (start, end): (usize, usize)) -> &[(usize, usize)] {
        let from = self.places.partition_point(|at| *at < (rank, start));
        let to = self.places.partition_point(|at| *at < (rank, end));
        self.places.get(from..to).unwrap_or_default()
    }
}
