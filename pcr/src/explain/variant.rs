//! Ways in which sections may have been measured.

use alloc::format;
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
}

impl Variant {
    /// The sections as predicted.
    pub(super) fn predicted(
        profile: &Profile<'_>,
        hardware: HardwareChoice,
        bank: Bank,
    ) -> Result<Self, Error> {
        let digest = |section: &crate::pcr11::MeasuredSection| {
            let digest = section
                .content
                .iter()
                .find(|digest| digest.bank() == bank)
                .ok_or_else(|| Error::MissingDigest {
                    what: section.name.into(),
                    bank,
                })?;
            Ok((section.name, *digest))
        };
        let sections = profile.sections(hardware)?;
        Ok(Self {
            causes: Vec::new(),
            sections: sections.iter().map(digest).collect::<Result<_, _>>()?,
        })
    }

    /// PCR 11 after these sections.
    pub(super) fn register(&self, bank: Bank) -> Digest {
        self.sections
            .iter()
            .fold(Digest::zero(bank), |value, (name, content)| {
                value.extended(&name_digest(bank, name)).extended(content)
            })
    }

    fn with(&self, cause: Pcr11Cause, sections: Vec<(&'static str, Digest)>) -> Self {
        let mut causes = self.causes.clone();
        causes.push(cause);
        Self { causes, sections }
    }

    /// Each section but the kernel left out.
    pub(super) fn without_one(&self) -> impl Iterator<Item = Self> {
        // Removing in order only keeps each combination once.
        let last = self.causes.iter().rev().find_map(|cause| match cause {
            Pcr11Cause::Missing { section } => Some(*section),
            _ => None,
        });
        let start = last.map_or(0, |last| {
            let removed = SECTIONS.iter().position(|name| *name == last);
            removed.map_or(0, |removed| removed.saturating_add(1))
        });
        let rank = |name: &str| SECTIONS.iter().position(|known| *known == name);
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
    pub(super) fn with_one_empty(&self, bank: Bank) -> impl Iterator<Item = Self> {
        let absent = SECTIONS
            .into_iter()
            .filter(|section| !self.sections.iter().any(|(name, _)| name == section));
        absent.map(move |section| {
            self.inserted(Pcr11Cause::Empty { section }, section, bank.hash(b""))
        })
    }

    /// A section at its place.
    pub(super) fn inserted(
        &self,
        cause: Pcr11Cause,
        section: &'static str,
        content: Digest,
    ) -> Self {
        let rank = |name: &str| SECTIONS.iter().position(|known| *known == name);
        let mut sections = self.sections.clone();
        let place = sections
            .iter()
            .position(|(name, _)| rank(name) > rank(section))
            .unwrap_or(sections.len());
        sections.insert(place, (section, content));
        self.with(cause, sections)
    }

    /// Small texts with another ending.
    pub(super) fn with_endings(&self, profile: &Profile<'_>, bank: Bank) -> Vec<Self> {
        let mut variants = Vec::new();
        for (place, (section, _)) in self.sections.iter().enumerate() {
            let Some(text) = profile.text(section) else {
                continue;
            };
            for (ending, digest) in endings(text, bank) {
                let mut sections = self.sections.clone();
                if let Some((_, content)) = sections.get_mut(place) {
                    *content = digest;
                }
                let cause = Pcr11Cause::Ending { section, ending };
                variants.push(self.with(cause, sections));
            }
        }
        variants
    }

    /// In the order of the UKI specification.
    pub(super) fn in_specification_order(&self) -> Self {
        let rank = |name: &str| SPECIFICATION.iter().position(|known| *known == name);
        let mut sections = self.sections.clone();
        sections.sort_by_key(|(name, _)| rank(name));
        self.with(Pcr11Cause::SpecificationOrder, sections)
    }

    /// With the contents of `.dtbauto` and `.hwids` under each other's name.
    pub(super) fn with_swapped_hardware(&self) -> Self {
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

/// The digest of a section's name as it is measured.
pub(super) fn name_digest(bank: Bank, name: &str) -> Digest {
    bank.hash(format!("{name}\0").as_bytes())
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
