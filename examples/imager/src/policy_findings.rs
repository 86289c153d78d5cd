//! What is wrong with a UKI: its sections, and its signed policies.

use pcr::{Bank, Pcr11};
use uki::{SectionName, Uki};

use crate::Error;
use crate::contents::{Contents, Part};

/// The findings of both kinds, each with its code first.
///
/// # Errors
/// [`Error::Input`], read errors.
pub(crate) fn of(contents: &Contents, uki: &Uki<uki::Stream<Part>>) -> Result<Vec<String>, Error> {
    let sections = uki::lint(uki).map_err(|error| Error::input("UKI", &contents.path, error))?;
    let mut findings: Vec<String> = sections.iter().map(ToString::to_string).collect();
    findings.extend(policies(contents, uki)?);
    Ok(findings)
}

/// What the lint of the sections cannot see, because it takes hashes: signed policies that fit neither key nor content.
///
/// # Errors
/// Read errors.
pub(crate) fn policies(
    contents: &Contents,
    uki: &Uki<uki::Stream<Part>>,
) -> Result<Vec<String>, Error> {
    let has = |name: &SectionName| uki.sections().iter().any(|section| section.name() == name);
    if !has(&SectionName::PCRSIG) || !has(&SectionName::PCRPKEY) {
        return Ok(Vec::new());
    }
    let (boot, _) = contents.hashed(uki, &Bank::ALL)?;
    of_policies(&boot)
}

fn of_policies(boot: &Pcr11) -> Result<Vec<String>, Error> {
    match boot.check_policies(&[]) {
        Ok(findings) => Ok(findings.iter().map(ToString::to_string).collect()),
        // Nothing to start, which the lint of the sections tells.
        Err(pcr::Error::NoKernel { .. }) => Ok(Vec::new()),
        Err(error) => Err(Error::step("check the signed policies", error)),
    }
}
