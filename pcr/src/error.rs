//! What can go wrong when registers are predicted and policies signed.

use alloc::string::String;

use thiserror::Error;

use crate::bank::Bank;
use crate::public_key::KeyRefusal;
use crate::signer::BoxError;

/// Why a prediction, a policy or a `.pcrsig` document could not be made or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The UKI has no profile of this number.
    #[error("profile @{profile} does not exist, the UKI has {available}")]
    NoSuchProfile {
        /// The profile that was asked for.
        profile: usize,
        /// How many profiles there are.
        available: usize,
    },
    /// The UKI has no such `.dtbauto` or `.efifw` section.
    #[error("hardware choice {section} {index} does not exist, the profile has {available}")]
    NoSuchHardware {
        /// `.dtbauto` or `.efifw`.
        section: &'static str,
        /// The candidate that was asked for, counted in file order.
        index: usize,
        /// How many candidates there are.
        available: usize,
    },
    /// A UKI without `.linux` does not start.
    #[error("no .linux section in profile @{profile}")]
    NoKernel {
        /// The profile without kernel.
        profile: usize,
    },
    /// A phase word that nobody extends: it has a blank or a control character in it.
    #[error(
        "phase word {word:?} has a blank in it; words are joined with colons, paths with commas"
    )]
    PhaseWord {
        /// The word.
        word: String,
    },
    /// A key that cannot sign policies for a TPM.
    #[error("unusable policy key: {0}")]
    Key(KeyRefusal),
    /// A digest of another bank than the ones that are predicted.
    #[error("no {bank} digest was given for {what}")]
    MissingDigest {
        /// What the digest should be of.
        what: String,
        /// The bank without digest.
        bank: Bank,
    },
    /// The signer refused or failed.
    #[error("the signer failed")]
    Signer(#[source] BoxError),
    /// A signature that does not belong to the key and the message.
    #[error("the signature of {bank} policy {index} does not verify with the key {fingerprint}")]
    WrongSignature {
        /// Bank of the policy.
        bank: Bank,
        /// Index of the request.
        index: usize,
        /// The key's fingerprint (`pkfp`), in hexadecimal digits.
        fingerprint: String,
    },
    /// An answer to a signing request lacks a signature.
    #[error("request {index} has no signature")]
    MissingSignature {
        /// Index of the request without signature.
        index: usize,
    },
    /// An answer to a signing request has signatures nobody asked for.
    #[error("{given} signatures for {wanted} requests")]
    SignatureCount {
        /// How many were given.
        given: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// The text is not JSON, or not of the expected shape.
    #[error("{what} cannot be read at line {line}, column {column}")]
    Json {
        /// What was read.
        what: &'static str,
        /// Line of the error, counted from 1.
        line: usize,
        /// Column of the error, counted from 1.
        column: usize,
        /// The reason, from the JSON parser.
        #[source]
        source: BoxError,
    },
    /// A field has a value that cannot be right.
    #[error("{what}: {field} is not {expected}")]
    Field {
        /// What was read, with bank and index.
        what: String,
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// More data than any honest file has.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or entries.
        limit: u64,
    },
    /// The document is longer than the place reserved for it.
    #[error("the signature document takes {needed} bytes, {reserved} are reserved")]
    DocumentTooLong {
        /// Bytes of the shortest form.
        needed: u64,
        /// Bytes reserved.
        reserved: u64,
    },
}
