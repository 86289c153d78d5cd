#![no_main]

use efivars::SignatureDatabase;

// What the lenient reader takes is written back byte for byte.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(database) = SignatureDatabase::parse_lenient(bytes) {
        assert_eq!(database.to_bytes(), bytes);
        let _ = database.problems();
    }
    let _ = SignatureDatabase::parse(bytes);
});
