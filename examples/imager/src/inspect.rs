//! `imager inspect`: what is in a file, whatever it is.

use std::path::Path;

use pcr::SignatureDocument;
use serde_json::{Value, json};

use crate::assets::read;
use crate::cli::InspectOptions;
use crate::contents::Contents;
use crate::{Error, inspect_uki, inspect_variable, logs, medium, policy_findings};

/// Describes a file.
///
/// # Errors
/// [`Error::Input`] when it is of no kind that is known here.
pub fn inspect(options: &InspectOptions) -> Result<Value, Error> {
    let path = &options.file;
    let mut start = vec![0; 40 << 10];
    let len = {
        use std::io::Read;
        let mut file =
            std::fs::File::open(path).map_err(|source| Error::io("read", path, source))?;
        let mut filled = 0;
        while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file
                .read(rest)
                .map_err(|source| Error::io("read", path, source))?
            {
                0 => break,
                read => filled += read,
            }
        }
        start.truncate(filled);
        filled
    };
    if len == 0 {
        return Err(Error::input("file", path, "it is empty"));
    }
    let at = |offset: usize, magic: &[u8]| {
        start
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    // A boot sector ends with these two bytes, whatever medium it is of.
    let is_medium = at(0x8001, b"CD001")
        || at(512, b"EFI PART")
        || at(4096, b"EFI PART")
        || at(510, &[0x55, 0xAA]) && !at(0, b"MZ");
    if is_medium {
        return medium(path);
    }
    if at(0, b"MZ") {
        return with_policies(image(path, false)?, path);
    }
    let bytes = read(path)?;
    if at(40, b"_FVH") {
        return inspect_variable::store(path, &bytes);
    }
    if at(0, b"{") {
        return document(path, &bytes);
    }
    if let Some(log) = logs::describe(&bytes) {
        return Ok(log);
    }
    inspect_variable::variable(path, &bytes)
}

/// What is on a medium and how it boots; loader and UKI in it when there are some.
fn medium(path: &Path) -> Result<Value, Error> {
    let report = crate::esp::report(path)?;
    let mut document = match Contents::open(path) {
        Ok(_) => with_policies(image(path, true)?, path)?,
        Err(error @ Error::Io { .. }) => return Err(error),
        Err(error) => json!({ "kind": "medium", "no_uki": error.to_string() }),
    };
    document["medium"] = serde_json::from_str(&report.to_json())
        .map_err(|error| Error::input("medium", path, error))?;
    Ok(document)
}

/// With what is wrong with the signed policies of a UKI.
fn with_policies(mut document: Value, path: &Path) -> Result<Value, Error> {
    if let Some(findings) = document["uki"]["findings"].as_array_mut() {
        let contents = Contents::open(path)?;
        if let Ok(uki) = contents.uki() {
            let policies = policy_findings::policies(&contents, &uki)?;
            findings.extend(policies.into_iter().map(Value::from));
        }
    }
    Ok(document)
}

fn image(path: &Path, is_medium: bool) -> Result<Value, Error> {
    let contents = Contents::open(path)?;
    let hashing = authenticode::ImageOptions::new().hashes(&[authenticode::HashAlgorithm::Sha256]);
    let signed = contents
        .read_image(&hashing)?
        .map_err(|error| Error::input("EFI image", path, error))?;
    let report = authenticode::Verifier::new().verify(&signed);
    let signatures: Vec<Value> = report
        .signatures()
        .iter()
        .map(|signature| {
            json!({
                "signer": signature.signer().map(authenticode::Certificate::subject),
                "hash": signature.hash().map(|hash| hash.to_string()), "status": signature.status().name(),
            })
        })
        .collect();
    let mut document = json!({
        "kind": if is_medium { "medium" } else { "EFI image" },
        "signatures": signatures,
        "digest": signed.digest_as_loaded(authenticode::HashAlgorithm::Sha256).map(|digest| digest.to_string()).ok(),
        "findings": signed.findings(None).iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if is_medium {
        document["loader"] = json!(
            contents
                .loader
                .as_deref()
                .and_then(medium::loader_version_text)
        );
        document["loader_conf"] = json!(
            contents
                .loader_conf
                .as_ref()
                .map(|text| String::from_utf8_lossy(text))
        );
        document["enrolment"] = json!(
            contents
                .enrolment
                .iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
        );
    }
    if is_medium {
        if let Ok(uki) = contents.uki() {
            document["uki"] = describe(&uki, path)?;
            document["kind"] = json!("medium with UKI");
        }
        return Ok(document);
    }
    let file = std::fs::File::open(path).map_err(|source| Error::io("read", path, source))?;
    if let Ok(uki) = uki::Uki::read(file)
        && (uki.is_uki() || uki.is_addon())
    {
        document["uki"] = describe(&uki, path)?;
        document["kind"] = json!(if uki.is_uki() { "UKI" } else { "UKI addon" });
    }
    Ok(document)
}

fn describe<S: uki::ReadAt>(uki: &uki::Uki<S>, path: &Path) -> Result<Value, Error> {
    inspect_uki::describe(uki).map_err(|error| Error::input("UKI", path, error))
}

fn document(path: &Path, bytes: &[u8]) -> Result<Value, Error> {
    if let Ok(token) = tpm_seal::Token::parse(bytes) {
        let kind = match token {
            tpm_seal::Token::Talos(_) => "talos-tpm2 token",
            tpm_seal::Token::Systemd(_) => "systemd-tpm2 token",
            _ => "trustedboot-tpm2 token",
        };
        return Ok(json!({ "kind": kind, "keyslots": token.slots(), "pin": token.needs_pin() }));
    }
    if let Some(variables) = inspect_variable::variables_json(path, bytes)? {
        return Ok(variables);
    }
    let signatures = SignatureDocument::parse(bytes)
        .map_err(|error| Error::input("JSON document", path, error))?;
    let entries: Vec<Value> = signatures
        .entries()
        .filter_map(|entry| entry.read().ok())
        .map(|entry| {
            let hex = |bytes: &[u8]| {
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            };
            json!({ "key": entry.fingerprint, "policy": hex(&entry.policy) })
        })
        .collect();
    Ok(json!({ "kind": "signed PCR policies (.pcrsig)", "entries": entries }))
}
