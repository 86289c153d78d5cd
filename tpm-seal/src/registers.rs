//! Registers and their values, as policies hash them.

use core::fmt;
use std::collections::BTreeMap;

use crate::bank::sha256;
use crate::{Bank, Error, hex};

/// Highest register of a PC's TPM.
pub(crate) const LAST_PCR: u8 = 23;

/// A set of registers of one bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PcrSelection {
    bank: Bank,
    mask: u32,
}

impl PcrSelection {
    /// The registers `pcrs` of `bank`. Their order and repetitions are of no matter.
    ///
    /// # Errors
    /// [`Error::NoSuchPcr`] for a number above 23.
    pub fn new(bank: Bank, pcrs: &[u8]) -> Result<Self, Error> {
        let mut mask = 0;
        for &pcr in pcrs {
            if pcr > LAST_PCR {
                return Err(Error::NoSuchPcr { pcr: pcr.into() });
            }
            mask |= 1 << pcr;
        }
        Ok(Self { bank, mask })
    }

    /// The bank.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// The registers, ascending.
    pub fn pcrs(&self) -> impl Iterator<Item = u8> + use<> {
        let mask = self.mask;
        (0..=LAST_PCR).filter(move |pcr| mask & 1 << pcr != 0)
    }

    /// Whether no register is chosen.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.mask == 0
    }

    /// `TPML_PCR_SELECTION` with this one bank.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 1];
        bytes.extend(self.bank.algorithm_id().to_be_bytes());
        bytes.push(3);
        bytes.extend(self.mask.to_le_bytes().iter().take(3));
        bytes
    }
}

/// Values of some registers of one bank.
///
/// ```
/// use tpm_seal::{Bank, PcrValues};
///
/// let values = PcrValues::new(Bank::Sha256).with(7, &[0x11; 32])?.with(4, &[0x22; 32])?;
/// assert_eq!(values.iter().map(|(pcr, _)| pcr).collect::<Vec<_>>(), [4, 7]);
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PcrValues {
    bank: Bank,
    values: BTreeMap<u8, Vec<u8>>,
}

impl PcrValues {
    /// No register of `bank` yet.
    #[must_use]
    pub const fn new(bank: Bank) -> Self {
        Self {
            bank,
            values: BTreeMap::new(),
        }
    }

    /// With register `pcr` at `value`. The order of calls does not matter.
    ///
    /// # Errors
    /// [`Error::NoSuchPcr`], [`Error::PcrValueLength`].
    pub fn with(mut self, pcr: u8, value: &[u8]) -> Result<Self, Error> {
        if pcr > LAST_PCR {
            return Err(Error::NoSuchPcr { pcr: pcr.into() });
        }
        if value.len() != self.bank.digest_len() {
            return Err(Error::PcrValueLength {
                pcr,
                bank: self.bank,
                len: value.len(),
            });
        }
        self.values.insert(pcr, value.to_vec());
        Ok(self)
    }

    /// The bank.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// The value of one register.
    #[must_use]
    pub fn get(&self, pcr: u8) -> Option<&[u8]> {
        self.values.get(&pcr).map(Vec::as_slice)
    }

    /// Registers and values, ascending by register.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.values
            .iter()
            .map(|(&pcr, value)| (pcr, value.as_slice()))
    }

    /// Whether there is no register.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The registers without their values.
    #[must_use]
    pub fn selection(&self) -> PcrSelection {
        let mask = self.values.keys().fold(0, |mask, pcr| mask | 1 << pcr);
        PcrSelection {
            bank: self.bank,
            mask,
        }
    }

    /// These registers only, if all of them are here.
    pub(crate) fn select(&self, selection: PcrSelection) -> Option<Self> {
        let values: Option<BTreeMap<_, _>> = selection
            .pcrs()
            .map(|pcr| Some((pcr, self.values.get(&pcr)?.clone())))
            .collect();
        Some(Self {
            bank: self.bank,
            values: values?,
        })
        .filter(|_| self.bank == selection.bank)
    }

    /// The first register that is all 00 or all FF: nothing was measured into it, so it binds nothing.
    #[must_use]
    pub fn unmeasured(&self) -> Option<(u8, u8)> {
        self.iter().find_map(|(pcr, value)| {
            [0x00, 0xff]
                .into_iter()
                .find(|&byte| value.iter().all(|&b| b == byte))
                .map(|byte| (pcr, byte))
        })
    }

    /// `pcrDigest` of `TPM2_PolicyPCR`: SHA-256 over the values in ascending order, whatever the bank.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let values: Vec<&[u8]> = self.values.values().map(Vec::as_slice).collect();
        sha256(&values)
    }
}

impl fmt::Display for PcrValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pcr, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}PCR {pcr} ({}) is {}",
                self.bank,
                hex::encode(value)
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for PcrValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PcrValues({self})")
    }
}
