//! The checks of one profile.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::bank::{Bank, Register};
use crate::error::Error;
use crate::explain::usual_paths;
use crate::pcr11::{HardwareChoice, Profile};
use crate::phase::PhasePath;
use crate::policy::{Policy, policy_message};
use crate::policy_check::{PolicyCheck, PolicyFinding};
use crate::public_key::PublicKey;
use crate::signature_document::{SignatureDocument, SignedPolicy};

/// Where the policy of a value comes from.
type Origin = (HardwareChoice, PhasePath);

/// Origins by bank and policy digest.
type Known = BTreeMap<(Bank, [u8; 32]), Vec<Origin>>;

/// Checks a profile. The answer is the fingerprint of its key, when a policy of it can unseal.
pub(super) fn check(
    profile: &Profile<'_>,
    phases: &[PhasePath],
    findings: &mut Vec<PolicyFinding>,
) -> Result<Option<[u8; 32]>, Error> {
    let (Some(document), Some(key)) = (profile.section(".pcrsig"), profile.section(".pcrpkey"))
    else {
        return Ok(None);
    };
    let mut add = |check, entry| {
        findings.push(PolicyFinding {
            check,
            profile: profile.index(),
            entry,
        });
    };
    let key = match PublicKey::from_pem(key.text().unwrap_or_default()) {
        Ok(key) => key,
        Err(Error::Key(reason)) => {
            add(PolicyCheck::KeyUnusable(reason), None);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let document = document.text().map(SignatureDocument::parse);
    let Some(Ok(document)) = document else {
        add(PolicyCheck::DocumentUnreadable, None);
        return Ok(None);
    };

    let known = known_policies(profile, phases, &document)?;
    let mut is_for_key = false;
    let mut usable: BTreeSet<(Bank, Origin)> = BTreeSet::new();
    let mut late: BTreeSet<PhasePath> = BTreeSet::new();
    for entry in document.entries() {
        let place = Some((entry.bank(), entry.index()));
        let Ok(signed) = entry.read() else {
            add(PolicyCheck::EntryUnreadable, place);
            continue;
        };
        if signed.fingerprint != *key.fingerprint() {
            continue;
        }
        is_for_key = true;
        if let Some(check) = signature_problem(&key, entry.bank(), &signed) {
            add(check, place);
            continue;
        }
        if signed.registers != [Register::KERNEL_BOOT] {
            continue;
        }
        match known.get(&(entry.bank(), signed.policy)) {
            None => add(PolicyCheck::OtherValue, place),
            Some(origins) => {
                let phases = origins.iter().map(|(_, phase)| phase);
                late.extend(phases.filter(|phase| is_late(phase)).cloned());
                usable.extend(origins.iter().map(|origin| (entry.bank(), origin.clone())));
            }
        }
    }
    for phase in late {
        add(PolicyCheck::LatePhase { phase }, None);
    }
    if !is_for_key {
        add(PolicyCheck::OtherKey, None);
        return Ok(None);
    }
    for check in missing(profile, phases, &document, &usable) {
        add(check, None);
    }
    Ok((!usable.is_empty()).then_some(*key.fingerprint()))
}

fn signature_problem(key: &PublicKey, bank: Bank, signed: &SignedPolicy) -> Option<PolicyCheck> {
    let message = policy_message(&signed.policy, signed.reference.as_deref());
    if key.verifies(Bank::Sha256, &message, &signed.signature) {
        None
    } else if key.verifies(bank, &message, &signed.signature) {
        Some(PolicyCheck::BankHash)
    } else {
        Some(PolicyCheck::SignatureInvalid)
    }
}

/// The policies of every known phase, in the banks of the document.
fn known_policies(
    profile: &Profile<'_>,
    phases: &[PhasePath],
    document: &SignatureDocument,
) -> Result<Known, Error> {
    let mut paths = usual_paths(&PhasePath::stub());
    paths.extend(phases.iter().cloned());
    let paths = PhasePath::sorted(&paths);
    let mut known = Known::new();
    for hardware in profile.hardware() {
        for bank in banks(document) {
            let stub = profile.register(hardware, bank)?;
            for phase in &paths {
                let policy = Policy::of_value(profile.index(), hardware, phase.clone(), stub);
                let origins = known.entry((bank, policy.digest())).or_default();
                origins.push((hardware, policy.phase));
            }
        }
    }
    Ok(known)
}

/// The banks of the document, in ascending order.
fn banks(document: &SignatureDocument) -> BTreeSet<Bank> {
    document.entries().map(|entry| entry.bank()).collect()
}

/// Phases, banks and hardware choices without a usable policy.
fn missing(
    profile: &Profile<'_>,
    phases: &[PhasePath],
    document: &SignatureDocument,
    usable: &BTreeSet<(Bank, Origin)>,
) -> Vec<PolicyCheck> {
    let mut missing = Vec::new();
    let is_signed = |bank: Bank, phase: &PhasePath| {
        let mut all = usable.iter();
        all.any(|(signed, (_, path))| *signed == bank && path == phase)
    };
    for bank in banks(document) {
        let either = [PhasePath::initrd(), PhasePath::talos()];
        if phases.is_empty() && !either.iter().any(|phase| is_signed(bank, phase)) {
            let phase = PhasePath::initrd();
            missing.push(PolicyCheck::PhaseMissing { phase, bank });
        }
        for phase in phases.iter().filter(|phase| !is_signed(bank, phase)) {
            let phase = phase.clone();
            missing.push(PolicyCheck::PhaseMissing { phase, bank });
        }
    }
    if !usable.is_empty() {
        let signed: BTreeSet<HardwareChoice> =
            usable.iter().map(|(_, (hardware, _))| *hardware).collect();
        let choices = profile.hardware().into_iter();
        missing.extend(
            choices
                .filter(|hardware| !signed.contains(hardware))
                .map(|hardware| PolicyCheck::HardwareMissing { hardware }),
        );
    }
    missing
}

/// Whether root of the running system can be there in this phase.
fn is_late(phase: &PhasePath) -> bool {
    const LATE: [&str; 5] = ["sysinit", "ready", "shutdown", "final", "start-the-world"];
    phase.words().any(|word| LATE.contains(&word))
}

/// Whether a profile says of itself, or has the kernel told, that it gives a shell.
pub(super) fn is_for_debugging(profile: &Profile<'_>) -> bool {
    const LABELS: [&str; 3] = ["debug", "rescue", "emergency"];
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
    let text = |name| String::from_utf8_lossy(profile.text(name).unwrap_or_default());
    let is_labelled = text(".profile").lines().any(|line| {
        let value = line.strip_prefix("ID=").or(line.strip_prefix("TITLE="));
        let value = value.unwrap_or_default().to_ascii_lowercase();
        LABELS.iter().any(|label| value.contains(label))
    });
    let is_told = text(".cmdline")
        .split_whitespace()
        .any(|word| WORDS.contains(&word.trim_matches('\0')));
    is_labelled || is_told
}
