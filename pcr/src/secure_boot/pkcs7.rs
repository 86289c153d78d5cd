//! The PKCS#7 of an Authenticode signature, read and checked as edk2 does it.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::certificate::{Certificate, chains_to, same_name};
use super::der::{self, Element, INTEGER, OCTET_STRING, OID, SEQUENCE, SET};
use super::rsa_key;
use crate::bank::{Bank, Digest};

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// RFC 3161 token in an unsigned attribute (1.3.6.1.4.1.311.3.3.1).
const TIME_STAMP: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x03, 0x03, 0x01];
const INDIRECT_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];

/// One signature: the body of an entry of an image's certificate table.
pub(super) struct SignedData<'a> {
    content_type: &'a [u8],
    /// What is hashed of it is the content without tag and length.
    content: Element<'a>,
    certificates: Vec<Certificate<'a>>,
    signers: Vec<SignerInfo<'a>>,
}

struct SignerInfo<'a> {
    issuer: Element<'a>,
    serial: &'a [u8],
    hash: Option<Bank>,
    attributes: Option<Element<'a>>,
    signature: &'a [u8],
    unsigned_attributes: Option<Element<'a>>,
}

impl<'a> SignedData<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut wrapper = der::first(bytes, SEQUENCE)?.elements();
        if wrapper.expect(OID)?.content != SIGNED_DATA {
            return None;
        }
        let mut fields = wrapper
            .expect(0xa0)?
            .elements()
            .expect(SEQUENCE)?
            .elements();
        fields.expect(INTEGER)?;
        fields.expect(SET)?;
        let mut info = fields.expect(SEQUENCE)?.elements();
        let content_type = info.expect(OID)?.content;
        // Detached signatures are refused by the firmware as well.
        let content = info.expect(0xa0)?.elements().read()?;
        let certificates = match fields.optional(0xa0) {
            Some(set) => set
                .elements()
                .filter_map(|element| Certificate::parse(element.raw))
                .collect(),
            None => Vec::new(),
        };
        fields.optional(0xa1);
        let signers = fields.expect(SET)?.elements().map(SignerInfo::parse);
        Some(Self {
            content_type,
            content,
            certificates,
            signers: signers.collect::<Option<_>>()?,
        })
    }

    /// The certificates that the signers name.
    pub(super) fn signer_certificates(&self) -> Option<Vec<&Certificate<'a>>> {
        let certificates: Vec<_> = self
            .signers
            .iter()
            .map(|signer| self.certificate_of(signer))
            .collect::<Option<_>>()?;
        (!certificates.is_empty()).then_some(certificates)
    }

    fn certificate_of(&self, signer: &SignerInfo<'a>) -> Option<&Certificate<'a>> {
        self.certificates.iter().find(|certificate| {
            certificate.serial == signer.serial && same_name(certificate.issuer, signer.issuer)
        })
    }

    /// Whether this is a signature over an image with this digest. Which key made it is not looked at yet.
    pub(super) fn is_about(&self, image: &Digest) -> bool {
        // CMS would wrap the content in an OCTET STRING; the firmware does not take that.
        self.content_type == INDIRECT_DATA
            && self.content.tag == SEQUENCE
            && self.content.content.ends_with(image.as_bytes())
    }

    /// Whether the signatures of all signers are right.
    pub(super) fn signatures_hold(&self) -> bool {
        !self.signers.is_empty()
            && self
                .signers
                .iter()
                .all(|signer| self.holds(signer).unwrap_or(false))
    }

    /// Whether the certificates of all signers lead to `anchor`.
    pub(super) fn chains_to(&self, anchor: &Certificate<'_>) -> bool {
        self.signer_certificates().is_some_and(|signers| {
            signers
                .iter()
                .all(|signer| chains_to(signer, &self.certificates, anchor))
        })
    }

    pub(super) const fn content(&self) -> &'a [u8] {
        self.content.content
    }

    /// The time stamp token of the first signer, and the signature that it is about.
    pub(super) fn time_stamp(&self) -> Option<(&'a [u8], &'a [u8])> {
        let signer = self.signers.first()?;
        let values = attribute(signer.unsigned_attributes?, TIME_STAMP)?;
        Some((values.elements().read()?.raw, signer.signature))
    }

    fn holds(&self, signer: &SignerInfo<'a>) -> Option<bool> {
        let bank = signer.hash?;
        let content = bank.hash(self.content.content);
        let signed = match signer.attributes {
            None => content,
            Some(attributes) => {
                let stated = attribute(attributes, MESSAGE_DIGEST)?
                    .elements()
                    .expect(OCTET_STRING)?;
                if stated.content != content.as_bytes() {
                    return Some(false);
                }
                // Attributes are signed as the SET they are, not with the tag they are stored with.
                bank.hash_parts(&[&[SET], attributes.raw.get(1..)?])
            }
        };
        Some(
            self.certificate_of(signer)?
                .verifies(&signed, signer.signature),
        )
    }
}

impl<'a> SignerInfo<'a> {
    fn parse(element: Element<'a>) -> Option<Self> {
        let mut fields = element.elements();
        fields.expect(INTEGER)?;
        let mut identifier = fields.expect(SEQUENCE)?.elements();
        let issuer = identifier.expect(SEQUENCE)?;
        let serial = identifier.expect(INTEGER)?.content;
        let hash = fields.expect(SEQUENCE)?.elements().expect(OID)?.content;
        let attributes = fields.optional(0xa0);
        fields.expect(SEQUENCE)?;
        let signature = fields.expect(OCTET_STRING)?.content;
        Some(Self {
            issuer,
            serial,
            hash: rsa_key::hash_from_oid(hash),
            attributes,
            signature,
            unsigned_attributes: fields.optional(0xa1),
        })
    }
}

/// The values of an attribute.
fn attribute<'a>(attributes: Element<'a>, kind: &[u8]) -> Option<Element<'a>> {
    attributes.elements().find_map(|attribute| {
        let mut fields = attribute.elements();
        (fields.expect(OID)?.content == kind).then(|| fields.expect(SET))?
    })
}

/// The hash that the firmware takes of an image with this signature.
///
/// edk2 reads the first digest algorithm at a fixed offset, which works only when the outer lengths take two bytes.
pub(super) fn image_hash(bytes: &[u8]) -> Option<Bank> {
    let two_byte_lengths = bytes.get(1).is_some_and(|byte| byte & 0x82 == 0x82);
    let oid = bytes.get(32..)?;
    Bank::ALL
        .into_iter()
        .find(|bank| two_byte_lengths && oid.starts_with(rsa_key::hash_oid(*bank)))
}
