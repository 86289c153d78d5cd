//! Build profiles in YAML, with the field names that users of Talos's imager know.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// A profile file. Fields that this program does not act on are refused when they ask for something, so that no
/// wish is dropped in silence.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Profile {
    /// The profile that this one changes: `secureboot-iso`, `secureboot-metal-uki`, `secureboot-metal`,
    /// `secureboot-installer`.
    pub base_profile_name: Option<String>,
    /// `amd64` or `arm64`.
    pub arch: Option<String>,
    /// Only `metal`.
    pub platform: Option<String>,
    /// Only `true`.
    pub secureboot: Option<bool>,
    /// A name for the profile; it goes nowhere.
    pub name: Option<String>,
    /// Version of the operating system, part of the UKI's file name and the volume label.
    pub version: Option<String>,
    /// What is added to the base.
    pub customization: Customization,
    /// The files that the image is made of.
    pub input: Input,
    /// Board overlays.
    pub overlay: Option<serde_norway::Value>,
    /// What is made.
    pub output: Output,
}

/// `customization`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Customization {
    /// Appended to the command line.
    pub extra_kernel_args: Vec<String>,
    meta_contents: Vec<serde_norway::Value>,
    embedded_machine_configuration: Option<String>,
}

/// A file of the input.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct File {
    /// Where it is.
    pub path: Option<PathBuf>,
}

/// `input`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Input {
    /// The kernel.
    pub kernel: File,
    /// The initramfs.
    pub initramfs: File,
    /// systemd-stub.
    pub sd_stub: File,
    /// systemd-boot.
    pub sd_boot: File,
    /// The container image that the installer's layers come from.
    pub base_installer: Container,
    image_cache: Container,
    overlay_installer: Container,
    system_extensions: Vec<serde_norway::Value>,
    /// Keys and enrolment files.
    pub secureboot: Option<SecureBoot>,
}

/// A container image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Container {
    /// A registry reference; only the name of the result here, nothing is fetched.
    pub image_ref: Option<String>,
    force_insecure: bool,
    /// A docker archive.
    pub tarball_path: Option<PathBuf>,
    /// An OCI layout folder.
    pub oci_path: Option<PathBuf>,
}

/// `input.secureboot`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SecureBoot {
    /// The Secure Boot key.
    pub secure_boot_signer: Signer,
    /// The PCR key.
    pub pcr_signer: Signer,
    /// `PK.auth`.
    pub platform_key_path: Option<PathBuf>,
    /// `KEK.auth`.
    pub key_exchange_key_path: Option<PathBuf>,
    /// `db.auth`.
    pub signature_key_path: Option<PathBuf>,
    /// Add Microsoft's certificates when the `.auth` files are made.
    pub include_well_known_certs: bool,
}

/// A signer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Signer {
    /// Private key, PEM.
    pub key_path: Option<PathBuf>,
    /// Certificate, PEM or DER.
    pub cert_path: Option<PathBuf>,
    #[serde(rename = "azureVaultURL")]
    azure_vault_url: Option<String>,
    #[serde(rename = "azureCertificateID")]
    azure_certificate_id: Option<String>,
    #[serde(rename = "azureKeyID")]
    azure_key_id: Option<String>,
    azure_key_version: Option<String>,
    #[serde(rename = "awsKMSKeyID")]
    aws_kms_key_id: Option<String>,
    aws_region: Option<String>,
    aws_cert_path: Option<PathBuf>,
    #[serde(rename = "awsCertARN")]
    aws_cert_arn: Option<String>,
    signer_address: Option<String>,
}

/// `output`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Output {
    /// `iso`, `uki`, `image` or `installer`; the command decides, and must not contradict.
    pub kind: Option<String>,
    /// Options of disk images.
    pub image_options: Option<ImageOptions>,
    /// Options of ISO images.
    pub iso_options: Option<IsoOptions>,
    /// `raw` or `.zst`.
    pub out_format: Option<String>,
}

/// `output.imageOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImageOptions {
    /// Bytes.
    pub disk_size: Option<u64>,
    /// Only `raw`.
    pub disk_format: Option<String>,
    disk_format_options: Option<String>,
    /// 512 or 4096.
    pub disk_sector_size: Option<u32>,
    /// Only `sd-boot`.
    pub bootloader: Option<String>,
    /// As [`IsoOptions::sd_boot_enroll_keys`].
    pub sd_boot_enroll_keys: Option<String>,
}

/// `output.isoOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct IsoOptions {
    /// `off`, `manual`, `if-safe` or `force`.
    pub sd_boot_enroll_keys: Option<String>,
    /// Only `sd-boot`.
    pub bootloader: Option<String>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] with line and column when the YAML is not a profile; [`Error::Usage`] names a
    /// field that asks for something that cannot be had here.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(|source| Error::io("read", path, source))?;
        let profile: Self = serde_norway::from_slice(&bytes)
            .map_err(|error| Error::input("profile", path, error))?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), Error> {
        let only = |field: &str, found: Option<&str>, known: &[&str]| match found {
            Some(found) if !known.contains(&found) => Err(Error::usage(
                field,
                format!("'{found}' is not supported, only {}", known.join(", ")),
            )),
            _ => Ok(()),
        };
        only("platform", self.platform.as_deref(), &["metal"])?;
        if self.secureboot == Some(false) {
            return Err(Error::usage(
                "secureboot",
                "only Secure Boot images are made here",
            ));
        }
        let image = self.output.image_options.as_ref();
        let iso = self.output.iso_options.as_ref();
        only(
            "output.imageOptions.diskFormat",
            image.and_then(|o| o.disk_format.as_deref()),
            &["raw"],
        )?;
        only(
            "output.imageOptions.bootloader",
            image.and_then(|o| o.bootloader.as_deref()),
            &["sd-boot"],
        )?;
        only(
            "output.isoOptions.bootloader",
            iso.and_then(|o| o.bootloader.as_deref()),
            &["sd-boot"],
        )?;
        only(
            "output.outFormat",
            self.output.out_format.as_deref(),
            &["raw", ".zst"],
        )?;
        let empty = |value: &Option<serde_norway::Value>| {
            value.as_ref().is_none_or(|value| match value {
                serde_norway::Value::Null => true,
                serde_norway::Value::Mapping(map) => map.is_empty(),
                serde_norway::Value::String(text) => text.is_empty(),
                _ => false,
            })
        };
        let signers = self
            .input
            .secureboot
            .iter()
            .flat_map(|s| [&s.secure_boot_signer, &s.pcr_signer]);
        let asked = [
            ("overlay", !empty(&self.overlay)),
            (
                "customization.metaContents",
                !self.customization.meta_contents.is_empty(),
            ),
            (
                "customization.embeddedMachineConfiguration",
                self.customization
                    .embedded_machine_configuration
                    .as_ref()
                    .is_some_and(|text| !text.is_empty()),
            ),
            ("input.imageCache", self.input.image_cache.is_given()),
            (
                "input.overlayInstaller",
                self.input.overlay_installer.is_given(),
            ),
            (
                "input.systemExtensions",
                !self.input.system_extensions.is_empty(),
            ),
            (
                "output.imageOptions.diskFormatOptions",
                image
                    .and_then(|o| o.disk_format_options.as_ref())
                    .is_some_and(|text| !text.is_empty()),
            ),
            (
                "input.secureboot: a signer in a cloud or behind a socket",
                signers.into_iter().any(Signer::is_remote),
            ),
        ];
        match asked.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(Error::usage(*field, "not supported here; leave it out")),
            None => Ok(()),
        }
    }
}

impl Container {
    fn is_given(&self) -> bool {
        self.image_ref.is_some()
            || self.tarball_path.is_some()
            || self.oci_path.is_some()
            || self.force_insecure
    }
}

impl Signer {
    fn is_remote(&self) -> bool {
        let texts = [
            &self.azure_vault_url,
            &self.azure_certificate_id,
            &self.azure_key_id,
            &self.azure_key_version,
            &self.aws_kms_key_id,
            &self.aws_region,
            &self.aws_cert_arn,
            &self.signer_address,
        ];
        texts
            .into_iter()
            .any(|text| text.as_ref().is_some_and(|text| !text.is_empty()))
            || self.aws_cert_path.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Profile, String> {
        let profile: Profile = serde_norway::from_str(text).map_err(|error| error.to_string())?;
        profile.check().map_err(|error| error.to_string())?;
        Ok(profile)
    }

    #[test]
    fn takes_a_profile_as_talos_prints_it() {
        let profile = parse(
            "arch: amd64\nplatform: metal\nsecureboot: true\nversion: v1.9.0\n\
             customization:\n  extraKernelArgs: [a=b, quiet]\n\
             input:\n  kernel: {path: /usr/install/amd64/vmlinuz}\n  baseInstaller: {imageRef: example/installer:v1}\n\
             \x20 secureboot:\n    secureBootSigner: {keyPath: k.pem, certPath: c.pem}\n    includeWellKnownCerts: false\n\
             output:\n  kind: iso\n  isoOptions: {sdBootEnrollKeys: if-safe}\n  outFormat: raw\noverlay: {}\n",
        )
        .unwrap();
        assert_eq!(profile.customization.extra_kernel_args, ["a=b", "quiet"]);
        assert_eq!(
            profile.input.kernel.path.as_deref(),
            Some(Path::new("/usr/install/amd64/vmlinuz"))
        );
    }

    #[test]
    fn names_what_it_does_not_know_or_support() {
        assert!(parse("kernelPath: x\n").unwrap_err().contains("kernelPath"));
        assert_eq!(
            parse("customization: {metaContents: [{key: 1, value: x}]}").unwrap_err(),
            "customization.metaContents: not supported here; leave it out"
        );
        assert_eq!(
            parse("platform: aws").unwrap_err(),
            "platform: 'aws' is not supported, only metal"
        );
    }
}
