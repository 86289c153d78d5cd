//! LUKS2 tokens: what is read is written and read the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(token) = tpm_seal::Token::parse(data) {
        let again = tpm_seal::Token::parse(token.to_json().as_bytes()).expect("its own text");
        assert_eq!(again.to_json(), token.to_json());
        let _ = token.policy(&[], &tpm_seal::Evidence::new());
    }
});
