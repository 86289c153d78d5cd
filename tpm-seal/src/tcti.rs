//! Which TPM: the string that libtss2 calls a TCTI.

use core::fmt;
use core::str::FromStr;
use std::path::Path;

use crate::Error;

/// Which TPM, and how to reach it: `device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321`, `mssim:…`, `tabrmd`.
///
/// ```
/// let tcti: tpm_seal::Tcti = "swtpm:host=127.0.0.1,port=2321".parse()?;
/// assert!("swtpm:path=/run/tpm.sock".parse::<tpm_seal::Tcti>().is_err());
/// # Ok::<(), tpm_seal::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tcti(String);

impl Tcti {
    /// The TPM of this machine: `/dev/tpmrm0`, or `/dev/tpm0` where the kernel has no resource manager.
    ///
    /// # Errors
    /// [`Error::NoDevice`].
    pub fn of_this_machine() -> Result<Self, Error> {
        ["/dev/tpmrm0", "/dev/tpm0"]
            .into_iter()
            .find(|device| Path::new(device).exists())
            .map(|device| Self(format!("device:{device}")))
            .ok_or(Error::NoDevice)
    }

    /// Whether it names a file that is no device.
    #[cfg(feature = "tpm")]
    pub(crate) fn is_no_device(&self) -> bool {
        let path = self.0.strip_prefix("device:");
        let metadata = path.and_then(|path| std::fs::metadata(path).ok());
        metadata.is_some_and(|metadata| metadata.is_file() || metadata.is_dir())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tcti {
    type Err = Error;

    /// `device` alone is `/dev/tpmrm0`, unlike in libtss2, where it is `/dev/tpm0`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason| {
            Err(Error::Tcti {
                text: text.to_owned(),
                reason,
            })
        };
        let (module, options) = text.split_once(':').unwrap_or((text, ""));
        match module {
            "device" if options.is_empty() => Ok(Self("device:/dev/tpmrm0".to_owned())),
            "device" | "tabrmd" => Ok(Self(text.to_owned())),
            "swtpm" | "mssim" => {
                if options
                    .split(',')
                    .any(|option| option.trim_start().starts_with("path="))
                {
                    return wrong(
                        "tss-esapi 7.7 would ignore the socket path and connect to 127.0.0.1:2321; start swtpm with --server type=tcp and give host and port",
                    );
                }
                for option in options.split(',').filter(|option| !option.is_empty()) {
                    match option.split_once('=') {
                        Some(("host", host)) if !host.is_empty() => {}
                        Some(("port", port)) if port.parse::<u16>().is_ok_and(|port| port != 0) => {
                        }
                        _ => {
                            return wrong(
                                "expected host=NAME and port=NUMBER, separated by a comma",
                            );
                        }
                    }
                }
                Ok(Self(text.to_owned()))
            }
            _ => wrong(
                "expected device:PATH, swtpm:host=NAME,port=NUMBER, mssim:host=NAME,port=NUMBER or tabrmd",
            ),
        }
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
