//! GUID partition tables (UEFI 2.10, chapter 5).

mod write;

pub(crate) use write::{Entry, Tables, check_name};
