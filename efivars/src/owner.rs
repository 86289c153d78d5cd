use crate::Guid;
use crate::hash::sha256;

/// The owner GUID that Talos gives a certificate: a name-based UUID over the bytes of its **PEM file**, in the X.500 name space,
/// with SHA-256 and marked as version 4. Another line end in the file is another owner.
///
/// # Examples
///
/// ```
/// let owner = efivars::talos_owner(b"-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n");
/// assert_eq!(owner.to_string().as_bytes()[14], b'4');
/// ```
#[must_use]
pub fn talos_owner(pem_file: &[u8]) -> Guid {
    const NAMESPACE_X500: Guid = Guid::from_text("6ba7b814-9dad-11d1-80b4-00c04fd430c8");
    let digest = sha256(&[&NAMESPACE_X500.to_uuid_bytes(), pem_file]);
    let [
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
        b8,
        b9,
        b10,
        b11,
        b12,
        b13,
        b14,
        b15,
        ..,
    ] = digest;
    Guid::from_uuid_bytes([
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6 & 0x0f | 0x40,
        b7,
        b8 & 0x3f | 0x80,
        b9,
        b10,
        b11,
        b12,
        b13,
        b14,
        b15,
    ])
}
