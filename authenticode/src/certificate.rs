//! X.509 certificates: kept as they are, read only as far as signatures need.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::der::{self, Reader, Tlv};
use crate::error::{DerProblem, Error};
use crate::hash::{Digest, HashAlgorithm};
use crate::key::{KeyKind, PublicKey};
use crate::time::UnixTime;

pub(crate) mod extension;
mod general_name;
pub(crate) mod name;
mod pem;
pub(crate) mod revocation_list;

use extension::Extensions;

/// An X.509 certificate, byte for byte as it was given.
///
/// ```
/// # fn demo(pem: &str) -> Result<(), authenticode::Error> {
/// let certificate = authenticode::Certificate::from_pem(pem)?;
/// println!("{} {}", certificate.subject(), certificate.fingerprint(authenticode::HashAlgorithm::Sha256));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    parts: Parts,
    pub(crate) extensions: Extensions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    version: u32,
    tbs: Range<usize>,
    serial: Range<usize>,
    inner_algorithm: Range<usize>,
    issuer: Range<usize>,
    subject: Range<usize>,
    /// The names in a form that is the same for equal names.
    canonical_issuer: Vec<u8>,
    canonical_subject: Vec<u8>,
    not_before: Option<UnixTime>,
    not_after: Option<UnixTime>,
    public_key: Range<usize>,
    algorithm: Range<usize>,
    signature: Range<usize>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl core::hash::Hash for Certificate {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.der.hash(state);
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a certificate; bytes after it are not part of it.
    ///
    /// # Errors
    /// [`Error::Der`].
    pub fn from_der(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "certificate";
        let outer = Reader::new(bytes).expect(der::SEQUENCE, WHAT)?;
        let mut fields = outer.reader();
        let tbs = fields.expect(der::SEQUENCE, "certificate body")?;
        let algorithm = fields.expect(der::SEQUENCE, "certificate signature algorithm")?;
        der::read_algorithm(&algorithm)?;
        let signature = fields.expect(der::BIT_STRING, "certificate signature")?;
        fields.finish(WHAT)?;
        let mut body = tbs.reader();
        let version = match body.optional(der::context(0), "certificate version")? {
            None => 0,
            Some(explicit) => {
                let mut explicit = explicit.reader();
                let number = explicit.expect(der::INTEGER, "certificate version")?;
                explicit.finish("certificate version")?;
                der::small(&number)
                    .ok_or_else(|| number.error("certificate version", DerProblem::BadValue))?
            }
        };
        let serial = body.expect(der::INTEGER, "serial number")?;
        let inner_algorithm = body.expect(der::SEQUENCE, "signature algorithm")?;
        der::read_algorithm(&inner_algorithm)?;
        let issuer = body.expect(der::SEQUENCE, "issuer")?;
        let validity = body.expect(der::SEQUENCE, "validity")?;
        let subject = body.expect(der::SEQUENCE, "subject")?;
        let public_key = body.expect(der::SEQUENCE, "public key")?;
        for (tag, what) in [(1, "issuer identifier"), (2, "subject identifier")] {
            if let Some(bits) = body.optional(der::context_primitive(tag), what)?
                && bits.value.first().is_none_or(|unused| *unused > 7)
            {
                return Err(bits.error(what, DerProblem::BadValue));
            }
        }
        let extensions = body.optional(der::context(3), "extensions")?;
        body.finish("certificate body")?;
        let mut times = validity.reader();
        let (not_before, not_after) = (times.time("validity")?, times.time("validity")?);
        times.finish("validity")?;
        let mut key = public_key.reader();
        der::read_algorithm(&key.expect(der::SEQUENCE, "public key")?)?;
        key.expect(der::BIT_STRING, "public key")?;
        key.finish("public key")?;
        name::check(&issuer)?;
        name::check(&subject)?;
        let parts = Parts {
            version,
            tbs: tbs.range(),
            serial: serial.range(),
            inner_algorithm: inner_algorithm.range(),
            issuer: issuer.range(),
            subject: subject.range(),
            canonical_issuer: name::canonical(issuer.raw),
            canonical_subject: name::canonical(subject.raw),
            not_before: UnixTime::from_der(&not_before),
            not_after: UnixTime::from_der(&not_after),
            public_key: public_key.range(),
            algorithm: algorithm.range(),
            signature: signature.range(),
        };
        let extensions = Extensions::parse(extensions.as_ref())?;
        Ok(Self {
            der: outer.raw.to_vec(),
            parts,
            extensions,
        })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`Error::Pem`] if there is none, [`Error::PemBlock`] if one is cut short, [`Error::Der`] if it is malformed.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let blocks = pem::certificates(text)?;
        Self::from_der(blocks.first().map_or(&[], Vec::as_slice))
    }

    /// Reads all certificates of a PEM text.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn chain_from_pem(text: &str) -> Result<Vec<Self>, Error> {
        let blocks = pem::certificates(text)?;
        blocks.iter().map(|block| Self::from_der(block)).collect()
    }

    /// Reads the certificates of a file's content, PEM or DER.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem) and [`from_der`](Self::from_der).
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        match core::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => Self::chain_from_pem(text),
            _ => {
                let certificate = Self::from_der(bytes)?;
                if certificate.der.len() != bytes.len() {
                    let offset = u64::try_from(certificate.der.len()).unwrap_or(u64::MAX);
                    return Err(Error::Der {
                        what: "certificate",
                        offset,
                        problem: DerProblem::TrailingData,
                    });
                }
                Ok(alloc::vec![certificate])
            }
        }
    }

    /// The certificate.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Its hash.
    #[must_use]
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Digest {
        algorithm.digest(&self.der)
    }

    /// The hash of its signed part, which `EFI_CERT_X509_SHA256` and its like hold.
    #[must_use]
    pub fn tbs_digest(&self, algorithm: HashAlgorithm) -> Digest {
        algorithm.digest(self.part(&self.parts.tbs))
    }

    /// The subject as text, for people: `CN=name, O=organisation`.
    #[must_use]
    pub fn subject(&self) -> String {
        name::display(self.subject_der())
    }

    /// The issuer as text.
    #[must_use]
    pub fn issuer(&self) -> String {
        name::display(self.issuer_der())
    }

    /// The serial number's bytes as stored, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.element(&self.parts.serial)
            .map_or(&[], |tlv| tlv.value)
    }

    /// Start of validity, which firmware does not check.
    #[must_use]
    pub fn not_before(&self) -> Option<UnixTime> {
        self.parts.not_before
    }

    /// End of validity, which firmware does not check.
    #[must_use]
    pub fn not_after(&self) -> Option<UnixTime> {
        self.parts.not_after
    }

    /// Whether subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.canonical_subject() == self.canonical_issuer()
    }

    /// The kind and size of the key.
    #[must_use]
    pub fn key_kind(&self) -> KeyKind {
        PublicKey::parse(self.public_key_der()).map_or(KeyKind::Unknown, |key| key.kind())
    }

    /// SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        self.part(&self.parts.public_key)
    }

    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        PublicKey::parse(self.public_key_der())
    }

    pub(crate) fn subject_der(&self) -> &[u8] {
        self.part(&self.parts.subject)
    }

    pub(crate) fn issuer_der(&self) -> &[u8] {
        self.part(&self.parts.issuer)
    }

    pub(crate) fn canonical_subject(&self) -> &[u8] {
        &self.parts.canonical_subject
    }

    pub(crate) fn canonical_issuer(&self) -> &[u8] {
        &self.parts.canonical_issuer
    }

    pub(crate) fn serial_der(&self) -> &[u8] {
        self.part(&self.parts.serial)
    }

    /// Version as encoded: 0 is version 1.
    pub(crate) fn version(&self) -> u32 {
        self.parts.version
    }

    pub(crate) fn algorithm_der(&self) -> &[u8] {
        self.part(&self.parts.algorithm)
    }

    /// Whether the algorithm inside the signed part is the one outside.
    pub(crate) fn algorithms_agree(&self) -> bool {
        self.algorithm_der() == self.part(&self.parts.inner_algorithm)
    }

    /// Whether `key` made the signature on this certificate; `None` if the algorithm is unknown here.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> Option<bool> {
        let signature = self.element(&self.parts.signature)?;
        let signature = signature.value.strip_prefix(&[0])?;
        key.verify_certificate(self.algorithm_der(), self.part(&self.parts.tbs), signature)
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        self.der.get(range.clone()).unwrap_or_default()
    }

    fn element(&self, range: &Range<usize>) -> Option<Tlv<'_>> {
        Reader::new(self.part(range)).any("certificate").ok()
    }
}
