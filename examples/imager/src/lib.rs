#![doc = include_str!("../README.md")]

pub mod assets;
pub mod build_medium;
pub mod build_uki;
pub mod cli;
pub mod contents;
mod esp;
mod clock;
pub mod database;
pub mod edit;
mod error;
pub mod explain;
pub mod generate;
pub mod inspect;
pub mod keys;
pub mod medium;
pub mod output;
pub mod profile;
pub mod predict;
pub mod progress;
pub mod sign;
pub mod variables;
pub mod verify;

pub use error::{Cause, Error, KeyProblem};
