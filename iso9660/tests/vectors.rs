//! The reader gives what the manifest of the vectors says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs::File;
use std::path::PathBuf;

use iso9660::{IsoReader, Namespace, VolumeKind};
use serde_json::Value;

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name)
}

fn manifest() -> Value {
    serde_json::from_slice(&std::fs::read(vector("manifest.json")).unwrap()).unwrap()
}

/// Compares every record of one image; content is compared in judges.rs.
fn compare(name: &str) {
    let expected = &manifest()[name];
    let mut iso = IsoReader::read(File::open(vector(name)).unwrap()).unwrap();
    let primary = &iso.volumes()[0];
    assert_eq!(primary.kind, VolumeKind::Primary);
    assert_eq!(primary.id, expected["volume_id"]);
    assert_eq!(primary.blocks, expected["volume_space"]);
    for (tree, records) in expected["trees"].as_object().unwrap() {
        let namespace = match tree.as_str() {
            "joliet" => Namespace::Joliet,
            _ => Namespace::Iso,
        };
        let items = iso.items(namespace).unwrap();
        let records = records.as_array().unwrap();
        assert_eq!(items.len(), records.len(), "{name} {tree}");
        for (item, record) in items.iter().zip(records) {
            assert_eq!(format!("/{}", item.path_text()), record["path"]);
            assert_eq!(item.extents[0].offset / 2048, record["extent"]);
            assert_eq!(item.len, record["size"]);
            assert_eq!(item.flags, record["flags"]);
        }
    }
}

#[test]
fn plain_image_is_read_as_the_manifest_has_it() {
    compare("plain.iso");
}

#[test]
fn rock_ridge_image_is_read_as_the_manifest_has_it() {
    compare("rr.iso");
}

#[test]
fn joliet_image_is_read_as_the_manifest_has_it() {
    compare("joliet-rr.iso");
}

#[test]
fn image_of_the_second_writer_is_read_as_the_manifest_has_it() {
    compare("geniso.iso");
}

#[test]
fn truncated_images_give_errors() {
    let whole = std::fs::read(vector("rr.iso")).unwrap();
    for len in (0..whole.len()).step_by(97) {
        let image = std::io::Cursor::new(whole[..len].to_vec());
        if let Ok(mut iso) = IsoReader::read(image) {
            let _ = iso.items(Namespace::RockRidge);
            let _ = iso.items(Namespace::Iso);
        }
    }
}
