//! The file allocation table, made piece by piece when it is written.

use super::FatKind;

/// A table in which every file and directory is one run of clusters, the runs following each other
/// from cluster 2.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    kind: FatKind,
    /// Length in bytes, whole sectors.
    len: u64,
    /// The last cluster of each run, ascending.
    ends: Vec<u32>,
}

impl Table {
    pub(super) const fn new(kind: FatKind, len: u64, ends: Vec<u32>) -> Self {
        Self { kind, len, ends }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Writes the bytes of the table from `offset`.
    pub(crate) fn fill(&self, offset: u64, mut buf: &mut [u8]) {
        let unit = match self.kind {
            FatKind::Fat12 => 3,
            FatKind::Fat16 => 2,
            FatKind::Fat32 => 4,
        };
        let mut at = offset;
        let mut run = None;
        while !buf.is_empty() {
            let (index, within) = (at / unit, at % unit);
            let value = match self.kind {
                FatKind::Fat12 => {
                    self.entry(index * 2, &mut run) | self.entry(index * 2 + 1, &mut run) << 12
                }
                _ => self.entry(index, &mut run),
            };
            let bytes = value.to_le_bytes();
            let (unit, within) = (
                usize::try_from(unit).unwrap_or(4),
                usize::try_from(within).unwrap_or(0),
            );
            let from = bytes.iter().take(unit).skip(within);
            let mut n = 0;
            for (to, from) in buf.iter_mut().zip(from) {
                *to = *from;
                n += 1;
            }
            at += n as u64;
            buf = buf.split_at_mut(n).1;
        }
    }

    /// The entry of a cluster; `run` remembers the run of the last cluster asked for.
    fn entry(&self, cluster: u64, run: &mut Option<usize>) -> u32 {
        let (media, end): (u32, u32) = match self.kind {
            FatKind::Fat12 => (0xFF8, 0xFFF),
            FatKind::Fat16 => (0xFFF8, 0xFFFF),
            FatKind::Fat32 => (0x0FFF_FFF8, 0x0FFF_FFFF),
        };
        let Ok(cluster) = u32::try_from(cluster) else {
            return 0;
        };
        match cluster {
            0 => return media,
            // All bits set also says that the volume was left clean.
            1 => return end,
            _ => {}
        }
        let mut index = run.unwrap_or_else(|| self.ends.partition_point(|&end| end < cluster));
        while self.ends.get(index).is_some_and(|&end| end < cluster) {
            index += 1;
        }
        *run = Some(index);
        match self.ends.get(index) {
            Some(&last) if last == cluster => end,
            Some(_) => cluster + 1,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_twelve_bit_entries() {
        let table = Table::new(FatKind::Fat12, 512, vec![2, 4]);
        let mut all = [0xAA; 12];
        table.fill(0, &mut all);
        // 0: FF8, 1: FFF, 2: end, 3: 4, 4: end, then free.
        assert_eq!(
            all,
            [0xF8, 0xFF, 0xFF, 0xFF, 0x4F, 0x00, 0xFF, 0x0F, 0, 0, 0, 0]
        );
    }

    #[test]
    fn gives_the_same_bytes_in_any_pieces() {
        for kind in [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32] {
            let table = Table::new(kind, 512, vec![2, 5, 6, 40]);
            let mut whole = [0; 200];
            table.fill(0, &mut whole);
            for at in 0..199 {
                let mut piece = [0; 2];
                let n = piece.len().min(200 - at);
                table.fill(at as u64, &mut piece[..n]);
                assert_eq!(piece[..n], whole[at..at + n]);
            }
        }
    }
}
