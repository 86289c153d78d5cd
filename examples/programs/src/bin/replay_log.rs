//! The registers that an event log gives, in each of its banks, and what is remarkable about the log.

use std::process::ExitCode;

use pcr::{CelLog, EventLog, Register};
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    programs::run("replay_log LOG", |args| {
        let [path] = args else {
            return Err("usage: replay_log LOG".into());
        };
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        // As firmware wrote it, or in a canonical form.
        let canonical = |_| CelLog::parse(&bytes)?.to_log();
        let parsed = EventLog::parse(&bytes);
        let log = parsed.clone().or_else(canonical).or(parsed);
        let log = log.map_err(|error| format!("{path}: {error}"))?;
        let replay = log.replay();
        let registers = || (0..24).filter_map(Register::new);
        let bank_values = replay.banks().iter().map(|&bank| {
            let values = registers().filter_map(|register| {
                let value = replay.value(bank, register)?;
                Some((register.to_string(), Value::from(value.to_string())))
            });
            (bank.to_string(), Value::Object(values.collect()))
        });
        let findings = log
            .check()
            .into_iter()
            .map(|finding| Value::from(finding.to_string()));
        let document = json!({
            "pcrs": bank_values.collect::<Map<_, _>>(),
            "events": log.events().len(),
            "startup_locality": replay.startup_locality(),
            "findings": findings.collect::<Vec<_>>(),
        });
        Ok((document, true))
    })
}
