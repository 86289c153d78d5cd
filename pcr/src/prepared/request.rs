//! The signing request as a JSON document, and its answer.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::bank::Register;
use crate::error::Error;
use crate::prepared::PreparedPolicies;
use crate::public_key::PublicKey;
use crate::signature_document::{SignatureDocument, to_hex};
use crate::signer::{Signer, ToBeSigned};

const REQUEST: &str = "pcr policy signing request";
const ANSWER: &str = "pcr policy signing answer";
const MAX_LEN: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Request {
    document: String,
    version: u32,
    scheme: String,
    keys: Vec<RequestKey>,
    requests: Vec<RequestItem>,
}

#[derive(Serialize, Deserialize)]
struct RequestKey {
    pkfp: String,
    /// PKCS #1 RSAPublicKey, base64.
    key: String,
}

#[derive(Serialize, Deserialize)]
struct RequestItem {
    bank: String,
    profile: usize,
    hardware: String,
    phase: String,
    pcrs: Vec<u8>,
    pcr: String,
    pkfp: String,
    pol: String,
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// The bytes to sign, hexadecimal: the policy, and the hash of the reference.
    tbs: String,
    /// Their SHA-256, for devices that take a digest.
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    document: String,
    version: u32,
    signatures: Vec<AnswerItem>,
}

#[derive(Serialize, Deserialize)]
struct AnswerItem {
    pkfp: String,
    tbs: String,
    sig: String,
}

impl PreparedPolicies {
    /// The request as a JSON document: the same bytes for the same policies and keys.
    ///
    /// It names, for each signature, bank, profile, hardware choice, phase path and register value
    /// for the person who releases the key, the key (`pkfp`), and the bytes to sign (`tbs`).
    #[must_use]
    pub fn to_request(&self) -> Vec<u8> {
        let keys: BTreeMap<String, String> = self
            .to_be_signed()
            .iter()
            .map(|request| {
                let key = request.key();
                (
                    to_hex(key.fingerprint()),
                    STANDARD.encode(key.to_pkcs1_der()),
                )
            })
            .collect();
        let items = self.policies().iter().zip(self.to_be_signed());
        let request = Request {
            document: REQUEST.into(),
            version: 1,
            scheme: "RSASSA-PKCS1-v1_5 with SHA-256".into(),
            keys: keys
                .into_iter()
                .map(|(pkfp, key)| RequestKey { pkfp, key })
                .collect(),
            requests: items
                .map(|(policy, request)| RequestItem {
                    bank: policy.bank.to_string(),
                    profile: policy.profile,
                    hardware: policy.hardware.to_string(),
                    phase: policy.phase.to_string(),
                    pcrs: alloc::vec![Register::KERNEL_BOOT.index()],
                    pcr: policy.value.to_string(),
                    pkfp: to_hex(request.key().fingerprint()),
                    pol: to_hex(&policy.digest()),
                    reference: policy.reference.clone(),
                    tbs: to_hex(request.message()),
                    digest: to_hex(request.digest()),
                })
                .collect(),
        };
        to_json(&request)
    }

    /// Makes the document from the answer to [`PreparedPolicies::to_request`]. Every signature is
    /// checked; their order does not matter.
    ///
    /// # Errors
    /// [`Error::Json`] and [`Error::Field`] for a malformed answer, [`Error::MissingSignature`],
    /// [`Error::SignatureCount`] for signatures nobody asked for, [`Error::WrongSignature`].
    pub fn attach_answer(self, answer: &[u8]) -> Result<SignatureDocument, Error> {
        let answer: Answer = from_json("the signing answer", answer)?;
        expect_document(
            "the signing answer",
            &answer.document,
            answer.version,
            ANSWER,
        )?;
        let given = answer.signatures.len();
        let mut signatures = BTreeMap::new();
        for item in answer.signatures {
            let signature = STANDARD.decode(&item.sig).map_err(|_| Error::Field {
                what: "the signing answer".into(),
                field: "sig",
                expected: "padded base64",
            })?;
            let identity = (
                item.pkfp.to_ascii_lowercase(),
                item.tbs.to_ascii_lowercase(),
            );
            signatures.insert(identity, signature);
        }
        let identity = |request: &ToBeSigned| {
            (
                to_hex(request.key().fingerprint()),
                to_hex(request.message()),
            )
        };
        let mut unused: alloc::collections::BTreeSet<_> = signatures.keys().cloned().collect();
        let mut ordered = Vec::new();
        for (index, request) in self.to_be_signed().iter().enumerate() {
            let identity = identity(request);
            let signature = signatures
                .get(&identity)
                .ok_or(Error::MissingSignature { index })?;
            unused.remove(&identity);
            ordered.push(signature.clone());
        }
        if !unused.is_empty() {
            return Err(Error::SignatureCount {
                given,
                wanted: ordered.len(),
            });
        }
        self.attach(&ordered)
    }
}

/// A signing request on the machine that has the key.
#[derive(Debug, Clone)]
pub struct SigningRequest {
    requests: Vec<ToBeSigned>,
}

impl SigningRequest {
    /// Reads the document of [`PreparedPolicies::to_request`].
    ///
    /// The bytes to sign are taken from `tbs`; the policy and the digest beside it must agree.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Field`], [`Error::TooLarge`] for a malformed document,
    /// [`Error::Key`] for an unusable key.
    pub fn parse(request: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "the signing request";
        let request: Request = from_json(WHAT, request)?;
        expect_document(WHAT, &request.document, request.version, REQUEST)?;
        let wrong = |field, expected| Error::Field {
            what: WHAT.into(),
            field,
            expected,
        };
        let mut keys = BTreeMap::new();
        for key in &request.keys {
            let der = STANDARD
                .decode(&key.key)
                .map_err(|_| wrong("key", "padded base64"))?;
            let public = PublicKey::from_der(&der)?;
            if to_hex(public.fingerprint()) != key.pkfp {
                return Err(wrong("pkfp", "the fingerprint of the key beside it"));
            }
            keys.insert(key.pkfp.as_str(), public);
        }
        let mut requests = Vec::new();
        for item in &request.requests {
            let key = keys
                .get(item.pkfp.as_str())
                .ok_or(wrong("pkfp", "one of the keys"))?;
            let policy = from_hex(&item.pol)
                .and_then(|policy| <[u8; 32]>::try_from(policy).ok())
                .ok_or(wrong("pol", "64 hexadecimal digits"))?;
            let message = crate::policy::policy_message(&policy, item.reference.as_deref());
            if to_hex(&message) != item.tbs {
                return Err(wrong("tbs", "the policy and the hash of its reference"));
            }
            let tbs = ToBeSigned::new(message, key.clone());
            if to_hex(tbs.digest()) != item.digest {
                return Err(wrong("digest", "the SHA-256 of tbs"));
            }
            requests.push(tbs);
        }
        Ok(Self { requests })
    }

    /// What is to be signed.
    #[must_use]
    pub fn to_be_signed(&self) -> &[ToBeSigned] {
        &self.requests
    }

    /// The answer with these signatures, in the order of [`SigningRequest::to_be_signed`].
    ///
    /// # Errors
    /// [`Error::SignatureCount`] when their number is wrong.
    pub fn answer(&self, signatures: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, Error> {
        if signatures.len() != self.requests.len() {
            return Err(Error::SignatureCount {
                given: signatures.len(),
                wanted: self.requests.len(),
            });
        }
        let items = self.requests.iter().zip(signatures);
        Ok(to_json(&Answer {
            document: ANSWER.into(),
            version: 1,
            signatures: items
                .map(|(request, signature)| AnswerItem {
                    pkfp: to_hex(request.key().fingerprint()),
                    tbs: to_hex(request.message()),
                    sig: STANDARD.encode(signature),
                })
                .collect(),
        }))
    }

    /// Signs everything and makes the answer.
    ///
    /// # Errors
    /// [`Error::Signer`] when the signer fails.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Vec<u8>, Error> {
        let signatures = self
            .requests
            .iter()
            .map(|request| signer.sign(request).map_err(Error::Signer))
            .collect::<Result<Vec<_>, Error>>()?;
        self.answer(&signatures)
    }
}

fn to_json(document: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(document).unwrap_or_default();
    json.push(b'\n');
    json
}

fn from_json<'de, T: Deserialize<'de>>(what: &'static str, json: &'de [u8]) -> Result<T, Error> {
    if json.len() > MAX_LEN {
        return Err(Error::TooLarge {
            what,
            limit: MAX_LEN as u64,
        });
    }
    serde_json::from_slice(json).map_err(|error| Error::Json {
        what,
        line: error.line(),
        column: error.column(),
        source: error.to_string().into(),
    })
}

fn expect_document(
    what: &str,
    document: &str,
    version: u32,
    expected: &'static str,
) -> Result<(), Error> {
    let wrong = |field, expected| Error::Field {
        what: what.into(),
        field,
        expected,
    };
    if document != expected {
        return Err(wrong("document", expected));
    }
    if version != 1 {
        return Err(wrong("version", "1"));
    }
    Ok(())
}

/// Bytes from hexadecimal digits.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
