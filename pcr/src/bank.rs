//! Banks, digests and registers: the arithmetic under everything else.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use thiserror::Error;

/// A PCR bank: the hash algorithm of one set of registers (TPM 2.0 Part 2, `TPM_ALG_ID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Bank {
    /// `TPM_ALG_SHA1` 0x0004, 20 bytes.
    Sha1,
    /// `TPM_ALG_SHA256` 0x000B, 32 bytes.
    Sha256,
    /// `TPM_ALG_SHA384` 0x000C, 48 bytes.
    Sha384,
    /// `TPM_ALG_SHA512` 0x000D, 64 bytes.
    Sha512,
}

impl Bank {
    /// All banks, in ascending order of their algorithm identifiers.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The `TPM_ALG_ID` of this bank's hash.
    #[must_use]
    pub const fn algorithm_id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// The bank with this `TPM_ALG_ID`, if this crate can compute it.
    #[must_use]
    pub const fn from_algorithm_id(id: u16) -> Option<Self> {
        match id {
            0x0004 => Some(Self::Sha1),
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            0x000d => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Length of a digest of this bank, in bytes.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The bank's name as systemd and `.pcrsig` documents spell it (`sha256`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The hash of `data`.
    #[must_use]
    pub fn hash(self, data: &[u8]) -> Digest {
        self.hash_parts(&[data])
    }

    /// The hash of the concatenation of `parts`.
    #[must_use]
    pub fn hash_parts(self, parts: &[&[u8]]) -> Digest {
        let mut hasher = Hasher::new(self);
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no bank.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown PCR bank, expected sha1, sha256, sha384 or sha512")]
#[non_exhaustive]
pub struct ParseBankError;

impl FromStr for Bank {
    type Err = ParseBankError;

    fn from_str(text: &str) -> Result<Self, ParseBankError> {
        Self::ALL
            .into_iter()
            .find(|bank| bank.name().eq_ignore_ascii_case(text))
            .ok_or(ParseBankError)
    }
}

/// One bank's running hash.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(bank: Bank) -> Self {
        match bank {
            Bank::Sha1 => Self::Sha1(Sha1::new()),
            Bank::Sha256 => Self::Sha256(Sha256::new()),
            Bank::Sha384 => Self::Sha384(Sha384::new()),
            Bank::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        let mut bytes = [0; 64];
        let mut fill = |digest: &[u8]| {
            bytes
                .iter_mut()
                .zip(digest)
                .for_each(|(byte, digit)| *byte = *digit);
        };
        let bank = match self {
            Self::Sha1(hasher) => {
                fill(&hasher.finalize());
                Bank::Sha1
            }
            Self::Sha256(hasher) => {
                fill(&hasher.finalize());
                Bank::Sha256
            }
            Self::Sha384(hasher) => {
                fill(&hasher.finalize());
                Bank::Sha384
            }
            Self::Sha512(hasher) => {
                fill(&hasher.finalize());
                Bank::Sha512
            }
        };
        Digest { bank, bytes }
    }

    pub(crate) const fn bank(&self) -> Bank {
        match self {
            Self::Sha1(_) => Bank::Sha1,
            Self::Sha256(_) => Bank::Sha256,
            Self::Sha384(_) => Bank::Sha384,
            Self::Sha512(_) => Bank::Sha512,
        }
    }
}

/// A digest that knows its bank; its length always fits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    bank: Bank,
    bytes: [u8; 64],
}

impl Digest {
    /// The digest with these bytes; `None` if their number is not the bank's digest length.
    #[must_use]
    pub fn new(bank: Bank, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != bank.digest_len() {
            return None;
        }
        let mut digest = Self::zero(bank);
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    /// All bytes zero: what registers 0 to 16 and 23 hold after a reset.
    #[must_use]
    pub const fn zero(bank: Bank) -> Self {
        Self {
            bank,
            bytes: [0; 64],
        }
    }

    /// All bytes 0xFF: what registers 17 to 22 hold after a reset.
    #[must_use]
    pub fn ones(bank: Bank) -> Self {
        let mut digest = Self::zero(bank);
        digest
            .bytes
            .iter_mut()
            .take(bank.digest_len())
            .for_each(|byte| *byte = 0xff);
        digest
    }

    /// The bank whose hash made this digest.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// The bytes, [`Bank::digest_len`] of them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.bank.digest_len()).unwrap_or_default()
    }

    /// The register value after `TPM2_PCR_Extend` of this value with `event`: `H(self || event)`.
    ///
    /// `event` is a digest of the same bank. A digest of another bank has another length, so the
    /// result would match no TPM; build event digests with [`Bank::hash`] of [`Digest::bank`].
    #[must_use]
    pub fn extended(&self, event: &Self) -> Self {
        debug_assert_eq!(
            self.bank, event.bank,
            "a register is extended with digests of its own bank"
        );
        self.bank.hash_parts(&[self.as_bytes(), event.as_bytes()])
    }

    /// Reads a digest of `bank` from hexadecimal digits of either case.
    ///
    /// # Errors
    /// [`ParseDigestError`] when the text is not exactly two hexadecimal digits for each byte.
    pub fn from_hex(bank: Bank, text: &str) -> Result<Self, ParseDigestError> {
        let wrong = ParseDigestError { bank };
        if text.len() != bank.digest_len() * 2 {
            return Err(wrong);
        }
        let nibble = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let bytes = text
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| match pair {
                [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>();
        bytes.and_then(|bytes| Self::new(bank, &bytes)).ok_or(wrong)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.bank)
    }
}

/// A text that is no digest of the bank.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a {bank} digest, expected {} hexadecimal digits", bank.digest_len() * 2)]
#[non_exhaustive]
pub struct ParseDigestError {
    /// The bank whose digest was expected.
    pub bank: Bank,
}

/// The number of a Platform Configuration Register, 0 to 23.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(u8);

impl Register {
    /// Firmware configuration of the boot path: Secure Boot state and authorities are in PCR 7.
    pub const SECURE_BOOT_POLICY: Self = Self(7);
    /// Images that were started.
    pub const BOOT_LOADER_CODE: Self = Self(4);
    /// Drivers and option ROMs.
    pub const OPTION_ROM_CODE: Self = Self(2);
    /// The keys that shim trusts (MOK).
    pub const SHIM_POLICY: Self = Self(14);
    /// Sections of the UKI, and boot phases.
    pub const KERNEL_BOOT: Self = Self(11);
    /// Command lines, credentials and the like that came from outside the UKI.
    pub const KERNEL_CONFIG: Self = Self(12);
    /// System extensions.
    pub const SYSEXTS: Self = Self(13);

    /// The register with this number; `None` above 23.
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index < 24 { Some(Self(index)) } else { None }
    }

    /// The register's number.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }

    /// The value after a TPM reset: zeros, but all ones for the registers 17 to 22.
    #[must_use]
    pub fn reset_value(self, bank: Bank) -> Digest {
        if (17..=22).contains(&self.0) {
            Digest::ones(bank)
        } else {
            Digest::zero(bank)
        }
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extends_as_the_tpm_does() {
        // PCR 7 after the first event of every Secure Boot machine (efivars sheet, 7.1).
        let event = Digest::from_hex(
            Bank::Sha256,
            "ccfc4bb32888a345bc8aeadaba552b627d99348c767681ab3141f5b01e40a40e",
        )
        .unwrap();
        assert_eq!(
            Digest::zero(Bank::Sha256).extended(&event).to_string(),
            "e58ada1ba75f2e4722b539824598ad5e10c55f2e4aeab2033f3b0a8ee3f3eca6"
        );
    }

    #[test]
    fn refuses_digests_of_another_length() {
        assert_eq!(Digest::new(Bank::Sha1, &[0; 32]), None);
        assert_eq!(
            Digest::from_hex(Bank::Sha1, "00").unwrap_err().to_string(),
            "not a sha1 digest, expected 40 hexadecimal digits"
        );
    }

    #[test]
    fn names_round_trip() {
        for bank in Bank::ALL {
            assert_eq!(bank.to_string().parse(), Ok(bank));
            assert_eq!(Bank::from_algorithm_id(bank.algorithm_id()), Some(bank));
            assert_eq!(
                Digest::from_hex(bank, &bank.hash(b"x").to_string()),
                Ok(bank.hash(b"x"))
            );
        }
        assert_eq!("md5".parse::<Bank>(), Err(ParseBankError));
    }

    #[test]
    fn debug_registers_start_with_ones() {
        assert_eq!(
            Register::new(17).unwrap().reset_value(Bank::Sha1),
            Digest::ones(Bank::Sha1)
        );
        assert_eq!(Register::new(24), None);
    }
}
