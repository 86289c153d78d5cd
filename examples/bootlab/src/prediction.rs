//! Predicted registers beside measured ones.

use core::fmt::{self, Write as _};
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::registers::{Registers, hex};

/// What somebody says the registers will be, by number, phase path and bank.
///
/// The empty phase path stands for the moment when the operating system starts; registers that do
/// not change with the phase have only that.
///
/// ```
/// let document = r#"{"pcrs": {"11": {"": {"sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}}}}"#;
/// let predicted = bootlab::Prediction::from_json(document)?;
/// let comparison = predicted.compare("", &bootlab::Registers::default());
/// assert!(comparison.is_empty(), "a bank that the TPM does not have is not compared");
/// # Ok::<(), bootlab::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prediction {
    values: BTreeMap<(u32, String, String), String>,
}

/// One register, predicted and measured, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Number of the register.
    pub pcr: u32,
    /// Name of the bank.
    pub bank: String,
    /// Phase path; empty at the start of the operating system.
    pub phase: String,
    /// The value that was predicted.
    pub predicted: String,
    /// The value that was measured.
    pub measured: String,
}

impl Comparison {
    /// Whether the prediction was right.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.predicted == self.measured
    }
}

impl Prediction {
    /// Reads the document of `imager predict --json`:
    /// `{"pcrs": {"11": {"enter-initrd": {"sha256": "…"}}}}`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not one.
    pub fn from_json(document: &str) -> Result<Self> {
        let wrong = |problem: String| Error::Invalid {
            what: "prediction".to_owned(),
            problem,
        };
        let document: Value =
            serde_json::from_str(document).map_err(|error| wrong(error.to_string()))?;
        let object = |value: &Value, what: &str| {
            value
                .as_object()
                .cloned()
                .ok_or_else(|| wrong(format!("{what} is not an object")))
        };
        let mut prediction = Self::default();
        for (pcr, phases) in object(&document["pcrs"], "pcrs")? {
            let number = pcr
                .parse()
                .map_err(|_| wrong(format!("{pcr:?} is not the number of a register")))?;
            for (phase, banks) in object(&phases, &pcr)? {
                for (bank, value) in object(&banks, &phase)? {
                    let value = value
                        .as_str()
                        .ok_or_else(|| wrong(format!("{bank} of {pcr} is not a text")))?;
                    prediction.insert(number, &phase, &bank, value);
                }
            }
        }
        Ok(prediction)
    }

    /// Adds or replaces one value.
    pub fn insert(&mut self, pcr: u32, phase: &str, bank: &str, value: &str) {
        self.values.insert(
            (pcr, phase.to_owned(), bank.to_owned()),
            value.to_ascii_lowercase(),
        );
    }

    /// Whether it says something about a register.
    #[must_use]
    pub fn covers(&self, pcr: u32) -> bool {
        self.values.keys().any(|(number, ..)| *number == pcr)
    }

    /// One predicted value.
    #[must_use]
    pub fn get(&self, pcr: u32, phase: &str, bank: &str) -> Option<&str> {
        let key = (pcr, phase.to_owned(), bank.to_owned());
        self.values.get(&key).map(String::as_str)
    }

    /// Compares what is predicted for a phase with registers that were read then, in every bank
    /// that was read.
    ///
    /// Registers for which only the empty phase path is predicted are compared in every phase.
    #[must_use]
    pub fn compare(&self, phase: &str, registers: &Registers) -> Vec<Comparison> {
        let depends = |pcr: u32| {
            self.values
                .keys()
                .any(|(number, path, _)| *number == pcr && !path.is_empty())
        };
        self.values
            .iter()
            .filter(|((pcr, path, _), _)| path == phase || path.is_empty() && !depends(*pcr))
            .filter_map(|((pcr, _, bank), predicted)| {
                Some(Comparison {
                    pcr: *pcr,
                    bank: bank.clone(),
                    phase: phase.to_owned(),
                    predicted: predicted.clone(),
                    measured: hex(registers.get(bank, *pcr)?),
                })
            })
            .collect()
    }
}

/// Predicted and measured values as a table for a terminal; long values are cut in the middle.
#[must_use]
pub fn table(comparisons: &[Comparison]) -> String {
    let mut text = String::new();
    let phases = comparisons
        .iter()
        .map(|row| row.phase.len())
        .max()
        .unwrap_or(0)
        .max(5);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "pcr bank   {:phases$} {:41} {:41}",
        "phase", "predicted", "measured"
    );
    for row in comparisons {
        let verdict = if row.agrees() { "equal" } else { "DIFFERENT" };
        let _ = writeln!(
            text,
            "{:>3} {:6} {:phases$} {:41} {:41} {verdict}",
            row.pcr,
            row.bank,
            if row.phase.is_empty() {
                "-"
            } else {
                &row.phase
            },
            Short(&row.predicted),
            Short(&row.measured),
        );
    }
    text
}

/// Hexadecimal digits that fit into 41 columns.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, tail) = (
            self.0.get(..20),
            self.0.get(self.0.len().saturating_sub(20)..),
        );
        match (head, tail) {
            (Some(head), Some(tail)) if self.0.len() > 41 => f.pad(&format!("{head}…{tail}")),
            _ => f.pad(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction() -> Prediction {
        let mut prediction = Prediction::default();
        prediction.insert(7, "", "sha1", "0707");
        prediction.insert(11, "", "sha1", "1100");
        prediction.insert(11, "enter-initrd", "sha1", "11AA");
        prediction
    }

    fn registers(pcr11: u8) -> Registers {
        let mut registers = Registers::default();
        registers.insert("sha1", 7, vec![7, 7]);
        registers.insert("sha1", 11, vec![0x11, pcr11]);
        registers
    }

    #[test]
    fn a_register_without_phases_is_compared_in_every_phase() {
        let rows = prediction().compare("enter-initrd", &registers(0xaa));
        assert_eq!(rows.iter().map(|row| row.pcr).collect::<Vec<_>>(), [7, 11]);
        assert!(rows.iter().all(Comparison::agrees));
    }

    #[test]
    fn a_wrong_prediction_is_marked() {
        let rows = prediction().compare("", &registers(1));
        assert_eq!(
            (rows[1].predicted.as_str(), rows[1].measured.as_str()),
            ("1100", "1101")
        );
        assert!(!rows[1].agrees());
        assert!(table(&rows).lines().nth(2).unwrap().ends_with("DIFFERENT"));
    }

    #[test]
    fn long_values_keep_both_ends() {
        let text = format!("{}", Short(&"0123456789abcdef".repeat(8)));
        assert_eq!(text, "0123456789abcdef0123…cdef0123456789abcdef");
    }

    #[test]
    fn a_document_with_a_wrong_register_is_refused() {
        let error = Prediction::from_json(r#"{"pcrs": {"x": {}}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "prediction: \"x\" is not the number of a register"
        );
    }
}
