#![doc = include_str!("../README.md")]

pub mod assets;
pub mod build_medium;
pub mod build_uki;
pub mod cli;
pub mod contents;
mod esp;
mod clock;
pub mod database;
mod error;
pub mod generate;
pub mod keys;
pub mod medium;
pub mod output;
pub mod profile;
pub mod predict;
pub mod progress;
pub mod variables;

pub use error::{Cause, Error, KeyProblem};
