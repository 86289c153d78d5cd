//! Documents of signed PCR policies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(document) = tpm_seal::SignatureDocument::parse(data) {
        let _ = document.fingerprints();
    }
    let _ = tpm_seal::SignatureDocument::parse_efi_variable(data);
});
