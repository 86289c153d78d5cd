//! systemd's token, `systemd-tpm2`.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use serde_json::{Map, Value, json};

use crate::json::{self, Object};
use crate::policy::{Policy, SignedPcrs, Step};
use crate::talos::{SEALED_TO, SealedTo};
use crate::{
    Bank, Error, Parent, PcrSelection, PcrValues, PolicyKey, Refusal, SealedKey, SealedObject,
    Template, hex, srk,
};

const WHAT: &str = "the systemd token";
pub(crate) const TYPE: &str = "systemd-tpm2";

/// systemd's LUKS2 token: registers, a signed policy, a PIN, in any combination.
///
/// The LUKS passphrase is [`Secret::to_passphrase`](crate::Secret::to_passphrase).
///
/// ```no_run
/// use tpm_seal::SystemdToken;
///
/// let token = SystemdToken::parse(&std::fs::read("token.json")?)?;
/// println!("slots {:?}, PIN: {}", token.slots(), token.needs_pin());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdToken {
    sealed: SealedKey,
    pcrs: PcrSelection,
    signed: Option<(PolicyKey, PcrSelection)>,
    pin: bool,
    policy_hash: [u8; 32],
    slots: Vec<u32>,
    sealed_to: SealedTo,
    fields: Map<String, Value>,
}

impl SystemdToken {
    /// A token for what was sealed under `policy`.
    ///
    /// # Errors
    /// [`Error::NotExpressible`] unless the policy is: perhaps a signed policy, then perhaps registers of the same bank,
    /// then perhaps a PIN; and the parent is a storage root key that is kept in the TPM.
    pub fn new(sealed: SealedKey, policy: &Policy) -> Result<Self, Error> {
        let cannot = |what| {
            Err(Error::NotExpressible {
                format: "a systemd token",
                what,
            })
        };
        let mut steps = policy.steps();
        let mut signed = None;
        if let [Step::Signed(first), rest @ ..] = steps {
            if !first.policy_ref.is_empty() {
                return cannot("a policy reference");
            }
            signed = Some((first.key.clone(), first.selection));
            steps = rest;
        }
        let mut values = None;
        if let [Step::Pcrs(first), rest @ ..] = steps {
            values = Some(first.clone());
            steps = rest;
        }
        let pin = matches!(steps, [Step::Pin]);
        if !pin && !steps.is_empty() {
            return cannot("anything but a signed policy, then registers, then a PIN");
        }
        if let (Some((_, selection)), Some(values)) = (&signed, &values)
            && selection.bank() != values.bank()
        {
            return cannot("registers of two banks");
        }
        if pin != sealed.pin_salt().is_some() {
            return cannot("a PIN without salt");
        }
        if !matches!(sealed.parent(), Parent::Persistent { .. }) {
            return cannot("a storage key that is not kept in the TPM");
        }
        let bank = values.as_ref().map(PcrValues::bank);
        let bank = bank.or_else(|| signed.as_ref().map(|(_, selection)| selection.bank()));
        let empty = PcrSelection::new(bank.unwrap_or(Bank::Sha256), &[])?;
        Ok(Self {
            pcrs: values.as_ref().map_or(empty, PcrValues::selection),
            sealed_to: SealedTo {
                values: values.into_iter().collect(),
                fingerprint: signed.as_ref().map(|(key, _)| key.fingerprint()),
            },
            signed,
            pin,
            policy_hash: policy.digest()?,
            slots: Vec::new(),
            fields: Map::new(),
            sealed,
        })
    }

    /// What an encrypted credential says in its own form.
    pub(crate) fn of_credential(
        sealed: SealedKey,
        pcrs: PcrSelection,
        signed: Option<(PolicyKey, PcrSelection)>,
        policy_hash: [u8; 32],
    ) -> Self {
        Self {
            sealed,
            pcrs,
            signed,
            pin: false,
            policy_hash,
            slots: Vec::new(),
            sealed_to: SealedTo::default(),
            fields: Map::new(),
        }
    }

    /// Reads a LUKS2 token.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Field`], [`Error::MissingField`], [`Error::UnsupportedToken`] for pcrlock and shards,
    /// and what is wrong with the blobs.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_fields(json::parse(WHAT, bytes)?)
    }

    pub(crate) fn from_fields(fields: Map<String, Value>) -> Result<Self, Error> {
        let object = Object::new(WHAT, &fields);
        if object.flag("tpm2_pcrlock")? || object.get("tpm2_pcrlock_nv").is_some() {
            return Err(Error::UnsupportedToken {
                what: "a pcrlock policy in an NV index",
            });
        }
        // A list of one shard is that shard. More are written for a signed policy together with pcrlock only.
        let mut whole = fields.clone();
        for field in ["tpm2-blob", "tpm2-policy-hash"] {
            let Some(shards) = object.get(field).and_then(Value::as_array) else {
                continue;
            };
            let [shard] = shards.as_slice() else {
                return Err(Error::UnsupportedToken {
                    what: "a secret in several shards",
                });
            };
            whole.insert(field.to_owned(), shard.clone());
        }
        let object = Object::new(WHAT, &whole);
        let blob = object.require("tpm2-blob", object.base64("tpm2-blob")?)?;
        let sealed = SealedObject::parse_blob(&blob)?;
        let bank = object.bank("tpm2-pcr-bank")?.unwrap_or(Bank::Sha256);
        let pcrs = object.selection("tpm2-pcrs", bank)?;
        let hash = object.require("tpm2-policy-hash", object.hex("tpm2-policy-hash")?)?;
        let policy_hash = hash
            .try_into()
            .map_err(|_| object.wrong("tpm2-policy-hash", "32 bytes in hex"))?;
        let signed_pcrs = object.selection("tpm2_pubkey_pcrs", bank)?;
        let signed = match object.base64("tpm2_pubkey")? {
            Some(pem) => {
                let key = core::str::from_utf8(&pem)
                    .map_err(|_| object.wrong("tpm2_pubkey", "PEM text in Base64"))?;
                let key = PolicyKey::from_pem(key)?;
                if signed_pcrs.is_empty() {
                    return Err(object.wrong("tpm2_pubkey_pcrs", "a list of at least one register"));
                }
                Some((key, signed_pcrs))
            }
            None if signed_pcrs.is_empty() => None,
            None => {
                return Err(Error::MissingField {
                    what: WHAT,
                    field: "tpm2_pubkey",
                });
            }
        };
        let parent = match object.base64("tpm2_srk")? {
            Some(bytes) => srk::parse(&bytes)?,
            None => {
                let template = match object.text("tpm2-primary-alg")? {
                    None | Some("ecc") => Template::LegacyEcc,
                    Some("rsa") => Template::LegacyRsa,
                    Some(_) => return Err(object.wrong("tpm2-primary-alg", "ecc or rsa")),
                };
                Parent::Primary {
                    template,
                    name: None,
                }
            }
        };
        let mut key = SealedKey::new(sealed, parent);
        let pin = object.flag("tpm2-pin")?;
        if let Some(salt) = object.base64("tpm2_salt")? {
            let salt = salt
                .try_into()
                .map_err(|_| object.wrong("tpm2_salt", "32 bytes in Base64"))?;
            key = key.with_pin_salt(salt);
        } else if pin && object.get("tpm2_srk").is_some() {
            // Only tokens from before storage root keys have none. Trying without would cost one of the tries.
            return Err(Error::MissingField {
                what: WHAT,
                field: "tpm2_salt",
            });
        }
        let slots = object.slots()?;
        let sealed_to = SealedTo::parse(&object)?;
        Ok(Self {
            sealed: key,
            pcrs,
            signed,
            pin,
            policy_hash,
            slots,
            sealed_to,
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
            let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
            set("type", TYPE.into());
            set(
                "tpm2-blob",
                json::of_base64(&self.sealed.object().to_blob()),
            );
            set("tpm2-pcrs", json::of_selection(self.pcrs));
            if !self.pcrs.is_empty() || self.signed.is_some() {
                set("tpm2-pcr-bank", self.pcrs.bank().name().into());
            }
            set("tpm2-policy-hash", hex::encode(&self.policy_hash).into());
            if self.pin {
                set("tpm2-pin", true.into());
            }
            if let Some((key, selection)) = &self.signed {
                set("tpm2_pubkey_pcrs", json::of_selection(*selection));
                set("tpm2_pubkey", json::of_base64(key.to_pem().as_bytes()));
            }
            if let Some(salt) = self.sealed.pin_salt() {
                set("tpm2_salt", json::of_base64(salt));
            }
            if let Parent::Persistent { handle, public } = self.sealed.parent() {
                set(
                    "tpm2-primary-alg",
                    if public.is_ecc() { "ecc" } else { "rsa" }.into(),
                );
                set("tpm2_srk", json::of_base64(&srk::to_bytes(*handle, public)));
            }
            set(SEALED_TO, self.sealed_to.to_json());
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

    /// The registers that are sealed to literally.
    #[must_use]
    pub const fn pcrs(&self) -> PcrSelection {
        self.pcrs
    }

    /// Whether a PIN is needed.
    #[must_use]
    pub const fn needs_pin(&self) -> bool {
        self.pin
    }

    /// The key of the signed policy, if there is one.
    #[must_use]
    pub fn policy_key(&self) -> Option<&PolicyKey> {
        self.signed.as_ref().map(|(key, _)| key)
    }

    /// The registers that must be read to unseal.
    pub(crate) fn registers(&self) -> Result<Vec<PcrSelection>, Error> {
        let mut pcrs: Vec<u8> = self.pcrs.pcrs().collect();
        if let Some((_, selection)) = &self.signed {
            pcrs.extend(selection.pcrs());
        }
        let selection = PcrSelection::new(self.pcrs.bank(), &pcrs)?;
        Ok(if selection.is_empty() {
            Vec::new()
        } else {
            vec![selection]
        })
    }

    /// The policy in the state `measured`, compared with the one sealed to.
    pub(crate) fn policy(&self, measured: &[PcrValues]) -> Result<Policy, Refusal> {
        let inactive = Refusal::BankInactive {
            bank: self.pcrs.bank(),
        };
        let now = match measured.first() {
            Some(measured) => measured.select(self.pcrs).ok_or(inactive)?,
            None if self.registers().is_ok_and(|registers| registers.is_empty()) => {
                PcrValues::new(self.pcrs.bank())
            }
            None => return Err(inactive),
        };
        let key = self.signed.as_ref().map(|(key, _)| key);
        let policy = self.policy_with(key, &now);
        let expected = self.policy_hash.as_slice();
        let Err(refusal) = self.sealed_to.compare(&policy, expected, &now, key) else {
            return Ok(policy);
        };
        // Builds of systemd 255 wrote 0 for the exponent 65537.
        if let Some(key) = key {
            let policy = self.policy_with(Some(&key.clone().with_zero_exponent_field()), &now);
            if policy
                .digest()
                .is_ok_and(|digest| digest.as_slice() == expected)
            {
                return Ok(policy);
            }
        }
        Err(refusal)
    }

    fn policy_with(&self, key: Option<&PolicyKey>, now: &PcrValues) -> Policy {
        let mut policy = Policy::new();
        if let (Some(key), Some((_, selection))) = (key, &self.signed) {
            policy = policy.signed(SignedPcrs::new(key.clone()).registers(*selection));
        }
        if !now.is_empty() {
            policy = policy.pcrs(now.clone());
        }
        if self.pin { policy.pin() } else { policy }
    }
}
