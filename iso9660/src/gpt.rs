//! GUID partition tables (UEFI 2.10, chapter 5).

mod check;
mod extended;
mod header;
mod read;
mod write;

pub use read::{Gpt, GptPartition, MbrEntry, PartitionTable};
pub(crate) use write::{Entry, Tables, check_name};
