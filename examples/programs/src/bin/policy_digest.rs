//! The digest of a TPM policy, computed without a TPM.

use std::error::Error;
use std::process::ExitCode;

use serde_json::{Value, json};
use tpm_seal::Policy;

const USAGE: &str = r#"policy_digest POLICY.json

POLICY.json is a step, a list of steps, or {"steps": [...]}. Each step is one of
  {"signed": {"key": "<PEM text>", "pcrs": [11], "bank": "sha256", "ref": "<hex>"}}
       PolicyAuthorize; "key_file": "<path of a PEM>" or "modulus": "<hex>" (with "exponent": 65537) instead of "key";
       "ref_text": "<text>" instead of "ref" for the text's SHA-256; all but the key may be left out
  {"pcrs": {"7": "<hex>"}, "bank": "sha256"}                  PolicyPCR with values
  {"pcrs": [7], "pcr_digest": "<hex>", "bank": "sha256"}      PolicyPCR with the hash of the values
  {"or": [[STEP, ...], [STEP, ...]]}                          PolicyOR of 2 to 8 policies
  {"authorize_nv": "<name in hex>"}                           PolicyAuthorizeNV
  {"nv": {"name": "<hex>", "operand": "<hex>", "offset": 0, "operation": 0}}   PolicyNV
  {"command_code": 350}                                       PolicyCommandCode
  "pin" or "auth_value", or {"auth_value": true}              PolicyAuthValue

Prints {"digest": "<hex>"}. Exit codes: 0, or 2 for a policy that cannot be read or computed."#;

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let [path] = args else {
            return Err(format!("usage: {USAGE}").into());
        };
        let mut document: Value = serde_json::from_str(&read(path)?)?;
        read_key_files(&mut document)?;
        let policy = Policy::parse(document.to_string().as_bytes())?;
        let digest = policy.digest()?;
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((json!({ "digest": digest }), true))
    })
}

fn read(path: &str) -> Result<String, Box<dyn Error>> {
    Ok(std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?)
}

/// Puts the PEM text in the place of its path.
fn read_key_files(value: &mut Value) -> Result<(), Box<dyn Error>> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(read_key_files),
        Value::Object(fields) => {
            if let Some(path) = fields.get("key_file").and_then(Value::as_str) {
                let pem = read(path)?;
                fields.insert("key".to_owned(), pem.into());
            }
            fields.values_mut().try_for_each(read_key_files)
        }
        _ => Ok(()),
    }
}
