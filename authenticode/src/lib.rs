#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod certificate;
mod chain;
mod change;
mod checksum;
mod der;
mod edit;
mod error;
mod findings;
mod firmware;
mod hash;
mod hasher;
mod image;
mod key;
mod layout;
mod name_constraints;
mod oid;
mod options;
mod page_hash;
mod prepare;
#[cfg(feature = "std")]
mod reader;
#[cfg(feature = "rsa")]
mod rsa_signer;
mod signature;
mod signed_data;
mod signer;
mod table;
mod time;
mod timestamp;
mod verify;

pub use certificate::Certificate;
pub use chain::ChainProblem;
pub use edit::Edit;
pub use error::{BoxError, DerProblem, Error};
pub use findings::Finding;
pub use firmware::{
    Authority, DatabaseEntry, Databases, Denial, Edk2, Guid, Reason, SbatComponent, SbatLevel,
    Shim, ShimCaller, SignatureDatabase, SignatureType, Variable, Verdict,
};
pub use hash::{Digest, HashAlgorithm};
pub use hasher::ImageHasher;
pub use image::{Image, LoadedDigest, SigningDigest};
pub use key::KeyKind;
pub use options::ImageOptions;
pub use page_hash::PageHashes;
pub use prepare::{Existing, Prepared, Signed, Signing};
#[cfg(feature = "rsa")]
pub use rsa_signer::RsaSigner;
pub use signature::SignatureProblem;
pub use signer::{SignatureScheme, Signer, ToBeSigned};
pub use table::{EntryType, SignatureTable, TableEntry, TableProblem};
pub use time::UnixTime;
pub use timestamp::{Timestamp, verify_timestamp};
pub use verify::{Report, SignatureReport, Status, TimestampReport, Verifier};
