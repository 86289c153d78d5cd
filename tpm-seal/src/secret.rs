//! Things that must not be seen: secrets, PINs and what is made of them.

use core::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rand_core::{OsRng, RngCore as _};
use zeroize::{Zeroize as _, Zeroizing};

use crate::Error;
use crate::bank::sha256;

/// Rounds of PBKDF2 that systemd takes.
const PIN_ROUNDS: u32 = 10_000;

/// A secret that is or was sealed. Wiped when dropped; `Debug` shows its length only.
///
/// ```
/// let secret = tpm_seal::Secret::generate()?;
/// assert_eq!(format!("{secret:?}"), "Secret(32 bytes)");
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes `bytes` over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// 32 bytes from the operating system.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        random().map(|bytes: Zeroizing<[u8; 32]>| Self::new(bytes.to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The LUKS passphrase that Talos and systemd make of the secret: its Base64 text.
    #[must_use]
    pub fn to_passphrase(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_STANDARD.encode(&*self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A PIN as it is typed. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// Takes the text over. An empty PIN is no PIN; sealing refuses it.
    #[must_use]
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object's authorization value: systemd's way with a salt, the plain SHA-256 of the PIN without.
    /// The hash's trailing zero bytes are cut off because a TPM compares without them.
    pub(crate) fn auth_value(&self, salt: Option<&[u8; 32]>) -> AuthValue {
        let digest = Zeroizing::new(match salt {
            Some(salt) => {
                let mut key = Zeroizing::new([0; 32]);
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&self.0, salt, PIN_ROUNDS, &mut *key);
                let text = Zeroizing::new(BASE64_STANDARD.encode(*key));
                sha256(&[text.as_bytes()])
            }
            None => sha256(&[&self.0]),
        });
        AuthValue::trimmed(&*digest)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(…)")
    }
}

/// An authorization value as the TPM compares it: without trailing zero bytes.
#[derive(Clone)]
pub(crate) struct AuthValue(Zeroizing<Vec<u8>>);

impl AuthValue {
    pub(crate) fn trimmed(bytes: &[u8]) -> Self {
        let len = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        Self(Zeroizing::new(bytes.iter().copied().take(len).collect()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AuthValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthValue(…)")
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    if OsRng.try_fill_bytes(&mut *bytes).is_err() {
        bytes.zeroize();
        return Err(Error::Random);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::AuthValue;

    #[test]
    fn trims_trailing_zeros_and_only_those() {
        assert_eq!(
            AuthValue::trimmed(&[0, 1, 0, 2, 0, 0]).as_bytes(),
            [0, 1, 0, 2]
        );
        assert!(AuthValue::trimmed(&[0, 0]).as_bytes().is_empty());
        assert_eq!(AuthValue::trimmed(&[3]).as_bytes(), [3]);
    }
}
