//! Sizes of a FAT volume and the choice of its type.

use super::FatKind;
use crate::error::Error;

/// Clusters kept away from the limits of a type, since some drivers are off by a few.
const SLACK: u64 = 16;

impl FatKind {
    /// The fewest and most data clusters of a volume of this type. The count alone decides how the
    /// volume is read (Microsoft FAT specification, "FAT type determination").
    pub(super) const fn clusters(self) -> (u64, u64) {
        match self {
            Self::Fat12 => (1, 4_084 - SLACK),
            Self::Fat16 => (4_085 + SLACK, 65_524 - SLACK),
            Self::Fat32 => (65_525 + SLACK, 0x0FFF_FFF4 - SLACK),
        }
    }

    /// Bytes of a table for so many data clusters.
    const fn table_len(self, clusters: u64) -> u64 {
        let entries = clusters + 2;
        match self {
            Self::Fat12 => (entries * 3).div_ceil(2),
            Self::Fat16 => entries * 2,
            Self::Fat32 => entries * 4,
        }
    }
}

/// What is known before the sizes are.
pub(super) struct Wish<'a> {
    pub(super) sector_len: u64,
    pub(super) kind: Option<FatKind>,
    pub(super) cluster_len: Option<u64>,
    /// Length of the whole volume; exact to the content when not given.
    pub(super) total_len: Option<u64>,
    pub(super) free_space: u64,
    /// Entries of the root directory.
    pub(super) root_entries: u64,
    /// Bytes that a second copy of the content would take, when clusters that cannot be shared with
    /// an ISO tree would need one.
    pub(super) copy_len: Option<u64>,
    /// Clusters of this length that the content needs, for a type.
    pub(super) needed: &'a dyn Fn(u64, FatKind) -> u64,
}

/// The sizes of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) kind: FatKind,
    pub(super) sector_len: u64,
    pub(super) cluster_len: u64,
    pub(super) clusters: u64,
    pub(super) reserved_sectors: u64,
    pub(super) table_sectors: u64,
    /// Entries of the fixed root directory; 0 for FAT32.
    pub(super) root_entries: u64,
}

impl Geometry {
    /// Offset of the first table.
    pub(super) const fn table_offset(&self) -> u64 {
        self.reserved_sectors * self.sector_len
    }

    pub(super) const fn table_len(&self) -> u64 {
        self.table_sectors * self.sector_len
    }

    /// Offset of the fixed root directory.
    pub(super) const fn root_offset(&self) -> u64 {
        self.table_offset() + 2 * self.table_len()
    }

    /// Offset of cluster 2.
    pub(super) const fn data_offset(&self) -> u64 {
        self.root_offset() + self.root_entries * super::directory::ENTRY_LEN
    }

    pub(super) const fn len(&self) -> u64 {
        self.data_offset() + self.clusters * self.cluster_len
    }

    pub(super) const fn sectors(&self) -> u64 {
        self.len() / self.sector_len
    }

    /// The sizes around so many clusters. The data begins at a multiple of the cluster length, so
    /// that files lie as well in the volume as they do in memory pages and ISO blocks.
    fn around(wish: &Wish<'_>, kind: FatKind, cluster_len: u64, clusters: u64) -> Self {
        let sector_len = wish.sector_len;
        let (reserved, root_entries) = match kind {
            FatKind::Fat32 => (32, 0),
            _ => {
                let per_sector = sector_len / super::directory::ENTRY_LEN;
                (1, wish.root_entries.max(512).next_multiple_of(per_sector))
            }
        };
        let mut out = Self {
            kind,
            sector_len,
            cluster_len,
            clusters,
            reserved_sectors: reserved,
            table_sectors: kind.table_len(clusters).div_ceil(sector_len),
            root_entries,
        };
        let start = out.data_offset();
        let padding = start.next_multiple_of(cluster_len) - start;
        out.reserved_sectors += padding / sector_len;
        out
    }

    /// The sizes for the content, with as many clusters as it needs and the type demands.
    fn exact(wish: &Wish<'_>, kind: FatKind, cluster_len: u64) -> Option<Self> {
        let (min, max) = kind.clusters();
        let free = wish.free_space.div_ceil(cluster_len);
        let needed = (wish.needed)(cluster_len, kind).checked_add(free)?;
        (needed <= max).then(|| Self::around(wish, kind, cluster_len, needed.max(min)))
    }

    /// The sizes that fill a given length.
    fn filling(wish: &Wish<'_>, kind: FatKind, cluster_len: u64, total: u64) -> Option<Self> {
        let (min, max) = kind.clusters();
        let mut clusters = (total / cluster_len).min(max);
        loop {
            let around = Self::around(wish, kind, cluster_len, clusters);
            let fitting = total.checked_sub(around.data_offset())? / cluster_len;
            if fitting >= clusters {
                let free = wish.free_space.div_ceil(cluster_len);
                let needed = (wish.needed)(cluster_len, kind).checked_add(free)?;
                return (clusters >= min.max(needed)).then_some(around);
            }
            clusters = fitting;
        }
    }

    /// Bytes that this choice costs.
    fn cost(&self, wish: &Wish<'_>) -> u64 {
        let copy = if self.cluster_len.is_multiple_of(2048) {
            0
        } else {
            wish.copy_len.unwrap_or(0)
        };
        self.len().saturating_add(copy)
    }

    /// Chooses type and cluster length.
    pub(super) fn choose(wish: &Wish<'_>) -> Result<Self, Error> {
        let candidates = candidates(wish);
        let made = candidates.iter().filter_map(|&(kind, cluster_len)| {
            match wish.total_len {
                Some(total) => Self::filling(wish, kind, cluster_len, total),
                None => Self::exact(wish, kind, cluster_len),
            }
            .filter(|g| g.sectors() <= u64::from(u32::MAX))
        });
        let best = match wish.total_len {
            // The first candidate is the preferred one.
            Some(_) => made.into_iter().next(),
            None => cheapest(made, wish),
        };
        best.ok_or_else(|| {
            let smallest = candidates.iter().map(|&(kind, cluster_len)| {
                let needed = (wish.needed)(cluster_len, kind).max(kind.clusters().0);
                Self::around(wish, kind, cluster_len, needed)
                    .len()
                    .saturating_add(wish.free_space)
            });
            let needed = smallest.min().unwrap_or(u64::MAX);
            Error::TooLarge {
                what: "FAT volume",
                needed,
                limit: wish.total_len.unwrap_or_else(|| {
                    let kind = wish.kind.unwrap_or(FatKind::Fat32);
                    let cluster_len = wish.cluster_len.unwrap_or(64 * wish.sector_len);
                    kind.clusters().1 * cluster_len
                }),
            }
        })
    }
}

/// The cheapest choice; among those within 1 % of it the first, since larger clusters need fewer
/// look-ups on slow media.
fn cheapest(made: impl Iterator<Item = Geometry>, wish: &Wish<'_>) -> Option<Geometry> {
    let made: Vec<Geometry> = made.collect();
    let least = made.iter().map(|g| g.cost(wish)).min()?;
    let limit = least.saturating_add(least / 100);
    made.into_iter().find(|g| g.cost(wish) <= limit)
}

/// Types and cluster lengths that may be used, the preferred ones first.
fn candidates(wish: &Wish<'_>) -> Vec<(FatKind, u64)> {
    use FatKind::{Fat12, Fat16, Fat32};
    let kinds = match (wish.kind, wish.total_len) {
        (Some(kind), _) => vec![kind],
        // A disk's ESP is FAT32 where it can be (UEFI 2.10, 13.3.1.1).
        (None, Some(_)) => vec![Fat32, Fat16, Fat12],
        (None, None) => vec![Fat12, Fat16, Fat32],
    };
    if let Some(len) = wish.cluster_len {
        return kinds.into_iter().map(|kind| (kind, len)).collect();
    }
    let mut out = Vec::new();
    for kind in kinds {
        // Eight sectors first: 4 KiB, a page and the block of most media; then what is smaller,
        // then what only large volumes need.
        for sectors in [8, 4, 2, 1, 16, 32, 64] {
            let cluster_len = sectors * wish.sector_len;
            let is_odd = (kind == Fat12 && sectors > 8)
                || (kind == Fat16 && sectors > 8 && wish.kind.is_none())
                || (wish.kind.is_none() && wish.copy_len.is_some() && cluster_len < 2048);
            if !is_odd {
                out.push((kind, cluster_len));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(content: u64, kind: Option<FatKind>, shared: bool) -> Geometry {
        Geometry::choose(&Wish {
            sector_len: 512,
            kind,
            cluster_len: None,
            total_len: None,
            free_space: 0,
            root_entries: 10,
            copy_len: shared.then_some(content),
            needed: &|cluster_len, _| content.div_ceil(cluster_len),
        })
        .unwrap()
    }

    #[test]
    fn the_type_follows_the_size_of_the_content() {
        let mib = 1 << 20;
        for (content, kind) in [
            (mib, FatKind::Fat12),
            (10 * mib, FatKind::Fat12),
            (36 * mib, FatKind::Fat16),
            (200 * mib, FatKind::Fat16),
            (300 * mib, FatKind::Fat32),
            (1024 * mib, FatKind::Fat32),
        ] {
            let g = choose(content, None, true);
            assert_eq!(g.kind, kind, "{content}");
            assert!(g.cluster_len.is_multiple_of(2048) && g.data_offset().is_multiple_of(2048));
            assert!(g.len() <= content + content / 50 + 60_000, "{g:?}");
        }
    }

    #[test]
    fn every_size_is_clear_of_the_type_limits() {
        for content in (1..400_000_000).step_by(333_333) {
            let g = choose(content, None, true);
            let (min, max) = g.kind.clusters();
            assert!((min..=max).contains(&g.clusters), "{g:?}");
        }
    }

    #[test]
    fn fat32_when_asked_for_has_enough_clusters() {
        let g = choose(40 << 20, Some(FatKind::Fat32), true);
        assert_eq!((g.kind, g.cluster_len), (FatKind::Fat32, 512));
        assert!(g.clusters >= 65_541);
        let g = choose(100 << 20, Some(FatKind::Fat32), true);
        assert_eq!((g.kind, g.cluster_len), (FatKind::Fat32, 2048));
    }

    #[test]
    fn the_largest_clusters_do_not_ask_for_fat32() {
        let g = Geometry::choose(&Wish {
            sector_len: 512,
            kind: None,
            cluster_len: Some(65_536),
            total_len: None,
            free_space: 0,
            root_entries: 10,
            copy_len: None,
            needed: &|cluster_len, _| 300_000u64.div_ceil(cluster_len),
        })
        .unwrap();
        assert_eq!((g.kind, g.clusters), (FatKind::Fat12, 5));
        assert!(g.len() < 1 << 19, "{g:?}");
    }
}
