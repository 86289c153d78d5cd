//! Evidence from files, and from where the running system keeps it.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Error, Evidence, Pin, PolicyKey, SignatureDocument};

/// Which files the evidence is in, as a command line names them; the running system's own where none is named.
///
/// ```no_run
/// use tpm_seal::EvidenceFiles;
///
/// let evidence = EvidenceFiles::new().pin("pin.txt").read()?; // and the .pcrsig and .pcrpkey of the running UKI
/// # let _ = evidence;
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceFiles {
    pcrsig: Option<PathBuf>,
    policy_key: Option<PathBuf>,
    pin: Option<PathBuf>,
    beside: Vec<PathBuf>,
}

impl EvidenceFiles {
    /// None: the running system's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The signed PCR policies: a `.pcrsig` document, or an efivarfs file that holds one.
    #[must_use]
    pub fn pcrsig(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.beside.extend(path.parent().map(Path::to_owned));
        self.pcrsig = Some(path);
        self
    }

    /// The PEM of the key that signs PCR policies.
    #[must_use]
    pub fn policy_key(mut self, path: impl Into<PathBuf>) -> Self {
        self.policy_key = Some(path.into());
        self
    }

    /// The PIN; a line end behind it is no part of it.
    #[must_use]
    pub fn pin(mut self, path: impl Into<PathBuf>) -> Self {
        self.pin = Some(path.into());
        self
    }

    /// A file beside which the key that signs PCR policies may lie (`*.pem`), where none is named.
    #[must_use]
    pub fn beside(mut self, path: impl AsRef<Path>) -> Self {
        self.beside
            .extend(path.as_ref().parent().map(Path::to_owned));
        self
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`Error::File`] for a file that was named and cannot be read, and what is wrong with its content.
    pub fn read(&self) -> Result<Evidence, Error> {
        let document = match &self.pcrsig {
            Some(path) => Some(SignatureDocument::parse_file(&read(path)?)?),
            None => SignatureDocument::of_running_system()?,
        };
        let key = match (&self.policy_key, &document) {
            (Some(path), _) => Some(PolicyKey::from_pem(&String::from_utf8_lossy(&read(path)?))?),
            (None, Some(document)) => document.find_key(self.beside.iter().map(PathBuf::as_path)),
            (None, None) => None,
        };
        let mut evidence = key.into_iter().fold(Evidence::new(), Evidence::policy_key);
        evidence = document.into_iter().fold(evidence, Evidence::signatures);
        Ok(match &self.pin {
            Some(path) => {
                let text = Zeroizing::new(read(path)?);
                let line = text.strip_suffix(b"\n").unwrap_or(&text);
                evidence.pin(Pin::new(line.strip_suffix(b"\r").unwrap_or(line)))
            }
            None => evidence,
        })
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}
