//! What can go wrong on the node.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a disk key could not be made, used or described.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No token of the volume opens it now; each says why.
    #[error("{}", reasons.join("\n"))]
    Refused {
        /// One line a token.
        reasons: Vec<String>,
    },
    /// No token could be put to the question: each is unreadable, or the TPM or the person does not answer.
    #[error("{}", reasons.join("\n"))]
    Undecided {
        /// One line a token.
        reasons: Vec<String>,
    },
    /// The volume has no token that this program knows.
    #[error("{} has no TPM token: enrol with disk-key enroll", device.display())]
    NoToken {
        /// The volume.
        device: PathBuf,
    },
    /// The TPM library or a token.
    #[error(transparent)]
    Tpm(#[from] tpm_seal::Error),
    /// Not a LUKS2 volume.
    #[error("{} is not a LUKS2 volume (make one with cryptsetup luksFormat --type luks2)", device.display())]
    NotLuks {
        /// The device.
        device: PathBuf,
    },
    /// cryptsetup is not there.
    #[error("cannot run cryptsetup; install it (Debian: cryptsetup-bin)")]
    NoCryptsetup {
        /// The system's answer.
        source: io::Error,
    },
    /// cryptsetup refused.
    #[error("cryptsetup {command}: {message}")]
    Cryptsetup {
        /// The action.
        command: &'static str,
        /// What it printed.
        message: String,
    },
    /// cryptsetup printed no JSON.
    #[error("cannot read the LUKS2 header of {}", device.display())]
    Header {
        /// The device.
        device: PathBuf,
        /// The parser's message.
        source: serde_json::Error,
    },
    /// A file or device.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An EFI variable.
    #[error("cannot read the EFI variables")]
    Variables(#[from] efivars::Error),
    /// An option that makes no sense here.
    #[error("{what}: {problem}")]
    Usage {
        /// The option.
        what: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// 1 when the answer is no, 2 when the question could not be asked.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { .. } | Self::Tpm(tpm_seal::Error::Refused(_)) => 1,
            _ => 2,
        }
    }
}
