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

    /// The bytes as hexadecimal text.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        // At its full size from the start: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len().saturating_mul(2)));
        for nibble in self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
            text.extend(char::from_digit(nibble.into(), 16));
        }
        text
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

    /// The object's authorization value.
    /// A hash's trailing zero bytes are cut off because a TPM compares without them.
    pub(crate) fn auth_value(&self, salt: &PinSalt) -> AuthValue {
        let digest = Zeroizing::new(match salt {
            PinSalt::Plain => return AuthValue::trimmed(&self.0),
            PinSalt::Salt(salt) => {
                let mut key = Zeroizing::new([0; 32]);
                pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&self.0, salt, PIN_ROUNDS, &mut *key);
                let text = Zeroizing::new(BASE64_STANDARD.encode(*key));
                sha256(&[text.as_bytes()])
            }
            PinSalt::None => sha256(&[&self.0]),
        });
        AuthValue::trimmed(&*digest)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(…)")
    }
}

/// How a PIN becomes an authorization value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PinSalt {
    /// Its SHA-256: systemd before 253.
    #[default]
    None,
    /// As systemd since then.
    Salt([u8; 32]),
    /// As it is: OpenSSL's key files and tpm2-tools.
    Plain,
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
