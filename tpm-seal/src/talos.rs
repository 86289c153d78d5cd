//! Talos's token, `talos-tpm2`.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use serde_json::{Map, Value, json};

use crate::bank::sha256;
use crate::json::{self, Object};
use crate::policy::{Policy, SignedPcrs, Step};
use crate::wire::{Reader, tpm2b};
use crate::{
    Bank, Error, Name, Parent, PcrSelection, PcrValues, PolicyKey, Refusal, SealedKey,
    SealedObject, Template,
};

const WHAT: &str = "the Talos token";
pub(crate) const TYPE: &str = "talos-tpm2";
/// Our own field: the values sealed to and the key's fingerprint, so that a refusal can name the register. Talos
/// ignores fields that it does not know.
pub(crate) const SEALED_TO: &str = "trustedboot_sealed_to";

/// Talos's LUKS2 token: PCR 11 signed by the UKI's key, and registers at the values of enrolment.
///
/// The LUKS passphrase is [`Secret::to_passphrase`](crate::Secret::to_passphrase).
///
/// ```no_run
/// use tpm_seal::TalosToken;
///
/// let token = TalosToken::parse(&std::fs::read("token.json")?)?;
/// println!("slots {:?}", token.slots());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalosToken {
    sealed: SealedKey,
    pcrs: PcrSelection,
    rule: Rule,
    policy_hash: Option<[u8; 32]>,
    slots: Vec<u32>,
    sealed_to: SealedTo,
    user_data: Map<String, Value>,
    envelope: Option<Map<String, Value>>,
}

/// Which comparison a token of its age wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Since 1.12: the registers of the token.
    Listed,
    /// Before: the token says PCR 11 and is bound to PCR 7.
    Pcr7,
    /// The very first: bound to the literal value of the registers, without any signed policy; and tokens that list none.
    SignedOnly,
}

/// What a token of ours remembers of the state it was sealed to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SealedTo {
    pub(crate) values: Vec<PcrValues>,
    pub(crate) fingerprint: Option<String>,
}

impl TalosToken {
    /// A token for what was sealed under `policy`.
    ///
    /// # Errors
    /// [`Error::NotExpressible`] unless the policy is a signed PCR 11 of bank SHA-256, then any number of registers of
    /// SHA-256, and the parent is Talos's.
    pub fn new(sealed: SealedKey, policy: &Policy) -> Result<Self, Error> {
        let cannot = |what| {
            Err(Error::NotExpressible {
                format: "a Talos token",
                what,
            })
        };
        let (signed, values) = match policy.steps() {
            [Step::Signed(signed)] => (signed, None),
            [Step::Signed(signed), Step::Pcrs(values)] if values.bank() == Bank::Sha256 => {
                (signed, Some(values))
            }
            _ => return cannot("anything but a signed policy and then registers of bank sha256"),
        };
        if *signed != SignedPcrs::new(signed.key.clone()) {
            return cannot("a signed policy of anything but PCR 11, or with a policy reference");
        }
        let Parent::Primary {
            template: Template::TalosEcc,
            name: Some(_),
        } = sealed.parent()
        else {
            return cannot("a storage key that is kept in the TPM");
        };
        if sealed.object().import_secret().is_some() {
            return cannot("an object that was sealed offline");
        }
        Ok(Self {
            sealed,
            pcrs: values.map_or(PcrSelection::new(Bank::Sha256, &[])?, PcrValues::selection),
            rule: if values.is_some() {
                Rule::Listed
            } else {
                Rule::SignedOnly
            },
            policy_hash: Some(policy.digest()?),
            slots: Vec::new(),
            sealed_to: SealedTo {
                values: values.cloned().into_iter().collect(),
                fingerprint: Some(signed.key.fingerprint()),
            },
            user_data: Map::new(),
            envelope: None,
        })
    }

    /// Reads a LUKS2 token, or its `UserData` alone.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Field`], [`Error::MissingField`], and what is wrong with the blobs.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_fields(json::parse(WHAT, bytes)?)
    }

    pub(crate) fn from_fields(mut fields: Map<String, Value>) -> Result<Self, Error> {
        let envelope = match fields.remove("UserData") {
            Some(Value::Object(inner)) => Some(core::mem::replace(&mut fields, inner)),
            Some(_) => {
                return Err(Error::Field {
                    what: WHAT,
                    field: "UserData",
                    expected: "an object",
                });
            }
            None => None,
        };
        let object = Object::new(WHAT, &fields);
        let private =
            object.require("sealed_blob_private", object.base64("sealed_blob_private")?)?;
        let public = object.require("sealed_blob_public", object.base64("sealed_blob_public")?)?;
        let name = object.require("key_name", object.base64("key_name")?)?;
        let mut reader = Reader::new("key_name", &name);
        let name = Name::parse(reader.tpm2b()?)?;
        reader.finish()?;

        // Talos uses SHA-256 whatever stands here; another text means another version.
        let bank = object.bank("alg")?.unwrap_or(Bank::Sha256);
        if bank != Bank::Sha256 {
            return Err(Error::UnsupportedToken {
                what: "a bank other than sha256",
            });
        }
        let pcrs = object.selection("pcrs", bank)?;
        let signed_pcrs = object.selection("pubkey_pcrs", bank)?;
        let pcr_11 = PcrSelection::new(bank, &[11])?;
        let version = object.text("encryption_version")?.unwrap_or_default();
        if !signed_pcrs.is_empty() && signed_pcrs != pcr_11 {
            return Err(Error::UnsupportedToken {
                what: "signed registers other than PCR 11",
            });
        }
        let rule = if version.is_empty() && signed_pcrs.is_empty() && pcrs == pcr_11 {
            Rule::Pcr7
        } else if !version.is_empty() && !pcrs.is_empty() {
            Rule::Listed
        } else {
            Rule::SignedOnly
        };
        let policy_hash = match object.base64("policy_hash")? {
            Some(hash) => Some(
                hash.try_into()
                    .map_err(|_| object.wrong("policy_hash", "32 bytes in Base64"))?,
            ),
            None => None,
        };
        let slots = object.list("keyslots")?.unwrap_or_default();
        let slots: Option<Vec<u32>> = slots
            .iter()
            .map(|slot| slot.as_u64().and_then(|slot| slot.try_into().ok()))
            .collect();
        let slots = slots.ok_or_else(|| object.wrong("keyslots", "a list of numbers"))?;
        let parent = Parent::Primary {
            template: Template::TalosEcc,
            name: Some(name),
        };
        let sealed = SealedKey::new(SealedObject::from_parts(&public, &private)?, parent);
        let sealed_to = SealedTo::parse(&object)?;
        Ok(Self {
            sealed,
            pcrs,
            rule,
            policy_hash,
            slots,
            sealed_to,
            user_data: fields,
            envelope,
        })
    }

    /// The LUKS2 token. Unknown fields of a token that was read are kept.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut envelope = self.envelope.clone().unwrap_or_default();
        envelope.entry("type").or_insert_with(|| TYPE.into());
        // Talos leaves the list of the LUKS2 token empty and keeps its own.
        envelope.entry("keyslots").or_insert_with(|| json!([]));
        envelope.insert("UserData".to_owned(), self.user_data().into());
        Value::Object(envelope).to_string()
    }

    /// The `UserData` alone.
    #[must_use]
    pub fn user_data_json(&self) -> String {
        Value::Object(self.user_data()).to_string()
    }

    fn user_data(&self) -> Map<String, Value> {
        let mut fields = self.user_data.clone();
        fields.insert("keyslots".to_owned(), json!(self.slots));
        if self.user_data.is_empty() {
            let object = self.sealed.object();
            fields.insert(
                "sealed_blob_private".to_owned(),
                json::of_base64(&object.private()),
            );
            fields.insert(
                "sealed_blob_public".to_owned(),
                json::of_base64(&object.public().to_bytes()),
            );
            if !self.pcrs.is_empty() {
                fields.insert("pcrs".to_owned(), json::of_selection(self.pcrs));
            }
            fields.insert("pubkey_pcrs".to_owned(), json!([11]));
            fields.insert("alg".to_owned(), "sha256".into());
            fields.insert("encryption_version".to_owned(), "1".into());
            if let Some(hash) = &self.policy_hash {
                fields.insert("policy_hash".to_owned(), json::of_base64(hash));
            }
            if let Some(name) = self.sealed.parent().name() {
                fields.insert(
                    "key_name".to_owned(),
                    json::of_base64(&tpm2b(name.as_bytes())),
                );
            }
            fields.insert(SEALED_TO.to_owned(), self.sealed_to.to_json());
        }
        fields
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
    pub fn pcrs(&self) -> PcrSelection {
        match self.rule {
            Rule::Pcr7 => PcrSelection::new(Bank::Sha256, &[7]).unwrap_or(self.pcrs),
            Rule::Listed | Rule::SignedOnly => self.pcrs,
        }
    }

    /// The registers that must be read to unseal.
    pub(crate) fn registers(&self) -> Result<Vec<PcrSelection>, Error> {
        let mut pcrs: Vec<u8> = self.pcrs().pcrs().collect();
        pcrs.push(11);
        Ok(vec![PcrSelection::new(Bank::Sha256, &pcrs)?])
    }

    /// The policy in the state `measured`, compared with the one sealed to. Talos stops at registers that nothing was
    /// measured into.
    pub(crate) fn policy(
        &self,
        measured: &[PcrValues],
        key: Option<&PolicyKey>,
    ) -> Result<Policy, Refusal> {
        let measured = measured
            .first()
            .ok_or(Refusal::BankInactive { bank: Bank::Sha256 })?;
        if let Some((pcr, byte)) = measured.unmeasured() {
            return Err(Refusal::NotMeasured {
                pcr,
                bank: Bank::Sha256,
                byte,
            });
        }
        let key = key.ok_or(Refusal::NoPolicyKey)?;
        let signed = Policy::new().signed(SignedPcrs::new(key.clone()));
        let pcrs = self.pcrs();
        let (policy, literal) = if pcrs.is_empty() {
            (signed, PcrValues::new(Bank::Sha256))
        } else {
            let now = measured
                .select(pcrs)
                .ok_or(Refusal::BankInactive { bank: Bank::Sha256 })?;
            (signed.pcrs(now.clone()), now)
        };
        let expected: &[u8] = match &self.policy_hash {
            Some(hash) => hash,
            None => self.sealed.object().public().auth_policy(),
        };
        self.sealed_to
            .compare(&policy, expected, &literal, Some(key))
            .map_err(|refusal| match self.in_list_order(&literal, key) {
                Some(digest) if digest == expected => Refusal::OutOfOrder,
                _ => refusal,
            })?;
        Ok(policy)
    }

    /// The policy as Talos computes it for a list of registers that does not ascend: no TPM ever agrees.
    fn in_list_order(&self, literal: &PcrValues, key: &PolicyKey) -> Option<[u8; 32]> {
        let listed = self.user_data.get("pcrs")?.as_array()?.iter();
        let values: Option<Vec<&[u8]>> = listed
            .map(|pcr| literal.get(u8::try_from(pcr.as_u64()?).ok()?))
            .collect();
        Policy::new()
            .signed(SignedPcrs::new(key.clone()))
            .step(Step::PcrDigest(literal.selection(), sha256(&values?)))
            .digest()
            .ok()
    }
}

impl SealedTo {
    pub(crate) fn parse(object: &Object<'_>) -> Result<Self, Error> {
        let Some(value) = object.get(SEALED_TO) else {
            return Ok(Self::default());
        };
        let wrong = || object.wrong(SEALED_TO, "an object");
        let inner = Object::new(WHAT, value.as_object().ok_or_else(wrong)?);
        Ok(Self {
            values: inner.values("pcrs")?,
            fingerprint: inner.text("pkfp")?.map(str::to_owned),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let pcrs: Map<String, Value> = self
            .values
            .iter()
            .map(|values| (values.bank().name().to_owned(), json::of_values(values)))
            .collect();
        let mut fields = Map::from_iter([("pcrs".to_owned(), pcrs.into())]);
        if let Some(fingerprint) = &self.fingerprint {
            fields.insert("pkfp".to_owned(), fingerprint.as_str().into());
        }
        fields.into()
    }

    /// Whether `policy`, made for the state `now`, has the digest `expected`; if not, the best reason there is.
    pub(crate) fn compare(
        &self,
        policy: &Policy,
        expected: &[u8],
        now: &PcrValues,
        key: Option<&PolicyKey>,
    ) -> Result<(), Refusal> {
        let digest = policy.digest().map_err(|_| Refusal::Damaged {
            what: "its policy cannot be computed",
        })?;
        if digest.as_slice() == expected {
            return Ok(());
        }
        if let (Some(key), Some(sealed_to)) = (key, &self.fingerprint) {
            let found = key.fingerprint();
            if found != *sealed_to {
                return Err(Refusal::SignedByOtherKey {
                    expected: sealed_to.clone(),
                    found,
                });
            }
        }
        let bank = now.bank();
        for expected in self.values.iter().filter(|values| values.bank() == bank) {
            for (pcr, value) in now.iter() {
                if let Some(expected) = expected.get(pcr).filter(|&expected| expected != value) {
                    return Err(Refusal::Register {
                        pcr,
                        bank,
                        measured: value.to_vec(),
                        expected: expected.to_vec(),
                    });
                }
            }
        }
        if now.is_empty() {
            return Err(if key.is_some() {
                Refusal::Damaged {
                    what: "its policy hash is not that of its policy, or the key of the signed policy is another",
                }
            } else {
                Refusal::Damaged {
                    what: "its policy hash is not that of its policy",
                }
            });
        }
        Err(Refusal::Registers {
            measured: now.clone(),
        })
    }
}
