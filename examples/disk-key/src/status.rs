//! `disk-key status`: the security state of the running system.

use std::path::Path;

use efivars::{Efivarfs, SignatureDatabase, VariableName};
use serde_json::{Map, Value, json};
use tpm_seal::{PcrSelection, PolicyKey};

use crate::Error;
use crate::luks::Volume;
use crate::node::Sources;
use crate::unlock::{tpm_tokens, with_causes};

/// Registers that a measured boot fills.
const REGISTERS: [u8; 13] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 14];

/// GUID of the variables that systemd-boot and systemd-stub set.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

fn variable(name: &VariableName) -> Result<Option<Vec<u8>>, Error> {
    match Efivarfs::new().read(name) {
        Ok(found) => Ok(found.map(|variable| variable.data)),
        // A machine without UEFI, or efivarfs not mounted: nothing is known, which is not the same as off.
        Err(_) if !Path::new("/sys/firmware/efi/efivars").exists() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Is Secure Boot on? `None` when the firmware does not tell.
///
/// # Errors
/// [`Error::Variables`].
pub fn secure_boot() -> Result<Option<bool>, Error> {
    Ok(variable(&efivars::SECURE_BOOT)?.and_then(|data| data.first().map(|byte| *byte == 1)))
}

fn loader_text(name: &str) -> Option<String> {
    let name: VariableName = format!("{name}-{LOADER}").parse().ok()?;
    let data = variable(&name).ok()??;
    let units: Vec<u16> = data
        .chunks_exact(2)
        .map(|pair| u16::from(pair[0]) | u16::from(pair[1]) << 8)
        .collect();
    let text = String::from_utf16_lossy(&units);
    Some(text.trim_end_matches('\0').to_owned())
}

fn certificates(name: &VariableName) -> Result<Value, Error> {
    let Some(data) = variable(name)? else {
        return Ok(json!([]));
    };
    let database = SignatureDatabase::parse_lenient(&data)?;
    let list: Vec<Value> = database
        .certificates()
        .map(|(owner, certificate)| {
            let sha256: String = certificate.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "subject": certificate.subject(), "sha256": sha256, "owner": owner.to_string() })
        })
        .collect();
    Ok(list.into())
}

/// The document: Secure Boot, keys, boot chain, registers, and the tokens of a volume.
///
/// What cannot be read is named in the document and does not hide the rest.
///
/// # Errors
/// [`Error::NotLuks`] and the like for a volume that was asked for.
pub fn status(device: Option<&Path>, sources: &Sources) -> Result<Value, Error> {
    let setup_mode =
        variable(&efivars::SETUP_MODE)?.and_then(|data| data.first().map(|byte| *byte == 1));
    let pcr_key = match sources.policy_key() {
        Ok(key) => key.as_ref().map(PolicyKey::fingerprint).into(),
        Err(error) => json!({ "error": with_causes(&error) }),
    };
    let registers = match registers(sources) {
        Ok(found) => Value::Object(found),
        Err(error) => json!({ "error": with_causes(&error) }),
    };
    let mut document = json!({
        "secure_boot": secure_boot()?,
        "setup_mode": setup_mode,
        "uki": {
            "stub": loader_text("StubInfo"),
            "loader": loader_text("LoaderInfo"),
            "entry": loader_text("LoaderEntrySelected"),
            "image": loader_text("StubImageIdentifier").or_else(|| loader_text("LoaderImageIdentifier")),
            "firmware": loader_text("LoaderFirmwareInfo"),
        },
        "keys": {
            "PK": certificates(&efivars::PK)?, "KEK": certificates(&efivars::KEK)?, "db": certificates(&efivars::DB)?,
        },
        "pcr_key": pcr_key,
        "pcrs": registers,
    });
    if let (Some(device), Some(object)) = (device, document.as_object_mut()) {
        object.insert("volume".into(), volume(device)?);
    }
    Ok(document)
}

fn registers(sources: &Sources) -> Result<Map<String, Value>, Error> {
    let mut tpm = sources.tpm()?;
    let mut pcrs: Map<String, Value> = Map::new();
    for bank in tpm.banks()? {
        let values = tpm.pcr_values(PcrSelection::new(bank, &REGISTERS)?)?;
        for (pcr, value) in values.iter() {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            pcrs.entry(pcr.to_string()).or_insert_with(|| json!({}))[bank.name()] = hex.into();
        }
    }
    Ok(pcrs)
}

fn volume(device: &Path) -> Result<Value, Error> {
    let volume = Volume::open(device)?;
    let (tokens, damaged) = tpm_tokens(&volume)?;
    let tokens: Vec<Value> = tokens
        .iter()
        .map(|(token, parsed)| {
            json!({
                "id": token.id, "type": token.kind(), "keyslots": token.keyslots(), "pin": parsed.needs_pin(),
                "waits_to_replace": token.json.get(crate::reseal::REPLACES),
            })
        })
        .collect();
    Ok(
        json!({ "device": device, "tokens": tokens, "damaged": damaged, "keyslots": volume.keyslots()? }),
    )
}

/// The same for people.
#[must_use]
pub fn text(document: &Value) -> String {
    let word = |value: &Value, yes: &str, no: &str| match value.as_bool() {
        Some(true) => yes.to_owned(),
        Some(false) => no.to_owned(),
        None => "unknown".to_owned(),
    };
    let line = |name: &str, value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => format!("{name}: {text}\n"),
        other => format!("{name}: {other}\n"),
    };
    let mut out = format!(
        "Secure Boot: {}\n",
        word(&document["secure_boot"], "on", "off")
    );
    out.push_str(&format!(
        "Setup mode: {}\n",
        word(&document["setup_mode"], "yes", "no")
    ));
    for (name, field) in [
        ("Stub", "stub"),
        ("Boot loader", "loader"),
        ("Entry", "entry"),
        ("Image", "image"),
    ] {
        out.push_str(&line(name, &document["uki"][field]));
    }
    for name in ["PK", "KEK", "db"] {
        for certificate in document["keys"][name].as_array().into_iter().flatten() {
            let field = |field: &str| certificate[field].as_str().unwrap_or_default().to_owned();
            out.push_str(&format!(
                "{name}: {} (SHA-256 {})\n",
                field("subject"),
                field("sha256")
            ));
        }
    }
    let told = |value: &Value| value.get("error").unwrap_or(value).clone();
    out.push_str(&line("PCR key", &told(&document["pcr_key"])));
    if let Some(error) = document["pcrs"].get("error") {
        out.push_str(&line("Registers", error));
    }
    let mut pcrs: Vec<(u8, &Value)> = document["pcrs"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(pcr, banks)| Some((pcr.parse().ok()?, banks)))
        .collect();
    pcrs.sort_by_key(|(pcr, _)| *pcr);
    for (pcr, banks) in pcrs {
        if let Some(value) = banks["sha256"].as_str() {
            out.push_str(&format!("PCR {pcr} (sha256): {value}\n"));
        }
    }
    for token in document["volume"]["tokens"]
        .as_array()
        .into_iter()
        .flatten()
    {
        out.push_str(&format!(
            "Token {}: {}, key slots {}, {}\n",
            token["id"],
            token["type"].as_str().unwrap_or_default(),
            token["keyslots"],
            if token["pin"] == true {
                "with PIN"
            } else {
                "no PIN"
            },
        ));
    }
    for reason in document["volume"]["damaged"]
        .as_array()
        .into_iter()
        .flatten()
    {
        out.push_str(&line("Unreadable", reason));
    }
    out
}
