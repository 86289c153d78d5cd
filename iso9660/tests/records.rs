//! Fields and order of what is recorded, read here from ECMA-119 without the crate's reader.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[path = "support/odd_trees.rs"]
mod odd_trees;

use iso9660::{Image, Tree};

fn little(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b))
}

fn big(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |n, &b| n << 8 | usize::from(b))
}

/// A field that is recorded in both byte orders (7.2.3, 7.3.3).
fn both(bytes: &[u8]) -> usize {
    let (l, m) = bytes.split_at(bytes.len() / 2);
    assert_eq!(little(l), big(m), "{bytes:02x?}");
    little(l)
}

/// Name, extension and version of an identifier, padded so that bytes compare as 9.3 has it.
fn sort_key(identifier: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let plain = identifier.split(|&b| b == b';').next().unwrap();
    let mut parts = plain.splitn(2, |&b| b == b'.');
    let mut padded = || {
        let mut part = parts.next().unwrap_or(&[]).to_vec();
        part.resize(256, b' ');
        part
    };
    (padded(), padded())
}

/// Identifiers, first blocks and whether they are directories, of the records of a directory.
fn records(image: &[u8], block: usize) -> Vec<(Vec<u8>, usize, bool)> {
    let first = &image[block * 2048..];
    let len = both(&first[10..18]);
    assert_eq!(
        both(&first[2..10]),
        block,
        "the record of the directory itself"
    );
    assert_eq!(len % 2048, 0);
    let mut out = Vec::new();
    for sector in first[..len].chunks(2048) {
        let mut at = 0;
        while at < 2048 && sector[at] != 0 {
            let record = &sector[at..at + usize::from(sector[at])];
            assert_eq!(record.len() % 2, 0);
            assert_eq!(both(&record[28..32]), 1, "volume sequence number");
            let (extent, size) = (both(&record[2..10]), both(&record[10..18]));
            assert!(extent * 2048 + size <= image.len());
            let identifier = record[33..33 + usize::from(record[32])].to_vec();
            out.push((identifier, extent, record[25] & 2 != 0));
            at += record.len();
        }
        assert!(sector[at.min(2048)..].iter().all(|&b| b == 0));
    }
    assert_eq!(
        (out[0].0.as_slice(), out[1].0.as_slice()),
        (&[0][..], &[1][..])
    );
    out
}

/// Number of the parent, identifier and first block of each entry of a path table.
fn path_table(table: &[u8], number: fn(&[u8]) -> usize) -> Vec<(usize, Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < table.len() {
        let len = usize::from(table[at]);
        let identifier = table[at + 8..at + 8 + len].to_vec();
        out.push((
            number(&table[at + 6..at + 8]),
            identifier,
            number(&table[at + 2..at + 6]),
        ));
        at += 8 + len + len % 2;
    }
    out
}

#[test]
fn fields_agree_in_both_orders_and_records_and_path_tables_are_sorted() {
    for (name, tree) in odd_trees::odd_trees() {
        let folder = tempfile::tempdir().unwrap();
        odd_trees::write(&tree, folder.path());
        let plan = Image::new(Tree::from_dir(folder.path()).unwrap())
            .plan()
            .unwrap();
        let mut image = Vec::new();
        plan.write_to(&mut image).unwrap();
        for (descriptor, kind) in [(16, 1), (17, 2)] {
            let descriptor = &image[descriptor * 2048..][..2048];
            assert_eq!(
                (descriptor[0], &descriptor[1..6]),
                (kind, &b"CD001"[..]),
                "{name}"
            );
            assert_eq!(both(&descriptor[80..88]) * 2048, image.len(), "{name}");
            assert_eq!(
                [both(&descriptor[120..124]), both(&descriptor[124..128])],
                [1, 1]
            );
            assert_eq!(both(&descriptor[128..132]), 2048);
            let len = both(&descriptor[132..140]);
            let at = |block: usize| &image[block * 2048..][..len];
            let table = path_table(at(little(&descriptor[140..144])), little);
            assert_eq!(
                table,
                path_table(at(big(&descriptor[148..152])), big),
                "{name}"
            );
            let root = both(&descriptor[158..166]);
            assert_eq!(table[0], (1, vec![0], root), "{name}");

            // Level by level, then by the parent's number, then by identifier (9.4, 6.9.1).
            let mut levels = vec![1];
            for (parent, _, _) in &table[1..] {
                levels.push(levels[parent - 1] + 1);
            }
            let keys: Vec<_> = table
                .iter()
                .zip(&levels)
                .skip(1)
                .map(|((parent, identifier, _), level)| (level, *parent, sort_key(identifier)))
                .collect();
            if kind == 1 {
                assert!(keys.is_sorted(), "{name}: the path table is not sorted");
            } else {
                assert!(
                    keys.is_sorted_by_key(|(level, parent, _)| (*level, *parent)),
                    "{name}"
                );
            }
            let mut directories = 1;
            for (number, (_, _, block)) in (1..).zip(&table) {
                let records = records(&image, *block);
                for (identifier, extent, _) in records[2..].iter().filter(|r| r.2) {
                    directories += 1;
                    let entry = (number, identifier.clone(), *extent);
                    assert!(
                        table.contains(&entry),
                        "{name}: {entry:?} is not in the path table"
                    );
                }
                if kind == 1 {
                    let sorted = records[2..].is_sorted_by_key(|r| sort_key(&r.0));
                    assert!(sorted, "{name}: a directory is not sorted");
                }
            }
            assert_eq!(directories, table.len(), "{name}");
        }
    }
}
