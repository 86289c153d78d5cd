//! Policies as JSON.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use serde_json::{Map, Value, json};

use crate::json::{self, Object};
use crate::policy::{MAX_DEPTH, NvComparison, Policy, SignedPcrs, Step};
use crate::{Bank, Error, Name, PcrSelection, PolicyKey, hex};

const WHAT: &str = "the policy document";

impl Policy {
    /// Reads a policy document: `{"steps": [STEP, …]}` or the list alone. A step is one of
    ///
    /// ```json
    /// [
    ///   {"signed": {"key": "<PEM>", "bank": "sha256", "pcrs": [11], "ref": "<hex>"}},
    ///   {"signed": {"modulus": "<hex>", "exponent": 65537}},
    ///   {"pcrs": {"7": "<hex>"}, "bank": "sha256"},
    ///   {"pcr_digest": "<hex>", "pcrs": [7], "bank": "sha256"},
    ///   {"or": [[STEP, …], [STEP, …]]},
    ///   {"authorize_nv": "<name in hex>"},
    ///   {"nv": {"name": "<hex>", "operand": "<hex>", "offset": 0, "operation": 0}},
    ///   {"command_code": 350},
    ///   "pin"
    /// ]
    /// ```
    /// A single step may stand where a list is expected. `ref_text` instead of `ref` is a text whose SHA-256 is the
    /// reference, as systemd has it. `bank` is `sha256` where it is left out, `pcrs` of a signed policy is `[11]`, `ref` is empty, `exponent` 65537.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Field`], [`Error::MissingField`], [`Error::TooDeep`], and what is wrong with a key or a
    /// register.
    ///
    /// # Examples
    /// ```
    /// let policy = tpm_seal::Policy::parse(br#"["pin"]"#)?;
    /// assert_eq!(policy.digest()?[..4], [0x8f, 0xcd, 0x21, 0x69]);
    /// # Ok::<(), tpm_seal::Error>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let value: Value = serde_json::from_slice(bytes).map_err(|source| Error::Json {
            what: WHAT,
            source: source.into(),
        })?;
        Self::from_value(&value, MAX_DEPTH)
    }

    pub(crate) fn from_value(value: &Value, depth: usize) -> Result<Self, Error> {
        let depth = depth
            .checked_sub(1)
            .ok_or(Error::TooDeep { limit: MAX_DEPTH })?;
        let wrong = || Error::Field {
            what: WHAT,
            field: "steps",
            expected: "a list of steps",
        };
        let inner = value.get("steps").unwrap_or(value);
        let beside = |kind: &&str| value.get(kind).is_some_and(|field| !field.is_null());
        if value.get("steps").is_some() && KINDS.into_iter().flatten().any(beside) {
            return Err(wrong());
        }
        let steps = match inner {
            Value::Array(steps) => steps.as_slice(),
            Value::Object(_) | Value::String(_) => core::slice::from_ref(inner),
            _ => return Err(wrong()),
        };
        steps.iter().try_fold(Self::new(), |policy, step| {
            Ok(policy.step(parse_step(step, depth)?))
        })
    }

    /// The policy document, as [`parse`](Self::parse) reads it.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "steps": self.to_value() }).to_string()
    }

    pub(crate) fn to_value(&self) -> Value {
        self.steps()
            .iter()
            .map(step_value)
            .collect::<Vec<_>>()
            .into()
    }
}

/// The fields that tell the kind of a step; those of one kind beside each other.
const KINDS: [&[&str]; 7] = [
    &["signed", "authorize"],
    &["pcrs", "pcr_values", "pcr_digest"],
    &["or"],
    &["authorize_nv"],
    &["nv"],
    &["command_code"],
    &["pin", "auth_value"],
];

fn parse_step(value: &Value, depth: usize) -> Result<Step, Error> {
    let unknown = || Error::Field {
        what: WHAT,
        field: "steps",
        expected: "a list of known steps",
    };
    let Some(fields) = value.as_object() else {
        return match value.as_str() {
            Some("pin" | "auth_value") => Ok(Step::Pin),
            _ => Err(unknown()),
        };
    };
    let object = Object::new(WHAT, fields);
    let name_of = |object: &Object<'_>, field| -> Result<Name, Error> {
        let bytes = object.require(field, object.hex(field)?)?;
        Name::parse(&bytes).map_err(|_| object.wrong(field, "a name in hex: 000b and 32 bytes"))
    };
    // A step that names two kinds would lose one of them.
    if KINDS
        .iter()
        .filter(|kinds| kinds.iter().any(|kind| object.get(kind).is_some()))
        .count()
        > 1
    {
        return Err(unknown());
    }
    if let Some(value) = object.get("signed").or_else(|| object.get("authorize")) {
        let inner = value
            .as_object()
            .ok_or_else(|| object.wrong("signed", "an object"))?;
        return parse_signed(&Object::new(WHAT, inner));
    }
    let bank = object.bank("bank")?.unwrap_or(Bank::Sha256);
    if let Some(digest) = object.hex("pcr_digest")? {
        let digest: [u8; 32] = digest
            .try_into()
            .map_err(|_| object.wrong("pcr_digest", "32 bytes in hex"))?;
        if let Some(values) = object.get("pcr_values")
            && json::values_of(bank, values).is_none_or(|values| values.digest() != digest)
        {
            return Err(object.wrong("pcr_digest", "the digest of pcr_values"));
        }
        return Ok(Step::PcrDigest(object.selection("pcrs", bank)?, digest));
    }
    if let Some(registers) = object.get("pcr_values").or_else(|| object.get("pcrs")) {
        let values = json::values_of(bank, registers);
        let values = values.ok_or_else(|| {
            object.wrong(
                "pcrs",
                "an object of registers and values in hex, as long as the bank's",
            )
        })?;
        return Ok(Step::Pcrs(values));
    }
    if let Some(branches) = object.list("or")? {
        let branches: Result<Vec<_>, _> = branches
            .iter()
            .map(|branch| Policy::from_value(branch, depth))
            .collect();
        return Ok(Step::Or(branches?));
    }
    if object.get("authorize_nv").is_some() {
        return Ok(Step::AuthorizeNv(name_of(&object, "authorize_nv")?));
    }
    if let Some(value) = object.get("nv") {
        let inner = Object::new(
            WHAT,
            value
                .as_object()
                .ok_or_else(|| object.wrong("nv", "an object"))?,
        );
        if !inner.has_only(&["name", "operand", "offset", "operation"]) {
            return Err(object.wrong("nv", "an object of known fields"));
        }
        let operand = inner.require("operand", inner.hex("operand")?)?;
        let short = |field| -> Result<u16, Error> {
            let number = inner.number(field)?.unwrap_or(0);
            u16::try_from(number).map_err(|_| inner.wrong(field, "a number below 65536"))
        };
        let nv = NvComparison::new(
            name_of(&inner, "name")?,
            &operand,
            short("offset")?,
            short("operation")?,
        );
        return Ok(Step::Nv(nv));
    }
    if let Some(code) = object.number("command_code")? {
        let code =
            u32::try_from(code).map_err(|_| object.wrong("command_code", "a number of 32 bits"))?;
        return Ok(Step::CommandCode(code));
    }
    if object.flag("pin")? || object.flag("auth_value")? {
        return Ok(Step::Pin);
    }
    Err(unknown())
}

/// The fields of a signed policy, with the one that a program may have replaced by `key`. Another one would be a
/// condition that is lost without a word, such as a reference with its name misspelt.
const SIGNED: [&str; 9] = [
    "key",
    "key_file",
    "modulus",
    "exponent",
    "exponent_field_zero",
    "bank",
    "pcrs",
    "ref",
    "ref_text",
];

fn parse_signed(object: &Object<'_>) -> Result<Step, Error> {
    if !object.has_only(&SIGNED) {
        return Err(object.wrong("signed", "an object of known fields"));
    }
    let key = match object.text("key")? {
        Some(pem) => PolicyKey::from_pem(pem)?,
        None => {
            let modulus = object.hex("modulus")?;
            let modulus = object.require("key", modulus)?;
            let exponent = object.number("exponent")?.unwrap_or(65537);
            let exponent = u32::try_from(exponent)
                .map_err(|_| object.wrong("exponent", "a number of 32 bits"))?;
            PolicyKey::from_rsa(&modulus, exponent)?
        }
    };
    let key = if object.flag("exponent_field_zero")? {
        key.with_zero_exponent_field()
    } else {
        key
    };
    let bank = object.bank("bank")?.unwrap_or(Bank::Sha256);
    let selection = match object.get("pcrs") {
        Some(_) => object.selection("pcrs", bank)?,
        None => PcrSelection::new(bank, &[11])?,
    };
    let signed = SignedPcrs::new(key).registers(selection);
    Ok(Step::Signed(match object.text("ref_text")? {
        Some(_) if object.get("ref").is_some() => {
            return Err(object.wrong("ref_text", "there without ref"));
        }
        Some(text) => signed.policy_ref_text(text),
        None => signed.policy_ref(&object.hex("ref")?.unwrap_or_default()),
    }))
}

fn step_value(step: &Step) -> Value {
    match step {
        Step::Pcrs(values) => {
            json!({ "pcrs": json::of_values(values), "bank": values.bank().name() })
        }
        Step::PcrDigest(selection, digest) => json!({
            "pcr_digest": hex::encode(digest),
            "pcrs": json::of_selection(*selection),
            "bank": selection.bank().name(),
        }),
        Step::Signed(signed) => {
            let mut fields = Map::from_iter([
                ("key".to_owned(), signed.key.to_pem().into()),
                ("bank".to_owned(), signed.selection.bank().name().into()),
                ("pcrs".to_owned(), json::of_selection(signed.selection)),
            ]);
            if !signed.policy_ref.is_empty() {
                fields.insert("ref".to_owned(), hex::encode(&signed.policy_ref).into());
            }
            if signed.key.has_zero_exponent_field() {
                fields.insert("exponent_field_zero".to_owned(), true.into());
            }
            json!({ "signed": fields })
        }
        Step::Pin => "pin".into(),
        Step::Or(branches) => {
            json!({ "or": branches.iter().map(Policy::to_value).collect::<Vec<_>>() })
        }
        Step::AuthorizeNv(name) => json!({ "authorize_nv": name.to_string() }),
        Step::Nv(nv) => json!({ "nv": {
            "name": nv.name.to_string(),
            "operand": hex::encode(&nv.operand),
            "offset": nv.offset,
            "operation": nv.operation,
        }}),
        Step::CommandCode(code) => json!({ "command_code": code }),
    }
}
