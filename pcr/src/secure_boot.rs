//! PCR 7: the state of Secure Boot, its keys, and what authorised the images that were started.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

mod assemble;
mod certificate;
mod der;
mod error;
mod explain;
mod explain_log;
mod image;
mod log_shim;
mod outcome;
mod pkcs7;
mod prediction;
mod quirk;
mod rsa_key;
mod shim;
mod signature_list;
mod template;
mod timestamp;
mod variables;
mod verify;

pub use error::SecureBootError;
pub use explain::{Pcr7Candidates, Pcr7Cause, Pcr7Explanation};
pub use explain_log::Pcr7Difference;
pub use image::BootImage;
pub use outcome::Outcome;
pub use prediction::{EventCause, Pcr7Prediction, PredictedEvent};
pub use quirk::Quirk;
pub use shim::{Shim, ShimGeneration};
pub use variables::{KeyVariable, SecureBootVariables, VariableUpdate};
pub use verify::Verdict;

use crate::event_log::EventLog;
use template::Template;

/// A boot, described as far as PCR 7 depends on it: variables, and images in the order in which they are started.
///
/// ```
/// use pcr::{Bank, Pcr7, SecureBootVariables};
///
/// // A machine without any key, Secure Boot off: the same value on every such machine.
/// let prediction = Pcr7::new(SecureBootVariables::setup_mode()).predict()?;
/// assert_eq!(
///     prediction.value(Bank::Sha256).to_string(),
///     "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068"
/// );
/// # Ok::<(), pcr::SecureBootError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcr7 {
    variables: SecureBootVariables,
    steps: Vec<Step>,
    quirks: BTreeSet<Quirk>,
    template: Option<Template>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Verified by shim once it runs, otherwise by the firmware.
    Load(BootImage),
    /// Verified by the firmware, also when shim runs.
    LoadByFirmware(BootImage),
    /// shim, which was loaded before, runs from here on.
    Shim(Shim),
}

impl Pcr7 {
    /// A boot with these variables, as yet without images: what PCR 7 holds before the first boot option.
    #[must_use]
    pub const fn new(variables: SecureBootVariables) -> Self {
        Self {
            variables,
            steps: Vec::new(),
            quirks: BTreeSet::new(),
            template: None,
        }
    }

    /// A boot on the machine that wrote this log: with its variables, and with all that is peculiar to its firmware
    /// (further events, their order, authorities of drivers) copied.
    ///
    /// Without images the authorities of the log are copied as well. Add images to have them computed, and change
    /// variables with [`Pcr7::update`] to know PCR 7 after an update of the machine. A copied authority whose entry is no
    /// longer in db, or is in dbx now, is left out with all after it, and [`Pcr7Prediction::verdicts`] has the refusal.
    ///
    /// When a shim ran, the first image that is that shim, or that the same entry of db authorises, is taken for it: what it
    /// measured of its state is copied, and the images after it are looked up in the lists as far as the log shows them.
    /// Without images after it, those of the log are taken. Add [`Pcr7::shim`] to describe another shim, and
    /// [`Pcr7::load_by_firmware`] for a loader that takes its place.
    ///
    /// # Errors
    /// [`SecureBootError::IncompleteLog`] when the log has no variables or no separator in PCR 7.
    pub fn from_log(log: &EventLog) -> Result<Self, SecureBootError> {
        Ok(Self {
            template: Some(Template::from_log(log)?),
            ..Self::new(SecureBootVariables::from_log(log)?)
        })
    }

    /// The next image. The firmware verifies it, or shim once it runs.
    ///
    /// Give every image that the firmware's `LoadImage` or shim gets to see: boot loader, UKI, addons, drivers. The kernel
    /// inside a UKI is not one: systemd-stub answers for it.
    #[must_use]
    pub fn load(mut self, image: BootImage) -> Self {
        self.steps.push(Step::Load(image));
        self
    }

    /// The next image, which the firmware verifies although shim runs.
    #[must_use]
    pub fn load_by_firmware(mut self, image: BootImage) -> Self {
        self.steps.push(Step::LoadByFirmware(image));
        self
    }

    /// The image before was shim: it measures its state and verifies what follows.
    #[must_use]
    pub fn shim(mut self, shim: Shim) -> Self {
        self.steps.push(Step::Shim(shim));
        self
    }

    /// The firmware has this quirk.
    #[must_use]
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.insert(quirk);
        self
    }

    /// The variables.
    #[must_use]
    pub const fn variables(&self) -> &SecureBootVariables {
        &self.variables
    }

    /// The same boot with other variables.
    #[must_use]
    pub fn with_variables(mut self, variables: SecureBootVariables) -> Self {
        self.variables = variables;
        self
    }

    /// The same boot after a write to a variable.
    ///
    /// # Errors
    /// [`SecureBootError::SignatureList`] when the value is malformed.
    pub fn update(mut self, update: &VariableUpdate) -> Result<Self, SecureBootError> {
        let ignore_owner = self.quirks.contains(&Quirk::AppendIgnoresOwner);
        self.variables = self.variables.updated_as(update, ignore_owner)?;
        Ok(self)
    }

    /// What will be measured.
    ///
    /// # Errors
    /// [`SecureBootError`] for malformed variables, and for an image whose signature is over a digest that was not given.
    pub fn predict(&self) -> Result<Pcr7Prediction, SecureBootError> {
        let decisions = self.decide()?;
        Ok(Pcr7Prediction {
            events: self.assemble(&self.variables, &decisions.events),
            verdicts: decisions.verdicts,
        })
    }
}
