//! Any bytes as the signature table of a good image.
#![no_main]

use authenticode::{Certificate, Databases, Edk2, HashAlgorithm, Image, ImageOptions, Shim, SignatureDatabase, Verifier};

const IMAGE: &[u8] = include_bytes!("../../tests/vectors/images/tiny64.efi");
const ANCHOR: &str = include_str!("../../tests/vectors/keys/root.pem");

libfuzzer_sys::fuzz_target!(|table: &[u8]| {
    let mut bytes = IMAGE.to_vec();
    let directory = 0x80 + 24 + 144;
    bytes[directory..directory + 4].copy_from_slice(&u32::try_from(IMAGE.len()).unwrap().to_le_bytes());
    bytes[directory + 4..directory + 8].copy_from_slice(&u32::try_from(table.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(table);
    let anchor = Certificate::from_pem(ANCHOR).unwrap();
    let list = SignatureDatabase::from_certificates([&anchor]);
    let databases = Databases::new().db(list.clone()).dbx(list);
    let Ok(image) = Image::parse_with(&bytes, &ImageOptions::new().hashes(&HashAlgorithm::ALL)) else { return };
    // Whoever is allowed and forbidden is forbidden.
    assert!(!databases.judge(&image, Edk2::Stable202502).unwrap().is_allowed());
    let _ = databases.denial(&image);
    let _ = Shim::new(databases).judge(&image).unwrap();
    let _ = Verifier::new().trust([anchor]).verify(&image);
    let _ = image.findings(None);
});
