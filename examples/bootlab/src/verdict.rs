//! A quick question to the firmware: would you start this image?

use core::fmt;
use std::path::Path;

use crate::boot::Boot;
use crate::error::{Error, Result};
use crate::esp::Esp;
use crate::generation::Firmware;
use crate::machine::Machine;
use crate::medium::Medium;
use crate::report::Ending;

/// The firmware's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It started the image.
    Accepted,
    /// It did not, with its word for the reason, such as `Access Denied`.
    Denied(String),
    /// It said neither.
    NoAnswer,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Denied(message) => write!(f, "denied ({message})"),
            Self::NoAnswer => f.write_str("no answer"),
        }
    }
}

/// Asks firmware with these variables whether it starts an EFI application; about three seconds.
///
/// The image is offered as `\EFI\BOOT\BOOTX64.EFI`. It is not run to its end: whoever wants that
/// boots a [`Machine`].
///
/// ```no_run
/// use bootlab::{Generation, Verdict, verdict};
///
/// let firmware = Generation::Debian12.firmware(true)?;
/// let store = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
/// assert_eq!(verdict(&firmware, store, b"no image")?, Verdict::Denied("Unsupported".to_owned()));
/// # Ok::<(), bootlab::Error>(())
/// ```
///
/// # Errors
/// When a tool or file fails.
pub fn verdict(firmware: &Firmware, variables: impl AsRef<Path>, image: &[u8]) -> Result<Verdict> {
    let scratch = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let esp = scratch.path().join("esp.img");
    Esp::new().file("EFI/BOOT/BOOTX64.EFI", image).write(&esp)?;
    let mut machine = Machine::builder(firmware.clone())
        .variables(variables)
        .without_tpm()
        .memory_mib(256)
        .create(scratch.path().join("machine"))?;
    let report = machine.boot(&Boot::new(Medium::virtio(&esp)).end_at_start())?;
    Ok(match report.ending() {
        Ending::PowerOff if report.serial().contains("starting Boot") => Verdict::Accepted,
        Ending::Refused { message, .. } => Verdict::Denied(message.clone()),
        _ => Verdict::NoAnswer,
    })
}
