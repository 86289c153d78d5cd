//! What a walk through a FAT volume notices beside the items.

use super::directory::Entries;
use crate::Listing;
use crate::input::Extent;

#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) listing: Listing,
    pub(crate) label: Option<String>,
    /// Parts of long names that belong to no entry.
    pub(crate) orphans: u64,
    /// Directories without entries of themselves and their parent.
    pub(crate) without_dots: u64,
    /// Directories whose entries of themselves or their parent have long names.
    pub(crate) named_dots: u64,
    /// Empty files that have a cluster.
    pub(crate) empty_with_cluster: u64,
    /// Files that have more clusters than they need.
    pub(crate) too_long: Vec<String>,
    /// The pieces of all files and directories.
    pub(crate) runs: Vec<Extent>,
    pub(crate) used_clusters: u64,
}

impl Survey {
    pub(super) fn note(&mut self, is_root: bool, entries: &Entries) {
        self.orphans = self.orphans.saturating_add(entries.orphans);
        self.named_dots = self
            .named_dots
            .saturating_add(u64::from(entries.named_dots));
        if is_root {
            self.label = entries.label.clone();
        } else {
            let lacks = entries.dots != 2;
            self.without_dots = self.without_dots.saturating_add(u64::from(lacks));
        }
    }

    /// Whether a cluster belongs to two files.
    pub(crate) fn is_cross_linked(&mut self) -> bool {
        self.runs.sort_unstable_by_key(|run| run.offset);
        let mut end = 0;
        self.runs.iter().any(|run| {
            let overlaps = run.offset < end;
            end = end.max(run.offset.saturating_add(run.len));
            overlaps
        })
    }
}
