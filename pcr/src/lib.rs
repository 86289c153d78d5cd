#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod bank;
mod boot_plan;
mod dialect;
mod error;
mod event_log;
mod explain;
mod pcr11;
mod phase;
mod policy;
mod policy_check;
mod prepared;
mod public_key;
#[cfg(feature = "rsa")]
mod rsa_signer;
mod secure_boot;
mod signature_document;
mod signer;

pub use bank::{Bank, Digest, ParseBankError, ParseDigestError, Register};
pub use boot_plan::{
    Addon, BootPlan, BootPlanBuilder, Loader, PcrlockComponent, PlanNote, PlannedEvent,
    gpt_event_data,
};
pub use dialect::Dialect;
pub use error::Error;
pub use event_log::{
    CelContent, CelEncoding, CelLog, CelRecord, Event, EventData, EventDigest, EventLog,
    EventLogError, EventType, Finding, FindingKind, FirmwareBlob, GptEntries, Guid, ImageLoad,
    LogDifference, LogFormat, ParseGuidError, Replay, SpecId, VariableData,
};
pub use explain::{
    EventDifference, Pcr11Cause, Pcr11Explanation, PlanCause, PlanExplanation, TextEnding,
};
pub use pcr11::{HardwareChoice, MeasuredSection, Pcr11, Prediction, Profile, SectionId};
pub use phase::PhasePath;
pub use policy::{Policies, Policy, pcr_policy_digest};
pub use policy_check::{PolicyCheck, PolicyFinding};
pub use prepared::{PreparedPolicies, SigningRequest};
pub use public_key::{KeyRefusal, PublicKey};
#[cfg(feature = "rsa")]
pub use rsa_signer::RsaSigner;
pub use secure_boot::{
    BootImage, EventCause, KeyVariable, Outcome, Pcr7, Pcr7Candidates, Pcr7Cause, Pcr7Difference,
    Pcr7Explanation, Pcr7Prediction, PredictedEvent, Quirk, SecureBootError, SecureBootVariables,
    Shim, ShimGeneration, VariableUpdate, Verdict,
};
pub use signature_document::{
    DocumentLayout, SignatureDocument, SignatureEntry, SignatureStatus, SignedPolicy,
    signature_document_len,
};
pub use signer::{BoxError, Signer, ToBeSigned};
