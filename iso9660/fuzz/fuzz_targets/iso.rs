#![no_main]
//! ISO images: every tree can be listed, what is listed can be read or is an error.

use std::io::{Cursor, sink};

use iso9660::{IsoReader, Report};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The system area is nothing to learn from.
    let image = [&[0; 32768], bytes].concat();
    let Ok(mut iso) = IsoReader::read(Cursor::new(&image)) else {
        return;
    };
    for namespace in iso.namespaces() {
        let listing = iso.list(namespace).unwrap();
        for item in listing
            .items
            .iter()
            .filter(|item| item.len < 1 << 20)
            .take(50)
        {
            let written = iso.copy_to(item, &mut sink());
            assert!(written.is_err() || written.ok() >= Some(item.len));
        }
    }
    let _ = iso.boot_catalog();
    let _ = Report::read(Cursor::new(&image)).map(|report| report.to_json());
});
