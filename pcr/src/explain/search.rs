//! Trying causes until the measured value comes out.

use alloc::vec::Vec;

use crate::bank::Digest;
use crate::dialect::Dialect;
use crate::error::Error;
use crate::explain::variant::Variant;
use crate::explain::{Pcr11Cause, Pcr11Explanation};
use crate::pcr11::{HardwareChoice, Profile};
use crate::phase::PhasePath;

/// Words that userspace is known to extend.
const WORDS: [&str; 9] = [
    "enter-initrd",
    "leave-initrd",
    "sysinit",
    "ready",
    "shutdown",
    "final",
    "enter-machined",
    "start-the-world",
    "os-separator",
];

/// Most words of a path that is no usual one; nine words give 7,380 such paths.
const MAX_WORDS: u32 = 4;

pub(super) fn explain(
    profile: &Profile<'_>,
    hardware: HardwareChoice,
    phase: &PhasePath,
    measured: Digest,
) -> Result<Pcr11Explanation, Error> {
    let bank = measured.bank();
    let predicted = Variant::predicted(profile, hardware, bank)?;
    if phase.extend(predicted.register(bank)) == measured {
        return Ok(Pcr11Explanation::AsPredicted);
    }
    if measured == Digest::zero(bank) {
        return Ok(Pcr11Explanation::Because([Pcr11Cause::NotMeasured].into()));
    }
    if measured == Digest::ones(bank) {
        return Ok(Pcr11Explanation::Because([Pcr11Cause::Capped].into()));
    }
    let paths = usual_paths(phase);
    let others = other_boots(profile, hardware, bank);
    let single = single_causes(profile, &predicted, bank);
    let fits = |variants: &[Variant], paths: &[PhasePath]| {
        variants.iter().find_map(|variant| {
            let stub = variant.register(bank);
            let found = paths.iter().find(|path| path.extend(stub) == measured)?;
            let mut causes = variant.causes.clone();
            if found != phase {
                causes.push(Pcr11Cause::Phase {
                    predicted: phase.clone(),
                    found: found.clone(),
                });
            }
            Some(Pcr11Explanation::Because(causes))
        })
    };
    let here = core::slice::from_ref(phase);
    let predicted = core::slice::from_ref(&predicted);
    let found = fits(&others, here)
        .or_else(|| fits(&single, here))
        .or_else(|| fits(predicted, &paths))
        .or_else(|| fits(&others, &paths))
        .or_else(|| fits(&single, &paths));
    if let Some(found) = found {
        return Ok(found);
    }
    let missing: Vec<Variant> = single
        .iter()
        .filter(|variant| matches!(variant.causes.as_slice(), [Pcr11Cause::Missing { .. }]))
        .cloned()
        .collect();
    let mut fewer = missing.clone();
    for _ in 0..3 {
        fewer = fewer.iter().flat_map(Variant::without_one).collect();
        if let Some(found) = fits(&fewer, &paths) {
            return Ok(found);
        }
    }
    let two: Vec<Variant> = others
        .iter()
        .chain(&single)
        .flat_map(|variant| single_causes(profile, variant, bank))
        .collect();
    let found = fits(&two, &paths)
        .or_else(|| fits(predicted, &all_paths()))
        .or_else(|| fits(&others, &all_paths()));
    Ok(found.unwrap_or(Pcr11Explanation::NoKnownCause))
}

/// Other profiles, hardware choices and stubs.
fn other_boots(profile: &Profile<'_>, hardware: HardwareChoice, bank: crate::Bank) -> Vec<Variant> {
    let mut variants = Vec::new();
    let home = profile.pcr11().dialect();
    let dialects = Dialect::ALL.into_iter().filter(|dialect| *dialect != home);
    for dialect in [home].into_iter().chain(dialects) {
        let boot = profile.pcr11().clone().with_dialect(dialect);
        for index in 0..boot.profile_count() {
            let Ok(other) = boot.profile(index) else {
                continue;
            };
            for choice in other.hardware() {
                let Ok(mut variant) = Variant::predicted(&other, choice, bank) else {
                    continue;
                };
                if dialect != home {
                    variant.causes.push(Pcr11Cause::Dialect {
                        predicted: home,
                        found: dialect,
                    });
                }
                if index != profile.index() && boot.dialect().has_profiles() {
                    variant.causes.push(Pcr11Cause::Profile {
                        predicted: profile.index(),
                        found: index,
                    });
                }
                let wanted = if boot.dialect().measures(".dtbauto") {
                    hardware
                } else {
                    HardwareChoice::NONE
                };
                if choice != wanted {
                    variant.causes.push(Pcr11Cause::Hardware {
                        predicted: hardware,
                        found: choice,
                    });
                }
                variants.push(variant);
            }
        }
    }
    variants.retain(|variant| !variant.causes.is_empty());
    variants.sort_by_key(|variant| variant.causes.len());
    variants
}

/// One change to what was measured.
fn single_causes(profile: &Profile<'_>, from: &Variant, bank: crate::Bank) -> Vec<Variant> {
    let mut variants: Vec<Variant> = from.without_one().collect();
    variants.push(from.with_swapped_hardware());
    variants.push(from.in_specification_order());
    variants.extend(from.with_one_empty(bank));
    variants.extend(from.with_endings(profile, bank));
    let pcrsig = profile.text(".pcrsig").map(|text| {
        let section = ".pcrsig";
        from.inserted(Pcr11Cause::Extra { section }, section, bank.hash(text))
    });
    variants.extend(pcrsig);
    variants.retain(|variant| variant.sections != from.sections);
    variants
}

/// The predicted path first, then those of systemd, of an initrd without systemd, and of Talos.
fn usual_paths(predicted: &PhasePath) -> Vec<PhasePath> {
    let texts = [
        "",
        "enter-initrd",
        "enter-initrd:leave-initrd",
        "enter-initrd:leave-initrd:sysinit",
        "enter-initrd:leave-initrd:sysinit:ready",
        "enter-initrd:leave-initrd:sysinit:ready:shutdown",
        "enter-initrd:leave-initrd:sysinit:ready:shutdown:final",
        "sysinit",
        "sysinit:ready",
        "sysinit:ready:shutdown",
        "sysinit:ready:shutdown:final",
        "enter-initrd:leave-initrd:enter-machined",
        "enter-initrd:leave-initrd:enter-machined:start-the-world",
    ];
    let mut paths = [predicted.clone()].to_vec();
    paths.extend(texts.into_iter().map(PhasePath::new));
    paths
}

/// Every path of a few known words.
fn all_paths() -> Vec<PhasePath> {
    let mut paths = Vec::new();
    let mut last = [PhasePath::stub()].to_vec();
    for _ in 0..MAX_WORDS {
        last = last
            .iter()
            .flat_map(|path| {
                WORDS
                    .iter()
                    .map(move |word| PhasePath::new(&alloc::format!("{path}:{word}")))
            })
            .collect();
        paths.extend(last.iter().cloned());
    }
    paths
}

/// The phase word that an event extends.
pub(super) fn word_of(event: &Digest) -> Option<&'static str> {
    WORDS
        .into_iter()
        .find(|word| event.bank().hash(word.as_bytes()) == *event)
}
