//! Sets of possible outcomes: now, after pending updates, and with known quirks of firmware.

use alloc::vec::Vec;
use core::fmt;

use super::prediction::Pcr7Prediction;
use super::quirk::Quirk;
use super::variables::VariableUpdate;
use super::{Pcr7, SecureBootError};

/// One of the values that PCR 7 may have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// How many of the updates, from the first, are in effect.
    pub updates: usize,
    /// The quirk that the firmware has, if any.
    pub quirk: Option<Quirk>,
    /// What is measured then.
    pub prediction: Pcr7Prediction,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.updates {
            0 => f.write_str("now")?,
            1 => f.write_str("after one update")?,
            updates => write!(f, "after {updates} updates")?,
        }
        match self.quirk {
            Some(quirk) => write!(f, ", {quirk}"),
            None => Ok(()),
        }
    }
}

impl Pcr7 {
    /// What PCR 7 may hold: now, and after each of the updates (a pending dbx, the steps of a key rotation) in their order;
    /// each of that also with each of the quirks.
    ///
    /// The outcome that is most likely comes first; outcomes with the same events as an earlier one are left out.
    ///
    /// # Errors
    /// As [`Pcr7::predict`], for any of the updates.
    pub fn outcomes(
        &self,
        updates: &[VariableUpdate],
        quirks: &[Quirk],
    ) -> Result<Vec<Outcome>, SecureBootError> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for quirk in core::iter::once(None).chain(quirks.iter().copied().map(Some)) {
            let mut boot = match quirk {
                Some(quirk) => self.clone().quirk(quirk),
                None => self.clone(),
            };
            for applied in 0..=updates.len() {
                if let Some(update) = applied.checked_sub(1).and_then(|last| updates.get(last)) {
                    boot = boot.update(update)?;
                }
                let prediction = boot.predict()?;
                if outcomes
                    .iter()
                    .all(|outcome| outcome.prediction.events() != prediction.events())
                {
                    outcomes.push(Outcome {
                        updates: applied,
                        quirk,
                        prediction,
                    });
                }
            }
        }
        Ok(outcomes)
    }
}
