//! What some firmware does differently.

use core::fmt;

/// A deviation of known firmware from what edk2 measures. Each gives another PCR 7, so each is an alternative to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Quirk {
    /// The separator of PCR 7 comes with those of the other registers, so authorities of drivers come before it.
    LateSeparator,
    /// No authority of db is measured (an MSI board).
    NoDbAuthority,
    /// Authorities of drivers are measured into PCR 2.
    DriverAuthorityInPcr2,
    /// `AuditMode` = 0 and `DeployedMode` = 0 are measured after dbx: UEFI 2.5 firmware in user mode.
    AuditAndDeployedMode,
    /// "DMA Protection Disabled" is measured.
    DmaProtectionDisabled {
        /// After the variables instead of before.
        after_variables: bool,
        /// With a terminating NUL.
        terminated: bool,
    },
    /// "UEFI Debug Mode" is measured before the variables.
    DebugMode,
    /// dbt is measured also when it does not exist.
    EmptyDbt,
    /// dbt is not measured.
    NoDbt,
    /// With Secure Boot off, `SecureBoot` is measured without any value instead of 0: firmware built without Secure Boot, and some
    /// makers.
    EmptySecureBoot,
    /// `devdb` is measured, empty: firmware with authentication of devices (PFP 1.06).
    EmptyDevdb,
    /// The separator reports an error.
    ErrorSeparator,
    /// Variables that do not exist are not measured (some predictors assume it; no firmware is known).
    AbsentNotMeasured,
    /// Unsigned images are looked up by their SHA-256 alone (edk2 of 2022 and before).
    UnsignedBySha256Only,
    /// An appended entry that is known with another owner is not stored (a Dell machine); matters for updates only.
    AppendIgnoresOwner,
}

impl Quirk {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::LateSeparator,
        Self::NoDbAuthority,
        Self::DriverAuthorityInPcr2,
        Self::AuditAndDeployedMode,
        Self::DmaProtectionDisabled {
            after_variables: false,
            terminated: false,
        },
        Self::DmaProtectionDisabled {
            after_variables: false,
            terminated: true,
        },
        Self::DmaProtectionDisabled {
            after_variables: true,
            terminated: false,
        },
        Self::DmaProtectionDisabled {
            after_variables: true,
            terminated: true,
        },
        Self::DebugMode,
        Self::EmptyDbt,
        Self::NoDbt,
        Self::EmptySecureBoot,
        Self::EmptyDevdb,
        Self::ErrorSeparator,
        Self::AbsentNotMeasured,
        Self::UnsignedBySha256Only,
        Self::AppendIgnoresOwner,
    ];
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LateSeparator => "separator after the authorities of drivers",
            Self::NoDbAuthority => "no authority of db measured",
            Self::DriverAuthorityInPcr2 => "authorities of drivers in PCR 2",
            Self::AuditAndDeployedMode => "AuditMode and DeployedMode measured",
            Self::DmaProtectionDisabled {
                after_variables: false,
                terminated: false,
            } => "DMA protection disabled, measured before the variables",
            Self::DmaProtectionDisabled {
                after_variables: false,
                terminated: true,
            } => "DMA protection disabled, measured before the variables with a NUL",
            Self::DmaProtectionDisabled {
                after_variables: true,
                terminated: false,
            } => "DMA protection disabled, measured after the variables",
            Self::DmaProtectionDisabled {
                after_variables: true,
                terminated: true,
            } => "DMA protection disabled, measured after the variables with a NUL",
            Self::DebugMode => "firmware debug mode measured",
            Self::EmptyDbt => "dbt measured although it does not exist",
            Self::NoDbt => "dbt not measured",
            Self::EmptySecureBoot => "SecureBoot measured without a value",
            Self::EmptyDevdb => "devdb measured",
            Self::ErrorSeparator => "separator reports an error of the firmware",
            Self::AbsentNotMeasured => "variables that do not exist not measured",
            Self::UnsignedBySha256Only => "unsigned images looked up by SHA-256 alone",
            Self::AppendIgnoresOwner => "appended entries compared without their owner",
        })
    }
}
