//! `disk-key enroll`: a random key, sealed, in a slot of its own.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tpm_seal::{
    Bank, Evidence, PcrSelection, PcrValues, Pin, Policy, PolicyKey, PublicArea, SealOptions,
    SealedToken, Secret, SignedPcrs, SystemdToken, TalosToken, Token, Tpm, seal_offline,
};

use crate::luks::{Volume, read_passphrase};
use crate::node::Sources;
use crate::{Error, status};

/// The form of the token in the LUKS2 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum Format {
    /// As Talos writes and reads it.
    Talos,
    /// As systemd-cryptenroll writes and systemd-cryptsetup reads it.
    Systemd,
    /// Our own, with the policy in the token: several PCR keys and several outcomes of an update in one key slot.
    Trustedboot,
}

/// What is enrolled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// The volume.
    pub device: PathBuf,
    /// File with a passphrase that opens the volume now; `-` is standard input.
    pub unlock_key_file: PathBuf,
    /// Form of the token.
    pub format: Format,
    /// Registers bound to their present values, SHA-256 bank.
    pub pcrs: Vec<u8>,
    /// Ask for a PIN at every unlock.
    pub with_pin: bool,
    /// Enrol although Secure Boot is off.
    pub allow_insecure_boot: bool,
    /// File with the storage root key's public area of another machine (`systemd-analyze srk`, `tpm2_readpublic -o`): the
    /// key opens there, and no TPM is needed here.
    pub device_key: Option<PathBuf>,
    /// For another machine: values of its registers, `N=HEX`, SHA-256 bank.
    pub pcr_values: Vec<String>,
}

impl Request {
    /// The usual request: Talos's format, PCR 7.
    #[must_use]
    pub fn new(device: PathBuf, unlock_key_file: PathBuf) -> Self {
        Self {
            device,
            unlock_key_file,
            format: Format::Talos,
            pcrs: vec![7],
            with_pin: false,
            allow_insecure_boot: false,
            device_key: None,
            pcr_values: Vec::new(),
        }
    }
}

/// What was enrolled.
#[derive(Debug)]
#[non_exhaustive]
pub struct Enrolled {
    /// The key slot of the new key.
    pub keyslot: u32,
    /// Fingerprint of the PCR key.
    pub pcr_key: String,
    /// Was the key unsealed again before anything was written? Only when this boot phase is a signed one.
    pub proven: bool,
}

impl Enrolled {
    /// The document for `--json`.
    #[must_use]
    pub fn describe(&self, device: &Path) -> Value {
        json!({ "device": device, "keyslot": self.keyslot, "pcr_key": self.pcr_key, "proven": self.proven })
    }
}

/// Makes, seals and enrols a key.
///
/// # Errors
/// [`Error::Usage`] for a request that would not protect or not last; [`Error::Tpm`], [`Error::Cryptsetup`]. The volume
/// is as before then.
pub fn enroll(request: &Request, sources: &Sources) -> Result<Enrolled, Error> {
    if request.pcrs.contains(&11) {
        return Err(Error::Usage {
            what: "--pcrs",
            problem: "PCR 11 is bound through the signed policy; its present value would end with the next upgrade"
                .into(),
        });
    }
    let volume = Volume::open(&request.device)?;
    if request.device_key.is_none()
        && !request.allow_insecure_boot
        && status::secure_boot()? != Some(true)
    {
        return Err(Error::Usage {
            what: "Secure Boot",
            problem: "is off, so the key would open for any software; --allow-insecure-boot enrols all the same".into(),
        });
    }
    let key = sources.policy_key()?.ok_or_else(|| Error::Usage {
        what: "--pcr-public-key",
        problem: "the running system brought no public PCR key (is it a UKI with .pcrpkey?); give the file".into(),
    })?;
    if let Some(concern) = key.concern() {
        eprintln!("warning: {concern}");
    }
    let unlocking = read_passphrase(
        &request.unlock_key_file,
        request.unlock_key_file == Path::new("-"),
    )?;
    if !volume.is_opened_by(&unlocking)? {
        return Err(Error::Usage {
            what: "--unlock-key-file",
            problem: "does not open the volume".into(),
        });
    }
    let device_key = device_key(request)?;
    let mut tpm = match &device_key {
        Some(_) => None,
        None => Some(sources.tpm()?),
    };
    let literal = match &mut tpm {
        Some(tpm) => literal_values(tpm, &request.pcrs)?,
        None => Some(predicted_values(&request.pcr_values)?).filter(|values| !values.is_empty()),
    };
    let pin = request.with_pin.then(|| sources.pin(None)).transpose()?;
    let mut evidence = sources.evidence()?.policy_key(key.clone());
    if let Some(pin) = &pin {
        evidence = evidence.pin(pin.clone());
    }
    let seal = Sealing {
        format: request.format,
        pin,
        device_key,
    };
    let (secret, token) = seal.seal(
        tpm.as_mut(),
        core::slice::from_ref(&key),
        literal.as_slice(),
    )?;
    let proven = match &mut tpm {
        Some(tpm) => prove(tpm, &token, &evidence)?,
        None => false,
    };
    let keyslot = add(&volume, &unlocking, &secret, token, None)?;
    Ok(Enrolled {
        keyslot,
        pcr_key: key.fingerprint(),
        proven,
    })
}

pub(crate) fn literal_values(tpm: &mut Tpm, pcrs: &[u8]) -> Result<Option<PcrValues>, Error> {
    if pcrs.is_empty() {
        return Ok(None);
    }
    Ok(Some(
        tpm.pcr_values(PcrSelection::new(Bank::Sha256, pcrs)?)?,
    ))
}

fn device_key(request: &Request) -> Result<Option<PublicArea>, Error> {
    let Some(path) = &request.device_key else {
        return match request.pcr_values.as_slice() {
            [] => Ok(None),
            _ => Err(Error::Usage {
                what: "--pcr-value",
                problem: "is for --device-key; here the TPM tells the present values".into(),
            }),
        };
    };
    if request.format == Format::Talos {
        return Err(Error::Usage {
            what: "--device-key",
            problem: "Talos's form cannot hold a key for another machine; take --format systemd"
                .into(),
        });
    }
    let bytes = std::fs::read(path).map_err(|source| Error::io("read", path, source))?;
    Ok(Some(PublicArea::parse(&bytes)?))
}

/// `7=HEX`, as for another machine.
fn predicted_values(texts: &[String]) -> Result<PcrValues, Error> {
    texts
        .iter()
        .try_fold(PcrValues::new(Bank::Sha256), |values, text| {
            let wrong = || Error::Usage {
                what: "--pcr-value",
                problem: format!("'{text}' is not a register, '=' and 64 hexadecimal digits"),
            };
            let (pcr, hex) = text.split_once('=').ok_or_else(wrong)?;
            let pcr: u8 = pcr.parse().map_err(|_| wrong())?;
            if pcr == 11 || values.get(pcr).is_some() {
                return Err(wrong());
            }
            let value = crate::reseal::value(hex, Bank::Sha256).ok_or_else(wrong)?;
            values.with(pcr, &value).map_err(|_| wrong())
        })
}

/// How keys are sealed.
#[derive(Debug, Clone)]
pub(crate) struct Sealing {
    pub(crate) format: Format,
    pub(crate) pin: Option<Pin>,
    /// The storage root key of another machine, which no TPM here is asked for.
    pub(crate) device_key: Option<PublicArea>,
}

impl Sealing {
    /// A new secret under "any PCR 11 that one of `keys` signed", one of these sets of registers, and the PIN if there
    /// is one. Only our own form holds more than one of each.
    pub(crate) fn seal(
        &self,
        tpm: Option<&mut Tpm>,
        keys: &[PolicyKey],
        outcomes: &[PcrValues],
    ) -> Result<(Secret, Token), Error> {
        // systemd looks for signed policies in the bank of the registers.
        let bank = outcomes.first().map_or(Bank::Sha256, PcrValues::bank);
        let pcr_11 = PcrSelection::new(bank, &[11])?;
        let signed = |key: &PolicyKey| SignedPcrs::new(key.clone()).registers(pcr_11);
        let mut policy = Policy::new().signed_by_any(keys.iter().map(signed));
        if !outcomes.is_empty() {
            policy = policy.pcrs_any(outcomes.iter().cloned());
        }
        let mut options = SealOptions::new();
        if let Some(pin) = &self.pin {
            policy = policy.pin();
            options = options.pin(pin.clone());
        }
        if self.format != Format::Talos {
            options = options.under_srk();
        }
        let secret = Secret::generate()?;
        let sealed = match (tpm, &self.device_key) {
            (_, Some(public)) => seal_offline(public, &secret, &policy, &options)?,
            (Some(tpm), None) => tpm.seal(&secret, &policy, &options)?,
            (None, None) => return Err(tpm_seal::Error::NoDevice.into()),
        };
        let token = match self.format {
            Format::Talos => Token::Talos(TalosToken::new(sealed, &policy)?),
            Format::Systemd => Token::Systemd(SystemdToken::new(sealed, &policy)?),
            Format::Trustedboot => Token::Sealed(SealedToken::new(sealed, policy)),
        };
        Ok((secret, token))
    }
}

/// Unseals what was just sealed, where this boot phase is a signed one.
pub(crate) fn prove(tpm: &mut Tpm, token: &Token, evidence: &Evidence) -> Result<bool, Error> {
    use tpm_seal::{Error as SealError, Refusal};
    match tpm.unlock(token, evidence) {
        Ok(_) => Ok(true),
        // Sealing from a later phase, or from another system, is a use of its own: the policies are for other times.
        Err(SealError::Refused(
            Refusal::NoSignatures { .. }
            | Refusal::NoSignatureForBank { .. }
            | Refusal::NoSignature { .. }
            | Refusal::SignedByOtherKey { .. },
        )) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// Puts the secret into a key slot and the token into the header; both or none.
pub(crate) fn add(
    volume: &Volume,
    unlocking: &[u8],
    secret: &Secret,
    token: Token,
    replaces: Option<&[u32]>,
) -> Result<u32, Error> {
    let slot = volume.add_key(unlocking, secret.to_passphrase().as_bytes())?;
    let written = serde_json::from_str(&token.slot(slot).to_json())
        .map_err(|source| Error::Header {
            device: volume.device().to_owned(),
            source,
        })
        .and_then(|mut json: Value| {
            if let (Some(ids), Some(object)) = (replaces, json.as_object_mut()) {
                object.insert(crate::reseal::REPLACES.into(), json!(ids));
            }
            volume.write_token(&json, None)
        });
    if let Err(error) = written {
        volume.remove_slot(slot)?;
        return Err(error);
    }
    Ok(slot)
}
