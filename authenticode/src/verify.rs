//! The strict verifier.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

use crate::certificate::Certificate;
use crate::chain::{self, Budget, ChainProblem, Keys};
use crate::hash::HashAlgorithm;
use crate::image::Image;
use crate::key::KeyKind;
use crate::oid;
use crate::page_hash::PageHashes;
use crate::signature::{self, Intact, SignatureProblem};
use crate::signed_data::{IndirectData, SignedData};
use crate::table::{TableEntry, TableProblem};
use crate::time::UnixTime;
use crate::timestamp::{self, Timestamp};

/// Nested signatures that are looked at in one signature.
const MAX_NESTED: usize = 16;

/// Checks signatures by strict rules: what it accepts, no verifier should refuse for a reason of form.
///
/// It answers "is this signature good, and whose is it". Whether firmware would start the image is another question, see
/// [`Databases`](crate::Databases).
///
/// ```
/// # fn demo(image: &authenticode::Image, certificate: authenticode::Certificate) {
/// let report = authenticode::Verifier::new().trust([certificate]).verify(image);
/// if !report.is_trusted() {
///     for signature in report.signatures() {
///         println!("{:?}", signature.status());
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Verifier {
    trusted: Vec<Certificate>,
    timestamp_roots: Vec<Certificate>,
    at: Option<UnixTime>,
    min_rsa_bits: usize,
    allow_sha1: bool,
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

impl Verifier {
    /// A verifier that trusts nobody, and wants RSA keys of 2048 bits and no SHA-1.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trusted: Vec::new(),
            timestamp_roots: Vec::new(),
            at: None,
            min_rsa_bits: 2048,
            allow_sha1: false,
        }
    }

    /// Trusts these certificates, be they signers' or authorities'.
    #[must_use]
    pub fn trust(mut self, certificates: impl IntoIterator<Item = Certificate>) -> Self {
        self.trusted.extend(certificates);
        self
    }

    /// Believes timestamps whose chains reach these certificates.
    #[must_use]
    pub fn timestamp_roots(mut self, certificates: impl IntoIterator<Item = Certificate>) -> Self {
        self.timestamp_roots.extend(certificates);
        self
    }

    /// Wants the signer's certificate to be valid at this time. Without it, validity is not looked at, as in firmware.
    #[must_use]
    pub fn at(mut self, time: UnixTime) -> Self {
        self.at = Some(time);
        self
    }

    /// The shortest RSA key that is not weak.
    #[must_use]
    pub fn min_rsa_bits(mut self, bits: usize) -> Self {
        self.min_rsa_bits = bits;
        self
    }

    /// Whether SHA-1 is taken.
    #[must_use]
    pub fn allow_sha1(mut self, allow: bool) -> Self {
        self.allow_sha1 = allow;
        self
    }

    /// Checks all signatures of an image.
    pub fn verify(&self, image: &Image) -> Report {
        let mut budget = Budget::default();
        let signatures = image
            .entries()
            .iter()
            .enumerate()
            .map(|(index, entry)| self.entry(index, entry, image, &mut budget))
            .collect();
        let data_after_table = image.is_signed() && image.layout.table_end() != image.len();
        Report {
            signatures,
            problem: image.table().problem(),
            data_after_table,
        }
    }

    fn entry(
        &self,
        index: usize,
        entry: &TableEntry,
        image: &Image,
        budget: &mut Budget,
    ) -> SignatureReport {
        let Some(blob) = entry.pkcs7_data() else {
            return SignatureReport::new(index, SignatureProblem::NotPkcs7);
        };
        let mut report = self.blob(index, blob, image, budget, MAX_NESTED);
        let (rest, pad) = entry.unauthenticated();
        let hidden = rest.len().saturating_add(pad.len());
        if rest.iter().chain(pad).any(|byte| *byte != 0)
            && !matches!(report.status, Status::Invalid(_))
        {
            report.status = Status::Invalid(SignatureProblem::HiddenData { len: hidden });
            report.anchor = None;
        }
        report
    }

    fn blob(
        &self,
        index: usize,
        blob: &[u8],
        image: &Image,
        budget: &mut Budget,
        nested: usize,
    ) -> SignatureReport {
        let signed = match SignedData::parse(blob) {
            Ok(signed) => signed,
            Err(error) => return SignatureReport::new(index, SignatureProblem::Malformed(error)),
        };
        let mut report = match signature::check(&signed, image) {
            Ok(intact) => self.trust_of(index, intact, budget),
            Err(problem) => SignatureReport::new(index, problem),
        };
        report.details(&signed);
        let Some(signer) = signed.signers.first() else {
            return report;
        };
        report.nested = signer
            .unsigned(oid::NESTED_SIGNATURE)
            .take(nested)
            .map(|inner| self.blob(index, inner.raw, image, budget, 0))
            .collect();
        for token in signer.unsigned(oid::RFC3161_TOKEN).take(MAX_NESTED) {
            let kind = (timestamp::Authority::Marked, Keys::All);
            let checked = timestamp::check(
                token.raw,
                signer.signature,
                &self.timestamp_roots,
                kind.0,
                kind.1,
                budget,
            );
            report.timestamps.push(TimestampReport {
                claimed: timestamp::peek(token.raw, signer.signature),
                checked: checked.ok(),
            });
        }
        report.has_legacy_timestamp = signer.unsigned(oid::COUNTER_SIGNATURE).next().is_some();
        report
    }

    fn trust_of(&self, index: usize, intact: Intact, budget: &mut Budget) -> SignatureReport {
        let weak = if intact.hash == HashAlgorithm::Sha1 && !self.allow_sha1 {
            Some("SHA-1")
        } else {
            match intact.signer.key_kind() {
                KeyKind::Rsa { bits } if bits < self.min_rsa_bits => Some("the signer's RSA key"),
                _ => None,
            }
        };
        let outside = self.at.is_some_and(|now| {
            intact.signer.not_before().is_none_or(|start| now < start)
                || intact.signer.not_after().is_none_or(|end| now > end)
        });
        let anchor = chain::verify(
            &intact.signer,
            &intact.certificates,
            &self.trusted,
            Keys::All,
            budget,
        );
        let status = match (weak, &anchor) {
            (Some(what), _) => Status::Invalid(SignatureProblem::Weak { what }),
            (None, Err(problem)) => Status::Untrusted(*problem),
            (None, Ok(_)) if outside => Status::Expired,
            (None, Ok(_)) => Status::Trusted,
        };
        let anchor = anchor
            .ok()
            .filter(|_| matches!(status, Status::Trusted))
            .cloned();
        SignatureReport {
            hash: Some(intact.hash),
            anchor,
            signer: Some(intact.signer),
            ..SignatureReport::with_status(index, status)
        }
    }
}

/// What became of a signature.
#[derive(Debug)]
#[non_exhaustive]
pub enum Status {
    /// It holds, and its chain reaches a trusted certificate, see [`SignatureReport::anchor`].
    Trusted,
    /// It holds and is trusted, but the signer's certificate is not valid at the time asked for.
    Expired,
    /// It holds, but nobody who is trusted made it.
    Untrusted(ChainProblem),
    /// It does not hold.
    Invalid(SignatureProblem),
}

impl Status {
    /// One word for reports of programs: `valid`, `expired`, `untrusted`, or what is wrong.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Trusted => "valid",
            Self::Expired => "expired",
            Self::Untrusted(_) => "untrusted",
            Self::Invalid(problem) => problem.name(),
        }
    }
}

/// The result of [`Verifier::verify`].
#[must_use = "a report says nothing until it is asked"]
#[derive(Debug)]
pub struct Report {
    signatures: Vec<SignatureReport>,
    problem: Option<TableProblem>,
    data_after_table: bool,
}

impl Report {
    /// Whether the table is sound and at least one signature is trusted.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.problem.is_none()
            && !self.data_after_table
            && self
                .signatures
                .iter()
                .any(|signature| matches!(signature.status, Status::Trusted))
    }

    /// One report per table entry, in file order.
    #[must_use]
    pub fn signatures(&self) -> &[SignatureReport] {
        &self.signatures
    }

    /// Where the table is broken, if it is.
    #[must_use]
    pub fn table_problem(&self) -> Option<TableProblem> {
        self.problem
    }

    /// Whether the file goes on after the table.
    #[must_use]
    pub fn has_data_after_table(&self) -> bool {
        self.data_after_table
    }
}

/// A timestamp that a signature carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimestampReport {
    /// The time that it claims, if it is for this signature at all; not to be believed.
    pub claimed: Option<UnixTime>,
    /// The timestamp, if it holds and its authority is trusted.
    pub checked: Option<Timestamp>,
}

/// What one signature is.
#[derive(Debug)]
pub struct SignatureReport {
    index: usize,
    status: Status,
    hash: Option<HashAlgorithm>,
    signer: Option<Certificate>,
    anchor: Option<Certificate>,
    certificates: usize,
    signing_time: Option<UnixTime>,
    has_signed_attributes: bool,
    nested: Vec<SignatureReport>,
    timestamps: Vec<TimestampReport>,
    has_legacy_timestamp: bool,
    page_hashes: Option<PageHashes>,
}

impl SignatureReport {
    fn new(index: usize, problem: SignatureProblem) -> Self {
        Self::with_status(index, Status::Invalid(problem))
    }

    fn with_status(index: usize, status: Status) -> Self {
        Self {
            index,
            status,
            hash: None,
            signer: None,
            anchor: None,
            certificates: 0,
            signing_time: None,
            has_signed_attributes: false,
            nested: Vec::new(),
            timestamps: Vec::new(),
            has_legacy_timestamp: false,
            page_hashes: None,
        }
    }

    /// What a signature says of itself, whether it holds or not.
    fn details(&mut self, signed: &SignedData<'_>) {
        self.certificates = signed.certificates.len();
        self.page_hashes = signed
            .content
            .and_then(|content| PageHashes::of(&IndirectData::parse(&content).ok()?));
        let Some(signer) = signed.signers.first() else {
            return;
        };
        self.hash = self.hash.or_else(|| signer.hash());
        if self.signer.is_none()
            && let Ok(certificates) = signed.parse_certificates()
        {
            self.signer = certificates
                .into_iter()
                .find(|certificate| signer.names(certificate));
        }
        self.has_signed_attributes = signer.signed_attributes.is_some();
        self.signing_time = signer
            .signed_attributes
            .as_ref()
            .and_then(|attributes| attributes.single(oid::SIGNING_TIME))
            .and_then(|time| UnixTime::from_der(&time));
    }

    /// Number of the table entry, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether it holds and is trusted.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The hash algorithm.
    #[must_use]
    pub fn hash(&self) -> Option<HashAlgorithm> {
        self.hash
    }

    /// The certificate that the signature names as the signer's. Only for [`Status::Trusted`], [`Status::Expired`] and
    /// [`Status::Untrusted`] did its key make the signature.
    #[must_use]
    pub fn signer(&self) -> Option<&Certificate> {
        self.signer.as_ref()
    }

    /// The trusted certificate that the chain of a trusted signature reaches.
    #[must_use]
    pub fn anchor(&self) -> Option<&Certificate> {
        self.anchor.as_ref()
    }

    /// How many certificates are embedded.
    #[must_use]
    pub fn certificate_count(&self) -> usize {
        self.certificates
    }

    /// The signing time that the signer claims.
    #[must_use]
    pub fn signing_time(&self) -> Option<UnixTime> {
        self.signing_time
    }

    /// Whether the signature is over attributes (usual) or over the content itself.
    #[must_use]
    pub fn has_signed_attributes(&self) -> bool {
        self.has_signed_attributes
    }

    /// Nested signatures. Windows looks at them; no firmware does, so they never make an image trusted.
    #[must_use]
    pub fn nested(&self) -> &[Self] {
        &self.nested
    }

    /// RFC 3161 timestamps.
    #[must_use]
    pub fn timestamps(&self) -> &[TimestampReport] {
        &self.timestamps
    }

    /// Hashes of the image's pages, which no firmware looks at, and which are not compared with the image here.
    #[must_use]
    pub fn page_hashes(&self) -> Option<&PageHashes> {
        self.page_hashes.as_ref()
    }

    /// Whether there is a counter-signature of the older kind, which is not checked.
    #[must_use]
    pub fn has_legacy_timestamp(&self) -> bool {
        self.has_legacy_timestamp
    }
}

/// Hash and signer of each signature that holds, trusted or not.
pub(crate) fn intact_signers(image: &Image) -> impl Iterator<Item = (HashAlgorithm, Certificate)> {
    image
        .entries()
        .iter()
        .filter_map(move |entry| signature::intact(entry, image))
        .map(|intact| (intact.hash, intact.signer))
}

/// Whether an entry names this certificate as its signer's.
pub(crate) fn is_signed_by(entry: &TableEntry, certificate: &Certificate) -> bool {
    signature::names_signer(entry, certificate)
}
