//! `read_iso` tells what is in images and exits as scripts rely on.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::path::Path;
use std::process::Command;

use iso9660::{Disk, Fat, Image, Partition, Plan, Tree};
use serde_json::Value;

fn esp() -> Tree {
    Tree::new()
        .file("EFI/BOOT/BOOTX64.EFI", b"MZ")
        .file("loader/loader.conf", "timeout 1\n")
}

fn run(arguments: &[&Path]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_read_iso"))
        .args(arguments)
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), document)
}

fn check(plan: &Plan, format: &str, works: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (image, out) = (folder.path().join("image"), folder.path().join("out"));
    plan.write_file(&image).unwrap();
    let (code, document) = run(&[&image, Path::new("--extract"), &out]);
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(document["format"], format);
    assert_eq!(document["boot_paths"][works]["works"], true);
    let files = document["files"].as_array().unwrap();
    let boot = files.iter().find(|f| f["path"] == "EFI/BOOT/BOOTX64.EFI");
    assert_eq!(boot.unwrap()["size"], 2);
    let config = std::fs::read_to_string(out.join("loader/loader.conf")).unwrap();
    assert_eq!(config, "timeout 1\n");
    // A second time everything is in the way.
    let (code, document) = run(&[&image, Path::new("--extract"), &out]);
    assert_eq!(code, Some(1));
    assert!(document["refused"].is_string());
}

#[test]
fn reads_and_extracts_isos_volumes_and_disks() {
    check(
        &Image::bootable(esp()).unwrap().plan().unwrap(),
        "iso9660",
        "cd-uefi",
    );
    check(&Fat::new(esp()).plan().unwrap(), "fat", "usb-fat");
    let disk = Disk::new("disk").partition(Partition::esp("EFI", Fat::new(esp())));
    check(&disk.plan().unwrap(), "disk", "usb-gpt");
}

#[test]
fn what_is_no_image_and_wrong_use_exit_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, "text").unwrap();
    assert_eq!(run(&[&path]).0, Some(2));
    assert_eq!(run(&[&folder.path().join("missing")]).0, Some(2));
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&[&path, Path::new("--extract")]).0, Some(2));
}

#[test]
fn a_damaged_image_exits_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let mut image = Vec::new();
    Image::bootable(esp())
        .unwrap()
        .plan()
        .unwrap()
        .write_to(&mut image)
        .unwrap();
    std::fs::write(&path, &image[..image.len() / 2]).unwrap();
    let (code, document) = run(&[&path]);
    assert_eq!(code, Some(1));
    assert_eq!(document["damaged"], true);
}
