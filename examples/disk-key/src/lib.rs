#![doc = include_str!("../README.md")]

pub mod enroll;
mod error;
pub mod luks;
pub mod node;
pub mod reseal;
pub mod status;
pub mod unlock;

pub use error::Error;
