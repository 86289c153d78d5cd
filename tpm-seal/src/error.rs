//! What can be wrong.

use thiserror::Error as ThisError;

use crate::{Bank, Refusal};

/// What this crate can fail with. When a TPM was asked for a secret and there is a reason why it may not have it,
/// that reason is [`Error::Refused`].
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The secret stays sealed, for this reason.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A marshalled structure ends too early.
    #[error("{what} ends at byte {offset}: {needed} bytes expected, {available} there")]
    #[non_exhaustive]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Where, from the start of the structure.
        offset: u64,
        /// Bytes expected.
        needed: u64,
        /// Bytes there.
        available: u64,
    },
    /// Something follows a structure that should be the last.
    #[error("{len} bytes left over after {what} at byte {offset}")]
    #[non_exhaustive]
    Trailing {
        /// What was read.
        what: &'static str,
        /// Where the rest begins.
        offset: u64,
        /// Its length.
        len: u64,
    },
    /// A field of a marshalled structure has a value that it may not have, or that is not supported.
    #[error("{field} of {what} before byte {offset} is {value:#x}, which is not supported")]
    #[non_exhaustive]
    Unexpected {
        /// What was read.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
        /// Where it ends.
        offset: u64,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    #[non_exhaustive]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The text is not JSON.
    #[error("{what} is not JSON")]
    #[non_exhaustive]
    Json {
        /// Which document.
        what: &'static str,
        /// The parser's message.
        #[source]
        source: Box<dyn core::error::Error + Send + Sync>,
    },
    /// A field of a JSON document is missing.
    #[error("{what} has no field {field:?}")]
    #[non_exhaustive]
    MissingField {
        /// Which document.
        what: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field of a JSON document cannot be used.
    #[error("field {field:?} of {what} is not {expected}")]
    #[non_exhaustive]
    Field {
        /// Which document.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// A token of a type that is not known here.
    #[error("neither a talos-tpm2 nor a systemd-tpm2 token nor a trustedboot-tpm2 document")]
    UnknownToken,
    /// A token uses something that this crate does not do.
    #[error("the token uses {what}, which is not supported")]
    #[non_exhaustive]
    UnsupportedToken {
        /// What.
        what: &'static str,
    },
    /// The policy cannot be written in this token format.
    #[error("{format} cannot hold {what}")]
    #[non_exhaustive]
    NotExpressible {
        /// The token format.
        format: &'static str,
        /// The part of the policy.
        what: &'static str,
    },
    /// The text names no bank.
    #[error("unknown PCR bank, expected sha1, sha256, sha384 or sha512")]
    UnknownBank,
    /// There is no such register.
    #[error("PCR {pcr} does not exist, expected 0 to 23")]
    #[non_exhaustive]
    NoSuchPcr {
        /// The number.
        pcr: u64,
    },
    /// The value of a register does not fit its bank.
    #[error("value of PCR {pcr} has {len} bytes, expected {} in bank {bank}", bank.digest_len())]
    #[non_exhaustive]
    PcrValueLength {
        /// The register.
        pcr: u8,
        /// Its bank.
        bank: Bank,
        /// The length given.
        len: usize,
    },
    /// A list of registers is empty.
    #[error("no PCR chosen")]
    NoPcrs,
    /// These bytes are no SHA-256 Name.
    #[error("not a name of 34 bytes beginning with 000b ({len} bytes)")]
    #[non_exhaustive]
    NotAName {
        /// Their number.
        len: usize,
    },
    /// A public key cannot be used for policies.
    #[error("not a public key for policies: {reason}")]
    #[non_exhaustive]
    PolicyKey {
        /// Why.
        reason: &'static str,
    },
    /// A key cannot be the parent of sealed objects.
    #[error("not a storage key: {reason}")]
    #[non_exhaustive]
    StorageKey {
        /// Why.
        reason: &'static str,
    },
    /// A choice has too few or too many branches.
    #[error("a choice of {count} branches, expected 2 to 8")]
    #[non_exhaustive]
    Branches {
        /// How many.
        count: usize,
    },
    /// A signed policy stands behind another step, where no signature could ever fit.
    #[error("a signed PCR policy must be the first step")]
    SignedNotFirst,
    /// Choices within choices, too deep.
    #[error("choices nested more than {limit} deep")]
    #[non_exhaustive]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The policy binds too little.
    #[error("the policy binds {what}; ask for it explicitly if that is meant")]
    #[non_exhaustive]
    WeakPolicy {
        /// What it binds.
        what: &'static str,
    },
    /// A register that nothing has measured into.
    #[error(
        "PCR {pcr} of bank {bank} is all {byte:02x}: nothing was measured, so it binds nothing"
    )]
    #[non_exhaustive]
    NotMeasured {
        /// The register.
        pcr: u8,
        /// Its bank.
        bank: Bank,
        /// 00 or ff.
        byte: u8,
    },
    /// The secret does not fit a sealed object.
    #[error("a secret of {len} bytes, expected 1 to 128")]
    #[non_exhaustive]
    SecretLength {
        /// Its length.
        len: usize,
    },
    /// The policy asks for a PIN and none is given, or the other way round.
    #[error("the policy and the PIN do not go together: {reason}")]
    #[non_exhaustive]
    PinAndPolicy {
        /// How.
        reason: &'static str,
    },
    /// The operating system gave no random numbers.
    #[error("no random numbers from the operating system")]
    Random,
    /// An encrypted credential cannot be read.
    #[error("not a systemd credential: {reason}")]
    #[non_exhaustive]
    Credential {
        /// What is wrong.
        reason: &'static str,
    },
    /// A PEM or DER key file cannot be read.
    #[error("not a TSS2 PRIVATE KEY: {reason}")]
    #[non_exhaustive]
    KeyFile {
        /// What is wrong.
        reason: &'static str,
    },
    /// A text that names no TPM.
    #[error("TCTI {text:?} cannot be used: {reason}")]
    #[non_exhaustive]
    Tcti {
        /// The text.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// There is no TPM device on this machine.
    #[error(
        "no TPM: neither /dev/tpmrm0 nor /dev/tpm0 exists (no TPM, switched off in firmware setup, or no driver)"
    )]
    NoDevice,
    /// The TPM cannot be reached.
    #[error("cannot reach the TPM through {tcti}: {reason}")]
    #[non_exhaustive]
    Unreachable {
        /// The TCTI.
        tcti: String,
        /// What to look at.
        reason: &'static str,
    },
    /// The TPM or its library answered a command with an error that has no better name here.
    #[error("{command}: {meaning} (code {code:#x})")]
    #[non_exhaustive]
    Tpm {
        /// The TPM command.
        command: &'static str,
        /// The response code.
        code: u32,
        /// What the code means.
        meaning: &'static str,
    },
    /// An answer that does not fit its question: a broken TPM, or someone on the bus.
    #[error("{command}: the answer is not to be trusted, {reason}")]
    #[non_exhaustive]
    Tampered {
        /// The TPM command.
        command: &'static str,
        /// What does not fit.
        reason: &'static str,
    },
    /// The policy has a step for which this crate has no TPM command.
    #[error("policy step {step} can be computed but not carried out on a TPM")]
    #[non_exhaustive]
    DigestOnly {
        /// The step.
        step: &'static str,
    },
}
