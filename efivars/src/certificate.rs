#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use rsa::{BigUint, RsaPublicKey};

use crate::der::{self, Element, Reader};
use crate::hash::{hex, sha1, sha256};
use crate::{EfiTime, Error, HashAlgorithm, pem};

/// An X.509 certificate; its bytes are kept as they were read.
///
/// # Examples
///
/// ```no_run
/// # let pem = "";
/// let certificate = efivars::Certificate::from_pem(pem)?;
/// println!("{} {:02x?}", certificate.subject(), certificate.sha256());
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    parts: Parts,
}

#[derive(Clone)]
struct Parts {
    tbs: Range<usize>,
    serial: Range<usize>,
    issuer: Range<usize>,
    subject: Range<usize>,
    not_after: Option<EfiTime>,
    /// Modulus and exponent, big-endian.
    rsa: Option<(Range<usize>, Range<usize>)>,
    signature_algorithm: Option<HashAlgorithm>,
    signature: Range<usize>,
    authority: Authority,
}

/// What a certificate says about signing other certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Authority {
    /// `basicConstraints` says yes, with the path length it allows.
    Yes { path_len: Option<u8> },
    /// It says nothing: good enough at the end of a chain only.
    Unsaid,
    /// It, or the key usage, says no.
    No,
}

const CERTIFICATE: &str = "X.509 certificate";
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];

impl Certificate {
    /// Reads a DER certificate.
    ///
    /// # Errors
    ///
    /// [`Error::Der`] when it is not one, also when something follows it.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes, CERTIFICATE);
        let certificate = Self::read(&mut reader)?;
        reader.end()?;
        Ok(certificate)
    }

    /// Reads a DER certificate as OpenSSL in firmware does: what follows it is ignored.
    pub(crate) fn from_der_prefix(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(&mut Reader::new(bytes, CERTIFICATE))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let whole = reader.expect(der::SEQUENCE)?;
        let parts = Parts::read(whole.raw)?;
        Ok(Self {
            der: whole.raw.to_vec(),
            parts,
        })
    }

    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// [`Error::Pem`] when there is none, [`Error::Der`] when it is malformed.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::chain_from_pem(text)?
            .into_iter()
            .next()
            .ok_or(Error::Pem {
                what: "certificate",
            })
    }

    /// Reads all certificates of a PEM text, in order; other blocks are skipped.
    ///
    /// # Errors
    ///
    /// [`Error::Pem`] when a block is broken or there is no certificate, [`Error::Der`] when one is malformed.
    pub fn chain_from_pem(text: &str) -> Result<Vec<Self>, Error> {
        let blocks = pem::blocks(text).ok_or(Error::Pem {
            what: "certificate",
        })?;
        let wanted = |label: &str| {
            matches!(
                label,
                "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"
            )
        };
        let chain: Vec<Self> = blocks
            .iter()
            .filter(|block| wanted(block.label))
            .map(|block| Self::from_der(&block.der))
            .collect::<Result<_, _>>()?;
        if chain.is_empty() {
            Err(Error::Pem {
                what: "certificate",
            })
        } else {
            Ok(chain)
        }
    }

    /// Reads a certificate that is either DER or PEM.
    ///
    /// # Errors
    ///
    /// As [`from_der`](Self::from_der) and [`from_pem`](Self::from_pem).
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, Error> {
        match core::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => Self::from_pem(text),
            _ => Self::from_der(bytes),
        }
    }

    /// All certificates of a PEM text, or the one that the bytes are in DER: the signer first, then those that lead to a trusted one.
    ///
    /// # Errors
    ///
    /// As [`from_der`](Self::from_der) and [`chain_from_pem`](Self::chain_from_pem).
    pub fn chain_from_pem_or_der(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        match core::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => Self::chain_from_pem(text),
            _ => Self::from_der(bytes).map(|certificate| alloc::vec![certificate]),
        }
    }

    /// The DER bytes as they were read.
    #[must_use]
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// The subject, such as `C=US, O=Example, CN=Example key`.
    #[must_use]
    pub fn subject(&self) -> String {
        name_text(self.part(&self.parts.subject)).unwrap_or_default()
    }

    /// The issuer, in the same form.
    #[must_use]
    pub fn issuer(&self) -> String {
        name_text(self.part(&self.parts.issuer)).unwrap_or_default()
    }

    /// The common name of the subject.
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        attributes(self.part(&self.parts.subject))
            .ok()?
            .into_iter()
            .find(|(oid, _)| *oid == [0x55, 4, 3])
            .map(|(_, text)| text)
    }

    /// The SHA-256 fingerprint: the hash of the whole certificate.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&[&self.der])
    }

    /// The SHA-1 fingerprint.
    #[must_use]
    pub fn sha1(&self) -> [u8; 20] {
        sha1(&self.der)
    }

    /// The bytes of the `TBSCertificate`, which revocations in dbx are hashes of.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.part(&self.parts.tbs)
    }

    /// The end of its validity; firmware does not look at it.
    #[must_use]
    pub const fn not_after(&self) -> Option<EfiTime> {
        self.parts.not_after
    }

    /// Whether its key is RSA, the only kind that edk2 takes.
    #[must_use]
    pub const fn is_rsa(&self) -> bool {
        self.parts.rsa.is_some()
    }

    /// The length of its RSA modulus in bits.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        let (modulus, _) = self.parts.rsa.as_ref()?;
        Some(BigUint::from_bytes_be(self.part(modulus)).bits())
    }

    /// The issuer's name as DER.
    pub(crate) fn issuer_der(&self) -> &[u8] {
        self.part(&self.parts.issuer)
    }

    /// The subject's name as DER.
    pub(crate) fn subject_der(&self) -> &[u8] {
        self.part(&self.parts.subject)
    }

    /// The serial number as DER.
    pub(crate) fn serial_der(&self) -> &[u8] {
        self.part(&self.parts.serial)
    }

    pub(crate) const fn authority(&self) -> Authority {
        self.parts.authority
    }

    /// The hash algorithm, the signed bytes and the signature on this certificate.
    pub(crate) fn signed(&self) -> Option<(HashAlgorithm, &[u8], &[u8])> {
        Some((
            self.parts.signature_algorithm?,
            self.tbs(),
            self.part(&self.parts.signature),
        ))
    }

    pub(crate) fn public_key(&self) -> Option<RsaPublicKey> {
        let (modulus, exponent) = self.parts.rsa.as_ref()?;
        let (n, e) = (
            BigUint::from_bytes_be(self.part(modulus)),
            BigUint::from_bytes_be(self.part(exponent)),
        );
        RsaPublicKey::new_with_max_size(n, e, 16_384).ok()
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        // The ranges were made from slices of these bytes.
        self.der.get(range.clone()).unwrap_or_default()
    }
}

impl Parts {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let range = |part: &[u8]| within(bytes, part);
        let mut outer = Reader::new(bytes, CERTIFICATE)
            .expect(der::SEQUENCE)?
            .reader(CERTIFICATE);
        let tbs = outer.expect(der::SEQUENCE)?;
        let algorithm = outer.expect(der::SEQUENCE)?;
        let signature = outer.expect(der::BIT_STRING)?.reader(CERTIFICATE);
        let bad_signature = signature.error();
        outer.end()?;
        // The first byte counts unused bits.
        let Some((0, signature)) = signature.rest().split_first() else {
            return Err(bad_signature);
        };

        let mut fields = tbs.reader(CERTIFICATE);
        fields.optional(der::context(0))?;
        let serial = fields.expect(der::INTEGER)?;
        fields.expect(der::SEQUENCE)?;
        let issuer = fields.expect(der::SEQUENCE)?;
        let validity = fields.expect(der::SEQUENCE)?;
        let subject = fields.expect(der::SEQUENCE)?;
        let rsa = rsa_key(fields.expect(der::SEQUENCE)?)?;
        let mut extensions = None;
        while !fields.is_empty() {
            let field = fields.any()?;
            if field.tag == der::context(3) {
                extensions = Some(field);
            }
        }
        let mut validity = validity.reader(CERTIFICATE);
        validity.any()?;
        let not_after = time(validity.any()?);
        let oid = algorithm.reader(CERTIFICATE).expect(der::OID)?;
        Ok(Self {
            tbs: range(tbs.raw),
            serial: range(serial.raw),
            issuer: range(issuer.raw),
            subject: range(subject.raw),
            not_after,
            rsa: rsa.map(|(n, e)| (range(n), range(e))),
            signature_algorithm: signature_hash(oid.value),
            signature: range(signature),
            authority: authority(extensions)?,
        })
    }
}

/// Where `part`, a slice of `whole`, stands in it.
fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start.saturating_add(part.len())
}

fn signature_hash(oid: &[u8]) -> Option<HashAlgorithm> {
    match oid.strip_prefix(PKCS1)? {
        [5] => Some(HashAlgorithm::Sha1),
        [11] => Some(HashAlgorithm::Sha256),
        [12] => Some(HashAlgorithm::Sha384),
        [13] => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

/// Modulus and exponent, when the key is RSA.
type RsaKey<'a> = Option<(&'a [u8], &'a [u8])>;

/// The key in a `SubjectPublicKeyInfo`.
fn rsa_key(info: Element<'_>) -> Result<RsaKey<'_>, Error> {
    let mut reader = info.reader(CERTIFICATE);
    let algorithm = reader
        .expect(der::SEQUENCE)?
        .reader(CERTIFICATE)
        .expect(der::OID)?;
    let mut key = reader.expect(der::BIT_STRING)?.reader(CERTIFICATE);
    if algorithm.value != RSA_ENCRYPTION {
        return Ok(None);
    }
    let error = key.error();
    let Some((0, inner)) = key.rest().split_first() else {
        return Err(error);
    };
    key = Reader::new(inner, "RSA public key")
        .expect(der::SEQUENCE)?
        .reader("RSA public key");
    Ok(Some((
        key.expect(der::INTEGER)?.value,
        key.expect(der::INTEGER)?.value,
    )))
}

fn authority(extensions: Option<Element<'_>>) -> Result<Authority, Error> {
    let (mut constraints, mut may_sign) = (Authority::Unsaid, None);
    let Some(extensions) = extensions else {
        return Ok(constraints);
    };
    let mut list = extensions
        .reader(CERTIFICATE)
        .expect(der::SEQUENCE)?
        .reader(CERTIFICATE);
    while !list.is_empty() {
        let mut extension = list.expect(der::SEQUENCE)?.reader(CERTIFICATE);
        let oid = extension.expect(der::OID)?;
        extension.optional(der::BOOLEAN)?;
        let content = extension.expect(der::OCTET_STRING)?;
        match oid.value {
            // basicConstraints
            [0x55, 0x1d, 0x13] => {
                let mut fields = content
                    .reader(CERTIFICATE)
                    .expect(der::SEQUENCE)?
                    .reader(CERTIFICATE);
                let is_ca = fields
                    .optional(der::BOOLEAN)?
                    .is_some_and(|flag| flag.value != [0]);
                let path_len = fields
                    .optional(der::INTEGER)?
                    .map(|len| if let [n] = len.value { *n } else { u8::MAX });
                constraints = if is_ca {
                    Authority::Yes { path_len }
                } else {
                    Authority::No
                };
            }
            // keyUsage; bit 5 is keyCertSign
            [0x55, 0x1d, 0x0f] => {
                let bits = content.reader(CERTIFICATE).expect(der::BIT_STRING)?;
                may_sign = Some(bits.value.get(1).is_some_and(|byte| byte & 0x04 != 0));
            }
            _ => {}
        }
    }
    Ok(if may_sign == Some(false) {
        Authority::No
    } else {
        constraints
    })
}

/// The attributes of a name: object identifier and text.
fn attributes(name: &[u8]) -> Result<Vec<(&[u8], String)>, Error> {
    let mut found = Vec::new();
    let mut sets = Reader::new(name, "name")
        .expect(der::SEQUENCE)?
        .reader("name");
    while !sets.is_empty() {
        let mut set = sets.expect(der::SET)?.reader("name");
        while !set.is_empty() {
            let mut pair = set.expect(der::SEQUENCE)?.reader("name");
            let (oid, value) = (pair.expect(der::OID)?, pair.any()?);
            found.push((oid.value, text(value)));
        }
    }
    Ok(found)
}

fn text(value: Element<'_>) -> String {
    const BMP_STRING: u8 = 0x1e;
    if value.tag == BMP_STRING {
        let units = value.value.chunks_exact(2).map(|unit| match unit {
            [high, low] => u16::from_be_bytes([*high, *low]),
            _ => 0,
        });
        return char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
    }
    String::from_utf8_lossy(value.value).to_string()
}

fn name_text(name: &[u8]) -> Option<String> {
    let parts: Vec<String> = attributes(name)
        .ok()?
        .into_iter()
        .map(|(oid, text)| {
            let label = match oid {
                [0x55, 4, 3] => "CN",
                [0x55, 4, 6] => "C",
                [0x55, 4, 7] => "L",
                [0x55, 4, 8] => "ST",
                [0x55, 4, 10] => "O",
                [0x55, 4, 11] => "OU",
                [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
                _ => return alloc::format!("OID.{}={text}", hex(oid)),
            };
            alloc::format!("{label}={text}")
        })
        .collect();
    Some(parts.join(", "))
}

/// A `UTCTime` or `GeneralizedTime` in the form that RFC 5280 demands.
fn time(element: Element<'_>) -> Option<EfiTime> {
    let text = core::str::from_utf8(element.value)
        .ok()?
        .strip_suffix('Z')?;
    let number = |range: Range<usize>| text.get(range)?.parse::<u16>().ok();
    let (year, at) = match element.tag {
        der::GENERALIZED_TIME => (number(0..4)?, 4),
        der::UTC_TIME => {
            let short = number(0..2)?;
            (short.checked_add(if short < 50 { 2000 } else { 1900 })?, 2)
        }
        _ => return None,
    };
    let small = |index: usize| {
        let start = index.checked_mul(2)?.checked_add(at)?;
        u8::try_from(number(start..start.checked_add(2)?)?).ok()
    };
    EfiTime::new(year, small(0)?, small(1)?, small(2)?, small(3)?, small(4)?).ok()
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Certificate({}, SHA-256 {})",
            self.subject(),
            hex(&self.sha256())
        )
    }
}
