use alloc::vec::Vec;
use core::fmt;

use crate::{AuthenticatedUpdate, EfiTime, HashAlgorithm, SignedData};

/// Something about an update that some firmware refuses, whoever signed it for whatever.
///
/// Whether the signature is good, and for what, is told by [`AuthenticatedUpdate::explain`]; what a machine does with it by the
/// firmware model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum UpdateProblem {
    /// `wRevision` is not 0x0200: edk2 does not look at it, others do.
    Revision {
        /// `wRevision`.
        found: u16,
    },
    /// Nanoseconds, time zone, daylight or padding are set: all firmware refuses it.
    TimeNotPlain,
    /// The date does not exist: firmware compares it all the same.
    NoSuchDate,
    /// A `ContentInfo` stands around the `SignedData`: edk2 up to 2022.11 refuses it.
    ContentInfo,
    /// Not SHA-256: SHA-1 is refused by all firmware, SHA-384 and SHA-512 by edk2 up to 2022.11; nothing for an unknown digest.
    Digest(Option<HashAlgorithm>),
    /// The signer's certificate is not in the PKCS#7: all firmware refuses it.
    NoSignerCertificate,
    /// Several signers: all of them have to be trusted.
    SeveralSigners {
        /// How many.
        found: usize,
    },
    /// The time is more than a year after the present: a lock against all updates but appends.
    FarFuture,
}

impl AuthenticatedUpdate<'_> {
    /// What some firmware refuses about its form; empty for what this crate writes.
    ///
    /// # Examples
    ///
    /// ```
    /// use efivars::{AuthenticatedUpdate, EfiTime, Update, UpdateProblem};
    /// let update = Update::delete(efivars::DB, EfiTime::new(2099, 1, 1, 0, 0, 0)?)?.unsigned()?;
    /// let update = AuthenticatedUpdate::parse(update.to_bytes())?;
    /// assert!(update.problems(None).is_empty());
    /// let now = EfiTime::new(2026, 11, 27, 0, 0, 0)?;
    /// assert_eq!(update.problems(Some(now)), [UpdateProblem::FarFuture]);
    /// # Ok::<(), efivars::Error>(())
    /// ```
    #[must_use]
    pub fn problems(&self, now: Option<EfiTime>) -> Vec<UpdateProblem> {
        let mut problems = Vec::new();
        if self.revision() != 0x0200 {
            problems.push(UpdateProblem::Revision {
                found: self.revision(),
            });
        }
        if !self.time().is_plain() {
            problems.push(UpdateProblem::TimeNotPlain);
        }
        if !self.time().exists() {
            problems.push(UpdateProblem::NoSuchDate);
        }
        if now.is_some_and(|now| self.time().is_far_after(now)) {
            problems.push(UpdateProblem::FarFuture);
        }
        if let Ok(Some(signature)) = self.signed_data() {
            problems.extend(of_signature(&signature));
        }
        problems
    }
}

fn of_signature(signature: &SignedData) -> Vec<UpdateProblem> {
    let mut problems = Vec::new();
    if signature.is_wrapped() {
        problems.push(UpdateProblem::ContentInfo);
    }
    let digests = signature
        .hash_algorithms()
        .filter(|digest| *digest != Some(HashAlgorithm::Sha256));
    problems.extend(digests.map(UpdateProblem::Digest));
    let mut signers = 0usize;
    for certificate in signature.signer_certificates() {
        signers = signers.saturating_add(1);
        if certificate.is_none() {
            problems.push(UpdateProblem::NoSignerCertificate);
        }
    }
    if signers > 1 {
        problems.push(UpdateProblem::SeveralSigners { found: signers });
    }
    problems
}

impl fmt::Display for UpdateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision { found } => write!(f, "revision {found:#06x} instead of 0x0200"),
            Self::TimeNotPlain => f.write_str(
                "nanoseconds, time zone, daylight or padding are set in the time: firmware refuses it",
            ),
            Self::NoSuchDate => f.write_str("the time is a date that does not exist"),
            Self::ContentInfo => f.write_str(
                "a ContentInfo around the SignedData: edk2 up to 2022.11 refuses it",
            ),
            Self::Digest(Some(HashAlgorithm::Sha1)) => {
                f.write_str("signed with SHA-1: firmware refuses it")
            }
            Self::Digest(Some(digest)) => {
                write!(f, "signed with {digest}: edk2 up to 2022.11 refuses it")
            }
            Self::Digest(None) => f.write_str("signed with an unknown digest: firmware refuses it"),
            Self::NoSignerCertificate => {
                f.write_str("the signer's certificate is not embedded: firmware refuses it")
            }
            Self::SeveralSigners { found } => write!(f, "{found} signers instead of one"),
            Self::FarFuture => f.write_str(
                "the time is more than a year ahead: until then, the variable takes nothing but appends",
            ),
        }
    }
}
