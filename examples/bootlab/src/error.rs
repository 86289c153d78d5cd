//! The one error of the lab.

use std::io;
use std::path::PathBuf;

/// What can go wrong before, during or after a boot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Name of the program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program that prepares something ended badly.
    #[error("{program}: {message}")]
    Tool {
        /// Name of the program.
        program: String,
        /// What it said last.
        message: String,
    },
    /// Something that the lab needs is not on this machine.
    #[error("{what} not found: {hint}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to install.
        hint: &'static str,
    },
    /// A kernel module that was asked for does not exist in the kernel's package.
    #[error("kernel {release} has no module {name}")]
    NoSuchModule {
        /// Name of the module.
        name: String,
        /// Release of the kernel.
        release: String,
    },
    /// The directory holds a machine already, or none.
    #[error("{}: {problem}", path.display())]
    Machine {
        /// The machine's directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value in a document or a name is not what it must be.
    #[error("{what}: {problem}")]
    Invalid {
        /// The document or name.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// QEMU ended by itself before the firmware ran.
    #[error("qemu ended at once: {message}")]
    Qemu {
        /// What it wrote to standard error.
        message: String,
    },
    /// The software TPM or its connection failed.
    #[error("software TPM: {0}")]
    Tpm(#[source] io::Error),
    /// A boot of the story did not do what it must.
    #[error("boot \"{name}\": {problem}; the last it wrote:\n{tail}")]
    Boot {
        /// Name of the boot.
        name: &'static str,
        /// What is wrong.
        problem: String,
        /// The end of the serial output.
        tail: String,
    },
    /// A boot ended in another way than expected.
    #[error("boot ended with {found}, expected {expected}; the last it wrote:\n{tail}")]
    Unexpected {
        /// How it ended.
        found: String,
        /// How it should have ended.
        expected: String,
        /// The end of the serial output.
        tail: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// Result of the lab's functions.
pub type Result<T, E = Error> = core::result::Result<T, E>;
