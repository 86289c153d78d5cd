// The example of the README talks to a TPM.
#![cfg_attr(feature = "tpm", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tpm"),
    doc = "Policy digests, tokens and offline sealing, without a TPM: see the README."
)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "tpm"),
    allow(dead_code, reason = "some of it serves TPM commands only")
)]

mod bank;
mod credential;
mod error;
mod evidence;
mod evidence_files;
mod hex;
mod json;
mod key_file;
mod name;
mod offline;
mod policy;
mod policy_document;
mod policy_key;
mod public_area;
mod refusal;
mod registers;
mod sealed;
mod sealed_token;
mod secret;
mod signatures;
mod srk;
mod systemd;
mod talos;
mod tcti;
mod token;
#[cfg(feature = "tpm")]
mod tpm;
mod wire;

pub use bank::Bank;
pub use credential::{Credential, DecryptedCredential};
pub use error::Error;
pub use evidence::Evidence;
pub use evidence_files::EvidenceFiles;
pub use key_file::KeyFile;
pub use name::Name;
pub use offline::seal_offline;
pub use policy::{NvComparison, Policy, SignedPcrs, Step};
pub use policy_key::PolicyKey;
pub use public_area::PublicArea;
pub use refusal::Refusal;
pub use registers::{PcrSelection, PcrValues};
pub use sealed::{Parent, SealOptions, SealedKey, SealedObject, Template};
pub use sealed_token::SealedToken;
pub use secret::{Pin, Secret};
pub use signatures::SignatureDocument;
pub use systemd::SystemdToken;
pub use talos::TalosToken;
pub use tcti::Tcti;
pub use token::Token;
#[cfg(feature = "tpm")]
pub use tpm::{Lockout, Tpm};
