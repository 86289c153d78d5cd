//! Ways in which sections may have been measured.

use alloc::string::String;
use alloc::vec::Vec;

use crate::bank::{Bank, Digest};
use crate::error::Error;
use crate::explain::{Pcr11Cause, TextEnding};
use crate::pcr11::{HardwareChoice, Profile};

/// Sections in measuring order with the digests of their contents, and what is unusual about them.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    pub(super) causes: Vec<Pcr11Cause>,
    pub(super) sections: Vec<(&'static str, Digest)>,
    /// The names were hashed without their NUL.
    pub(super) bare_names: bool,
}

impl Variant {
    /// The sections as predicted.
    pub(super) fn predicted(
        profile: &Profile<'_>,
        hardware: HardwareChoice,
        bank: Bank,
    ) -> Result<Self, Error> {
        Ok(Self {
            causes: Vec::new(),
            sections: profile.content_digests(hardware, bank)?,
            bare_names: false,
        })
    }

    fn with(&self, cause: Pcr11Cause, sections: Vec<(&'static str, Digest)>) -> Self {
        let mut causes = self.causes.clone();
        causes.push(cause);
        Self {
            causes,
            sections,
            bare_names: self.bare_names,
        }
    }

    /// With another content of a section that is there.
    fn replaced(&self, place: usize, content: Digest, cause: Pcr11Cause) -> Self {
        let mut sections = self.sections.clone();
        if let Some((_, old)) = sections.get_mut(place) {
            *old = content;
        }
        self.with(cause, sections)
    }

    /// One change to what was measured.
    pub(super) fn single_causes(&self, contents: &OtherContents, bank: Bank) -> Vec<Self> {
        let mut variants: Vec<Self> = self.without_one().collect();
        variants.push(self.with_swapped_hardware());
        variants.push(self.in_specification_order());
        variants.extend(self.with_one_empty(bank));
        variants.extend(self.with_other_contents(contents));
        variants.retain(|variant| variant.sections != self.sections);
        if !self.bare_names {
            let mut bare = self.with(Pcr11Cause::NamesWithoutNul, self.sections.clone());
            bare.bare_names = true;
            variants.push(bare);
        }
        variants
    }

    fn with_other_contents(&self, contents: &OtherContents) -> Vec<Self> {
        let with = |(section, digest, cause): &(&'static str, Digest, Pcr11Cause)| {
            let place = self.sections.iter().position(|(name, _)| name == section);
            let may_be_new = matches!(
                cause,
                Pcr11Cause::Candidate { .. } | Pcr11Cause::Extra { .. }
            );
            match place {
                Some(place) => Some(self.replaced(place, *digest, cause.clone())),
                None if may_be_new => Some(self.inserted(cause.clone(), section, *digest)),
                None => None,
            }
        };
        contents.0.iter().filter_map(with).collect()
    }

    /// Each section but the kernel left out.
    pub(super) fn without_one(&self) -> impl Iterator<Item = Self> {
        // Removing in order only keeps each combination once.
        let last = self.causes.iter().rev().find_map(|cause| match cause {
            Pcr11Cause::Missing { section } => Some(*section),
            _ => None,
        });
        let start = last.map_or(0, |last| rank(last).unwrap_or(0).saturating_add(1));
        let names: Vec<&'static str> = self
            .sections
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| *name != ".linux" && rank(name).is_some_and(|rank| rank >= start))
            .collect();
        names.into_iter().map(|section| {
            let mut sections = self.sections.clone();
            sections.retain(|(name, _)| *name != section);
            self.with(Pcr11Cause::Missing { section }, sections)
        })
    }

    /// Each absent section measured as if it were there and empty.
    fn with_one_empty(&self, bank: Bank) -> impl Iterator<Item = Self> {
        let absent = SECTIONS
            .into_iter()
            .filter(|section| !self.sections.iter().any(|(name, _)| name == section));
        absent.map(move |section| {
            self.inserted(Pcr11Cause::Empty { section }, section, bank.hash(b""))
        })
    }

    /// A section at its place.
    fn inserted(&self, cause: Pcr11Cause, section: &'static str, content: Digest) -> Self {
        let mut sections = self.sections.clone();
        let place = sections
            .iter()
            .position(|(name, _)| rank(name) > rank(section))
            .unwrap_or(sections.len());
        sections.insert(place, (section, content));
        self.with(cause, sections)
    }

    /// In the order of the UKI specification.
    fn in_specification_order(&self) -> Self {
        let rank = |name: &str| SPECIFICATION.iter().position(|known| *known == name);
        let mut sections = self.sections.clone();
        sections.sort_by_key(|(name, _)| rank(name));
        self.with(Pcr11Cause::SpecificationOrder, sections)
    }

    /// With the contents of `.dtbauto` and `.hwids` under each other's name.
    fn with_swapped_hardware(&self) -> Self {
        let other = |name| match name {
            ".dtbauto" => ".hwids",
            ".hwids" => ".dtbauto",
            name => name,
        };
        let sections = &self.sections;
        let swapped = sections.iter().map(|(name, content)| {
            let other = other(name);
            let found = sections.iter().find(|(name, _)| *name == other);
            (*name, found.map_or(*content, |(_, content)| *content))
        });
        self.with(Pcr11Cause::SwappedHardwareSections, swapped.collect())
    }
}

/// Contents that sections may have been measured with by mistake, hashed once for the whole search.
#[derive(Debug)]
pub(super) struct OtherContents(Vec<(&'static str, Digest, Pcr11Cause)>);

impl OtherContents {
    pub(super) fn of(profile: &Profile<'_>, bank: Bank, candidates: &[(&str, &[u8])]) -> Self {
        let mut contents = Self(Vec::new());
        for (name, content) in candidates {
            if let Some(section) = SECTIONS.into_iter().find(|known| known == name) {
                let cause = Pcr11Cause::Candidate { section };
                contents.0.push((section, bank.hash(content), cause));
            }
        }
        for section in SECTIONS {
            contents.add_texts(profile, section, bank);
            contents.add_duplicates(profile, section, bank);
            contents.add_padding(profile, section, bank);
        }
        contents
    }

    /// Small texts with another ending, or with their blanks tidied; a `.pcrsig` measured at all.
    fn add_texts(&mut self, profile: &Profile<'_>, section: &'static str, bank: Bank) {
        let Some(text) = profile.text(section) else {
            return;
        };
        if section == ".pcrsig" {
            let cause = Pcr11Cause::Extra { section };
            return self.0.push((section, bank.hash(text), cause));
        }
        let endings = endings(text, bank).into_iter();
        self.0.extend(
            endings
                .map(|(ending, digest)| (section, digest, Pcr11Cause::Ending { section, ending })),
        );
        if section == ".cmdline" {
            let cause = Pcr11Cause::Blanks { section };
            let digest = bank.hash(tidied(text).as_bytes());
            self.0.push((section, digest, cause));
        }
    }

    /// Other sections of the same name.
    fn add_duplicates(&mut self, profile: &Profile<'_>, section: &'static str, bank: Bank) {
        const MAX: usize = 64;
        for (owner, ordinal, other) in profile.others_named(section).take(MAX) {
            let cause = Pcr11Cause::Duplicate {
                section,
                profile: owner,
                ordinal,
            };
            let digest = other.digest(bank);
            self.0.extend(digest.map(|digest| (section, digest, cause)));
        }
    }

    /// With the zeros that fill the file or the memory behind a section.
    fn add_padding(&mut self, profile: &Profile<'_>, name: &'static str, bank: Bank) {
        let Some(section) = profile.section(name) else {
            return;
        };
        let aligned = [512, 4096].map(|align| section.len().checked_next_multiple_of(align));
        let in_memory = size_of_image(section.head());
        for len in aligned.into_iter().chain([in_memory]).flatten() {
            let digest = section.padded_digest(bank, len);
            let cause = Pcr11Cause::Padded { section: name, len };
            self.0.extend(digest.map(|digest| (name, digest, cause)));
        }
    }
}

/// The place of a section in systemd's order.
pub(super) fn rank(name: &str) -> Option<usize> {
    SECTIONS.iter().position(|known| *known == name)
}

/// The digest of a section's name as it is measured.
pub(super) fn name_digest(bank: Bank, name: &str) -> Digest {
    bank.hash_parts(&[name.as_bytes(), b"\0"])
}

/// The digests of a text with other endings.
pub(super) fn endings(text: &[u8], bank: Bank) -> Vec<(TextEnding, Digest)> {
    let mut variants = Vec::new();
    let mut add = |ending, parts: &[&[u8]]| variants.push((ending, bank.hash_parts(parts)));
    add(TextEnding::ExtraNul, &[text, b"\0"]);
    add(TextEnding::ExtraLineEnd, &[text, b"\n"]);
    if text.ends_with(b"\0") {
        let end = text.iter().rposition(|byte| *byte != 0);
        let end = end.map_or(0, |last| last.saturating_add(1));
        add(
            TextEnding::WithoutNul,
            &[text.get(..end).unwrap_or_default()],
        );
    }
    if let Some(line) = text.strip_suffix(b"\n") {
        add(TextEnding::WithoutLineEnd, &[line]);
    }
    variants
}

/// A command line with single blanks, as ukify makes it of a text.
pub(super) fn tidied(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// `SizeOfImage` of a PE image, from its first bytes.
fn size_of_image(head: &[u8]) -> Option<u64> {
    let number = |at: usize| {
        let bytes = head.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    if !head.starts_with(b"MZ") {
        return None;
    }
    let header = usize::try_from(number(0x3c)?).ok()?;
    let is_pe = head.get(header..)?.starts_with(b"PE\0\0");
    let size = number(header.checked_add(0x50)?)?;
    is_pe.then_some(size.into())
}

/// Every section that stubs or tools may measure, in systemd's order.
pub(super) const SECTIONS: [&str; 15] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrsig", ".pcrpkey", ".profile", ".dtbauto", ".hwids", ".efifw",
];

/// The order of the UKI specification's list.
const SPECIFICATION: [&str; 15] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".dtbauto", ".efifw",
    ".hwids", ".uname", ".sbat", ".pcrsig", ".pcrpkey", ".profile",
];
