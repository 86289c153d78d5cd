#![doc = include_str!("../README.md")]

pub mod arch;
pub mod assets;
mod boot_entry;
pub mod build_installer;
pub mod build_medium;
pub mod build_uki;
pub mod cli;
mod clock;
mod command_line;
mod companions;
mod container;
pub mod contents;
pub mod database;
pub mod edit;
mod error;
mod esp;
pub mod explain;
pub mod generate;
pub mod inspect;
mod inspect_uki;
pub mod keys;
mod label;
pub mod medium;
mod one_pass;
pub mod output;
mod planned_boot;
mod policy_findings;
pub mod predict;
pub mod profile;
pub mod progress;
pub mod sign;
pub mod variables;
pub mod verify;

pub use boot_entry::BootEntry;
pub use error::{Cause, Error, KeyProblem};
