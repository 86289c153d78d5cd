//! Whatever can be signed is accepted afterwards, by the strict verifier and by the model of firmware.
#![no_main]

use authenticode::{Certificate, Databases, Edk2, Existing, Image, RsaSigner, SignatureDatabase, Signing, Verifier};

const KEY: &str = include_str!("../../tests/vectors/keys/db-rsa2048.key");
const CERTIFICATE: &str = include_str!("../../tests/vectors/keys/db-rsa2048.pem");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let certificate = Certificate::from_pem(CERTIFICATE).unwrap();
    let Ok(image) = Image::parse(bytes) else { return };
    let Ok(prepared) = Signing::new(&certificate).existing(Existing::ReplaceAll).prepare(image) else { return };
    let signed = prepared.sign(&RsaSigner::from_pem(KEY).unwrap()).unwrap();
    let Ok(edit) = signed.edit() else { return };
    let mut file = bytes.to_vec();
    edit.apply_to_bytes(&mut file).unwrap();
    let image = Image::parse(&file).unwrap();
    assert_eq!(image.checksum(), image.correct_checksum());
    assert!(Verifier::new().trust([certificate.clone()]).verify(&image).is_trusted());
    let databases = Databases::new().db(SignatureDatabase::from_certificates([&certificate]));
    let allowed = databases.judge(&image, Edk2::Stable202502).unwrap().is_allowed();
    assert_eq!(allowed, (10..=13).contains(&image.subsystem()));
});
