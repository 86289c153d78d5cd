//! Fields of JSON documents, with errors that name them.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::{Bank, Error, PcrSelection, PcrValues, hex};

/// A JSON object that is a `what`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    what: &'static str,
    fields: &'a Map<String, Value>,
}

/// Reads a JSON object.
pub(crate) fn parse(what: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::Field {
            what,
            field: "",
            expected: "an object",
        }),
        Err(source) => Err(Error::Json {
            what,
            source: source.into(),
        }),
    }
}

impl<'a> Object<'a> {
    pub(crate) const fn new(what: &'static str, fields: &'a Map<String, Value>) -> Self {
        Self { what, fields }
    }

    pub(crate) fn wrong(&self, field: &'static str, expected: &'static str) -> Error {
        Error::Field {
            what: self.what,
            field,
            expected,
        }
    }

    pub(crate) fn get(&self, field: &'static str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// Whether every field is one of these.
    pub(crate) fn has_only(&self, known: &[&str]) -> bool {
        self.fields
            .keys()
            .all(|field| known.contains(&field.as_str()))
    }

    pub(crate) fn require<T>(&self, field: &'static str, value: Option<T>) -> Result<T, Error> {
        value.ok_or(Error::MissingField {
            what: self.what,
            field,
        })
    }

    pub(crate) fn text(&self, field: &'static str) -> Result<Option<&'a str>, Error> {
        self.get(field)
            .map(|value| value.as_str().ok_or_else(|| self.wrong(field, "a text")))
            .transpose()
    }

    pub(crate) fn flag(&self, field: &'static str) -> Result<bool, Error> {
        self.get(field).map_or(Ok(false), |value| {
            value
                .as_bool()
                .ok_or_else(|| self.wrong(field, "true or false"))
        })
    }

    pub(crate) fn base64(&self, field: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let wrong = || self.wrong(field, "Base64 text");
        self.text(field)?
            .map(|text| BASE64_STANDARD.decode(text).map_err(|_| wrong()))
            .transpose()
    }

    pub(crate) fn hex(&self, field: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let wrong = || self.wrong(field, "hexadecimal text");
        self.text(field)?
            .map(|text| hex::decode(text).ok_or_else(wrong))
            .transpose()
    }

    pub(crate) fn number(&self, field: &'static str) -> Result<Option<u64>, Error> {
        self.get(field)
            .map(|value| value.as_u64().ok_or_else(|| self.wrong(field, "a number")))
            .transpose()
    }

    pub(crate) fn list(&self, field: &'static str) -> Result<Option<&'a [Value]>, Error> {
        self.get(field)
            .map(|value| {
                value
                    .as_array()
                    .map(Vec::as_slice)
                    .ok_or_else(|| self.wrong(field, "a list"))
            })
            .transpose()
    }

    /// The key slots as LUKS2 has them in a token: numbers as texts.
    pub(crate) fn slots(&self) -> Result<Vec<u32>, Error> {
        let slots: Option<Vec<u32>> = self
            .list("keyslots")?
            .unwrap_or_default()
            .iter()
            .map(|slot| slot.as_str()?.parse().ok())
            .collect();
        slots.ok_or_else(|| self.wrong("keyslots", "a list of numbers as texts"))
    }

    pub(crate) fn bank(&self, field: &'static str) -> Result<Option<Bank>, Error> {
        let wrong = || self.wrong(field, "the name of a bank: sha1, sha256, sha384 or sha512");
        self.text(field)?
            .map(|text| text.parse().map_err(|_| wrong()))
            .transpose()
    }

    /// A list of registers; nothing there is an empty list. A mask, as old systemd wrote, is taken too.
    pub(crate) fn selection(&self, field: &'static str, bank: Bank) -> Result<PcrSelection, Error> {
        let wrong = || self.wrong(field, "a list of registers, 0 to 23");
        let pcrs: Option<Vec<u8>> = match self.get(field) {
            None => Some(Vec::new()),
            Some(Value::Array(list)) => list
                .iter()
                .map(|pcr| pcr.as_u64().and_then(|pcr| u8::try_from(pcr).ok()))
                .collect(),
            Some(_) => None,
        };
        PcrSelection::new(bank, &pcrs.ok_or_else(wrong)?).map_err(|_| wrong())
    }

    /// `{"sha256": {"7": "<hex>"}}`.
    pub(crate) fn values(&self, field: &'static str) -> Result<Vec<PcrValues>, Error> {
        let wrong = || {
            self.wrong(
                field,
                "an object of banks, registers and their values in hex",
            )
        };
        let Some(value) = self.get(field) else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for (bank, registers) in value.as_object().ok_or_else(wrong)? {
            let bank = bank.parse().map_err(|_| wrong())?;
            all.push(values_of(bank, registers).ok_or_else(wrong)?);
        }
        Ok(all)
    }
}

/// `{"7": "<hex>"}`
pub(crate) fn values_of(bank: Bank, registers: &Value) -> Option<PcrValues> {
    registers
        .as_object()?
        .iter()
        .try_fold(PcrValues::new(bank), |values, (text, value)| {
            // One way to write a number, so that none can be there twice.
            let pcr: u8 = text.parse().ok()?;
            if pcr.to_string() != *text {
                return None;
            }
            values.with(pcr, &hex::decode(value.as_str()?)?).ok()
        })
}

/// `{"7": "<hex>"}`
pub(crate) fn of_values(values: &PcrValues) -> Value {
    Value::Object(
        values
            .iter()
            .map(|(pcr, value)| (pcr.to_string(), hex::encode(value).into()))
            .collect(),
    )
}

/// `[7, 11]`
pub(crate) fn of_selection(selection: PcrSelection) -> Value {
    selection.pcrs().map(Value::from).collect::<Vec<_>>().into()
}

pub(crate) fn of_base64(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}
