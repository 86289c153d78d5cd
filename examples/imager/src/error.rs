//! What can go wrong, in the words of somebody who builds an image.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The cause behind an error, of whatever crate.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an image, a key or a prediction could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The output is there already.
    #[error("{} exists and is left as it is (--force replaces it)", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An input that the job needs was not given.
    #[error("{what} is missing: {hint}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// How to give it.
        hint: String,
    },
    /// A file is not what it was given as.
    #[error("{}: not a usable {what}", path.display())]
    Input {
        /// What the file was given as.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// A private key in a form that cannot be used.
    #[error("{}: {problem}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: KeyProblem,
    },
    /// The private key signs with another public key than the certificate holds.
    #[error(
        "the key {} does not belong to the certificate {} (the first one in that file must be the signer's)",
        key.display(), certificate.display()
    )]
    KeyMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// A step of the build failed.
    #[error("{step}")]
    Step {
        /// The step.
        step: &'static str,
        /// Why.
        source: Cause,
    },
    /// An option or profile field that makes no sense here.
    #[error("{what}: {problem}")]
    Usage {
        /// The option or field.
        what: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The judgement is no; the report says why.
    #[error("{0}")]
    Refused(String),
    /// The handler for interrupts could not be installed.
    #[error("cannot watch for interrupts")]
    Interrupt {
        /// The system's answer.
        source: Cause,
    },
}

/// What is wrong with a private key file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// No PEM block that holds a private key.
    #[error(
        "no private key found; PEM with PRIVATE KEY, RSA PRIVATE KEY or ENCRYPTED PRIVATE KEY is taken"
    )]
    NotFound,
    /// The block's content cannot be decoded.
    #[error("the private key is damaged: {0}")]
    Damaged(String),
    /// Another algorithm than RSA.
    #[error(
        "the key is of type {0}, but firmware and TPMs take RSA keys here (imager gen makes one)"
    )]
    NotRsa(String),
    /// A passphrase is needed.
    #[error("the key is encrypted: give its passphrase with {0}")]
    PassphraseMissing(&'static str),
    /// The passphrase does not open the key.
    #[error("the passphrase does not open the key")]
    PassphraseWrong,
    /// An encryption that is not supported.
    #[error(
        "the key's encryption is not supported ({0}); convert it with: openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW"
    )]
    Encryption(String),
    /// A size that is not supported.
    #[error("RSA keys of {0} bits are not taken, only of 2048 to 4096")]
    Size(usize),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn input(what: &'static str, path: &Path, source: impl Into<Cause>) -> Self {
        Self::Input {
            what,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    pub(crate) fn step(step: &'static str, source: impl Into<Cause>) -> Self {
        Self::Step {
            step,
            source: source.into(),
        }
    }

    pub(crate) fn usage(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Usage {
            what: what.into(),
            problem: problem.into(),
        }
    }

    /// The exit code that scripts may rely on: 1 for a judgement that is no, 2 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            _ => 2,
        }
    }
}
