//! One signature: whether it is whole, and for this image.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::der;
use crate::error::Error;
use crate::hash::{Digest, HashAlgorithm};
use crate::image::Image;
use crate::key::{PublicKey, Scheme};
use crate::oid;
use crate::signed_data::{IndirectData, SignedData, SignerInfo};
use crate::table::TableEntry;

/// Why a signature does not hold, by the strict rules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureProblem {
    /// The table entry is of a type that holds no Authenticode signature.
    #[error("the table entry holds no PKCS#7 signature")]
    NotPkcs7,
    /// The structure is malformed.
    #[error("the signature is malformed")]
    Malformed(#[source] Error),
    /// The content is not SpcIndirectDataContent as a SEQUENCE.
    #[error("the signed content is not the digest of an image")]
    NotAnImageSignature,
    /// There must be exactly one SignerInfo.
    #[error("the signature has {count} signers")]
    SignerCount {
        /// How many there are.
        count: usize,
    },
    /// The hash algorithm fields disagree.
    #[error("the hash algorithms of image, content and signer are not the same one")]
    AlgorithmsDisagree,
    /// An algorithm that is not supported.
    #[error("{what} is not supported")]
    Unsupported {
        /// The algorithm's role.
        what: &'static str,
    },
    /// The digest in the signature is not the image's.
    #[error("the signed digest is not the image's")]
    DigestMismatch,
    /// The messageDigest attribute is not the hash of the content.
    #[error("the signed attributes belong to other content")]
    ContentMismatch,
    /// A mandatory attribute is missing, doubled or has several values.
    #[error("the attribute {name} must be there once with one value")]
    BadAttribute {
        /// The attribute.
        name: &'static str,
    },
    /// The certificate of the signer is not embedded.
    #[error("the signer's certificate is not embedded")]
    SignerNotEmbedded,
    /// The key did not make this signature.
    #[error("the signature does not verify with the signer's key")]
    BadSignature,
    /// SHA-1, or an RSA key that is too short.
    #[error("the signature holds, but {what} is too weak")]
    Weak {
        /// What is weak.
        what: &'static str,
    },
    /// Bytes that nothing authenticates are not zero.
    #[error("{len} bytes after the signature are not zero")]
    HiddenData {
        /// How many.
        len: usize,
    },
}

impl SignatureProblem {
    /// One word for reports of programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotPkcs7 => "not_a_signature",
            Self::Malformed(_)
            | Self::SignerCount { .. }
            | Self::NotAnImageSignature
            | Self::BadAttribute { .. } => "malformed",
            Self::AlgorithmsDisagree => "algorithms_disagree",
            Self::Unsupported { .. } => "unsupported_algorithm",
            Self::DigestMismatch => "digest_mismatch",
            Self::ContentMismatch | Self::BadSignature => "invalid_signature",
            Self::SignerNotEmbedded => "signer_not_embedded",
            Self::Weak { .. } => "weak_algorithm",
            Self::HiddenData { .. } => "hidden_data",
        }
    }
}

/// A signature that holds for an image.
#[derive(Clone, Debug)]
pub(crate) struct Intact {
    pub(crate) signer: Certificate,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) hash: HashAlgorithm,
}

/// Whether the digest in the content is the image's.
pub(crate) fn check_image(
    signed: &SignedData<'_>,
    image: &Image,
) -> Result<HashAlgorithm, SignatureProblem> {
    if signed.content_type != oid::SPC_INDIRECT_DATA {
        return Err(SignatureProblem::NotAnImageSignature);
    }
    let content = signed
        .content
        .as_ref()
        .ok_or(SignatureProblem::NotAnImageSignature)?;
    if content.tag != der::SEQUENCE {
        return Err(SignatureProblem::NotAnImageSignature);
    }
    let indirect = IndirectData::parse(content).map_err(SignatureProblem::Malformed)?;
    let hash = oid::to_hash(indirect.algorithm).ok_or(SignatureProblem::Unsupported {
        what: "the image's hash algorithm",
    })?;
    let expected = image.loaded(hash).ok_or(SignatureProblem::Unsupported {
        what: "a hash that was not computed",
    })?;
    match indirect.digest() {
        Some(digest) if digest == expected => Ok(hash),
        _ => Err(SignatureProblem::DigestMismatch),
    }
}

/// Checks everything but trust: structure, all bindings, the signature itself.
pub(crate) fn check(signed: &SignedData<'_>, image: &Image) -> Result<Intact, SignatureProblem> {
    let [signer] = signed.signers.as_slice() else {
        return Err(SignatureProblem::SignerCount {
            count: signed.signers.len(),
        });
    };
    let hash = check_image(signed, image)?;
    let id = oid::of_hash(hash);
    if signed.digest_algorithms != [id] || signer.digest_algorithm != id {
        return Err(SignatureProblem::AlgorithmsDisagree);
    }
    let content = signed
        .content
        .as_ref()
        .map(|content| content.value)
        .unwrap_or_default();
    check_attributes(signer, signed.content_type, content, hash)?;
    let certificates = signed
        .parse_certificates()
        .map_err(SignatureProblem::Malformed)?;
    let signer = find_signer(signer, &certificates, content, hash)?.clone();
    Ok(Intact {
        signer,
        certificates,
        hash,
    })
}

/// Binds the content to the signed attributes.
pub(crate) fn check_attributes(
    signer: &SignerInfo<'_>,
    content_type: &[u8],
    content: &[u8],
    hash: HashAlgorithm,
) -> Result<(), SignatureProblem> {
    let Some(attributes) = &signer.signed_attributes else {
        return Ok(());
    };
    if !attributes.is_canonical {
        return Err(SignatureProblem::BadAttribute {
            name: "with several values",
        });
    }
    let kind = attributes
        .single(oid::CONTENT_TYPE)
        .ok_or(SignatureProblem::BadAttribute {
            name: "contentType",
        })?;
    if kind.tag != der::OID || kind.value != content_type {
        return Err(SignatureProblem::BadAttribute {
            name: "contentType",
        });
    }
    let digest = attributes
        .single(oid::MESSAGE_DIGEST)
        .ok_or(SignatureProblem::BadAttribute {
            name: "messageDigest",
        })?;
    if digest.tag != der::OCTET_STRING || digest.value != hash.digest(content).as_bytes() {
        return Err(SignatureProblem::ContentMismatch);
    }
    Ok(())
}

/// The certificate that the SignerInfo names and whose key made the signature.
pub(crate) fn find_signer<'a>(
    signer: &SignerInfo<'_>,
    certificates: &'a [Certificate],
    content: &[u8],
    hash: HashAlgorithm,
) -> Result<&'a Certificate, SignatureProblem> {
    /// Certificates of the same issuer and serial number that are tried at most; there should be one.
    const MAX_SAME: usize = 8;
    let scheme =
        Scheme::parse(signer.signature_algorithm).ok_or(SignatureProblem::Unsupported {
            what: "the signature algorithm",
        })?;
    let message = signer.message(content);
    let digest = hash.digest(&message);
    let mut problem = SignatureProblem::SignerNotEmbedded;
    for certificate in certificates
        .iter()
        .filter(|certificate| signer.names(certificate))
        .take(MAX_SAME)
    {
        let Some(key) = certificate.public_key() else {
            problem = SignatureProblem::Unsupported {
                what: "the signer's kind of key",
            };
            continue;
        };
        match check_signature(&key, scheme, &digest, &message, signer.signature) {
            Ok(()) => return Ok(certificate),
            Err(found) => problem = found,
        }
    }
    Err(problem)
}

fn check_signature(
    key: &PublicKey,
    scheme: Scheme,
    digest: &Digest,
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureProblem> {
    let hash = digest.algorithm();
    let holds = match scheme {
        Scheme::Rsa => key.verify_pkcs1(digest, signature),
        Scheme::RsaWith(named) if named == hash => key.verify_pkcs1(digest, signature),
        Scheme::Pss(parameters) if parameters.hash == hash => {
            key.verify_pss(parameters, message, signature)
        }
        Scheme::RsaWith(_) | Scheme::Pss(_) => return Err(SignatureProblem::AlgorithmsDisagree),
        Scheme::EcdsaWith(named) if named != hash => {
            return Err(SignatureProblem::AlgorithmsDisagree);
        }
        Scheme::Ec | Scheme::EcdsaWith(_) => key.verify_ecdsa(digest, signature),
        Scheme::Ed25519 => key.verify_ed25519(message, signature),
    };
    if holds {
        Ok(())
    } else {
        Err(SignatureProblem::BadSignature)
    }
}

/// Whether the entry's signature holds, but is of a kind that firmware cannot check.
pub(crate) fn is_for_no_firmware(entry: &TableEntry, image: &Image) -> bool {
    let Some(Ok(signed)) = entry.pkcs7().map(SignedData::parse) else {
        return false;
    };
    let [signer] = signed.signers.as_slice() else {
        return false;
    };
    let is_pkcs1 = matches!(
        Scheme::parse(signer.signature_algorithm),
        Some(Scheme::Rsa | Scheme::RsaWith(_))
    );
    !is_pkcs1 && check(&signed, image).is_ok()
}

/// The entry's signature, if it holds for the image.
pub(crate) fn intact(entry: &TableEntry, image: &Image) -> Option<Intact> {
    check(&SignedData::parse(entry.pkcs7()?).ok()?, image).ok()
}

/// Whether the entry names the certificate as its signer's, whatever else is in it.
pub(crate) fn names_signer(entry: &TableEntry, certificate: &Certificate) -> bool {
    let Some(Ok(signed)) = entry.pkcs7().map(SignedData::parse) else {
        return false;
    };
    signed
        .signers
        .iter()
        .any(|signer| signer.names(certificate))
}
