//! The main job as a sequence of boots: enrol, install, unlock, and what must be refused.

mod boots;
mod images;
mod step;

pub use step::{Step, Summary};

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::generation::Generation;
use crate::machine::Machine;
use images::Images;

/// Keys, images and one machine of a generation, on which the boots of the main job are run.
///
/// [`Story::begin`] makes keys and images, enrols the keys on a machine and installs it. Every later
/// boot starts from a copy of the installed machine, so boots do not depend on each other.
#[derive(Debug)]
pub struct Story {
    generation: Generation,
    folder: PathBuf,
    images: Images,
    machine: Machine,
    enrol: Step,
    install: Step,
    usb: OnceLock<Step>,
}

/// Options of a story.
#[derive(Debug, Clone)]
pub struct StoryOptions {
    generation: Generation,
    key_bits: u32,
    banks: Vec<String>,
}

impl StoryOptions {
    /// The story of a generation, with 2048-bit keys and a TPM with all four banks.
    #[must_use]
    pub fn new(generation: Generation) -> Self {
        let banks = ["sha1", "sha256", "sha384", "sha512"]
            .map(str::to_owned)
            .to_vec();
        Self {
            generation,
            key_bits: 2048,
            banks,
        }
    }

    /// Length of the Secure Boot key.
    #[must_use]
    pub fn key_bits(mut self, bits: u32) -> Self {
        self.key_bits = bits;
        self
    }

    /// The TPM's banks.
    #[must_use]
    pub fn banks(mut self, banks: &[&str]) -> Self {
        self.banks = banks.iter().map(|&bank| bank.to_owned()).collect();
        self
    }
}

impl Story {
    /// Makes keys and images in `folder`, boots a new machine to enrol the keys and boots it again
    /// to install it. `progress` hears about each boot as it ends.
    ///
    /// # Errors
    /// When a tool fails or one of the two boots does not do its job.
    pub fn begin(
        options: &StoryOptions,
        folder: impl AsRef<Path>,
        progress: impl Fn(&Step),
    ) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let generation = options.generation;
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let images = Images::make(generation, options.key_bits, &folder)?;
        let banks: Vec<&str> = options.banks.iter().map(String::as_str).collect();
        let mut machine = Machine::builder(generation.firmware(true)?)
            .banks(&banks)
            .disk("data", 64 << 20)
            .create(folder.join("machine"))?;
        let enrol = boots::enrol(&images, &mut machine)?;
        progress(&enrol);
        let install = boots::install(&images, &mut machine)?;
        progress(&install);
        Ok(Self {
            generation,
            folder,
            images,
            machine,
            enrol,
            install,
            usb: OnceLock::new(),
        })
    }

    /// Its generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The first boot: in setup mode, the loader enrols the keys and resets.
    #[must_use]
    pub fn enrol(&self) -> &Step {
        &self.enrol
    }

    /// The second boot: Secure Boot is on, the disk is formatted and its key sealed.
    #[must_use]
    pub fn install(&self) -> &Step {
        &self.install
    }

    /// A copy of the installed machine, for a boot called `name`.
    fn copy(&self, name: &str) -> Result<Machine> {
        self.machine
            .fork(self.folder.join(format!("machine-{name}")))
    }
}
