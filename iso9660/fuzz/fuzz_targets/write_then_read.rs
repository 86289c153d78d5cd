#![no_main]
//! What is written is read: trees, volumes, images and disks give back what they were made of.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Bytes that end too early make nothing.
    let _ = trustedboot_iso9660_fuzz::write_then_read(bytes);
});
