//! What can be wrong with the inputs of a PCR 7 prediction.

use thiserror::Error;

use super::variables::KeyVariable;

/// Inputs from which no PCR 7 can be predicted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecureBootError {
    /// A key variable is no list of signature lists.
    #[error("{variable} is not made of signature lists: {what} at offset {offset}")]
    SignatureList {
        /// The variable.
        variable: KeyVariable,
        /// What is wrong there.
        what: &'static str,
        /// Where the list or entry starts.
        offset: u64,
    },
    /// A list that shim mirrors is no list of signature lists.
    #[error("{name} is not made of signature lists: {what} at offset {offset}")]
    MokList {
        /// The list's name.
        name: &'static str,
        /// What is wrong there.
        what: &'static str,
        /// Where the list or entry starts.
        offset: u64,
    },
    /// An image carries a signature, but not the digest that the signature is about.
    #[error("image {image} has a signature over its {bank} digest, which was not given")]
    MissingDigest {
        /// Number of the image, in the order of loading, from 0.
        image: usize,
        /// The digest that is missing.
        bank: crate::bank::Bank,
    },
    /// An event log does not hold the events from which a boot could be described.
    #[error("the event log has no {what} event in PCR 7")]
    IncompleteLog {
        /// What is missing.
        what: &'static str,
    },
}
