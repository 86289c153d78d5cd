//! systemd's encrypted credentials (`systemd-creds encrypt`).
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::bank::sha256;
use crate::{
    Bank, Error, Parent, PcrSelection, PolicyKey, Refusal, SealedKey, SealedObject, Secret,
    SystemdToken, Template, Token,
};

const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
const HOST_KEY_LEN: usize = 4096;
/// What the head of a credential's type says of its key: host, TPM, signed policy, for one user only.
const KINDS: [([u8; 16], Kind); 9] = [
    (
        *b"\x5a\x1c\x6a\x86\xdf\x9d\x40\x96\xb1\xd5\xa6\x5e\x08\x62\xf1\x9a",
        Kind(true, false, false, false),
    ),
    (
        *b"\x55\xb9\xed\x1d\x38\x59\x4d\x43\xa8\x31\x9d\x2e\xbb\x33\x2a\xc6",
        Kind(true, false, false, true),
    ),
    (
        *b"\x0c\x7c\xc0\x7b\x11\x76\x45\x91\x9c\x4b\x0b\xea\x08\xbc\x20\xfe",
        Kind(false, true, false, false),
    ),
    (
        *b"\xfa\xf7\xeb\x93\x41\xe3\x41\x2c\xa1\xa4\x36\xf9\x5a\x29\x36\x2f",
        Kind(false, true, true, false),
    ),
    (
        *b"\x93\xa8\x94\x09\x48\x74\x44\x90\x90\xca\xf2\xfc\x93\xca\xb5\x53",
        Kind(true, true, false, false),
    ),
    (
        *b"\xef\x4a\xc1\x36\x79\xa9\x48\x0e\xa7\xdb\x68\x89\x7f\x9f\x16\x5d",
        Kind(true, true, false, true),
    ),
    (
        *b"\xaf\x49\x50\xa8\x49\x13\x4e\xb1\xa7\x38\x46\x30\x4f\xf3\x0c\x05",
        Kind(true, true, true, false),
    ),
    (
        *b"\xad\xbc\x4c\xa3\xef\xb6\x42\x01\xba\x88\x1b\x6f\x2e\x40\x95\xea",
        Kind(true, true, true, true),
    ),
    (
        *b"\x05\x84\x69\xda\xf6\xf5\x43\x24\x80\x05\x49\xda\x0f\x8e\xa2\xfb",
        Kind(false, false, false, false),
    ),
];

/// By host key, by TPM, with a signed policy, for one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(bool, bool, bool, bool);

/// An encrypted credential of systemd: data under a key that a TPM, a key of the host, or both together give.
///
/// ```no_run
/// use tpm_seal::{Credential, EvidenceFiles};
///
/// let credential = Credential::parse(&std::fs::read("password.cred")?)?;
/// # #[cfg(feature = "tpm")] {
/// let mut tpm = tpm_seal::Tpm::open(&tpm_seal::Tcti::of_this_machine()?)?;
/// let evidence = EvidenceFiles::new().read()?;
/// let secret = match credential.token() {
///     Some(token) => Some(tpm.unlock(token, &evidence)?),
///     None => None,
/// };
/// let decrypted = credential.decrypt(secret.as_ref(), None)?;
/// println!("{:?}: {} bytes", decrypted.name(), decrypted.data().as_bytes().len());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    kind: Kind,
    token: Option<Token>,
    iv: [u8; IV_LEN],
    head: Vec<u8>,
    encrypted: Vec<u8>,
}

/// What was in a [`Credential`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecryptedCredential {
    name: Option<String>,
    timestamp: Option<u64>,
    not_after: Option<u64>,
    data: Secret,
}

impl Credential {
    /// Reads a credential: the file that `systemd-creds encrypt` writes, which is Base64 text, or the bytes themselves.
    ///
    /// # Errors
    /// [`Error::Credential`], [`Error::UnsupportedToken`] for credentials of one user, and what is wrong with the
    /// sealed key.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.get(..16).is_some_and(|id| find(id).is_some()) {
            return Self::parse_raw(bytes);
        }
        let text: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let raw = BASE64_STANDARD
            .decode(text)
            .map_err(|_| wrong("neither a known type nor Base64 text"))?;
        Self::parse_raw(&raw)
    }

    fn parse_raw(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Fields { bytes, at: 0 };
        let id = reader.take(16)?;
        let kind = find(id).ok_or(wrong("its type is not known"))?;
        if kind.3 {
            return Err(Error::UnsupportedToken {
                what: "a credential for one user only",
            });
        }
        let sizes = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        // OpenSSL calls 1 the block size of GCM; systemd 250 wrote 16.
        let [32, 1 | 16, 12, 16] = sizes else {
            return Err(wrong("its cipher is not AES-256-GCM"));
        };
        let iv = reader
            .take(IV_LEN)?
            .try_into()
            .map_err(|_| wrong("it ends too early"))?;
        reader.align()?;
        let token = if kind.1 {
            Some(Token::Systemd(read_token(&mut reader, kind.2)?))
        } else {
            None
        };
        let (head, encrypted) = bytes
            .split_at_checked(reader.at)
            .filter(|(_, rest)| rest.len() >= TAG_LEN)
            .ok_or(wrong("it ends too early"))?;
        Ok(Self {
            kind,
            token,
            iv,
            head: head.to_vec(),
            encrypted: encrypted.to_vec(),
        })
    }

    /// The sealed part of the key, to be unlocked by a TPM; nothing when no TPM takes part.
    #[must_use]
    pub const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Whether the host's key (`/var/lib/systemd/credential.secret`) takes part.
    #[must_use]
    pub const fn needs_host_key(&self) -> bool {
        self.kind.0
    }

    /// Whether the key is a constant, so that the credential protects nothing (`--with-key=null`).
    #[must_use]
    pub const fn is_unprotected(&self) -> bool {
        !self.kind.0 && !self.kind.1
    }

    /// The host's key from the bytes of its file, which begins with an identifier of the machine.
    ///
    /// # Errors
    /// [`Error::Credential`] for a file that is too short.
    pub fn host_key(file: &[u8]) -> Result<Secret, Error> {
        match file.split_at_checked(16) {
            Some((_, key)) if key.len() == HOST_KEY_LEN => Ok(Secret::new(key.to_vec())),
            _ => Err(wrong("the file of the host's key is not 4112 bytes")),
        }
    }

    /// Decrypts with the secret that the TPM gave for [`token`](Self::token), and the host's key where it takes part.
    /// A time after which the data must not be used any more is the caller's to look at.
    ///
    /// # Errors
    /// [`Error::Credential`] when a part of the key is missing; [`Refusal::Damaged`] when the key is another or the
    /// credential was changed.
    pub fn decrypt(
        &self,
        tpm_secret: Option<&Secret>,
        host_key: Option<&Secret>,
    ) -> Result<DecryptedCredential, Error> {
        if self.kind.1 != tpm_secret.is_some() || self.kind.0 != host_key.is_some() {
            return Err(wrong("the parts of its key are not those that were given"));
        }
        let [host, tpm] = [host_key, tpm_secret].map(|part| part.map_or(&[][..], Secret::as_bytes));
        let key = Zeroizing::new(sha256(&[host, tpm]));
        let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&*key));
        let payload = Payload {
            msg: &self.encrypted,
            aad: &self.head,
        };
        let plain = cipher.decrypt(Nonce::from_slice(&self.iv), payload);
        let plain = Zeroizing::new(plain.map_err(|_| Refusal::Damaged {
            what: "the credential was changed, or its key is another",
        })?);
        let mut reader = Fields {
            bytes: &plain,
            at: 0,
        };
        let (timestamp, not_after) = (reader.u64()?, reader.u64()?);
        let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let name = reader.take(len)?.to_vec();
        reader.align()?;
        let name = String::from_utf8(name).map_err(|_| wrong("its name is not UTF-8"))?;
        Ok(DecryptedCredential {
            name: Some(name).filter(|name| !name.is_empty()),
            timestamp: Some(timestamp).filter(|&time| time != u64::MAX),
            not_after: Some(not_after).filter(|&time| time != u64::MAX),
            data: Secret::new(plain.get(reader.at..).unwrap_or_default().to_vec()),
        })
    }
}

impl DecryptedCredential {
    /// The name that the credential must be used under, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// When it was made, in microseconds since 1970.
    #[must_use]
    pub const fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }

    /// When it ends, in microseconds since 1970.
    #[must_use]
    pub const fn not_after(&self) -> Option<u64> {
        self.not_after
    }

    /// The data.
    #[must_use]
    pub const fn data(&self) -> &Secret {
        &self.data
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("token", &self.token)
            .field("needs_host_key", &self.kind.0)
            .field("encrypted_len", &self.encrypted.len())
            .finish_non_exhaustive()
    }
}

fn find(id: &[u8]) -> Option<Kind> {
    let known = KINDS.iter().find(|(known, _)| known == id);
    known.map(|&(_, kind)| kind)
}

/// The headers of the TPM: as a LUKS2 token has it, under a primary key that is made anew.
fn read_token(reader: &mut Fields<'_>, signed: bool) -> Result<SystemdToken, Error> {
    let mask = reader.u64()?;
    let bank = Bank::from_algorithm_id(reader.u16()?).ok_or(wrong("its bank is not known"))?;
    let template = match reader.u16()? {
        0x0001 => Template::LegacyRsa,
        0x0023 => Template::LegacyEcc,
        _ => return Err(wrong("the kind of its storage key is not known")),
    };
    let [blob_len, hash_len] = [reader.u32()?, reader.u32()?];
    let blob = reader.take(usize::try_from(blob_len).unwrap_or(usize::MAX))?;
    let hash = reader.take(usize::try_from(hash_len).unwrap_or(usize::MAX))?;
    reader.align()?;
    let hash = hash
        .try_into()
        .map_err(|_| wrong("its policy hash is not 32 bytes"))?;
    let signed = if signed {
        let pcrs = selection(bank, reader.u64()?)?;
        let len = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let key = reader.take(len)?;
        reader.align()?;
        let key = match core::str::from_utf8(key) {
            Ok(pem) => PolicyKey::from_pem(pem)?,
            Err(_) => PolicyKey::from_der(key)?,
        };
        if pcrs.is_empty() {
            return Err(wrong("its signed policy names no register"));
        }
        Some((key, pcrs))
    } else {
        None
    };
    let parent = Parent::Primary {
        template,
        name: None,
    };
    let sealed = SealedKey::new(SealedObject::parse_blob(blob)?, parent);
    Ok(SystemdToken::of_credential(
        sealed,
        selection(bank, mask)?,
        signed,
        hash,
    ))
}

fn selection(bank: Bank, mask: u64) -> Result<PcrSelection, Error> {
    let pcrs: Vec<u8> = (0..64).filter(|pcr| mask & 1 << pcr != 0).collect();
    PcrSelection::new(bank, &pcrs)
}

const fn wrong(reason: &'static str) -> Error {
    Error::Credential { reason }
}

/// Little-endian fields, each header filled up to eight bytes.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| Some((end, self.bytes.get(self.at..end)?)));
        let (end, taken) = taken.ok_or(wrong("it ends too early"))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| wrong("it ends too early"))
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }

    fn align(&mut self) -> Result<(), Error> {
        let missing = self.at.next_multiple_of(8).saturating_sub(self.at);
        self.take(missing).map(drop)
    }
}
