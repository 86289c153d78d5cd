//! Trying causes until the measured value comes out.

use alloc::vec::Vec;

use crate::bank::{Bank, Digest};
use crate::dialect::Dialect;
use crate::error::Error;
use crate::explain::variant::{OtherContents, SECTIONS, Variant, name_digest, rank};
use crate::explain::{Pcr11Cause, Pcr11Explanation};
use crate::pcr11::{HardwareChoice, Profile};
use crate::phase::{KNOWN_WORDS, PhasePath};

/// Most words of a path that is no usual one; nine words give 7,380 such paths.
const MAX_WORDS: usize = 4;

/// So many extends are tried before the search gives up: less than a second's work, and some seconds'
/// without optimization. An honest UKI needs about as many until nothing is left to try.
const BUDGET: u64 = 500_000;

/// So many other boots of the same UKI are looked at.
const MAX_BOOTS: usize = 1024;

pub(super) fn explain(
    profile: &Profile<'_>,
    hardware: HardwareChoice,
    phase: &PhasePath,
    measured: Digest,
    candidates: &[(&str, &[u8])],
) -> Result<Pcr11Explanation, Error> {
    let bank = measured.bank();
    let predicted = Variant::predicted(profile, hardware, bank)?;
    let mut search = Search::new(measured, phase);
    if search.fits(&predicted, Paths::Predicted).is_some() {
        return Ok(Pcr11Explanation::AsPredicted);
    }
    if measured == Digest::zero(bank) {
        return Ok(Pcr11Explanation::Because([Pcr11Cause::NotMeasured].into()));
    }
    if measured == Digest::ones(bank) {
        return Ok(Pcr11Explanation::Because([Pcr11Cause::Capped].into()));
    }
    let found = search.run(profile, hardware, &predicted, candidates);
    Ok(found.map_or(Pcr11Explanation::NoKnownCause, Pcr11Explanation::Because))
}

/// Which paths are tried.
#[derive(Debug, Clone, Copy)]
enum Paths {
    /// The predicted one.
    Predicted,
    /// Those that systemd and Talos go through.
    Usual,
    /// Every path of a few known words.
    All,
}

struct Search<'a> {
    bank: Bank,
    measured: Digest,
    phase: &'a PhasePath,
    /// Digests of the sections' names, with and without NUL.
    names: Vec<[Digest; 2]>,
    words: Vec<(&'static str, Digest)>,
    usual: Vec<(PhasePath, Vec<Digest>)>,
    left: u64,
}

impl<'a> Search<'a> {
    fn new(measured: Digest, phase: &'a PhasePath) -> Self {
        let bank = measured.bank();
        let hashed = |path: PhasePath| {
            let words = path.words().map(|word| bank.hash(word.as_bytes()));
            let words = words.collect();
            (path, words)
        };
        Self {
            bank,
            measured,
            phase,
            names: SECTIONS
                .iter()
                .map(|name| [name_digest(bank, name), bank.hash(name.as_bytes())])
                .collect(),
            words: KNOWN_WORDS
                .iter()
                .map(|word| (*word, bank.hash(word.as_bytes())))
                .collect(),
            usual: usual_paths(phase).into_iter().map(hashed).collect(),
            left: BUDGET,
        }
    }

    /// The simple causes first; what needs two of them, or an unusual path, last.
    fn run(
        &mut self,
        profile: &Profile<'_>,
        hardware: HardwareChoice,
        predicted: &Variant,
        candidates: &[(&str, &[u8])],
    ) -> Option<Vec<Pcr11Cause>> {
        let bank = self.bank;
        let others = other_boots(profile, hardware, bank);
        let contents = OtherContents::of(profile, bank, candidates);
        let single = predicted.single_causes(&contents, bank);
        let found = self
            .first(&others, Paths::Predicted)
            .or_else(|| self.first(&single, Paths::Predicted))
            .or_else(|| self.fits(predicted, Paths::Usual))
            .or_else(|| self.first(&others, Paths::Usual))
            .or_else(|| self.first(&single, Paths::Usual))
            .or_else(|| self.fits(predicted, Paths::All));
        if found.is_some() {
            return found;
        }
        let missing =
            |variant: &&Variant| matches!(variant.causes.as_slice(), [Pcr11Cause::Missing { .. }]);
        let mut fewer: Vec<Variant> = single.iter().filter(missing).cloned().collect();
        for _ in 0..3 {
            fewer = fewer.iter().flat_map(Variant::without_one).collect();
            let found = self.first(&fewer, Paths::Usual);
            if found.is_some() {
                return found;
            }
        }
        for (variants, paths) in [
            (&single, Paths::Predicted),
            (&others, Paths::Predicted),
            (&single, Paths::Usual),
        ] {
            for variant in variants {
                if self.left == 0 {
                    return None;
                }
                let two = variant.single_causes(&contents, bank);
                let found = self.first(&two, paths);
                if found.is_some() {
                    return found;
                }
            }
        }
        self.first(&others, Paths::All)
    }

    fn first(&mut self, variants: &[Variant], paths: Paths) -> Option<Vec<Pcr11Cause>> {
        variants
            .iter()
            .find_map(|variant| self.fits(variant, paths))
    }

    /// The causes, if one of the paths leads from the variant to the measured value.
    fn fits(&mut self, variant: &Variant, paths: Paths) -> Option<Vec<Pcr11Cause>> {
        if self.left == 0 {
            return None;
        }
        let stub = self.register(variant);
        let found = match paths {
            Paths::Predicted => {
                (self.phase.extend(stub) == self.measured).then(|| self.phase.clone())
            }
            Paths::Usual => self.usual_path(stub),
            Paths::All => self.any_path(stub, &mut Vec::new()),
        }?;
        let mut causes = variant.causes.clone();
        if found != *self.phase {
            causes.push(Pcr11Cause::Phase {
                predicted: self.phase.clone(),
                found,
            });
        }
        Some(causes)
    }

    /// PCR 11 after these sections.
    fn register(&mut self, variant: &Variant) -> Digest {
        let extends = (variant.sections.len() as u64).saturating_mul(2);
        self.left = self.left.saturating_sub(extends);
        let mut value = Digest::zero(self.bank);
        for (name, content) in &variant.sections {
            let names = rank(name).and_then(|rank| self.names.get(rank));
            if let Some([with_nul, bare]) = names {
                let name = if variant.bare_names { bare } else { with_nul };
                value = value.extended(name).extended(content);
            }
        }
        value
    }

    fn usual_path(&mut self, stub: Digest) -> Option<PhasePath> {
        let measured = self.measured;
        let mut extends = 0u64;
        let found = self.usual.iter().find(|(_, words)| {
            extends = extends.saturating_add(words.len() as u64);
            let after = words.iter().fold(stub, |value, word| value.extended(word));
            after == measured
        });
        self.left = self.left.saturating_sub(extends);
        found.map(|(path, _)| path.clone())
    }

    /// A path of at most a few words; `before` are those that led to `value`.
    fn any_path(&mut self, value: Digest, before: &mut Vec<&'static str>) -> Option<PhasePath> {
        if value == self.measured {
            return Some(PhasePath::new(&before.join(":")));
        }
        if before.len() == MAX_WORDS || self.left == 0 {
            return None;
        }
        for index in 0..self.words.len() {
            let (word, digest) = *self.words.get(index)?;
            self.left = self.left.saturating_sub(1);
            before.push(word);
            let found = self.any_path(value.extended(&digest), before);
            before.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

/// Other profiles, hardware choices and stubs; what differs in fewer ways comes first.
pub(super) fn other_boots(
    profile: &Profile<'_>,
    hardware: HardwareChoice,
    bank: Bank,
) -> Vec<Variant> {
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
                if variants.len() == MAX_BOOTS {
                    break;
                }
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
                let wanted = HardwareChoice {
                    dtbauto: hardware
                        .dtbauto
                        .filter(|_| boot.dialect().measures(".dtbauto")),
                    efifw: hardware.efifw.filter(|_| boot.dialect().measures(".efifw")),
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

/// The predicted path first, then those of systemd, of an initrd without systemd, and of Talos.
pub(crate) fn usual_paths(predicted: &PhasePath) -> Vec<PhasePath> {
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

/// The phase word that an event extends.
pub(super) fn word_of(event: &Digest) -> Option<&'static str> {
    KNOWN_WORDS
        .into_iter()
        .find(|word| event.bank().hash(word.as_bytes()) == *event)
}
