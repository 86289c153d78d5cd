#![no_main]
//! Logs: what is read is written back byte for byte, and checking, replaying and comparing never fail;
//! canonical logs are read in any encoding.

use libfuzzer_sys::fuzz_target;
use pcr::{CelLog, EventLog, Pcr7};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(canonical) = CelLog::parse(bytes) {
        for again in [canonical.to_tlv(), canonical.to_cbor()].into_iter().flatten() {
            let _ = CelLog::parse(&again).map(|log| log.to_json());
        }
        let _ = canonical.to_log().map(|log| log.check());
    }
    let Ok(mut log) = EventLog::parse(bytes) else { return };
    assert_eq!(log.to_bytes(), bytes);
    let _ = (log.replay(), log.check(), log.diff(&log).len());
    assert_eq!(EventLog::from_json(&log.to_json()).as_ref(), Ok(&log));
    let _ = CelLog::from_log(&log).to_log();
    let _ = Pcr7::from_log(&log).map(|boot| boot.predict());
    let _ = log.merge_final_events(bytes);
});
