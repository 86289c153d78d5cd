use alloc::borrow::{Cow, ToOwned as _};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::{Attributes, EfiTime, Error, Guid};

/// The name of a variable: its text and the GUID of its vendor.
///
/// `Display` and `FromStr` use the file name of efivarfs.
///
/// # Examples
///
/// ```
/// use efivars::VariableName;
/// assert_eq!(efivars::DB.to_string(), "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// assert_eq!(VariableName::well_known("KEK"), Some(efivars::KEK));
/// assert_eq!("PK-8be4df61-93ca-11d2-aa0d-00e098032b8c".parse::<VariableName>()?, efivars::PK);
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VariableName {
    name: Cow<'static, str>,
    vendor: Guid,
}

/// The platform key.
pub const PK: VariableName = VariableName::global("PK");
/// The key exchange keys.
pub const KEK: VariableName = VariableName::global("KEK");
/// What may start.
pub const DB: VariableName = VariableName::database("db");
/// What may not start.
pub const DBX: VariableName = VariableName::database("dbx");
/// Trusted timestamp authorities.
pub const DBT: VariableName = VariableName::database("dbt");
/// Certificates that may sign for recovery.
pub const DBR: VariableName = VariableName::database("dbr");
/// The platform key that the vendor delivered.
pub const PK_DEFAULT: VariableName = VariableName::global("PKDefault");
/// The key exchange keys that the vendor delivered.
pub const KEK_DEFAULT: VariableName = VariableName::global("KEKDefault");
/// The db that the vendor delivered; under the global GUID, unlike [`DB`].
pub const DB_DEFAULT: VariableName = VariableName::global("dbDefault");
/// The dbx that the vendor delivered; under the global GUID, unlike [`DBX`].
pub const DBX_DEFAULT: VariableName = VariableName::global("dbxDefault");
/// 1 when images are verified in this boot.
pub const SECURE_BOOT: VariableName = VariableName::global("SecureBoot");
/// 1 when no PK is enrolled.
pub const SETUP_MODE: VariableName = VariableName::global("SetupMode");
/// edk2's switch that turns verification off in user mode.
pub const SECURE_BOOT_ENABLE: VariableName = VariableName {
    name: Cow::Borrowed("SecureBootEnable"),
    vendor: Guid::SECURE_BOOT_ENABLE,
};
/// edk2's switch that lets keys be written without a signature.
pub const CUSTOM_MODE: VariableName = VariableName {
    name: Cow::Borrowed("CustomMode"),
    vendor: Guid::CUSTOM_MODE,
};
/// shim's list of accepted keys and hashes.
pub const MOK_LIST: VariableName = VariableName {
    name: Cow::Borrowed("MokList"),
    vendor: Guid::SHIM_LOCK,
};
/// shim's list of refused keys and hashes.
pub const MOK_LIST_X: VariableName = VariableName {
    name: Cow::Borrowed("MokListX"),
    vendor: Guid::SHIM_LOCK,
};

impl VariableName {
    const fn global(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            vendor: Guid::GLOBAL_VARIABLE,
        }
    }

    const fn database(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            vendor: Guid::IMAGE_SECURITY_DATABASE,
        }
    }

    /// Any name under any GUID.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] when the name is empty or holds a NUL.
    pub fn new(name: &str, vendor: Guid) -> Result<Self, Error> {
        if name.is_empty() || name.contains('\0') {
            return Err(Error::InvalidName);
        }
        Ok(Self {
            name: Cow::Owned(name.to_owned()),
            vendor,
        })
    }

    /// The variable of this name that the UEFI specification, edk2 or shim define, under the right GUID.
    #[must_use]
    pub fn well_known(name: &str) -> Option<Self> {
        const ALL: [VariableName; 16] = [
            PK,
            KEK,
            DB,
            DBX,
            DBT,
            DBR,
            PK_DEFAULT,
            KEK_DEFAULT,
            DB_DEFAULT,
            DBX_DEFAULT,
            SECURE_BOOT,
            SETUP_MODE,
            SECURE_BOOT_ENABLE,
            CUSTOM_MODE,
            MOK_LIST,
            MOK_LIST_X,
        ];
        ALL.into_iter().find(|variable| variable.name == name)
    }

    /// The text, without the GUID.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The GUID of the vendor.
    #[must_use]
    pub const fn vendor(&self) -> Guid {
        self.vendor
    }

    /// Whether firmware treats the variable as signature database: PK, KEK, db, dbx or dbt.
    #[must_use]
    pub fn is_key_variable(&self) -> bool {
        *self == PK || *self == KEK || self.is_image_database()
    }

    pub(crate) fn is_image_database(&self) -> bool {
        *self == DB || *self == DBX || *self == DBT
    }

    /// The text in UTF-16LE without terminator, as it is signed.
    #[must_use]
    pub fn to_utf16(&self) -> Vec<u8> {
        self.name
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect()
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.vendor)
    }
}

impl fmt::Debug for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VariableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let at = text.len().checked_sub(37).ok_or(Error::InvalidName)?;
        let (name, rest) = text.split_at_checked(at).ok_or(Error::InvalidName)?;
        let guid = rest.strip_prefix('-').ok_or(Error::InvalidName)?;
        Self::new(name, guid.parse()?)
    }
}

/// One variable with everything that a store keeps about it.
///
/// # Examples
///
/// ```
/// use efivars::{Attributes, Variable};
/// let variable = Variable::new(efivars::SECURE_BOOT_ENABLE, Attributes::from_bits(3), vec![1]);
/// assert_eq!(variable.data, [1]);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Name and vendor.
    pub name: VariableName,
    /// Attributes, without the append bit.
    pub attributes: Attributes,
    /// The time of the last authenticated write; zero when there was none.
    pub time: EfiTime,
    /// The value, without authentication header.
    pub data: Vec<u8>,
}

impl Variable {
    /// A variable without a time.
    #[must_use]
    pub const fn new(name: VariableName, attributes: Attributes, data: Vec<u8>) -> Self {
        Self {
            name,
            attributes,
            time: EfiTime::ZERO,
            data,
        }
    }

    /// The same with the time of its last authenticated write.
    #[must_use]
    pub const fn at(mut self, time: EfiTime) -> Self {
        self.time = time;
        self
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = crate::hash::hex(self.data.get(..32).unwrap_or(&self.data));
        write!(
            f,
            "Variable({} {} {}, {} bytes {shown})",
            self.name,
            self.attributes,
            self.time,
            self.data.len()
        )
    }
}
