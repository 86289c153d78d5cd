//! Files about variables as JSON, for programs that print them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use crate::hash::hex;
use crate::{
    AuthenticatedUpdate, Certificate, Entry, SignatureDatabase, SignatureType, VariableFile,
    microsoft,
};

/// Describes a file: its kind, its content, and for an update for what it was signed and by whom.
///
/// The document has `kind` (`authenticated update`, `signature lists` or `efivarfs`), `value` (`lists`, `entries`, `warnings`; a
/// hexadecimal string when it is no database), and for updates `time`, `attributes`, `signed`, `signed_for`, `signers`,
/// `signature_error`, `content_info`, `warnings`.
///
/// # Examples
///
/// ```
/// use efivars::{VariableFile, json};
/// let file = VariableFile::detect(&[], None)?;
/// assert_eq!(json::describe(&file), r#"{"kind":"signature lists","value":{"entries":[],"lists":0,"warnings":[]}}"#);
/// # Ok::<(), efivars::Error>(())
/// ```
#[must_use]
pub fn describe(file: &VariableFile<'_>) -> String {
    match file {
        VariableFile::Update { attributes, update } => {
            describe_update(attributes.map(|a| a.bits()), update)
        }
        VariableFile::Lists(lists) => {
            json!({ "kind": "signature lists", "value": database(lists) })
        }
        VariableFile::Efivarfs {
            name,
            attributes,
            value: bytes,
        } => json!({
            "kind": "efivarfs",
            "variable": name.as_ref().map(ToString::to_string),
            "attributes": attributes.bits(),
            "value": value(bytes),
        }),
    }
    .to_string()
}

fn describe_update(attributes: Option<u32>, update: &AuthenticatedUpdate<'_>) -> Value {
    let explanation = update.explain();
    let signed_for = explanation.signed_for.map(|signed_for| {
        json!({
            "variable": signed_for.name.to_string(),
            "attributes": signed_for.attributes.bits(),
            "usable": signed_for.is_usable(),
        })
    });
    json!({
        "kind": "authenticated update",
        "attributes": attributes,
        "time": update.time().to_string(),
        "signed": update.is_signed(),
        "signed_for": signed_for,
        "signers": explanation.signers.iter().map(certificate).collect::<Vec<_>>(),
        "signature_error": explanation.error.map(|error| error.to_string()),
        "content_info": update.signed_data().ok().flatten().is_some_and(|signature| signature.is_wrapped()),
        "warnings": update.problems(None).iter().map(ToString::to_string).collect::<Vec<_>>(),
        "value": value(update.value()),
    })
}

fn value(bytes: &[u8]) -> Value {
    SignatureDatabase::parse_lenient(bytes)
        .map_or_else(|_| Value::from(hex(bytes)), |lists| database(&lists))
}

fn database(lists: &SignatureDatabase) -> Value {
    json!({
        "lists": lists.lists().len(),
        "entries": lists.entries().map(|it| entry(&it)).collect::<Vec<_>>(),
        "warnings": lists.problems().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn entry(entry: &Entry<'_>) -> Value {
    let mut described = json!({ "type": entry.kind.to_string(), "owner": entry.owner.to_string() });
    if let Some(it) = entry.certificate() {
        described["certificate"] = certificate(&it);
    } else {
        described["data"] = hex(entry.data).into();
    }
    if matches!(
        entry.kind,
        SignatureType::X509_SHA256 | SignatureType::X509_SHA384 | SignatureType::X509_SHA512
    ) && let Some(time) = entry.data.last_chunk::<16>()
    {
        described["revocation_time"] = crate::EfiTime::from_bytes(*time).to_string().into();
    }
    described
}

fn certificate(it: &Certificate) -> Value {
    let mut described = json!({ "subject": it.subject(), "sha256": hex(&it.sha256()) });
    if let Some(known) = microsoft::identify(it) {
        described["known_as"] = known.common_name.into();
    }
    described
}
