use core::fmt;
use core::ops::BitOr;

/// The attributes of a variable, UEFI 2.10 §8.2; unknown bits are kept.
///
/// # Examples
///
/// ```
/// use efivars::Attributes;
/// assert_eq!(Attributes::KEY.bits(), 0x27);
/// assert_eq!((Attributes::KEY | Attributes::APPEND_WRITE), Attributes::KEY_APPEND);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attributes(u32);

impl Attributes {
    /// Survives a reset.
    pub const NON_VOLATILE: Self = Self(0x01);
    /// Visible before the operating system runs.
    pub const BOOTSERVICE_ACCESS: Self = Self(0x02);
    /// Visible to the operating system.
    pub const RUNTIME_ACCESS: Self = Self(0x04);
    /// A hardware error record.
    pub const HARDWARE_ERROR_RECORD: Self = Self(0x08);
    /// Counter based authentication, deprecated.
    pub const AUTHENTICATED_WRITE_ACCESS: Self = Self(0x10);
    /// Time based authentication: what PK, KEK, db, dbx and dbt use.
    pub const TIME_BASED_AUTHENTICATED_WRITE_ACCESS: Self = Self(0x20);
    /// Append instead of replace; never stored.
    pub const APPEND_WRITE: Self = Self(0x40);
    /// Enhanced authentication; firmware of the machines here refuses it.
    pub const ENHANCED_AUTHENTICATED_ACCESS: Self = Self(0x80);
    /// What a key variable is replaced with: non-volatile, boot and run time, time based authentication (0x27).
    pub const KEY: Self = Self(0x27);
    /// What a key variable is appended to with (0x67).
    pub const KEY_APPEND: Self = Self(0x67);

    /// From the number in a file.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The number in a file.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without the bits of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({:#04x})", self.0)
    }
}
