//! `.pcrsig`: signed policies as JSON.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod entry;
mod layout;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::value::RawValue;

pub(crate) use entry::to_hex;
use entry::{Fields, json_error};
pub use entry::{SignatureEntry, SignedPolicy};
pub(crate) use layout::document_len;
pub use layout::{DocumentLayout, signature_document_len};

use crate::bank::Bank;
use crate::error::Error;
use crate::policy::policy_message;
use crate::public_key::PublicKey;

/// The content of a `.pcrsig` section: for each bank, policies and their signatures.
///
/// What is read is kept: order, unknown banks and unknown fields, numbers of any size. What is
/// written is compact JSON without a final NUL. A document made by this crate is exactly as long as
/// [`signature_document_len`] says, so that its place can be reserved before any hash is known.
///
/// # Examples
/// ```
/// use pcr::SignatureDocument;
///
/// let text = br#"{"sha256": [{"pcrs": [11], "note": 1e999}], "other": null}"#;
/// let document = SignatureDocument::parse(text)?;
/// assert_eq!(
///     document.to_json(),
///     br#"{"sha256":[{"pcrs":[11],"note":1e999}],"other":null}"#
/// );
/// # Ok::<(), pcr::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SignatureDocument {
    members: Vec<(String, Member)>,
    min_len: u64,
}

/// What stands under one key of the document.
#[derive(Debug, Clone)]
enum Member {
    Bank(Bank, Vec<SignatureEntry>),
    Unknown(Box<RawValue>),
}

/// What became of a signature when it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureStatus {
    /// Signed by one of the keys, as unsealing expects it.
    Valid,
    /// Signed by one of the keys, but with the bank's hash instead of SHA-256: systemd-measure up to
    /// 259 and Talos do that, and no TPM accepts it.
    BankHash,
    /// Names one of the keys, but does not verify.
    Invalid,
    /// Made for a key that is not among those given.
    OtherKey,
    /// A field is missing or malformed.
    Unreadable,
}

impl SignatureDocument {
    /// More than any document that fits the initrd; honest ones have some kilobytes.
    const MAX_LEN: usize = 16 << 20;

    /// Reads a document; NULs and blanks at its end are skipped.
    ///
    /// Entries are read one by one with [`SignatureEntry::read`], so that a malformed one does not
    /// hide the others.
    ///
    /// # Errors
    /// [`Error::Json`] when the text is no JSON object with arrays of objects under the names of the
    /// banks, [`Error::TooLarge`] above 16 MiB.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > Self::MAX_LEN {
            return Err(Error::TooLarge {
                what: "the signature document",
                limit: Self::MAX_LEN as u64,
            });
        }
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0 && !byte.is_ascii_whitespace())
            .map_or(0, |last| last.saturating_add(1));
        let text = bytes.get(..end).unwrap_or_default();
        let Fields(fields) = serde_json::from_slice(text).map_err(|error| json_error(&error))?;
        let mut members = Vec::new();
        for (name, value) in fields {
            let member = match bank_named(&name) {
                Some(bank) => {
                    let entries: Vec<Fields> =
                        serde_json::from_str(value.get()).map_err(|error| json_error(&error))?;
                    let entry = |(index, fields)| SignatureEntry::new(bank, index, fields);
                    Member::Bank(bank, entries.into_iter().enumerate().map(entry).collect())
                }
                None => Member::Unknown(value),
            };
            members.push((name, member));
        }
        Ok(Self {
            members,
            min_len: 0,
        })
    }

    /// The entries in file order.
    pub fn entries(&self) -> impl Iterator<Item = &SignatureEntry> {
        self.members.iter().flat_map(|(_, member)| match member {
            Member::Bank(_, entries) => entries.as_slice(),
            Member::Unknown(_) => &[],
        })
    }

    /// The document as compact JSON, with blanks before the last brace where a longer place was
    /// reserved than needed.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let members: Vec<String> = self
            .members
            .iter()
            .map(|(name, member)| match member {
                Member::Bank(bank, entries) => {
                    let entries: Vec<String> =
                        entries.iter().map(SignatureEntry::to_json).collect();
                    format!("\"{bank}\":[{}]", entries.join(","))
                }
                Member::Unknown(value) => {
                    format!("{}:{}", layout::json_string(name), value.get())
                }
            })
            .collect();
        let mut json = format!("{{{}", members.join(",")).into_bytes();
        let blanks = usize::try_from(self.min_len)
            .unwrap_or(0)
            .saturating_sub(json.len().saturating_add(1));
        json.resize(json.len().saturating_add(blanks), b' ');
        json.push(b'}');
        json
    }

    /// Fills a place of `len` bytes: the document is padded with blanks inside the JSON.
    ///
    /// # Errors
    /// [`Error::DocumentTooLong`] when it does not fit.
    pub fn padded_to(mut self, len: u64) -> Result<Self, Error> {
        self.min_len = 0;
        let needed = self.to_json().len() as u64;
        if needed > len {
            return Err(Error::DocumentTooLong {
                needed,
                reserved: len,
            });
        }
        self.min_len = len;
        Ok(self)
    }

    /// Adds the entries of another document, without exact repetitions of entries that are there.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        let mut seen: BTreeSet<(Bank, String)> = self
            .entries()
            .map(|entry| (entry.bank(), entry.canonical()))
            .collect();
        for (name, member) in other.members {
            match member {
                Member::Bank(bank, entries) => {
                    for entry in entries {
                        if seen.insert((bank, entry.canonical())) {
                            self.push(bank, entry);
                        }
                    }
                }
                unknown @ Member::Unknown(_) => {
                    if !self.members.iter().any(|(known, _)| *known == name) {
                        self.members.push((name, unknown));
                    }
                }
            }
        }
        self.min_len = 0;
        self
    }

    /// The signature that unsealing would take: the first entry for this bank, key, policy and
    /// reference.
    #[must_use]
    pub fn find(
        &self,
        bank: Bank,
        fingerprint: &[u8; 32],
        policy: &[u8; 32],
        reference: Option<&str>,
    ) -> Option<SignedPolicy> {
        self.entries()
            .filter(|entry| entry.bank() == bank)
            .filter_map(|entry| entry.read().ok())
            .find(|signed| {
                signed.fingerprint == *fingerprint
                    && signed.policy == *policy
                    && signed.reference.as_deref() == reference
            })
    }

    /// Checks every entry against these keys, in the order of [`SignatureDocument::entries`].
    #[must_use]
    pub fn verify(&self, keys: &[PublicKey]) -> Vec<SignatureStatus> {
        self.entries()
            .map(|entry| {
                let Ok(signed) = entry.read() else {
                    return SignatureStatus::Unreadable;
                };
                let key = keys
                    .iter()
                    .find(|key| *key.fingerprint() == signed.fingerprint);
                let Some(key) = key else {
                    return SignatureStatus::OtherKey;
                };
                let message = policy_message(&signed.policy, signed.reference.as_deref());
                if key.verifies(Bank::Sha256, &message, &signed.signature) {
                    SignatureStatus::Valid
                } else if key.verifies(entry.bank(), &message, &signed.signature) {
                    SignatureStatus::BankHash
                } else {
                    SignatureStatus::Invalid
                }
            })
            .collect()
    }

    /// Appends an entry to its bank.
    pub(crate) fn push(&mut self, bank: Bank, mut entry: SignatureEntry) {
        let place = self
            .members
            .iter_mut()
            .find_map(|(_, member)| match member {
                Member::Bank(known, entries) if *known == bank => Some(entries),
                _ => None,
            });
        match place {
            Some(entries) => {
                entry.set_index(entries.len());
                entries.push(entry);
            }
            None => {
                entry.set_index(0);
                self.members
                    .push((bank.to_string(), Member::Bank(bank, alloc::vec![entry])));
            }
        }
    }

    /// Reserves the place that [`DocumentLayout`] computed.
    pub(crate) fn reserve(&mut self, len: u64) {
        self.min_len = len;
    }
}

impl PartialEq for SignatureDocument {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

/// Documents name banks in lower case.
fn bank_named(name: &str) -> Option<Bank> {
    Bank::ALL.into_iter().find(|bank| bank.name() == name)
}
