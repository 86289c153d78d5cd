//! PKCS#7 SignedData as Authenticode uses it, read without re-encoding anything.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::{Certificate, name, revocation_list};
use crate::der::{self, Reader, Tlv};
use crate::error::{DerProblem, Error};
use crate::hash::{Digest, HashAlgorithm};
use crate::oid;

/// A parsed ContentInfo with SignedData.
#[derive(Clone, Debug)]
pub(crate) struct SignedData<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) version: Option<u32>,
    /// Values of the object identifiers.
    pub(crate) digest_algorithms: Vec<&'a [u8]>,
    pub(crate) content_type: &'a [u8],
    /// The element inside the explicit tag, a SEQUENCE in Authenticode.
    pub(crate) content: Option<Tlv<'a>>,
    /// The elements of the certificate set.
    pub(crate) certificates: Vec<Tlv<'a>>,
    pub(crate) signers: Vec<SignerInfo<'a>>,
}

#[derive(Clone, Debug)]
pub(crate) struct SignerInfo<'a> {
    pub(crate) version: Option<u32>,
    /// Issuer (DER) and serial number (DER), unless the signer is named by key identifier.
    pub(crate) issuer_and_serial: Option<(&'a [u8], &'a [u8])>,
    /// The issuer in a form that is the same for equal names.
    canonical_issuer: Vec<u8>,
    pub(crate) digest_algorithm: &'a [u8],
    pub(crate) signed_attributes: Option<Attributes<'a>>,
    /// The whole AlgorithmIdentifier.
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) unsigned_attributes: Vec<Attribute<'a>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a> {
    /// The elements without the outer tag and length.
    value: &'a [u8],
    pub(crate) list: Vec<Attribute<'a>>,
    /// Whether the values of each attribute stand in the order of DER, and bits that do not count are 0. OpenSSL encodes
    /// anew what it checks, and so sees other bytes than the signed ones where this is not so.
    pub(crate) is_canonical: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: &'a [u8],
    pub(crate) values: Vec<Tlv<'a>>,
}

impl<'a> Attributes<'a> {
    fn parse(tlv: &Tlv<'a>) -> Result<Self, Error> {
        const WHAT: &str = "attributes";
        let mut list = Vec::new();
        let mut rest = tlv.reader();
        while !rest.is_empty() {
            let mut fields = rest.expect(der::SEQUENCE, WHAT)?.reader();
            let kind = fields.expect(der::OID, WHAT)?.value;
            let mut set = fields.expect(der::SET, WHAT)?.reader();
            fields.finish(WHAT)?;
            let mut values = Vec::new();
            while !set.is_empty() {
                values.push(set.any(WHAT)?);
            }
            list.push(Attribute { kind, values });
        }
        let is_canonical = list.iter().all(|attribute| {
            attribute.values.is_sorted_by_key(|value| value.raw)
                && attribute.values.iter().all(has_clear_bits)
        });
        Ok(Self {
            value: tlv.value,
            list,
            is_canonical,
        })
    }

    /// The bytes that are signed: the stored ones under the tag of a SET.
    pub(crate) fn message(&self) -> Vec<u8> {
        der::tlv(der::SET, &[self.value])
    }

    /// The only value of the only attribute of this kind.
    pub(crate) fn single(&self, kind: &[u8]) -> Option<Tlv<'a>> {
        let mut found = self.list.iter().filter(|attribute| attribute.kind == kind);
        match (found.next(), found.next()) {
            (Some(attribute), None) => match attribute.values.as_slice() {
                [value] => Some(*value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The first value of the first attribute of this kind, as OpenSSL takes it.
    pub(crate) fn first(&self, kind: &[u8]) -> Option<Tlv<'a>> {
        self.list
            .iter()
            .find(|attribute| attribute.kind == kind)?
            .values
            .first()
            .copied()
    }
}

/// Whether the bits of a BIT STRING that do not count are 0.
fn has_clear_bits(value: &Tlv<'_>) -> bool {
    let clear = match value.value {
        [unused, .., last] => {
            let mask = 0xff_u8.checked_shl((*unused).into()).unwrap_or_default();
            last & mask == *last
        }
        [unused] => *unused == 0,
        [] => true,
    };
    value.tag != der::BIT_STRING || clear
}

impl<'a> SignerInfo<'a> {
    fn parse(tlv: &Tlv<'a>) -> Result<Self, Error> {
        const WHAT: &str = "SignerInfo";
        let mut fields = tlv.reader();
        let version = der::small(&fields.expect(der::INTEGER, WHAT)?);
        let issuer_and_serial = match fields.peek() {
            Some(der::SEQUENCE) => {
                let mut names = fields.any(WHAT)?.reader();
                let issuer = names.expect(der::SEQUENCE, "issuer")?;
                name::check(&issuer)?;
                let serial = names.expect(der::INTEGER, "serial number")?;
                names.finish(WHAT)?;
                Some((issuer.raw, serial.raw))
            }
            _ => {
                fields.expect(der::context_primitive(0), "signer identifier")?;
                None
            }
        };
        let digest_algorithm =
            der::read_algorithm(&fields.expect(der::SEQUENCE, "digest algorithm")?)?;
        let signed_attributes = match fields.optional(der::context(0), WHAT)? {
            Some(attributes) => Some(Attributes::parse(&attributes)?),
            None => None,
        };
        let signature_algorithm = fields.expect(der::SEQUENCE, "signature algorithm")?;
        der::read_algorithm(&signature_algorithm)?;
        let signature_algorithm = signature_algorithm.raw;
        let signature = fields.expect(der::OCTET_STRING, "signature")?.value;
        let unsigned_attributes = match fields.optional(der::context(1), WHAT)? {
            Some(attributes) => Attributes::parse(&attributes)?.list,
            None => Vec::new(),
        };
        fields.finish(WHAT)?;
        let canonical_issuer =
            issuer_and_serial.map_or(Vec::new(), |(issuer, _)| name::canonical(issuer));
        Ok(Self {
            version,
            issuer_and_serial,
            canonical_issuer,
            digest_algorithm,
            signed_attributes,
            signature_algorithm,
            signature,
            unsigned_attributes,
        })
    }

    /// Whether a certificate is the one that the signer names.
    pub(crate) fn names(&self, certificate: &Certificate) -> bool {
        self.issuer_and_serial.is_some_and(|(issuer, serial)| {
            certificate.serial_der() == serial
                && (certificate.issuer_der() == issuer
                    || certificate.canonical_issuer() == self.canonical_issuer)
        })
    }

    pub(crate) fn hash(&self) -> Option<HashAlgorithm> {
        oid::to_hash(self.digest_algorithm)
    }

    /// The bytes that are signed: the attributes, or without attributes the content's value.
    pub(crate) fn message(&self, content: &[u8]) -> Vec<u8> {
        self.signed_attributes
            .as_ref()
            .map_or_else(|| content.to_vec(), Attributes::message)
    }

    /// Values of the unsigned attributes of this kind.
    pub(crate) fn unsigned(&self, kind: &'static [u8]) -> impl Iterator<Item = Tlv<'a>> {
        self.unsigned_attributes
            .iter()
            .filter(move |attribute| attribute.kind == kind)
            .flat_map(|attribute| attribute.values.iter().copied())
    }
}

impl<'a> SignedData<'a> {
    /// Reads a ContentInfo; bytes after it are not looked at.
    pub(crate) fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        const WHAT: &str = "SignedData";
        let outer = Reader::new(blob).expect(der::SEQUENCE, "ContentInfo")?;
        let mut info = outer.reader();
        let kind = info.expect(der::OID, "ContentInfo")?;
        if kind.value != oid::SIGNED_DATA {
            return Err(kind.error("ContentInfo", DerProblem::BadValue));
        }
        let explicit = info.expect(der::context(0), "ContentInfo")?;
        info.finish("ContentInfo")?;
        let mut explicit = explicit.reader();
        let mut fields = explicit.expect(der::SEQUENCE, WHAT)?.reader();
        explicit.finish("ContentInfo")?;
        let version = der::small(&fields.expect(der::INTEGER, WHAT)?);
        let mut digest_algorithms = Vec::new();
        let mut set = fields.expect(der::SET, "digestAlgorithms")?.reader();
        while !set.is_empty() {
            digest_algorithms.push(der::read_algorithm(
                &set.expect(der::SEQUENCE, "digestAlgorithms")?,
            )?);
        }
        let mut encapsulated = fields.expect(der::SEQUENCE, "content")?.reader();
        let content_type = encapsulated.expect(der::OID, "content type")?.value;
        let content = match encapsulated.optional(der::context(0), "content")? {
            Some(explicit) => {
                let mut explicit = explicit.reader();
                let content = explicit.any("content")?;
                explicit.finish("content")?;
                Some(content)
            }
            None => None,
        };
        encapsulated.finish("content")?;
        let mut certificates = Vec::new();
        if let Some(set) = fields.optional(der::context(0), "certificates")? {
            let mut set = set.reader();
            while !set.is_empty() {
                certificates.push(set.any("certificates")?);
            }
        }
        if let Some(set) = fields.optional(der::context(1), "revocation lists")? {
            let mut set = set.reader();
            while !set.is_empty() {
                revocation_list::check(&set.expect(der::SEQUENCE, "revocation lists")?)?;
            }
        }
        let mut signers = Vec::new();
        let mut set = fields.expect(der::SET, "signers")?.reader();
        while !set.is_empty() {
            signers.push(SignerInfo::parse(
                &set.expect(der::SEQUENCE, "SignerInfo")?,
            )?);
        }
        fields.finish(WHAT)?;
        Ok(Self {
            raw: outer.raw,
            version,
            digest_algorithms,
            content_type,
            content,
            certificates,
            signers,
        })
    }

    /// The embedded certificates, in their order.
    pub(crate) fn parse_certificates(&self) -> Result<Vec<Certificate>, Error> {
        self.certificates
            .iter()
            .map(|tlv| {
                if tlv.tag == der::SEQUENCE {
                    Certificate::from_der(tlv.raw)
                } else {
                    Err(tlv.error("certificates", DerProblem::UnexpectedTag))
                }
            })
            .collect()
    }

    /// Algorithms that are named in digestAlgorithms and the signed content.
    pub(crate) fn hashes(&self) -> Vec<HashAlgorithm> {
        let mut all: Vec<HashAlgorithm> = self
            .digest_algorithms
            .iter()
            .filter_map(|id| oid::to_hash(id))
            .collect();
        if let Some(content) = &self.content
            && let Ok(indirect) = IndirectData::parse(content)
        {
            all.extend(oid::to_hash(indirect.algorithm));
        }
        all
    }
}

/// SpcIndirectDataContent: the image digest inside a signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndirectData<'a> {
    /// Object identifier of the data's type.
    pub(crate) kind: &'a [u8],
    /// The data, SpcPeImageData.
    pub(crate) data: Option<Tlv<'a>>,
    pub(crate) algorithm: &'a [u8],
    pub(crate) digest: &'a [u8],
}

impl<'a> IndirectData<'a> {
    pub(crate) fn parse(content: &Tlv<'a>) -> Result<Self, Error> {
        const WHAT: &str = "SpcIndirectDataContent";
        if content.tag != der::SEQUENCE {
            return Err(content.error(WHAT, DerProblem::UnexpectedTag));
        }
        let mut fields = content.reader();
        let mut data = fields.expect(der::SEQUENCE, WHAT)?.reader();
        let kind = data.expect(der::OID, WHAT)?.value;
        let value = match data.is_empty() {
            true => None,
            false => Some(data.any(WHAT)?),
        };
        data.finish(WHAT)?;
        let mut info = fields.expect(der::SEQUENCE, "DigestInfo")?.reader();
        fields.finish(WHAT)?;
        let algorithm = info
            .expect(der::SEQUENCE, "DigestInfo")?
            .reader()
            .expect(der::OID, "DigestInfo")?
            .value;
        let digest = info.expect(der::OCTET_STRING, "DigestInfo")?.value;
        info.finish("DigestInfo")?;
        Ok(Self {
            kind,
            data: value,
            algorithm,
            digest,
        })
    }

    /// The digest, if its length is that of its algorithm.
    pub(crate) fn digest(&self) -> Option<Digest> {
        Digest::from_bytes(oid::to_hash(self.algorithm)?, self.digest)
    }

    /// Writes the form that firmware and tools have in common: flags empty, file name `<<<Obsolete>>>`.
    pub(crate) fn encode(digest: &Digest) -> Vec<u8> {
        let name: Vec<u8> = "<<<Obsolete>>>"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let string = der::tlv(der::context_primitive(0), &[&name]);
        let link = der::tlv(der::context(0), &[&der::tlv(der::context(2), &[&string])]);
        let image_data = der::sequence(&[&der::tlv(der::BIT_STRING, &[&[0]]), &link]);
        let data = der::sequence(&[&der::oid(oid::SPC_PE_IMAGE_DATA), &image_data]);
        let algorithm = der::algorithm(oid::of_hash(digest.algorithm()));
        let octets = der::tlv(der::OCTET_STRING, &[digest.as_bytes()]);
        der::sequence(&[&data, &der::sequence(&[&algorithm, &octets])])
    }
}
