//! An EFI system partition made with mtools: the judge's own, not that of the crates it judges.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::run;

/// Files of an EFI system partition.
///
/// ```no_run
/// # let application = Vec::new();
/// bootlab::Esp::new().file("EFI/BOOT/BOOTX64.EFI", application).write("esp.img")?;
/// # Ok::<(), bootlab::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Esp {
    files: Vec<(String, Vec<u8>)>,
}

impl Esp {
    /// An empty partition.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; folders are made.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.files
            .push((path.trim_matches('/').to_owned(), content.as_ref().to_vec()));
        self
    }

    /// Writes the bare file system, without a partition table, to a file.
    ///
    /// # Errors
    /// When a tool is missing or fails.
    pub fn write(&self, image: impl AsRef<Path>) -> Result<()> {
        let image = image.as_ref();
        let content: u64 = self
            .files
            .iter()
            .map(|(_, bytes)| u64::try_from(bytes.len()).unwrap_or(0))
            .sum();
        // FAT32 needs 65,525 clusters of at least one sector: 34 MiB make one for certain.
        let len = content
            .saturating_add(content / 8)
            .saturating_add(36 << 20)
            .next_multiple_of(1 << 20);
        File::create(image)
            .and_then(|file| file.set_len(len))
            .map_err(Error::file(image))?;
        run(Command::new("/usr/sbin/mkfs.vfat")
            .args(["-F", "32", "-s", "1", "-i", "0b007ab0"])
            .arg(image))?;
        let mut folders = BTreeSet::new();
        for (path, _) in &self.files {
            folders.extend(
                path.match_indices('/')
                    .filter_map(|(end, _)| path.get(..end)),
            );
        }
        for folder in folders {
            run(Command::new("mmd")
                .arg("-i")
                .arg(image)
                .arg(format!("::/{folder}")))?;
        }
        for (path, bytes) in &self.files {
            let mut source =
                tempfile::NamedTempFile::new().map_err(Error::file("temporary file"))?;
            std::io::Write::write_all(&mut source, bytes).map_err(Error::file(source.path()))?;
            run(Command::new("mcopy")
                .arg("-i")
                .arg(image)
                .arg(source.path())
                .arg(format!("::/{path}")))?;
        }
        Ok(())
    }
}
