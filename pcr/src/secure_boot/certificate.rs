//! X.509 certificates, and which of them issued which, as the firmware's OpenSSL decides it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;

use super::der::{self, BIT_STRING, Element, INTEGER, OCTET_STRING, OID, SEQUENCE};
use super::rsa_key;
use crate::bank::{Bank, Digest};

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Longest chain that OpenSSL builds by default.
const MAX_CHAIN: usize = 100;
const SUBJECT_KEY_ID: u8 = 14;
const KEY_USAGE: u8 = 15;
const BASIC_CONSTRAINTS: u8 = 19;
const NAME_CONSTRAINTS: u8 = 30;
const AUTHORITY_KEY_ID: u8 = 35;
/// Extensions below 2.5.29 that may be critical: OpenSSL refuses chains with any other.
const UNDERSTOOD: [u8; 10] = [15, 17, 19, 30, 31, 32, 33, 36, 37, 54];

/// What is needed of a certificate. Bytes are kept as they are, nothing is encoded anew.
#[derive(Clone)]
pub(super) struct Certificate<'a> {
    pub(super) raw: &'a [u8],
    /// The whole TBSCertificate element: what X509_SHA* entries of dbx hash.
    pub(super) tbs: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) issuer: Element<'a>,
    pub(super) subject: Element<'a>,
    key: Option<(&'a [u8], &'a [u8])>,
    signature_hash: Option<Bank>,
    signature: &'a [u8],
    version_1: bool,
    is_ca: Option<bool>,
    path_len: Option<u64>,
    may_sign_certificates: Option<bool>,
    subject_key_id: Option<&'a [u8]>,
    authority_key_id: Option<&'a [u8]>,
    name_constraints: Option<Element<'a>>,
    unknown_critical: bool,
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let whole = der::first(bytes, SEQUENCE)?;
        let mut fields = whole.elements();
        let tbs = fields.expect(SEQUENCE)?;
        let signature_algorithm = fields.expect(SEQUENCE)?;
        let signature = bits(fields.expect(BIT_STRING)?)?;

        let mut inner = tbs.elements();
        let version = inner.optional(0xa0);
        let serial = inner.expect(INTEGER)?.content;
        inner.expect(SEQUENCE)?;
        let issuer = inner.expect(SEQUENCE)?;
        inner.expect(SEQUENCE)?;
        let subject = inner.expect(SEQUENCE)?;
        let key = rsa_key_of(inner.expect(SEQUENCE)?);
        let mut certificate = Self {
            raw: whole.raw,
            tbs: tbs.raw,
            serial,
            issuer,
            subject,
            key,
            signature_hash: rsa_key::hash_from_signature_oid(
                signature_algorithm.elements().expect(OID)?.content,
            ),
            signature,
            version_1: version.is_none(),
            is_ca: None,
            path_len: None,
            may_sign_certificates: None,
            subject_key_id: None,
            authority_key_id: None,
            name_constraints: None,
            unknown_critical: false,
        };
        if let Some(extensions) = inner.find(|element| element.tag == 0xa3) {
            for extension in extensions.elements().expect(SEQUENCE)?.elements() {
                certificate.extension(extension)?;
            }
        }
        Some(certificate)
    }

    fn extension(&mut self, extension: Element<'a>) -> Option<()> {
        let mut fields = extension.elements();
        let oid = fields.expect(OID)?.content;
        let critical = fields
            .optional(0x01)
            .is_some_and(|flag| flag.content != [0]);
        let value = fields.expect(OCTET_STRING)?.content;
        match oid {
            [0x55, 0x1d, BASIC_CONSTRAINTS] => {
                let mut fields = der::first(value, SEQUENCE)?.elements();
                self.is_ca = Some(
                    fields
                        .optional(0x01)
                        .is_some_and(|flag| flag.content != [0]),
                );
                self.path_len = fields.optional(INTEGER).map(|length| small(length.content));
            }
            [0x55, 0x1d, KEY_USAGE] => {
                let usage = der::first(value, BIT_STRING)?.content;
                self.may_sign_certificates =
                    Some(usage.get(1).is_some_and(|byte| byte & 0x04 != 0));
            }
            [0x55, 0x1d, NAME_CONSTRAINTS] => {
                self.name_constraints = Some(der::first(value, SEQUENCE)?)
            }
            [0x55, 0x1d, SUBJECT_KEY_ID] => {
                self.subject_key_id = Some(der::first(value, OCTET_STRING)?.content);
            }
            [0x55, 0x1d, AUTHORITY_KEY_ID] => {
                let mut fields = der::first(value, SEQUENCE)?.elements();
                self.authority_key_id = fields.optional(0x80).map(|id| id.content);
            }
            _ => {}
        }
        let understood = matches!(oid, [0x55, 0x1d, last] if UNDERSTOOD.contains(last))
            || matches!(oid, [0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01]);
        self.unknown_critical |= critical && !understood;
        Some(())
    }

    /// Whether the key of this certificate made a signature over a message with this digest.
    pub(super) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        self.key.is_some_and(|(modulus, exponent)| {
            rsa_key::verify(modulus, exponent, digest, signature)
        })
    }

    /// Whether this certificate could have issued `other`, by names, key identifiers and key usage.
    fn may_have_issued(&self, other: &Self) -> bool {
        let identifiers_agree = match (self.subject_key_id, other.authority_key_id) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => true,
        };
        same_name(self.subject, other.issuer)
            && identifiers_agree
            && self.may_sign_certificates != Some(false)
    }

    fn signed(&self, other: &Self) -> bool {
        other
            .signature_hash
            .is_some_and(|bank| self.verifies(&bank.hash(other.tbs), other.signature))
    }

    fn is_self_issued(&self) -> bool {
        same_name(self.subject, self.issuer)
    }

    /// OpenSSL's `X509_check_ca`, zero or not.
    fn may_be_ca(&self) -> bool {
        if self.may_sign_certificates == Some(false) {
            return false;
        }
        match self.is_ca {
            Some(is_ca) => is_ca,
            None => {
                (self.version_1 && self.is_self_issued()) || self.may_sign_certificates.is_some()
            }
        }
    }
}

/// Whether `leaf` is `anchor`, or a chain of certificates leads from `leaf` to `anchor`.
///
/// As edk2 lets OpenSSL do it: partial chains (any certificate is an anchor), no time check, any purpose. The anchor is
/// looked at first at each step; of several possible issuers the first is taken and no other is tried. Embedded issuers of
/// an anchor that signed itself are part of the chain and are checked with it.
pub(super) fn chains_to(
    leaf: &Certificate<'_>,
    others: &[Certificate<'_>],
    anchor: &Certificate<'_>,
) -> bool {
    let mut chain: Vec<&Certificate<'_>> = Vec::from([leaf]);
    let mut top = leaf;
    let mut is_anchored = leaf.raw == anchor.raw && leaf.is_self_issued();
    while !is_anchored && chain.len() <= MAX_CHAIN {
        let unused = |other: &&Certificate<'_>| chain.iter().all(|used| used.raw != other.raw);
        if anchor.raw != top.raw && anchor.may_have_issued(top) {
            chain.push(anchor);
            is_anchored = true;
        } else if let Some(issuer) = others
            .iter()
            .filter(unused)
            .find(|other| other.may_have_issued(top))
            && !top.is_self_issued()
        {
            chain.push(issuer);
            top = issuer;
        } else {
            break;
        }
    }
    (is_anchored || leaf.raw == anchor.raw)
        && extensions_allow(&chain)
        && names_allow(&chain)
        && chain
            .windows(2)
            .all(|pair| matches!(pair, [lower, upper] if upper.signed(lower)))
}

/// Name constraints of each certificate for the subjects below it, as far as they are about directory names.
fn names_allow(chain: &[&Certificate<'_>]) -> bool {
    chain.iter().enumerate().all(|(index, lower)| {
        let exempt = index > 0 && lower.is_self_issued();
        let above = chain.get(index.saturating_add(1)..).unwrap_or_default();
        exempt
            || above
                .iter()
                .filter_map(|upper| upper.name_constraints)
                .all(|constraints| permits(constraints, lower.subject))
    })
}

/// permittedSubtrees and excludedSubtrees (RFC 5280, 4.2.1.10); those of other kinds of names are not looked at.
fn permits(constraints: Element<'_>, subject: Element<'_>) -> bool {
    let Some(subject) = canonical(subject) else {
        return false;
    };
    let mut fields = constraints.elements();
    let (permitted, excluded) = (fields.optional(0xa0), fields.optional(0xa1));
    let bases = |trees: Option<Element<'_>>| -> Vec<bool> {
        let trees = trees.into_iter().flat_map(|trees| trees.elements());
        let names =
            trees.filter_map(|tree| tree.elements().expect(0xa4)?.elements().expect(SEQUENCE));
        names
            .map(|name| canonical(name).is_some_and(|base| subject.starts_with(&base)))
            .collect()
    };
    let permitted = bases(permitted);
    (permitted.is_empty() || permitted.contains(&true)) && !bases(excluded).contains(&true)
}

fn extensions_allow(chain: &[&Certificate<'_>]) -> bool {
    let mut intermediates = 0_u64;
    for (index, certificate) in chain.iter().enumerate() {
        if certificate.unknown_critical {
            return false;
        }
        if index == 0 {
            continue;
        }
        let too_long = certificate
            .path_len
            .is_some_and(|limit| intermediates > limit);
        if !certificate.may_be_ca() || too_long {
            return false;
        }
        if !certificate.is_self_issued() {
            intermediates = intermediates.saturating_add(1);
        }
    }
    true
}

fn bits(element: Element<'_>) -> Option<&[u8]> {
    match element.content {
        [0, bits @ ..] => Some(bits),
        _ => None,
    }
}

fn rsa_key_of(info: Element<'_>) -> Option<(&[u8], &[u8])> {
    let mut fields = info.elements();
    let algorithm = fields.expect(SEQUENCE)?.elements().expect(OID)?;
    if algorithm.content != RSA_ENCRYPTION {
        return None;
    }
    let mut numbers = der::first(bits(fields.expect(BIT_STRING)?)?, SEQUENCE)?.elements();
    Some((
        numbers.expect(INTEGER)?.content,
        numbers.expect(INTEGER)?.content,
    ))
}

fn small(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0_u64, |value, byte| {
        value.saturating_mul(256).saturating_add(u64::from(*byte))
    })
}

/// OpenSSL's comparison of names: text without regard to case, and to spaces at its ends and in a row.
pub(super) fn same_name(one: Element<'_>, other: Element<'_>) -> bool {
    one.raw == other.raw
        || canonical(one).is_some_and(|canonical_one| Some(canonical_one) == canonical(other))
}

/// Identifier and folded text, or all bytes of what is no text.
type CanonicalAttribute<'a> = (&'a [u8], Result<String, &'a [u8]>);
type CanonicalName<'a> = Vec<Vec<CanonicalAttribute<'a>>>;

fn canonical(name: Element<'_>) -> Option<CanonicalName<'_>> {
    name.elements()
        .map(|set| set.elements().map(canonical_attribute).collect())
        .collect()
}

fn canonical_attribute(attribute: Element<'_>) -> Option<CanonicalAttribute<'_>> {
    let mut fields = attribute.elements();
    let oid = fields.expect(OID)?.content;
    let value = fields.read()?;
    Some((oid, text_of(value).map(|text| fold(&text)).ok_or(value.raw)))
}

fn text_of(value: Element<'_>) -> Option<String> {
    match value.tag {
        // UTF8String, PrintableString, IA5String, VisibleString
        0x0c | 0x13 | 0x16 | 0x1a => Some(String::from_utf8_lossy(value.content).into()),
        // T61String, which OpenSSL takes for Latin-1
        0x14 => Some(value.content.iter().copied().map(char::from).collect()),
        // BMPString
        0x1e => {
            let units = value
                .content
                .as_chunks::<2>()
                .0
                .iter()
                .map(|unit| u16::from_be_bytes(*unit));
            Some(
                char::decode_utf16(units)
                    .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect(),
            )
        }
        _ => None,
    }
}

fn fold(text: &str) -> String {
    let mut folded = String::new();
    for word in text.split_ascii_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().map(|letter| letter.to_ascii_lowercase()));
    }
    folded
}
