//! Booting by PC BIOS.

use std::io::Read as _;

use crate::error::Error;
use crate::{Source, source};

/// Boot images are small; more than this is not one.
const LIMIT: u64 = 64 << 20;

/// A boot image for PC BIOS, without emulation, as isolinux and GRUB use it.
///
/// ```
/// use iso9660::{BiosBoot, Image, Source, Tree};
///
/// let boot = BiosBoot::new(vec![0xF4; 2048]).load_sectors(4);
/// let esp = Tree::new().file("EFI/BOOT/BOOTX64.EFI", b"MZ");
/// let plan = Image::bootable(esp)?.bios_boot(boot).plan()?;
/// # Ok::<(), iso9660::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BiosBoot {
    pub(super) content: Source,
    pub(super) load_sectors: u16,
    info_table: bool,
}

impl BiosBoot {
    /// A boot image of which the first 2,048 bytes are loaded.
    #[must_use]
    pub fn new(content: impl Into<Source>) -> Self {
        Self {
            content: content.into(),
            load_sectors: 4,
            info_table: false,
        }
    }

    /// Sectors of 512 bytes that firmware loads.
    #[must_use]
    pub const fn load_sectors(mut self, sectors: u16) -> Self {
        self.load_sectors = sectors;
        self
    }

    /// Writes the boot information table into bytes 8 to 63 of the boot image.
    #[must_use]
    pub const fn info_table(mut self, on: bool) -> Self {
        self.info_table = on;
        self
    }

    /// The boot image as it will lie at `block`.
    pub(super) fn bytes(&self, block: u32) -> Result<Vec<u8>, Error> {
        const NAME: &[u8] = b"BIOS boot image";
        let unreadable = |source| Error::Source {
            path: crate::error::text(NAME),
            source,
        };
        let len = self.content.measure(NAME)?;
        if len > LIMIT {
            return Err(Error::TooLarge {
                what: "BIOS boot image",
                needed: len,
                limit: LIMIT,
            });
        }
        let mut bytes = match &self.content.0 {
            source::Kind::Bytes(bytes) => bytes.to_vec(),
            _ => {
                let mut bytes = Vec::new();
                let reader = self.content.open().map_err(unreadable)?;
                reader
                    .take(len + 1)
                    .read_to_end(&mut bytes)
                    .map_err(unreadable)?;
                let found = bytes.len() as u64;
                if found != len {
                    return Err(Error::SourceChanged {
                        path: crate::error::text(NAME),
                        planned: len,
                        found: (found < len).then_some(found),
                    });
                }
                bytes
            }
        };
        if self.info_table && bytes.len() >= 64 {
            let sum = bytes
                .get(64..)
                .unwrap_or(&[])
                .chunks(4)
                .fold(0u32, |sum, word| {
                    let mut padded = [0; 4];
                    for (to, from) in padded.iter_mut().zip(word) {
                        *to = *from;
                    }
                    sum.wrapping_add(u32::from_le_bytes(padded))
                });
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let table = [16, block, len, sum].into_iter().flat_map(u32::to_le_bytes);
            let table = table.chain(std::iter::repeat_n(0, 40));
            for (to, from) in bytes.iter_mut().skip(8).zip(table) {
                *to = from;
            }
        }
        Ok(bytes)
    }
}
