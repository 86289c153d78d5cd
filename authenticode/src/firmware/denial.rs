//! The careful side of denying: whether anything in an image comes from someone forbidden, however it is packed.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Authority, DatabaseEntry, Databases, Variable};
use crate::certificate::Certificate;
use crate::chain::{Budget, ChainProblem};
use crate::hash::HashAlgorithm;
use crate::image::Image;
use crate::signed_data::SignedData;

/// Something forbidden in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// The hash of the image is forbidden.
    ImageHash {
        /// The entry of dbx.
        entry: Authority,
    },
    /// A signature comes, or may come, from a forbidden certificate.
    Signer {
        /// The number of the signature.
        signature: usize,
        /// The entry of dbx.
        entry: Authority,
    },
    /// There is so much in the signatures that the question cannot be answered.
    TooComplex,
}

impl Databases {
    /// Whether anything in the image may come from someone in `dbx`, by a rule that is stricter than that of any firmware.
    ///
    /// EDK II reads only signatures of a certain form and stops at chains that do not verify for some other reason, and
    /// each release and each other firmware has rules of its own. This looks into every table entry that some firmware may
    /// look at, well-formed or not, whether it is for this image or not, and follows names and keys from the signer through all
    /// embedded certificates, whatever else is wrong with them. Use it together with [`judge`](Self::judge) where a
    /// forbidden signer must not pass.
    #[must_use]
    pub fn denial(&self, image: &Image) -> Option<Denial> {
        for algorithm in HashAlgorithm::ALL {
            if let Some(digest) = image.loaded(algorithm)
                && let Some(entry) = self.dbx.find_hash(&digest)
            {
                return Some(Denial::ImageHash {
                    entry: (Variable::Dbx, entry).into(),
                });
            }
        }
        if self
            .dbx
            .entries()
            .iter()
            .all(|entry| entry.kind().image_hash().is_some())
        {
            return None;
        }
        let mut budget = Budget::default();
        let anchors: Vec<_> = self
            .db
            .certificates()
            .filter_map(|(_, anchor)| Some((anchor, self.dbx.find_certificate_hash(anchor)?.0)))
            .collect();
        for (signature, entry) in image.entries().iter().enumerate() {
            let Some(data) = entry.pkcs7_data() else {
                continue;
            };
            match self.forbids(data, &anchors, &mut budget) {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Denial::Signer { signature, entry }),
                Err(_) => return Some(Denial::TooComplex),
            }
        }
        None
    }

    fn forbids(
        &self,
        data: &[u8],
        anchors: &[(&Certificate, &DatabaseEntry)],
        budget: &mut Budget,
    ) -> Result<Option<Authority>, ChainProblem> {
        let (certificates, starts) = read(data, budget)?;
        if let Some(found) = self.named(data, budget)? {
            return Ok(Some(found));
        }
        let mut by_subject: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            by_subject
                .entry(certificate.canonical_subject())
                .or_default()
                .push(index);
        }
        let mut seen = alloc::vec![false; certificates.len()];
        let mut waiting = starts;
        while let Some(index) = waiting.pop() {
            let Some(certificate) = certificates.get(index) else {
                continue;
            };
            match seen.get_mut(index) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            if let Some(found) = self.forbids_certificate(certificate, anchors, budget)? {
                return Ok(Some(found));
            }
            for issuer in by_subject
                .get(certificate.canonical_issuer())
                .into_iter()
                .flatten()
            {
                let fits = match certificates.get(*issuer) {
                    Some(issuer) => may_have_issued(issuer, certificate, budget)?,
                    None => false,
                };
                if fits {
                    waiting.push(*issuer);
                }
            }
        }
        Ok(None)
    }

    /// Whether the certificate itself or an issuer of it is forbidden.
    fn forbids_certificate(
        &self,
        certificate: &Certificate,
        anchors: &[(&Certificate, &DatabaseEntry)],
        budget: &mut Budget,
    ) -> Result<Option<Authority>, ChainProblem> {
        if let Some((entry, _)) = self.dbx.find_certificate_hash(certificate) {
            return Ok(Some((Variable::Dbx, entry).into()));
        }
        for (entry, denied) in self.dbx.certificates() {
            budget.candidates(1)?;
            let is_it = denied == certificate
                || (denied.public_key_der() == certificate.public_key_der()
                    && denied.canonical_subject() == certificate.canonical_subject());
            if is_it || may_have_issued(denied, certificate, budget)? {
                return Ok(Some((Variable::Dbx, entry).into()));
            }
        }
        // An anchor in db whose hash is forbidden need not be embedded.
        for (anchor, entry) in anchors {
            budget.candidates(1)?;
            if may_have_issued(anchor, certificate, budget)? {
                return Ok(Some((Variable::Dbx, *entry).into()));
            }
        }
        Ok(None)
    }

    /// A forbidden signer that is named without being embedded, or in a signature that cannot be read.
    fn named(&self, data: &[u8], budget: &mut Budget) -> Result<Option<Authority>, ChainProblem> {
        let Ok(signed) = SignedData::parse(data) else {
            return Ok(None);
        };
        for (entry, denied) in self.dbx.certificates() {
            budget.candidates(signed.signers.len())?;
            if signed.signers.iter().any(|signer| signer.names(denied)) {
                return Ok(Some((Variable::Dbx, entry).into()));
            }
        }
        Ok(None)
    }
}

/// The certificates of a signature, and those that may be its signers'.
fn read(data: &[u8], budget: &mut Budget) -> Result<(Vec<Certificate>, Vec<usize>), ChainProblem> {
    let signed = SignedData::parse(data).ok();
    let parsed = signed
        .as_ref()
        .and_then(|signed| signed.parse_certificates().ok());
    let certificates = match parsed {
        Some(certificates) => certificates,
        None => scan(data, budget)?,
    };
    let signers = signed.as_ref().map_or(0, |signed| signed.signers.len());
    budget.candidates(signers.saturating_mul(certificates.len()))?;
    let named: Vec<usize> = signed.map_or(Vec::new(), |signed| {
        (0..certificates.len())
            .filter(|index| {
                certificates.get(*index).is_some_and(|certificate| {
                    signed
                        .signers
                        .iter()
                        .any(|signer| signer.names(certificate))
                })
            })
            .collect()
    });
    let starts = if named.is_empty() {
        (0..certificates.len()).collect()
    } else {
        named
    };
    Ok((certificates, starts))
}

/// Looks for certificates in bytes that cannot be parsed as a whole.
fn scan(data: &[u8], budget: &mut Budget) -> Result<Vec<Certificate>, ChainProblem> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        // A certificate starts with two nested SEQUENCEs; small ones have lengths of one byte.
        let may_start = rest.first() == Some(&0x30)
            && rest.get(1).is_some_and(|len| matches!(len, 0x81..=0x84));
        if may_start {
            budget.candidates(64)?;
            if let Ok(certificate) = Certificate::from_der(rest) {
                at = at.saturating_add(certificate.as_der().len());
                found.push(certificate);
                continue;
            }
        }
        at = at.saturating_add(1);
    }
    Ok(found)
}

/// Whether names fit and the key made the signature, or may have made it where that cannot be checked.
fn may_have_issued(
    issuer: &Certificate,
    subject: &Certificate,
    budget: &mut Budget,
) -> Result<bool, ChainProblem> {
    if issuer.canonical_subject() != subject.canonical_issuer() {
        return Ok(false);
    }
    budget.signature()?;
    Ok(issuer
        .public_key()
        .is_none_or(|key| subject.is_signed_by(&key) != Some(false)))
}
