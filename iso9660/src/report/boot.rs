//! The ways to boot from an image.

use std::io::{Read, Seek};

use super::boot_file::BootFile;
use super::findings::Findings;
use super::{FatVolume, Format, Place, Report, tree};
use crate::error::Error;
use crate::input::Input;
use crate::{BootImage, Check, Finding, Guid};

/// A way to boot from an image, or to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Medium {
    /// UEFI, from a CD or the virtual drive of a machine or its management controller.
    CdUefi,
    /// PC BIOS, likewise.
    CdBios,
    /// UEFI, from a stick or disk to which the image was copied, by its GPT.
    UsbGpt,
    /// UEFI, likewise, by its MBR.
    UsbMbr,
    /// UEFI, likewise, of a FAT volume without a partition table.
    UsbFat,
    /// PC BIOS, from such a stick or disk.
    UsbBios,
    /// UEFI, from a FAT stick to which Rufus or the user copied the files of the tree.
    Rufus,
    /// UEFI, through Ventoy.
    Ventoy,
    /// Windows shows the files.
    Windows,
}

impl Medium {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::CdUefi,
        Self::CdBios,
        Self::UsbGpt,
        Self::UsbMbr,
        Self::UsbFat,
        Self::UsbBios,
        Self::Rufus,
        Self::Ventoy,
        Self::Windows,
    ];

    /// The name that scripts may rely on.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CdUefi => "cd-uefi",
            Self::CdBios => "cd-bios",
            Self::UsbGpt => "usb-gpt",
            Self::UsbMbr => "usb-mbr",
            Self::UsbFat => "usb-fat",
            Self::UsbBios => "usb-bios",
            Self::Rufus => "rufus-iso",
            Self::Ventoy => "ventoy",
            Self::Windows => "windows",
        }
    }
}

/// Whether a way to boot works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootPath {
    /// The way.
    pub medium: Medium,
    /// Whether firmware that follows its standard would go it.
    pub works: bool,
    /// Why not.
    pub reasons: Vec<Finding>,
    /// What may keep some firmware, or the file that is started, from working.
    pub warnings: Vec<Finding>,
}

pub(super) static UNKNOWN: BootPath = BootPath {
    medium: Medium::Windows,
    works: false,
    reasons: Vec::new(),
    warnings: Vec::new(),
};

/// Reasons and warnings.
type Judgement = (Vec<Finding>, Vec<Finding>);

fn because(check: Check, subject: impl Into<String>) -> Judgement {
    (vec![Finding::new(check, subject)], Vec::new())
}

/// Checks the boot catalog and the images it names.
pub(super) fn check_catalog<R: Read + Seek>(
    reader: &mut R,
    report: &Report,
    findings: &mut Findings,
) -> Result<(), Error> {
    let Some(catalog) = &report.catalog else {
        return Ok(());
    };
    findings.add_if(!catalog.is_valid, Check::CatalogChecksum, "");
    for (index, image) in catalog.images.iter().enumerate() {
        if !image.is_bootable {
            continue;
        }
        let name = format!("image {index} at byte {}", image.offset);
        let is_outside = image.offset >= report.len;
        findings.add_if(is_outside, Check::BootImagePastEnd, &name);
        if image.is_uefi() && !is_outside {
            let (reasons, warnings) = uefi_image(report, index, image);
            for finding in reasons.iter().chain(&warnings) {
                let is_of_image = matches!(
                    finding.check,
                    Check::BootImageBehindVolume | Check::BootImageCut | Check::BootImageNotFat
                );
                findings.add_if(is_of_image, finding.check, finding.subject.clone());
            }
        } else if !is_outside && is_empty(reader, image)? {
            findings.add(Check::BootImageEmpty, &name);
        }
    }
    Ok(())
}

pub(super) fn paths<R: Read + Seek>(
    reader: &mut R,
    report: &Report,
    windows: Judgement,
) -> Result<Vec<BootPath>, Error> {
    let cd = cd_uefi(report);
    let bios = cd_bios(reader, report)?;
    let ventoy = ventoy(report, &cd);
    Ok([
        (Medium::CdUefi, cd),
        (Medium::CdBios, bios),
        (Medium::UsbGpt, usb_gpt(report)),
        (Medium::UsbMbr, usb_mbr(report)),
        (Medium::UsbFat, usb_fat(report)),
        (Medium::UsbBios, usb_bios(report)),
        (Medium::Rufus, rufus(report)),
        (Medium::Ventoy, ventoy),
        (Medium::Windows, windows),
    ]
    .into_iter()
    .map(|(medium, (reasons, warnings))| BootPath {
        medium,
        works: reasons.is_empty(),
        reasons,
        warnings,
    })
    .collect())
}

fn volume_of(report: &Report, place: Place) -> Option<&FatVolume> {
    let mut volumes = report.fat_volumes.iter();
    volumes.find(|volume| volume.places.contains(&place))
}

fn cd_uefi(report: &Report) -> Judgement {
    if report.format != Format::Iso9660 {
        return because(Check::NoElTorito, "");
    }
    let Some(catalog) = &report.catalog else {
        return because(Check::NoElTorito, "");
    };
    let images = catalog.images.iter().enumerate();
    let entries = images.filter(|(_, image)| image.is_uefi() && image.is_bootable);
    let mut first = None;
    for (index, image) in entries {
        let mut judgement = uefi_image(report, index, image);
        if !catalog.is_valid {
            let finding = Finding::new(Check::CatalogChecksum, "");
            judgement.0.push(finding);
        }
        if judgement.0.is_empty() {
            return judgement;
        }
        first.get_or_insert(judgement);
    }
    first.unwrap_or_else(|| because(Check::NoUefiEntry, ""))
}

/// Whether UEFI firmware starts from an image of the catalog.
fn uefi_image(report: &Report, index: usize, image: &BootImage) -> Judgement {
    let name = format!("image {index} at byte {}", image.offset);
    if image.offset >= report.len {
        return because(Check::BootImagePastEnd, name);
    }
    let len = image.uefi_len(report.volume_len());
    if len == 0 {
        return because(Check::BootImageBehindVolume, name);
    }
    let Some(volume) = volume_of(report, Place::BootImage(index)) else {
        return because(Check::BootImageNotFat, name);
    };
    let (mut reasons, mut warnings) = boot_volume(volume);
    if len < volume.len {
        let subject = format!("{name}: {len} bytes for {}", volume.len);
        let finding = Finding::new(Check::BootImageCut, subject);
        // EDK2 counts in blocks of the medium, four times as long as those of the standard, and does
        // not mind the end as long as it reads nothing behind it.
        if len.saturating_mul(4) < volume.used_len {
            reasons.push(finding);
        } else {
            warnings.push(finding);
        }
    }
    (reasons, warnings)
}

/// Whether firmware starts from a FAT volume.
fn boot_volume(volume: &FatVolume) -> Judgement {
    let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
    if volume.kind != volume.kind_by_clusters {
        reasons.push(Finding::new(Check::FatKindMismatch, volume.name()));
    }
    if volume.boot_files.is_empty() {
        reasons.push(Finding::new(Check::NoBootFile, volume.name()));
    }
    let is_cut = |file: &BootFile| file.is_cut;
    let all_cut = volume.boot_files.iter().all(is_cut);
    for file in volume.boot_files.iter().filter(|file| !file.is_good) {
        let finding = Finding::new(Check::BootFileBroken, file.path.clone());
        if all_cut {
            reasons.push(finding);
        } else {
            warnings.push(finding);
        }
    }
    let is_error = |finding: &&Finding| finding.severity() == crate::Severity::Error;
    warnings.extend(volume.findings.iter().filter(is_error).cloned());
    (reasons, warnings)
}

/// The first image that a PC BIOS would start must not be empty.
fn cd_bios<R: Read + Seek>(reader: &mut R, report: &Report) -> Result<Judgement, Error> {
    let Some(catalog) = &report.catalog else {
        return Ok(because(Check::NoElTorito, ""));
    };
    let mut images = catalog.images.iter();
    // Without a choice of the user, a BIOS takes the default entry.
    let Some(image) = images.find(|image| image.platform == 0 && image.is_bootable) else {
        return Ok(because(Check::NoBiosEntry, ""));
    };
    let name = format!("image at byte {}", image.offset);
    if image.offset >= report.len {
        return Ok(because(Check::BootImagePastEnd, name));
    }
    if image.sectors == 0 || is_empty(reader, image)? {
        return Ok(because(Check::BootImageEmpty, name));
    }
    if !catalog.is_valid {
        return Ok(because(Check::CatalogChecksum, ""));
    }
    Ok((Vec::new(), Vec::new()))
}

fn is_empty<R: Read + Seek>(reader: &mut R, image: &BootImage) -> Result<bool, Error> {
    let mut input = Input::new(reader)?;
    let len = 2048.min(input.len.saturating_sub(image.offset));
    let bytes = input.read("boot image", image.offset, len)?;
    Ok(bytes.iter().all(|&b| b == 0))
}

fn usb_gpt(report: &Report) -> Judgement {
    let table = &report.partitions;
    let Some(gpt) = &table.gpt else {
        return because(Check::NoGpt, "");
    };
    let mut reasons = Vec::new();
    let mut warnings = Vec::new();
    for finding in &table.findings {
        match finding.check {
            Check::GptUnusable
            | Check::GptIsohybrid
            | Check::GptOverlap
            | Check::GptRange
            | Check::GptPastEnd => reasons.push(finding.clone()),
            Check::GptHeader
            | Check::GptArray
            | Check::GptBackupUsed
            | Check::GptUsableRange
            | Check::MbrMissing
            | Check::MbrHybrid
            | Check::MbrActive => warnings.push(finding.clone()),
            _ => {}
        }
    }
    if gpt.sector_len != 512 {
        let subject = format!("{} bytes", gpt.sector_len);
        warnings.push(Finding::new(Check::GptSectors, subject));
    }
    let partitions = gpt.partitions.iter();
    let mut esps = partitions.filter(|p| p.kind == Guid::EFI_SYSTEM).peekable();
    if esps.peek().is_none() {
        reasons.push(Finding::new(Check::NoEsp, ""));
        return (reasons, warnings);
    }
    let mut first = None;
    for esp in esps {
        let judgement = match volume_of(report, Place::Gpt(esp.number)) {
            Some(volume) => boot_volume(volume),
            None => because(Check::EspNotFat, format!("partition {}", esp.number)),
        };
        if judgement.0.is_empty() {
            warnings.extend(judgement.1);
            return (reasons, warnings);
        }
        first.get_or_insert(judgement);
    }
    if let Some((why, also)) = first {
        reasons.extend(why);
        warnings.extend(also);
    }
    (reasons, warnings)
}

fn usb_mbr(report: &Report) -> Judgement {
    let table = &report.partitions;
    let is_unusable = |finding: &Finding| finding.check == Check::GptUnusable;
    let has_gpt = table.gpt.is_some() && !table.findings.iter().any(is_unusable);
    if has_gpt && table.is_protective() {
        return because(Check::GptFirst, "");
    }
    let entries = table.mbr.iter().filter(|entry| entry.kind == 0xEF);
    let mut judgements = entries.map(|entry| match volume_of(report, Place::Mbr(entry.number)) {
        Some(volume) => boot_volume(volume),
        None => because(Check::EspNotFat, format!("MBR entry {}", entry.number)),
    });
    let Some(first) = judgements.next() else {
        return because(Check::NoMbrEsp, "");
    };
    let good = std::iter::once(first.clone()).chain(judgements);
    let (reasons, mut warnings) = good.into_iter().find(|j| j.0.is_empty()).unwrap_or(first);
    warnings.insert(0, Finding::new(Check::MbrOnly, ""));
    let of_gpt = table.findings.iter();
    let stops = of_gpt.filter(|f| matches!(f.check, Check::GptIsohybrid | Check::GptUnusable));
    warnings.extend(stops.cloned());
    (reasons, warnings)
}

fn usb_fat(report: &Report) -> Judgement {
    match volume_of(report, Place::Whole) {
        Some(volume) => boot_volume(volume),
        None => because(Check::NoFat, ""),
    }
}

fn usb_bios(report: &Report) -> Judgement {
    let table = &report.partitions;
    // The boot sector of a file system has code too, but an ISO image has none there.
    let has_boot_sector = report.format == Format::Iso9660 || !table.mbr.is_empty();
    if !table.has_boot_code || !has_boot_sector {
        return because(Check::NoBootCode, "");
    }
    (Vec::new(), Vec::new())
}

/// The volume that UEFI firmware would start from.
fn esp(report: &Report) -> Option<&FatVolume> {
    let mut volumes = report.fat_volumes.iter();
    volumes.find(|volume| !volume.boot_files.is_empty())
}

fn rufus(report: &Report) -> Judgement {
    match report.format {
        Format::Iso9660 => tree::copied(report, esp(report).map(|volume| volume.items.as_slice())),
        // Rufus writes other images as they are.
        _ => because(Check::NoTree, ""),
    }
}

/// Ventoy shows the image as a CD.
fn ventoy(report: &Report, cd: &Judgement) -> Judgement {
    if report.format != Format::Iso9660 {
        return because(Check::NoElTorito, "");
    }
    let (mut reasons, mut warnings) = cd.clone();
    let has_tree = report
        .items
        .iter()
        .any(|item| tree::is_boot_file(&tree::plain_path(&item.path_text())));
    if has_tree {
        warnings.append(&mut reasons);
    }
    let volume = esp(report).filter(|volume| volume.file("loader/loader.conf").is_some());
    let is_open = |volume: &FatVolume| {
        let seed = volume.file("loader/random-seed");
        seed.is_none_or(|seed| seed.flags & 1 == 0)
    };
    if volume.is_some_and(is_open) {
        warnings.push(Finding::new(Check::RandomSeed, ""));
    }
    (reasons, warnings)
}
