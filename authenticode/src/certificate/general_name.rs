//! General names (RFC 5280, 4.2.1.6): whether extensions that hold them are well-formed.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::name;
use crate::der::{self, Reader, Tlv};
use crate::error::{DerProblem, Error};

const WHAT: &str = "general name";

/// Checks the names in a list.
pub(super) fn check_all(list: &Tlv<'_>) -> Result<(), Error> {
    let mut names = list.reader();
    while !names.is_empty() {
        check(&names.any(WHAT)?)?;
    }
    Ok(())
}

fn check(name: &Tlv<'_>) -> Result<(), Error> {
    match name.tag {
        // E-mail, DNS, URI, IP address.
        0x81 | 0x82 | 0x86 | 0x87 => Ok(()),
        // Registered number.
        0x88 if der::is_object_identifier(name.value) => Ok(()),
        // Of another kind, which an object identifier names.
        0xa0 => {
            let mut fields = name.reader();
            fields.expect(der::OID, WHAT)?;
            let mut value = fields.expect(der::context(0), WHAT)?.reader();
            fields.finish(WHAT)?;
            value.any(WHAT)?;
            value.finish(WHAT)
        }
        // Directory name.
        0xa4 => {
            let mut fields = name.reader();
            name::check(&fields.expect(der::SEQUENCE, WHAT)?)?;
            fields.finish(WHAT)
        }
        _ => Err(name.error(WHAT, DerProblem::BadValue)),
    }
}

/// Checks the value of nameConstraints.
pub(super) fn check_constraints(value: &Tlv<'_>) -> Result<(), Error> {
    let mut fields = value.reader();
    for number in 0..2 {
        let Some(subtrees) = fields.optional(der::context(number), WHAT)? else {
            continue;
        };
        let mut subtrees = subtrees.reader();
        while !subtrees.is_empty() {
            let mut subtree = subtrees.expect(der::SEQUENCE, WHAT)?.reader();
            check(&subtree.any(WHAT)?)?;
            for number in 0..2 {
                subtree.optional(der::context_primitive(number), WHAT)?;
            }
            subtree.finish(WHAT)?;
        }
    }
    fields.finish(WHAT)
}

/// Checks the value of cRLDistributionPoints.
pub(super) fn check_distribution(value: &Tlv<'_>) -> Result<(), Error> {
    let mut points = value.reader();
    while !points.is_empty() {
        let mut point = points.expect(der::SEQUENCE, WHAT)?.reader();
        if let Some(explicit) = point.optional(der::context(0), WHAT)? {
            check_point_name(&mut explicit.reader())?;
        }
        if let Some(reasons) = point.optional(der::context_primitive(1), WHAT)?
            && reasons.value.first().is_none_or(|unused| *unused > 7)
        {
            return Err(reasons.error(WHAT, DerProblem::BadValue));
        }
        if let Some(issuer) = point.optional(der::context(2), WHAT)? {
            check_all(&issuer)?;
        }
        point.finish(WHAT)?;
    }
    Ok(())
}

/// A full name; names relative to the issuer's are not taken, nobody uses them.
fn check_point_name(choice: &mut Reader<'_>) -> Result<(), Error> {
    check_all(&choice.expect(der::context(0), WHAT)?)?;
    choice.finish(WHAT)
}
