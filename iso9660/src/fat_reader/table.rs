//! The file allocation table, read in pieces as it is needed.

use std::io::{Read, Seek};

use super::boot_sector::BootSector;
use crate::FatKind;
use crate::error::Error;
use crate::input::{Extent, Input};

const PAGE: u64 = 4096;
/// Pages that are kept: enough for a table of 4 MiB.
const PAGES: u64 = 1024;

/// What follows a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Cluster(u64),
    End,
    Free,
    Bad,
}

/// Pieces of the table that were read.
#[derive(Debug)]
pub(crate) struct Pages {
    slots: Vec<Option<(u64, Vec<u8>)>>,
}

impl Pages {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..PAGES).map(|_| None).collect(),
        }
    }

    fn byte<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        boot: &BootSector,
        at: u64,
    ) -> Result<u32, Error> {
        let (number, within) = (at / PAGE, at % PAGE);
        let slot = usize::try_from(number % PAGES).unwrap_or(0);
        let held = self.slots.get(slot).and_then(Option::as_ref);
        if held.is_none_or(|(held, _)| *held != number) {
            let start = number.saturating_mul(PAGE);
            let offset = boot.table_offset().saturating_add(start);
            let (_, table_len, _) = boot.tables;
            // The end of the table, or of the image, may come before that of the page.
            let len = PAGE
                .min(table_len.saturating_sub(start))
                .min(input.len.saturating_sub(offset));
            let bytes = input.read("file allocation table", offset, len)?;
            if let Some(slot) = self.slots.get_mut(slot) {
                *slot = Some((number, bytes));
            }
        }
        let page = self.slots.get(slot).and_then(Option::as_ref);
        let index = usize::try_from(within).unwrap_or(usize::MAX);
        match page.and_then(|(_, bytes)| bytes.get(index)) {
            Some(&byte) => Ok(u32::from(byte)),
            None => Err(Error::Truncated {
                what: "file allocation table",
                offset: input.absolute(boot.table_offset().saturating_add(at)),
                needed: 1,
                available: 0,
            }),
        }
    }

    /// The entry of a cluster, as it is recorded.
    pub(crate) fn entry<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        boot: &BootSector,
        cluster: u64,
    ) -> Result<u32, Error> {
        let (at, len) = match boot.kind {
            FatKind::Fat12 => (cluster.saturating_add(cluster / 2), 2u64),
            FatKind::Fat16 => (cluster.saturating_mul(2), 2),
            FatKind::Fat32 => (cluster.saturating_mul(4), 4),
        };
        let mut value = 0;
        for i in (0..len).rev() {
            value = value << 8 | self.byte(input, boot, at.saturating_add(i))?;
        }
        Ok(match boot.kind {
            FatKind::Fat12 if cluster.is_multiple_of(2) => value & 0xFFF,
            FatKind::Fat12 => value >> 4,
            FatKind::Fat16 => value,
            FatKind::Fat32 => value & 0x0FFF_FFFF,
        })
    }

    /// What follows a cluster.
    pub(crate) fn next<R: Read + Seek>(
        &mut self,
        input: &mut Input<R>,
        boot: &BootSector,
        cluster: u64,
    ) -> Result<Next, Error> {
        let value = self.entry(input, boot, cluster)?;
        let (bad, end): (u32, u32) = match boot.kind {
            FatKind::Fat12 => (0xFF7, 0xFF8),
            FatKind::Fat16 => (0xFFF7, 0xFFF8),
            FatKind::Fat32 => (0x0FFF_FFF7, 0x0FFF_FFF8),
        };
        Ok(match value {
            0 => Next::Free,
            _ if value >= end => Next::End,
            _ if value == bad || !boot.has_cluster(u64::from(value)) => Next::Bad,
            _ => Next::Cluster(u64::from(value)),
        })
    }
}

/// The clusters of a file or directory.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// The runs, without the slack of the last cluster when a length was asked for.
    pub(crate) extents: Vec<Extent>,
    /// Count of clusters.
    pub(crate) clusters: u64,
    /// Why it is not as long as it should be, or has no end.
    pub(crate) problem: Option<&'static str>,
    /// It goes on behind the length that was asked for.
    pub(crate) is_longer: bool,
}

impl Chain {
    /// Follows the chain from a cluster on, for `len` bytes, or to its end but not farther than
    /// `most` clusters.
    pub(crate) fn follow<R: Read + Seek>(
        input: &mut Input<R>,
        boot: &BootSector,
        pages: &mut Pages,
        first: u64,
        len: Option<u64>,
        most: u64,
    ) -> Result<Self, Error> {
        let mut out = Self::default();
        if !boot.has_cluster(first) {
            out.problem = Some("it begins at a cluster that does not exist");
            return Ok(out);
        }
        let needed = len.map_or(most, |len| len.div_ceil(boot.cluster_len));
        // Brent's way to notice a circle: a marker that is moved on ever more rarely.
        let (mut marker, mut lap, mut power) = (first, 0u64, 1u64);
        let mut cluster = first;
        let mut is_end = false;
        while out.clusters < needed {
            out.push(boot, cluster);
            match pages.next(input, boot, cluster)? {
                Next::Cluster(next) if next == marker => {
                    out.problem = Some("its clusters go round in a circle");
                }
                Next::Cluster(next) => {
                    cluster = next;
                    lap = lap.saturating_add(1);
                    if lap == power {
                        (marker, lap, power) = (cluster, 0, power.saturating_mul(2));
                    }
                    continue;
                }
                Next::End => is_end = true,
                Next::Free => out.problem = Some("its clusters lead to a free one"),
                Next::Bad => out.problem = Some("its clusters lead to one that does not exist"),
            }
            break;
        }
        match len {
            Some(len) => {
                out.is_longer = !is_end && out.problem.is_none();
                let has_all = out.clusters >= needed;
                if has_all && out.is_circle() {
                    out.problem = Some("its clusters go round in a circle");
                    out.extents.clear();
                } else if has_all {
                    out.cut(len);
                    // A file that is all there does not mind what its last entry says.
                    out.is_longer |= out.problem.take().is_some();
                } else if out.problem.is_none() {
                    out.problem = Some("it has fewer clusters than its length needs");
                }
            }
            None if !is_end && out.problem.is_none() => {
                out.problem = Some("it is longer than any directory can be");
            }
            None => {}
        }
        Ok(out)
    }

    /// Whether a cluster is there twice: the way to notice a circle that is shorter than the file.
    fn is_circle(&self) -> bool {
        let mut runs = self.extents.clone();
        runs.sort_unstable_by_key(|run| run.offset);
        let ends = runs.iter().map(|run| run.offset.saturating_add(run.len));
        let next = runs.iter().skip(1);
        ends.zip(next).any(|(end, next)| next.offset < end)
    }

    fn push(&mut self, boot: &BootSector, cluster: u64) {
        let offset = boot.cluster_offset(cluster);
        self.clusters = self.clusters.saturating_add(1);
        match self.extents.last_mut() {
            Some(last) if last.offset.saturating_add(last.len) == offset => {
                last.len = last.len.saturating_add(boot.cluster_len);
            }
            _ => self.extents.push(Extent {
                offset,
                len: boot.cluster_len,
            }),
        }
    }

    /// Takes the slack off the last run.
    fn cut(&mut self, len: u64) {
        let total: u64 = self.extents.iter().map(|extent| extent.len).sum();
        if let Some(last) = self.extents.last_mut() {
            last.len = last.len.saturating_sub(total.saturating_sub(len));
        }
    }
}
