//! GUIDs of disks and partitions.

use sha2::{Digest as _, Sha256};

/// A GUID in the order of its text form.
///
/// On disk the first three fields are little-endian (UEFI 2.10, appendix A); [`Guid::to_bytes`]
/// gives that form.
///
/// ```
/// use iso9660::Guid;
///
/// let esp: Guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse()?;
/// assert_eq!(esp.to_bytes()[..4], [0x28, 0x73, 0x2A, 0xC1]);
/// # Ok::<(), iso9660::GuidError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid([u8; 16]);

/// A text is not a GUID of the form `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("text is not a GUID of 32 hexadecimal digits in five groups")]
#[non_exhaustive]
pub struct GuidError;

impl Guid {
    /// EFI system partition.
    pub const EFI_SYSTEM: Self = Self(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B_u128.to_be_bytes());
    /// Microsoft basic data.
    pub const BASIC_DATA: Self = Self(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7_u128.to_be_bytes());
    /// Linux file system data.
    pub const LINUX_DATA: Self = Self(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4_u128.to_be_bytes());
    /// BIOS boot partition of GRUB.
    pub const BIOS_BOOT: Self = Self(0x21686148_6449_6E6F_744E_656564454649_u128.to_be_bytes());
    /// The GUID of all zeros, which marks an unused entry.
    pub const NIL: Self = Self([0; 16]);

    /// The GUID in its on-disk form.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        let b = self.0;
        [
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ]
    }

    /// The GUID from its on-disk form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        // The swap is its own inverse.
        Self(Self(bytes).to_bytes())
    }

    /// The GUID that belongs to a label: a version 8 UUID (RFC 9562) made of the SHA-256 of the nil
    /// UUID followed by the label, so that the same label gives the same GUID everywhere.
    ///
    /// ```
    /// let guid = iso9660::Guid::from_label("EFI");
    /// assert_eq!(guid.to_string(), "BCA5174B-0118-8A6A-AF0B-2C6E1585ACAE");
    /// ```
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        let digest = Sha256::new()
            .chain_update([0; 16])
            .chain_update(label)
            .finalize();
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = from;
        }
        bytes[6] = bytes[6] & 0x0F | 0x80;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Self(bytes)
    }
}

impl std::fmt::Display for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Guid {
    type Err = GuidError;

    fn from_str(text: &str) -> Result<Self, GuidError> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let digits = groups.concat();
        if lengths != [8, 4, 4, 4, 12] || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(GuidError);
        }
        u128::from_str_radix(&digits, 16)
            .map(|value| Self(value.to_be_bytes()))
            .map_err(|_| GuidError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_return_to_the_same_guid() {
        let text = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid, Guid::BASIC_DATA);
        assert_eq!(guid.to_string(), text);
        assert_eq!(Guid::from_bytes(guid.to_bytes()), guid);
    }

    #[test]
    fn refuses_other_texts() {
        for text in [
            "",
            "x",
            "EBD0A0A2B9E5443387C068B6B72699C7",
            "+BD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        ] {
            assert_eq!(text.parse::<Guid>(), Err(GuidError));
        }
    }
}
