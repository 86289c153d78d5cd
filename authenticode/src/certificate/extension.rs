//! The extensions on which a chain's validity depends.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::general_name;
use crate::der::{self, Reader, Tlv};
use crate::error::Error;
use crate::oid;

const WHAT: &str = "extension";

/// What a certificate's extensions say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) basic_constraints: Option<BasicConstraints>,
    /// Bits of KeyUsage, digitalSignature being the lowest.
    pub(crate) key_usage: Option<u16>,
    pub(crate) netscape_type: Option<u8>,
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<AuthorityKeyId>,
    pub(crate) name_constraints: Option<Vec<u8>>,
    pub(crate) subject_alt_name: Option<Vec<u8>>,
    /// A critical extension that OpenSSL does not handle.
    pub(crate) unknown_critical: bool,
    pub(crate) proxy: bool,
    /// An extension that is malformed or occurs twice.
    pub(crate) malformed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) ca: bool,
    pub(crate) path_len: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedKeyUsage {
    pub(crate) critical: bool,
    pub(crate) purposes: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthorityKeyId {
    pub(crate) key_id: Option<Vec<u8>>,
    /// The directory name in the issuer field, as DER.
    pub(crate) issuer: Option<Vec<u8>>,
    /// The serial number's bytes.
    pub(crate) serial: Option<Vec<u8>>,
}

/// KeyUsage bit 5.
pub(crate) const KEY_CERT_SIGN: u16 = 1 << 5;

impl Extensions {
    pub(crate) fn parse(explicit: Option<&Tlv<'_>>) -> Result<Self, Error> {
        let mut all = Self::default();
        let Some(explicit) = explicit else {
            return Ok(all);
        };
        let mut outer = explicit.reader();
        let list = outer.expect(der::SEQUENCE, "extensions")?;
        outer.finish("extensions")?;
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut rest = list.reader();
        while !rest.is_empty() {
            let (id, critical, value) = read(&rest.expect(der::SEQUENCE, WHAT)?)?;
            seen.push(id);
            if all.take(id, critical, value).is_none() {
                all.malformed = true;
            }
        }
        seen.sort_unstable();
        all.malformed |= seen.windows(2).any(|pair| pair.first() == pair.last());
        Ok(all)
    }

    fn take(&mut self, id: &[u8], critical: bool, value: &[u8]) -> Option<()> {
        match id {
            oid::BASIC_CONSTRAINTS => self.basic_constraints = Some(basic_constraints(value)?),
            oid::KEY_USAGE => self.key_usage = Some(bits(value)?),
            oid::NETSCAPE_CERT_TYPE => {
                self.netscape_type = Some(u8::try_from(bits(value)? & 0xff).ok()?)
            }
            oid::EXTENDED_KEY_USAGE => {
                self.extended_key_usage = Some(ExtendedKeyUsage {
                    critical,
                    purposes: purposes(value)?,
                })
            }
            // OpenSSL reads key identifiers, but does not count them among those that may be critical.
            oid::SUBJECT_KEY_ID => {
                self.unknown_critical |= critical;
                self.subject_key_id = Some(only(value, der::OCTET_STRING)?.value.to_vec());
            }
            oid::AUTHORITY_KEY_ID => {
                self.unknown_critical |= critical;
                self.authority_key_id = Some(authority_key_id(value)?);
            }
            oid::NAME_CONSTRAINTS => {
                general_name::check_constraints(&only(value, der::SEQUENCE)?).ok()?;
                self.name_constraints = Some(value.to_vec());
            }
            oid::SUBJECT_ALT_NAME => {
                general_name::check_all(&only(value, der::SEQUENCE)?).ok()?;
                self.subject_alt_name = Some(value.to_vec());
            }
            oid::CRL_DISTRIBUTION => {
                general_name::check_distribution(&only(value, der::SEQUENCE)?).ok()?;
            }
            oid::PROXY_CERT_INFO => self.proxy = true,
            // Handled by OpenSSL without an effect here: policies count only when asked for.
            oid::CERTIFICATE_POLICIES
            | oid::POLICY_MAPPINGS
            | oid::POLICY_CONSTRAINTS
            | oid::INHIBIT_ANY_POLICY => {}
            _ => self.unknown_critical |= critical,
        }
        Some(())
    }

    /// Whether a timestamping authority's certificate is marked as such, critically and for nothing else.
    pub(crate) fn is_for_timestamps(&self) -> bool {
        self.extended_key_usage
            .as_ref()
            .is_some_and(|usage| usage.critical && usage.purposes == [oid::EKU_TIME_STAMPING])
    }

    pub(crate) fn allows_code_signing(&self) -> bool {
        self.extended_key_usage.as_ref().is_none_or(|usage| {
            usage
                .purposes
                .iter()
                .any(|purpose| purpose == oid::EKU_CODE_SIGNING)
        })
    }
}

/// Object identifier, criticality and value of an extension.
fn read<'a>(extension: &Tlv<'a>) -> Result<(&'a [u8], bool, &'a [u8]), Error> {
    let mut fields = extension.reader();
    let id = fields.expect(der::OID, WHAT)?;
    let critical = fields
        .optional(der::BOOLEAN, WHAT)?
        .is_some_and(|flag| der::boolean(&flag));
    let value = fields.expect(der::OCTET_STRING, WHAT)?;
    fields.finish(WHAT)?;
    Ok((id.value, critical, value.value))
}

/// Whether a list of extensions has the right structure.
pub(crate) fn check(list: &Tlv<'_>) -> Result<(), Error> {
    let mut list = list.reader();
    while !list.is_empty() {
        read(&list.expect(der::SEQUENCE, WHAT)?)?;
    }
    Ok(())
}

fn basic_constraints(value: &[u8]) -> Option<BasicConstraints> {
    let mut fields = only(value, der::SEQUENCE)?.reader();
    let ca = fields
        .optional(der::BOOLEAN, WHAT)
        .ok()?
        .is_some_and(|flag| der::boolean(&flag));
    let path_len = match fields.optional(der::INTEGER, WHAT).ok()? {
        Some(number) => Some(der::small(&number)?),
        None => None,
    };
    fields.finish(WHAT).ok()?;
    // OpenSSL takes a path length without CA as invalid.
    if path_len.is_some() && !ca {
        return None;
    }
    Some(BasicConstraints { ca, path_len })
}

/// A BIT STRING of named bits, the first bit being the lowest of the result.
fn bits(value: &[u8]) -> Option<u16> {
    let string = only(value, der::BIT_STRING)?;
    let (unused, bytes) = string.value.split_first()?;
    let (last, whole) = bytes.split_last().unwrap_or((&0, &[]));
    let last = 0xff_u8.checked_shl((*unused).into())? & last;
    let mut all = whole.iter().chain([&last]);
    let mut next = || all.next().map_or(0, |byte| byte.reverse_bits());
    Some(u16::from_le_bytes([next(), next()]))
}

/// The element that a value consists of.
fn only(value: &[u8], tag: u8) -> Option<Tlv<'_>> {
    let mut reader = Reader::new(value);
    let element = reader.expect(tag, WHAT).ok()?;
    reader.finish(WHAT).ok()?;
    Some(element)
}

fn purposes(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = only(value, der::SEQUENCE)?.reader();
    let mut all = Vec::new();
    while !list.is_empty() {
        all.push(list.expect(der::OID, WHAT).ok()?.value.to_vec());
    }
    Some(all)
}

fn authority_key_id(value: &[u8]) -> Option<AuthorityKeyId> {
    let mut fields = only(value, der::SEQUENCE)?.reader();
    let key_id = fields
        .optional(der::context_primitive(0), WHAT)
        .ok()?
        .map(|id| id.value.to_vec());
    let mut issuer = None;
    if let Some(names) = fields.optional(der::context(1), WHAT).ok()? {
        general_name::check_all(&names).ok()?;
        let mut names = names.reader();
        while let Ok(name) = names.any(WHAT) {
            if name.tag == der::context(4) && issuer.is_none() {
                issuer = Some(name.value.to_vec());
            }
        }
    }
    let serial = fields
        .optional(der::context_primitive(2), WHAT)
        .ok()?
        .map(|number| number.value.to_vec());
    fields.finish(WHAT).ok()?;
    Some(AuthorityKeyId {
        key_id,
        issuer,
        serial,
    })
}
