//! What the ISO tree offers to those who copy it or show it.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};

use super::{Format, Report};
use crate::error::Error;
use crate::fat::fold;
use crate::item::{Item, ItemKind};
use crate::{Check, Finding, IsoReader, Namespace};

/// The item with a path, whatever the case of its letters.
pub(super) fn find<'a>(items: &'a [Item], path: &str) -> Option<&'a Item> {
    items
        .iter()
        .find(|item| item.path.len() == path.len() && item.path_text().eq_ignore_ascii_case(path))
}

/// The name of the file that firmware would start, of some machine.
pub(super) fn is_boot_file(path: &str) -> bool {
    const NAMES: [&str; 7] = [
        "BOOTX64.EFI",
        "BOOTAA64.EFI",
        "BOOTIA32.EFI",
        "BOOTARM.EFI",
        "BOOTRISCV64.EFI",
        "BOOTLOONGARCH64.EFI",
        "BOOTIA64.EFI",
    ];
    let path = path.to_ascii_uppercase();
    let name = path.strip_prefix("EFI/BOOT/");
    name.is_some_and(|name| NAMES.contains(&name))
}

/// What stands against copying the tree to a FAT stick, as Rufus does in ISO mode: what prevents
/// that the stick boots, and what may.
pub(super) fn copied(report: &Report, esp: Option<&[Item]>) -> (Vec<Finding>, Vec<Finding>) {
    let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
    let mut files: HashMap<String, &Item> = HashMap::new();
    let mut collision = None;
    let shown_path = |item: &Item| match report.namespace {
        Some(Namespace::Iso | Namespace::Enhanced) => plain_path(&item.path_text()),
        _ => item.path_text(),
    };
    for item in &report.items {
        let path = shown_path(item);
        if item.kind == ItemKind::File && item.len > u64::from(u32::MAX) {
            warnings.push(Finding::new(Check::TreeFileTooLarge, path.clone()));
        }
        let name = path.rsplit('/').next().unwrap_or(&path);
        let is_bad = |c: char| c < ' ' || "\"*:<>?\\|".contains(c);
        if collision.is_none() && (name.contains(is_bad) || name.ends_with(['.', ' '])) {
            collision = Some(path.clone());
        }
        if files.insert(fold(&path), item).is_some() && collision.is_none() {
            collision = Some(path);
        }
    }
    if let Some(path) = collision {
        warnings.push(Finding::new(Check::TreeFatName, path));
    }
    let links = report.items.iter();
    let mut links = links.filter(|item| matches!(item.kind, ItemKind::Symlink(_)));
    if let Some(link) = links.next() {
        warnings.push(Finding::new(Check::TreeSymlinks, link.path_text()));
    }
    let is_file = |item: &&Item| item.kind == ItemKind::File;
    let mut boot = report.items.iter().filter(is_file);
    if !boot.any(|item| is_boot_file(&shown_path(item))) {
        reasons.push(Finding::new(Check::TreeLacksBoot, ""));
        return (reasons, warnings);
    }
    for item in esp.unwrap_or(&[]).iter().filter(is_file) {
        let path = item.path_text();
        match files.get(&fold(&path)) {
            None => reasons.push(Finding::new(Check::TreeLacksEspFile, path)),
            Some(other) if other.len != item.len => {
                warnings.push(Finding::new(Check::TreeOtherFile, path));
            }
            Some(_) => {}
        }
    }
    reasons.truncate(20);
    warnings.truncate(20);
    (reasons, warnings)
}

/// A path without the versions of plain ISO 9660 names.
pub(super) fn plain_path(path: &str) -> String {
    let names = path.split('/').map(|name| {
        let name = name.rsplit_once(';').map_or(name, |(name, _)| name);
        name.strip_suffix('.').unwrap_or(name)
    });
    names.collect::<Vec<_>>().join("/")
}

/// How Windows shows the image: whether it shows anything, and what is odd about it. It reads UDF
/// and Joliet, else the plain names.
pub(super) fn windows<R: Read + Seek>(
    reader: &mut R,
    report: &Report,
    has_long_names: bool,
) -> Result<(Vec<Finding>, Vec<Finding>), Error> {
    let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
    if report.format != Format::Iso9660 {
        if report.fat_volumes.is_empty() {
            reasons.push(Finding::new(Check::NoTree, ""));
        }
        return Ok((reasons, warnings));
    }
    if !has_long_names && report.namespace == Some(Namespace::RockRidge) {
        let plain = IsoReader::read(reader)?.list(Namespace::Iso)?.items;
        let plain: HashSet<String> = plain
            .iter()
            .map(|item| plain_path(&item.path_text()).to_ascii_uppercase())
            .collect();
        let shown = report
            .items
            .iter()
            .filter(|item| !matches!(item.kind, ItemKind::Symlink(_) | ItemKind::Special));
        let mut other =
            shown.filter(|item| !plain.contains(&item.path_text().to_ascii_uppercase()));
        if let Some(item) = other.next() {
            warnings.push(Finding::new(Check::WindowsNames, item.path_text()));
        }
    }
    Ok((reasons, warnings))
}
