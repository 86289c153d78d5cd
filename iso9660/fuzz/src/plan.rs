//! A plan and the ways to its bytes.

use std::io::{Read as _, Seek as _, SeekFrom};

use iso9660::{Error, Plan};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::names::scratch;

/// Writes a plan in each way there is and asserts that the bytes are the same.
pub fn written(u: &mut Unstructured<'_>, plan: &Plan) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    plan.write_to(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, plan.len());
    let mut reader = plan.reader();
    for _ in 0..4 {
        let at = u.int_in_range(0..=plan.len() + 10)?;
        let len = usize::from(u.arbitrary::<u16>()?);
        let start = usize::try_from(at).unwrap().min(bytes.len());
        let expected = &bytes[start..bytes.len().min(start + len)];
        let mut buf = vec![0xAA; len];
        let n = plan.read_at(at, &mut buf).unwrap();
        assert!(&buf[..n] == expected, "read_at {at}, {len}");
        // One reader that goes to and fro.
        reader.seek(SeekFrom::Start(at)).unwrap();
        buf.fill(0x55);
        let mut taken = Vec::new();
        reader
            .by_ref()
            .take(len as u64)
            .read_to_end(&mut taken)
            .unwrap();
        assert!(taken == expected, "reader at {at}, {len}");
    }
    if plan.len() < 4 << 20 || u.ratio(1, 8)? {
        let path = scratch().join("written");
        plan.write_file(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "write_file differs");
        std::fs::remove_file(&path).unwrap();
    }
    Ok(bytes)
}

/// Plans are refused for what they hold, never for what the tree is: that is right.
pub fn assert_refusal(error: &Error) {
    assert!(
        !matches!(
            error,
            Error::Duplicate { .. } | Error::LinkTarget { .. } | Error::Source { .. }
        ),
        "{error}"
    );
}
