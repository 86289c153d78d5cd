//! The FAT volumes of an image and what is wrong with them.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::findings::Findings;
use super::{FatVolume, Place, Report, boot_file};
use crate::error::Error;
use crate::fat::fold;
use crate::fat_reader::boot_sector::BootSector;
use crate::fat_reader::directory::label;
use crate::input::{byte, le32};
use crate::{Check, FatKind, FatReader, Limits};

/// Tables are compared and counted up to this length.
const MAX_TABLE: u64 = 16 << 20;
const PIECE: u64 = 64 << 10;
/// Volumes that are looked at.
const MAX_VOLUMES: usize = 64;

/// A place where a FAT volume may begin, and the bytes it may take.
struct Candidate {
    offset: u64,
    len: u64,
    place: Place,
}

/// Finds the FAT volumes.
pub(super) fn find<R: Read + Seek>(reader: &mut R, report: &mut Report) -> Result<(), Error> {
    let candidates = candidates(report);
    for candidate in &candidates {
        let volumes = &mut report.fat_volumes;
        if let Some(known) = volumes.iter_mut().find(|v| v.offset == candidate.offset) {
            known.places.push(candidate.place);
            continue;
        }
        if volumes.len() >= MAX_VOLUMES || candidate.offset >= report.len {
            continue;
        }
        let (offset, limits) = (candidate.offset, Limits::default());
        match FatReader::with_limits(&mut *reader, offset, u64::MAX, limits) {
            Ok(mut fat) => {
                let same = candidates.iter().filter(|c| c.offset == offset);
                let longest = same.map(|c| c.len).max().unwrap_or(0);
                let volume = inspect(&mut fat, candidate, longest)?;
                volumes.push(volume);
            }
            Err(error @ Error::Image { .. }) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(())
}

fn candidates(report: &Report) -> Vec<Candidate> {
    let table = &report.partitions;
    let sector_len = table.sector_len();
    let bytes = |sectors: u64| sectors.saturating_mul(sector_len);
    let gpt = table.gpt.iter().flat_map(|gpt| &gpt.partitions);
    let gpt = gpt.map(|partition| Candidate {
        offset: bytes(partition.first),
        len: bytes(partition.sectors()),
        place: Place::Gpt(partition.number),
    });
    let mbr = table.mbr.iter().filter(|entry| entry.kind != 0xEE);
    let mbr = mbr.map(|entry| Candidate {
        offset: bytes(entry.first),
        len: bytes(entry.sectors),
        place: Place::Mbr(entry.number),
    });
    let images = report.catalog.iter().flat_map(|catalog| &catalog.images);
    let images = images.enumerate().map(|(index, image)| Candidate {
        offset: image.offset,
        len: report.len.saturating_sub(image.offset),
        place: Place::BootImage(index),
    });
    let mut out: Vec<Candidate> = gpt.chain(mbr).chain(images).collect();
    // An MBR entry that covers the whole image is no partition of its own.
    out.retain(|candidate| candidate.offset != 0);
    if report.catalog.is_none() && report.volumes.is_empty() && out.is_empty() {
        out.push(Candidate {
            offset: 0,
            len: report.len,
            place: Place::Whole,
        });
    }
    out
}

fn inspect<R: Read + Seek>(
    fat: &mut FatReader<R>,
    candidate: &Candidate,
    longest: u64,
) -> Result<FatVolume, Error> {
    let mut survey = fat.survey()?;
    let boot = fat.boot.clone();
    let mut out = FatVolume {
        offset: candidate.offset,
        len: boot.len,
        kind: boot.kind,
        sector_len: boot.sector_len,
        cluster_len: boot.cluster_len,
        label: fat.label().unwrap_or_default(),
        serial: boot.serial,
        places: vec![candidate.place],
        items: Vec::new(),
        findings: Vec::new(),
        boot_files: Vec::new(),
        kind_by_clusters: boot.kind_by_clusters(),
        used_len: boot.data,
    };
    let mut findings = Findings::default();
    let name = format!("FAT volume at byte {}", candidate.offset);
    let about = |text: &str| format!("{name}: {text}");
    for problem in &survey.listing.problems {
        findings.add(Check::FatUnreadable, about(&problem.to_string()));
    }
    boot_sector(&boot, fat, &name, &mut findings)?;
    let is_cross_linked = survey.is_cross_linked();
    findings.add_if(is_cross_linked, Check::FatCrossLinked, &name);
    for path in &survey.too_long {
        findings.add(Check::FatChainTooLong, about(path));
    }
    findings.add_if(survey.empty_with_cluster > 0, Check::FatEmptyCluster, &name);
    findings.add_if(survey.orphans > 0, Check::FatOrphans, &name);
    let has_odd_dots = survey.without_dots > 0 || survey.named_dots > 0;
    findings.add_if(has_odd_dots, Check::FatDots, &name);
    if let Some(in_root) = &survey.label {
        let in_boot = label(&boot.label);
        let differs = *in_root != in_boot && in_boot != "NO NAME";
        let subject = about(&format!("{in_boot:?} and {in_root:?}"));
        findings.add_if(differs, Check::FatLabel, subject);
    }
    tables(fat, &boot, survey.used_clusters, &name, &mut findings)?;
    let mut seen = HashSet::new();
    for item in &survey.listing.items {
        let path = item.path_text();
        let is_new = seen.insert(fold(&path));
        findings.add_if(!is_new, Check::FatDuplicate, about(&path));
    }
    let past_end = survey.listing.items.iter().filter(|item| {
        let end = |e: &crate::Extent| e.offset.saturating_add(e.len);
        item.extents.iter().map(end).max().unwrap_or(0) > fat.input.len
    });
    for item in past_end {
        let subject = about(&format!("{} lies behind the end", item.path_text()));
        findings.add(Check::FatUnreadable, subject);
    }
    let runs = survey.runs.iter();
    let ends = runs.map(|run| run.offset.saturating_add(run.len));
    out.used_len = ends.fold(boot.data, u64::max);
    let room = candidate.len.min(fat.input.len);
    if boot.len > room {
        // xorriso cuts partitions to whole blocks of the ISO. That takes free space away, or bytes
        // that the boot catalog leads to all the same.
        let is_there = longest.max(room) >= out.used_len && boot.len <= fat.input.len;
        let check = match is_there {
            true => Check::FatLonger,
            false => Check::FatTruncated,
        };
        findings.add(check, format!("{name}: {} of {room} bytes", boot.len));
    }
    out.items = survey.listing.items;
    out.boot_files = boot_file::find(fat, &out.items)?;
    out.findings = findings.finish();
    Ok(out)
}

fn boot_sector<R: Read + Seek>(
    boot: &BootSector,
    fat: &mut FatReader<R>,
    name: &str,
    findings: &mut Findings,
) -> Result<(), Error> {
    let by_clusters = boot.kind_by_clusters();
    let subject = format!(
        "{name}: {} with {} clusters",
        boot.kind, boot.declared_clusters
    );
    if by_clusters != boot.kind {
        findings.add(Check::FatKindMismatch, subject);
    } else if [4085u64, 65_525]
        .iter()
        .any(|limit| limit.abs_diff(boot.declared_clusters) < 16)
    {
        findings.add(Check::FatNearLimit, subject);
    }
    let is_short = boot.clusters < boot.declared_clusters;
    findings.add_if(is_short, Check::FatTableTooShort, name);
    findings.add_if(!boot.has_signature, Check::FatNoSignature, name);
    findings.add_if(!boot.is_mirrored, Check::FatNotMirrored, name);
    if boot.backup_sector != 0 && boot.backup_sector != 0xFFFF {
        let read = |fat: &mut FatReader<R>, sector: u64| {
            let offset = sector.saturating_mul(boot.sector_len);
            fat.input.read("boot sector", offset, 90).ok()
        };
        let differs = read(fat, 0) != read(fat, boot.backup_sector);
        findings.add_if(differs, Check::FatBackupDiffers, name);
    }
    let state = fat.pages.entry(&mut fat.input, boot, 1).unwrap_or(u32::MAX);
    let clean: u32 = match boot.kind {
        FatKind::Fat12 => 0,
        FatKind::Fat16 => 0x8000,
        FatKind::Fat32 => 0x0800_0000,
    };
    findings.add_if(state & clean != clean, Check::FatDirty, name);
    Ok(())
}

/// Compares the tables with each other and with what is in use.
fn tables<R: Read + Seek>(
    fat: &mut FatReader<R>,
    boot: &BootSector,
    used: u64,
    name: &str,
    findings: &mut Findings,
) -> Result<(), Error> {
    let (first, len, count) = boot.tables;
    if len > MAX_TABLE || first.saturating_add(len.saturating_mul(count)) > fat.input.len {
        return Ok(());
    }
    let mut in_use = 0u64;
    let mut free = 0u64;
    for cluster in 2..boot.clusters.saturating_add(2) {
        match fat.pages.entry(&mut fat.input, boot, cluster)? {
            0 => free = free.saturating_add(1),
            0xFF7 if boot.kind == FatKind::Fat12 => {}
            0xFFF7 if boot.kind == FatKind::Fat16 => {}
            0x0FFF_FFF7 => {}
            _ => in_use = in_use.saturating_add(1),
        }
    }
    let subject = format!("{name}: {in_use} in use, {used} found");
    findings.add_if(in_use > used, Check::FatLost, subject);
    if boot.is_mirrored && count > 1 && tables_differ(fat, (first, len))? {
        findings.add(Check::FatTablesDiffer, name);
    }
    if boot.info_sector != 0 && boot.info_sector != 0xFFFF {
        let offset = boot.info_sector.saturating_mul(boot.sector_len);
        let info = fat.input.read("FSInfo", offset, 512).unwrap_or_default();
        let is_info = le32(&info, 0) == 0x4161_5252
            && le32(&info, 484) == 0x6141_7272
            && byte(&info, 510) == 0x55;
        let counted = u64::from(le32(&info, 488));
        let is_right = counted == free || counted == u64::from(u32::MAX);
        let subject = format!("{name}: {counted} for {free}");
        findings.add_if(!is_info || !is_right, Check::FatInfo, subject);
    }
    Ok(())
}

fn tables_differ<R: Read + Seek>(
    fat: &mut FatReader<R>,
    (first, len): (u64, u64),
) -> Result<bool, Error> {
    let mut at = 0u64;
    while at < len {
        let piece = PIECE.min(len.saturating_sub(at));
        let offset = first.saturating_add(at);
        let one = fat.input.read("file allocation table", offset, piece)?;
        let other = offset.saturating_add(len);
        if one != fat.input.read("file allocation table", other, piece)? {
            return Ok(true);
        }
        at = at.saturating_add(piece);
    }
    Ok(false)
}
