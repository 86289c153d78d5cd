use alloc::boxed::Box;

use crate::hash::HashAlgorithm;

/// An error of the caller's own: a signer's, or a boxed one.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// What can be wrong with an image, a signature, a certificate or a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before something that the headers promise.
    #[error("{what} at offset {offset} needs {needed} bytes, but only {available} are there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: u64,
        /// How long it is.
        needed: u64,
        /// What is left of the file.
        available: u64,
    },
    /// The file is not a PE image.
    #[error("not a PE image: {what} at offset {offset} is missing")]
    NotPe {
        /// The mark that was looked for.
        what: &'static str,
        /// Where it should be.
        offset: u64,
    },
    /// A header field has a value that firmware refuses.
    #[error("{what} at offset {offset} is {value}, but {expected}")]
    BadHeader {
        /// The field.
        what: &'static str,
        /// Its place in the file.
        offset: u64,
        /// Its value.
        value: u64,
        /// The rule it breaks.
        expected: &'static str,
    },
    /// Bytes of the file that the specification's digest does not cover.
    #[error(
        "bytes {start} to {end} belong to no section: tools disagree about the digest of such an image"
    )]
    Gap {
        /// First byte of the gap.
        start: u64,
        /// First byte after it.
        end: u64,
    },
    /// Two parts of the file share bytes.
    #[error(
        "the part that starts at offset {start} begins before the previous one ends at {previous_end}"
    )]
    Overlap {
        /// Where the later part starts.
        start: u64,
        /// Where the earlier part ends.
        previous_end: u64,
    },
    /// The certificate table is not the last thing in the file.
    #[error("the certificate table ends at {table_end}, but the file at {file_end}")]
    DataAfterTable {
        /// End of the table.
        table_end: u64,
        /// End of the file.
        file_end: u64,
    },
    /// Sections overlap so often that hashing the image would cost many times its length.
    #[error("the sections sum up to {sum} bytes in a file of {file_len}")]
    ExcessiveOverlap {
        /// Sum of the sections.
        sum: u64,
        /// Length of the file.
        file_len: u64,
    },
    /// The image has no certificate directory: it has fewer than five data directories.
    #[error("the image has no certificate directory, so it cannot hold a signature")]
    NoCertificateDirectory,
    /// The certificate table is longer than the limit.
    #[error("the certificate table has {len} bytes, more than the limit of {limit}")]
    TableTooLong {
        /// Its length.
        len: u64,
        /// The limit, see [`ImageOptions`](crate::ImageOptions).
        limit: u64,
    },
    /// The certificate table cannot be walked.
    #[error(
        "certificate table entry at offset {offset} has the length {len}, but {available} bytes are left"
    )]
    BadTable {
        /// Offset in the file.
        offset: u64,
        /// The entry's `dwLength`.
        len: u64,
        /// What is left of the table.
        available: u64,
    },
    /// There is no entry of this number.
    #[error("there is no signature {index}: the table has {count}")]
    NoSuchSignature {
        /// The number asked for, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A DER value is malformed.
    #[error("{what} at byte {offset}: {problem}")]
    Der {
        /// What was being read.
        what: &'static str,
        /// Offset in the blob.
        offset: u64,
        /// What is wrong.
        problem: DerProblem,
    },
    /// A structure has a part that is not supported.
    #[error("{what} is not supported")]
    Unsupported {
        /// The part.
        what: &'static str,
    },
    /// Text is not PEM, or holds no block of the wanted kind.
    #[error("no PEM block {label:?} could be read")]
    Pem {
        /// The label looked for.
        label: &'static str,
    },
    /// A PEM block of the wanted kind is cut short, or is not base64.
    #[error("PEM block {number} of kind {label:?} is cut short or garbled")]
    PemBlock {
        /// The label.
        label: &'static str,
        /// Its number among those of its kind, from 1.
        number: usize,
    },
    /// A key could not be read.
    #[error("the private key could not be read")]
    Key(#[source] BoxError),
    /// The image was not hashed with the algorithm that is needed.
    #[error("the image was not hashed with {algorithm}")]
    NotHashed {
        /// The missing algorithm.
        algorithm: HashAlgorithm,
    },
    /// The image was read without its sum, which the header's checksum needs.
    #[error("the image was read without summing it up for the header's checksum")]
    NotSummed,
    /// The certificate's key is of a kind that firmware refuses, and this was not asked for.
    #[error("firmware refuses signatures by {key} keys")]
    KeyKindRefused {
        /// The kind of key.
        key: &'static str,
    },
    /// The digest in a signature is not the image's.
    #[error("the signature is for another image")]
    DigestMismatch,
    /// The signer's result does not verify with the certificate.
    #[error("the signature does not verify with the certificate's key")]
    SignatureMismatch,
    /// The certificate of the signer is not among those of the signature.
    #[error("the signer's certificate is not embedded")]
    SignerNotEmbedded,
    /// The caller's signer gave an error.
    #[error("the signer gave an error")]
    Signer(#[source] BoxError),
    /// The blob would be too long or too short for firmware to find the algorithm in it.
    #[error("a signature of {len} bytes cannot be read by firmware, which takes 256 to 65539")]
    BlobLength {
        /// Its length.
        len: u64,
    },
    /// A file has another length or content than when it was hashed.
    #[error("the file has {found} bytes, but {expected} when it was hashed")]
    FileChanged {
        /// Length when hashed.
        expected: u64,
        /// Length now.
        found: u64,
    },
    /// The signatures would not fit the 32-bit fields.
    #[error("the signed image would be longer than 4 GiB")]
    TooLong,
    /// A stream of bytes cannot be hashed by this image's rule; hash the file instead.
    #[error("the image can only be hashed from a file, not from a stream")]
    NotStreamable,
    /// The timestamp does not belong to the signature or is not valid.
    #[error("timestamp: {problem}")]
    Timestamp {
        /// What is wrong.
        problem: &'static str,
    },
    /// Reading or writing a file.
    #[cfg(feature = "std")]
    #[error("input or output")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether the input could not be read as what it should be (not a PE image, truncated, input or output errors), as
    /// opposed to being refused.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        #[cfg(feature = "std")]
        if matches!(self, Self::Io(_)) {
            return true;
        }
        matches!(
            self,
            Self::Truncated { .. }
                | Self::NotPe { .. }
                | Self::Pem { .. }
                | Self::PemBlock { .. }
                | Self::Der { .. }
                | Self::Key(_)
        )
    }
}

/// What is wrong with a DER value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DerProblem {
    /// The value ends early.
    #[error("it is truncated")]
    Truncated,
    /// Another tag is there.
    #[error("another type of value is there")]
    UnexpectedTag,
    /// A length in a form that DER forbids: indefinite, or longer than needed.
    #[error("its length is not in DER form")]
    NotDer,
    /// A tag number above 30.
    #[error("its tag is too high")]
    HighTag,
    /// Bytes after the last element.
    #[error("something follows its last element")]
    TrailingData,
    /// The value is not allowed.
    #[error("its value is not allowed")]
    BadValue,
}
