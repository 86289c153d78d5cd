//! Names of sections.

use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

use crate::Error;

/// The eight bytes that name a section in a PE section header.
///
/// A name shorter than eight bytes is padded with NULs; one of eight bytes has none. Names of the UKI
/// specification are associated constants. A name read from a file keeps its bytes, whatever they are.
///
/// # Examples
///
/// ```
/// use uki::SectionName;
///
/// assert_eq!(".cmdline".parse::<SectionName>()?, SectionName::CMDLINE);
/// assert!(SectionName::LINUX.is_measured());
/// assert!(!SectionName::PCRSIG.is_measured());
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionName([u8; 8]);

impl SectionName {
    /// The kernel.
    pub const LINUX: Self = Self(*b".linux\0\0");
    /// The os-release text.
    pub const OSREL: Self = Self(*b".osrel\0\0");
    /// The kernel command line.
    pub const CMDLINE: Self = Self(*b".cmdline");
    /// The initial ramdisks.
    pub const INITRD: Self = Self(*b".initrd\0");
    /// The microcode ramdisk.
    pub const UCODE: Self = Self(*b".ucode\0\0");
    /// The boot picture.
    pub const SPLASH: Self = Self(*b".splash\0");
    /// The device tree.
    pub const DTB: Self = Self(*b".dtb\0\0\0\0");
    /// The kernel's version.
    pub const UNAME: Self = Self(*b".uname\0\0");
    /// Revocation metadata.
    pub const SBAT: Self = Self(*b".sbat\0\0\0");
    /// Signed PCR policies.
    pub const PCRSIG: Self = Self(*b".pcrsig\0");
    /// The public key of the signed PCR policies.
    pub const PCRPKEY: Self = Self(*b".pcrpkey");
    /// The start of a profile.
    pub const PROFILE: Self = Self(*b".profile");
    /// A device tree that the stub picks by hardware.
    pub const DTBAUTO: Self = Self(*b".dtbauto");
    /// The table of hardware ids.
    pub const HWIDS: Self = Self(*b".hwids\0\0");
    /// A firmware bundle that the stub picks by hardware.
    pub const EFIFW: Self = Self(*b".efifw\0\0");
    /// The stub's own identification.
    pub const SDMAGIC: Self = Self(*b".sdmagic");

    /// The sections of a UKI in the order in which the stub measures them (systemd's order).
    pub const CANONICAL: [Self; 15] = [
        Self::LINUX,
        Self::OSREL,
        Self::CMDLINE,
        Self::INITRD,
        Self::UCODE,
        Self::SPLASH,
        Self::DTB,
        Self::UNAME,
        Self::SBAT,
        Self::PCRSIG,
        Self::PCRPKEY,
        Self::PROFILE,
        Self::DTBAUTO,
        Self::HWIDS,
        Self::EFIFW,
    ];

    /// A name of one to eight printable ASCII characters.
    ///
    /// # Errors
    ///
    /// [`Error::BadSectionName`] for any other text.
    pub fn new(name: &str) -> Result<Self, Error> {
        let bad = || Error::BadSectionName {
            name: Box::from(name),
        };
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        {
            return Err(bad());
        }
        let mut bytes = [0; 8];
        bytes
            .get_mut(..name.len())
            .ok_or_else(bad)?
            .copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }

    /// The name in a section header.
    #[must_use]
    pub const fn from_header(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes in a section header.
    #[must_use]
    pub const fn header_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The bytes before the first NUL: the part that the stub compares.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The name as text; empty when the bytes are not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Whether the UKI specification gives this name a meaning.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.rank().is_some()
    }

    /// The place in [`SectionName::CANONICAL`].
    pub(crate) fn rank(&self) -> Option<usize> {
        let name = self.normal();
        Self::CANONICAL.iter().position(|found| *found == name)
    }

    /// Whether a stub that knows the section measures it into PCR 11.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.is_known() && !self.same(&Self::PCRSIG)
    }

    /// Whether several of this name in one profile have a meaning.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        [Self::DTBAUTO, Self::EFIFW].contains(&Self::normal(self))
    }

    /// Whether the stub takes both for the same name: bytes after the first NUL do not count.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }

    fn normal(&self) -> Self {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(self.as_bytes()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectionName({self})")
    }
}

impl FromStr for SectionName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl PartialEq<str> for SectionName {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_eight_bytes_has_no_terminator() {
        assert_eq!(SectionName::CMDLINE.as_str(), ".cmdline");
        assert_eq!(SectionName::LINUX.as_str(), ".linux");
    }

    #[test]
    fn refuses_names_that_no_header_can_hold() {
        for name in ["", ".ninechars", ".tab\t", "\u{e4}"] {
            let error = SectionName::new(name).unwrap_err();
            assert!(matches!(&error, Error::BadSectionName { name: found } if **found == *name));
        }
        assert_eq!(
            SectionName::new(".ninechars").unwrap_err().to_string(),
            "section name \".ninechars\" is not one to eight printable ASCII characters"
        );
    }

    #[test]
    fn bytes_after_the_first_nul_do_not_count() {
        let odd = SectionName::from_header(*b".dtb\0xyz");
        assert!(odd.same(&SectionName::DTB) && odd.is_known() && odd.is_measured());
        assert_eq!(odd.header_bytes(), b".dtb\0xyz");
    }
}
