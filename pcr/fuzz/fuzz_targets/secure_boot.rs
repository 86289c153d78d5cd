#![no_main]
//! Databases and signatures: the first two bytes say how much is db, the rest is a signature.

use libfuzzer_sys::fuzz_target;
use pcr::{Bank, BootImage, Pcr7, SecureBootVariables};

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((db, signature)) = rest.split_at_checked(u16::from_le_bytes(*len).into()) else { return };
    let image = BootImage::new(Bank::ALL.map(|bank| bank.hash(b"image"))).signature(signature);
    let boot = Pcr7::new(SecureBootVariables::enrolled(&[], &[], db, db)).load(image);
    let _ = boot.predict();
});
