use core::fmt;

use crate::SignatureType;

/// Something about a list that the format allows and that some reader or firmware takes badly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// Several certificates in one list: shim up to 16 looks only at the first.
    SeveralCertificates {
        /// Index of the list.
        list: usize,
    },
    /// An entry that occurs before, in this or another list.
    Duplicate {
        /// Index of the list.
        list: usize,
        /// Index in the list.
        entry: usize,
    },
    /// A list without entries: edk2 refuses it.
    NoEntries {
        /// Index of the list.
        list: usize,
    },
    /// A signature header: edk2 refuses it.
    SignatureHeader {
        /// Index of the list.
        list: usize,
    },
    /// Data of another length than the type demands: edk2 refuses it.
    DataLength {
        /// Index of the list.
        list: usize,
    },
    /// A type that edk2 does not know and refuses.
    UnknownToFirmware {
        /// Index of the list.
        list: usize,
        /// Its type.
        kind: SignatureType,
    },
    /// An X.509 entry that is not a DER certificate: edk2 refuses it.
    NotACertificate {
        /// Index of the list.
        list: usize,
        /// Index in the list.
        entry: usize,
    },
    /// A certificate without RSA key: edk2 refuses it.
    NotRsa {
        /// Index of the list.
        list: usize,
        /// Index in the list.
        entry: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralCertificates { list } => {
                write!(
                    f,
                    "list {list} holds several certificates: shim looks only at the first"
                )
            }
            Self::Duplicate { list, entry } => {
                write!(f, "entry {entry} of list {list} occurs before")
            }
            Self::NoEntries { list } => {
                write!(f, "list {list} has no entries: firmware refuses it")
            }
            Self::SignatureHeader { list } => {
                write!(f, "list {list} has a signature header: firmware refuses it")
            }
            Self::DataLength { list } => write!(
                f,
                "list {list} has entries of the wrong length: firmware refuses it"
            ),
            Self::UnknownToFirmware { list, kind } => {
                write!(f, "list {list} has type {kind}: edk2 refuses it")
            }
            Self::NotACertificate { list, entry } => {
                write!(
                    f,
                    "entry {entry} of list {list} is not a DER certificate: firmware refuses it"
                )
            }
            Self::NotRsa { list, entry } => {
                write!(
                    f,
                    "the certificate in entry {entry} of list {list} has no RSA key: edk2 refuses it"
                )
            }
        }
    }
}
