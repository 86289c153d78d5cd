//! What is odd or dangerous in an image that can be read.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::headers::NX_COMPAT;
use crate::{
    Check, EnvText, Error, Finding, ProfileView, ReadAt, Section, SectionName, Uki, sbat_entries,
};

/// Looks for everything that [`Check`] lists. Keys and signatures are not looked into: that needs hashes.
///
/// # Errors
///
/// Whatever the source returns; an image that can be read has findings, not errors.
///
/// # Examples
///
/// ```
/// let stub = include_bytes!("../tests/vectors/stub.efi");
/// let findings = uki::lint(&uki::Uki::parse(stub)?)?;
/// assert_eq!(findings[0].check.code(), "no-kernel");
/// assert_eq!(findings[0].to_string(), "no-kernel: there is no kernel to boot");
/// # Ok::<(), uki::Error>(())
/// ```
pub fn lint<S: ReadAt>(uki: &Uki<S>) -> Result<Vec<Finding>, Error> {
    let mut findings = Findings(Vec::new());
    findings.layout(uki);
    findings.names(uki);
    findings.sbat(uki)?;
    let profiles = uki.profiles();
    if profiles.len() > MAX_PROFILES {
        findings.add(Check::TooManyProfiles, None, None);
    }
    let is_stub = uki.stub().name() == "systemd-stub";
    if uki.stub().is_addon() || !is_stub && uki.is_addon() {
        findings.addon(uki);
    } else {
        for profile in profiles.iter().take(MAX_PROFILES) {
            findings.profile(uki, profile)?;
        }
        findings.profile_ids(uki, &profiles)?;
    }
    Ok(findings.0)
}

const MAX_PROFILES: usize = 256;
/// Longest text that is looked into.
const MAX_TEXT: u64 = 1 << 20;

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: Check, section: Option<SectionName>, profile: Option<usize>) {
        let finding = Finding {
            check,
            section,
            profile,
        };
        if self.0.last() != Some(&finding) {
            self.0.push(finding);
        }
    }

    fn layout<S>(&mut self, uki: &Uki<S>) {
        let headers = &uki.headers;
        if headers.subsystem != 10 {
            self.add(Check::Subsystem, None, None);
        }
        let mut before: Option<&Section> = None;
        for section in headers
            .sections
            .iter()
            .filter(|section| section.virtual_len != 0)
        {
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
            match before {
                Some(before) if before.address > section.address => {
                    self.add(Check::SectionOrder, name, None)
                }
                Some(before) if before.end() > section.virtual_address() => {
                    self.add(Check::SectionOverlap, name, None)
                }
                _ => {}
            }
            before = Some(section);
        }
    }

    fn names<S: ReadAt>(&mut self, uki: &Uki<S>) {
        if uki.stub().name().is_empty() {
            self.add(Check::UnknownStub, None, None);
        }
        let mut profile: Option<usize> = None;
        let mut seen = BTreeMap::<&[u8], ()>::new();
        for section in uki
            .sections()
            .iter()
            .filter(|section| section.name.is_known())
        {
            if section.name.same(&SectionName::PROFILE) {
                profile = Some(profile.map_or(0, |index| index.saturating_add(1)));
                seen.clear();
            }
            let name = Some(section.name);
            if section.virtual_len == 0 {
                self.add(Check::EmptySection, name, profile);
            } else if seen.insert(section.name.as_bytes(), ()).is_some()
                && !section.name.may_repeat()
            {
                self.add(Check::DuplicateSection, name, profile);
            }
            if section.zero_fill() != 0 {
                self.add(Check::ZeroFill, name, profile);
            }
        }
    }

    fn sbat<S: ReadAt>(&mut self, uki: &Uki<S>) -> Result<(), Error> {
        let name = Some(SectionName::SBAT);
        let Some(section) = uki.base().section(&SectionName::SBAT) else {
            self.add(Check::SbatMissing, None, None);
            return Ok(());
        };
        let text = text(uki, section)?;
        if !text.starts_with(b"sbat,") {
            self.add(Check::SbatInvalid, name, None);
        }
        let mut generations = BTreeMap::new();
        for entry in sbat_entries(&text) {
            if *generations
                .entry(entry.component)
                .or_insert(entry.generation)
                != entry.generation
            {
                self.add(Check::SbatConflict, name, None);
            }
        }
        Ok(())
    }

    fn addon<S: ReadAt>(&mut self, uki: &Uki<S>) {
        use SectionName as Name;
        let used = [
            Name::CMDLINE,
            Name::DTB,
            Name::DTBAUTO,
            Name::INITRD,
            Name::UCODE,
        ];
        let base = uki.base();
        if !used.iter().any(|name| base.section(name).is_some()) {
            self.add(Check::AddonEmpty, None, None);
        }
        for section in base.sections() {
            let is_used = used.iter().any(|name| name.same(&section.name));
            if !is_used
                && ![Name::UNAME, Name::SBAT, Name::HWIDS]
                    .iter()
                    .any(|name| name.same(&section.name))
            {
                self.add(Check::AddonIgnored, Some(section.name), None);
            }
        }
    }

    fn profile<S: ReadAt>(&mut self, uki: &Uki<S>, profile: &ProfileView<'_>) -> Result<(), Error> {
        use SectionName as Name;
        let index = profile.index();
        match profile.section(&Name::LINUX) {
            None => self.add(Check::NoKernel, None, index),
            // The base's kernel is looked into once.
            Some(linux) if profile.owns(linux) || index.is_none_or(|index| index == 0) => {
                self.kernel(uki, profile, linux)?;
            }
            Some(_) => {}
        }
        if profile.section(&Name::CMDLINE).is_none() {
            self.add(Check::CmdlineOpen, None, index);
        }
        let key = profile.section(&Name::PCRPKEY);
        match (key, profile.section(&Name::PCRSIG)) {
            (None, Some(_)) => self.add(Check::PcrkeyMissing, None, index),
            (Some(_), None) => self.add(Check::PcrsigMissing, None, index),
            (_, Some(policies)) if !profile.owns(policies) => {
                self.add(Check::PcrsigInBase, Some(Name::PCRSIG), index)
            }
            (_, Some(_)) if is_for_debugging(uki, profile)? => {
                self.add(Check::DebugProfileSigned, None, index)
            }
            _ => {}
        }
        Ok(())
    }

    fn kernel<S: ReadAt>(
        &mut self,
        uki: &Uki<S>,
        profile: &ProfileView<'_>,
        linux: &Section,
    ) -> Result<(), Error> {
        let (name, index) = (Some(SectionName::LINUX), profile.index());
        let kernel = match uki.kernel(linux) {
            Ok(kernel) => kernel,
            #[cfg(feature = "std")]
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => {
                self.add(Check::NotAKernel, name, index);
                return Ok(());
            }
        };
        if !kernel.runs_on(uki.machine()) {
            self.add(Check::MachineMismatch, name, index);
        }
        if kernel.is_nx_compat() != (uki.headers.dll_characteristics & NX_COMPAT != 0) {
            self.add(Check::NxMismatch, None, index);
        }
        if let (Some(section), Some(version)) =
            (profile.section(&SectionName::UNAME), kernel.version())
            && text(uki, section)? != version.as_bytes()
        {
            self.add(Check::UnameMismatch, Some(SectionName::UNAME), index);
        }
        Ok(())
    }

    fn profile_ids<S: ReadAt>(
        &mut self,
        uki: &Uki<S>,
        profiles: &[ProfileView<'_>],
    ) -> Result<(), Error> {
        let mut ids = BTreeMap::new();
        for profile in profiles.iter().take(MAX_PROFILES) {
            let Some(section) = profile.section(&SectionName::PROFILE) else {
                continue;
            };
            let text = EnvText::parse(&text(uki, section)?);
            let id = text.get("ID").map(String::from);
            if id.is_none() || ids.insert(id, ()).is_some() {
                self.add(
                    Check::ProfileId,
                    Some(SectionName::PROFILE),
                    profile.index(),
                );
            }
        }
        Ok(())
    }
}

/// Whether a profile other than the first says of itself, or has the kernel told, that it gives a shell.
fn is_for_debugging<S: ReadAt>(uki: &Uki<S>, profile: &ProfileView<'_>) -> Result<bool, Error> {
    const WORDS: [&str; 10] = [
        "debug",
        "single",
        "emergency",
        "rescue",
        "rd.shell",
        "rd.break",
        "systemd.debug_shell",
        "systemd.debug-shell",
        "init=/bin/sh",
        "init=/bin/bash",
    ];
    if profile.index().is_none_or(|index| index == 0) {
        return Ok(false);
    }
    let mut is_found = false;
    if let Some(section) = profile.section(&SectionName::PROFILE) {
        let text = EnvText::parse(&text(uki, section)?);
        is_found |= text
            .get("ID")
            .is_some_and(|id| id.contains("debug") || id.contains("rescue"));
    }
    if let Some(section) = profile
        .section(&SectionName::CMDLINE)
        .filter(|section| profile.owns(section))
    {
        let text = text(uki, section)?;
        let text = String::from_utf8_lossy(&text);
        is_found |= text
            .split_whitespace()
            .any(|word| WORDS.contains(&word.trim_matches('\0')));
    }
    Ok(is_found)
}

/// The beginning of a section.
fn text<S: ReadAt>(uki: &Uki<S>, section: &Section) -> Result<Vec<u8>, Error> {
    crate::read_at::copy(
        &uki.source,
        "section",
        section.raw_offset(),
        section.file_len().min(MAX_TEXT),
    )
}
