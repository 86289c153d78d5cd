//! How long a document will be, before any hash is known.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::bank::Bank;
use crate::phase::PhasePath;

/// Computes the exact length of a `.pcrsig` document from what it will hold, so that an image can be
/// laid out before its sections are hashed.
///
/// # Examples
/// ```
/// use pcr::{Bank, DocumentLayout, PhasePath};
///
/// let len = DocumentLayout::new(&PhasePath::systemd(), &Bank::ALL)
///     .key(2048)
///     .key(2048)
///     .hardware_choices(3) // two .dtbauto sections, or none that matches
///     .len();
/// assert_eq!(len, 49_387);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct DocumentLayout {
    banks: Vec<Bank>,
    paths: usize,
    keys: Vec<usize>,
    hardware_choices: usize,
    reference: Option<String>,
}

impl DocumentLayout {
    /// A document with one entry for each path and bank, for each key that follows. Repeated paths
    /// and banks count once.
    pub fn new(paths: &[PhasePath], banks: &[Bank]) -> Self {
        let mut banks = banks.to_vec();
        banks.sort_unstable();
        banks.dedup();
        Self {
            banks,
            paths: PhasePath::sorted(paths).len(),
            keys: Vec::new(),
            hardware_choices: 1,
            reference: None,
        }
    }

    /// Adds a key with a modulus of this many bits.
    pub fn key(mut self, bits: usize) -> Self {
        self.keys.push(bits);
        self
    }

    /// The number of hardware choices, 1 for a UKI without `.dtbauto` and `.efifw`
    /// (see [`Profile::hardware`](crate::Profile::hardware)).
    pub const fn hardware_choices(mut self, count: usize) -> Self {
        self.hardware_choices = count;
        self
    }

    /// Every policy carries this reference.
    pub fn reference(mut self, reference: &str) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        let count = self.paths.saturating_mul(self.hardware_choices);
        let entries = self.banks.iter().flat_map(|bank| {
            self.keys.iter().flat_map(move |bits| {
                core::iter::repeat_n((*bank, *bits, self.reference.as_deref()), count)
            })
        });
        document_len(entries)
    }

    /// Whether the document has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.banks.is_empty() || self.keys.is_empty() || self.paths == 0
    }
}

/// The exact length of the `.pcrsig` document of a UKI with one key and no hardware-dependent
/// sections; [`DocumentLayout`] has the general case.
///
/// # Examples
/// ```
/// use pcr::{Bank, PhasePath, signature_document_len};
///
/// assert_eq!(signature_document_len(&[PhasePath::talos()], &[Bank::Sha256], 2048), 526);
/// ```
#[must_use]
pub fn signature_document_len(paths: &[PhasePath], banks: &[Bank], key_bits: usize) -> u64 {
    DocumentLayout::new(paths, banks).key(key_bits).len()
}

/// Length of a document with these entries, grouped by bank: bank, bits of the key, reference.
pub(crate) fn document_len<'a>(
    entries: impl Iterator<Item = (Bank, usize, Option<&'a str>)>,
) -> u64 {
    const ENTRY: &str = r#"{"pcrs":[11],"pkfp":"","pol":"","sig":""}"#;
    let mut len = 2u64;
    let mut last = None;
    for (bank, bits, reference) in entries {
        if last != Some(bank) {
            // `"sha256":[]`, and a comma between banks.
            len = len
                .saturating_add(bank.name().len() as u64)
                .saturating_add(if last.is_some() { 6 } else { 5 });
        } else {
            len = len.saturating_add(1);
        }
        last = Some(bank);
        let signature = bits.div_ceil(8).div_ceil(3).saturating_mul(4);
        let reference = reference.map_or(0, |text| json_string(text).len().saturating_add(7));
        let entry = ENTRY.len().saturating_add(128).saturating_add(signature);
        len = len
            .saturating_add(entry as u64)
            .saturating_add(reference as u64);
    }
    len
}

/// A JSON string with its quotes.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
