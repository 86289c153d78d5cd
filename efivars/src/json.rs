//! The JSON form of virt-firmware (`virt-fw-vars --output-json`, `--set-json`) and of QEMU's `uefi-vars` device.

mod describe;

pub use describe::describe;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use serde_json::Value;

use crate::hash::hex;
use crate::{Attributes, EfiTime, Error, Firmware, Guid, Machine, Variable, VariableName};

/// Writes the document as virt-firmware does, with the variables in the order given.
///
/// # Examples
///
/// ```
/// use efivars::{Attributes, Variable, json};
/// let variable = Variable::new(efivars::SECURE_BOOT_ENABLE, Attributes::from_bits(3), vec![1]);
/// let text = json::to_string([&variable]);
/// assert_eq!(json::from_str(&text)?, [variable]);
/// # Ok::<(), efivars::Error>(())
/// ```
#[must_use]
pub fn to_string<'a>(variables: impl IntoIterator<Item = &'a Variable>) -> String {
    let mut out = String::from("{\n    \"version\": 2,\n    \"variables\": [");
    let mut first = true;
    for variable in variables {
        out.push_str(if first { "\n" } else { ",\n" });
        first = false;
        out.push_str("        {\n            \"name\": ");
        quote(&mut out, variable.name.name());
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            ",\n            \"guid\": \"{}\",\n            \"attr\": {},\n            \"data\": \"{}\"",
            variable.name.vendor(),
            variable.attributes.bits(),
            hex(&variable.data)
        );
        if !variable.time.is_zero() {
            let _ = write!(
                out,
                ",\n            \"time\": \"{}\"",
                hex(&variable.time.to_bytes())
            );
        }
        out.push_str("\n        }");
    }
    out.push_str(if first { "]\n}" } else { "\n    ]\n}" });
    out
}

/// A JSON string in ASCII, as Python writes it.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Reads the document. A variable may leave out `guid` when its name is well known, and `attr` when it is a key variable.
///
/// # Errors
///
/// [`Error::JsonSyntax`] when it is not JSON, [`Error::Json`] with what is missing or wrong.
pub fn from_str(text: &str) -> Result<Vec<Variable>, Error> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| Error::JsonSyntax(error.into()))?;
    from_value(&document)
}

/// Writes a machine of the firmware model: the document of [`to_string`] with its `firmware`.
#[must_use]
pub fn machine_to_string(machine: &Machine) -> String {
    let variables = to_string(machine.variables());
    let rest = variables.strip_prefix('{').unwrap_or(&variables);
    alloc::format!("{{\n    \"firmware\": \"{}\",{rest}", machine.firmware())
}

/// Reads a machine for the firmware model: the document of [`from_str`] with an optional `firmware`, such as `edk2-2022.11`
/// (default `edk2-2025.02`). Without `variables` the machine has none.
///
/// # Errors
///
/// As [`from_str`], and [`Error::UnknownFirmware`].
///
/// # Examples
///
/// ```
/// let machine = efivars::json::machine_from_str(r#"{"firmware": "edk2-2022.11"}"#)?;
/// assert!(machine.setup_mode());
/// # Ok::<(), efivars::Error>(())
/// ```
pub fn machine_from_str(text: &str) -> Result<Machine, Error> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| Error::JsonSyntax(error.into()))?;
    let object = document.as_object().ok_or(Error::Json {
        what: "it is not an object",
    })?;
    let firmware = match object.get("firmware") {
        Some(name) => name.as_str().ok_or(Error::UnknownFirmware)?.parse()?,
        None => Firmware::Edk2_2025_02,
    };
    let variables = if object.contains_key("variables") {
        from_value(&document)?
    } else {
        Vec::new()
    };
    Ok(Machine::with_variables(firmware, variables))
}

fn from_value(document: &Value) -> Result<Vec<Variable>, Error> {
    let list = document.get("variables").and_then(Value::as_array);
    list.ok_or(Error::Json {
        what: "an array `variables` is missing",
    })?
    .iter()
    .map(variable)
    .collect()
}

fn variable(value: &Value) -> Result<Variable, Error> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let name = text("name").ok_or(Error::Json {
        what: "a variable has no `name`",
    })?;
    let name = match text("guid") {
        Some(guid) => VariableName::new(name, guid.parse::<Guid>()?)?,
        None => VariableName::well_known(name).ok_or(Error::Json {
            what: "a variable has no `guid`",
        })?,
    };
    let attributes = match value.get("attr") {
        Some(attr) => {
            let bits = attr.as_u64().and_then(|bits| u32::try_from(bits).ok());
            Attributes::from_bits(bits.ok_or(Error::Json {
                what: "`attr` is not a 32-bit number",
            })?)
        }
        None if name.is_key_variable() => Attributes::KEY,
        None => {
            return Err(Error::Json {
                what: "a variable has no `attr`",
            });
        }
    };
    let data = text("data").and_then(unhex).ok_or(Error::Json {
        what: "`data` is not a hexadecimal string",
    })?;
    let time = match value.get("time") {
        None | Some(Value::Null) => EfiTime::ZERO,
        Some(time) => {
            let time = time.as_str().unwrap_or_default();
            match unhex(time).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
                Some(bytes) => EfiTime::from_bytes(bytes),
                None => time.parse().map_err(|_| Error::Json {
                    what: "`time` is neither 16 bytes in hexadecimal nor a date",
                })?,
            }
        }
    };
    Ok(Variable::new(name, attributes, data).at(time))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
