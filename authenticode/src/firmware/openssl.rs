//! What the PKCS#7 check of firmware accepts. Its code is OpenSSL's, so this is a model of that.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::chain::{self, Budget, ChainProblem, Keys};
use crate::der;
use crate::hash::Digest;
use crate::oid;
use crate::signed_data::{SignedData, SignerInfo};

/// SignerInfos that are looked at; firmware has no limit, and one is usual.
const MAX_SIGNERS: usize = 64;

/// A signature as firmware sees it.
pub(super) struct Blob<'a> {
    signed: SignedData<'a>,
    certificates: Vec<Certificate>,
    /// For each SignerInfo the embedded certificate that it names.
    signers: Vec<usize>,
    /// Whether all SignerInfos hold, whoever is trusted; computed when first needed.
    holds: Option<bool>,
}

impl<'a> Blob<'a> {
    /// Parses a signature; nothing if firmware could not tell its signers.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let signed = SignedData::parse(data).ok()?;
        let certificates = signed.parse_certificates().ok()?;
        if signed.signers.len() > MAX_SIGNERS {
            return None;
        }
        let mut signers = Vec::new();
        for signer in &signed.signers {
            signers.push(
                certificates
                    .iter()
                    .position(|certificate| signer.names(certificate))?,
            );
        }
        if signers.is_empty() {
            return None;
        }
        Some(Self {
            signed,
            certificates,
            signers,
            holds: None,
        })
    }

    /// The signers' certificates.
    pub(super) fn signers(&self) -> impl Iterator<Item = &Certificate> {
        self.signers
            .iter()
            .filter_map(|index| self.certificates.get(*index))
    }

    /// The first SignerInfo.
    pub(super) fn first_signer(&self) -> Option<&SignerInfo<'a>> {
        self.signed.signers.first()
    }

    /// Whether the signature is for the image of this digest and its chain ends in the given certificate.
    pub(super) fn verify(
        &mut self,
        anchor: &Certificate,
        image: &Digest,
        budget: &mut Budget,
    ) -> Result<bool, ChainProblem> {
        if !self.is_for(image) {
            return Ok(false);
        }
        let anchor = core::slice::from_ref(anchor);
        for signer in self
            .signers
            .iter()
            .filter_map(|index| self.certificates.get(*index))
        {
            match chain::verify(signer, &self.certificates, anchor, Keys::Firmware, budget) {
                Ok(_) => {}
                Err(ChainProblem::TooComplex) => return Err(ChainProblem::TooComplex),
                Err(_) => return Ok(false),
            }
        }
        if self.holds.is_none() {
            self.holds = Some(self.check_signers(budget)?);
        }
        Ok(self.holds == Some(true))
    }

    /// Firmware compares the last bytes of the content with the digest of the image, and reads nothing else of it.
    fn is_for(&self, image: &Digest) -> bool {
        if self.signed.content_type != oid::SPC_INDIRECT_DATA {
            return false;
        }
        self.content()
            .is_some_and(|content| content.ends_with(image.as_bytes()))
    }

    fn content(&self) -> Option<&'a [u8]> {
        let content = self.signed.content.as_ref()?;
        // Its own reader of lengths knows up to two bytes.
        (content.tag == der::SEQUENCE && content.value.len() <= 0xffff).then_some(content.value)
    }

    fn check_signers(&self, budget: &mut Budget) -> Result<bool, ChainProblem> {
        let Some(content) = self.content() else {
            return Ok(false);
        };
        if self
            .signed
            .digest_algorithms
            .iter()
            .any(|id| oid::to_hash(id).is_none())
        {
            return Ok(false);
        }
        for (info, certificate) in self.signed.signers.iter().zip(self.signers()) {
            budget.signature()?;
            if !self
                .check_signer(info, certificate, content)
                .unwrap_or(false)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn check_signer(
        &self,
        info: &SignerInfo<'_>,
        certificate: &Certificate,
        content: &[u8],
    ) -> Option<bool> {
        let hash = info.hash()?;
        if !self
            .signed
            .digest_algorithms
            .contains(&info.digest_algorithm)
        {
            return Some(false);
        }
        let attributes = info
            .signed_attributes
            .as_ref()
            .filter(|attributes| !attributes.list.is_empty());
        let message = match attributes {
            None => content.to_vec(),
            Some(attributes) => {
                let digest = attributes.first(oid::MESSAGE_DIGEST)?;
                if !attributes.is_canonical
                    || digest.tag != der::OCTET_STRING
                    || digest.value != hash.digest(content).as_bytes()
                {
                    return Some(false);
                }
                attributes.message()
            }
        };
        let key = certificate.public_key()?;
        // The kind of key and the digest algorithm decide; the signature algorithm is not looked at.
        Some(
            key.kind().is_for_firmware()
                && key.verify_pkcs1(&hash.digest(&message), info.signature),
        )
    }
}
