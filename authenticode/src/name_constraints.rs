//! Name constraints (RFC 5280, 4.2.1.10) as far as OpenSSL applies them to chains.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::{Certificate, name};
use crate::chain::ChainProblem;
use crate::der::{self, Reader};

const WHAT: &str = "name constraints";

const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const DIRECTORY: u8 = 0xa4;

/// A general name: its tag, and its value (for directory names, the canonical form).
#[derive(Debug, PartialEq, Eq)]
struct GeneralName {
    tag: u8,
    value: Vec<u8>,
}

impl GeneralName {
    fn new(tag: u8, value: &[u8]) -> Self {
        let value = if tag == DIRECTORY {
            name::canonical(value)
        } else {
            value.to_vec()
        };
        Self { tag, value }
    }
}

#[derive(Debug, Default)]
struct Constraints {
    permitted: Vec<GeneralName>,
    excluded: Vec<GeneralName>,
}

/// Checks each certificate against the constraints of all authorities above it.
pub(crate) fn check(chain: &[&Certificate]) -> Result<(), ChainProblem> {
    for (depth, authority) in chain.iter().enumerate().skip(1) {
        let Some(encoded) = &authority.extensions.name_constraints else {
            continue;
        };
        let constraints = parse(encoded).ok_or(ChainProblem::NameConstraints)?;
        for (below, certificate) in chain.iter().enumerate().take(depth) {
            if below > 0 && certificate.is_self_issued() {
                continue;
            }
            let names = names_of(certificate, below == 0).ok_or(ChainProblem::NameConstraints)?;
            if !names.iter().all(|name| constraints.allow(name)) {
                return Err(ChainProblem::NameConstraints);
            }
        }
    }
    Ok(())
}

fn parse(encoded: &[u8]) -> Option<Constraints> {
    let mut fields = Reader::new(encoded)
        .expect(der::SEQUENCE, WHAT)
        .ok()?
        .reader();
    let permitted = subtrees(fields.optional(der::context(0), WHAT).ok()?)?;
    let excluded = subtrees(fields.optional(der::context(1), WHAT).ok()?)?;
    Some(Constraints {
        permitted,
        excluded,
    })
}

fn subtrees(list: Option<der::Tlv<'_>>) -> Option<Vec<GeneralName>> {
    let mut all = Vec::new();
    let Some(list) = list else { return Some(all) };
    let mut list = list.reader();
    while !list.is_empty() {
        let mut subtree = list.expect(der::SEQUENCE, WHAT).ok()?.reader();
        let base = subtree.any(WHAT).ok()?;
        // Minimum and maximum are not supported anywhere.
        if !subtree.is_empty() {
            return None;
        }
        all.push(GeneralName::new(base.tag, base.value));
    }
    Some(all)
}

/// The names that constraints apply to: the subject, addresses in it, alternative names, and for the signer a common
/// name that looks like a host's.
fn names_of(certificate: &Certificate, is_leaf: bool) -> Option<Vec<GeneralName>> {
    let mut names = Vec::new();
    let subject = certificate.subject_der();
    let mut common_names = Vec::new();
    let mut sets = Reader::new(subject).any(WHAT).ok()?.reader();
    if !sets.is_empty() {
        names.push(GeneralName::new(DIRECTORY, subject));
    }
    while let Ok(set) = sets.any(WHAT) {
        let mut pairs = set.reader();
        while let Ok(pair) = pairs.any(WHAT) {
            let mut fields = pair.reader();
            let (Ok(kind), Ok(value)) = (fields.any(WHAT), fields.any(WHAT)) else {
                continue;
            };
            match kind.value {
                [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => {
                    names.push(GeneralName::new(EMAIL, value.value))
                }
                [0x55, 4, 3] => common_names.push(value.value),
                _ => {}
            }
        }
    }
    if let Some(encoded) = &certificate.extensions.subject_alt_name {
        let mut list = Reader::new(encoded)
            .expect(der::SEQUENCE, WHAT)
            .ok()?
            .reader();
        while !list.is_empty() {
            let name = list.any(WHAT).ok()?;
            names.push(GeneralName::new(name.tag, name.value));
        }
    }
    if is_leaf && !names.iter().any(|name| name.tag == DNS) {
        names.extend(
            common_names
                .into_iter()
                .filter(|text| looks_like_host(text))
                .map(|text| GeneralName::new(DNS, text)),
        );
    }
    Some(names)
}

fn looks_like_host(text: &[u8]) -> bool {
    let labels: Vec<&[u8]> = text.split(|byte| *byte == b'.').collect();
    labels.len() > 1
        && labels.iter().all(|label| {
            !label.is_empty()
                && !label.starts_with(b"-")
                && !label.ends_with(b"-")
                && label
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

impl Constraints {
    fn allow(&self, name: &GeneralName) -> bool {
        let mut permitted = self
            .permitted
            .iter()
            .filter(|base| base.tag == name.tag)
            .peekable();
        let is_permitted =
            permitted.peek().is_none() || permitted.any(|base| matches(base, name) == Some(true));
        is_permitted
            && self
                .excluded
                .iter()
                .filter(|base| base.tag == name.tag)
                .all(|base| matches(base, name) == Some(false))
    }
}

/// Whether a name is in a subtree; `None` for kinds that are not supported, which then neither permits nor spares it.
fn matches(base: &GeneralName, name: &GeneralName) -> Option<bool> {
    let (wanted, found) = (base.value.as_slice(), name.value.as_slice());
    match base.tag {
        DIRECTORY => Some(found.starts_with(wanted)),
        DNS => Some(wanted.is_empty() || is_in_domain(found, wanted, true)),
        EMAIL => {
            let host = found
                .rsplit(|byte| *byte == b'@')
                .next()
                .unwrap_or_default();
            Some(if wanted.contains(&b'@') {
                found.eq_ignore_ascii_case(wanted)
            } else if wanted.starts_with(b".") {
                is_in_domain(host, wanted, false)
            } else {
                host.eq_ignore_ascii_case(wanted)
            })
        }
        URI => None,
        _ => None,
    }
}

/// Whether `host` ends with `domain` at a label.
fn is_in_domain(host: &[u8], domain: &[u8], may_equal: bool) -> bool {
    let Some(start) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let Some((front, end)) = host.split_at_checked(start) else {
        return false;
    };
    end.eq_ignore_ascii_case(domain)
        && if front.is_empty() {
            may_equal
        } else {
            domain.starts_with(b".") || front.ends_with(b".")
        }
}
