//! Any bytes as a detached signature, a certificate, a timestamp token, a signature database, an SBAT level.
#![no_main]

use authenticode::{Certificate, Image, SbatLevel, SignatureDatabase, verify_timestamp};

const IMAGE: &[u8] = include_bytes!("../../tests/vectors/images/addon.efi");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let image = Image::parse(IMAGE).unwrap();
    if let Ok(table) = image.attach(bytes) {
        let mut file = IMAGE.to_vec();
        image.with_table(&table).unwrap().apply_to_bytes(&mut file).unwrap();
        assert!(Image::parse(&file).unwrap().table().problem().is_none());
    }
    if let Ok(certificate) = Certificate::from_der(bytes) {
        let _ = (certificate.subject(), certificate.key_kind(), certificate.is_self_issued());
    }
    let _ = verify_timestamp(bytes, b"signature", &[]);
    let _ = SignatureDatabase::parse(bytes);
    let _ = SbatLevel::parse(bytes);
});
