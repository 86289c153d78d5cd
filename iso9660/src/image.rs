//! The ISO 9660 image to be made.

mod bios;
mod layout;
mod namespace;
mod share;

pub use bios::BiosBoot;

use crate::iso::descriptor::Texts;
use crate::iso::name::Level;
use crate::{Error, Fat, Timestamp, Tree};

/// An ISO 9660 image to be made: Rock Ridge and Joliet names over one tree, and for a bootable one
/// an EFI system partition that firmware finds on a CD (El Torito) and on a USB stick (GPT).
///
/// The files of the ESP are in the ISO tree too, for firmware and tools that look there; both point
/// at the same bytes where the clusters of the ESP allow it.
///
/// ```
/// use iso9660::{Image, Timestamp, Tree};
///
/// let esp = Tree::new()
///     .file("EFI/BOOT/BOOTX64.EFI", b"MZ")
///     .file("loader/loader.conf", "timeout 10\n");
/// let plan = Image::bootable(esp)?
///     .volume_id("TALOS_V1_9_0")
///     .time(Timestamp::from_unix(1_700_000_000))
///     .plan()?;
/// let mut iso = Vec::new();
/// plan.write_to(&mut iso)?;
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Image {
    tree: Tree,
    esp: Option<Fat>,
    texts: Texts,
    time: Timestamp,
    rock_ridge: bool,
    joliet: Option<usize>,
    level: Level,
    strict_depth: bool,
    keep_attributes: bool,
    esp_in_tree: bool,
    esp_alignment: Option<u64>,
    padding: u64,
    iso_partition: bool,
    esp_name: String,
    bios: Option<BiosBoot>,
}

impl Image {
    /// An image of a tree that does not boot.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        let texts = Texts {
            volume: "ISOIMAGE".to_owned(),
            ..Texts::default()
        };
        Self {
            tree,
            esp: None,
            texts,
            time: Timestamp::default(),
            rock_ridge: true,
            joliet: Some(64),
            level: Level::Three,
            strict_depth: false,
            keep_attributes: false,
            esp_in_tree: true,
            esp_alignment: None,
            padding: 0,
            iso_partition: false,
            esp_name: "EFI System Partition".to_owned(),
            bios: None,
        }
    }

    /// An image that UEFI firmware boots from CD and from USB.
    ///
    /// # Errors
    ///
    /// [`Error::NoBootFile`] when the tree has no file that firmware would look for
    /// (`EFI/BOOT/BOOT*.EFI` in any case), and what is wrong with the tree.
    pub fn bootable(esp: impl Into<Fat>) -> Result<Self, Error> {
        let esp = esp.into();
        esp.tree.check()?;
        if !has_boot_file(&esp.tree) {
            return Err(Error::NoBootFile);
        }
        let mut image = Self::new(Tree::new());
        image.esp = Some(esp);
        Ok(image)
    }

    /// Adds files to the ISO tree that are not in the ESP. A file that both have at one path with
    /// the same content is stored once.
    #[must_use]
    pub fn tree(mut self, tree: Tree) -> Self {
        self.tree = self.tree.merge(tree);
        self
    }

    /// The volume identifier: 32 characters of ASCII. Joliet shows the first 16.
    #[must_use]
    pub fn volume_id(mut self, id: impl Into<String>) -> Self {
        self.texts.volume = id.into();
        self
    }

    /// The volume set identifier: 128 characters of ASCII.
    #[must_use]
    pub fn volume_set_id(mut self, id: impl Into<String>) -> Self {
        self.texts.volume_set = id.into();
        self
    }

    /// The system identifier: 32 characters of ASCII.
    #[must_use]
    pub fn system_id(mut self, id: impl Into<String>) -> Self {
        self.texts.system = id.into();
        self
    }

    /// The publisher: 128 characters of ASCII.
    #[must_use]
    pub fn publisher(mut self, text: impl Into<String>) -> Self {
        self.texts.publisher = text.into();
        self
    }

    /// Who prepared the data: 128 characters of ASCII.
    #[must_use]
    pub fn preparer(mut self, text: impl Into<String>) -> Self {
        self.texts.preparer = text.into();
        self
    }

    /// The application: 128 characters of ASCII.
    #[must_use]
    pub fn application(mut self, text: impl Into<String>) -> Self {
        self.texts.application = text.into();
        self
    }

    /// The time of the volume and of every entry, in the ESP too unless that has its own.
    #[must_use]
    pub const fn time(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// Writes Rock Ridge names and attributes; on by default.
    #[must_use]
    pub const fn rock_ridge(mut self, on: bool) -> Self {
        self.rock_ridge = on;
        self
    }

    /// Writes a Joliet tree, which Windows shows; on by default. Names are cut at 64 characters.
    #[must_use]
    pub const fn joliet(mut self, on: bool) -> Self {
        self.joliet = if on { Some(64) } else { None };
        self
    }

    /// Writes a Joliet tree with names of up to 103 characters, more than its specification has,
    /// which Windows and Linux read all the same.
    #[must_use]
    pub const fn joliet_long(mut self) -> Self {
        self.joliet = Some(103);
        self
    }

    /// The interchange level of the plain ISO 9660 names.
    #[must_use]
    pub const fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Refuses trees of more than the standard's eight levels, which all current readers accept.
    #[must_use]
    pub const fn strict_depth(mut self, on: bool) -> Self {
        self.strict_depth = on;
        self
    }

    /// Keeps modes, owners and times of the tree, times no later than [`Image::time`]. Off by
    /// default: then everything belongs to root, is readable, and has the image's time, so that the
    /// same files give the same bytes.
    #[must_use]
    pub const fn keep_attributes(mut self, on: bool) -> Self {
        self.keep_attributes = on;
        self
    }

    /// Shows the files of the ESP in the ISO tree too; on by default.
    #[must_use]
    pub const fn esp_in_tree(mut self, on: bool) -> Self {
        self.esp_in_tree = on;
        self
    }

    /// Alignment of the ESP in bytes, a power of two of 2048 at least. By default the largest one
    /// from 4 KiB to 1 MiB that costs less than a hundredth of the ESP, and with everything else
    /// less than a fiftieth.
    #[must_use]
    pub const fn esp_alignment(mut self, bytes: u64) -> Self {
        self.esp_alignment = Some(bytes);
        self
    }

    /// Zero bytes after the content, before the backup partition table; 0 by default. Old CD drives
    /// want 300 KiB.
    #[must_use]
    pub const fn padding(mut self, bytes: u64) -> Self {
        self.padding = bytes;
        self
    }

    /// Adds a partition over the ISO file system, before the ESP, to the GPT; off by default.
    #[must_use]
    pub const fn iso_partition(mut self, on: bool) -> Self {
        self.iso_partition = on;
        self
    }

    /// Name of the ESP in the GPT.
    #[must_use]
    pub fn esp_name(mut self, name: impl Into<String>) -> Self {
        self.esp_name = name.into();
        self
    }

    /// Adds an El Torito entry for PC BIOS before that for UEFI.
    #[must_use]
    pub fn bios_boot(mut self, boot: BiosBoot) -> Self {
        self.bios = Some(boot);
        self
    }
}

/// Whether firmware finds something to start.
fn has_boot_file(tree: &Tree) -> bool {
    let Some(boot) = tree.find(b"EFI/BOOT", <[u8]>::eq_ignore_ascii_case) else {
        return false;
    };
    let is_boot_file = |name: &[u8]| {
        let name = name.to_ascii_uppercase();
        name.starts_with(b"BOOT") && name.ends_with(b".EFI")
    };
    tree.children(boot).is_some_and(|children| {
        children
            .iter()
            .any(|(name, &id)| is_boot_file(name) && tree.children(id).is_none())
    })
}
