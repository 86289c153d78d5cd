//! `TSS2 PRIVATE KEY` files: sealed objects as OpenSSL's TPM provider, GRUB and others keep them
//! (ASN.1 Specification for TPM 2.0 Key Files).
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use der::asn1::{ObjectIdentifier, OctetString, OctetStringRef};
use der::pem::LineEnding;
use der::{Decode as _, Encode as _, Header, Length, Reader as _, SliceReader, Tag, TagNumber};

use crate::policy::{Policy, SignedPcrs, Step};
use crate::wire::{Reader, tpm2b};
use crate::{
    Bank, Error, Parent, PcrSelection, PolicyKey, Refusal, SealedKey, SealedObject, SealedToken,
    Template,
};

const LABEL: &str = "TSS2 PRIVATE KEY";
/// Sealed data.
const SEALED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.5");
const LOADABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
const IMPORTABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.4");
const OWNER: u32 = 0x4000_0001;
const POLICY_PCR: u32 = 0x17f;
const POLICY_AUTHORIZE: u32 = 0x16a;
const POLICY_AUTH_VALUE: u32 = 0x16b;
const POLICY_PASSWORD: u32 = 0x18c;

/// A `TSS2 PRIVATE KEY` file with sealed data, perhaps under a policy.
///
/// ```no_run
/// use tpm_seal::KeyFile;
///
/// let file = KeyFile::from_pem(&std::fs::read_to_string("sealed.pem")?)?;
/// println!("{:?}", file.policy());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    object: SealedObject,
    parent: u32,
    rsa_parent: bool,
    empty_auth: bool,
    description: Option<String>,
    policy: Policy,
}

impl KeyFile {
    /// A file for what was sealed under `policy`. The parent becomes its persistent handle, or the owner hierarchy for
    /// the P-256 key that readers make there themselves.
    ///
    /// # Errors
    /// [`Error::NotExpressible`] for policies that hold anything but registers and a PIN, and for parents that readers
    /// could not make.
    pub fn new(sealed: &SealedKey, policy: &Policy) -> Result<Self, Error> {
        let cannot = |what| {
            Err(Error::NotExpressible {
                format: "a TSS2 PRIVATE KEY file",
                what,
            })
        };
        let (parent, rsa_parent) = match sealed.parent() {
            Parent::Persistent { handle, .. } | Parent::Handle { handle } => (*handle, false),
            Parent::Primary {
                template: Template::SrkEcc | Template::TalosEcc,
                ..
            } => (OWNER, false),
            Parent::Primary {
                template: Template::SrkRsa,
                ..
            } => (OWNER, true),
            Parent::Primary { .. } => {
                return cannot("a storage key that is made in a way of its own");
            }
        };
        if policy
            .steps()
            .iter()
            .any(|step| !matches!(step, Step::Pcrs(_) | Step::PcrDigest(..) | Step::Pin))
        {
            return cannot("anything but registers and a PIN");
        }
        Ok(Self {
            object: sealed.object().clone(),
            parent,
            rsa_parent,
            empty_auth: !policy.needs_pin(),
            description: None,
            policy: policy.clone(),
        })
    }

    /// Reads PEM text.
    ///
    /// # Errors
    /// [`Error::KeyFile`] and what is wrong with the parts.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let wrong = |_| Error::KeyFile {
            reason: "no PEM of that name",
        };
        let (label, der) = der::pem::decode_vec(pem.as_bytes()).map_err(wrong)?;
        if label != LABEL {
            return Err(Error::KeyFile {
                reason: "the PEM has another name",
            });
        }
        Self::from_der(&der)
    }

    /// Reads DER.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let raw = Raw::parse(der).map_err(|_| Error::KeyFile {
            reason: "the ASN.1 is not as it should be",
        })?;
        if ![SEALED, LOADABLE, IMPORTABLE].contains(&raw.kind) {
            return Err(Error::KeyFile {
                reason: "its type is not known",
            });
        }
        // Some writers give sealed data the type of a loadable key; the public area tells what it is.
        if !crate::PublicArea::parse(raw.public)?.is_sealed_object() {
            return Err(Error::KeyFile {
                reason: "it holds a key, not sealed data",
            });
        }
        let mut object = SealedObject::from_parts(raw.public, raw.private)?;
        if let Some(secret) = raw.secret {
            let mut reader = Reader::new("TPM2B_ENCRYPTED_SECRET", secret);
            let secret = reader.tpm2b()?.to_vec();
            reader.finish()?;
            let private = object.private_value().to_vec();
            object = SealedObject::new(object.public().clone(), private, Some(secret))?;
        }
        let policy = raw
            .policy
            .iter()
            .try_fold(Policy::new(), |policy, &(code, args)| {
                Ok::<_, Error>(policy.step(parse_command(code, args)?))
            })?;
        Ok(Self {
            object,
            parent: raw.parent,
            rsa_parent: raw.rsa_parent,
            empty_auth: raw.empty_auth,
            description: raw.description,
            policy,
        })
    }

    /// PEM text.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when a part is too long for DER.
    pub fn to_pem(&self) -> Result<String, Error> {
        let wrong = |_| Error::KeyFile {
            reason: "a part is too long",
        };
        let der = self.to_der().map_err(wrong)?;
        der::pem::encode_string(LABEL, LineEnding::LF, &der).map_err(|_| Error::KeyFile {
            reason: "a part is too long",
        })
    }

    fn to_der(&self) -> der::Result<Vec<u8>> {
        let mut body = SEALED.to_der()?;
        if self.empty_auth {
            body.extend(explicit(0, &true.to_der()?)?);
        }
        if !self.policy.steps().is_empty() {
            let mut commands = Vec::new();
            for step in self.policy.steps() {
                let (code, args) = command_of(step);
                let mut element = explicit(0, &code.to_der()?)?;
                element.extend(explicit(1, &OctetString::new(args)?.to_der()?)?);
                commands.extend(wrapped(Tag::Sequence, &element)?);
            }
            body.extend(explicit(1, &wrapped(Tag::Sequence, &commands)?)?);
        }
        if let Some(secret) = self.object.import_secret() {
            body.extend(explicit(2, &OctetString::new(tpm2b(secret))?.to_der()?)?);
        }
        if let Some(text) = &self.description {
            body.extend(explicit(4, &text.to_der()?)?);
        }
        if self.rsa_parent {
            body.extend(explicit(5, &true.to_der()?)?);
        }
        body.extend(self.parent.to_der()?);
        body.extend(OctetString::new(self.object.public().to_bytes())?.to_der()?);
        body.extend(OctetString::new(self.object.private())?.to_der()?);
        wrapped(Tag::Sequence, &body)
    }

    /// The object.
    #[must_use]
    pub const fn object(&self) -> &SealedObject {
        &self.object
    }

    /// The parent's handle: a persistent key, or 40000001 for the key that is made in the owner hierarchy.
    #[must_use]
    pub const fn parent_handle(&self) -> u32 {
        self.parent
    }

    /// Whether that made key is RSA.
    #[must_use]
    pub const fn has_rsa_parent(&self) -> bool {
        self.rsa_parent
    }

    /// The policy; no steps if the file names none.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the file says about itself.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// A token for what the file holds. Whether an object without a policy has a password cannot be told from the file:
    /// tpm2_encodeobject says the contrary of what the draft says, so the empty one is tried if none is given. A persistent parent is taken as it is found in the TPM, since the file does not
    /// tell what it must be; [`sealed`](Self::sealed) does it with a known one.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] when the policy of the file is not that of the object, or the file names none.
    pub fn token(&self) -> Result<SealedToken, Error> {
        if !self.object.is_policy(&self.policy.digest()?) {
            return Err(Refusal::Damaged {
                what: "its policy is not the one that the key is sealed to",
            }
            .into());
        }
        let parent = match self.parent {
            OWNER => return Ok(SealedToken::new(self.sealed(None)?, self.policy.clone())),
            handle => Parent::Handle { handle },
        };
        let key = SealedKey::new(self.object.clone(), parent).with_plain_pin();
        Ok(SealedToken::new(key, self.policy.clone()))
    }

    /// The object with its parent. A file does not hold the public area of a persistent parent: it must come from
    /// elsewhere, best from when the object was made.
    ///
    /// # Errors
    /// [`Error::KeyFile`] for a persistent parent without its public area.
    pub fn sealed(&self, parent: Option<crate::PublicArea>) -> Result<SealedKey, Error> {
        let parent = match (self.parent, parent) {
            (OWNER, _) if self.rsa_parent => Parent::Primary {
                template: Template::SrkRsa,
                name: None,
            },
            (OWNER, _) => Parent::Primary {
                template: Template::SrkEcc,
                name: None,
            },
            (handle, Some(public)) => Parent::Persistent { handle, public },
            (_, None) => {
                return Err(Error::KeyFile {
                    reason: "the public area of its persistent parent is needed",
                });
            }
        };
        Ok(SealedKey::new(self.object.clone(), parent).with_plain_pin())
    }
}

/// The fields as they are.
struct Raw<'a> {
    kind: ObjectIdentifier,
    empty_auth: bool,
    policy: Vec<(u32, &'a [u8])>,
    secret: Option<&'a [u8]>,
    description: Option<String>,
    rsa_parent: bool,
    parent: u32,
    public: &'a [u8],
    private: &'a [u8],
}

impl<'a> Raw<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(content(der, Tag::Sequence)?)?;
        let kind = reader.decode()?;
        let empty_auth = optional(&mut reader, 0)?
            .map(boolean)
            .transpose()?
            .unwrap_or(false);
        let policy = match optional(&mut reader, 1)? {
            Some(list) => commands(list)?,
            None => Vec::new(),
        };
        let secret = optional(&mut reader, 2)?.map(octets).transpose()?;
        // Signed alternatives: kept by nobody here, so a file that has them is read by its first policy.
        optional(&mut reader, 3)?;
        let description = optional(&mut reader, 4)?
            .map(String::from_der)
            .transpose()?;
        let rsa_parent = optional(&mut reader, 5)?
            .map(boolean)
            .transpose()?
            .unwrap_or(false);
        let parent = handle(reader.tlv_bytes()?)?;
        let public = octets(reader.tlv_bytes()?)?;
        let private = octets(reader.tlv_bytes()?)?;
        let raw = Self {
            kind,
            empty_auth,
            policy,
            secret,
            description,
            rsa_parent,
            parent,
            public,
            private,
        };
        reader.finish(raw)
    }
}

/// The elements of a policy: command codes and parameters.
fn commands(list: &[u8]) -> der::Result<Vec<(u32, &[u8])>> {
    let mut list = SliceReader::new(content(list, Tag::Sequence)?)?;
    let mut commands = Vec::new();
    while !list.is_finished() {
        let mut element = SliceReader::new(content(list.tlv_bytes()?, Tag::Sequence)?)?;
        let missing = || {
            Tag::ContextSpecific {
                constructed: true,
                number: TagNumber::N0,
            }
            .value_error()
        };
        let code = u32::from_der(optional(&mut element, 0)?.ok_or_else(missing)?)?;
        let args = octets(optional(&mut element, 1)?.ok_or_else(missing)?)?;
        commands.push((code, element.finish(args)?));
    }
    Ok(commands)
}

/// The value inside of one TLV of this tag, which must be all there is.
fn content(tlv: &[u8], tag: Tag) -> der::Result<&[u8]> {
    let mut reader = SliceReader::new(tlv)?;
    let header = Header::decode(&mut reader)?;
    header.tag.assert_eq(tag)?;
    let value = reader.read_slice(header.length)?;
    reader.finish(value)
}

/// True is ff in DER; tpm2_encodeobject writes 01.
fn boolean(tlv: &[u8]) -> der::Result<bool> {
    match content(tlv, Tag::Boolean)? {
        [byte] => Ok(*byte != 0),
        _ => Err(Tag::Boolean.length_error()),
    }
}

fn octets(tlv: &[u8]) -> der::Result<&[u8]> {
    OctetStringRef::from_der(tlv).map(|octets| octets.as_bytes())
}

/// What is inside of the explicit tag `number`, if that comes next.
fn optional<'a>(reader: &mut SliceReader<'a>, number: u8) -> der::Result<Option<&'a [u8]>> {
    let tag = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber::new(number),
    };
    if reader.is_finished() || reader.peek_tag()? != tag {
        return Ok(None);
    }
    content(reader.tlv_bytes()?, tag).map(Some)
}

/// An INTEGER of up to four bytes. Some writers forget the zero before a top bit that is set, and make it negative.
fn handle(tlv: &[u8]) -> der::Result<u32> {
    match content(tlv, Tag::Integer)? {
        [0, bytes @ ..] | bytes if (1..=4).contains(&bytes.len()) => Ok(bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u32::from(byte))),
        _ => Err(Tag::Integer.length_error()),
    }
}

fn wrapped(tag: Tag, value: &[u8]) -> der::Result<Vec<u8>> {
    let mut out = Header::new(tag, Length::try_from(value.len())?)?.to_der()?;
    out.extend(value);
    Ok(out)
}

fn explicit(number: u8, value: &[u8]) -> der::Result<Vec<u8>> {
    wrapped(
        Tag::ContextSpecific {
            constructed: true,
            number: TagNumber::new(number),
        },
        value,
    )
}

/// A policy command's parameters, as in the TPM command but without handles.
fn parse_command(code: u32, args: &[u8]) -> Result<Step, Error> {
    let mut reader = Reader::new("policy of the key file", args);
    let step = match code {
        POLICY_PCR => {
            let digest = reader.tpm2b()?;
            let digest = digest.try_into().map_err(|_| Error::KeyFile {
                reason: "the PCR digest of its policy is not 32 bytes",
            })?;
            Step::PcrDigest(selection(&mut reader)?, digest)
        }
        POLICY_AUTH_VALUE | POLICY_PASSWORD => Step::Pin,
        POLICY_AUTHORIZE => {
            let public = reader.tpm2b()?;
            let policy_ref = reader.tpm2b()?;
            let key = rsa_policy_key(public)?;
            reader.take(reader.rest().len())?;
            Step::Signed(SignedPcrs::new(key).policy_ref(policy_ref))
        }
        _ => {
            return Err(Error::KeyFile {
                reason: "its policy has a command that is not supported",
            });
        }
    };
    reader.finish()?;
    Ok(step)
}

/// `TPML_PCR_SELECTION` of one bank.
fn selection(reader: &mut Reader<'_>) -> Result<PcrSelection, Error> {
    let count = reader.u32()?;
    let algorithm = reader.u16()?;
    let bank = Bank::from_algorithm_id(algorithm).filter(|_| count == 1);
    let bank = bank.ok_or_else(|| reader.unexpected("PCR selection", algorithm.into()))?;
    let [len] = *reader.take(1)? else {
        return Err(Error::NoPcrs);
    };
    let mask = reader.take(len.into())?;
    let mut pcrs = Vec::new();
    for (byte, pcr) in mask
        .iter()
        .flat_map(|&byte| (0..8).map(move |bit| byte & 1 << bit))
        .zip(0_u8..)
    {
        if byte != 0 {
            pcrs.push(pcr);
        }
    }
    PcrSelection::new(bank, &pcrs)
}

fn rsa_policy_key(public: &[u8]) -> Result<PolicyKey, Error> {
    let area = crate::PublicArea::parse_area(public)?;
    let crate::public_area::Kind::Rsa { modulus, .. } = area.kind() else {
        return Err(Error::KeyFile {
            reason: "the key of its signed policy is not RSA",
        });
    };
    let key = PolicyKey::from_rsa(modulus, 65537)?;
    // The Name decides; anything but the area that this crate makes would have another.
    if key.name() == area.name() {
        Ok(key)
    } else {
        Err(Error::KeyFile {
            reason: "the key of its signed policy has unusual attributes",
        })
    }
}

fn command_of(step: &Step) -> (u32, Vec<u8>) {
    let pcr = |selection: PcrSelection, digest: &[u8]| {
        let mut args = tpm2b(digest);
        args.extend(selection.to_bytes());
        (POLICY_PCR, args)
    };
    match step {
        Step::Pcrs(values) => pcr(values.selection(), &values.digest()),
        Step::PcrDigest(selection, digest) => pcr(*selection, digest),
        _ => (POLICY_AUTH_VALUE, Vec::new()),
    }
}
