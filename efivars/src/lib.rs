#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod attributes;
mod authenticated_update;
mod certificate;
mod chain;
mod database;
mod dbx_update;
mod der;
#[cfg(all(feature = "std", target_os = "linux"))]
mod efivarfs;
mod enrolment;
mod error;
mod explanation;
mod firmware;
mod guid;
mod hash;
pub mod json;
pub mod microsoft;
mod owner;
mod pem;
mod pkcs7;
mod rotation;
#[cfg(feature = "rsa")]
mod rsa_signer;
mod signature_list;
mod signature_type;
mod signer;
mod signing;
mod time;
mod update;
mod update_problem;
mod variable;
mod variable_file;
mod variable_store;

pub use attributes::Attributes;
pub use authenticated_update::AuthenticatedUpdate;
pub use certificate::Certificate;
pub use database::{Difference, Entry, Problem, SignatureDatabase};
pub use dbx_update::{DbxUpdate, Space};
#[cfg(all(feature = "std", target_os = "linux"))]
pub use efivarfs::{Efivarfs, FileSystem, LinuxFileSystem};
pub use enrolment::{Enrolment, EnrolmentFile, EnrolmentSet, PreparedEnrolment};
pub use error::{Error, VerificationError};
pub use explanation::{Explanation, SignedFor};
pub use firmware::{EfiStatus, Firmware, Machine, Mode, Outcome, Quota, Reason, Refusal, Write};
pub use guid::Guid;
pub use hash::HashAlgorithm;
pub use owner::talos_owner;
pub use pkcs7::SignedData;
pub use rotation::{Rotation, RotationStep};
#[cfg(feature = "rsa")]
pub use rsa_signer::RsaSigner;
pub use signature_list::{Signature, SignatureList};
pub use signature_type::SignatureType;
pub use signer::{BoxError, Signer, ToBeSigned};
pub use signing::Prepared;
pub use time::EfiTime;
pub use update::{SignedUpdate, Update};
pub use update_problem::UpdateProblem;
pub use variable::{
    CUSTOM_MODE, DB, DB_DEFAULT, DBR, DBT, DBX, DBX_DEFAULT, KEK, KEK_DEFAULT, MOK_LIST,
    MOK_LIST_X, PK, PK_DEFAULT, SECURE_BOOT, SECURE_BOOT_ENABLE, SETUP_MODE, Variable,
    VariableName,
};
pub use variable_file::VariableFile;
pub use variable_store::{StoreLayout, VariableStore};
