use crate::{BoxError, Guid, HashAlgorithm, SignatureType};

/// Why something could not be read, written or made.
///
/// Offsets are bytes from the start of what was parsed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ends early.
    #[error("{what} at offset {offset} is truncated: {needed} bytes needed, {available} available")]
    Truncated {
        /// The structure being read.
        what: &'static str,
        /// Where it starts.
        offset: u64,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// `SignatureListSize` leaves no room for the list's own headers.
    #[error(
        "signature list at offset {offset} says it has {size} bytes, its headers need {minimum}"
    )]
    ListSize {
        /// Where the list starts.
        offset: u64,
        /// Its `SignatureListSize`.
        size: u64,
        /// Header and signature header together.
        minimum: u64,
    },
    /// `SignatureSize` leaves no room for the owner, or for data.
    #[error(
        "signature list at offset {offset} has entries of {size} bytes, at least {minimum} expected"
    )]
    EntrySize {
        /// Where the list starts.
        offset: u64,
        /// Its `SignatureSize`.
        size: u64,
        /// The least that can be.
        minimum: u64,
    },
    /// The entries do not fill the list.
    #[error(
        "signature list at offset {offset} has {body} bytes of entries, not a multiple of {entry}"
    )]
    NotAMultiple {
        /// Where the list starts.
        offset: u64,
        /// Bytes after the headers.
        body: u64,
        /// Its `SignatureSize`.
        entry: u64,
    },
    /// A list without entries; firmware refuses it. Only the strict reader minds.
    #[error("signature list at offset {offset} has no entries")]
    NoEntries {
        /// Where the list starts.
        offset: u64,
    },
    /// A list with a signature header; no type has one and firmware refuses it. Only the strict reader minds.
    #[error(
        "signature list at offset {offset} has a signature header of {len} bytes, none expected"
    )]
    SignatureHeader {
        /// Where the list starts.
        offset: u64,
        /// Its `SignatureHeaderSize`.
        len: u64,
    },
    /// The type demands another length. Only the strict reader minds.
    #[error(
        "signature list at offset {offset}: {kind} data has {found} bytes, {expected} expected"
    )]
    DataLength {
        /// Where the list starts.
        offset: u64,
        /// The type of the list.
        kind: SignatureType,
        /// Bytes of data in an entry.
        found: u64,
        /// What the type demands.
        expected: u64,
    },
    /// An X.509 entry that holds something else. Only the strict reader minds.
    #[error("entry at offset {offset} is not a DER certificate")]
    NotACertificate {
        /// Where the entry's data starts.
        offset: u64,
    },
    /// An entry that does not fit into the list it should go to.
    #[error("an entry of {found} bytes does not fit into a list with entries of {expected} bytes")]
    EntryMismatch {
        /// Bytes of the list's entries.
        expected: u64,
        /// Bytes of the new one.
        found: u64,
    },
    /// Malformed DER.
    #[error("{what} is malformed at offset {offset}")]
    Der {
        /// The structure being read.
        what: &'static str,
        /// Where reading stopped, from the start of the structure.
        offset: u64,
    },
    /// A PEM text that is broken or does not hold what was asked for.
    #[error("no {what} in the PEM text")]
    Pem {
        /// What was looked for.
        what: &'static str,
    },
    /// A private key that could not be read.
    #[error("not an unencrypted RSA private key in PKCS#8 or PKCS#1 form")]
    PrivateKey,
    /// A private key that is encrypted.
    #[error("the private key is encrypted: decrypt it first")]
    KeyEncrypted,
    /// A private key of another kind than RSA.
    #[error("not an RSA private key: firmware takes no other signatures")]
    KeyNotRsa,
    /// A text that is not a GUID.
    #[error("not a GUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
    NotAGuid,
    /// A variable name that is empty, holds a NUL, or lacks its GUID.
    #[error("not a variable name")]
    InvalidName,
    /// A date that does not exist, or a text that is not a date.
    #[error("not a date and time between 1900 and 9999")]
    TimeOutOfRange,
    /// A time more than a year ahead, which would lock the variable against all but appends.
    #[error("{time} is more than a year ahead: firmware would refuse every other write until then")]
    FarFuture {
        /// The time.
        time: crate::EfiTime,
    },
    /// A time with nanoseconds, time zone or daylight, which firmware refuses.
    #[error("an authenticated variable takes whole seconds in UTC only")]
    TimeNotPlain,
    /// `dwLength` of the authentication header is too small.
    #[error("authentication header says it has {found} bytes, at least 24 expected")]
    HeaderLength {
        /// `dwLength`.
        found: u32,
    },
    /// `wCertificateType` is not `WIN_CERT_TYPE_EFI_GUID`.
    #[error("authentication header has certificate type {found:#06x}, 0x0ef1 expected")]
    CertificateType {
        /// `wCertificateType`.
        found: u16,
    },
    /// `wRevision` is not 0x0200. Only the strict reader minds.
    #[error("authentication header has revision {found:#06x}, 0x0200 expected")]
    Revision {
        /// `wRevision`.
        found: u16,
    },
    /// `CertType` is not `EFI_CERT_TYPE_PKCS7_GUID`.
    #[error("authentication header has type {found}, PKCS#7 expected")]
    HeaderGuid {
        /// `CertType`.
        found: Guid,
    },
    /// Neither `.auth`, nor signature list, nor efivarfs file.
    #[error("neither an authenticated update nor a signature list nor an efivarfs file")]
    UnknownFile {
        /// Why it is not the most likely of them.
        #[source]
        cause: alloc::boxed::Box<Error>,
    },
    /// A file of another kind.
    #[error("it looks like {what}")]
    LooksLike {
        /// What it looks like.
        what: &'static str,
    },
    /// A type of entries that edk2 refuses.
    #[error("signature type {kind} is refused by firmware")]
    UnsupportedType {
        /// The type.
        kind: SignatureType,
    },
    /// PK holds exactly one certificate, nothing else.
    #[error("PK holds exactly one RSA certificate; it would have {found} entries")]
    PlatformKey {
        /// Number of entries.
        found: usize,
    },
    /// Firmware refuses a certificate with another key than RSA in its variables.
    #[error("the certificate has no RSA key, firmware refuses it")]
    NotRsa,
    /// The signature does not fit the certificate: another key made it, or it was made over something else.
    #[error(
        "the signature does not verify with the certificate: the key belongs to another certificate"
    )]
    KeyMismatch,
    /// The signer reported an error.
    #[error("the signer refused")]
    Signer(#[source] BoxError),
    /// Something is longer than its length field can say.
    #[error("{what} is too long: {len} bytes, at most {max}")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its length.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// No firmware volume with an authenticated variable store.
    #[error("no authenticated variable store found")]
    NoVariableStore,
    /// A structure in the firmware volume that is not as it must be.
    #[error("variable store: {what} at offset {offset} is broken")]
    BrokenStore {
        /// The structure.
        what: &'static str,
        /// Where it stands in the file.
        offset: u64,
    },
    /// Variables do not fit.
    #[error("no space in the variable store: {needed} bytes needed, {available} available")]
    NoSpace {
        /// Bytes of the variables.
        needed: u64,
        /// Bytes there are for them.
        available: u64,
    },
    /// An update that is not signed for appending to dbx.
    #[error("not an update that is signed for appending to dbx")]
    NotADbxUpdate {
        /// Why its signature does not fit.
        #[source]
        cause: VerificationError,
    },
    /// A firmware name that is not known.
    #[error("unknown firmware, one of edk2-2022.11, edk2-2025.02, edk2-2026.05 expected")]
    UnknownFirmware,
    /// A JSON document that is not what it should be.
    #[error("JSON document: {what}")]
    Json {
        /// What is wrong.
        what: &'static str,
    },
    /// A JSON text that is not JSON.
    #[error("not a JSON document")]
    JsonSyntax(#[source] BoxError),
    /// An operation of efivarfs failed.
    #[cfg(feature = "std")]
    #[error("{operation} of {variable}: {meaning}")]
    Efivarfs {
        /// What was tried.
        operation: &'static str,
        /// On which variable.
        variable: alloc::string::String,
        /// What the error number stands for.
        meaning: &'static str,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
}

/// Why a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerificationError {
    /// There is no signature.
    #[error("not signed")]
    NotSigned,
    /// The PKCS#7 cannot be read.
    #[error("the PKCS#7 signature is malformed at offset {offset}")]
    Malformed {
        /// Where reading stopped.
        offset: u64,
    },
    /// No `SignerInfo`.
    #[error("the PKCS#7 holds no signer")]
    NoSigner,
    /// The certificate of the signer is not embedded.
    #[error("the signer's certificate is not in the PKCS#7")]
    NoSignerCertificate,
    /// A digest that is unknown.
    #[error("the signature uses an unknown digest algorithm")]
    UnknownDigest,
    /// A digest that is not announced in `digestAlgorithms`.
    #[error("the signature's {algorithm} digest is not announced in the PKCS#7")]
    DigestNotAnnounced {
        /// The digest of the signer.
        algorithm: HashAlgorithm,
    },
    /// The signer's key is not RSA.
    #[error("the signer's certificate has no RSA key")]
    NotRsa,
    /// The digest in the signed attributes is another one: signed over other bytes.
    #[error("the signature was made over other content")]
    OtherContent,
    /// The RSA signature does not fit.
    #[error("the signature does not fit the content and the signer's key")]
    BadSignature,
    /// The signer is not the trusted certificate, nor does it chain to it.
    #[error("the signer does not chain to a trusted certificate")]
    NotTrusted,
}

impl From<Error> for VerificationError {
    fn from(error: Error) -> Self {
        match error {
            Error::Der { offset, .. } => Self::Malformed { offset },
            Error::NotRsa => Self::NotRsa,
            _ => Self::Malformed { offset: 0 },
        }
    }
}
