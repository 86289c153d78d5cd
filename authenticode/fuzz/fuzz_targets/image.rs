//! Any bytes as an image: the slice, the file and the stream say the same, and nothing panics.
#![no_main]

use authenticode::{HashAlgorithm, Image, ImageHasher};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let slice = Image::parse(bytes);
    let file = Image::read(&mut std::io::Cursor::new(bytes));
    assert_eq!(slice.is_ok(), file.is_ok());
    let mut hasher = ImageHasher::new();
    bytes.chunks(13).for_each(|part| hasher.update(part));
    let Ok(image) = slice else { return };
    let digest = image.digest_as_loaded(HashAlgorithm::Sha256).unwrap();
    assert_eq!(digest, file.unwrap().digest_as_loaded(HashAlgorithm::Sha256).unwrap());
    if let Ok(streamed) = hasher.finish() {
        assert_eq!(digest, streamed.digest_as_loaded(HashAlgorithm::Sha256).unwrap());
    }
    let _ = image.findings(None);
});
