//! `disk-key reseal`: before a planned change of PCR 7, and `disk-key recovery`.
//!
//! In Talos's and systemd's form each outcome gets a key slot and a token of its own, because they hold one value and one
//! key; our own form holds all of them in one.
//! The tokens that they replace stay until one of the new ones has opened the volume, so a reseal that goes wrong, or
//! a change that never happens, locks nobody out.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tpm_seal::{Bank, PcrValues, PolicyKey, Token as TpmToken};
use zeroize::Zeroizing;

use crate::Error;
use crate::enroll::{self, Format, Sealing};
use crate::luks::{Token, Volume, read_passphrase};
use crate::node::{self, Sources};
use crate::unlock::{self, tpm_tokens};

/// The field of a token that names the tokens that go once it has opened the volume.
pub(crate) const REPLACES: &str = "trustedboot-replaces";

/// What is sealed again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The volume.
    pub device: PathBuf,
    /// Predicted PCR 7 values in hexadecimal, of the bank that the present token uses: what `imager predict` prints.
    pub pcr_7: Vec<String>,
    /// Seal to the present PCR 7 as well, for the boots until the change.
    pub keep_present: bool,
    /// Files with public PCR keys that sign the next systems, for the time of a key rotation.
    pub next_keys: Vec<PathBuf>,
    /// Form of the new tokens; that of the present one when not given.
    pub format: Option<Format>,
}

impl Request {
    /// Seals to the present value and these predicted ones.
    #[must_use]
    pub fn new(device: PathBuf, pcr_7: Vec<String>) -> Self {
        Self {
            device,
            pcr_7,
            keep_present: true,
            next_keys: Vec::new(),
            format: None,
        }
    }
}

/// Seals new keys to the outcomes. The present token must open first: that proves both the right and the TPM. Then the
/// new keys are sealed, and those that the present state should open are unsealed, before the header is touched.
///
/// # Errors
/// As [`unlock::unlock`]; [`Error::Usage`] for values that are none.
pub fn reseal(request: &Request, sources: &Sources) -> Result<Value, Error> {
    let opened = unlock::unlock(&request.device, sources)?;
    let volume = Volume::open(&request.device)?;
    let (tokens, _) = tpm_tokens(&volume)?;
    let present = tokens
        .iter()
        .find(|(token, _)| token.id == opened.token)
        .map(|(_, parsed)| parsed)
        .ok_or_else(|| Error::NoToken {
            device: request.device.clone(),
        })?;
    let own_format = match present {
        TpmToken::Systemd(_) => Format::Systemd,
        TpmToken::Sealed(_) => Format::Trustedboot,
        _ => Format::Talos,
    };
    let present_key = sources.policy_key()?.ok_or_else(|| Error::Usage {
        what: "--pcr-public-key",
        problem: "the running system brought no public PCR key; give the file".into(),
    })?;
    let mut keys = vec![present_key.clone()];
    for path in &request.next_keys {
        let key = node::read_key(path)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut tpm = sources.tpm()?;
    // Tokens of other machines stay: nothing that opens here says that they are not needed there.
    let mut older = Vec::new();
    for (token, parsed) in &tokens {
        if token.id == opened.token || tpm.recognizes(parsed.sealed())? {
            older.push(token.id);
        }
    }
    let now = tpm.pcr_values(present.literal_registers())?;
    let outcomes = outcomes(request, &now)?;
    let sealing = Sealing {
        format: request.format.unwrap_or(own_format),
        pin: if present.needs_pin() {
            Some(sources.pin(tpm.lockout().ok())?)
        } else {
            None
        },
        device_key: None,
    };
    let mut evidence = sources.evidence()?;
    if let Some(pin) = &sealing.pin {
        evidence = evidence.pin(pin.clone());
    }
    let mut sealed = Vec::new();
    for (keys, outcomes) in shares(sealing.format, &keys, &outcomes) {
        let (secret, token) = sealing.seal(Some(&mut tpm), keys, outcomes)?;
        if keys.contains(&present_key) && (outcomes.contains(&now) || outcomes.is_empty()) {
            tpm.unlock(&token, &evidence)?;
        }
        sealed.push((secret, token));
    }
    let mut slots = Vec::new();
    for (secret, token) in sealed {
        let unlocking = opened.passphrase.as_bytes();
        match enroll::add(&volume, unlocking, &secret, token, Some(&older)) {
            Ok(slot) => slots.push(slot),
            Err(error) => {
                // Nothing old was touched; what is new goes again.
                drop_slots(&volume, &slots)?;
                return Err(error);
            }
        }
    }
    Ok(json!({ "device": request.device, "keyslots": slots, "kept_until_opened": older }))
}

/// What goes into one key slot each: everything in our own form, one key and one outcome in the others.
fn shares<'a>(
    format: Format,
    keys: &'a [PolicyKey],
    outcomes: &'a [PcrValues],
) -> Vec<(&'a [PolicyKey], &'a [PcrValues])> {
    if format == Format::Trustedboot {
        return vec![(keys, outcomes)];
    }
    let each = |key: &'a PolicyKey| {
        let key = core::slice::from_ref(key);
        let ends: &[PcrValues] = &[];
        let none = outcomes.is_empty().then_some((key, ends));
        let all = outcomes.iter().map(core::slice::from_ref);
        all.map(move |outcome| (key, outcome)).chain(none)
    };
    keys.iter().flat_map(each).collect()
}

/// The present values of the registers that the token is bound to, with PCR 7 as predicted; and as they are.
fn outcomes(request: &Request, now: &PcrValues) -> Result<Vec<PcrValues>, Error> {
    if now.get(7).is_none() && !request.pcr_7.is_empty() {
        return Err(Error::Usage {
            what: "--pcr7",
            problem: "the present token is not bound to PCR 7, so no change of it matters".into(),
        });
    }
    let mut outcomes: Vec<PcrValues> = Vec::new();
    for text in &request.pcr_7 {
        let outcome = now.clone().with(7, &pcr_7(text, now.bank())?)?;
        if !outcomes.contains(&outcome) {
            outcomes.push(outcome);
        }
    }
    if request.keep_present && !now.is_empty() && !outcomes.contains(now) {
        outcomes.push(now.clone());
    }
    Ok(outcomes)
}

fn pcr_7(text: &str, bank: Bank) -> Result<Vec<u8>, Error> {
    value(text, bank).ok_or_else(|| Error::Usage {
        what: "--pcr7",
        problem: format!(
            "'{text}' is not {} hexadecimal digits",
            2 * bank.digest_len()
        ),
    })
}

/// The value of a register in hexadecimal.
pub(crate) fn value(text: &str, bank: Bank) -> Option<Vec<u8>> {
    let digits = text.trim();
    if digits.len() != 2 * bank.digest_len() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    (0..bank.digest_len())
        .map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok())
        .collect()
}

fn drop_slots(volume: &Volume, slots: &[u32]) -> Result<(), Error> {
    for token in volume.tokens()? {
        if token.keyslots().iter().any(|slot| slots.contains(slot)) {
            volume.remove_token(token.id)?;
        }
    }
    slots.iter().try_for_each(|slot| volume.remove_slot(*slot))
}

/// A token has opened the volume: those that it replaces go, with their key slots, unless another token uses them.
pub(crate) fn retire_older(volume: &Volume, opened: &Token) -> Result<Vec<u32>, Error> {
    let listed = opened
        .json
        .get(REPLACES)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let listed: Vec<u32> = listed
        .filter_map(|id| u32::try_from(id.as_u64()?).ok())
        .collect();
    if listed.is_empty() {
        return Ok(listed);
    }
    let tokens = volume.tokens()?;
    // Only TPM tokens, and never the one that opened or its siblings: a damaged list must not cost the last key.
    let siblings = |token: &Token| token.json.get(REPLACES) == opened.json.get(REPLACES);
    let (old, kept): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| {
        listed.contains(&token.id)
            && token.id != opened.id
            && !siblings(token)
            && token.kind().ends_with("-tpm2")
    });
    let in_use: Vec<u32> = kept.iter().flat_map(|token| token.keyslots()).collect();
    for token in &old {
        volume.remove_token(token.id)?;
        for slot in token.keyslots() {
            if !in_use.contains(&slot) && volume.keyslots()?.contains(&slot) {
                volume.remove_slot(slot)?;
            }
        }
    }
    for token in kept.iter().filter(|token| siblings(token)) {
        let mut json = token.json.clone();
        if let Some(object) = json.as_object_mut() {
            object.remove(REPLACES);
        }
        volume.write_token(&json, Some(token.id))?;
    }
    Ok(old.iter().map(|token| token.id).collect())
}

/// Letters that look the same on every keyboard layout, one for each four bits (as Yubico's modhex has them).
const MODHEX: &[u8; 16] = b"cbdefghijklnrtuv";

/// Adds a recovery key: a passphrase for a person, in the form that systemd-cryptenroll gives it.
///
/// # Errors
/// [`Error::Usage`] when the given passphrase opens nothing; [`Error::Cryptsetup`].
pub fn recovery(
    device: &Path,
    unlock_key_file: Option<&Path>,
    sources: &Sources,
) -> Result<(Zeroizing<String>, u32), Error> {
    let volume = Volume::open(device)?;
    let unlocking = match unlock_key_file {
        Some(path) => read_passphrase(path, path == Path::new("-"))?,
        None => Zeroizing::new(
            unlock::unlock(device, sources)?
                .passphrase
                .as_bytes()
                .to_vec(),
        ),
    };
    if !volume.is_opened_by(&unlocking)? {
        return Err(Error::Usage {
            what: "--unlock-key-file",
            problem: "does not open the volume".into(),
        });
    }
    let secret = tpm_seal::Secret::generate()?;
    let mut words = Zeroizing::new(String::with_capacity(72));
    for (at, byte) in secret.as_bytes().iter().enumerate() {
        if at != 0 && at % 4 == 0 {
            words.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            words.push(char::from(
                MODHEX.get(usize::from(nibble)).copied().unwrap_or(b'c'),
            ));
        }
    }
    let slot = volume.add_key(&unlocking, words.as_bytes())?;
    let token = json!({ "type": "systemd-recovery", "keyslots": [slot.to_string()] });
    if let Err(error) = volume.write_token(&token, None) {
        volume.remove_slot(slot)?;
        return Err(error);
    }
    Ok((words, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_whole_sha256_values() {
        assert!(pcr_7(&"ab".repeat(32), Bank::Sha256).is_ok());
        assert!(pcr_7(&"ab".repeat(48), Bank::Sha384).is_ok());
        assert_eq!(
            pcr_7("ab", Bank::Sha256).unwrap_err().to_string(),
            "--pcr7: 'ab' is not 64 hexadecimal digits"
        );
        assert!(pcr_7(&"é".repeat(32), Bank::Sha256).is_err());
    }
}
