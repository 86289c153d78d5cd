//! `imager explain`: why measured registers differ from the predicted ones.

use std::path::Path;

use pcr::{Bank, Digest, EventLog, Pcr7, Pcr7Candidates, PhasePath, Register};
use serde_json::{Value, json};

use crate::Error;
use crate::assets::read;
use crate::cli::ExplainOptions;
use crate::contents::Contents;
use crate::logs::read_log;
use crate::planned_boot::PlannedBoot;
use crate::predict::{self, Keys};

/// The answer: is all as predicted, and what explains the rest.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Nothing differs.
    pub as_predicted: bool,
    /// One line for each register, with the causes that fit.
    pub lines: Vec<String>,
}

impl Explanation {
    fn say(&mut self, as_predicted: bool, line: String) {
        self.as_predicted &= as_predicted;
        self.lines.push(line);
    }

    /// The document for `--json`.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({ "as_predicted": self.as_predicted, "explanations": self.lines })
    }
}

/// Explains measured registers, from values or an event log.
///
/// # Errors
/// [`Error::Missing`] when nothing measured is given, [`Error::Input`].
pub fn explain(options: &ExplainOptions) -> Result<Explanation, Error> {
    let log = options.event_log.as_deref().map(read_log).transpose()?;
    let has_values = options.pcr11.is_some() || options.pcr7.is_some() || !options.pcr.is_empty();
    if !has_values && log.is_none() {
        return Err(Error::Missing {
            what: "what was measured",
            hint: "give --pcr11, --pcr7, --pcr or --event-log".into(),
        });
    }
    let phase = PhasePath::checked(&options.phases)
        .map_err(|error| Error::usage("--phases", error.to_string()))?;
    let entry = options.boot.entry.as_deref();
    let open = |path: &Path| Contents::open_entry(path, entry);
    let contents = options.file.as_deref().map(open).transpose()?;
    let plan = |contents| PlannedBoot::read(contents, &options.boot, &Bank::ALL);
    let mut planned = contents.as_ref().map(plan).transpose()?;
    let keys = Keys {
        variables: &options.variables,
        event_log: None,
        secure_boot_off: options.boot.secure_boot_off,
        setup_mode: true,
    };
    let policy = predict::pcr_7(contents.as_ref(), planned.as_mut(), &keys)?;

    let mut found = Explanation {
        as_predicted: true,
        lines: Vec::new(),
    };
    if options.pcr11.is_some() || !options.pcr.is_empty() || log.is_some() {
        match planned.as_ref() {
            Some(planned) => {
                pcr_11(options, planned, &phase, log.as_ref(), &mut found)?;
                others(options, planned, log.as_ref(), &mut found)?;
            }
            // A log alone is enough for PCR 7.
            None if options.pcr11.is_none() && options.pcr.is_empty() => {}
            None => {
                return Err(Error::Missing {
                    what: "the UKI",
                    hint: "registers are explained from its sections; name the file".into(),
                });
            }
        }
    }
    if options.pcr7.is_some() || log.is_some() {
        pcr_7(
            options,
            policy.map(|(boot, _)| boot),
            log.as_ref(),
            &mut found,
        )?;
    }
    Ok(found)
}

fn pcr_11(
    options: &ExplainOptions,
    planned: &PlannedBoot<'_>,
    phase: &PhasePath,
    log: Option<&EventLog>,
    found: &mut Explanation,
) -> Result<(), Error> {
    let step = |error: pcr::Error| Error::step("explain PCR 11", error);
    let profile = planned.boot.profile(planned.profile).map_err(step)?;
    if let Some(text) = &options.pcr11 {
        let measured = digest(text, options.bank.as_deref())?;
        let suspects = suspects(&options.suspect)?;
        let suspects: Vec<(&str, &[u8])> = suspects
            .iter()
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        let explanation = profile
            .explain_with(planned.hardware, phase, measured, &suspects)
            .map_err(step)?;
        found.say(
            matches!(explanation, pcr::Pcr11Explanation::AsPredicted),
            format!("PCR 11: {explanation}"),
        );
    }
    if let Some(log) = log {
        let bank = log.banks().last().copied().unwrap_or(Bank::Sha256);
        let digests: Vec<Digest> = log
            .events()
            .iter()
            .filter(|event| event.register() == Some(Register::KERNEL_BOOT) && event.extends())
            .filter_map(|event| event.digest(bank))
            .collect();
        let causes = profile
            .explain_events(planned.hardware, &PhasePath::stub(), &digests)
            .map_err(step)?;
        if causes.is_empty() {
            found.say(true, "PCR 11: as predicted".into());
        }
        for cause in causes {
            found.say(false, format!("PCR 11: {cause}"));
        }
    }
    Ok(())
}

/// The registers that the plan of the boot determines: 4, 5, 9, 12 and 13.
fn others(
    options: &ExplainOptions,
    planned: &PlannedBoot<'_>,
    log: Option<&EventLog>,
    found: &mut Explanation,
) -> Result<(), Error> {
    if options.pcr.is_empty() && log.is_none() {
        return Ok(());
    }
    let plan = planned.plan()?;
    for text in &options.pcr {
        let wrong = || Error::usage("--pcr", format!("'{text}': NUMBER=HEX expected"));
        let (number, value) = text.split_once('=').ok_or_else(wrong)?;
        let number = number.trim().parse().ok();
        let register = number.and_then(Register::new).ok_or_else(wrong)?;
        let explanation = match register.index() {
            7 => return Err(Error::usage("--pcr", "PCR 7 is given with --pcr7")),
            11 => return Err(Error::usage("--pcr", "PCR 11 is given with --pcr11")),
            _ => plan.explain(register, digest(value, options.bank.as_deref())?),
        };
        let fits = matches!(explanation, pcr::PlanExplanation::AsPredicted);
        found.say(fits, format!("PCR {register}: {explanation}"));
    }
    if let Some(log) = log {
        let of_plan = |register: &&Register| **register != Register::KERNEL_BOOT;
        let differences = plan.compare(log);
        for register in plan.registers().iter().filter(of_plan) {
            let mut differs = false;
            for difference in &differences {
                if difference.register() == *register {
                    found.say(false, difference.to_string());
                    differs = true;
                }
            }
            if !differs {
                found.say(true, format!("PCR {register}: as predicted"));
            }
        }
        let notes = plan.notes().iter().map(ToString::to_string);
        found
            .lines
            .extend(notes.map(|note| format!("note: {note}")));
    }
    let notes = planned.notes.iter();
    found
        .lines
        .extend(notes.map(|note| format!("note: {note}")));
    Ok(())
}

fn pcr_7(
    options: &ExplainOptions,
    boot: Option<Pcr7>,
    log: Option<&EventLog>,
    found: &mut Explanation,
) -> Result<(), Error> {
    let Some(boot) = boot else {
        let line = "PCR 7: not explained: it needs the keys (--secureboot-dir, or --pk --kek --db)";
        found.say(false, line.into());
        return Ok(());
    };
    let step = |error| Error::step("explain PCR 7", error);
    if let Some(text) = &options.pcr7 {
        let measured = digest(text, options.bank.as_deref())?;
        let explanations = boot
            .explain(&measured, &Pcr7Candidates::new())
            .map_err(step)?;
        if explanations.is_empty() {
            found.say(false, "PCR 7: none of the known causes fits".into());
        }
        for explanation in explanations {
            let fits = explanation.causes.is_empty();
            let text = if fits {
                "as predicted".into()
            } else {
                explanation.to_string()
            };
            found.say(fits, format!("PCR 7: {text}"));
        }
    }
    if let Some(log) = log {
        let mut differences = boot.explain_log(log).map_err(step)?;
        let mut as_predicted = "PCR 7: as predicted";
        if options.file.is_none() {
            // Without images only the variables and the firmware's own events can be compared.
            let is_authority =
                |event: &pcr::Event| event.event_type() == pcr::EventType::EFI_VARIABLE_AUTHORITY;
            differences.retain(|difference| {
                difference.predicted.is_some()
                    || !difference.measured.as_ref().is_some_and(is_authority)
            });
            as_predicted = "PCR 7: as predicted, authorities of images left out: name the file";
        }
        if differences.is_empty() {
            found.say(true, as_predicted.into());
        }
        for difference in differences {
            found.say(false, difference.to_string());
        }
    }
    Ok(())
}

/// Contents that sections may have had, with the dot before their names.
fn suspects(given: &[String]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let read = |text: &String| {
        let (name, content) = text.split_once('=').ok_or_else(|| {
            Error::usage(
                "--suspect",
                format!("'{text}': NAME=TEXT or NAME=@FILE expected"),
            )
        })?;
        let content = match content.strip_prefix('@') {
            Some(path) => read(path.as_ref())?,
            None => content.as_bytes().to_vec(),
        };
        Ok((format!(".{}", name.trim_start_matches('.')), content))
    };
    given.iter().map(read).collect()
}

fn digest(text: &str, bank: Option<&str>) -> Result<Digest, Error> {
    let text = text.trim();
    let bank = match bank {
        Some(name) => name
            .parse()
            .map_err(|error| Error::usage("--bank", format!("'{name}': {error}")))?,
        None => Bank::ALL
            .into_iter()
            .find(|bank| bank.digest_len() * 2 == text.len())
            .ok_or_else(|| {
                Error::usage(
                    "measured value",
                    format!("'{text}' has the length of no bank's digest"),
                )
            })?,
    };
    Digest::from_hex(bank, text).map_err(|error| Error::usage("measured value", error.to_string()))
}
