//! What is odd or dangerous in an image that can be read.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::headers::NX_COMPAT;
use crate::kernel::SEARCH_LIMIT;
use crate::{
    Check, EnvText, Error, Finding, ProfileView, ReadAt, Section, SectionName, Uki, sbat_entries,
};

mod content;
mod layout;

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
    let mut findings = Findings {
        found: Vec::new(),
        search_budget: SEARCH_LIMIT,
        copy_budget: COPY_LIMIT,
    };
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
        findings.contents(uki, &uki.base())?;
    } else {
        for profile in profiles.iter().take(MAX_PROFILES) {
            findings.profile(uki, profile)?;
        }
        findings.profile_ids(uki, &profiles)?;
    }
    Ok(findings.found)
}

/// What becomes of a command line that a boot menu or firmware passes to the image, `@N` for a profile included: a
/// [`Check::CmdlineIgnored`] for each profile that has its own, which wins under Secure Boot.
///
/// # Examples
///
/// ```
/// # use uki::{Builder, Stub, Uki, lint_passed_cmdline};
/// # let kernel = &include_bytes!("../tests/vectors/kernel.efi")[..];
/// # let mut image = Vec::new();
/// # let stub = Stub::parse(include_bytes!("../tests/vectors/stub.efi"))?;
/// # Builder::new(stub).linux(kernel).cmdline("ro").plan()?.write_to(&mut image)?;
/// let uki = Uki::parse(&image)?;
/// let findings = lint_passed_cmdline(&uki, "debug");
/// assert_eq!(findings[0].check.code(), "cmdline-ignored");
/// assert!(lint_passed_cmdline(&uki, "@1").is_empty()); // only chooses a profile
/// # Ok::<(), uki::Error>(())
/// ```
#[must_use]
pub fn lint_passed_cmdline<S: ReadAt>(uki: &Uki<S>, passed: &str) -> Vec<Finding> {
    let digits = passed.strip_prefix('@').map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest.split_at(end.unwrap_or(rest.len()))
    });
    let (chosen, rest) = match digits {
        Some((digits, rest))
            if !digits.is_empty() && (rest.is_empty() || rest.starts_with(' ')) =>
        {
            (digits.parse::<usize>().ok(), rest)
        }
        _ => (None, passed),
    };
    let profiles = uki.profiles();
    let booted = profiles.iter().take(MAX_PROFILES).filter(|profile| {
        chosen.is_none_or(|chosen| profile.index().is_none_or(|index| index == chosen))
    });
    booted
        .filter(|profile| {
            !rest.trim().is_empty() && profile.section(&SectionName::CMDLINE).is_some()
        })
        .map(|profile| Finding {
            check: Check::CmdlineIgnored,
            section: Some(SectionName::CMDLINE),
            profile: profile.index(),
        })
        .collect()
}

const MAX_PROFILES: usize = 256;
/// Longest text that is looked into.
const MAX_TEXT: u64 = 1 << 14;
/// How many bytes are copied to look into sections; 256 profiles could all claim the whole file as theirs.
const COPY_LIMIT: u64 = 64 << 20;

struct Findings {
    found: Vec<Finding>,
    /// How many bytes may still be searched for versions of kernels.
    search_budget: u64,
    /// How many bytes may still be copied.
    copy_budget: u64,
}

impl Findings {
    fn add(&mut self, check: Check, section: Option<SectionName>, profile: Option<usize>) {
        let finding = Finding {
            check,
            section,
            profile,
        };
        if self.found.last() != Some(&finding) {
            self.found.push(finding);
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
        // shim passes over a section that is longer in memory than in the file, and then finds none.
        let text = text(uki, section)?;
        if !text.starts_with(b"sbat,") || section.zero_fill() != 0 {
            self.add(Check::SbatInvalid, name, None);
        }
        let all = uki.sections().iter();
        if all
            .filter(|other| other.name.header_bytes() == SectionName::SBAT.header_bytes())
            .count()
            > 1
        {
            self.add(Check::SbatDuplicate, name, None);
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
        if profile.section(&Name::OSREL).is_none() && index.is_none_or(|index| index == 0) {
            self.add(Check::OsrelMissing, None, index);
        }
        self.contents(uki, profile)?;
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
        let kernel = match uki.kernel_within(linux, &mut self.search_budget) {
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
