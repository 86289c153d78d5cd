//! Certificate revocation lists: nobody uses those in a signature, but firmware does not read a signature with a broken one.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::extension;
use super::name;
use crate::der::{self, Reader, Tlv};
use crate::error::Error;

const WHAT: &str = "revocation list";

/// Whether a CertificateList has the right structure.
pub(crate) fn check(list: &Tlv<'_>) -> Result<(), Error> {
    let mut fields = list.reader();
    let mut body = fields.expect(der::SEQUENCE, WHAT)?.reader();
    der::read_algorithm(&fields.expect(der::SEQUENCE, WHAT)?)?;
    fields.expect(der::BIT_STRING, WHAT)?;
    fields.finish(WHAT)?;
    body.optional(der::INTEGER, WHAT)?;
    der::read_algorithm(&body.expect(der::SEQUENCE, WHAT)?)?;
    name::check(&body.expect(der::SEQUENCE, WHAT)?)?;
    body.time(WHAT)?;
    if is_time(&body) {
        body.time(WHAT)?;
    }
    if let Some(revoked) = body.optional(der::SEQUENCE, WHAT)? {
        let mut revoked = revoked.reader();
        while !revoked.is_empty() {
            let mut entry = revoked.expect(der::SEQUENCE, WHAT)?.reader();
            entry.expect(der::INTEGER, WHAT)?;
            entry.time(WHAT)?;
            if let Some(extensions) = entry.optional(der::SEQUENCE, WHAT)? {
                extension::check(&extensions)?;
            }
            entry.finish(WHAT)?;
        }
    }
    if let Some(explicit) = body.optional(der::context(0), WHAT)? {
        let mut explicit = explicit.reader();
        extension::check(&explicit.expect(der::SEQUENCE, WHAT)?)?;
        explicit.finish(WHAT)?;
    }
    body.finish(WHAT)
}

fn is_time(fields: &Reader<'_>) -> bool {
    matches!(fields.peek(), Some(der::UTC_TIME | der::GENERALIZED_TIME))
}
