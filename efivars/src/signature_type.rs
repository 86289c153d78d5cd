use core::fmt;

use crate::{Guid, HashAlgorithm};

/// What the entries of a signature list are, UEFI 2.10 §32.4.1; unknown types are kept.
///
/// # Examples
///
/// ```
/// use efivars::SignatureType;
/// assert_eq!(SignatureType::SHA256.to_string(), "SHA256");
/// assert_eq!(SignatureType::SHA256.data_len(), Some(32));
/// assert_eq!(SignatureType::X509.data_len(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignatureType(Guid);

struct Row {
    kind: SignatureType,
    name: &'static str,
    data_len: Option<u32>,
    edk2: bool,
}

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident $text:literal $guid:literal $len:expr, $edk2:literal;)*) => {
        impl SignatureType {
            $($(#[$doc])* pub const $name: Self = Self(Guid::from_text($guid));)*
        }
        const ROWS: &[Row] = &[$(Row {
            kind: SignatureType::$name, name: $text, data_len: $len, edk2: $edk2,
        }),*];
    };
}

types! {
    /// SHA-256 digest of an image.
    SHA256 "SHA256" "c1c41626-504c-4092-aca9-41f936934328" Some(32), true;
    /// SHA-1 digest of an image.
    SHA1 "SHA1" "826ca512-cf10-4ac9-b187-be01496631bd" Some(20), true;
    /// SHA-224 digest of an image.
    SHA224 "SHA224" "0b6e5233-a65c-44c9-9407-d9ab83bfc8bd" Some(28), true;
    /// SHA-384 digest of an image.
    SHA384 "SHA384" "ff3e5307-9fd0-48c9-85f1-8ad56c701e01" Some(48), true;
    /// SHA-512 digest of an image.
    SHA512 "SHA512" "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a" Some(64), true;
    /// SM3 digest of an image.
    SM3 "SM3" "57347f87-7a9b-403a-b93c-dc4afb7a0ebc" Some(32), false;
    /// RSA-2048 modulus, big-endian; the exponent is 65537.
    RSA2048 "RSA2048" "3c5766e8-269c-4e34-aa14-ed776e85b3b6" Some(256), true;
    /// RSA-2048 signature of a SHA-256 digest.
    RSA2048_SHA256 "RSA2048_SHA256" "e2b36190-879b-4a3d-ad8d-f2e7bba32784" Some(256), true;
    /// RSA-2048 signature of a SHA-1 digest.
    RSA2048_SHA1 "RSA2048_SHA1" "67f8444f-8743-48f1-a328-1eaab8736080" Some(256), true;
    /// DER certificate.
    X509 "X509" "a5c059a1-94e4-4aa7-87b5-ab155c2bf072" None, true;
    /// SHA-256 of a certificate's `TBSCertificate`, and the time of its revocation.
    X509_SHA256 "X509_SHA256" "3bd2a492-96c0-4079-b420-fcf98ef103ed" Some(48), true;
    /// SHA-384 of a certificate's `TBSCertificate`, and the time of its revocation.
    X509_SHA384 "X509_SHA384" "7076876e-80c2-4ee6-aad2-28b349a6865b" Some(64), true;
    /// SHA-512 of a certificate's `TBSCertificate`, and the time of its revocation.
    X509_SHA512 "X509_SHA512" "446dbf63-2502-4cda-bcfa-2465d2b0fe9d" Some(80), true;
    /// SM3 of a certificate's `TBSCertificate`, and the time of its revocation.
    X509_SM3 "X509_SM3" "60d807e5-10b4-49a9-9331-e40437888d37" Some(48), false;
    /// One zero byte: the database is managed from outside.
    EXTERNAL_MANAGEMENT "EXTERNAL_MANAGEMENT" "452e8ced-dfff-4b8c-ae01-5118862e682c" Some(1), false;
}

impl SignatureType {
    /// Any type.
    #[must_use]
    pub const fn from_guid(guid: Guid) -> Self {
        Self(guid)
    }

    /// The GUID in the list.
    #[must_use]
    pub const fn guid(self) -> Guid {
        self.0
    }

    /// The length of the data of an entry, when the type fixes it.
    #[must_use]
    pub fn data_len(self) -> Option<u32> {
        self.row()?.data_len
    }

    /// The name, when the type is known.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(self.row()?.name)
    }

    /// The type for digests of images made with this algorithm.
    #[must_use]
    pub const fn image_digest(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha1 => Self::SHA1,
            HashAlgorithm::Sha256 => Self::SHA256,
            HashAlgorithm::Sha384 => Self::SHA384,
            HashAlgorithm::Sha512 => Self::SHA512,
        }
    }

    /// Whether edk2 lets the type into a key variable.
    #[must_use]
    pub fn is_known_to_edk2(self) -> bool {
        self.row().is_some_and(|row| row.edk2)
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.kind == self)
    }
}

impl fmt::Display for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for SignatureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
