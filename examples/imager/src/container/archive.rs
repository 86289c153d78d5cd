//! Writing a container image as one file.

use std::io::Write;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{ArchiveForm, ContainerImage, blob_name, hex};
use crate::Error;
use crate::arch::Arch;
use crate::contents::Part;
use crate::progress::Bar;

impl ContainerImage {
    /// Writes the image, with `created` as RFC 3339 text.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Step`] when a layer cannot be read or the output not be written.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        form: ArchiveForm,
        arch: Arch,
        reference: &str,
        created: &str,
        bar: &mut Bar,
    ) -> Result<(), Error> {
        let step = |source| Error::step("write the container image", source);
        let diff_ids: Vec<String> = self
            .layers
            .iter()
            .map(|layer| format!("sha256:{}", layer.diff_id))
            .collect();
        let config = json!({
            "architecture": arch.name(),
            "created": created,
            "os": "linux",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": self.layers.iter().map(|_| json!({ "created": created })).collect::<Vec<_>>(),
        })
        .to_string();
        let config_digest = hex(&Sha256::digest(&config));
        let name = |digest: &str| match form {
            ArchiveForm::Docker => format!("{digest}.tar.gz"),
            ArchiveForm::Oci => blob_name(digest),
        };

        let mut archive = tar::Builder::new(out);
        let small = |archive: &mut tar::Builder<_>, name: &str, text: &str| {
            archive
                .append_data(&mut header(text.len() as u64), name, text.as_bytes())
                .map_err(step)
        };
        if form == ArchiveForm::Docker {
            small(&mut archive, &format!("sha256:{config_digest}"), &config)?;
        } else {
            small(
                &mut archive,
                "oci-layout",
                &json!({ "imageLayoutVersion": "1.0.0" }).to_string(),
            )?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": format!("sha256:{config_digest}"),
                    "size": config.len(),
                },
                "layers": self.layers.iter().map(|layer| json!({
                    "mediaType": layer.media_type,
                    "digest": format!("sha256:{}", layer.digest),
                    "size": layer.len,
                })).collect::<Vec<_>>(),
            })
            .to_string();
            let digest = hex(&Sha256::digest(&manifest));
            let index = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": format!("sha256:{digest}"),
                    "size": manifest.len(),
                    "platform": { "architecture": arch.name(), "os": "linux" },
                    "annotations": { "org.opencontainers.image.ref.name": reference },
                }],
            });
            small(&mut archive, "index.json", &index.to_string())?;
            small(&mut archive, &blob_name(&digest), &manifest)?;
            small(&mut archive, &blob_name(&config_digest), &config)?;
        }
        let mut written = Vec::new();
        for layer in &self.layers {
            // Layers that are the same are stored once.
            if written.contains(&&layer.digest) {
                continue;
            }
            written.push(&layer.digest);
            let part = Part::open(&layer.file, layer.start, layer.len)?;
            archive
                .append_data(&mut header(layer.len), name(&layer.digest), bar.watch(part))
                .map_err(step)?;
        }
        if form == ArchiveForm::Docker {
            let layers: Vec<String> = self
                .layers
                .iter()
                .map(|layer| name(&layer.digest))
                .collect();
            let manifest = json!([{
                "Config": format!("sha256:{config_digest}"),
                "RepoTags": [reference],
                "Layers": layers,
            }]);
            small(&mut archive, "manifest.json", &manifest.to_string())?;
        }
        archive.finish().map_err(step)
    }
}

/// Owner 0 and time 0, so that the same image gives the same archive.
pub(crate) fn header(len: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(len);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
