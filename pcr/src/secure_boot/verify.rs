//! Whether firmware or shim starts an image, and by which entry of which database.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;
use core::fmt;

use super::certificate::Certificate;
use super::error::SecureBootError;
use super::image::BootImage;
use super::pkcs7::{self, SignedData};
use super::shim::ShimLists;
use super::signature_list::Entry;
use super::timestamp;
use super::variables::{KeyVariable, SecureBootVariables};
use crate::bank::{Bank, Digest};
use crate::event_log::{Guid, VariableData};

/// What becomes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It is started because an entry of a database authorises it.
    Authorized,
    /// It is started because nothing is verified: Secure Boot is off.
    Unverified,
    /// It is taken as started because its authorities were given.
    Stated,
    /// It is refused: no entry of db is for it.
    NotInDb,
    /// It is refused: a certificate that signed it is in dbx.
    SignerInDbx,
    /// It is refused: its digest is in dbx.
    DigestInDbx,
    /// It is refused: its certificate table does not end where it says.
    BrokenTable,
}

impl Verdict {
    /// Whether the image is started.
    #[must_use]
    pub const fn is_started(self) -> bool {
        matches!(self, Self::Authorized | Self::Unverified | Self::Stated)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorized => "authorised by db",
            Self::Unverified => "started without verification",
            Self::Stated => "authorised as stated",
            Self::NotInDb => "refused: neither a signer nor the digest is in db",
            Self::SignerInDbx => "refused: a signer is in dbx",
            Self::DigestInDbx => "refused: the digest is in dbx",
            Self::BrokenTable => "refused: the certificate table is broken",
        })
    }
}

const LONGEST_FIRST: [Bank; 4] = [Bank::Sha512, Bank::Sha384, Bank::Sha256, Bank::Sha1];

/// The databases that firmware looks into.
pub(super) struct Databases<'a> {
    db: Vec<Entry<'a>>,
    dbx: Vec<Entry<'a>>,
    dbt: Vec<Entry<'a>>,
    /// The digests by which unsigned images are looked up, in this order.
    unsigned: &'static [Bank],
}

impl<'a> Databases<'a> {
    pub(super) fn new(
        variables: &'a SecureBootVariables,
        sha256_only: bool,
    ) -> Result<Self, SecureBootError> {
        Ok(Self {
            unsigned: if sha256_only {
                &[Bank::Sha256]
            } else {
                &LONGEST_FIRST
            },
            db: variables.entries(KeyVariable::Db)?,
            dbx: variables.entries(KeyVariable::Dbx)?,
            dbt: variables.entries(KeyVariable::Dbt)?,
        })
    }
}

/// The entries that are measured for an image, and what becomes of it.
pub(super) type Decision = (Vec<VariableData>, Verdict);

fn db_authority(entry: &Entry<'_>) -> VariableData {
    VariableData::new(Guid::IMAGE_SECURITY, "db", entry.bytes)
}

/// One signature of an image, as far as it does not depend on databases.
struct Signature<'a> {
    data: Option<SignedData<'a>>,
    /// Whether it is a right signature over the image, whoever made it.
    holds: bool,
    bytes: &'a [u8],
}

impl<'a> Signature<'a> {
    fn new(bytes: &'a [u8], digest: &Digest) -> Self {
        let data = SignedData::parse(bytes);
        let holds = data
            .as_ref()
            .is_some_and(|data| data.is_about(digest) && data.signatures_hold());
        Self { data, holds, bytes }
    }

    /// Whether the certificate of this entry vouches for the image.
    fn is_by(&self, entry: &Entry<'_>) -> bool {
        let anchor = || entry.certificate().and_then(Certificate::parse);
        self.holds
            && self
                .data
                .as_ref()
                .is_some_and(|data| anchor().is_some_and(|anchor| data.chains_to(&anchor)))
    }

    fn is_forbidden(&self, databases: &Databases<'_>) -> bool {
        if databases.dbx.is_empty() {
            return false;
        }
        if databases.dbx.iter().any(|entry| self.is_by(entry)) {
            return true;
        }
        let signers = self.data.as_ref().and_then(SignedData::signer_certificates);
        let Some(signers) = signers else {
            return true;
        };
        signers
            .iter()
            .any(|signer| self.is_revoked(signer.tbs, databases))
    }

    /// Whether dbx holds the hash of this TBSCertificate, and no time stamp shows an earlier signature.
    fn is_revoked(&self, tbs: &[u8], databases: &Databases<'_>) -> bool {
        let time = databases.dbx.iter().find_map(|entry| entry.revokes(tbs));
        time.is_some_and(|time| !timestamp::is_before(self.bytes, time, &databases.dbt))
    }
}

fn digest_of(image: &BootImage, number: usize, bank: Bank) -> Result<&Digest, SecureBootError> {
    image.digest(bank).ok_or(SecureBootError::MissingDigest {
        image: number,
        bank,
    })
}

/// edk2's `DxeImageVerificationHandler`, with Secure Boot on.
pub(super) fn by_firmware(
    image: &BootImage,
    number: usize,
    databases: &Databases<'_>,
) -> Result<Decision, SecureBootError> {
    if !image.is_signed {
        return unsigned(image, number, databases);
    }
    let mut authorities = Vec::new();
    let mut verdict = Verdict::NotInDb;
    for bytes in &image.signatures {
        let Some(bank) = pkcs7::image_hash(bytes) else {
            continue;
        };
        let digest = digest_of(image, number, bank)?;
        let signature = Signature::new(bytes, digest);
        if signature.is_forbidden(databases) {
            return Ok((authorities, Verdict::SignerInDbx));
        }
        if verdict == Verdict::NotInDb
            && let Some(entry) = databases.db.iter().find(|entry| signature.is_by(entry))
        {
            // A revoked winner ends the search: no other entry is tried for this signature.
            let winner = entry.certificate().and_then(Certificate::parse);
            if !winner.is_some_and(|winner| signature.is_revoked(winner.tbs, databases)) {
                authorities.push(db_authority(entry));
                verdict = Verdict::Authorized;
            }
        }
        if databases.dbx.iter().any(|entry| entry.is_image(digest)) {
            return Ok((authorities, Verdict::DigestInDbx));
        }
        if verdict == Verdict::NotInDb
            && let Some(entry) = databases.db.iter().find(|entry| entry.is_image(digest))
        {
            authorities.push(db_authority(entry));
            verdict = Verdict::Authorized;
        }
    }
    if !image.is_whole {
        verdict = Verdict::BrokenTable;
    }
    Ok((authorities, verdict))
}

/// Unsigned images are looked up by one digest after the other, the longest first; each hit is measured.
fn unsigned(
    image: &BootImage,
    number: usize,
    databases: &Databases<'_>,
) -> Result<Decision, SecureBootError> {
    let mut authorities = Vec::new();
    for &bank in databases.unsigned {
        let concerned = |entry: &Entry<'_>| entry.is_hash_of(bank);
        if !databases.db.iter().any(concerned) && !databases.dbx.iter().any(concerned) {
            continue;
        }
        let digest = digest_of(image, number, bank)?;
        if databases.dbx.iter().any(|entry| entry.is_image(digest)) {
            return Ok((authorities, Verdict::DigestInDbx));
        }
        if let Some(entry) = databases.db.iter().find(|entry| entry.is_image(digest)) {
            authorities.push(db_authority(entry));
        }
    }
    let verdict = if authorities.is_empty() {
        Verdict::NotInDb
    } else {
        Verdict::Authorized
    };
    Ok((authorities, verdict))
}

/// shim's `verify_buffer`: by digest or certificate in db, in the mirrored MOK list, or by its own certificate.
pub(super) fn by_shim(
    image: &BootImage,
    number: usize,
    databases: &Databases<'_>,
    lists: &ShimLists<'_>,
) -> Result<Decision, SecureBootError> {
    let sha256 = digest_of(image, number, Bank::Sha256)?;
    let digests: Vec<&Digest> = [Some(sha256), image.digest(Bank::Sha1)]
        .into_iter()
        .flatten()
        .collect();
    let is_listed = |entry: &Entry<'_>| digests.iter().any(|digest| entry.is_image(digest));
    if databases.dbx.iter().chain(&lists.mok_x).any(is_listed) {
        return Ok((Vec::new(), Verdict::DigestInDbx));
    }
    let authority = |entry: &Entry<'_>, is_mok: bool| {
        let value = match entry.certificate() {
            Some(certificate) if !lists.with_owner => certificate,
            _ => entry.bytes,
        };
        if is_mok {
            VariableData::new(Guid::SHIM_LOCK, lists.mok_name, value)
        } else {
            VariableData::new(Guid::IMAGE_SECURITY, "db", value)
        }
    };
    let sources = [(&databases.db, false), (&lists.mok, true)];
    if image.signatures.is_empty() {
        let found = sources.iter().find_map(|(list, is_mok)| {
            Some(authority(
                list.iter().find(|entry| is_listed(entry))?,
                *is_mok,
            ))
        });
        return Ok(match found {
            Some(found) => (Vec::from([found]), Verdict::Authorized),
            None => (Vec::new(), Verdict::NotInDb),
        });
    }
    for bytes in &image.signatures {
        let signature = Signature::new(bytes, sha256);
        if databases
            .dbx
            .iter()
            .chain(&lists.mok_x)
            .any(|entry| signature.is_by(entry))
        {
            return Ok((Vec::new(), Verdict::SignerInDbx));
        }
        for (list, is_mok) in &sources {
            let by_digest = list.iter().find(|entry| is_listed(entry));
            // shim looks only at the first certificate of each list.
            let leading = list
                .chunk_by(|one, other| one.list() == other.list())
                .filter_map(<[_]>::first);
            let entry =
                by_digest.or_else(|| leading.into_iter().find(|entry| signature.is_by(entry)));
            if let Some(entry) = entry {
                return Ok((Vec::from([authority(entry, *is_mok)]), Verdict::Authorized));
            }
        }
        if let Some(vendor) = lists.vendor_certificate
            && let Some(anchor) = Certificate::parse(vendor)
            && signature.holds
            && signature
                .data
                .as_ref()
                .is_some_and(|data| data.chains_to(&anchor))
        {
            let authority = VariableData::new(Guid::SHIM_LOCK, "Shim", vendor);
            return Ok((Vec::from([authority]), Verdict::Authorized));
        }
    }
    Ok((Vec::new(), Verdict::NotInDb))
}
