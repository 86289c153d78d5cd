//! What firmware does with a write: the rules of edk2, as two generations of OVMF show them.

mod format;
mod machine;
mod outcome;
mod space;
mod verify;

pub use machine::Machine;
pub use outcome::{EfiStatus, Outcome, Reason, Refusal};

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::{Attributes, Error, VariableName};

/// A generation of firmware.
///
/// # Examples
///
/// ```
/// use efivars::Firmware;
/// assert_eq!("edk2-2022.11".parse::<Firmware>()?, Firmware::Edk2_2022_11);
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Firmware {
    /// edk2-stable202211 as in Debian 12: SHA-256 and bare `SignedData` only.
    Edk2_2022_11,
    /// edk2-stable202502 as in Debian 13: also SHA-384, SHA-512 and a `ContentInfo` around it.
    Edk2_2025_02,
    /// OVMF of edk2-stable202605: also takes a PK without signature in setup mode. From its source, not seen running.
    Edk2_2026_05,
}

impl Firmware {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Edk2_2022_11, "edk2-2022.11"),
        (Self::Edk2_2025_02, "edk2-2025.02"),
        (Self::Edk2_2026_05, "edk2-2026.05"),
    ];

    /// Whether PK must be signed by the certificate that it holds.
    const fn wants_self_signed_pk(self) -> bool {
        matches!(self, Self::Edk2_2022_11 | Self::Edk2_2025_02)
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(firmware, _)| firmware == self)
                .map_or("edk2", |(_, name)| name),
        )
    }
}

impl FromStr for Firmware {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(firmware, _)| *firmware)
            .ok_or(Error::UnknownFirmware)
    }
}

/// How much firmware stores.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Quota {
    /// Largest authenticated variable: header, name and value (`PcdMaxAuthVariableSize`).
    pub max_authenticated: u64,
    /// Largest other variable (`PcdMaxVariableSize`).
    pub max_other: u64,
    /// Space for all variables.
    pub space: u64,
}

impl Quota {
    /// OVMF's builds with 2 MiB of flash: Microsoft's current dbx does not fit.
    pub const OVMF_2M: Self = Self {
        max_authenticated: 0x2800,
        max_other: 0x2000,
        space: 0xdfb8 - 28,
    };
    /// OVMF's builds with 4 MiB of flash.
    pub const OVMF_4M: Self = Self {
        max_authenticated: 0x8400,
        max_other: 0x8400,
        space: 0x3_ffb8 - 28,
    };
}

/// In which state the keys of a machine are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// No PK: keys can be written without signature.
    Setup,
    /// Like setup, and images are only logged.
    Audit,
    /// PK enrolled, images are verified.
    User,
    /// Like user, and locked further.
    Deployed,
    /// PK enrolled, verification switched off by the user.
    Disabled,
}

impl Mode {
    /// From the variables of these names; firmware before UEFI 2.5, and all of edk2, has neither AuditMode nor DeployedMode.
    #[must_use]
    pub const fn from_flags(
        setup_mode: bool,
        secure_boot: bool,
        audit_mode: bool,
        deployed_mode: bool,
    ) -> Self {
        match (setup_mode, secure_boot, audit_mode, deployed_mode) {
            (_, _, true, _) => Self::Audit,
            (true, ..) => Self::Setup,
            (_, _, _, true) => Self::Deployed,
            (_, true, ..) => Self::User,
            (_, false, ..) => Self::Disabled,
        }
    }
}

/// One call of `SetVariable`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Write {
    /// The variable.
    pub name: VariableName,
    /// The attributes, append bit included.
    pub attributes: Attributes,
    /// The data: for authenticated attributes the content of an `.auth` file.
    pub data: Vec<u8>,
}

impl Write {
    /// Any write.
    #[must_use]
    pub const fn new(name: VariableName, attributes: Attributes, data: Vec<u8>) -> Self {
        Self {
            name,
            attributes,
            data,
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Write({} {}, {} bytes)",
            self.name,
            self.attributes,
            self.data.len()
        )
    }
}
