//! The sections that a builder is given for the base or for one profile.

use crate::{Error, SectionName, Source};

/// Sections in the order of ukify's files, whatever the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sections {
    items: Vec<(Rank, SectionName, Item)>,
    pub(crate) initrds: Vec<Source>,
    pub(crate) no_uname: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Source(Source),
    Pcrsig(u64),
}

/// Where a section stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Profile,
    Osrel,
    Cmdline,
    Dtb,
    Dtbauto,
    Hwids,
    Uname,
    Splash,
    Pcrpkey,
    Linux,
    Initrd,
    Efifw,
    Ucode,
    /// Sections that the caller has named, in the caller's order.
    Free,
    Sbat,
    Pcrsig,
}

impl Sections {
    pub(crate) fn add(&mut self, rank: Rank, name: SectionName, item: Item) {
        self.items.push((rank, name, item));
    }

    pub(crate) fn find(&self, name: &SectionName) -> Option<&Source> {
        self.items.iter().find_map(|(_, found, item)| match item {
            Item::Source(source) if found == name => Some(source),
            _ => None,
        })
    }

    /// Puts another source in the place of a kernel.
    pub(crate) fn replace(&mut self, name: &SectionName, with: &Source) {
        for (_, found, item) in &mut self.items {
            if found == name {
                *item = Item::Source(with.clone());
            }
        }
    }

    pub(crate) fn has_pcrsig_to_fill(&self) -> bool {
        self.items
            .iter()
            .any(|(.., item)| matches!(item, Item::Pcrsig(_)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.initrds.is_empty()
    }

    /// The sections in file order; a name that may not repeat and does is refused.
    pub(crate) fn ordered(
        &self,
        profile: Option<usize>,
    ) -> Result<Vec<(SectionName, Item)>, Error> {
        let mut items = self.items.clone();
        if !self.initrds.is_empty() {
            let joined = Source::ramdisks(self.initrds.clone());
            items.push((Rank::Initrd, SectionName::INITRD, Item::Source(joined)));
        }
        items.sort_by_key(|(rank, ..)| *rank);
        let mut seen = std::collections::BTreeSet::new();
        for (_, name, _) in items.iter().filter(|(_, name, _)| !name.may_repeat()) {
            if !seen.insert(name.as_bytes()) {
                return Err(Error::DuplicateSection {
                    section: *name,
                    profile,
                });
            }
        }
        Ok(items
            .into_iter()
            .map(|(_, name, item)| (name, item))
            .collect())
    }
}

/// ukify's reading of a command line that is given as text: one blank between words, none around them.
pub(crate) fn clean_cmdline(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
