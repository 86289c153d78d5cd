//! Signed PCR policies: `.pcrsig` documents.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::fmt;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::bank::sha256;
use crate::policy::{self, SignedPcrs};
use crate::{Bank, Error, PcrSelection, PcrValues, PolicyKey, Refusal, hex};

const WHAT: &str = "the signed PCR policy document";
/// Where systemd looks for the document of the running system, in its order; then where the stub's copy lies in an
/// initrd.
const PLACES: [&str; 4] = [
    "/etc/systemd/tpm2-pcr-signature.json",
    "/run/systemd/tpm2-pcr-signature.json",
    "/usr/lib/systemd/tpm2-pcr-signature.json",
    "/.extra/tpm2-pcr-signature.json",
];

/// How many signatures by the right key for the right state are looked at: one is right in any honest document, and
/// a hostile one must not cost minutes.
const MAX_TRIES: u32 = 100;

const KEY_PLACES: [&str; 4] = [
    "/etc/systemd/tpm2-pcr-public-key.pem",
    "/run/systemd/tpm2-pcr-public-key.pem",
    "/usr/lib/systemd/tpm2-pcr-public-key.pem",
    "/.extra/tpm2-pcr-public-key.pem",
];

/// A document of signed PCR policies: the `.pcrsig` section of a UKI, `tpm2-pcr-signature.json` on the running system.
///
/// ```no_run
/// use tpm_seal::{Bank, SignatureDocument};
///
/// let document = SignatureDocument::parse(&std::fs::read("/run/systemd/tpm2-pcr-signature.json")?)?;
/// println!("{} policies for sha256", document.len(Bank::Sha256));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SignatureDocument {
    banks: BTreeMap<Bank, Vec<Entry>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    selection: PcrSelection,
    fingerprint: String,
    policy: [u8; 32],
    /// Text, decoded only when its turn comes: a document may hold thousands of entries for other states.
    signature: String,
    policy_ref: Option<Vec<u8>>,
}

impl SignatureDocument {
    /// Reads a document. Zero bytes after it, as in a padded section, are no matter. Banks that are not known here are
    /// left out, and so are entries that lack a field or hold one that cannot be read: they may be of a later version.
    ///
    /// # Errors
    /// [`Error::Json`] and [`Error::Field`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let end = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last.saturating_add(1));
        let text = bytes.get(..end).unwrap_or_default();
        let value: Value = serde_json::from_slice(text).map_err(|source| Error::Json {
            what: WHAT,
            source: source.into(),
        })?;
        let Value::Object(fields) = value else {
            return Err(Error::Field {
                what: WHAT,
                field: "",
                expected: "an object of banks",
            });
        };
        let mut banks = BTreeMap::new();
        for (name, entries) in fields {
            let Ok(bank) = name.parse::<Bank>() else {
                continue;
            };
            let Value::Array(entries) = entries else {
                return Err(Error::Field {
                    what: WHAT,
                    field: bank.name(),
                    expected: "a list",
                });
            };
            banks.insert(
                bank,
                entries
                    .iter()
                    .filter_map(|entry| Entry::parse(bank, entry))
                    .collect(),
            );
        }
        Ok(Self { banks })
    }

    /// Reads a document from the bytes of an efivarfs file: four bytes of attributes, then the document, as UTF-8 or
    /// UTF-16.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and [`Error::Truncated`].
    pub fn parse_efi_variable(bytes: &[u8]) -> Result<Self, Error> {
        let Some((_, data)) = bytes.split_at_checked(4) else {
            return Err(Error::Truncated {
                what: "EFI variable",
                offset: 0,
                needed: 4,
                available: bytes.len() as u64,
            });
        };
        if !matches!(data, [_, 0, ..]) {
            return Self::parse(data);
        }
        let units: Vec<u16> = data
            .chunks_exact(2)
            .map(|pair| {
                u16::from_le_bytes([
                    pair.first().copied().unwrap_or(0),
                    pair.last().copied().unwrap_or(0),
                ])
            })
            .collect();
        Self::parse(String::from_utf16_lossy(&units).as_bytes())
    }

    /// Either of both, which a file may be.
    pub(crate) fn parse_file(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            // Attributes of a variable, all below 0x100; no JSON has a zero byte there.
            [_, 0, 0, 0, ..] => Self::parse_efi_variable(bytes),
            _ => Self::parse(bytes),
        }
    }

    /// Reads the document of the running system, from the first of systemd's places that has one; nothing if none has.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_running_system() -> Result<Option<Self>, Error> {
        PLACES
            .iter()
            .find_map(|place| std::fs::read(place).ok())
            .map(|bytes| Self::parse(&bytes))
            .transpose()
    }

    /// How many usable entries there are for `bank`.
    #[must_use]
    pub fn len(&self, bank: Bank) -> usize {
        self.banks.get(&bank).map_or(0, Vec::len)
    }

    /// Whether there is no usable entry at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.banks.values().all(Vec::is_empty)
    }

    /// Fingerprints of all keys that have signed something here, each once.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .banks
            .values()
            .flatten()
            .map(|entry| entry.fingerprint.as_str())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The key that has signed something here, from the PEM files (`*.pem`) in these folders, and then from the places
    /// where systemd and its stub leave the running system's key. A Talos token does not hold it.
    #[must_use]
    pub fn find_key<'a>(&self, folders: impl IntoIterator<Item = &'a Path>) -> Option<PolicyKey> {
        let fingerprints = self.fingerprints();
        let in_folders = folders.into_iter().flat_map(pem_files);
        in_folders
            .chain(KEY_PLACES.iter().map(PathBuf::from))
            .find_map(|path| {
                let key = PolicyKey::from_pem(&std::fs::read_to_string(path).ok()?).ok()?;
                fingerprints
                    .contains(&key.fingerprint().as_str())
                    .then_some(key)
            })
    }

    /// The digest and signature for the state `measured`, by the key of `signed`.
    pub(crate) fn find(
        &self,
        signed: &SignedPcrs,
        measured: &PcrValues,
    ) -> Result<(Vec<u8>, [u8; 32]), Refusal> {
        let bank = signed.selection.bank();
        let entries = self.banks.get(&bank).filter(|entries| !entries.is_empty());
        let entries = entries.ok_or(Refusal::NoSignatureForBank { bank })?;
        let none = Refusal::NoSignature {
            measured: measured.clone(),
            entries: entries.len(),
        };
        let Ok(digest) = policy::signed_digest(measured) else {
            return Err(none);
        };
        let expected = signed.key.fingerprint();
        let mut refusal = none;
        let mut tries = MAX_TRIES;
        for entry in entries {
            if entry.selection != signed.selection
                || entry.policy != digest
                || !entry.fits_ref(&signed.policy_ref)
            {
                continue;
            }
            if entry.fingerprint != expected {
                // A damaged signature by the right key is the better reason, if that comes too.
                if !matches!(refusal, Refusal::BadSignature) {
                    let found = entry.fingerprint.clone();
                    refusal = Refusal::SignedByOtherKey {
                        expected: expected.clone(),
                        found,
                    };
                }
                continue;
            }
            let message = [&digest[..], &signed.policy_ref].concat();
            if tries == 0 {
                break;
            }
            tries = tries.saturating_sub(1);
            match BASE64_STANDARD.decode(&entry.signature) {
                Ok(signature) if signed.key.verifies(&message, &signature) => {
                    return Ok((signature, digest));
                }
                _ => refusal = Refusal::BadSignature,
            }
        }
        Err(refusal)
    }
}

/// Sorted, so that the same folder always gives the same key.
fn pem_files(folder: &Path) -> Vec<PathBuf> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
    files.sort();
    files
}

impl Entry {
    fn parse(bank: Bank, value: &Value) -> Option<Self> {
        let pcrs: Option<Vec<u8>> = value
            .get("pcrs")?
            .as_array()?
            .iter()
            .map(|pcr| pcr.as_u64().and_then(|pcr| pcr.try_into().ok()))
            .collect();
        // systemd (since 2026) names the reference by a text; the TPM gets the text's SHA-256.
        let policy_ref = match value.get("ref") {
            Some(text) => Some(sha256(&[text.as_str()?.as_bytes()]).to_vec()),
            None => None,
        };
        Some(Self {
            selection: PcrSelection::new(bank, &pcrs?).ok()?,
            fingerprint: value.get("pkfp")?.as_str()?.to_ascii_lowercase(),
            policy: hex::decode(value.get("pol")?.as_str()?)?.try_into().ok()?,
            signature: value.get("sig")?.as_str()?.to_owned(),
            policy_ref,
        })
    }

    /// Without a name the signature tells.
    fn fits_ref(&self, policy_ref: &[u8]) -> bool {
        self.policy_ref.as_ref().is_none_or(|own| own == policy_ref)
    }
}

impl fmt::Debug for SignatureDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lens = self
            .banks
            .iter()
            .map(|(bank, entries)| (bank.name(), entries.len()));
        f.write_str("SignatureDocument ")?;
        f.debug_map().entries(lens).finish()
    }
}
