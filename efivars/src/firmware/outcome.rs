use core::fmt;

use crate::{Attributes, EfiTime, VerificationError};

/// An `EFI_STATUS`; values without a name are kept.
///
/// # Examples
///
/// ```
/// use efivars::EfiStatus;
/// assert_eq!(EfiStatus::SECURITY_VIOLATION.to_string(), "EFI_SECURITY_VIOLATION");
/// assert_eq!(EfiStatus::SECURITY_VIOLATION.linux_errno(), Some("EACCES"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EfiStatus(u64);

const ERROR: u64 = 1 << 63;

impl EfiStatus {
    /// Done.
    pub const SUCCESS: Self = Self(0);
    /// The write is malformed.
    pub const INVALID_PARAMETER: Self = Self(ERROR | 2);
    /// A kind of authentication that is not supported.
    pub const UNSUPPORTED: Self = Self(ERROR | 3);
    /// The device failed.
    pub const DEVICE_ERROR: Self = Self(ERROR | 7);
    /// The variable cannot be written.
    pub const WRITE_PROTECTED: Self = Self(ERROR | 8);
    /// No space.
    pub const OUT_OF_RESOURCES: Self = Self(ERROR | 9);
    /// No such variable.
    pub const NOT_FOUND: Self = Self(ERROR | 14);
    /// Not authorised.
    pub const SECURITY_VIOLATION: Self = Self(ERROR | 26);

    /// From the number.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The error that a write to efivarfs then returns on Linux; nothing for success. efivarfs turns `EFI_NOT_FOUND` into EIO.
    #[must_use]
    pub const fn linux_errno(self) -> Option<&'static str> {
        match self {
            Self::SUCCESS => None,
            Self::OUT_OF_RESOURCES => Some("ENOSPC"),
            Self::DEVICE_ERROR | Self::NOT_FOUND => Some("EIO"),
            Self::WRITE_PROTECTED => Some("EROFS"),
            Self::SECURITY_VIOLATION => Some("EACCES"),
            _ => Some("EINVAL"),
        }
    }
}

impl fmt::Display for EfiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::SUCCESS => "EFI_SUCCESS",
            Self::INVALID_PARAMETER => "EFI_INVALID_PARAMETER",
            Self::UNSUPPORTED => "EFI_UNSUPPORTED",
            Self::DEVICE_ERROR => "EFI_DEVICE_ERROR",
            Self::WRITE_PROTECTED => "EFI_WRITE_PROTECTED",
            Self::OUT_OF_RESOURCES => "EFI_OUT_OF_RESOURCES",
            Self::NOT_FOUND => "EFI_NOT_FOUND",
            Self::SECURITY_VIOLATION => "EFI_SECURITY_VIOLATION",
            Self(bits) => return write!(f, "EFI_STATUS {bits:#x}"),
        })
    }
}

impl fmt::Debug for EfiStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an accepted write did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The value was stored, with this time.
    Stored {
        /// The time that later writes are compared with.
        time: EfiTime,
    },
    /// The variable, and its time, are gone.
    Deleted,
    /// An empty append to a variable that does not exist.
    Nothing,
}

/// A write that firmware refuses: the status that it returns and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{status}: {reason}")]
#[non_exhaustive]
pub struct Refusal {
    /// What `SetVariable` returns.
    pub status: EfiStatus,
    /// Why.
    #[source]
    pub reason: Reason,
}

impl Refusal {
    pub(super) const fn new(status: EfiStatus, reason: Reason) -> Self {
        Self { status, reason }
    }

    pub(super) const fn invalid(reason: Reason) -> Self {
        Self::new(EfiStatus::INVALID_PARAMETER, reason)
    }

    pub(super) const fn violation(reason: Reason) -> Self {
        Self::new(EfiStatus::SECURITY_VIOLATION, reason)
    }
}

/// Why firmware refuses a write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Attributes that make no sense, or that this variable may not have.
    #[error("attributes {found} are not possible for this variable")]
    Attributes {
        /// The attributes of the write.
        found: Attributes,
    },
    /// The variable exists with other attributes.
    #[error("the variable exists with attributes {stored}, the write has {found}")]
    AttributesDiffer {
        /// The attributes of the write.
        found: Attributes,
        /// The stored ones.
        stored: Attributes,
    },
    /// The authentication header is cut off or its length does not fit.
    #[error("the authentication header does not fit the data")]
    Header,
    /// Firmware computes this variable.
    #[error("the variable is computed by firmware")]
    ReadOnly,
    /// Only visible before the operating system runs.
    #[error("the variable cannot be written once the operating system runs")]
    AtRuntime,
    /// Larger than one variable may be.
    #[error("{len} bytes with header and name, one variable may have {max}")]
    TooLarge {
        /// Bytes with header and name.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// The store is full.
    #[error("{needed} bytes needed in the variable store, {available} available")]
    NoSpace {
        /// Bytes of the variable.
        needed: u64,
        /// Bytes left.
        available: u64,
    },
    /// The time has nanoseconds, time zone, daylight or padding.
    #[error("the time has more than year to second")]
    TimeFields,
    /// The time is not later than that of the stored value.
    #[error("the time {offered} is not later than that of the stored value, {stored}")]
    NotLater {
        /// The time of the write.
        offered: EfiTime,
        /// The stored one.
        stored: EfiTime,
    },
    /// The header is not of the kind that holds a PKCS#7.
    #[error("the authentication header is not of the PKCS#7 kind")]
    CertificateType,
    /// The digest is not one that firmware takes, or not where it looks for it.
    #[error("the digest of the signature is not one that this firmware takes")]
    Digest,
    /// The signature is not good, or not made by someone who may write this variable.
    #[error("{0}")]
    Signature(#[source] VerificationError),
    /// The signer is not PK; PK allows no chain.
    #[error("the signer is not the certificate in PK")]
    NotPk,
    /// PK in setup mode must be signed by the certificate that it holds.
    #[error("the new PK is not signed by itself")]
    NotSelfSigned(#[source] VerificationError),
    /// There is no KEK that could have signed.
    #[error("not signed by PK, and there is no KEK")]
    NoKek,
    /// The value is not a signature database that firmware takes.
    #[error("signature list at offset {offset}: {what}")]
    SignatureList {
        /// Where the list starts.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// PK may hold only one entry.
    #[error("PK would hold {found} entries, one is allowed")]
    SeveralPlatformKeys {
        /// Number of entries.
        found: u64,
    },
    /// Deletes a variable that does not exist.
    #[error("the variable does not exist")]
    DoesNotExist,
    /// The variable belongs to another signer.
    #[error("the variable belongs to another signer")]
    OtherOwner,
    /// The variable is authenticated, the write is not.
    #[error("the variable can be written with authentication only")]
    NeedsAuthentication,
}
