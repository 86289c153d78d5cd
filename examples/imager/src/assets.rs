//! What an image is made of: command line flags over profile over defaults, resolved to files that exist.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use rsa::RsaPrivateKey;

use crate::Error;
use crate::arch::Arch;
use crate::command_line::command_line;
use crate::keys::{self, Passphrase};
use crate::label::label;
use crate::profile::Profile;

/// The options that all builds share.
#[derive(Debug, Clone, Default, Args)]
#[non_exhaustive]
pub struct BuildOptions {
    /// A build profile in YAML; a flag wins over the profile
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Architecture of the image: amd64 or arm64
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Linux kernel [default: /usr/install/ARCH/vmlinuz]
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Initramfs; several are joined in this order [default: /usr/install/ARCH/initramfs.xz]
    #[arg(long, value_name = "FILE")]
    pub initramfs: Vec<PathBuf>,
    /// systemd-stub [default: /usr/install/ARCH/systemd-stub.efi, then systemd's own folder]
    #[arg(long, value_name = "FILE")]
    pub sd_stub: Option<PathBuf>,
    /// systemd-boot [default: /usr/install/ARCH/systemd-boot.efi, then systemd's own folder]
    #[arg(long, value_name = "FILE")]
    pub sd_boot: Option<PathBuf>,
    /// Kernel command line; @FILE takes the bytes of a file as they are
    #[arg(long, value_name = "TEXT")]
    pub cmdline: Option<String>,
    /// os-release text of the system in the image; without it the UKI has none
    #[arg(long, value_name = "FILE")]
    pub os_release: Option<PathBuf>,
    /// Kernel version for .uname [default: found in the kernel]
    #[arg(long, value_name = "VERSION")]
    pub uname: Option<String>,
    /// SBAT lines to add to those of the stub and the kernel
    #[arg(long, value_name = "FILE")]
    pub sbat: Vec<PathBuf>,
    /// Boot splash, BMP
    #[arg(long, value_name = "FILE")]
    pub splash: Option<PathBuf>,
    /// CPU microcode, an uncompressed cpio
    #[arg(long, value_name = "FILE")]
    pub microcode: Option<PathBuf>,
    /// Version of the system in the image, part of file names and labels [default: from os-release]
    #[arg(long = "os-version", value_name = "VERSION")]
    pub version: Option<String>,
    /// Name of the system in the image, part of file names and labels [default: from os-release]
    #[arg(long, value_name = "NAME")]
    pub os_name: Option<String>,
    /// Folder with the keys and .auth files that `imager gen` made
    #[arg(long, value_name = "DIR", default_value = "_out")]
    pub secureboot_dir: PathBuf,
    /// Secure Boot key, PEM [default: DIR/uki-signing-key.pem]
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// Secure Boot certificate or chain, signer first [default: DIR/uki-signing-cert.pem]
    #[arg(long, value_name = "FILE")]
    pub signing_cert: Option<PathBuf>,
    /// PCR signing key, PEM [default: DIR/pcr-signing-key.pem]
    #[arg(long, value_name = "FILE")]
    pub pcr_key: Option<PathBuf>,
    /// PK.auth to enrol [default: DIR/PK.auth]
    #[arg(long, value_name = "FILE")]
    pub pk: Option<PathBuf>,
    /// KEK.auth to enrol [default: DIR/KEK.auth]
    #[arg(long, value_name = "FILE")]
    pub kek: Option<PathBuf>,
    /// db.auth to enrol [default: DIR/db.auth]
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// dbx.auth to enrol; systemd-boot takes it from version 257 on [default: DIR/dbx.auth if it is there]
    #[arg(long, value_name = "FILE")]
    pub dbx: Option<PathBuf>,
    /// File with the passphrase of the Secure Boot key (or set IMAGER_KEY_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    pub key_passphrase_file: Option<PathBuf>,
    /// File with the passphrase of the PCR key (or set IMAGER_PCR_KEY_PASSPHRASE)
    #[arg(long, value_name = "FILE")]
    pub pcr_key_passphrase_file: Option<PathBuf>,
    /// Boot phase path to sign, words joined by colons; may be repeated [default: enter-initrd]
    #[arg(long = "phases", value_name = "PATH")]
    pub phases: Vec<String>,
    /// PCR banks to sign, joined by commas
    #[arg(
        long,
        value_name = "BANKS",
        default_value = "sha1,sha256,sha384,sha512"
    )]
    pub banks: String,
    /// Further boot profile of the UKI: `ID[:TITLE]=COMMAND LINE`; may be repeated
    #[arg(long = "uki-profile", value_name = "PROFILE")]
    pub uki_profiles: Vec<String>,
    /// When systemd-boot enrols the keys: off, manual, if-safe or force [default: if-safe, or force before 253]
    #[arg(long, value_name = "WHEN")]
    pub enroll_keys: Option<String>,
    /// Where the result goes: a folder, or a file name with its ending
    #[arg(long, short, value_name = "PATH", default_value = "_out")]
    pub output: PathBuf,
    /// Replace an existing image
    #[arg(long)]
    pub force: bool,
}

/// What a file of the boot is looked for as, when it is not named.
struct Lookup {
    what: &'static str,
    flag: &'static str,
    places: Vec<PathBuf>,
}

/// Inputs that exist, read or ready to be streamed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Assets {
    /// The options, with the profile's values filled in.
    pub options: BuildOptions,
    /// `amd64` or `arm64`.
    pub arch: Arch,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs parts.
    pub initramfs: Vec<PathBuf>,
    /// systemd-stub.
    pub stub: PathBuf,
    /// The command line, as it stands in the UKI.
    pub cmdline: Vec<u8>,
    /// The os-release text.
    pub os_release: Option<Vec<u8>>,
    /// Name and version for file names and labels, `NAME-VERSION` (`debian-12`).
    pub label: String,
    /// The Secure Boot key.
    pub signing_key: RsaPrivateKey,
    /// The signer's certificates, PEM or DER, signer first.
    pub signing_cert: Vec<u8>,
    /// Where they came from.
    pub signing_cert_path: PathBuf,
    /// The PCR signing key.
    pub pcr_key: RsaPrivateKey,
}

impl BuildOptions {
    /// Fills in what the profile says and no flag does.
    fn with_profile(mut self, kinds: &[&str]) -> Result<(Self, Vec<String>), Error> {
        let Some(path) = &self.profile else {
            return Ok((self, Vec::new()));
        };
        let profile = Profile::read(path)?;
        if let Some(kind) = profile
            .output
            .kind
            .as_deref()
            .filter(|kind| !kinds.contains(kind))
        {
            return Err(Error::usage(
                "output.kind",
                format!("the profile makes '{kind}', this command does not"),
            ));
        }
        fn fill<T>(flag: &mut Option<T>, profile: Option<T>) {
            if flag.is_none() {
                *flag = profile;
            }
        }
        fill(&mut self.arch, profile.arch);
        fill(&mut self.version, profile.version);
        fill(&mut self.kernel, profile.input.kernel.path);
        if self.initramfs.is_empty() {
            self.initramfs.extend(profile.input.initramfs.path);
        }
        fill(&mut self.sd_stub, profile.input.sd_stub.path);
        fill(&mut self.sd_boot, profile.input.sd_boot.path);
        if let Some(keys) = profile.input.secureboot {
            fill(&mut self.signing_key, keys.secure_boot_signer.key_path);
            fill(&mut self.signing_cert, keys.secure_boot_signer.cert_path);
            fill(&mut self.pcr_key, keys.pcr_signer.key_path);
            fill(&mut self.pk, keys.platform_key_path);
            fill(&mut self.kek, keys.key_exchange_key_path);
            fill(&mut self.db, keys.signature_key_path);
        }
        let iso = profile
            .output
            .iso_options
            .and_then(|options| options.sd_boot_enroll_keys);
        let image = profile
            .output
            .image_options
            .and_then(|options| options.sd_boot_enroll_keys);
        fill(&mut self.enroll_keys, iso.or(image));
        Ok((self, profile.customization.extra_kernel_args))
    }

    /// Reads keys and small inputs and makes sure that the large ones are there.
    ///
    /// # Errors
    /// [`Error::Missing`] names an input and its flag, [`Error::Key`] and [`Error::KeyMismatch`] a key that does not
    /// serve, [`Error::Usage`] an option or profile field without meaning here.
    pub fn resolve(self, kinds: &[&str]) -> Result<Assets, Error> {
        let (options, extra_args) = self.with_profile(kinds)?;
        let arch = Arch::parse(
            options
                .arch
                .as_deref()
                .unwrap_or(match std::env::consts::ARCH {
                    "aarch64" => "arm64",
                    _ => "amd64",
                }),
        )?;
        let installed = |name: &str| PathBuf::from(format!("/usr/install/{}/{name}", arch.name()));
        let kernel = pick(
            options.kernel.as_deref(),
            Lookup {
                what: "the kernel",
                flag: "--kernel",
                places: vec![installed("vmlinuz")],
            },
        )?;
        let initramfs = if options.initramfs.is_empty() {
            let places = vec![installed("initramfs.xz")];
            vec![pick(
                None,
                Lookup {
                    what: "the initramfs",
                    flag: "--initramfs",
                    places,
                },
            )?]
        } else {
            options
                .initramfs
                .iter()
                .map(|path| {
                    pick(
                        Some(path),
                        Lookup {
                            what: "the initramfs",
                            flag: "--initramfs",
                            places: vec![],
                        },
                    )
                })
                .collect::<Result<_, _>>()?
        };
        let systemd = Path::new("/usr/lib/systemd/boot/efi");
        let stub = pick(
            options.sd_stub.as_deref(),
            Lookup {
                what: "systemd-stub",
                flag: "--sd-stub",
                places: vec![
                    installed("systemd-stub.efi"),
                    systemd.join(format!("linux{}.efi.stub", arch.efi_name().to_lowercase())),
                ],
            },
        )?;
        let os_release = options.os_release.as_deref().map(read).transpose()?;
        let cmdline = command_line(options.cmdline.as_deref(), &extra_args)?;
        let (signing_key, signing_cert, signing_cert_path) = options.signer()?;
        let pcr_key_path = options.key_file(
            options.pcr_key.as_deref(),
            "pcr-signing-key.pem",
            "--pcr-key",
            "pcr",
        )?;
        let pcr_passphrase = Passphrase::new(
            options.pcr_key_passphrase_file.clone(),
            "IMAGER_PCR_KEY_PASSPHRASE",
        );
        let pcr_key = keys::read_private_key(&pcr_key_path, &pcr_passphrase)?;
        let label = label(&options, os_release.as_deref());
        Ok(Assets {
            options,
            arch,
            kernel,
            initramfs,
            stub,
            cmdline,
            os_release,
            label,
            signing_key,
            signing_cert,
            signing_cert_path,
            pcr_key,
        })
    }

    /// The Secure Boot key and certificates, checked against each other.
    ///
    /// # Errors
    /// As [`BuildOptions::resolve`].
    pub fn signer(&self) -> Result<(RsaPrivateKey, Vec<u8>, PathBuf), Error> {
        let key_path = self.key_file(
            self.signing_key.as_deref(),
            "uki-signing-key.pem",
            "--signing-key",
            "uki",
        )?;
        let cert_path = self.key_file(
            self.signing_cert.as_deref(),
            "uki-signing-cert.pem",
            "--signing-cert",
            "uki",
        )?;
        let passphrase = Passphrase::new(self.key_passphrase_file.clone(), "IMAGER_KEY_PASSPHRASE");
        let key = keys::read_private_key(&key_path, &passphrase)?;
        let certificate = read(&cert_path)?;
        let chain = authenticode::Certificate::from_pem_or_der(&certificate)
            .map_err(|error| Error::input("certificate", &cert_path, error))?;
        let signer = chain
            .first()
            .map(|first| first.as_der())
            .unwrap_or_default();
        if !keys::belongs_to(&key, signer) {
            return Err(Error::KeyMismatch {
                key: key_path,
                certificate: cert_path,
            });
        }
        Ok((key, certificate, cert_path))
    }

    fn key_file(
        &self,
        given: Option<&Path>,
        name: &str,
        flag: &'static str,
        gen_word: &str,
    ) -> Result<PathBuf, Error> {
        let path = given.map_or_else(|| self.secureboot_dir.join(name), Path::to_owned);
        if given.is_none() && path.symlink_metadata().is_err() {
            return Err(Error::Missing {
                what: match flag {
                    "--pcr-key" => "the PCR signing key",
                    "--signing-cert" => "the Secure Boot certificate",
                    _ => "the Secure Boot key",
                },
                hint: format!(
                    "looked for {}; give it with {flag}, or make it with: imager gen {gen_word} -o {}",
                    path.display(),
                    self.secureboot_dir.display()
                ),
            });
        }
        Ok(path)
    }

    /// systemd-boot for this architecture.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn boot_loader(&self, arch: Arch) -> Result<PathBuf, Error> {
        pick(
            self.sd_boot.as_deref(),
            Lookup {
                what: "systemd-boot",
                flag: "--sd-boot",
                places: vec![
                    PathBuf::from(format!("/usr/install/{}/systemd-boot.efi", arch.name())),
                    PathBuf::from(format!(
                        "/usr/lib/systemd/boot/efi/systemd-boot{}.efi",
                        arch.efi_name().to_lowercase()
                    )),
                ],
            },
        )
    }

    /// The result's path: `--output` with this name, unless `--output` names a file.
    ///
    /// # Errors
    /// [`Error::Usage`] when `--output` is a file of another kind.
    pub fn output_path(&self, name: &str) -> Result<PathBuf, Error> {
        let ending = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let wanted = ending(Path::new(name)).unwrap_or_default();
        if self.output.is_dir() {
            return Ok(self.output.join(name));
        }
        match ending(&self.output) {
            Some(found) if found == wanted => Ok(self.output.clone()),
            _ if self.output.symlink_metadata().is_ok() => Err(Error::usage(
                "--output",
                format!(
                    "{} is there and not a folder; give a folder, or a file name that ends in .{wanted}",
                    self.output.display()
                ),
            )),
            _ => Ok(self.output.join(name)),
        }
    }
}

fn pick(given: Option<&Path>, default: Lookup) -> Result<PathBuf, Error> {
    if let Some(path) = given {
        // Opened now, so that a name that was mistyped is told before any work.
        return match fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(meta) if meta.is_file() => Ok(path.to_owned()),
            Ok(_) => Err(Error::usage(
                default.flag,
                format!("{} is not a file", path.display()),
            )),
            Err(source) => Err(Error::io("read", path, source)),
        };
    }
    default
        .places
        .iter()
        .find(|place| place.is_file())
        .cloned()
        .ok_or_else(|| Error::Missing {
            what: default.what,
            hint: {
                let places: Vec<_> = default
                    .places
                    .iter()
                    .map(|place| place.display().to_string())
                    .collect();
                format!(
                    "give it with {} (looked for {})",
                    default.flag,
                    places.join(", ")
                )
            },
        })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::io("read", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_a_folder_unless_it_has_the_results_ending() {
        let with = |output: &str| BuildOptions {
            output: output.into(),
            ..BuildOptions::default()
        };
        let path = |output: &str| with(output).output_path("a.iso");
        assert_eq!(path("x").unwrap(), Path::new("x/a.iso"));
        assert_eq!(path("x/b.iso").unwrap(), Path::new("x/b.iso"));
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(
            path(here)
                .unwrap_err()
                .to_string()
                .ends_with("ends in .iso")
        );
    }
}
