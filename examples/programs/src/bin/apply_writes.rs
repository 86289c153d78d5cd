//! What firmware would answer to writes of its variables, one after the other.

use std::error::Error;
use std::process::ExitCode;

use efivars::{Attributes, EfiStatus, VariableFile, VariableName, Write};
use serde_json::{Value, json};

const USAGE: &str = "apply_writes STATE.json WRITE…
STATE: the JSON of virt-fw-vars, {\"variables\": [{\"name\": \"PK\", \"guid\": …, \"attr\": 39, \"data\": HEX,
  \"time\": HEX or \"YYYY-MM-DD HH:MM:SS\"}, …]}; guid and attr of key variables may be left out; {} is
  setup mode; \"firmware\": \"edk2-2022.11\", \"edk2-2025.02\" (default) or \"edk2-2026.05\".
WRITE: NAME=FILE.auth replaces (0x27), NAME+=FILE.auth appends (0x67); attributes at the start of
  FILE count instead. NAME: PK, KEK, db, dbx, dbt or Name-guid.
  Or the word reboot.
Exit code 0: all were accepted; 1: one was refused. The document ends with the new state.";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let (path, writes) = args.split_first().ok_or(USAGE)?;
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        let mut machine = efivars::json::machine_from_str(&text)?;
        let (mut verdicts, mut all) = (Vec::new(), true);
        for text in writes {
            if text == "reboot" {
                machine.reboot();
                continue;
            }
            let result = machine.write(&parse(text)?);
            all &= result.is_ok();
            let status = result
                .as_ref()
                .map_or_else(|refusal| refusal.status, |_| EfiStatus::SUCCESS);
            let reason = result.err().map(|refusal| refusal.reason.to_string());
            verdicts.push(
                json!({ "write": text, "accepted": reason.is_none(), "reason": reason,
                "status": status.to_string(), "errno": status.linux_errno(),
                "setup_mode": machine.setup_mode() }),
            );
        }
        let state: Value = serde_json::from_str(&efivars::json::machine_to_string(&machine))?;
        let document = json!({ "writes": verdicts, "setup_mode": machine.setup_mode(),
            "secure_boot": machine.secure_boot(), "state": state });
        Ok((document, all))
    })
}

fn parse(text: &str) -> Result<Write, Box<dyn Error>> {
    let (name, path) = text
        .split_once('=')
        .ok_or_else(|| format!("not a write: {text}"))?;
    let (name, attributes) = match name.strip_suffix('+') {
        Some(name) => (name, Attributes::KEY_APPEND),
        None => (name, Attributes::KEY),
    };
    let name = VariableName::well_known(name).map_or_else(|| name.parse(), Ok)?;
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(VariableFile::to_write(&bytes, name, attributes))
}
