//! What is wrong with an ISO 9660 volume.

use std::collections::HashSet;
use std::io::{Read, Seek};

use super::findings::Findings;
use super::{Report, path_table};
use crate::error::Error;
use crate::iso_reader::Notes;
use crate::item::{Item, ItemKind};
use crate::{Check, Extent, IsoReader, Namespace, Problem, VolumeKind};

/// What the rest of the report wants to know of the volume.
pub(super) struct Seen {
    pub(super) has_joliet: bool,
    pub(super) has_udf: bool,
}

pub(super) fn inspect<R: Read + Seek>(
    iso: &mut IsoReader<R>,
    report: &mut Report,
    findings: &mut Findings,
) -> Result<Seen, Error> {
    report.volumes = iso.volumes().to_vec();
    report.namespaces = iso.namespaces();
    let best = iso.best_namespace();
    report.namespace = Some(best);
    descriptors(iso, report.len, findings);
    let mut last_directory = 0;
    let mut first_file = u64::MAX;
    let mut said = HashSet::new();
    for namespace in iso.namespaces() {
        let (listing, notes) = iso.survey(namespace)?;
        for problem in &listing.problems {
            add_problem(problem, namespace, &mut said, findings);
        }
        let ends = notes.directories.iter().map(|(_, extent)| extent.offset);
        last_directory = ends.fold(last_directory, u64::max);
        // The Rock Ridge tree has the same records and the same path tables as the plain one.
        if namespace != Namespace::RockRidge {
            tree_order(&notes, namespace, findings);
            if listing.problems.is_empty() {
                tables(iso, namespace, &notes, findings)?;
            }
        }
        if namespace == best {
            first_file = content(&listing.items, report.len, findings);
            duplicates(&listing.items, findings);
            report.items = listing.items;
        }
        if namespace == Namespace::Iso {
            let levels = |(path, _): &(Vec<u8>, Extent)| {
                let slashes = path.iter().filter(|&&b| b == b'/').count();
                slashes.saturating_add(if path.is_empty() { 1 } else { 2 })
            };
            let deepest = notes.directories.iter().map(levels).max().unwrap_or(1);
            let subject = format!("{deepest} levels");
            findings.add_if(deepest > 8, Check::IsoDeep, subject);
        }
    }
    let is_behind = last_directory > first_file;
    findings.add_if(is_behind, Check::IsoDirectoryBehindData, "");
    match iso.boot_catalog() {
        Ok(catalog) => report.catalog = catalog,
        Err(error @ Error::Image { .. }) => return Err(error),
        Err(error) => findings.add(Check::CatalogUnreadable, error.to_string()),
    }
    let is_in_place = report.catalog.is_none() || iso.descriptors.catalog_in_place;
    findings.add_if(!is_in_place, Check::CatalogPlace, "");
    Ok(Seen {
        has_joliet: iso.volume(VolumeKind::Joliet).is_some(),
        has_udf: iso.descriptors.has_udf,
    })
}

fn descriptors<R>(iso: &IsoReader<R>, len: u64, findings: &mut Findings) {
    let found = &iso.descriptors;
    findings.add_if(!found.has_terminator, Check::IsoNoTerminator, "");
    findings.add_if(found.has_udf, Check::IsoUdf, "");
    let session = format!("it begins at block {}", found.session);
    findings.add_if(found.session != 0, Check::IsoSessions, session);
    for volume in &found.volumes {
        let subject = format!("descriptor in block {}", volume.block);
        findings.add_if(!volume.is_consistent, Check::IsoBothEndian, &subject);
        findings.add_if(volume.has_zero_times, Check::IsoZeroTime, &subject);
        let volume_len = volume.blocks.saturating_mul(volume.block_len);
        let sizes = format!("{volume_len} of {len} bytes");
        findings.add_if(volume_len > len, Check::IsoTruncated, sizes);
    }
    let has_joliet = found.volumes.iter().any(|v| v.kind == VolumeKind::Joliet);
    findings.add_if(!has_joliet && !found.has_udf, Check::IsoNoJoliet, "");
}

/// The same damage shows in each tree that shares it.
fn add_problem(
    problem: &Problem,
    namespace: Namespace,
    said: &mut HashSet<String>,
    findings: &mut Findings,
) {
    if said.insert(problem.error.to_string()) {
        let subject = format!("{}, {} tree", problem, namespace.name());
        findings.add(Check::IsoUnreadable, subject);
    }
}

fn tree_order(notes: &Notes, namespace: Namespace, findings: &mut Findings) {
    for (check, paths) in [
        (Check::IsoUnsorted, &notes.unsorted),
        (Check::IsoRecordCrossing, &notes.crossing),
        (Check::IsoBothEndian, &notes.inconsistent),
        (Check::IsoInterleaved, &notes.interleaved),
    ] {
        for path in paths {
            findings.add(check, format!("/{path}, {} tree", namespace.name()));
        }
    }
}

fn tables<R: Read + Seek>(
    iso: &mut IsoReader<R>,
    namespace: Namespace,
    notes: &Notes,
    findings: &mut Findings,
) -> Result<(), Error> {
    let kind = match namespace {
        Namespace::Joliet => VolumeKind::Joliet,
        Namespace::Enhanced => VolumeKind::Enhanced,
        _ => VolumeKind::Primary,
    };
    let Some(volume) = iso.volume(kind).cloned() else {
        return Ok(());
    };
    let problem = path_table::problem(&mut iso.input, &volume, &notes.directories)?;
    if let Some(problem) = problem {
        let subject = format!("{problem}, {} tree", namespace.name());
        findings.add(Check::IsoPathTable, subject);
    }
    Ok(())
}

/// Looks at the files; answers where the first content begins.
fn content(items: &[Item], len: u64, findings: &mut Findings) -> u64 {
    let mut first = u64::MAX;
    for item in items {
        let path = || format!("/{}", item.path_text());
        match item.kind {
            ItemKind::File => {}
            ItemKind::Special => {
                findings.add(Check::IsoSpecial, path());
                continue;
            }
            _ => continue,
        }
        let pieces = item.extents.iter().filter(|extent| extent.len > 0);
        let is_outside = |extent: &Extent| extent.offset.saturating_add(extent.len) > len;
        first = pieces.clone().fold(first, |first, e| first.min(e.offset));
        findings.add_if(pieces.clone().any(is_outside), Check::IsoPastEnd, path());
        let is_multiple = item.flags & 0x80 != 0;
        findings.add_if(is_multiple, Check::IsoMultiExtent, path());
        findings.add_if(item.unpacked_len.is_some(), Check::IsoCompressed, path());
    }
    first
}

fn duplicates(items: &[Item], findings: &mut Findings) {
    let mut seen: HashSet<&[u8]> = HashSet::with_capacity(items.len());
    for item in items.iter().filter(|item| !item.is_associated()) {
        let is_new = seen.insert(&item.path);
        findings.add_if(
            !is_new,
            Check::IsoDuplicate,
            format!("/{}", item.path_text()),
        );
    }
}
