#![no_main]
//! FAT volumes: the tree can be listed, what is listed can be read or is an error.

use std::io::{Cursor, sink};

use iso9660::{FatReader, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut fat) = FatReader::read(Cursor::new(bytes)) else {
        return;
    };
    let listing = fat.list().unwrap();
    for item in listing.items.iter().take(50) {
        let written = fat.copy_to(item, &mut sink());
        assert!(written.is_err() || item.is_directory() || written.ok() == Some(item.len));
    }
    let _ = fat.label();
    let _ = Report::read(Cursor::new(bytes)).map(|report| report.to_json());
});
