//! Event logs as users have them: of the firmware, or in a canonical form.

use std::path::Path;

use pcr::{CelLog, EventLog};
use serde_json::{Value, json};

use crate::Error;
use crate::assets::read;

/// Reads a log: as firmware wrote it, or as canonical log of firmware events in JSON, TLV or CBOR.
///
/// # Errors
/// [`Error::Io`], [`Error::Input`] with what is wrong with the log as firmware writes it.
pub(crate) fn read_log(path: &Path) -> Result<EventLog, Error> {
    let bytes = read(path)?;
    EventLog::parse(&bytes).or_else(|error| {
        CelLog::parse(&bytes)
            .and_then(|log| log.to_log())
            .map_err(|_| Error::input("event log", path, error))
    })
}

/// The description of a file that is a log; nothing when it is none.
pub(crate) fn describe(bytes: &[u8]) -> Option<Value> {
    if let Ok(log) = EventLog::parse(bytes)
        && is_plausible(&log)
    {
        return Some(firmware(&log, "TCG event log"));
    }
    let canonical = CelLog::parse(bytes).ok()?;
    if canonical.records().is_empty() {
        return None;
    }
    let kind = "TCG canonical event log";
    Some(match canonical.to_log() {
        Ok(log) => firmware(&log, kind),
        // With content of other kinds, such as the log of systemd.
        Err(_) => {
            let counts = canonical.counts().into_iter();
            let counts = counts.map(|(register, count)| (register.to_string(), json!(count)));
            json!({
                "kind": kind, "records_of_pcr": counts.collect::<serde_json::Map<_, _>>(),
                "records": serde_json::from_str::<Value>(&canonical.to_json()).unwrap_or_default(),
            })
        }
    })
}

/// A log without Spec ID is hard to tell from other bytes: then all its registers must exist, and some event must extend one.
fn is_plausible(log: &EventLog) -> bool {
    let exists = |event: &pcr::Event| event.register().is_some();
    log.spec_id().is_some() || (!log.events().is_empty() && log.events().iter().all(exists))
}

fn firmware(log: &EventLog, kind: &str) -> Value {
    let replay = log.replay();
    let mut pcrs = serde_json::Map::new();
    for (register, value) in replay.extended() {
        pcrs.entry(register.to_string())
            .or_insert_with(|| json!({}))[value.bank().name()] = value.to_string().into();
    }
    let parsed: Value = serde_json::from_str(&log.to_json()).unwrap_or_default();
    json!({
        "kind": kind, "pcrs": pcrs, "startup_locality": replay.startup_locality(), "spec_id": parsed["spec_id"],
        "events": parsed["events"],
        "findings": log.check().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
