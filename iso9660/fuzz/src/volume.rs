//! FAT volumes.

use std::io::{Cursor, Read, Seek};

use iso9660::{Fat, FatKind, FatReader, Report, Timestamp};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::model::{self, For, Found, Node, Nodes};
use crate::plan;

/// A volume with what is known of it.
pub struct Volume {
    pub fat: Fat,
    pub nodes: Nodes,
    kind: Option<FatKind>,
    label: &'static str,
    pub time: Option<i64>,
    pub keeps_times: bool,
}

impl Volume {
    pub fn arbitrary(u: &mut Unstructured<'_>, purpose: For, next: &mut usize) -> Result<Self> {
        let (tree, nodes) = model::tree(u, purpose, next)?;
        let mut fat = Fat::new(tree);
        let kind = match u.int_in_range(0..=31)? {
            0 => Some(FatKind::Fat32),
            1..=4 => Some(FatKind::Fat16),
            5..=9 => Some(FatKind::Fat12),
            _ => None,
        };
        if let Some(kind) = kind {
            fat = fat.kind(kind);
        }
        if u.ratio(1, 3)? && kind != Some(FatKind::Fat32) {
            let power = u.int_in_range(9..=if kind.is_none() { 16 } else { 12 })?;
            fat = fat.cluster_len(1 << power);
        }
        let label = *u.choose(&["EFI", "", "A B-1", "NO NAME", "ELEVENCHARS"])?;
        fat = fat.label(label);
        if u.ratio(1, 8)? {
            fat = fat.total_len(u.int_in_range(1..=8000)? * 512);
        }
        if u.ratio(1, 8)? {
            fat = fat.free_space(u.int_in_range(0..=2 << 20)?);
        }
        if u.ratio(1, 8)? {
            fat = fat.serial(u.arbitrary()?).hidden_sectors(u.arbitrary()?);
        }
        let time = u.ratio(1, 4)?.then_some(1_700_000_000);
        if let Some(time) = time {
            fat = fat.time(Timestamp::from_unix(time));
        }
        let keeps_times = u.arbitrary()?;
        fat = fat.keep_times(keeps_times);
        Ok(Self {
            fat,
            nodes,
            kind,
            label,
            time,
            keeps_times,
        })
    }

    /// Asserts that a reader finds the volume. `time`: that of the entries.
    pub fn assert_read<R: Read + Seek>(&self, mut reader: FatReader<R>, time: Option<i64>) {
        if let Some(kind) = self.kind {
            assert_eq!(reader.kind(), kind);
        }
        if self.label != "NO NAME" {
            assert_eq!(reader.label().unwrap(), self.label);
        }
        let mut found = Found::new();
        for item in reader.items().unwrap() {
            let mut content = Vec::new();
            if !item.is_directory() {
                let n = reader.copy_to(&item, &mut content).unwrap();
                assert_eq!(n, item.len);
            }
            assert!(found.insert(item.path.clone(), (item, content)).is_none());
        }
        model::assert_same(&self.nodes, &found, "FAT");
        if let Some((path, (item, _))) = found.last_key_value() {
            let letters = item.path_text().to_lowercase();
            let same = reader.find(letters).unwrap();
            assert_eq!(same.map(|item| item.path).as_ref(), Some(path));
        }
        for (path, (item, _)) in &found {
            let Node { attributes, .. } = &self.nodes[path];
            let flags = u8::from(attributes.is_read_only)
                | u8::from(attributes.is_hidden) << 1
                | u8::from(attributes.is_system) << 2;
            assert_eq!(item.flags & 7, flags, "{path:?}");
            if let Some(time) = time {
                let expected = self.nodes[path].time(time, self.keeps_times) & !1;
                assert_eq!(
                    item.modified.map(Timestamp::as_unix),
                    Some(expected),
                    "{path:?}"
                );
            }
        }
    }
}

/// A volume alone.
pub fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let mut volume = Volume::arbitrary(u, For::Fat, &mut 0)?;
    if u.ratio(1, 8)? && volume.kind != Some(FatKind::Fat32) {
        volume.fat = volume.fat.sector_len(4096);
    }
    let plan = match volume.fat.plan() {
        Ok(plan) => plan,
        Err(error) => {
            plan::assert_refusal(&error);
            return Ok(());
        }
    };
    let bytes = plan::written(u, &plan)?;
    volume.assert_read(FatReader::read(Cursor::new(&bytes)).unwrap(), volume.time);
    let report = Report::read(Cursor::new(&bytes)).unwrap();
    assert!(
        report
            .findings
            .iter()
            .all(|f| f.severity() < iso9660::Severity::Warning),
        "{:?}",
        report.findings
    );
    Ok(())
}
