//! What a boot brought back.

use core::fmt;
use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::registers::Registers;
use crate::tpm::Exchange;

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The guest ran its script and wrote everything out.
    Done,
    /// The machine was reset before any operating system ran, as a boot loader does after it has
    /// enrolled keys; or the guest's script asked for it.
    Reset,
    /// The machine switched itself off before a guest was done.
    PowerOff,
    /// Something refused to start the image.
    Refused {
        /// Who refused.
        by: Refuser,
        /// In its words, for example `Access Denied`.
        message: String,
    },
    /// The guest crashed, each time it was tried.
    Crashed {
        /// The first line that tells.
        message: String,
    },
    /// Nothing happened for too long.
    TimedOut,
}

/// Who refused to start an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refuser {
    /// The firmware's boot manager.
    Firmware,
    /// The boot loader, after it asked the firmware.
    Loader,
}

impl Ending {
    /// Whether the firmware or the loader refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Reset => f.write_str("reset"),
            Self::PowerOff => f.write_str("power off"),
            Self::Refused {
                by: Refuser::Firmware,
                message,
            } => write!(f, "refused by the firmware: {message}"),
            Self::Refused {
                by: Refuser::Loader,
                message,
            } => write!(f, "refused by the loader: {message}"),
            Self::Crashed { message } => write!(f, "crash of the guest: {message}"),
            Self::TimedOut => f.write_str("no progress"),
        }
    }
}

/// The result of one boot.
#[derive(Debug, Clone)]
pub struct Report {
    pub(crate) ending: Ending,
    pub(crate) serial: String,
    pub(crate) registers: Registers,
    pub(crate) trace: Vec<Exchange>,
    pub(crate) output: BTreeMap<String, Vec<u8>>,
    pub(crate) seconds: f64,
    pub(crate) crashes: Vec<String>,
}

impl Report {
    /// How it ended.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Itself, if it ended as it should.
    ///
    /// # Errors
    /// [`Error::Unexpected`], with the end of the serial output.
    pub fn expect(self, expected: &Ending) -> Result<Self> {
        if self.ending == *expected {
            return Ok(self);
        }
        let (found, expected) = (self.ending.to_string(), expected.to_string());
        Err(Error::Unexpected {
            found,
            expected,
            tail: self.serial_tail(),
        })
    }

    /// The last lines of the serial output.
    pub(crate) fn serial_tail(&self) -> String {
        let lines: Vec<&str> = self.serial.lines().collect();
        lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Everything that firmware, loader and guest wrote to the serial port, without escape sequences.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The registers at the end of the boot, read from the TPM by the lab itself.
    ///
    /// Empty for a machine without TPM.
    #[must_use]
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Registers as the guest read them at a named moment: `begin` is before its script, others are
    /// where the script said `registers NAME`.
    #[must_use]
    pub fn registers_at(&self, moment: &str) -> Option<Registers> {
        let text = self.text(&format!("registers/{moment}"))?;
        let mut registers = Registers::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (bank, pcr, value) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            registers.insert(bank, pcr, from_hex(value)?);
        }
        Some(registers)
    }

    /// The event log as Linux shows it.
    #[must_use]
    pub fn event_log(&self) -> Option<&[u8]> {
        self.output.get("event_log").map(Vec::as_slice)
    }

    /// EFI variables as the guest saw them after its script: `Name-guid` and the file's content,
    /// four bytes of attributes and the value.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<&str, &[u8]> {
        self.under("variables/")
    }

    /// What the script left in `/out`.
    #[must_use]
    pub fn files(&self) -> BTreeMap<&str, &[u8]> {
        self.under("files/")
    }

    /// One text file that the script left in `/out`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&str> {
        self.text(&format!("files/{name}"))
    }

    /// Exit code of the script.
    #[must_use]
    pub fn script_status(&self) -> Option<i32> {
        self.text("script_status")?.trim().parse().ok()
    }

    /// What the script wrote to standard output and standard error.
    #[must_use]
    pub fn script_log(&self) -> &str {
        self.text("script_log").unwrap_or_default()
    }

    /// From power-on to power-off, without crashed attempts.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// How many guests crashed before this result.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.crashes.len()
    }

    /// The line that told about each crash.
    #[must_use]
    pub fn crashes(&self) -> &[String] {
        &self.crashes
    }

    /// Every command on the TPM's bus with its answer.
    #[must_use]
    pub fn tpm_trace(&self) -> &[Exchange] {
        &self.trace
    }

    fn text(&self, name: &str) -> Option<&str> {
        core::str::from_utf8(self.output.get(name)?).ok()
    }

    fn under(&self, folder: &str) -> BTreeMap<&str, &[u8]> {
        self.output
            .iter()
            .filter_map(|(name, content)| Some((name.strip_prefix(folder)?, content.as_slice())))
            .collect()
    }
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
