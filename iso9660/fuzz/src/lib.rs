//! Trees, volumes, images and disks that follow from a fuzzer's bytes, each with what a reader of
//! the result must find.

mod disk;
mod image;
mod model;
mod names;
mod plan;
mod volume;

use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// Makes something of the bytes, writes it and reads it back.
pub fn write_then_read(bytes: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(bytes);
    match u.int_in_range(0..=7)? {
        0 => volume::check(u),
        1 => disk::check(u),
        _ => image::check(u),
    }
}
