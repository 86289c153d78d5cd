//! Sealed objects, their parents, and both together.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use core::fmt;

use crate::public_area::{FIXED_PARENT, FIXED_TPM, NO_DA, PublicArea, USER_WITH_AUTH};
use crate::secret::PinSalt;
use crate::wire::{Reader, tpm2b};
use crate::{Error, Name, Pin, Policy};

/// `fixedTPM`, `fixedParent`, `noDA`: attributes of a sealed object without a PIN.
pub(crate) const SEALED: u32 = FIXED_TPM | FIXED_PARENT | NO_DA;
/// `fixedTPM`, `fixedParent`: with a PIN, guarded by the dictionary-attack counter.
pub(crate) const SEALED_WITH_PIN: u32 = FIXED_TPM | FIXED_PARENT;
/// Handle of the storage root key, by convention.
pub(crate) const SRK_HANDLE: u32 = 0x8100_0001;

/// A sealed object as it lies outside of the TPM: useless without that TPM.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedObject {
    public: PublicArea,
    private: Vec<u8>,
    import_secret: Option<Vec<u8>>,
}

impl SealedObject {
    /// Puts an object together from `TPM2B_PUBLIC` and `TPM2B_PRIVATE`.
    ///
    /// # Errors
    /// Whatever is wrong with the public area; [`Error::Truncated`], [`Error::Trailing`].
    pub fn from_parts(public: &[u8], private: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("TPM2B_PRIVATE", private);
        let inner = reader.tpm2b()?;
        reader.finish()?;
        Self::new(PublicArea::parse(public)?, inner.to_vec(), None)
    }

    pub(crate) fn new(
        public: PublicArea,
        private: Vec<u8>,
        import_secret: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        if !public.is_sealed_object() {
            return Err(Error::Unexpected {
                what: "sealed object",
                field: "type",
                value: 0,
                offset: 2,
            });
        }
        if private.is_empty() {
            return Err(Error::Truncated {
                what: "TPM2B_PRIVATE",
                offset: 2,
                needed: 1,
                available: 0,
            });
        }
        Ok(Self {
            public,
            private,
            import_secret,
        })
    }

    /// Reads systemd's form: `TPM2B_PRIVATE`, `TPM2B_PUBLIC`, and `TPM2B_ENCRYPTED_SECRET` if the object must be imported.
    ///
    /// # Errors
    /// As [`from_parts`](Self::from_parts).
    pub fn parse_blob(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("sealed blob", bytes);
        let private = reader.tpm2b()?.to_vec();
        let public = PublicArea::parse_area(reader.tpm2b()?)?;
        let import_secret = if reader.rest().is_empty() {
            None
        } else {
            Some(reader.tpm2b()?.to_vec())
        };
        reader.finish()?;
        Self::new(public, private, import_secret)
    }

    /// Writes systemd's form.
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        let mut bytes = tpm2b(&self.private);
        bytes.extend(self.public.to_bytes());
        if let Some(secret) = &self.import_secret {
            bytes.extend(tpm2b(secret));
        }
        bytes
    }

    /// The public area.
    #[must_use]
    pub const fn public(&self) -> &PublicArea {
        &self.public
    }

    /// `TPM2B_PRIVATE`, encrypted for the TPM.
    #[must_use]
    pub fn private(&self) -> Vec<u8> {
        tpm2b(&self.private)
    }

    pub(crate) fn private_value(&self) -> &[u8] {
        &self.private
    }

    /// For objects sealed offline: what the TPM gets the wrapping key from (`TPM2B_ENCRYPTED_SECRET` without its size).
    #[must_use]
    pub fn import_secret(&self) -> Option<&[u8]> {
        self.import_secret.as_deref()
    }

    /// Whether a wrong PIN counts against the TPM's lockout.
    #[must_use]
    pub const fn counts_wrong_pins(&self) -> bool {
        self.public.attributes() & NO_DA == 0
    }

    /// Whether this policy digest opens it. An object that opens by its value alone has none.
    pub(crate) fn is_policy(&self, digest: &[u8; 32]) -> bool {
        let own = self.public.auth_policy();
        own == digest || self.opens_by_value() && own.is_empty()
    }

    /// Whether the authorization value alone opens it, without any policy.
    pub(crate) const fn opens_by_value(&self) -> bool {
        self.public.attributes() & USER_WITH_AUTH != 0
    }
}

impl fmt::Debug for SealedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SealedObject({:?}, {} bytes)",
            self.public,
            self.private.len()
        )
    }
}

/// How a parent that is not kept in the TPM is made again: its template, in the owner hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Template {
    /// Talos's and the TCG provisioning text's: P-256, `unique` of zeros.
    TalosEcc,
    /// systemd's: P-256, `unique` empty.
    SrkEcc,
    /// systemd's: RSA 2048, `unique` empty.
    SrkRsa,
    /// systemd's before it kept a storage root key: P-256 without noDA.
    LegacyEcc,
    /// The same for RSA 2048.
    LegacyRsa,
}

impl Template {
    /// `fixedTPM`, `fixedParent`, `sensitiveDataOrigin`, `userWithAuth`, `restricted`, `decrypt`.
    const LEGACY: u32 = 0x0003_0072;

    pub(crate) fn public_area(self) -> PublicArea {
        let zeros = [0; 32];
        match self {
            Self::TalosEcc => PublicArea::ecc_storage(Self::LEGACY | NO_DA, &zeros, &zeros),
            Self::SrkEcc => PublicArea::ecc_storage(Self::LEGACY | NO_DA, &[], &[]),
            Self::SrkRsa => PublicArea::rsa_storage(Self::LEGACY | NO_DA),
            Self::LegacyEcc => PublicArea::ecc_storage(Self::LEGACY, &[], &[]),
            Self::LegacyRsa => PublicArea::rsa_storage(Self::LEGACY),
        }
    }
}

/// The storage key that an object is sealed under, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parent {
    /// Made again from a template for each use; its Name must be this, if one is known.
    Primary {
        /// How it is made.
        template: Template,
        /// Its Name.
        name: Option<Name>,
    },
    /// Kept in the TPM, and nothing else is known of it: whatever storage key is there is taken. Key files of OpenSSL's
    /// form say no more; somebody on the bus can stand in for that key.
    Handle {
        /// The handle.
        handle: u32,
    },
    /// Kept in the TPM. The public area is the trust anchor: whatever is found must have its Name.
    Persistent {
        /// The handle, mostly 81000001.
        handle: u32,
        /// The public area.
        public: PublicArea,
    },
}

impl Parent {
    /// The Name that the parent must have, if one is known.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        match self {
            Self::Primary { name, .. } => *name,
            Self::Handle { .. } => None,
            Self::Persistent { public, .. } => Some(public.name()),
        }
    }
}

/// A sealed object with everything needed to find its way back into the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    pub(crate) object: SealedObject,
    pub(crate) parent: Parent,
    pub(crate) pin_salt: PinSalt,
}

impl SealedKey {
    /// Puts an object and its parent together.
    #[must_use]
    pub const fn new(object: SealedObject, parent: Parent) -> Self {
        Self {
            object,
            parent,
            pin_salt: PinSalt::None,
        }
    }

    /// With the salt of its PIN.
    #[must_use]
    pub const fn with_pin_salt(mut self, salt: [u8; 32]) -> Self {
        self.pin_salt = PinSalt::Salt(salt);
        self
    }

    /// With a PIN that is the object's authorization value as it is, as tpm2-tools and OpenSSL take passwords.
    #[must_use]
    pub const fn with_plain_pin(mut self) -> Self {
        self.pin_salt = PinSalt::Plain;
        self
    }

    /// The object.
    #[must_use]
    pub const fn object(&self) -> &SealedObject {
        &self.object
    }

    /// Its parent.
    #[must_use]
    pub const fn parent(&self) -> &Parent {
        &self.parent
    }

    /// The salt of its PIN.
    #[must_use]
    pub const fn pin_salt(&self) -> Option<&[u8; 32]> {
        match &self.pin_salt {
            PinSalt::Salt(salt) => Some(salt),
            PinSalt::None | PinSalt::Plain => None,
        }
    }
}

/// How to seal: a PIN, and what may be sealed to although it binds little.
///
/// ```
/// use tpm_seal::{Pin, SealOptions};
///
/// let options = SealOptions::new().pin(Pin::new("1234"));
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
pub struct SealOptions {
    pub(crate) pin: Option<Pin>,
    pub(crate) allow_weak: bool,
    pub(crate) allow_unmeasured: bool,
    pub(crate) srk: bool,
    pub(crate) expected_parent: Option<Name>,
}

impl SealOptions {
    /// No PIN, under a primary key as Talos makes it, nothing doubtful allowed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this PIN; the policy must ask for it.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// Under the storage root key at 81000001, as systemd does; it is made and kept there if nothing is.
    #[must_use]
    pub const fn under_srk(mut self) -> Self {
        self.srk = true;
        self
    }

    /// Only if the storage key has this Name: who seals for the first time trusts whatever TPM answers, unless the Name
    /// is known from elsewhere.
    #[must_use]
    pub const fn expected_parent(mut self, name: Name) -> Self {
        self.expected_parent = Some(name);
        self
    }

    /// A policy that binds nothing, or nothing but PCR 7, is meant.
    #[must_use]
    pub const fn allow_weak(mut self) -> Self {
        self.allow_weak = true;
        self
    }

    /// Registers that nothing was measured into are meant.
    #[must_use]
    pub const fn allow_unmeasured(mut self) -> Self {
        self.allow_unmeasured = true;
        self
    }

    /// What must hold before anything is sealed; gives the policy digest.
    pub(crate) fn judge(&self, policy: &Policy, secret_len: usize) -> Result<[u8; 32], Error> {
        if !(1..=128).contains(&secret_len) {
            return Err(Error::SecretLength { len: secret_len });
        }
        match &self.pin {
            Some(pin) if pin.is_empty() => {
                return Err(Error::PinAndPolicy {
                    reason: "the PIN is empty",
                });
            }
            Some(_) if !policy.needs_pin() => {
                return Err(Error::PinAndPolicy {
                    reason: "a PIN is given and the policy does not ask for one",
                });
            }
            None if policy.needs_pin() => {
                return Err(Error::PinAndPolicy {
                    reason: "the policy asks for a PIN and none is given",
                });
            }
            _ => {}
        }
        if !self.allow_weak {
            policy.refuse_weak()?;
        }
        if !self.allow_unmeasured {
            policy.refuse_unmeasured()?;
        }
        policy.digest()
    }
}
