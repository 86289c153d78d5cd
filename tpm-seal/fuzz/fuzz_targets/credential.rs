//! systemd's encrypted credentials.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(credential) = tpm_seal::Credential::parse(data) {
        let secret = tpm_seal::Secret::new(vec![7; 32]);
        let tpm = credential.token().map(|_| &secret);
        let host = credential.needs_host_key().then_some(&secret);
        let _ = credential.decrypt(tpm, host);
    }
});
