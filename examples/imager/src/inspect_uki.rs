//! The UKI part of `imager inspect`.

use serde_json::{Value, json};
use uki::{EnvText, ReadAt, Section, SectionName, Uki};

/// Longest text that is shown.
const MAX_TEXT: u64 = 64 << 10;
/// Most profiles that a stub looks at.
const MAX_PROFILES: usize = 256;

/// What is in a UKI or addon.
pub(crate) fn describe<S: ReadAt>(uki: &Uki<S>) -> Result<Value, uki::Error> {
    let base = uki.base();
    let text = |section: Option<&Section>| {
        section
            .filter(|section| section.file_len() <= MAX_TEXT)
            .map(|section| uki.text(section))
            .transpose()
    };
    let sections: Vec<Value> = uki.sections().iter().map(section).collect();
    let kernel = base
        .section(&SectionName::LINUX)
        .map(|section| uki.kernel(section));
    let (kernel, problem) = match kernel {
        Some(Ok(kernel)) => (Some(kernel), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    let views = uki.profiles();
    let mut profiles = Vec::new();
    for view in views
        .iter()
        .take(MAX_PROFILES)
        .filter(|view| view.index().is_some())
    {
        let about = text(view.section(&SectionName::PROFILE))?.unwrap_or_default();
        let about = EnvText::parse(about.as_bytes());
        let own: Vec<String> = view
            .sections()
            .filter(|section| view.owns(section))
            .map(|section| section.name().to_string())
            .collect();
        profiles.push(json!({
            "index": view.index(), "id": about.get("ID"), "title": about.get("TITLE"),
            "cmdline": text(view.section(&SectionName::CMDLINE))?, "sections": own,
        }));
    }
    let sbat = text(base.section(&SectionName::SBAT))?.unwrap_or_default();
    let sbat: Vec<String> = uki::sbat_entries(sbat.as_bytes())
        .map(|entry| format!("{},{}", entry.component, entry.generation))
        .collect();
    let findings = uki::lint(uki)?;
    Ok(json!({
        "stub": format!("{} {}", uki.stub().name(), uki.stub().version()).trim(),
        "machine": uki.machine().to_string(),
        "kernel": kernel.as_ref().and_then(uki::Kernel::version),
        "kernel_format": kernel.as_ref().map(|kernel| format!("{:?}", kernel.format())),
        "kernel_problem": problem,
        "cmdline": text(base.section(&SectionName::CMDLINE))?,
        "os_release": text(base.section(&SectionName::OSREL))?,
        "uname": text(base.section(&SectionName::UNAME))?,
        "sbat": sbat,
        "profiles": views.len(),
        "profile_list": profiles,
        "sections": sections,
        "findings": findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

fn section(section: &Section) -> Value {
    json!({
        "name": section.name().to_string(), "size": section.virtual_len(), "offset": section.raw_offset(),
        "address": section.virtual_address(), "raw_size": section.raw_len(),
    })
}
