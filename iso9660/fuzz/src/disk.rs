//! Disks with a GUID partition table.

use std::io::Cursor;
use std::sync::Arc;

use iso9660::{Disk, FatReader, Guid, Partition, PartitionTable, Report};
use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::model::For;
use crate::volume::Volume;
use crate::{names, plan};

enum Content {
    Bytes(Arc<[u8]>),
    Volume(Box<Volume>),
}

pub fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let sector_len = *u.choose(&[512, 512, 4096])?;
    let mut disk = Disk::new("disk").sector_len(sector_len);
    let mut contents = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let name = *u.choose(&[
            "EFI",
            "META",
            "",
            "é😀",
            "a name of thirty-six UTF-16 units, no",
        ])?;
        let mut bits = 0;
        let (mut partition, content) = match u.int_in_range(0..=3)? {
            0 => (
                Partition::new(Guid::LINUX_DATA, name),
                Content::Bytes(Arc::from([])),
            ),
            1 => {
                let (source, bytes) = names::content(u)?;
                let partition = Partition::new(Guid::BASIC_DATA, name).content(source);
                (partition, Content::Bytes(bytes))
            }
            _ => {
                let volume = Volume::arbitrary(u, For::Esp, &mut 0)?;
                let partition = Partition::esp(name, volume.fat.clone());
                (partition, Content::Volume(Box::new(volume)))
            }
        };
        let len = if u.arbitrary()? {
            Some(u.int_in_range(0..=3 << 20)?)
        } else {
            None
        };
        if let Some(len) = len {
            partition = partition.len(len);
        }
        if u.ratio(1, 4)? {
            bits = u.arbitrary()?;
            partition = partition.attributes(bits);
        }
        disk = disk.partition(partition);
        contents.push((name, bits, len, content));
    }
    if u.ratio(1, 4)? {
        disk = disk.len(u.int_in_range(0..=16 << 20)? / 512 * 512);
    }
    let plan = match disk.plan() {
        Ok(plan) => plan,
        Err(error) => {
            plan::assert_refusal(&error);
            return Ok(());
        }
    };
    let bytes = plan::written(u, &plan)?;
    let table = PartitionTable::read(Cursor::new(&bytes)).unwrap();
    assert_eq!(table.mbr.len(), 1);
    let gpt = table.gpt.expect("a GPT");
    assert!(gpt.is_valid && gpt.has_backup && !gpt.is_from_backup);
    assert_eq!(gpt.sector_len, sector_len);
    assert_eq!(
        (gpt.partitions.len(), plan.regions().len()),
        (contents.len(), contents.len())
    );
    let mut end = gpt.usable.0;
    for ((found, region), (name, bits, len, content)) in
        gpt.partitions.iter().zip(plan.regions()).zip(&contents)
    {
        assert_eq!((found.name.as_str(), found.attributes), (*name, *bits));
        assert_eq!(
            (region.name.as_str(), region.offset),
            (*name, found.first * sector_len)
        );
        assert_eq!(found.sectors(), region.len.div_ceil(sector_len));
        assert!(found.first >= end && found.last <= gpt.usable.1);
        end = found.last + 1;
        let start = usize::try_from(region.offset).unwrap();
        let rest = &bytes[start..start + usize::try_from(region.len).unwrap()];
        assert!(len.is_none_or(|len| len == region.len));
        match content {
            Content::Bytes(expected) => {
                assert!(rest.starts_with(expected), "content of {name}");
                assert!(
                    rest[expected.len()..].iter().all(|&b| b == 0),
                    "rest of {name}"
                );
            }
            Content::Volume(volume) => {
                let reader = FatReader::read_at(Cursor::new(&bytes), region.offset, region.len);
                volume.assert_read(reader.unwrap(), volume.time);
            }
        }
    }
    let report = Report::read(Cursor::new(&bytes)).unwrap();
    assert!(!report.is_damaged(), "{:?}", report.findings);
    Ok(())
}
