//! The installer: a container image with the signed boot loader and UKI in it, as Talos's `imager` makes it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::assets::{Assets, BuildOptions};
use crate::build_medium::{Made, made, open, publish, resolve, scratch};
use crate::container::{ArchiveForm, ContainerImage, Layer, header, hex};
use crate::output::Output;
use crate::profile::Profile;
use crate::progress::Progress;
use crate::{Error, build_uki, clock, medium};

/// `imager secureboot-installer`.
#[derive(Debug, Clone, Args)]
#[non_exhaustive]
pub struct InstallerOptions {
    /// What the image is made of
    #[command(flatten)]
    pub build: BuildOptions,
    /// Installer image to build upon: an OCI layout (folder or tar) or a docker archive; without it the image holds boot
    /// loader and UKI only
    #[arg(long, value_name = "PATH")]
    pub base_installer: Option<PathBuf>,
    /// Name and tag of the image [default: that of the profile's base installer, or installer:VERSION]
    #[arg(long, value_name = "NAME")]
    pub image_name: Option<String>,
    /// docker (what `docker load` takes) or oci (an OCI layout in a tar)
    #[arg(long, value_name = "FORM", default_value = "docker", value_parser = ["docker", "oci"])]
    pub archive: String,
}

/// `imager secureboot-installer`: `installer-<arch>-secureboot.tar`.
///
/// # Errors
/// What the inputs, the base image or the disk refuse.
pub fn installer(options: InstallerOptions, progress: &Progress) -> Result<Made, Error> {
    let from_profile = options
        .build
        .profile
        .as_deref()
        .map(Profile::read)
        .transpose()?
        .unwrap_or_default()
        .input
        .base_installer;
    let form = match options.archive.as_str() {
        "oci" => ArchiveForm::Oci,
        _ => ArchiveForm::Docker,
    };
    let base = options
        .base_installer
        .or(from_profile.oci_path)
        .or(from_profile.tarball_path);
    if base.is_none() && from_profile.image_ref.is_some() {
        return Err(Error::usage(
            "input.baseInstaller.imageRef",
            "nothing is fetched from a registry; give the image as a file with --base-installer",
        ));
    }
    let assets = resolve(options.build, &["installer"], progress)?;
    let mut image = match &base {
        Some(path) => ContainerImage::read(path, assets.arch)?,
        None => {
            progress.warning("no --base-installer: the image holds boot loader and UKI, and no program that installs them");
            ContainerImage::empty()
        }
    };
    // An official installer has two layers, and the second holds the stock files that are replaced here.
    if image.layers.len() == 2 {
        image.layers.truncate(1);
    }
    let reference = options
        .image_name
        .or(from_profile.image_ref)
        .unwrap_or_else(|| default_name(&assets.label));
    let created = der::DateTime::from_system_time(clock::now()?)
        .map_err(|error| Error::step("date the container image", error))?
        .to_string();

    let loader = medium::signed_loader(&assets)?;
    let mut out = open(
        &assets.options,
        &format!("installer-{}-secureboot.tar", assets.arch.name()),
    )?;
    let mut uki = scratch(&out)?;
    let built = build_uki::build(&assets, &mut uki, progress)?;
    progress.message("UKI ready");
    // The name of a layer is the digest of its bytes, so the layer has to exist before the archive can name it.
    let mut packed = scratch(&out)?;
    let layer = artifacts_layer(&assets, &loader, (&uki, built.len), &mut packed, progress)?;
    image.layers.push(layer);

    let mut bar = progress.bar(
        "installer",
        image.layers.iter().map(|layer| layer.len).sum(),
    );
    image.write(&mut out, form, assets.arch, &reference, &created, &mut bar)?;
    drop(bar);
    let len = out.written_len()?;
    progress.message("installer ready");
    made(publish(out, progress)?, len, &built, &assets.options)
}

/// The layer with what the installer copies to the disk: a gzip of a tar, both without time.
fn artifacts_layer(
    assets: &Assets,
    loader: &[u8],
    (uki, uki_len): (&Output, u64),
    packed: &mut Output,
    progress: &Progress,
) -> Result<Layer, Error> {
    let step = |source| Error::step("pack the artifacts layer", source);
    let place = |name: &str| format!("usr/install/{}/{name}", assets.arch.name());
    let mut stored = Hashed::new(&mut *packed);
    // The kernel's payload is compressed already; a higher level buys nothing but time.
    let gzip = GzBuilder::new()
        .mtime(0)
        .write(&mut stored, Compression::new(6));
    let mut archive = tar::Builder::new(Hashed::new(gzip));
    let mut bar = progress.bar("artifacts layer", uki_len);
    // In the order of their paths.
    archive
        .append_data(
            &mut header(loader.len() as u64),
            place("systemd-boot.efi"),
            loader,
        )
        .map_err(step)?;
    let uki_path = uki.reopen_path();
    let file =
        std::fs::File::open(&uki_path).map_err(|source| Error::io("read", &uki_path, source))?;
    let mut uki_header = header(uki_len);
    let reader = bar.watch(io::Read::take(file, uki_len));
    archive
        .append_data(&mut uki_header, place("vmlinuz.efi"), reader)
        .map_err(step)?;
    let (gzip, diff_id, _) = archive.into_inner().map_err(step)?.finish();
    gzip.finish().map_err(step)?;
    let (_, digest, len) = stored.finish();
    Ok(Layer::in_file(packed.reopen_path(), len, digest, diff_id))
}

/// `installer:VERSION`, of the characters that a reference takes.
fn default_name(label: &str) -> String {
    let tag: String = label
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    format!("installer:{}", tag.trim_start_matches(['.', '-']))
}

/// Hashes what goes through.
struct Hashed<W> {
    inner: W,
    hasher: Sha256,
    len: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            len: 0,
        }
    }

    /// The writer below, the digest as hex, and the length.
    fn finish(self) -> (W, String, u64) {
        (self.inner, hex(&self.hasher.finalize()), self.len)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.len += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_is_a_valid_reference() {
        assert_eq!(default_name("Talos-v1.9+x"), "installer:Talos-v1.9-x");
    }
}
