#![no_main]

use efivars::{Attributes, DB, Firmware, Machine, PK, VariableFile, Write, json};

// Any file is described or refused, and any write has a verdict.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = VariableFile::detect(bytes, None) {
        let _ = json::describe(&file);
    }
    for firmware in [Firmware::Edk2_2022_11, Firmware::Edk2_2025_02] {
        let mut machine = Machine::new(firmware);
        for (name, attributes) in [(DB, Attributes::KEY), (DB, Attributes::KEY_APPEND), (PK, Attributes::KEY)] {
            let _ = machine.write(&Write::new(name, attributes, bytes.to_vec()));
        }
    }
});
