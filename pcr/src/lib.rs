#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod bank;

pub use bank::{Bank, Digest, ParseBankError, ParseDigestError, Register};
