//! Architectures that images are made for.

use crate::Error;

/// Architectures by the names of container images, which users of image builders know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// The name in file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name in UEFI's removable-media path, `BOOTX64.EFI`.
    #[must_use]
    pub fn efi_name(self) -> &'static str {
        match self {
            Self::Amd64 => "X64",
            Self::Arm64 => "AA64",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "amd64" | "x86_64" | "x64" => Ok(Self::Amd64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            other => Err(Error::usage(
                "--arch",
                format!("'{other}' is not known, only amd64 and arm64"),
            )),
        }
    }
}
