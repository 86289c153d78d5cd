//! The TPM's platform configuration registers.

use std::collections::BTreeMap;

/// Registers by bank and number.
///
/// ```
/// let mut registers = bootlab::Registers::default();
/// registers.insert("sha256", 7, vec![0xab; 32]);
/// assert_eq!(registers.hex("sha256", 7).as_deref(), Some("ab".repeat(32).as_str()));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registers {
    banks: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
}

impl Registers {
    /// Sets one register. Banks are called `sha1`, `sha256`, `sha384`, `sha512`.
    pub fn insert(&mut self, bank: &str, pcr: u32, value: Vec<u8>) {
        self.banks
            .entry(bank.to_owned())
            .or_default()
            .insert(pcr, value);
    }

    /// The value of one register.
    #[must_use]
    pub fn get(&self, bank: &str, pcr: u32) -> Option<&[u8]> {
        self.banks.get(bank)?.get(&pcr).map(Vec::as_slice)
    }

    /// The value of one register in lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self, bank: &str, pcr: u32) -> Option<String> {
        self.get(bank, pcr).map(hex)
    }

    /// Names of the banks, sorted.
    pub fn banks(&self) -> impl Iterator<Item = &str> {
        self.banks.keys().map(String::as_str)
    }

    /// Every register: bank, number, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32, &[u8])> {
        self.banks.iter().flat_map(|(bank, all)| {
            all.iter()
                .map(|(pcr, value)| (bank.as_str(), *pcr, value.as_slice()))
        })
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.banks.is_empty()
    }
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
