#![doc = include_str!("../README.md")]

mod clock;
mod error;
pub mod generate;
pub mod keys;
pub mod output;

pub use error::{Cause, Error, KeyProblem};
