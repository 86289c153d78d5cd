//! The files that firmware starts by their name (UEFI 2.10, 3.5.1.1).

use std::io::{Read, Seek};

use super::tree::is_boot_file;
use crate::FatReader;
use crate::error::Error;
use crate::input::{le16, le32};
use crate::item::{Item, ItemKind};

/// A boot file and whether firmware can start it.
#[derive(Debug)]
pub(crate) struct BootFile {
    pub(crate) path: String,
    pub(crate) is_good: bool,
    /// A part of it lies behind the end of the image.
    pub(crate) is_cut: bool,
}

/// The boot files of a volume.
pub(super) fn find<R: Read + Seek>(
    fat: &mut FatReader<R>,
    items: &[Item],
) -> Result<Vec<BootFile>, Error> {
    let mut out = Vec::new();
    for item in items.iter().filter(|item| item.kind == ItemKind::File) {
        let path = item.path_text();
        if !is_boot_file(&path) {
            continue;
        }
        let mut start = vec![0; 4096];
        let ends = item.extents.iter().map(|e| e.offset.saturating_add(e.len));
        let is_cut = ends.max().unwrap_or(0) > fat.input.len;
        let is_good = match read_start(fat, item, &mut start) {
            Ok(_) if is_cut => false,
            Ok(n) => is_for(start.get(..n).unwrap_or(&[]), &path),
            Err(error @ Error::Image { .. }) => return Err(error),
            Err(_) => false,
        };
        out.push(BootFile {
            path,
            is_good,
            is_cut,
        });
    }
    Ok(out)
}

fn read_start<R: Read + Seek>(
    fat: &mut FatReader<R>,
    item: &Item,
    buf: &mut [u8],
) -> Result<usize, Error> {
    let mut done = 0;
    while done < buf.len() {
        let rest = buf.get_mut(done..).unwrap_or(&mut []);
        match fat.input.read_some(&item.extents, done as u64, rest)? {
            0 => break,
            n => done = done.saturating_add(n),
        }
    }
    Ok(done)
}

/// Whether this is the beginning of a PE image for the machine that the name stands for.
fn is_for(start: &[u8], path: &str) -> bool {
    let header = usize::try_from(le32(start, 60)).unwrap_or(usize::MAX);
    let header = start.get(header..).unwrap_or(&[]);
    if !start.starts_with(b"MZ") || !header.starts_with(b"PE\0\0") {
        return false;
    }
    let path = path.to_ascii_uppercase();
    let machine = match path.rsplit('/').next().unwrap_or_default() {
        "BOOTX64.EFI" => 0x8664,
        "BOOTAA64.EFI" => 0xAA64,
        "BOOTIA32.EFI" => 0x014C,
        "BOOTARM.EFI" => 0x01C2,
        "BOOTRISCV64.EFI" => 0x5064,
        "BOOTLOONGARCH64.EFI" => 0x6264,
        _ => 0x0200,
    };
    le16(header, 4) == machine
}
