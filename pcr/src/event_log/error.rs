//! What can be wrong with an event log.

use thiserror::Error;

/// Bytes that are no event log.
///
/// Offsets count from the first byte of the log (or table) that was given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// The log has no byte at all.
    #[error("the event log is empty")]
    Empty,
    /// The first record has no Spec ID and is for a register that no TPM has: the bytes are something else than a log.
    #[error("not an event log: the first record is for register {found}")]
    FirstRegister {
        /// The number in the place of the register's.
        found: u32,
    },
    /// The log ends within a record.
    #[error(
        "the event log ends within {what} at offset {offset}: {needed} bytes needed, {available} left"
    )]
    Truncated {
        /// The field that was being read.
        what: &'static str,
        /// Where the field starts.
        offset: u64,
        /// Bytes that the field takes.
        needed: u64,
        /// Bytes that are left.
        available: u64,
    },
    /// The Spec ID event declares a digest size that its algorithm does not have.
    #[error("algorithm {algorithm:#06x} is declared with {found} bytes, expected {expected}")]
    AlgorithmSize {
        /// The `TPM_ALG_ID`.
        algorithm: u16,
        /// The declared size.
        found: u16,
        /// The size of its digests; 1 for algorithms that are not known, which may not be empty.
        expected: u16,
    },
    /// The Spec ID event declares an impossible number of algorithms.
    #[error("the Spec ID event declares {found} algorithms, expected 1 to {limit}")]
    AlgorithmCount {
        /// The declared number.
        found: u32,
        /// The most that are accepted.
        limit: u32,
    },
    /// An algorithm is declared, or carried by one record, twice.
    #[error("algorithm {algorithm:#06x} occurs twice at offset {offset}")]
    DuplicateAlgorithm {
        /// The `TPM_ALG_ID`.
        algorithm: u16,
        /// Where it occurs again.
        offset: u64,
    },
    /// A record carries another number of digests than the Spec ID event declares.
    #[error("the record at offset {offset} has {found} digests, expected {expected}")]
    DigestCount {
        /// Where the count is.
        offset: u64,
        /// The record's count.
        found: u32,
        /// Number of declared algorithms.
        expected: u32,
    },
    /// A record carries a digest of an algorithm that the Spec ID event does not declare.
    #[error(
        "the digest at offset {offset} is of algorithm {algorithm:#06x}, which the log does not declare"
    )]
    UndeclaredAlgorithm {
        /// The `TPM_ALG_ID`.
        algorithm: u16,
        /// Where it is.
        offset: u64,
    },
    /// The final events table has a version that is not known.
    #[error("the final events table has version {found}, expected 1")]
    FinalEventsVersion {
        /// The version found.
        found: u64,
    },
    /// An event does not fit a log: its digests are not those that the log declares.
    #[error("the event has digests of other algorithms than the log declares")]
    ForeignDigests,
    /// A text form (JSON, CEL) of a log could not be read.
    #[error("the {format} text has no usable {what} in record {record}")]
    Text {
        /// The form that was being read.
        format: &'static str,
        /// The member that is missing or wrong.
        what: &'static str,
        /// Number of the record, from 0.
        record: u64,
    },
    /// A binary form (CEL-TLV, CEL-CBOR) of a log could not be read or written.
    #[error("the {format} log has no usable {what} in record {record}, at offset {offset}")]
    Encoding {
        /// The form.
        format: &'static str,
        /// The field that is missing or wrong.
        what: &'static str,
        /// Number of the record, from 0.
        record: u64,
        /// Where reading stopped; 0 when writing.
        offset: u64,
    },
}
