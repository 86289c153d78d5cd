//! What a careful reader would remark on in an image, whether firmware minds or not.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::hash::{Digest, HashAlgorithm};
use crate::image::Image;
use crate::key::KeyKind;
use crate::oid;
use crate::page_hash::PageHashes;
use crate::signed_data::{IndirectData, SignedData, SignerInfo};
use crate::table::{EntryType, TableEntry};
use crate::time::UnixTime;

/// A remark about an image or one of its signatures (by number, from 0).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// Tools disagree about the digest of the image.
    #[error("the sections leave gaps or overlap: tools disagree about the digest")]
    GapsOrOverlaps,
    /// The file goes on after the signature table; firmware refuses it.
    #[error("{len} bytes follow the signature table")]
    DataAfterTable {
        /// How many.
        len: u64,
    },
    /// The walk over the table breaks off; firmware refuses the image.
    #[error("the signature table is broken at offset {offset}")]
    BrokenTable {
        /// File offset.
        offset: u64,
    },
    /// Windows demands a table at a multiple of 8.
    #[error("the signature table is not at a multiple of 8")]
    UnalignedTable,
    /// The header's checksum is wrong; some firmware minds.
    #[error("the header's checksum is {stored:#x}, but should be {correct:#x}")]
    WrongChecksum {
        /// The field.
        stored: u32,
        /// What it should be.
        correct: u32,
    },
    /// A table entry that is no signature.
    #[error("table entry {signature} of type {kind:#x} is no signature")]
    ForeignEntry {
        /// Number of the entry.
        signature: usize,
        /// Its type.
        kind: u16,
    },
    /// Bytes that nothing authenticates and that are not padding.
    #[error("signature {signature}: {len} bytes after it are not authenticated (SHA-256 {digest})")]
    UnauthenticatedBytes {
        /// Number of the signature.
        signature: usize,
        /// How many bytes.
        len: usize,
        /// Their SHA-256 digest.
        digest: Digest,
    },
    /// Unsigned attributes, which anyone can add.
    #[error("signature {signature}: {len} bytes of unsigned attributes")]
    UnsignedAttributes {
        /// Number of the signature.
        signature: usize,
        /// Length of their values.
        len: usize,
    },
    /// A nested signature, which no firmware looks at.
    #[error("signature {signature} holds another one, which no firmware looks at")]
    NestedSignature {
        /// Number of the signature.
        signature: usize,
    },
    /// The structure cannot be read.
    #[error("signature {signature} is malformed")]
    Malformed {
        /// Number of the signature.
        signature: usize,
    },
    /// The reference firmware does not find the hash algorithm at its fixed place, and skips the signature.
    #[error("signature {signature} has a form that firmware skips")]
    SkippedByFirmware {
        /// Number of the signature.
        signature: usize,
    },
    /// Several hash algorithms in one signature or among the signatures.
    #[error("several hash algorithms are in use")]
    SeveralAlgorithms,
    /// A hash other than SHA-256, which shim does not take.
    #[error("signature {signature} uses {hash}: shim takes SHA-256 only")]
    NotSha256 {
        /// Number of the signature.
        signature: usize,
        /// Its hash.
        hash: HashAlgorithm,
    },
    /// A key that firmware refuses.
    #[error("signature {signature} is by an {key} key: firmware refuses those")]
    RefusedKey {
        /// Number of the signature.
        signature: usize,
        /// The kind of key.
        key: KeyKind,
    },
    /// An RSA key below 2048 bits.
    #[error("signature {signature} is by a weak key of {bits} bits")]
    WeakKey {
        /// Number of the signature.
        signature: usize,
        /// Length of the modulus.
        bits: usize,
    },
    /// An RSA key above 2048 bits, which some old machines do not take.
    #[error(
        "signature {signature} is by an RSA key of {bits} bits: some old machines take only 2048"
    )]
    LongKey {
        /// Number of the signature.
        signature: usize,
        /// Length of the modulus.
        bits: usize,
    },
    /// The signer's certificate is not embedded, so that firmware cannot check the signature.
    #[error("signature {signature} does not embed its signer's certificate")]
    CertificateNotEmbedded {
        /// Number of the signature.
        signature: usize,
    },
    /// Embedded certificates that are not of the signer's chain.
    #[error("signature {signature} embeds {count} certificates that are not of its chain")]
    ExtraCertificates {
        /// Number of the signature.
        signature: usize,
        /// How many.
        count: usize,
    },
    /// A certificate of the chain has expired. Firmware does not mind, but its authority issues nothing more.
    #[error("signature {signature}: the certificate of {subject:?} expired on {not_after}")]
    ExpiredCertificate {
        /// Number of the signature.
        signature: usize,
        /// Its subject.
        subject: String,
        /// When.
        not_after: UnixTime,
    },
    /// The certificate may not sign code, says its extended key usage; firmware does not look.
    #[error("signature {signature}: the certificate is not for code signing")]
    NotForCode {
        /// Number of the signature.
        signature: usize,
    },
    /// The signature is over the content, without attributes.
    #[error("signature {signature} has no signed attributes")]
    NoSignedAttributes {
        /// Number of the signature.
        signature: usize,
    },
    /// Hashes of the image's pages, which no firmware looks at.
    #[error("signature {signature} has the hashes of {count} pages, which no firmware looks at")]
    PageHashes {
        /// Number of the signature.
        signature: usize,
        /// How many pages.
        count: usize,
    },
    /// Versions other than 1, or another type of content, as some tools write them.
    #[error("signature {signature} has an unusual form")]
    UnusualForm {
        /// Number of the signature.
        signature: usize,
    },
    /// There is no `.sbat` section; shim demands one.
    #[error("there is no .sbat section")]
    NoSbat,
    /// The image is not marked as NX compatible.
    #[error("the image is not marked as NX compatible")]
    NotNxCompatible,
    /// A section is both writable and executable.
    #[error("section {name:?} is writable and executable")]
    WritableCode {
        /// Its name.
        name: String,
    },
    /// Sections are not aligned to pages, which NX needs.
    #[error("sections are aligned to {alignment} bytes: NX needs 4096")]
    SmallAlignment {
        /// The alignment.
        alignment: u32,
    },
}

impl Image {
    /// Remarks about the image and its signatures; `now` is for certificates that have expired.
    #[must_use]
    pub fn findings(&self, now: Option<UnixTime>) -> Vec<Finding> {
        let mut all = Vec::new();
        self.table_findings(&mut all);
        self.section_findings(&mut all);
        let mut hashes = Vec::new();
        for (signature, entry) in self.entries().iter().enumerate() {
            let found = Findings {
                signature,
                now,
                all: &mut all,
            };
            hashes.extend(found.entry(entry));
        }
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.len() > 1 {
            all.push(Finding::SeveralAlgorithms);
        }
        all
    }

    fn table_findings(&self, all: &mut Vec<Finding>) {
        let end = self.layout.table_end();
        if self.is_signed() && end != self.len() {
            all.push(Finding::DataAfterTable {
                len: self.len().saturating_sub(end),
            });
        } else if self.gap().is_some() {
            all.push(Finding::GapsOrOverlaps);
        }
        if let Some(problem) = self.table().problem() {
            all.push(Finding::BrokenTable {
                offset: problem.offset,
            });
        }
        if !self.layout.table_offset.is_multiple_of(8) {
            all.push(Finding::UnalignedTable);
        }
        let (stored, correct) = (self.checksum(), self.correct_checksum());
        if self.has_checksum() && self.is_signed() && stored != correct {
            all.push(Finding::WrongChecksum { stored, correct });
        }
    }

    fn section_findings(&self, all: &mut Vec<Finding>) {
        const NX_COMPAT: u16 = 0x0100;
        const WRITE_EXECUTE: u32 = 0xa000_0000;
        if !self
            .layout
            .sections
            .iter()
            .any(|section| &section.name == b".sbat\0\0\0")
        {
            all.push(Finding::NoSbat);
        }
        if self.layout.dll_characteristics & NX_COMPAT == 0 {
            all.push(Finding::NotNxCompatible);
        }
        if self.layout.section_alignment < 4096 {
            all.push(Finding::SmallAlignment {
                alignment: self.layout.section_alignment,
            });
        }
        let writable = self
            .layout
            .sections
            .iter()
            .filter(|section| section.characteristics & WRITE_EXECUTE == WRITE_EXECUTE);
        all.extend(writable.map(|section| {
            let name = section
                .name
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default();
            Finding::WritableCode {
                name: String::from_utf8_lossy(name).into_owned(),
            }
        }));
    }
}

struct Findings<'a> {
    signature: usize,
    now: Option<UnixTime>,
    all: &'a mut Vec<Finding>,
}

impl Findings<'_> {
    /// Remarks about an entry; gives the hash algorithms that it names.
    fn entry(self, entry: &TableEntry) -> Vec<HashAlgorithm> {
        let signature = self.signature;
        let Some(data) = entry.pkcs7_data() else {
            self.all.push(Finding::ForeignEntry {
                signature,
                kind: entry.kind().0,
            });
            return Vec::new();
        };
        let (rest, pad) = entry.unauthenticated();
        let loose: Vec<u8> = rest.iter().chain(pad).copied().collect();
        if loose.len() >= 8 || loose.iter().any(|byte| *byte != 0) {
            let digest = HashAlgorithm::Sha256.digest(&loose);
            self.all.push(Finding::UnauthenticatedBytes {
                signature,
                len: loose.len(),
                digest,
            });
        }
        let Ok(signed) = SignedData::parse(data) else {
            self.all.push(Finding::Malformed { signature });
            return Vec::new();
        };
        if entry.firmware_hash().is_none() {
            self.all.push(Finding::SkippedByFirmware { signature });
        }
        let content = signed
            .content
            .as_ref()
            .and_then(|content| IndirectData::parse(content).ok());
        if let Some(pages) = content.as_ref().and_then(PageHashes::of) {
            let count = pages.len();
            self.all.push(Finding::PageHashes { signature, count });
        }
        let is_plain = signed.version == Some(1)
            && signed
                .signers
                .iter()
                .all(|signer| signer.version == Some(1))
            && entry.kind() == EntryType::PKCS_SIGNED_DATA
            && entry.revision() == 0x0200
            && content.is_some_and(is_plain_content);
        if !is_plain {
            self.all.push(Finding::UnusualForm { signature });
        }
        let mut hashes = signed.hashes();
        hashes.extend(signed.signers.iter().filter_map(SignerInfo::hash));
        if let Some(signer) = signed.signers.first() {
            self.signer(&signed, signer);
        }
        hashes
    }

    fn signer(self, signed: &SignedData<'_>, signer: &SignerInfo<'_>) {
        let (signature, all) = (self.signature, self.all);
        if let Some(hash) = signer.hash().filter(|hash| *hash != HashAlgorithm::Sha256) {
            all.push(Finding::NotSha256 { signature, hash });
        }
        if signer.signed_attributes.is_none() {
            all.push(Finding::NoSignedAttributes { signature });
        }
        let len = signer
            .unsigned_attributes
            .iter()
            .flat_map(|attribute| &attribute.values)
            .map(|value| value.raw.len())
            .sum();
        if len != 0 {
            all.push(Finding::UnsignedAttributes { signature, len });
        }
        if signer.unsigned(oid::NESTED_SIGNATURE).next().is_some() {
            all.push(Finding::NestedSignature { signature });
        }
        let Ok(certificates) = signed.parse_certificates() else {
            all.push(Finding::Malformed { signature });
            return;
        };
        let Some(leaf) = certificates
            .iter()
            .find(|certificate| signer.names(certificate))
        else {
            all.push(Finding::CertificateNotEmbedded { signature });
            return;
        };
        match leaf.key_kind() {
            KeyKind::Rsa { bits } if bits < 2048 => all.push(Finding::WeakKey { signature, bits }),
            KeyKind::Rsa { bits: 2048 } => {}
            KeyKind::Rsa { bits } => all.push(Finding::LongKey { signature, bits }),
            key => all.push(Finding::RefusedKey { signature, key }),
        }
        if !leaf.extensions.allows_code_signing() {
            all.push(Finding::NotForCode { signature });
        }
        let chain = by_name(leaf, &certificates);
        if chain.len() < certificates.len() {
            let count = certificates.len().saturating_sub(chain.len());
            all.push(Finding::ExtraCertificates { signature, count });
        }
        for certificate in chain {
            if let (Some(now), Some(not_after)) = (self.now, certificate.not_after())
                && now > not_after
            {
                all.push(Finding::ExpiredCertificate {
                    signature,
                    subject: certificate.subject(),
                    not_after,
                });
            }
        }
    }
}

/// The type of content that the specification names; pesign 0.112 writes another.
fn is_plain_content(content: IndirectData<'_>) -> bool {
    content.kind == oid::SPC_PE_IMAGE_DATA
}

/// The signer's certificate and the embedded issuers, by name.
fn by_name<'a>(leaf: &'a Certificate, certificates: &'a [Certificate]) -> Vec<&'a Certificate> {
    const MAX_CHAIN: usize = 32;
    let mut chain = alloc::vec![leaf];
    let mut last = leaf;
    while chain.len() < MAX_CHAIN {
        let issuer = certificates.iter().find(|issuer| {
            issuer.canonical_subject() == last.canonical_issuer() && !chain.contains(issuer)
        });
        let Some(issuer) = issuer else { break };
        chain.push(issuer);
        last = issuer;
    }
    chain
}
