//! What is wrong with partition tables that can be read.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::HashSet;

use super::header::Copy;
use super::read::{GptPartition, PartitionTable};
use crate::{Check, Guid};

/// Findings that are kept; a hostile table has thousands of entries.
pub(super) const MAX_FINDINGS: usize = 200;

/// Checks the partitions of a table against a disk of so many sectors.
pub(super) fn gpt(table: &mut PartitionTable, copy: &Copy, disk: u64) {
    let Some(partitions) = table.gpt.as_ref().map(|gpt| gpt.partitions.clone()) else {
        return;
    };
    let (first, last) = copy.usable();
    let (array, array_sectors) = copy.array();
    let array_end = array.saturating_add(array_sectors);
    let is_clear = array_end <= first || array > last;
    let is_range = first >= 2 && first <= last.saturating_add(1) && last < disk && is_clear;
    let range = format!("sectors {first} to {last}");
    table.add(!is_range, Check::GptUsableRange, &range);
    if is_isohybrid(table, &partitions, first) {
        table.add(true, Check::GptIsohybrid, "");
        // No firmware takes it whether its checksums are right or, as those of pycdlib, wrong.
        let is_other = |finding: &crate::Finding| finding.check != Check::GptUnusable;
        table.findings.retain(is_other);
        return;
    }
    let mut guids = HashSet::new();
    for partition in &partitions {
        let name = name(partition);
        let is_outside =
            partition.first > partition.last || partition.first < first || partition.last > last;
        table.add(is_outside, Check::GptRange, &name);
        table.add(partition.last >= disk, Check::GptPastEnd, &name);
        let is_new = guids.insert(partition.guid) && partition.guid != Guid::NIL;
        table.add(!is_new, Check::GptDuplicateGuid, &name);
    }
    let mut sorted: Vec<&GptPartition> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.first);
    let mut before: Option<&GptPartition> = None;
    for partition in sorted {
        if let Some(before) = before {
            let subject = format!("{} and {}", name(before), name(partition));
            let overlaps = partition.first <= before.last && before.first <= before.last;
            table.add(overlaps, Check::GptOverlap, &subject);
        }
        if before.is_none_or(|before| partition.last > before.last) {
            before = Some(partition);
        }
    }
}

/// Whether these are the partitions of isohybrid: one over the whole image, tables included, others
/// inside of it, and no protective MBR.
fn is_isohybrid(table: &PartitionTable, partitions: &[GptPartition], first_usable: u64) -> bool {
    let whole = partitions.iter().find(|whole| whole.first < first_usable);
    let is_inside = |whole: &GptPartition, other: &GptPartition| {
        other.number == whole.number || other.first >= whole.first && other.last <= whole.last
    };
    !table.is_protective()
        && whole.is_some_and(|whole| {
            partitions.len() > 1 && partitions.iter().all(|other| is_inside(whole, other))
        })
}

fn name(partition: &GptPartition) -> String {
    if partition.name.is_empty() {
        return format!("partition {}", partition.number);
    }
    format!("partition {} {:?}", partition.number, partition.name)
}

/// Checks the MBR of a disk of so many sectors.
pub(super) fn mbr(table: &mut PartitionTable, disk: u64) {
    let entries = table.mbr.clone();
    let protective = entries.iter().find(|entry| entry.kind == 0xEE);
    let is_isohybrid = |finding: &crate::Finding| finding.check == Check::GptIsohybrid;
    if table.gpt.is_some() && !table.findings.iter().any(is_isohybrid) {
        table.add(protective.is_none(), Check::MbrMissing, "");
    }
    if let Some(protective) = protective {
        table.add(entries.len() > 1, Check::MbrHybrid, "");
        table.add(protective.is_active, Check::MbrActive, "");
        let rest = disk.saturating_sub(1);
        let covers = protective.sectors == rest
            || protective.sectors == u64::from(u32::MAX)
            || rest > u64::from(u32::MAX);
        let wrong = protective.first != 1 || !covers;
        let subject = format!("{} sectors from {}", protective.sectors, protective.first);
        table.add(wrong, Check::MbrProtective, &subject);
    }
    let parts = entries.iter().filter(|entry| entry.kind != 0xEE);
    let mut parts: Vec<_> = parts.collect();
    parts.sort_by_key(|entry| entry.first);
    let mut end = 0u64;
    for entry in parts {
        let subject = format!("entry {}", entry.number);
        let entry_end = entry.first.saturating_add(entry.sectors);
        table.add(entry.first < end, Check::MbrOverlap, &subject);
        table.add(entry_end > disk, Check::MbrPastEnd, &subject);
        end = end.max(entry_end);
    }
}
