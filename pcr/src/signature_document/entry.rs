//! One signed policy of a document.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::bank::{Bank, Register};
use crate::error::Error;
use crate::signature_document::layout::json_string;

/// A JSON object as it stands in the text: order, repetitions and number formats are kept.
#[derive(Debug, Clone)]
pub(super) struct Fields(pub(super) Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// One entry of a document, as it stands in the text.
#[derive(Debug, Clone)]
pub struct SignatureEntry {
    bank: Bank,
    index: usize,
    fields: Fields,
}

/// The known fields of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignedPolicy {
    /// `pcrs`: the registers of the policy.
    pub registers: Vec<Register>,
    /// `pkfp`: SHA-256 of the public key in PKCS #1 form.
    pub fingerprint: [u8; 32],
    /// `pol`: the policy digest.
    pub policy: [u8; 32],
    /// `sig`: the signature.
    pub signature: Vec<u8>,
    /// `ref`: the policy reference (systemd 262 and later).
    pub reference: Option<String>,
}

impl SignedPolicy {
    pub(crate) fn new(
        registers: Vec<Register>,
        fingerprint: [u8; 32],
        policy: [u8; 32],
        signature: Vec<u8>,
        reference: Option<String>,
    ) -> Self {
        Self {
            registers,
            fingerprint,
            policy,
            signature,
            reference,
        }
    }
}

impl SignatureEntry {
    pub(super) const fn new(bank: Bank, index: usize, fields: Fields) -> Self {
        Self {
            bank,
            index,
            fields,
        }
    }

    /// The entry for this policy.
    pub(crate) fn from_signed(bank: Bank, signed: &SignedPolicy) -> Result<Self, Error> {
        let registers: Vec<String> = signed.registers.iter().map(ToString::to_string).collect();
        let mut fields = Vec::new();
        let mut field = |name: &str, value: String| {
            let value = RawValue::from_string(value).map_err(|error| json_error(&error))?;
            fields.push((String::from(name), value));
            Ok::<(), Error>(())
        };
        field("pcrs", format!("[{}]", registers.join(",")))?;
        field("pkfp", format!("\"{}\"", to_hex(&signed.fingerprint)))?;
        field("pol", format!("\"{}\"", to_hex(&signed.policy)))?;
        if let Some(reference) = &signed.reference {
            field("ref", json_string(reference))?;
        }
        field("sig", format!("\"{}\"", STANDARD.encode(&signed.signature)))?;
        Ok(Self::new(bank, 0, Fields(fields)))
    }

    /// The bank it stands under.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// Its place in the bank's list.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    pub(super) const fn set_index(&mut self, index: usize) {
        self.index = index;
    }

    /// The JSON text of a field, also of unknown ones; the first one if it stands there twice.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let Fields(fields) = &self.fields;
        fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.get())
    }

    /// The known fields.
    ///
    /// # Errors
    /// [`Error::Field`] for the first field that is missing or malformed.
    pub fn read(&self) -> Result<SignedPolicy, Error> {
        let wrong = |field, expected| Error::Field {
            what: format!("{} entry {}", self.bank, self.index),
            field,
            expected,
        };
        let text = |field| -> Option<String> { serde_json::from_str(self.field(field)?).ok() };
        let digest = |field| {
            text(field)
                .and_then(|text| from_hex32(&text))
                .ok_or(wrong(field, "64 hexadecimal digits"))
        };
        let numbers: Option<Vec<u8>> = self
            .field("pcrs")
            .and_then(|text| serde_json::from_str(text).ok());
        let registers = numbers
            .and_then(|numbers| numbers.into_iter().map(Register::new).collect())
            .ok_or(wrong("pcrs", "a list of numbers from 0 to 23"))?;
        let reference = match self.field("ref") {
            None | Some("null") => None,
            Some(_) => Some(text("ref").ok_or(wrong("ref", "a text"))?),
        };
        Ok(SignedPolicy {
            registers,
            fingerprint: digest("pkfp")?,
            policy: digest("pol")?,
            signature: text("sig")
                .and_then(|text| STANDARD.decode(text).ok())
                .filter(|signature| !signature.is_empty())
                .ok_or(wrong("sig", "padded base64"))?,
            reference,
        })
    }

    /// The entry as it stands, without blanks between its fields.
    pub(super) fn to_json(&self) -> String {
        let Fields(fields) = &self.fields;
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}:{}", json_string(name), value.get()))
            .collect();
        format!("{{{}}}", fields.join(","))
    }

    /// A text that is the same for entries with the same content.
    pub(super) fn canonical(&self) -> String {
        let Fields(fields) = &self.fields;
        let mut fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| {
                let value = match serde_json::from_str::<serde_json::Value>(value.get()) {
                    Ok(value) => value.to_string(),
                    Err(_) => value.get().into(),
                };
                format!("{}:{value}", json_string(name))
            })
            .collect();
        fields.sort_unstable();
        fields.join(",")
    }
}

pub(super) fn json_error(error: &serde_json::Error) -> Error {
    Error::Json {
        what: "the signature document",
        line: error.line(),
        column: error.column(),
        source: error.to_string().into(),
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex32(text: &str) -> Option<[u8; 32]> {
    let digest = crate::bank::Digest::from_hex(Bank::Sha256, text).ok()?;
    digest.as_bytes().try_into().ok()
}
