#![no_main]

use libfuzzer_sys::fuzz_target;
use pcr::{Dialect, Loader, PhasePath, SigningRequest, gpt_event_data};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = SigningRequest::parse(data) {
        let _ = request.answer(&vec![Vec::<u8>::new(); request.to_be_signed().len()]);
    }
    let _ = gpt_event_data(data, 512);
    if let Ok(text) = core::str::from_utf8(data) {
        let path = PhasePath::new(text);
        assert_eq!(PhasePath::new(path.as_str()), path);
        let _ = (Dialect::from_stub(text), Loader::from_version(text));
    }
});
