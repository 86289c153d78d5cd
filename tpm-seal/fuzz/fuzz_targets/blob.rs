//! Sealed blobs, public areas and key files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(object) = tpm_seal::SealedObject::parse_blob(data) {
        assert_eq!(object.to_blob(), data);
    }
    if let Ok(public) = tpm_seal::PublicArea::parse(data) {
        assert_eq!(public.to_bytes(), data);
    }
    if let Ok(file) = tpm_seal::KeyFile::from_der(data) {
        let _ = file.sealed(None);
    }
});
