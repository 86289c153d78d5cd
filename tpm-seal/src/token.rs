//! A token of whichever kind.

use std::path::Path;

use serde_json::Value;

use crate::{
    Error, Evidence, KeyFile, PcrSelection, PcrValues, Policy, Refusal, SealedKey, SealedToken,
    SystemdToken, TalosToken, evidence_files, json, sealed_token, systemd, talos,
};

/// A LUKS2 token of whichever kind this crate knows.
///
/// ```no_run
/// use tpm_seal::{Evidence, Tcti, Token};
///
/// let token = Token::parse(&std::fs::read("token.json")?)?;
/// # #[cfg(feature = "tpm")] {
/// let mut tpm = tpm_seal::Tpm::open(&Tcti::of_this_machine()?)?;
/// let passphrase = tpm.unlock(&token, &Evidence::new())?.to_passphrase();
/// # let _ = passphrase; }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Token {
    /// `talos-tpm2`.
    Talos(TalosToken),
    /// `systemd-tpm2`.
    Systemd(SystemdToken),
    /// `trustedboot-tpm2`.
    Sealed(SealedToken),
}

impl Token {
    /// Reads a file: what [`parse`](Self::parse) reads.
    ///
    /// # Errors
    /// [`Error::File`], and as [`parse`](Self::parse).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::parse(&evidence_files::read(path.as_ref())?)
    }

    /// Reads a LUKS2 token, the `UserData` of Talos's alone, or a [`KeyFile`] in PEM.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] and what is wrong with the token.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if let Some(pem) = core::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.trim_start().starts_with("-----BEGIN "))
        {
            return KeyFile::from_pem(pem)
                .and_then(|file| file.token())
                .map(Self::Sealed);
        }
        let fields = json::parse("the token", bytes)?;
        let kind = fields
            .get("type")
            .and_then(Value::as_str)
            .map(str::to_owned);
        match kind.as_deref() {
            Some(talos::TYPE) => TalosToken::from_fields(fields).map(Self::Talos),
            Some(systemd::TYPE) => SystemdToken::from_fields(fields).map(Self::Systemd),
            Some(sealed_token::TYPE) => SealedToken::from_fields(fields).map(Self::Sealed),
            None if fields.contains_key("sealed_blob_private")
                || fields.contains_key("UserData") =>
            {
                TalosToken::from_fields(fields).map(Self::Talos)
            }
            None if fields.contains_key("tpm2-blob") => {
                SystemdToken::from_fields(fields).map(Self::Systemd)
            }
            _ => Err(Error::UnknownToken),
        }
    }

    /// The LUKS2 token.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Talos(token) => token.to_json(),
            Self::Systemd(token) => token.to_json(),
            Self::Sealed(token) => token.to_json(),
        }
    }

    /// For this LUKS2 key slot.
    #[must_use]
    pub fn slot(self, slot: u32) -> Self {
        match self {
            Self::Talos(token) => Self::Talos(token.slot(slot)),
            Self::Systemd(token) => Self::Systemd(token.slot(slot)),
            Self::Sealed(token) => Self::Sealed(token.slot(slot)),
        }
    }

    /// The LUKS2 key slots.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        match self {
            Self::Talos(token) => token.slots(),
            Self::Systemd(token) => token.slots(),
            Self::Sealed(token) => token.slots(),
        }
    }

    /// What is sealed.
    #[must_use]
    pub const fn sealed(&self) -> &SealedKey {
        match self {
            Self::Talos(token) => token.sealed(),
            Self::Systemd(token) => token.sealed(),
            Self::Sealed(token) => token.sealed(),
        }
    }

    /// Whether a PIN is needed, or may be.
    #[must_use]
    pub fn needs_pin(&self) -> bool {
        match self {
            Self::Talos(_) => false,
            Self::Systemd(token) => token.needs_pin(),
            Self::Sealed(token) => token.policy().needs_pin(),
        }
    }

    /// The registers to read before [`policy`](Self::policy), one selection a bank.
    ///
    /// # Errors
    /// None that a parsed token can give.
    pub fn registers(&self) -> Result<Vec<PcrSelection>, Error> {
        match self {
            Self::Talos(token) => token.registers(),
            Self::Systemd(token) => token.registers(),
            Self::Sealed(token) => Ok(token.policy().registers()),
        }
    }

    /// The registers that the token is bound to by value, not by a signature.
    #[must_use]
    pub fn literal_registers(&self) -> PcrSelection {
        match self {
            Self::Talos(token) => token.pcrs(),
            Self::Systemd(token) => token.pcrs(),
            Self::Sealed(token) => token.policy().literal_registers(),
        }
    }

    /// The policy that the token asks for in the state `measured`, compared with the one it is sealed to. No TPM is
    /// asked, so this tells beforehand whether the token would open: follow it by [`Policy::check`].
    ///
    /// # Errors
    /// The reason why it would not.
    pub fn policy(&self, measured: &[PcrValues], evidence: &Evidence) -> Result<Policy, Refusal> {
        match self {
            Self::Talos(token) => token.policy(measured, evidence.the_policy_key()),
            Self::Systemd(token) => token.policy(measured),
            Self::Sealed(token) => Ok(token.policy().clone()),
        }
    }
}

impl From<TalosToken> for Token {
    fn from(token: TalosToken) -> Self {
        Self::Talos(token)
    }
}

impl From<SystemdToken> for Token {
    fn from(token: SystemdToken) -> Self {
        Self::Systemd(token)
    }
}

impl From<SealedToken> for Token {
    fn from(token: SealedToken) -> Self {
        Self::Sealed(token)
    }
}
