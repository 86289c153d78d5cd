//! Images written to file systems that can share blocks: the kernel of a guest shares the large files
//! and copies nothing of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use bootlab::{Boot, Ending, Generation, Guest, Machine, Medium};
use iso9660::{Image, IsoReader, Namespace, Timestamp, Tree};
use sha2::{Digest as _, Sha256};

const MIB: u64 = 1 << 20;
/// Blocks of both file systems.
const BLOCK: u64 = 4096;

/// The files: path and length. The loader comes first and lies on another file system.
const FILES: [(&str, usize); 6] = [
    ("esp/EFI/BOOT/BOOTX64.EFI", 700_001),
    ("esp/EFI/Linux/linux.efi", 5_000_123),
    ("esp/EFI/Linux/other.efi", 2_000_000),
    ("esp/loader/loader.conf", 11),
    ("tree/images/root.img", 4_000_001),
    ("tree/readme", 600),
];
/// Those that are shared, as they are called in the image.
const SHARED: [&str; 3] = [
    "EFI/Linux/linux.efi",
    "EFI/Linux/other.efi",
    "images/root.img",
];

/// Writes the image on both file systems and tells what it is, where its blocks lie and what it took.
const SCRIPT: &str = r#"
load crc32c_generic btrfs xfs
set -e
used() {
    sync
    df -k "$1" | awk 'END { print $3 }'
}
mkdir -p /btrfs /xfs /loader
mount -t btrfs /dev/disk/btrfs /btrfs
mkfs.xfs -q /dev/disk/xfs
mount -t xfs /dev/disk/xfs /xfs
cp -r /btrfs/esp /btrfs/tree /xfs/
mount -t tmpfs none /loader
cp /btrfs/esp/EFI/BOOT/BOOTX64.EFI /loader/
for kind in btrfs xfs; do
    cd /$kind
    mount -o bind /loader esp/EFI/BOOT
    used . >/out/$kind.used
    SOURCE_DATE_EPOCH=1700000000 /btrfs/write_iso tree image.iso --esp esp
    used . >>/out/$kind.used
    sha256sum image.iso >/out/$kind.sum
    filefrag -v image.iso >/out/$kind.extents
    umount esp/EFI/BOOT
    cd /
done
"#;

/// Bytes that no file system packs.
fn content(seed: usize, len: usize) -> Vec<u8> {
    let blocks = (0u64..).flat_map(|n| {
        let input = [n.to_le_bytes(), (seed as u64).to_le_bytes()].concat();
        <[u8; 32]>::from(Sha256::digest(input))
    });
    blocks.take(len).collect()
}

/// The shared runs of bytes that `filefrag -v` tells.
fn shared_runs(listing: &str) -> Vec<(u64, u64)> {
    let runs = listing.lines().filter_map(|line| {
        let mut parts = line.split(':').map(str::trim);
        let logical = parts.nth(1)?;
        let flags = line.rsplit(':').next()?;
        let (first, last) = logical.split_once("..")?;
        let first: u64 = first.trim().parse().ok()?;
        let last: u64 = last.trim().parse().ok()?;
        let is_shared = flags.split(',').any(|flag| flag.trim() == "shared");
        is_shared.then_some((first * BLOCK, (last + 1) * BLOCK))
    });
    runs.collect()
}

#[test]
fn the_kernel_shares_large_files_with_the_image_also_inside_the_system_partition() {
    let test = "the_kernel_shares_large_files_with_the_image_also_inside_the_system_partition";
    for tool in ["mkfs.btrfs", "mkfs.xfs"] {
        if Command::new(tool).arg("-V").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "{tool} not found");
            eprintln!("SKIPPED: {test}: {tool} not found");
            return;
        }
    }
    let kernel = Generation::Debian12.kernel().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (seed, (path, len)) in FILES.into_iter().enumerate() {
        let path = at("source").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(seed, len)).unwrap();
    }

    // Not in the initramfs, which firmware and kernel would have to read.
    let program = bootlab::program("write_iso", "trustedboot-programs").unwrap();
    fs::copy(program, at("source").join("write_iso")).unwrap();

    // The image as it should be.
    let tree = |name: &str| Tree::from_dir(at("source").join(name)).unwrap();
    let image = Image::bootable(tree("esp")).unwrap().tree(tree("tree"));
    let image = image.time(Timestamp::from_unix(1_700_000_000));
    let mut expected = Vec::new();
    image.plan().unwrap().write_to(&mut expected).unwrap();
    let digest: String = Sha256::digest(&expected)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut reader = IsoReader::read(Cursor::new(&expected)).unwrap();
    let items = reader.items(Namespace::RockRidge).unwrap();

    disk(&at("btrfs.raw"));
    let made = Command::new("mkfs.btrfs")
        .args(["--quiet", "--rootdir"])
        .args([at("source"), at("btrfs.raw")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    disk(&at("xfs.raw"));
    let initramfs = Guest::new(&kernel)
        .module("btrfs")
        .module("xfs")
        .binary("/usr/sbin/filefrag")
        .binary("/usr/sbin/mkfs.xfs")
        .library("libgcc_s.so.1");
    fs::write(at("initramfs"), initramfs.build().unwrap()).unwrap();
    let firmware = Generation::Debian12.firmware(false).unwrap();
    let builder = Machine::builder(firmware).without_tpm();
    let mut machine = builder.create(at("machine")).unwrap();
    let boot = Boot::new(Medium::nothing())
        .script(SCRIPT)
        .disk("btrfs", at("btrfs.raw"))
        .disk("xfs", at("xfs.raw"));
    let boot = boot
        .qemu("-kernel")
        .qemu(kernel.image.to_str().unwrap())
        .qemu("-initrd")
        .qemu(at("initramfs").to_str().unwrap())
        .qemu("-append")
        .qemu(bootlab::CMDLINE);
    let report = machine.boot(&boot).unwrap();
    let report = report.expect(&Ending::Done).unwrap();
    eprintln!("{:.1} s", report.seconds());
    assert_eq!(report.script_status(), Some(0), "{}", report.script_log());

    for kind in ["btrfs", "xfs"] {
        let file = |name: &str| report.file(&format!("{kind}.{name}")).unwrap();
        assert!(file("sum").starts_with(&digest), "{kind}: {}", file("sum"));
        let runs = shared_runs(file("extents"));
        for path in SHARED {
            let item = items.iter().find(|i| i.path == path.as_bytes()).unwrap();
            let (start, len) = (item.extents[0].offset, item.extents[0].len);
            assert!(start.is_multiple_of(BLOCK), "{path} begins at {start}");
            // The last block may be a copy.
            let end = start + len - len % BLOCK;
            let overlap = |&(from, to): &(u64, u64)| to.min(end).saturating_sub(from.max(start));
            let shared: u64 = runs.iter().map(overlap).sum();
            assert_eq!(shared, end - start, "{kind}: {path} in {}", file("extents"));
        }
        let used: Vec<u64> = file("used").lines().map(|n| n.parse().unwrap()).collect();
        let taken = (used[1] - used[0]) * 1024;
        assert!(taken < 2 * MIB, "{kind}: the image took {taken} bytes");
    }
}

/// A disk with nothing on it, of the least length that both file systems take.
fn disk(path: &Path) {
    File::create(path).unwrap().set_len(320 * MIB).unwrap();
}
