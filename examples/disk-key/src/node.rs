//! What the node knows of its own boot: the files that the stub left, EFI variables, the TPM.

use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use tpm_seal::{Evidence, EvidenceFiles, Lockout, Pin, PolicyKey, Tcti, Tpm};
use zeroize::Zeroizing;

use crate::Error;
use crate::luks::read_passphrase;

/// Where systemd and the stub leave the public half of the PCR key, in the order in which systemd looks.
const PUBLIC_KEY_PLACES: [&str; 4] = [
    "/etc/systemd/tpm2-pcr-public-key.pem",
    "/run/systemd/tpm2-pcr-public-key.pem",
    "/usr/lib/systemd/tpm2-pcr-public-key.pem",
    "/.extra/tpm2-pcr-public-key.pem",
];

/// How the TPM and the evidence for its policies are reached.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Sources {
    /// TCTI; the machine's own TPM when not given.
    pub tcti: Option<String>,
    /// `.pcrsig` document; that of the running UKI when not given.
    pub pcrsig: Option<PathBuf>,
    /// Public PCR key; that of the running UKI when not given.
    pub public_key: Option<PathBuf>,
    /// File with the PIN; asked for on the terminal when not given.
    pub pin_file: Option<PathBuf>,
}

impl Sources {
    /// Opens the TPM.
    ///
    /// # Errors
    /// [`Error::Tpm`] says what is missing.
    pub fn tpm(&self) -> Result<Tpm, Error> {
        let tcti: Tcti = match &self.tcti {
            Some(text) => text.parse()?,
            None => Tcti::of_this_machine()?,
        };
        Ok(Tpm::open(&tcti)?)
    }

    /// The public PCR key.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Tpm`] for a key that is none.
    pub fn policy_key(&self) -> Result<Option<PolicyKey>, Error> {
        let path = match &self.public_key {
            Some(path) => path.clone(),
            None => match PUBLIC_KEY_PLACES
                .iter()
                .map(Path::new)
                .find(|path| path.exists())
            {
                Some(path) => path.to_owned(),
                None => return Ok(None),
            },
        };
        read_key(&path).map(Some)
    }

    /// All that is known without asking anybody.
    ///
    /// # Errors
    /// As [`Sources::policy_key`].
    pub fn evidence(&self) -> Result<Evidence, Error> {
        let mut files = EvidenceFiles::new();
        if let Some(path) = &self.pcrsig {
            files = files.pcrsig(path);
        }
        if let Some(path) = &self.public_key {
            files = files.policy_key(path);
        }
        Ok(files.read()?)
    }

    /// The PIN, from its file or from the person at the terminal.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] when there is neither file nor terminal.
    pub fn pin(&self, lockout: Option<Lockout>) -> Result<Pin, Error> {
        if let Some(path) = &self.pin_file {
            return Ok(Pin::new(read_passphrase(path, false)?.to_vec()));
        }
        let stdin = std::io::stdin();
        if !rustix::termios::isatty(&stdin) {
            return Err(Error::Usage {
                what: "--pin-file",
                problem: "the token needs a PIN: give a file, or run on a terminal".into(),
            });
        }
        let tries = lockout
            .map(|lockout| format!(" ({} tries left)", lockout.tries_left()))
            .unwrap_or_default();
        eprint!("PIN{tries}: ");
        let _ = std::io::stderr().flush();
        let terminal =
            |errno: rustix::io::Errno| Error::io("use", Path::new("the terminal"), errno.into());
        let shown = rustix::termios::tcgetattr(&stdin).map_err(terminal)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &hidden)
            .map_err(terminal)?;
        let mut line = Zeroizing::new(String::with_capacity(256));
        let read = stdin.lock().read_line(&mut line);
        let restored =
            rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &shown);
        eprintln!();
        read.map_err(|source| Error::io("read", Path::new("the terminal"), source))?;
        restored.map_err(terminal)?;
        Ok(Pin::new(
            line.trim_end_matches(['\r', '\n']).as_bytes().to_vec(),
        ))
    }
}

/// Reads a public PCR key.
pub(crate) fn read_key(path: &Path) -> Result<PolicyKey, Error> {
    let pem = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
    Ok(PolicyKey::from_pem(&pem)?)
}

/// Keeps key material out of core dumps. What cannot be switched off is left as it is: nothing depends on it.
pub fn forbid_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
