#![no_main]
//! Partition tables: reading never fails, and findings tell what is wrong.

use std::io::Cursor;

use iso9660::{PartitionTable, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let table = PartitionTable::read(Cursor::new(bytes)).unwrap();
    if let Some(gpt) = &table.gpt {
        assert!(gpt.is_valid || !table.findings.is_empty());
    }
    let _ = Report::read(Cursor::new(bytes)).map(|report| report.to_json());
});
