//! shim (16.x): the loader that has lists and certificates of its own.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use super::database::{DatabaseEntry, SignatureDatabase};
use super::edk2::not_trusted;
use super::openssl::Blob;
use super::sbat::{self, Found, SbatLevel};
use super::{Authority, Databases, Reason, SignatureType, Variable, Verdict};
use crate::certificate::Certificate;
use crate::chain::{Budget, ChainProblem};
use crate::error::Error;
use crate::hash::{Digest, HashAlgorithm};
use crate::image::Image;
use crate::table::EntryType;

/// Who asks shim about an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShimCaller {
    /// shim itself, before it loads its second stage (or what that loads through it): `.sbat` is mandatory.
    #[default]
    Loader,
    /// Another program through the shim-lock protocol: `.sbat` is optional.
    Protocol,
}

/// shim with its lists.
///
/// ```
/// # fn demo(image: &authenticode::Image, databases: authenticode::Databases, mok: &[u8]) -> Result<(), authenticode::Error> {
/// use authenticode::{SbatLevel, Shim, SignatureDatabase};
/// let mut shim = Shim::new(databases).mok_list(SignatureDatabase::parse(mok)?);
/// if let Some(level) = SbatLevel::parse(b"sbat,1,2024010900\nshim,4\n") {
///     shim = shim.sbat_level(level);
/// }
/// println!("{}", shim.judge(image)?.reason());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Shim {
    databases: Databases,
    mok_list: SignatureDatabase,
    mok_list_x: SignatureDatabase,
    vendor_db: SignatureDatabase,
    vendor_dbx: SignatureDatabase,
    vendor_certificate: Option<Certificate>,
    level: Option<SbatLevel>,
    require_nx: bool,
    ignore_db: bool,
    caller: ShimCaller,
}

/// EKU of keys that are for kernel modules only: 1.3.6.1.4.1.2312.16.1.2.
const MODULE_SIGNING: &[u8] = &[0x2b, 6, 1, 4, 1, 0x92, 0x08, 16, 1, 2];

const RELOCS_STRIPPED: u16 = 1;
const NX_COMPAT: u16 = 0x0100;
const UNINITIALIZED: u32 = 0x80;
const DISCARDABLE: u32 = 0x0200_0000;
const EXECUTE: u32 = 0x2000_0000;
const READ: u32 = 0x4000_0000;
const WRITE: u32 = 0x8000_0000;

impl Shim {
    /// shim on a machine with these databases, without lists of its own.
    #[must_use]
    pub fn new(databases: Databases) -> Self {
        Self {
            databases,
            ..Self::default()
        }
    }

    /// `MokListRT`.
    #[must_use]
    pub fn mok_list(mut self, list: SignatureDatabase) -> Self {
        self.mok_list = list;
        self
    }

    /// `MokListX`.
    #[must_use]
    pub fn mok_list_x(mut self, list: SignatureDatabase) -> Self {
        self.mok_list_x = list;
        self
    }

    /// The list built in by its vendor.
    #[must_use]
    pub fn vendor_db(mut self, list: SignatureDatabase) -> Self {
        self.vendor_db = list;
        self
    }

    /// The denial list built in by its vendor.
    #[must_use]
    pub fn vendor_dbx(mut self, list: SignatureDatabase) -> Self {
        self.vendor_dbx = list;
        self
    }

    /// The certificate built in by its vendor.
    #[must_use]
    pub fn vendor_certificate(mut self, certificate: Certificate) -> Self {
        self.vendor_certificate = Some(certificate);
        self
    }

    /// The level of SBAT; without one, `.sbat` sections are not looked at.
    #[must_use]
    pub fn sbat_level(mut self, level: SbatLevel) -> Self {
        self.level = Some(level);
        self
    }

    /// Whether the platform demands NX.
    #[must_use]
    pub fn require_nx(mut self, require: bool) -> Self {
        self.require_nx = require;
        self
    }

    /// Whether the user told shim to leave `db` out (`mokutil --ignore-db`).
    #[must_use]
    pub fn ignore_db(mut self, ignore: bool) -> Self {
        self.ignore_db = ignore;
        self
    }

    /// Who asks.
    #[must_use]
    pub fn caller(mut self, caller: ShimCaller) -> Self {
        self.caller = caller;
        self
    }

    /// The hash algorithms that an image must be hashed with to be judged.
    #[must_use]
    pub fn hashes(&self) -> Vec<HashAlgorithm> {
        let lists = [&self.databases.db, &self.databases.dbx, &self.vendor_dbx];
        let sha1 = lists
            .into_iter()
            .any(|list| list.hashes().contains(&HashAlgorithm::Sha1));
        if sha1 {
            alloc::vec![HashAlgorithm::Sha1, HashAlgorithm::Sha256]
        } else {
            alloc::vec![HashAlgorithm::Sha256]
        }
    }

    /// What shim decides.
    ///
    /// # Errors
    /// [`Error::NotHashed`], see [`hashes`](Self::hashes).
    pub fn judge(&self, image: &Image) -> Result<Verdict, Error> {
        if let Some(reason) = self.header_problem(image) {
            return Ok(Verdict::new(reason));
        }
        let verdict = self.authenticode(image)?;
        if !verdict.is_allowed() {
            return Ok(verdict);
        }
        Ok(match self.sbat_problem(image) {
            Some(reason) => Verdict::new(reason).measuring(verdict.measured),
            None => verdict,
        })
    }

    fn header_problem(&self, image: &Image) -> Option<Reason> {
        let layout = &image.layout;
        if layout.characteristics & RELOCS_STRIPPED != 0 {
            return Some(Reason::BadHeader);
        }
        if layout.is_signed() && layout.table_end() != image.len() {
            return Some(Reason::BrokenTable);
        }
        if self.require_nx && layout.dll_characteristics & NX_COMPAT == 0 {
            return Some(Reason::NxMissing);
        }
        if self.caller == ShimCaller::Protocol {
            return None;
        }
        let loaded = layout.sections.iter().filter(|section| {
            section.characteristics & READ != 0 && section.characteristics & DISCARDABLE == 0
        });
        for section in loaded {
            let both = WRITE | EXECUTE;
            if self.require_nx && section.characteristics & both == both {
                return Some(Reason::NxMissing);
            }
            let in_headers = section.start() < layout.headers_len
                || u64::from(section.virtual_address) < layout.headers_len;
            if section.characteristics & UNINITIALIZED == 0 && in_headers {
                return Some(Reason::BadHeader);
            }
        }
        None
    }

    fn sbat_problem(&self, image: &Image) -> Option<Reason> {
        let level = self
            .level
            .as_ref()
            .filter(|level| !level.components().is_empty())?;
        match sbat::of_image(image) {
            Found::Nothing if self.caller == ShimCaller::Protocol => None,
            Found::Nothing => Some(Reason::SbatMissing),
            Found::Malformed => Some(Reason::SbatMalformed),
            Found::Components(all) => all
                .iter()
                .any(|component| level.revokes(component))
                .then_some(Reason::SbatRevoked),
        }
    }

    fn authenticode(&self, image: &Image) -> Result<Verdict, Error> {
        let digest = |algorithm| {
            // shim pads what follows the sections of an unsigned image, and only that.
            let digest = if !image.is_signed() && image.len() > image.layout.sum {
                image.as_signed().loaded(algorithm)
            } else {
                image.loaded(algorithm)
            };
            digest.ok_or(Error::NotHashed { algorithm })
        };
        let sha256 = digest(HashAlgorithm::Sha256)?;
        let mut digests = alloc::vec![sha256];
        if self.hashes().contains(&HashAlgorithm::Sha1) {
            digests.push(digest(HashAlgorithm::Sha1)?);
        }
        if let Some(found) = find_hash(&self.denied(), &digests) {
            return Ok(Verdict::new(Reason::DeniedHash)
                .by(None, Some(found.clone()))
                .measuring(alloc::vec![found]));
        }
        if let Some(found) = find_hash(&self.allowed(), &digests) {
            return Ok(Verdict::new(Reason::AllowedByHash)
                .by(None, Some(found.clone()))
                .measuring(alloc::vec![found]));
        }
        if !image.is_signed() {
            return Ok(Verdict::new(Reason::NotSigned));
        }
        Ok(self
            .signatures(image, &sha256)
            .unwrap_or(Verdict::new(Reason::TooComplex)))
    }

    /// Any good signature allows the image; a forbidden certificate only spoils its own signature.
    fn signatures(&self, image: &Image, digest: &Digest) -> Result<Verdict, ChainProblem> {
        let mut budget = Budget::default();
        let mut measured = Vec::new();
        let mut verdict = Verdict::new(Reason::NotTrusted);
        for (index, entry) in image.entries().iter().enumerate() {
            if entry.kind() != EntryType::PKCS_SIGNED_DATA {
                continue;
            }
            let Some(mut blob) = Blob::parse(entry.data()) else {
                continue;
            };
            let (reason, found) =
                match find_certificate(&self.denied(), &mut blob, digest, &mut budget)? {
                    Some(found) => (Reason::DeniedCertificate, Some(found)),
                    None => {
                        match find_certificate(&self.allowed(), &mut blob, digest, &mut budget)? {
                            Some(found) => (Reason::AllowedByCertificate, Some(found)),
                            None => self.built_in(&mut blob, digest, &mut budget)?,
                        }
                    }
                };
            measured.extend(found.clone());
            if !verdict.is_allowed() {
                verdict = Verdict::new(reason).by(Some(index), found);
            }
        }
        if image.table().problem().is_some() {
            verdict = Verdict::new(Reason::BrokenTable);
        } else if verdict.reason() == Reason::NotTrusted {
            verdict = not_trusted(image);
        }
        Ok(verdict.measuring(measured))
    }

    fn built_in(
        &self,
        blob: &mut Blob<'_>,
        digest: &Digest,
        budget: &mut Budget,
    ) -> Result<(Reason, Option<Authority>), ChainProblem> {
        if let Some(certificate) = &self.vendor_certificate
            && blob.verify(certificate, digest, budget)?
        {
            let signature_data = certificate.as_der().to_vec();
            let found = Authority {
                variable: Variable::Shim,
                kind: SignatureType::X509,
                signature_data,
            };
            return Ok((Reason::AllowedByCertificate, Some(found)));
        }
        Ok((Reason::NotTrusted, None))
    }

    fn denied(&self) -> Vec<(Variable, &SignatureDatabase)> {
        alloc::vec![
            (Variable::VendorDbx, &self.vendor_dbx),
            (Variable::Dbx, &self.databases.dbx),
            (Variable::MokListX, &self.mok_list_x),
        ]
    }

    fn allowed(&self) -> Vec<(Variable, &SignatureDatabase)> {
        let mut lists = Vec::new();
        if !self.ignore_db {
            lists.push((Variable::Db, &self.databases.db));
        }
        lists.push((Variable::VendorDb, &self.vendor_db));
        lists.push((Variable::MokList, &self.mok_list));
        lists
    }
}

fn find_hash(lists: &[(Variable, &SignatureDatabase)], digests: &[Digest]) -> Option<Authority> {
    lists.iter().find_map(|(variable, list)| {
        // Its own lists are searched by SHA-256 only.
        let all = matches!(variable, Variable::Db | Variable::Dbx | Variable::VendorDbx);
        let count = if all { digests.len() } else { 1 };
        let entry = digests
            .iter()
            .take(count)
            .find_map(|digest| list.find_hash(digest))?;
        Some((*variable, entry).into())
    })
}

fn find_certificate(
    lists: &[(Variable, &SignatureDatabase)],
    blob: &mut Blob<'_>,
    digest: &Digest,
    budget: &mut Budget,
) -> Result<Option<Authority>, ChainProblem> {
    for (variable, list) in lists {
        for (entry, certificate) in list
            .certificates()
            .filter(|(entry, certificate)| is_taken(entry, certificate))
        {
            if blob.verify(certificate, digest, budget)? {
                return Ok(Some((*variable, entry).into()));
            }
        }
    }
    Ok(None)
}

/// shim takes the first certificate of a list, if its length has two bytes and it is not for kernel modules.
fn is_taken(entry: &DatabaseEntry, certificate: &Certificate) -> bool {
    let usage = certificate.extensions.extended_key_usage.as_ref();
    entry.is_first
        && entry.value().starts_with(&[0x30, 0x82])
        && entry.value().len() == certificate.as_der().len()
        && !usage.is_some_and(|usage| {
            usage
                .purposes
                .iter()
                .any(|purpose| purpose == MODULE_SIGNING)
        })
}
