use core::fmt;
use core::str::FromStr;

use crate::Error;

/// A GUID in the byte order of UEFI: the first three fields little-endian, the last eight bytes as written.
///
/// # Examples
///
/// ```
/// let guid: efivars::Guid = "d719b2cb-3d3a-4596-a3bc-dad00e67656f".parse()?;
/// assert_eq!(guid, efivars::Guid::IMAGE_SECURITY_DATABASE);
/// assert_eq!(guid.to_bytes()[..4], [0xcb, 0xb2, 0x19, 0xd7]);
/// assert_eq!(guid.to_string(), "d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid([u8; 16]);

impl Guid {
    /// All zero: the owner that efitools and bootctl write when none is given.
    pub const ZERO: Self = Self([0; 16]);
    /// `EFI_GLOBAL_VARIABLE`: PK, KEK, SecureBoot, SetupMode and the …Default variables.
    pub const GLOBAL_VARIABLE: Self = Self::from_text("8be4df61-93ca-11d2-aa0d-00e098032b8c");
    /// `EFI_IMAGE_SECURITY_DATABASE_GUID`: db, dbx, dbt, dbr.
    pub const IMAGE_SECURITY_DATABASE: Self =
        Self::from_text("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
    /// The vendor GUID of shim's MokList and its relatives.
    pub const SHIM_LOCK: Self = Self::from_text("605dab50-e046-4300-abb6-3dd810dd8b23");
    /// The vendor GUID of edk2's SecureBootEnable.
    pub const SECURE_BOOT_ENABLE: Self = Self::from_text("f0a30bc7-af08-4556-99c4-001009c93a44");
    /// The vendor GUID of edk2's CustomMode.
    pub const CUSTOM_MODE: Self = Self::from_text("c076ec0c-7028-4399-a072-71ee5c448b9f");
    /// The vendor GUID of systemd's Loader… and Stub… variables.
    pub const SYSTEMD_LOADER: Self = Self::from_text("4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
    /// The owner of all of Microsoft's signature entries.
    pub const MICROSOFT: Self = Self::from_text("77fa9abd-0359-4d32-bd60-28f4e78f784b");
    /// `EFI_CERT_TYPE_PKCS7_GUID`, which stands in the header of an authenticated variable.
    pub const CERT_TYPE_PKCS7: Self = Self::from_text("4aafd29d-68df-49ee-8aa9-347d375665a7");

    /// From the sixteen bytes as they stand in a variable or file.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes as they stand in a variable or file.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// From the sixteen bytes of an RFC 4122 UUID, which is big-endian throughout.
    #[must_use]
    pub const fn from_uuid_bytes(b: [u8; 16]) -> Self {
        Self([
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ])
    }

    /// The sixteen bytes of the RFC 4122 UUID with the same text.
    #[must_use]
    pub const fn to_uuid_bytes(self) -> [u8; 16] {
        Self::from_uuid_bytes(self.0).0
    }

    pub(crate) const fn from_text(text: &str) -> Self {
        match Self::decode(text.as_bytes()) {
            Some(guid) => guid,
            None => Self([0xff; 16]),
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the length is checked first; a const fn has no iterators"
    )]
    const fn decode(text: &[u8]) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        let mut uuid = [0u8; 16];
        let (mut at, mut byte) = (0, 0);
        while at < 36 {
            if at == 8 || at == 13 || at == 18 || at == 23 {
                if text[at] != b'-' {
                    return None;
                }
                at += 1;
                continue;
            }
            match (nibble(text[at]), nibble(text[at + 1])) {
                (Some(high), Some(low)) => uuid[byte] = high << 4 | low,
                _ => return None,
            }
            byte += 1;
            at += 2;
        }
        Some(Self::from_uuid_bytes(uuid))
    }
}

const fn nibble(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.to_uuid_bytes().iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::decode(text.as_bytes()).ok_or(Error::NotAGuid)
    }
}
