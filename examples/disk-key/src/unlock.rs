//! `disk-key unlock`: the first token that opens.

use std::path::Path;

use serde_json::Value;
use tpm_seal::{Evidence, Token as TpmToken, Tpm};
use zeroize::Zeroizing;

use crate::luks::{Token, Volume};
use crate::node::Sources;
use crate::{Error, reseal};

/// An opened volume key.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unlocked {
    /// The LUKS passphrase.
    pub passphrase: Zeroizing<String>,
    /// Number of the token that opened.
    pub token: u32,
    /// Its key slots.
    pub keyslots: Vec<u32>,
    /// Tokens of an earlier sealing that were removed, because the new one has now proven itself.
    pub retired: Vec<u32>,
}

/// A token of the header and what it says.
pub(crate) type Known = (Token, TpmToken);

/// Tokens that this program can open, with those that it cannot read as reasons.
pub(crate) fn tpm_tokens(volume: &Volume) -> Result<(Vec<Known>, Vec<String>), Error> {
    let mut known = Vec::new();
    let mut damaged = Vec::new();
    for token in volume.tokens()? {
        if !token.kind().ends_with("-tpm2") {
            continue;
        }
        match TpmToken::parse(token.json.to_string().as_bytes()) {
            Ok(parsed) => known.push((token, parsed)),
            Err(error) => damaged.push(format!("token {}: {}", token.id, with_causes(&error))),
        }
    }
    Ok((known, damaged))
}

/// Unseals the key of a volume.
///
/// # Errors
/// [`Error::Refused`] with the reason of each token, [`Error::NoToken`], or what keeps the question from being asked.
pub fn unlock(device: &Path, sources: &Sources) -> Result<Unlocked, Error> {
    let volume = Volume::open(device)?;
    let (tokens, mut reasons) = tpm_tokens(&volume)?;
    if tokens.is_empty() {
        return Err(if reasons.is_empty() {
            Error::NoToken {
                device: device.to_owned(),
            }
        } else {
            Error::Undecided { reasons }
        });
    }
    let mut tpm = sources.tpm()?;
    let evidence = sources.evidence()?;
    // Tokens without a PIN first: nobody is asked for what is not needed.
    let (with_pin, without): (Vec<_>, Vec<_>) = tokens
        .into_iter()
        .partition(|(_, parsed)| parsed.needs_pin());
    let mut asked: Option<Evidence> = None;
    let damaged = reasons.len();
    let mut refused = false;
    let mut failure = None;
    for (token, parsed) in without.into_iter().chain(with_pin) {
        let used = if parsed.needs_pin() {
            // The PIN is asked for only when all else fits, so that nobody types it in vain.
            if let Err(reason) = fits(&mut tpm, &parsed, &evidence) {
                reasons.push(format!("token {}: {reason}", token.id));
                refused = true;
                continue;
            }
            if asked.is_none() {
                let lockout = tpm.lockout().ok();
                match sources.pin(lockout) {
                    Ok(pin) => asked = Some(evidence.clone().pin(pin)),
                    Err(error) if reasons.is_empty() => return Err(error),
                    Err(error) => {
                        reasons.push(format!("token {}: {}", token.id, with_causes(&error)));
                        return Err(Error::Undecided { reasons });
                    }
                }
            }
            asked.as_ref().unwrap_or(&evidence)
        } else {
            &evidence
        };
        match tpm.unlock(&parsed, used) {
            Ok(secret) => {
                let passphrase = secret.to_passphrase();
                if !volume.is_opened_by(passphrase.as_bytes())? {
                    reasons.push(format!(
                        "token {}: unsealed, but its key slot is gone",
                        token.id
                    ));
                    refused = true;
                    continue;
                }
                let retired = reseal::retire_older(&volume, &token)?;
                return Ok(Unlocked {
                    passphrase,
                    token: token.id,
                    keyslots: token.keyslots(),
                    retired,
                });
            }
            Err(tpm_seal::Error::Refused(reason)) => {
                reasons.push(format!("token {}: {reason}", token.id));
                refused = true;
            }
            Err(other) => {
                reasons.push(format!("token {}: {}", token.id, with_causes(&other)));
                failure = Some(other);
            }
        }
    }
    match failure {
        _ if refused => Err(Error::Refused { reasons }),
        // Nobody said no: the question could not be asked.
        Some(failure) if damaged == 0 => Err(failure.into()),
        _ => Err(Error::Undecided { reasons }),
    }
}

/// Does everything but the PIN fit?
fn fits(tpm: &mut Tpm, token: &TpmToken, evidence: &Evidence) -> Result<(), String> {
    let mut measured = Vec::new();
    for selection in token.registers().map_err(|error| error.to_string())? {
        measured.push(
            tpm.pcr_values(selection)
                .map_err(|error| error.to_string())?,
        );
    }
    let policy = token
        .policy(&measured, evidence)
        .map_err(|reason| reason.to_string())?;
    match policy.check(&measured, evidence) {
        Ok(()) | Err(tpm_seal::Refusal::PinNeeded) => Ok(()),
        Err(reason) => Err(reason.to_string()),
    }
}

/// The document for `--json`; the key is written by the caller, so that it is in no value that is not wiped.
#[must_use]
pub fn describe(unlocked: &Unlocked, device: &Path) -> Value {
    serde_json::json!({
        "device": device, "unlocked": true, "token": unlocked.token, "keyslots": unlocked.keyslots,
        "retired_tokens": unlocked.retired,
    })
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
