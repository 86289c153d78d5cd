//! Finds kernel modules and what they need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::generation::Kernel;
use crate::process::run;

/// The modules of a kernel by name, as files.
#[derive(Debug)]
pub(crate) struct Modules {
    release: String,
    files: BTreeMap<String, PathBuf>,
    builtin: Vec<String>,
}

/// A module, ready to be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

impl Modules {
    pub(crate) fn of(kernel: &Kernel) -> Result<Self> {
        let mut modules = Self {
            release: kernel.release.clone(),
            files: BTreeMap::new(),
            builtin: Vec::new(),
        };
        modules.collect(&kernel.modules.join("kernel"))?;
        let list = kernel.modules.join("modules.builtin");
        let text = std::fs::read_to_string(&list).map_err(Error::file(list))?;
        modules.builtin = text
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        Ok(modules)
    }

    fn collect(&mut self, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
            let path = entry.map_err(Error::file(folder))?.path();
            if path.is_dir() {
                self.collect(&path)?;
            } else if let Some(name) = module_name(&path) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    /// The module and what it needs, in the order of loading; nothing when it is part of the kernel.
    pub(crate) fn with_needs(&self, name: &str) -> Result<Vec<Module>> {
        let mut order = Vec::new();
        self.add(&name.replace('-', "_"), &mut order)?;
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<Module>) -> Result<()> {
        if order.iter().any(|module| module.name == name)
            || self.builtin.iter().any(|builtin| builtin == name)
        {
            return Ok(());
        }
        let path = self.files.get(name).ok_or_else(|| Error::NoSuchModule {
            name: name.to_owned(),
            release: self.release.clone(),
        })?;
        let content = match path.extension().and_then(|end| end.to_str()) {
            Some("xz") => run(Command::new("xz").arg("-dc").arg(path))?,
            Some("zst") => run(Command::new("zstd").arg("-dcq").arg(path))?,
            _ => std::fs::read(path).map_err(Error::file(path))?,
        };
        for needed in needs(&content) {
            self.add(&needed.replace('-', "_"), order)?;
        }
        order.push(Module {
            name: name.to_owned(),
            content,
        });
        Ok(())
    }
}

/// `dm_crypt` for `…/dm-crypt.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, _) = file.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// The names in a module's `depends=` line of `.modinfo`, where texts end with NUL.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let rest = module
        .get(start.saturating_add(KEY.len())..)
        .unwrap_or_default();
    let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_read_from_the_modinfo_section() {
        assert_eq!(
            needs(b"license=GPL\0depends=dm-mod,xts\0name=x\0"),
            ["dm-mod", "xts"]
        );
        assert!(needs(b"license=GPL\0depends=\0name=x\0").is_empty());
    }

    #[test]
    fn names_use_underscores_and_lose_their_endings() {
        assert_eq!(
            module_name(Path::new("a/dm-crypt.ko.xz")).as_deref(),
            Some("dm_crypt")
        );
        assert_eq!(module_name(Path::new("a/modules.dep")), None);
    }
}
