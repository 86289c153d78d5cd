//! PEM blocks (RFC 7468): text around them is skipped.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::error::Error;

pub(super) const CERTIFICATE: &str = "CERTIFICATE";

/// The labels of certificates; OpenSSL writes the second for those with trust settings, which follow the certificate.
const LABELS: [&str; 3] = [CERTIFICATE, "TRUSTED CERTIFICATE", "X509 CERTIFICATE"];

/// The decoded certificates. One that is cut short is an error: without it, more or less would be trusted than was meant.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((name, body)) = after.split_once("-----") else {
            break;
        };
        rest = body;
        if !LABELS.contains(&name) {
            continue;
        }
        let number = blocks.len().saturating_add(1);
        let broken = Error::PemBlock {
            label: CERTIFICATE,
            number,
        };
        let Some((body, after)) = body.split_once("-----END ") else {
            return Err(broken);
        };
        rest = after;
        match decode(body) {
            Some(block) if after.split_once("-----").is_some_and(|end| end.0 == name) => {
                blocks.push(block)
            }
            _ => return Err(broken),
        }
    }
    if blocks.is_empty() {
        return Err(Error::Pem { label: CERTIFICATE });
    }
    Ok(blocks)
}

fn decode(body: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0_u32);
    let mut bytes = body.bytes().filter(|byte| !byte.is_ascii_whitespace());
    for byte in bytes.by_ref() {
        let digit = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count = count.wrapping_add(6);
        if count >= 8 {
            count = count.wrapping_sub(8);
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    // At most padding follows, and no digit is left over.
    (count < 6 && bytes.all(|byte| byte == b'=')).then_some(out)
}
