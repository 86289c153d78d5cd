//! What lies beside a UKI and is measured with it: addons, credentials, extensions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pcr::{Addon, BootImage, BootPlanBuilder};
use uki::{SectionName, Uki};

use crate::assets::read;
use crate::boot_entry::BootEntry;
use crate::esp::Esp;
use crate::{Error, contents};

/// A file's name and content.
type Named = (String, Vec<u8>);

/// Files that the stub picks up beside a UKI.
#[derive(Debug, Default)]
pub(crate) struct Companions {
    addons: Vec<AddonFile>,
    local: Vec<Named>,
    global_credentials: Vec<Named>,
    global_extensions: Vec<Named>,
}

impl Companions {
    /// Those that lie on a medium, for this entry.
    pub(crate) fn on_medium(esp: &Esp, entry: &BootEntry) -> Result<Self, Error> {
        let mut found = Self::default();
        for (folder, is_global) in [
            ("loader/addons".to_owned(), true),
            (entry.extra_folder(), false),
        ] {
            for path in esp.list(&folder, ".addon.efi") {
                let bytes = esp.read(&path)?.unwrap_or_default();
                found
                    .addons
                    .push(AddonFile::parse(Path::new(&path), &bytes, is_global)?);
            }
        }
        let named = |folder: &str, endings: &[&str]| -> Result<Vec<Named>, Error> {
            let mut files = Vec::new();
            for path in endings.iter().flat_map(|ending| esp.list(folder, ending)) {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                files.push((name, esp.read(&path)?.unwrap_or_default()));
            }
            Ok(files)
        };
        found.local = named(&entry.extra_folder(), &[".cred", ".raw"])?;
        found.global_credentials = named("loader/credentials", &[".cred"])?;
        found.global_extensions = named("loader/extensions", &[".raw"])?;
        Ok(found)
    }

    /// Adds files that are given by name, as if they lay beside the UKI.
    pub(crate) fn with_files(
        mut self,
        addons: &[PathBuf],
        files: &[PathBuf],
    ) -> Result<Self, Error> {
        for path in addons {
            self.addons
                .push(AddonFile::parse(path, &read(path)?, false)?);
        }
        for path in files {
            let name = file_name(path);
            if ![".cred", ".raw"]
                .iter()
                .any(|ending| name.to_ascii_lowercase().ends_with(ending))
            {
                let problem =
                    format!("{name}: the stub takes names that end in .cred, .raw or .confext.raw");
                return Err(Error::usage("--credential", problem));
            }
            self.local.push((name, read(path)?));
        }
        Ok(self)
    }

    /// Leaves out the addons that firmware does not start, and tells which.
    pub(crate) fn without_refused(
        &mut self,
        is_started: impl Fn(&AddonFile) -> bool,
    ) -> Vec<String> {
        let (started, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut self.addons)
            .into_iter()
            .partition(is_started);
        self.addons = started;
        let note = |addon: AddonFile| {
            format!(
                "{} has no effect: firmware with Secure Boot on does not start it",
                addon.name
            )
        };
        refused.into_iter().map(note).collect()
    }

    /// What is not predicted of them.
    pub(crate) fn notes(&self) -> Vec<String> {
        let picked = self.addons.iter().filter(|addon| addon.picks_device_tree);
        let note = |addon: &AddonFile| {
            format!(
                "{}: the machine picks its device tree, none is assumed",
                addon.name
            )
        };
        picked.map(note).collect()
    }

    /// The addons in the order in which the stub loads them.
    pub(crate) fn addons(&self) -> Vec<&AddonFile> {
        let mut addons: Vec<&AddonFile> = self.addons.iter().collect();
        addons.sort_by_key(|addon| (!addon.is_global, &addon.name));
        addons
    }

    /// Adds all of them to a plan.
    pub(crate) fn plan<'a>(&'a self, mut plan: BootPlanBuilder<'a>) -> BootPlanBuilder<'a> {
        for addon in &self.addons {
            plan = plan.addon(addon.plan());
        }
        for (name, bytes) in &self.local {
            plan = plan.local_file(name, bytes);
        }
        for (name, bytes) in &self.global_credentials {
            plan = plan.global_credential(name, bytes);
        }
        for (name, bytes) in &self.global_extensions {
            plan = plan.global_extension(name, bytes);
        }
        plan
    }
}

/// An addon image with what the stub takes from it.
#[derive(Debug)]
pub(crate) struct AddonFile {
    pub(crate) name: String,
    is_global: bool,
    is_signed: bool,
    picks_device_tree: bool,
    image: BootImage,
    digests: Vec<pcr::Digest>,
    sections: BTreeMap<&'static str, Vec<u8>>,
}

impl AddonFile {
    fn parse(path: &Path, bytes: &[u8], is_global: bool) -> Result<Self, Error> {
        let addon = Uki::parse(bytes).map_err(|error| Error::input("addon", path, error))?;
        if addon.is_uki() {
            return Err(Error::input(
                "addon",
                path,
                "it has a .linux section: it is a UKI",
            ));
        }
        let hashes = authenticode::ImageOptions::new().hashes(&authenticode::HashAlgorithm::ALL);
        let image = authenticode::Image::parse_with(bytes, &hashes)
            .map_err(|error| Error::input("addon", path, error))?;
        let mut sections = BTreeMap::new();
        let kinds = [
            (".cmdline", SectionName::CMDLINE),
            (".dtb", SectionName::DTB),
            (".initrd", SectionName::INITRD),
            (".ucode", SectionName::UCODE),
            (".uname", SectionName::UNAME),
        ];
        for (name, kind) in kinds {
            if let Some(section) = addon.base().section(&kind) {
                let mut content = addon.content(section).to_vec();
                let zeros = usize::try_from(section.zero_fill()).unwrap_or(0);
                if zeros > 1 << 20 {
                    return Err(Error::input(
                        "addon",
                        path,
                        format!("{name} is mostly zeros that the loader adds"),
                    ));
                }
                content.resize(content.len() + zeros, 0);
                sections.insert(name, content);
            }
        }
        let name = file_name(path);
        Ok(Self {
            is_global,
            is_signed: image.is_signed(),
            picks_device_tree: addon.base().section(&SectionName::DTBAUTO).is_some(),
            image: contents::boot_image(&image, &name)?,
            digests: contents::digests(&image)?,
            sections,
            name,
        })
    }

    /// Whether it carries any signature.
    pub(crate) fn is_signed(&self) -> bool {
        self.is_signed
    }

    /// As PCR 7 sees it.
    pub(crate) fn image(&self) -> &BootImage {
        &self.image
    }

    fn plan<'a>(&'a self) -> Addon<'a> {
        let addon = if self.is_global {
            Addon::global(&self.name)
        } else {
            Addon::local(&self.name)
        };
        let with = |addon: Addon<'a>, (name, bytes): (&&str, &'a Vec<u8>)| match *name {
            ".cmdline" => addon.cmdline(bytes),
            ".dtb" => addon.dtb(bytes),
            ".initrd" => addon.initrd(bytes),
            ".ucode" => addon.ucode(bytes),
            _ => addon.uname(bytes),
        };
        self.sections.iter().fold(addon.image(&self.digests), with)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
