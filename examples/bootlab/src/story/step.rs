//! One boot of the story.

use serde::Serialize;

use crate::error::Result;
use crate::prediction::Comparison;
use crate::report::{Ending, Report};

/// A boot, what was seen and how that compares with the prediction.
#[derive(Debug, Clone)]
pub struct Step {
    name: &'static str,
    report: Report,
    comparisons: Vec<Comparison>,
    problem: Option<String>,
}

/// A boot in a machine-readable report.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Name of the boot.
    pub name: String,
    /// What came out.
    pub result: String,
    /// From power-on to power-off.
    pub seconds: f64,
    /// Crashed guests before this result.
    pub retries: usize,
}

impl Step {
    /// Keeps a boot that must end with `expected` and, when its guest ran, with a script that was
    /// content.
    pub(crate) fn new(name: &'static str, report: Report, expected: &Ending) -> Self {
        let problem = if report.ending() != expected {
            Some(format!(
                "ended with {}, expected {expected}",
                report.ending()
            ))
        } else if *expected == Ending::Done && report.script_status() != Some(0) {
            Some(format!(
                "the guest's script failed: {}",
                report.script_log().trim()
            ))
        } else {
            None
        };
        Self {
            name,
            report,
            comparisons: Vec::new(),
            problem,
        }
    }

    /// Adds what was compared.
    pub(crate) fn compared(mut self, comparisons: impl IntoIterator<Item = Comparison>) -> Self {
        self.comparisons.extend(comparisons);
        self
    }

    /// Its name in the table of boots.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Everything that the boot brought back.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Predicted beside measured registers.
    #[must_use]
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    /// What is not as it should be: the way the boot ended, what its script found, or the first
    /// register that was predicted wrongly.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let wrong = || {
            let row = self.comparisons.iter().find(|row| !row.agrees())?;
            Some(format!(
                "register {} in bank {} (phase {:?}): predicted {}, measured {}",
                row.pcr, row.bank, row.phase, row.predicted, row.measured
            ))
        };
        self.problem.clone().or_else(wrong)
    }

    /// Itself, if nothing is wrong.
    ///
    /// # Errors
    /// [`Error::Boot`](crate::Error::Boot) with the problem and the end of the serial output.
    pub fn checked(self) -> Result<Self> {
        match self.problem() {
            None => Ok(self),
            Some(problem) => Err(crate::Error::Boot {
                name: self.name,
                problem,
                tail: self.report.serial_tail(),
            }),
        }
    }

    /// The line for a machine-readable report.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let result = match self.problem() {
            None => self.report.ending().to_string(),
            Some(problem) => problem,
        };
        let seconds = (self.report.seconds() * 10.0).round() / 10.0;
        Summary {
            name: self.name.to_owned(),
            result,
            seconds,
            retries: self.report.retries(),
        }
    }
}
