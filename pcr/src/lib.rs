#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod bank;
mod event_log;

pub use bank::{Bank, Digest, ParseBankError, ParseDigestError, Register};
pub use event_log::{
    CelContent, CelLog, CelRecord, Event, EventData, EventDigest, EventLog, EventLogError,
    EventType, Finding, FindingKind, FirmwareBlob, GptEntries, Guid, ImageLoad, LogDifference,
    LogFormat, ParseGuidError, Replay, SpecId, VariableData,
};
