//! `imager explain`: why measured registers differ from the predicted ones.

use pcr::{Bank, Digest, EventLog, HardwareChoice, Pcr7Candidates, PhasePath, Register};
use serde_json::{Value, json};

use crate::assets::read;
use crate::cli::{ExplainOptions, PredictOptions};
use crate::contents::Contents;
use crate::{Error, predict};

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
    /// The document for `--json`.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({ "as_predicted": self.as_predicted, "explanations": self.lines })
    }
}

/// Explains PCR 11 and PCR 7, from values or an event log.
///
/// # Errors
/// [`Error::Missing`] when nothing measured is given, [`Error::Input`].
pub fn explain(options: &ExplainOptions) -> Result<Explanation, Error> {
    let step = |error: pcr::Error| Error::step("explain PCR 11", error);
    let contents = options.file.as_deref().map(Contents::open).transpose()?;
    let log = options
        .event_log
        .as_deref()
        .map(|path| {
            EventLog::parse(&read(path)?).map_err(|error| Error::input("event log", path, error))
        })
        .transpose()?;
    if options.pcr11.is_none() && options.pcr7.is_none() && log.is_none() {
        return Err(Error::Missing {
            what: "what was measured",
            hint: "give --pcr11, --pcr7 or --event-log".into(),
        });
    }
    let mut found = Explanation {
        as_predicted: true,
        lines: Vec::new(),
    };
    let mut say = |as_predicted: bool, line: String| {
        found.as_predicted &= as_predicted;
        found.lines.push(line);
    };

    if options.pcr11.is_some() || log.is_some() {
        let contents = contents.as_ref().ok_or_else(|| Error::Missing {
            what: "the UKI",
            hint: "PCR 11 is explained from its sections; name the file".into(),
        })?;
        let boot = contents.pcr11(&contents.uki()?, &Bank::ALL)?;
        let phase = PhasePath::new(&options.phases);
        let profile = boot.default_profile();
        if let Some(text) = &options.pcr11 {
            let measured = digest(text, options.bank.as_deref())?;
            let explanation = profile
                .explain(HardwareChoice::NONE, &phase, measured)
                .map_err(step)?;
            say(
                matches!(explanation, pcr::Pcr11Explanation::AsPredicted),
                format!("PCR 11: {explanation}"),
            );
        }
        if let Some(log) = &log {
            let bank = log.banks().last().copied().unwrap_or(Bank::Sha256);
            let digests: Vec<Digest> = log
                .events()
                .iter()
                .filter(|event| event.register() == Some(Register::KERNEL_BOOT))
                .filter_map(|event| event.digest(bank))
                .collect();
            let causes = profile
                .explain_events(HardwareChoice::NONE, &PhasePath::stub(), &digests)
                .map_err(step)?;
            if causes.is_empty() {
                say(true, "PCR 11: as predicted".into());
            }
            for cause in causes {
                say(false, format!("PCR 11: {cause}"));
            }
        }
    }

    if options.pcr7.is_some() || log.is_some() {
        let request = PredictOptions {
            variables: options.variables.clone(),
            ..PredictOptions::default()
        };
        match predict::pcr_7(contents.as_ref(), &request)? {
            None => say(
                false,
                "PCR 7: not explained: it needs the keys (--secureboot-dir, or --pk --kek --db)"
                    .into(),
            ),
            Some((boot, _)) => {
                let step = |error| Error::step("explain PCR 7", error);
                if let Some(text) = &options.pcr7 {
                    let measured = digest(text, options.bank.as_deref())?;
                    let explanations = boot
                        .explain(&measured, &Pcr7Candidates::new())
                        .map_err(step)?;
                    match explanations.as_slice() {
                        [] => say(false, "PCR 7: none of the known causes fits".into()),
                        several => {
                            for explanation in several {
                                let fits = explanation.causes.is_empty();
                                let text = if fits {
                                    "as predicted".into()
                                } else {
                                    explanation.to_string()
                                };
                                say(fits, format!("PCR 7: {text}"));
                            }
                        }
                    }
                }
                if let Some(log) = &log {
                    let differences = boot.explain_log(log).map_err(step)?;
                    if differences.is_empty() {
                        say(true, "PCR 7: as predicted".into());
                    }
                    for difference in differences {
                        say(false, format!("PCR 7: {difference}"));
                    }
                }
            }
        }
    }
    Ok(found)
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
