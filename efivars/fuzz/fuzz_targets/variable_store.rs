#![no_main]

use efivars::{SETUP_MODE, VariableStore};

// A store that can be read can be changed, written and read again.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(mut store) = VariableStore::parse(bytes) else { return };
    store.remove(&SETUP_MODE);
    store.remove_keys();
    if let Ok(bytes) = store.to_bytes() {
        assert!(VariableStore::parse(&bytes).is_ok());
    }
});
