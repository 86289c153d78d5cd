//! Our own token, `trustedboot-tpm2`: any policy, written down in it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use serde_json::{Map, Value, json};

use crate::json::{self, Object};
use crate::policy::MAX_DEPTH;
use crate::secret::PinSalt;
use crate::wire::{Reader, tpm2b};
use crate::{Error, Name, Parent, Policy, Refusal, SealedKey, SealedObject, Template, srk};

const WHAT: &str = "the sealed key token";
pub(crate) const TYPE: &str = "trustedboot-tpm2";

/// A LUKS2 token with the policy in it, for what the other formats cannot say: several keys during a rotation, several
/// outcomes of an update, policy references.
///
/// ```
/// use tpm_seal::SealedToken;
///
/// assert!(SealedToken::parse(b"{}").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedToken {
    sealed: SealedKey,
    policy: Policy,
    slots: Vec<u32>,
    fields: Map<String, Value>,
}

impl SealedToken {
    /// A token for what was sealed under `policy`.
    #[must_use]
    pub fn new(sealed: SealedKey, policy: Policy) -> Self {
        Self {
            sealed,
            policy,
            slots: Vec::new(),
            fields: Map::new(),
        }
    }

    /// Reads a LUKS2 token. Its policy must be the one that the object is sealed to.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Field`], [`Error::MissingField`], [`Refusal::Damaged`], and what is wrong with the parts.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_fields(json::parse(WHAT, bytes)?)
    }

    pub(crate) fn from_fields(fields: Map<String, Value>) -> Result<Self, Error> {
        let object = Object::new(WHAT, &fields);
        let blob = object.require("blob", object.base64("blob")?)?;
        let policy =
            Policy::from_value(object.require("policy", object.get("policy"))?, MAX_DEPTH)?;
        let parent = if let Some(bytes) = object.base64("srk")? {
            srk::parse(&bytes)?
        } else if let Some(handle) = object.number("parent_handle")? {
            let handle = u32::try_from(handle)
                .map_err(|_| object.wrong("parent_handle", "a number of 32 bits"))?;
            Parent::Handle { handle }
        } else {
            let template = object.require("parent", object.text("parent")?)?;
            let (_, template) = TEMPLATES
                .into_iter()
                .find(|(name, _)| *name == template)
                .ok_or_else(|| object.wrong("parent", "the name of a template"))?;
            let name = object.base64("parent_name")?.map(|bytes| {
                let mut reader = Reader::new("parent_name", &bytes);
                let name = Name::parse(reader.tpm2b()?)?;
                reader.finish().map(|()| name)
            });
            Parent::Primary {
                template,
                name: name.transpose()?,
            }
        };
        let mut sealed = SealedKey::new(SealedObject::parse_blob(&blob)?, parent);
        if let Some(salt) = object.base64("pin_salt")? {
            let salt = salt
                .try_into()
                .map_err(|_| object.wrong("pin_salt", "32 bytes in Base64"))?;
            sealed = sealed.with_pin_salt(salt);
        }
        if object.flag("plain_pin")? {
            sealed = sealed.with_plain_pin();
        }
        if !sealed.object().is_policy(&policy.digest()?) {
            return Err(Refusal::Damaged {
                what: "its policy is not the one that the key is sealed to",
            }
            .into());
        }
        let slots = object.slots()?;
        Ok(Self {
            sealed,
            policy,
            slots,
            fields,
        })
    }

    /// The LUKS2 token. Unknown fields of a token that was read are kept.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut fields = self.fields.clone();
        let slots: Vec<String> = self.slots.iter().map(ToString::to_string).collect();
        fields.insert("keyslots".to_owned(), json!(slots));
        if self.fields.is_empty() {
            let mut set = |name: &str, value: Value| {
                fields.insert(name.to_owned(), value);
            };
            set("type", TYPE.into());
            set("blob", json::of_base64(&self.sealed.object().to_blob()));
            set("policy", self.policy.to_value());
            match self.sealed.parent() {
                Parent::Persistent { handle, public } => {
                    set("srk", json::of_base64(&srk::to_bytes(*handle, public)));
                }
                Parent::Handle { handle } => set("parent_handle", (*handle).into()),
                Parent::Primary { template, name } => {
                    let known = TEMPLATES.into_iter().find(|(_, known)| known == template);
                    set("parent", known.map_or("", |(text, _)| text).into());
                    if let Some(name) = name {
                        set("parent_name", json::of_base64(&tpm2b(name.as_bytes())));
                    }
                }
            }
            match &self.sealed.pin_salt {
                PinSalt::None => {}
                PinSalt::Plain => set("plain_pin", true.into()),
                PinSalt::Salt(salt) => set("pin_salt", json::of_base64(salt)),
            }
        }
        Value::Object(fields).to_string()
    }

    /// For this LUKS2 key slot.
    #[must_use]
    pub fn slot(mut self, slot: u32) -> Self {
        self.slots = vec![slot];
        self
    }

    /// The LUKS2 key slots.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// What is sealed.
    #[must_use]
    pub const fn sealed(&self) -> &SealedKey {
        &self.sealed
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}

const TEMPLATES: [(&str, Template); 5] = [
    ("talos-ecc", Template::TalosEcc),
    ("srk-ecc", Template::SrkEcc),
    ("srk-rsa", Template::SrkRsa),
    ("legacy-ecc", Template::LegacyEcc),
    ("legacy-rsa", Template::LegacyRsa),
];
