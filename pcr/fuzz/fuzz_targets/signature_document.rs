#![no_main]

use libfuzzer_sys::fuzz_target;
use pcr::{PublicKey, SignatureDocument};

const KEY: &str = include_str!("../../tests/vectors/pcr11/inputs/pcrpkey");

fuzz_target!(|data: &[u8]| {
    let Ok(document) = SignatureDocument::parse(data) else {
        return;
    };
    let written = document.to_json();
    let again = SignatureDocument::parse(&written).expect("what was written is read");
    assert_eq!(again.to_json(), written);
    let key = PublicKey::from_pem(KEY).expect("the key of the vectors");
    assert_eq!(document.verify(&[key]).len(), document.entries().count());
    let merged = document.clone().merge(again);
    assert!(merged.entries().count() >= document.entries().count());
    let _ = pcr::PublicKey::from_pem(data);
    let _ = pcr::PublicKey::from_der(data);
});
