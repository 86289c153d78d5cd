//! Time stamps (RFC 3161): they save signatures that are older than the revocation of their certificate.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::certificate::Certificate;
use super::der::{self, INTEGER, OCTET_STRING, OID, SEQUENCE};
use super::pkcs7::SignedData;
use super::rsa_key;
use super::signature_list::Entry;

/// Year, month, day, hour, minute, second.
type Moment = (u16, u8, u8, u8, u8, u8);

/// Whether a certificate of dbt confirms that the signature was made no later than `revocation` (`EFI_TIME`).
///
/// A revocation time of zero is before every signature.
pub(super) fn is_before(signature: &[u8], revocation: &[u8], dbt: &[Entry<'_>]) -> bool {
    let Some(revocation) = efi_time(revocation).filter(|time| *time != (0, 0, 0, 0, 0, 0)) else {
        return false;
    };
    dbt.iter()
        .filter_map(|entry| Certificate::parse(entry.certificate()?))
        .any(|authority| signing_time(signature, &authority).is_some_and(|time| time <= revocation))
}

fn efi_time(bytes: &[u8]) -> Option<Moment> {
    match bytes {
        [low, high, month, day, hour, minute, second, ..] => Some((
            u16::from_le_bytes([*low, *high]),
            *month,
            *day,
            *hour,
            *minute,
            *second,
        )),
        _ => None,
    }
}

fn signing_time(signature: &[u8], authority: &Certificate<'_>) -> Option<Moment> {
    let signed = SignedData::parse(signature)?;
    let (token, value) = signed.time_stamp()?;
    let token = SignedData::parse(token)?;
    if !token.signatures_hold() || !token.chains_to(authority) {
        return None;
    }
    let mut info = der::first(token.content(), SEQUENCE)?.elements();
    info.expect(INTEGER)?;
    info.expect(OID)?;
    let mut imprint = info.expect(SEQUENCE)?.elements();
    let hash = rsa_key::hash_from_oid(imprint.expect(SEQUENCE)?.elements().expect(OID)?.content)?;
    if imprint.expect(OCTET_STRING)?.content != hash.hash(value).as_bytes() {
        return None;
    }
    info.expect(INTEGER)?;
    generalized_time(info.expect(0x18)?.content)
}

/// `YYYYMMDDHHMMSS`, with or without fractions, in UTC.
fn generalized_time(text: &[u8]) -> Option<Moment> {
    let mut numbers = text.get(..14)?.as_chunks::<2>().0.iter().map(|pair| {
        let text = core::str::from_utf8(pair).ok()?;
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u8>().ok())?
    });
    let mut next = || numbers.next().flatten();
    let year = u16::from(next()?)
        .checked_mul(100)?
        .checked_add(u16::from(next()?))?;
    Some((year, next()?, next()?, next()?, next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_of_both_kinds() {
        assert_eq!(
            generalized_time(b"20240102030405Z"),
            Some((2024, 1, 2, 3, 4, 5))
        );
        assert_eq!(generalized_time(b"2024010203040"), None);
        assert_eq!(
            efi_time(&[0xe8, 7, 1, 2, 3, 4, 5, 0]),
            Some((2024, 1, 2, 3, 4, 5))
        );
    }
}
