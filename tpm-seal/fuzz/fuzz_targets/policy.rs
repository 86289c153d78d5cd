//! Policy documents: what is read is written and read the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = tpm_seal::Policy::parse(data) {
        let _ = policy.digest();
        let _ = policy.check(&[], &tpm_seal::Evidence::new());
        assert_eq!(tpm_seal::Policy::parse(policy.to_json().as_bytes()).expect("its own text"), policy);
    }
});
