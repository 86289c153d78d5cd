//! What firmware decides about an image, and by which database entry.

use alloc::vec::Vec;
use core::fmt;

use crate::hash::HashAlgorithm;

mod database;
mod denial;
mod edk2;
mod openssl;
mod sbat;
mod shim;

pub use database::{DatabaseEntry, Guid, SignatureDatabase, SignatureType};
pub use denial::Denial;
pub use edk2::Edk2;
pub use sbat::{SbatComponent, SbatLevel};
pub use shim::{Shim, ShimCaller};

/// The firmware variables that decide about images.
///
/// ```
/// # fn demo(certificate: &authenticode::Certificate, file: &[u8]) -> Result<(), authenticode::Error> {
/// use authenticode::{Databases, Edk2, Image, ImageOptions, SignatureDatabase};
/// let databases = Databases::new().db(SignatureDatabase::from_certificates([certificate]));
/// let image = Image::parse_with(file, &ImageOptions::new().also(&databases.hashes()))?;
/// let verdict = databases.judge(&image, Edk2::Stable202502)?;
/// println!("{}", verdict.reason());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Databases {
    db: SignatureDatabase,
    dbx: SignatureDatabase,
    dbt: SignatureDatabase,
}

impl Databases {
    /// Empty ones.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is allowed.
    #[must_use]
    pub fn db(mut self, db: SignatureDatabase) -> Self {
        self.db = db;
        self
    }

    /// What is forbidden. A variable without any list is one that does not exist.
    #[must_use]
    pub fn dbx(mut self, dbx: SignatureDatabase) -> Self {
        self.dbx = dbx;
        self
    }

    /// Authorities of timestamps, which matter for entries of `dbx` with a revocation time.
    #[must_use]
    pub fn dbt(mut self, dbt: SignatureDatabase) -> Self {
        self.dbt = dbt;
        self
    }

    /// The hash algorithms of image hashes in `db` and `dbx`: an image must be hashed with them to be judged.
    #[must_use]
    pub fn hashes(&self) -> Vec<HashAlgorithm> {
        let mut all = self.db.hashes();
        all.extend(self.dbx.hashes());
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// A variable that an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variable {
    /// `db`.
    Db,
    /// `dbx`.
    Dbx,
    /// `MokListRT`, shim's own list.
    MokList,
    /// `MokListX`.
    MokListX,
    /// The list that is built into shim.
    VendorDb,
    /// The denial list that is built into shim.
    VendorDbx,
    /// The certificate that is built into shim; measured as `Shim`, without an owner.
    Shim,
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Db => "db",
            Self::Dbx | Self::VendorDbx => "dbx",
            Self::MokList => "MokListRT",
            Self::MokListX => "MokListX",
            Self::VendorDb => "vendor_db",
            Self::Shim => "Shim",
        })
    }
}

/// The entry of a database that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authority {
    /// Where it is.
    pub variable: Variable,
    /// Its type.
    pub kind: SignatureType,
    /// The `EFI_SIGNATURE_DATA`, owner first: the data that PCR 7 records with the variable's name.
    pub signature_data: Vec<u8>,
}

/// Why firmware allows or refuses an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A signature is by a certificate of the allowed ones.
    AllowedByCertificate,
    /// The hash of the image is allowed.
    AllowedByHash,
    /// A signature is by a forbidden certificate.
    DeniedCertificate,
    /// The hash of the signer's certificate is forbidden.
    DeniedCertificateHash,
    /// The hash of the image is forbidden.
    DeniedHash,
    /// The image is not signed, and its hash is not allowed.
    NotSigned,
    /// No signature is by an allowed certificate.
    NotTrusted,
    /// A signature holds, but firmware does not know its kind: elliptic curves, Ed25519, PSS.
    UnknownAlgorithm,
    /// The signer of a signature cannot be told, which firmware takes as forbidden once there is a `dbx`.
    UnreadableSigner,
    /// The signature table does not end where it should, or data follows it.
    BrokenTable,
    /// The subsystem is not one of EFI.
    NotEfi,
    /// There is no `.sbat` section, which shim demands.
    SbatMissing,
    /// The `.sbat` section is malformed.
    SbatMalformed,
    /// A component's generation is below the SBAT level.
    SbatRevoked,
    /// The platform demands NX, and the image is not marked as compatible or has writable code.
    NxMissing,
    /// Relocations are stripped, or the header is otherwise not what shim takes.
    BadHeader,
    /// Judging would take more work than is sensible.
    TooComplex,
}

impl Reason {
    /// One word for reports of programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowedByCertificate => "allowed_by_certificate",
            Self::AllowedByHash => "allowed_by_hash",
            Self::DeniedCertificate => "denied_certificate",
            Self::DeniedCertificateHash => "denied_certificate_hash",
            Self::DeniedHash => "denied_hash",
            Self::NotSigned => "not_signed",
            Self::NotTrusted => "not_trusted",
            Self::UnknownAlgorithm => "algorithm_unknown_to_firmware",
            Self::UnreadableSigner => "unreadable_signer",
            Self::BrokenTable => "broken_table",
            Self::NotEfi => "not_efi",
            Self::SbatMissing => "sbat_missing",
            Self::SbatMalformed => "sbat_malformed",
            Self::SbatRevoked => "sbat_revoked",
            Self::NxMissing => "nx_missing",
            Self::BadHeader => "bad_header",
            Self::TooComplex => "too_complex",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllowedByCertificate => "a signature is by an allowed certificate",
            Self::AllowedByHash => "the hash of the image is allowed",
            Self::DeniedCertificate => "a signature is by a forbidden certificate",
            Self::DeniedCertificateHash => "the hash of the signer's certificate is forbidden",
            Self::DeniedHash => "the hash of the image is forbidden",
            Self::NotSigned => "the image is not signed and its hash is not allowed",
            Self::NotTrusted => "no signature is by an allowed certificate",
            Self::UnknownAlgorithm => "a signature is of a kind that firmware does not know",
            Self::UnreadableSigner => "the signer of a signature cannot be told",
            Self::BrokenTable => "the signature table does not end where it should",
            Self::NotEfi => "the image is not an EFI application or driver",
            Self::SbatMissing => "there is no .sbat section",
            Self::SbatMalformed => "the .sbat section is malformed",
            Self::SbatRevoked => "a component is older than the SBAT level",
            Self::NxMissing => "the image is not NX compatible",
            Self::BadHeader => "the header is not what the loader takes",
            Self::TooComplex => "judging the image takes too much work",
        })
    }
}

/// What firmware decides.
#[must_use = "a verdict does nothing by itself"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    allowed: bool,
    reason: Reason,
    signature: Option<usize>,
    decisive: Option<Authority>,
    measured: Vec<Authority>,
}

impl Verdict {
    pub(crate) fn new(reason: Reason) -> Self {
        let allowed = matches!(reason, Reason::AllowedByCertificate | Reason::AllowedByHash);
        Self {
            allowed,
            reason,
            signature: None,
            decisive: None,
            measured: Vec::new(),
        }
    }

    pub(crate) fn by(mut self, signature: Option<usize>, decisive: Option<Authority>) -> Self {
        self.signature = signature;
        self.decisive = decisive;
        self
    }

    pub(crate) fn measuring(mut self, measured: Vec<Authority>) -> Self {
        self.measured = measured;
        self
    }

    /// Whether the image would be started.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Why, or why not.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The number of the signature that decided.
    #[must_use]
    pub fn signature(&self) -> Option<usize> {
        self.signature
    }

    /// The database entry that decided, allowing or denying.
    #[must_use]
    pub fn decisive(&self) -> Option<&Authority> {
        self.decisive.as_ref()
    }

    /// The entries that are recorded in PCR 7 while the image is judged, in order. A refused image can have some: a good
    /// certificate is recorded before a forbidden hash is found.
    #[must_use]
    pub fn measured(&self) -> &[Authority] {
        &self.measured
    }
}
