//! Container images in files: reading one from an OCI layout or a docker archive, writing one as either.
//!
//! Formats: OCI image-spec 1.1 (layout, index, manifest, config) and the archive of `docker save`. Nothing is fetched,
//! and layers are copied as they are, never unpacked.

mod archive;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::arch::Arch;
use crate::contents::Part;

pub(crate) use archive::header;

/// Manifests and configs are a few KiB; a larger one is no manifest.
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// An index may name an index; deeper nesting exists only to confuse.
const INDEX_DEPTH: usize = 4;

/// One layer: where its bytes are, and both of its digests as hex.
#[derive(Debug)]
pub(crate) struct Layer {
    file: PathBuf,
    start: u64,
    pub(crate) len: u64,
    /// SHA-256 of the bytes as stored, which is the layer's name.
    pub(crate) digest: String,
    /// SHA-256 of the tar in them.
    pub(crate) diff_id: String,
    media_type: String,
}

/// An image: its layers, and the `config` block with entry point, environment and the like.
#[derive(Debug)]
pub(crate) struct ContainerImage {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: Value,
}

/// The form of the file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveForm {
    /// What `docker load` takes.
    Docker,
    /// An OCI layout in a tar.
    Oci,
}

impl Layer {
    /// A gzip layer that lies in a file by itself.
    pub(crate) fn in_file(file: PathBuf, len: u64, digest: String, diff_id: String) -> Self {
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".into();
        Self {
            file,
            start: 0,
            len,
            digest,
            diff_id,
            media_type,
        }
    }
}

/// A layer as it lies in its store, not checked yet.
struct Stored {
    file: PathBuf,
    start: u64,
    len: u64,
    /// A layout names its layers by digest, a docker archive by anything.
    digest: Option<String>,
    media_type: String,
}

/// Where the blobs of an image lie.
struct Store {
    path: PathBuf,
    /// Place and length of each file of an archive; none for a folder.
    archive: Option<HashMap<PathBuf, (u64, u64)>>,
}

impl Store {
    fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::io("read", path, source);
        let meta = fs::metadata(path).map_err(io_error)?;
        if meta.is_dir() {
            return Ok(Self {
                path: path.to_owned(),
                archive: None,
            });
        }
        let mut files = HashMap::new();
        let mut links = Vec::new();
        let file = File::open(path).map_err(io_error)?;
        for entry in tar::Archive::new(file)
            .entries_with_seek()
            .map_err(io_error)?
        {
            let entry = entry.map_err(|source| Error::input("container archive", path, source))?;
            let name = plain(&entry.path().map_err(io_error)?);
            let kind = entry.header().entry_type();
            if kind.is_file() {
                files.insert(name, (entry.raw_file_position(), entry.size()));
            } else if let (true, Some(target)) = (
                kind.is_symlink() || kind.is_hard_link(),
                entry.link_name().map_err(io_error)?,
            ) {
                // `docker save` used to store a repeated layer as a symlink beside the first.
                let folder = name.parent().unwrap_or(Path::new("")).to_owned();
                let base = if kind.is_symlink() {
                    folder
                } else {
                    PathBuf::new()
                };
                links.push((name, plain(&base.join(target))));
            }
        }
        for (name, target) in links {
            if let Some(&place) = files.get(&target) {
                files.insert(name, place);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            archive: Some(files),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// File, first byte and length of a blob.
    fn place(&self, name: &str) -> Result<(PathBuf, u64, u64), Error> {
        let missing = || Error::input("container image", &self.path, format!("{name} is missing"));
        match &self.archive {
            Some(files) => {
                let (start, len) = *files.get(&plain(Path::new(name))).ok_or_else(missing)?;
                Ok((self.path.clone(), start, len))
            }
            None => {
                let file = self.path.join(plain(Path::new(name)));
                let meta = fs::metadata(&file).map_err(|_| missing())?;
                if !meta.is_file() {
                    return Err(missing());
                }
                Ok((file, 0, meta.len()))
            }
        }
    }

    fn document(&self, name: &str) -> Result<(Value, String), Error> {
        let (file, start, len) = self.place(name)?;
        let wrong = |problem: String| Error::input("container image", &self.path, problem);
        if len > DOCUMENT_LIMIT {
            return Err(wrong(format!("{name} has {len} bytes, too many for JSON")));
        }
        let mut bytes = Vec::new();
        Part::open(&file, start, len)?
            .read_to_end(&mut bytes)
            .map_err(|source| Error::io("read", &file, source))?;
        let value =
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{name}: {error}")))?;
        Ok((value, hex(&Sha256::digest(&bytes))))
    }

    /// A document that is named by its digest, which is checked.
    fn blob(&self, descriptor: &Value) -> Result<Value, Error> {
        let digest = digest_of(descriptor, &self.path)?;
        let (value, found) = self.document(&blob_name(&digest))?;
        if found != digest {
            let problem = format!("blob sha256:{digest} has the digest sha256:{found}");
            return Err(Error::input("container image", &self.path, problem));
        }
        Ok(value)
    }
}

impl ContainerImage {
    /// No layers yet: what an image without base starts from.
    pub(crate) fn empty() -> Self {
        Self {
            layers: Vec::new(),
            config: json!({}),
        }
    }

    /// Reads an OCI layout (folder or tar) or a docker archive, and picks the image for Linux on `arch`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] names what is missing, damaged or for another machine.
    pub(crate) fn read(path: &Path, arch: Arch) -> Result<Self, Error> {
        let store = Store::open(path)?;
        let wrong = |problem: &str| Error::input("container image", path, problem.to_owned());
        if store.has("index.json") {
            let index = store.document("index.json")?.0;
            let manifest = pick(&store, &index, arch, INDEX_DEPTH)?
                .ok_or_else(|| wrong(&format!("holds no image for linux/{}", arch.name())))?;
            let config = store.blob(&manifest["config"])?;
            let layers = list(&manifest["layers"])
                .iter()
                .map(|layer| {
                    let digest = digest_of(layer, path)?;
                    let (file, start, len) = store.place(&blob_name(&digest))?;
                    let media_type = layer["mediaType"].as_str().unwrap_or_default().to_owned();
                    Ok(Stored {
                        file,
                        start,
                        len,
                        digest: Some(digest),
                        media_type,
                    })
                })
                .collect::<Result<Vec<_>, Error>>()?;
            return Self::assemble(path, arch, &config, layers);
        }
        if !store.has("manifest.json") {
            return Err(wrong(
                "neither an OCI layout (index.json) nor a docker archive (manifest.json)",
            ));
        }
        let manifest = store.document("manifest.json")?.0;
        let [image] = list(&manifest) else {
            return Err(wrong("manifest.json has to name exactly one image"));
        };
        let name = image["Config"]
            .as_str()
            .ok_or_else(|| wrong("manifest.json names no Config"))?;
        let config = store.document(name)?.0;
        let layers = list(&image["Layers"])
            .iter()
            .map(|name| {
                let name = name
                    .as_str()
                    .ok_or_else(|| wrong("manifest.json: a layer without a name"))?;
                let (file, start, len) = store.place(name)?;
                let mut magic = [0; 2];
                // A layer shorter than that is no gzip either.
                let _ = Part::open(&file, start, len)?.read_exact(&mut magic);
                let compressed = if magic == [0x1f, 0x8b] { "+gzip" } else { "" };
                let media_type = format!("application/vnd.oci.image.layer.v1.tar{compressed}");
                Ok(Stored {
                    file,
                    start,
                    len,
                    digest: None,
                    media_type,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Self::assemble(path, arch, &config, layers)
    }

    fn assemble(
        path: &Path,
        arch: Arch,
        config: &Value,
        layers: Vec<Stored>,
    ) -> Result<Self, Error> {
        let wrong = |problem: String| Error::input("container image", path, problem);
        if config["architecture"] != arch.name() {
            return Err(wrong(format!(
                "made for {}, not for {}",
                config["architecture"],
                arch.name()
            )));
        }
        let diff_ids = list(&config["rootfs"]["diff_ids"]);
        if diff_ids.len() != layers.len() {
            return Err(wrong(format!(
                "{} layers, but {} diff_ids in the config",
                layers.len(),
                diff_ids.len()
            )));
        }
        let layers = layers
            .into_iter()
            .zip(diff_ids)
            .map(|(stored, diff_id)| {
                let diff_id = diff_id
                    .as_str()
                    .and_then(sha256_hex)
                    .ok_or_else(|| wrong(format!("{diff_id} is no sha256 diff_id")))?;
                let found = digest_range(&stored.file, stored.start, stored.len)?;
                match stored.digest {
                    Some(digest) if digest != found => Err(wrong(format!(
                        "layer sha256:{digest} has the digest sha256:{found}"
                    ))),
                    _ => Ok(Layer {
                        file: stored.file,
                        start: stored.start,
                        len: stored.len,
                        digest: found,
                        diff_id,
                        media_type: stored.media_type,
                    }),
                }
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            layers,
            config: match &config["config"] {
                Value::Object(block) => Value::Object(block.clone()),
                _ => json!({}),
            },
        })
    }
}

/// The manifest for this machine: the first that says so, or that says nothing and whose config does.
fn pick(store: &Store, index: &Value, arch: Arch, depth: usize) -> Result<Option<Value>, Error> {
    for descriptor in list(&index["manifests"]) {
        let platform = &descriptor["platform"];
        let other = |field: &str, wanted: &str| {
            platform[field]
                .as_str()
                .is_some_and(|found| found != wanted)
        };
        if other("os", "linux") || other("architecture", arch.name()) {
            continue;
        }
        let document = store.blob(descriptor)?;
        if document["manifests"].is_array() {
            let deeper = depth.checked_sub(1).ok_or_else(|| {
                Error::input(
                    "container image",
                    &store.path,
                    "indexes are nested too deep",
                )
            })?;
            if let Some(found) = pick(store, &document, arch, deeper)? {
                return Ok(Some(found));
            }
        } else if platform["architecture"].is_string()
            || store.blob(&document["config"])?["architecture"] == arch.name()
        {
            return Ok(Some(document));
        }
    }
    Ok(None)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn digest_of(descriptor: &Value, path: &Path) -> Result<String, Error> {
    descriptor["digest"]
        .as_str()
        .and_then(sha256_hex)
        .ok_or_else(|| {
            let problem = format!("a descriptor without a sha256 digest: {descriptor:.200}");
            Error::input("container image", path, problem)
        })
}

fn sha256_hex(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:")?;
    let hex_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == 64 && digits.bytes().all(hex_digit)).then(|| digits.to_owned())
}

fn blob_name(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

/// A name inside an image, without anything that would lead out of it.
fn plain(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

fn digest_range(file: &Path, start: u64, len: u64) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let copied = io::copy(&mut Part::open(file, start, len)?, &mut hasher)
        .map_err(|source| Error::io("read", file, source))?;
    if copied != len {
        return Err(Error::input(
            "container image",
            file,
            "ends before its last layer does",
        ));
    }
    Ok(hex(&hasher.finalize()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
