#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use crate::der::{self, Element, Reader, element};
use crate::{Certificate, Error, HashAlgorithm, VerificationError, chain};

const WHAT: &str = "PKCS#7 SignedData";
const ID_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ID_SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];

/// The PKCS#7 signature of an authenticated variable, with the bare `SignedData` that UEFI 2.10 §32.2.4 describes or with the
/// `ContentInfo` around it that some tools write.
#[derive(Clone)]
pub struct SignedData {
    wrapped: bool,
    /// Object identifiers, in order.
    digests: Vec<Vec<u8>>,
    certificates: Vec<Certificate>,
    signers: Vec<SignerInfo>,
}

#[derive(Clone)]
struct SignerInfo {
    issuer: Vec<u8>,
    serial: Vec<u8>,
    digest: Vec<u8>,
    /// The whole element, tag [0] included.
    attributes: Option<Vec<u8>>,
    message_digest: Option<Vec<u8>>,
    signature: Vec<u8>,
}

impl SignedData {
    /// Reads it. What follows it is ignored, as firmware does.
    ///
    /// # Errors
    ///
    /// [`Error::Der`] when it is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Reader::new(bytes, WHAT).expect(der::SEQUENCE)?.reader(WHAT);
        let wrapped = fields.peek() == Some(der::OID);
        if wrapped {
            let error = fields.error();
            if fields.expect(der::OID)?.value != ID_SIGNED_DATA {
                return Err(error);
            }
            fields = fields
                .expect(der::context(0))?
                .reader(WHAT)
                .expect(der::SEQUENCE)?
                .reader(WHAT);
        }
        fields.expect(der::INTEGER)?;
        let mut digests = Vec::new();
        let mut set = fields.expect(der::SET)?.reader(WHAT);
        while !set.is_empty() {
            digests.push(
                set.expect(der::SEQUENCE)?
                    .reader(WHAT)
                    .expect(der::OID)?
                    .value
                    .to_vec(),
            );
        }
        fields
            .expect(der::SEQUENCE)?
            .reader(WHAT)
            .expect(der::OID)?;
        let mut certificates = Vec::new();
        if let Some(set) = fields.optional(der::context(0))? {
            let mut set = set.reader(WHAT);
            while !set.is_empty() {
                if set.peek() == Some(der::SEQUENCE) {
                    certificates.push(Certificate::read(&mut set)?);
                } else {
                    // Attribute certificates and other forms of CMS are nothing to us.
                    set.any()?;
                }
            }
        }
        fields.optional(der::context(1))?;
        let mut signers = Vec::new();
        let mut set = fields.expect(der::SET)?.reader(WHAT);
        while !set.is_empty() {
            signers.push(SignerInfo::read(set.expect(der::SEQUENCE)?)?);
        }
        Ok(Self {
            wrapped,
            digests,
            certificates,
            signers,
        })
    }

    /// Whether a `ContentInfo` stands around it, which edk2 up to 2022.11 refuses.
    #[must_use]
    pub const fn is_wrapped(&self) -> bool {
        self.wrapped
    }

    /// The certificates that it holds, in order.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The digest algorithms of its signers; nothing for an unknown one.
    pub fn hash_algorithms(&self) -> impl Iterator<Item = Option<HashAlgorithm>> {
        self.signers
            .iter()
            .map(|signer| HashAlgorithm::from_oid(&signer.digest))
    }

    /// Whether the first signer has signed attributes.
    #[must_use]
    pub fn has_signed_attributes(&self) -> bool {
        self.signers
            .first()
            .is_some_and(|signer| signer.attributes.is_some())
    }

    /// The embedded certificates of the signers, in order; nothing where it is missing.
    pub fn signer_certificates(&self) -> impl Iterator<Item = Option<&Certificate>> {
        self.signers
            .iter()
            .map(|signer| signer.certificate(&self.certificates))
    }

    /// Whether all signers signed this content; returns their certificates.
    ///
    /// # Errors
    ///
    /// What is wrong with the first signer that did not.
    pub fn verify(&self, content: &[&[u8]]) -> Result<Vec<&Certificate>, VerificationError> {
        if self.signers.is_empty() {
            return Err(VerificationError::NoSigner);
        }
        self.signers
            .iter()
            .map(|signer| {
                let certificate = signer
                    .certificate(&self.certificates)
                    .ok_or(VerificationError::NoSignerCertificate)?;
                let algorithm = HashAlgorithm::from_oid(&signer.digest)
                    .ok_or(VerificationError::UnknownDigest)?;
                if !self.digests.contains(&signer.digest) {
                    return Err(VerificationError::DigestNotAnnounced { algorithm });
                }
                if !certificate.is_rsa() {
                    return Err(VerificationError::NotRsa);
                }
                signer.verify(certificate, algorithm, content)?;
                Ok(certificate)
            })
            .collect()
    }

    /// The digest of the content that the first signer signed, if its signature is good; none where
    /// it signed attributes, or where [`verify`](Self::verify) refuses it without using its key.
    pub(crate) fn signed_digest(&self) -> Option<(HashAlgorithm, Vec<u8>)> {
        let signer = self.signers.first().filter(|s| s.attributes.is_none())?;
        let algorithm = HashAlgorithm::from_oid(&signer.digest)?;
        if !self.digests.contains(&signer.digest) {
            return None;
        }
        let certificate = signer.certificate(&self.certificates)?;
        let digest = chain::signed_digest(certificate, algorithm, &signer.signature)?;
        Some((algorithm, digest))
    }

    /// Whether all signers signed this content and chain to `trusted`.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify), and [`VerificationError::NotTrusted`].
    pub fn verify_for(
        &self,
        trusted: &Certificate,
        content: &[&[u8]],
    ) -> Result<(), VerificationError> {
        let signers = self.verify(content)?;
        if signers
            .iter()
            .all(|signer| chain::reaches(signer, &self.certificates, trusted))
        {
            Ok(())
        } else {
            Err(VerificationError::NotTrusted)
        }
    }
}

impl SignerInfo {
    fn read(whole: Element<'_>) -> Result<Self, Error> {
        let mut fields = whole.reader(WHAT);
        fields.expect(der::INTEGER)?;
        let mut identifier = fields.expect(der::SEQUENCE)?.reader(WHAT);
        let (issuer, serial) = (
            identifier.expect(der::SEQUENCE)?,
            identifier.expect(der::INTEGER)?,
        );
        let digest = fields
            .expect(der::SEQUENCE)?
            .reader(WHAT)
            .expect(der::OID)?;
        let attributes = fields.optional(der::context(0))?;
        fields.expect(der::SEQUENCE)?;
        let signature = fields.expect(der::OCTET_STRING)?;
        Ok(Self {
            issuer: issuer.raw.to_vec(),
            serial: serial.raw.to_vec(),
            digest: digest.value.to_vec(),
            message_digest: attributes.map(message_digest).transpose()?.flatten(),
            attributes: attributes.map(|attributes| attributes.raw.to_vec()),
            signature: signature.value.to_vec(),
        })
    }

    fn certificate<'a>(&self, certificates: &'a [Certificate]) -> Option<&'a Certificate> {
        certificates
            .iter()
            .find(|c| c.issuer_der() == self.issuer && c.serial_der() == self.serial)
    }

    fn verify(
        &self,
        key: &Certificate,
        algorithm: HashAlgorithm,
        content: &[&[u8]],
    ) -> Result<(), VerificationError> {
        let mut digest = algorithm.digest(content);
        if let Some(attributes) = &self.attributes {
            if self.message_digest.as_deref() != Some(&digest) {
                return Err(VerificationError::OtherContent);
            }
            // The attributes are signed as the SET that they are, not with the tag they are stored with.
            digest = algorithm.digest(&[&[der::SET], attributes.get(1..).unwrap_or_default()]);
        }
        if chain::verify_digest(key, algorithm, &digest, &self.signature) {
            Ok(())
        } else {
            Err(VerificationError::BadSignature)
        }
    }
}

fn message_digest(attributes: Element<'_>) -> Result<Option<Vec<u8>>, Error> {
    let mut list = attributes.reader(WHAT);
    let mut found = None;
    while !list.is_empty() {
        let mut attribute = list.expect(der::SEQUENCE)?.reader(WHAT);
        let (oid, values) = (attribute.expect(der::OID)?, attribute.expect(der::SET)?);
        if oid.value == MESSAGE_DIGEST {
            found = Some(
                values
                    .reader(WHAT)
                    .expect(der::OCTET_STRING)?
                    .value
                    .to_vec(),
            );
        }
    }
    Ok(found)
}

/// Writes the form that all firmware takes: bare `SignedData`, SHA-256, detached, no signed attributes.
pub(crate) fn signed_data(
    signer: &Certificate,
    further: &[Certificate],
    signature: &[u8],
) -> Vec<u8> {
    let null: &[u8] = &[der::NULL, 0];
    let sha256 = element(
        der::SEQUENCE,
        &[&element(der::OID, &[HashAlgorithm::Sha256.oid()]), null],
    );
    let rsa = element(
        der::SEQUENCE,
        &[&element(der::OID, &[RSA_ENCRYPTION]), null],
    );
    let one: &[u8] = &[der::INTEGER, 1, 1];
    let certificates: Vec<&[u8]> = core::iter::once(signer)
        .chain(further)
        .map(Certificate::to_der)
        .collect();
    let identifier = element(der::SEQUENCE, &[signer.issuer_der(), signer.serial_der()]);
    let signature = element(der::OCTET_STRING, &[signature]);
    let signer_info = element(
        der::SEQUENCE,
        &[one, &identifier, &sha256, &rsa, &signature],
    );
    element(
        der::SEQUENCE,
        &[
            one,
            &element(der::SET, &[&sha256]),
            &element(der::SEQUENCE, &[&element(der::OID, &[ID_DATA])]),
            &element(der::context(0), &certificates),
            &element(der::SET, &[&signer_info]),
        ],
    )
}

impl fmt::Debug for SignedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedData")
            .field("wrapped", &self.wrapped)
            .field("certificates", &self.certificates)
            .field("signers", &self.signers.len())
            .finish_non_exhaustive()
    }
}
