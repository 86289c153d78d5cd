//! The reference firmware, EDK II with OpenSSL (`DxeImageVerificationLib`), as in OVMF.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::database::{DatabaseEntry, RevocationTime};
use super::openssl::Blob;
use super::{Authority, Databases, Reason, Variable, Verdict};
use crate::certificate::Certificate;
use crate::chain::{Budget, ChainProblem, Keys};
use crate::error::Error;
use crate::hash::{Digest, HashAlgorithm};
use crate::image::Image;
use crate::oid;
use crate::signature;
use crate::timestamp::{self, Authority as TimestampAuthority};

/// A release of EDK II; both were asked on OVMF builds of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Edk2 {
    /// 2022.11, in Debian 12: looks up unsigned images by SHA-256 only.
    Stable202211,
    /// 2025.02, in Debian 13: looks up unsigned images by every hash.
    Stable202502,
}

/// EFI application, boot service driver, runtime driver, ROM.
const EFI_SUBSYSTEMS: core::ops::RangeInclusive<u16> = 10..=13;

impl From<(Variable, &DatabaseEntry)> for Authority {
    fn from((variable, entry): (Variable, &DatabaseEntry)) -> Self {
        Self {
            variable,
            kind: entry.kind(),
            signature_data: entry.signature_data().to_vec(),
        }
    }
}

impl Databases {
    /// What EDK II decides about an image with Secure Boot on.
    ///
    /// # Errors
    /// [`Error::NotHashed`] if the image was not hashed with an algorithm that a database or a signature names, see
    /// [`hashes`](Self::hashes).
    pub fn judge(&self, image: &Image, release: Edk2) -> Result<Verdict, Error> {
        let verdict = if image.is_signed() {
            let mut judge = Judge {
                databases: self,
                image,
                budget: Budget::default(),
                measured: Vec::new(),
            };
            judge.signed()
        } else {
            self.unsigned(image, release)
        }?;
        if verdict.is_allowed() && !EFI_SUBSYSTEMS.contains(&image.subsystem()) {
            return Ok(Verdict::new(Reason::NotEfi).measuring(verdict.measured));
        }
        Ok(verdict)
    }

    fn unsigned(&self, image: &Image, release: Edk2) -> Result<Verdict, Error> {
        let mut allowed = None;
        let mut measured = Vec::new();
        // From the longest digest down; every hit in db is recorded, any hit in dbx ends it.
        for algorithm in HashAlgorithm::ALL.into_iter().rev() {
            if release == Edk2::Stable202211 && algorithm != HashAlgorithm::Sha256 {
                continue;
            }
            if !self.hashes().contains(&algorithm) {
                continue;
            }
            let digest = image
                .loaded(algorithm)
                .ok_or(Error::NotHashed { algorithm })?;
            if let Some(entry) = self.dbx.find_hash(&digest) {
                let verdict =
                    Verdict::new(Reason::DeniedHash).by(None, Some((Variable::Dbx, entry).into()));
                return Ok(verdict.measuring(measured));
            }
            if let Some(entry) = self.db.find_hash(&digest) {
                measured.push((Variable::Db, entry).into());
                allowed = allowed.or(Some(entry));
            }
        }
        Ok(match allowed {
            Some(entry) => Verdict::new(Reason::AllowedByHash)
                .by(None, Some((Variable::Db, entry).into()))
                .measuring(measured),
            None => Verdict::new(Reason::NotSigned),
        })
    }
}

/// The verdict when no signature helps: whether one would, were it of a kind that firmware knows, is told apart.
pub(super) fn not_trusted(image: &Image) -> Verdict {
    let unknown = image
        .entries()
        .iter()
        .position(|entry| signature::is_for_no_firmware(entry, image));
    match unknown {
        Some(index) => Verdict::new(Reason::UnknownAlgorithm).by(Some(index), None),
        None => Verdict::new(Reason::NotTrusted),
    }
}

struct Judge<'a> {
    databases: &'a Databases,
    image: &'a Image,
    budget: Budget,
    measured: Vec<Authority>,
}

/// What is wrong with an entry.
enum Forbidden {
    ByCertificate(Authority),
    ByCertificateHash(Authority),
    Unreadable,
}

impl Judge<'_> {
    fn signed(&mut self) -> Result<Verdict, Error> {
        match self.walk() {
            Ok(verdict) => verdict.map(|verdict| {
                let measured = core::mem::take(&mut self.measured);
                verdict.measuring(measured)
            }),
            Err(_) => Ok(Verdict::new(Reason::TooComplex)),
        }
    }

    /// Goes through the table. The outer error is that of too much work.
    fn walk(&mut self) -> Result<Result<Verdict, Error>, ChainProblem> {
        let mut allowed: Option<Verdict> = None;
        for (index, entry) in self.image.entries().iter().enumerate() {
            let (Some(algorithm), Some(data)) = (entry.firmware_hash(), entry.pkcs7_data()) else {
                continue;
            };
            let Some(digest) = self.image.loaded(algorithm) else {
                return Ok(Err(Error::NotHashed { algorithm }));
            };
            let mut blob = Blob::parse(data);
            if let Some(forbidden) = self.forbidden(blob.as_mut(), &digest)? {
                let verdict = match forbidden {
                    Forbidden::ByCertificate(entry) => {
                        Verdict::new(Reason::DeniedCertificate).by(Some(index), Some(entry))
                    }
                    Forbidden::ByCertificateHash(entry) => {
                        Verdict::new(Reason::DeniedCertificateHash).by(Some(index), Some(entry))
                    }
                    Forbidden::Unreadable => {
                        Verdict::new(Reason::UnreadableSigner).by(Some(index), None)
                    }
                };
                return Ok(Ok(verdict));
            }
            if allowed.is_none()
                && let Some(blob) = blob.as_mut()
                && let Some(authority) = self.allowed(blob, &digest)?
            {
                self.measured.push(authority.clone());
                allowed = Some(
                    Verdict::new(Reason::AllowedByCertificate).by(Some(index), Some(authority)),
                );
            }
            if let Some(entry) = self.databases.dbx.find_hash(&digest) {
                let authority = Some((Variable::Dbx, entry).into());
                return Ok(Ok(
                    Verdict::new(Reason::DeniedHash).by(Some(index), authority)
                ));
            }
            if allowed.is_none()
                && let Some(entry) = self.databases.db.find_hash(&digest)
            {
                let authority = Authority::from((Variable::Db, entry));
                self.measured.push(authority.clone());
                allowed =
                    Some(Verdict::new(Reason::AllowedByHash).by(Some(index), Some(authority)));
            }
        }
        if self.image.table().problem().is_some() {
            return Ok(Ok(Verdict::new(Reason::BrokenTable)));
        }
        Ok(Ok(allowed.unwrap_or_else(|| not_trusted(self.image))))
    }

    fn forbidden(
        &mut self,
        blob: Option<&mut Blob<'_>>,
        image: &Digest,
    ) -> Result<Option<Forbidden>, ChainProblem> {
        let databases = self.databases;
        if !databases.dbx.exists() {
            return Ok(None);
        }
        let Some(blob) = blob else {
            return Ok(Some(Forbidden::Unreadable));
        };
        for (entry, certificate) in databases.dbx.certificates() {
            if blob.verify(certificate, image, &mut self.budget)? {
                return Ok(Some(Forbidden::ByCertificate(
                    (Variable::Dbx, entry).into(),
                )));
            }
        }
        let signers: Vec<Certificate> = blob.signers().cloned().collect();
        for signer in &signers {
            if let Some((entry, time)) = databases.dbx.find_certificate_hash(signer)
                && !self.was_signed_before(time, blob)
            {
                return Ok(Some(Forbidden::ByCertificateHash(
                    (Variable::Dbx, entry).into(),
                )));
            }
        }
        Ok(None)
    }

    /// The first certificate of db that verifies decides, even if it turns out to be revoked.
    fn allowed(
        &mut self,
        blob: &mut Blob<'_>,
        image: &Digest,
    ) -> Result<Option<Authority>, ChainProblem> {
        let databases = self.databases;
        for (entry, certificate) in databases.db.certificates() {
            if !blob.verify(certificate, image, &mut self.budget)? {
                continue;
            }
            return Ok(match databases.dbx.find_certificate_hash(certificate) {
                Some((_, time)) if !self.was_signed_before(time, blob) => None,
                _ => Some((Variable::Db, entry).into()),
            });
        }
        Ok(None)
    }

    /// Whether a timestamp by an authority of dbt is not later than the revocation.
    fn was_signed_before(&mut self, revoked: RevocationTime, blob: &Blob<'_>) -> bool {
        if revoked.is_zero() {
            return false;
        }
        let Some(signer) = blob.first_signer() else {
            return false;
        };
        let Some(token) = signer.unsigned(oid::RFC3161_TOKEN).next() else {
            return false;
        };
        let budget = &mut self.budget;
        self.databases.dbt.certificates().any(|(_, root)| {
            let root = core::slice::from_ref(root);
            timestamp::check(
                token.raw,
                signer.signature,
                root,
                TimestampAuthority::Any,
                Keys::Firmware,
                budget,
            )
            .is_ok_and(|stamp| !revoked.is_before(stamp.time))
        })
    }
}
