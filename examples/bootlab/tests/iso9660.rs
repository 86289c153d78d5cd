//! Images of the iso9660 crate: firmware boots them from CD and USB, and the kernel reads what was put in.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "../../../iso9660/tests/support/odd_trees.rs"]
mod odd_trees;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bootlab::{Boot, Ending, Generation, Guest, Machine, Medium};
use iso9660::{Disk, Entry, Fat, FatKind, Guid, Image, Partition, Source, Tree};
use odd_trees::{Item, OddTree};
use sha2::{Digest as _, Sha256};

const MIB: u64 = 1 << 20;

/// A program for UEFI on x86-64 that prints a text and turns the machine off.
fn program(text: &str) -> Vec<u8> {
    let mut code = vec![
        0x48, 0x83, 0xEC, 0x28, // sub rsp, 40
        0x48, 0x89, 0xD3, // mov rbx, rdx: the system table
        0x48, 0x8B, 0x4B, 0x40, // mov rcx, [rbx + 64]: ConOut
        0x48, 0x8D, 0x15, 0x15, 0, 0, 0, // lea rdx, [the text]
        0xFF, 0x51, 0x08, // call [rcx + 8]: OutputString
        0x48, 0x8B, 0x43, 0x58, // mov rax, [rbx + 88]: the runtime services
        0xB9, 2, 0, 0, 0, // mov ecx, EfiResetShutdown
        0x31, 0xD2, // xor edx, edx
        0x45, 0x31, 0xC0, // xor r8d, r8d
        0x45, 0x31, 0xC9, // xor r9d, r9d
        0xFF, 0x50, 0x68, // call [rax + 104]: ResetSystem
    ];
    // The text follows; the displacement counts from the instruction's end.
    let displacement = u8::try_from(code.len() - 18).unwrap();
    code[14] = displacement;
    code.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));

    let mut image = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(60, &[64]);
    put(64, b"PE\0\0\x64\x86\x01");
    put(84, &[240, 0, 0x22, 0]);
    // Optional header: entry point, alignments, sizes, EFI application.
    put(88, &[0x0B, 0x02]);
    put(88 + 4, &512u32.to_le_bytes());
    put(88 + 16, &4096u32.to_le_bytes());
    put(88 + 20, &4096u32.to_le_bytes());
    put(88 + 32, &4096u32.to_le_bytes());
    put(88 + 36, &512u32.to_le_bytes());
    put(88 + 56, &8192u32.to_le_bytes());
    put(88 + 60, &512u32.to_le_bytes());
    put(88 + 68, &[10]);
    put(88 + 108, &[16]);
    let section = 88 + 240;
    put(section, b".text");
    for (at, value) in [
        (8, 512u32),
        (12, 4096),
        (16, 512),
        (20, 512),
        (36, 0x6000_0020),
    ] {
        put(section + at, &value.to_le_bytes());
    }
    code.resize(512, 0);
    image.extend(code);
    image
}

/// Linux reads no more than 253 bytes of a name, and on machines whose characters are signed, as
/// those of x86, it lists names of a single byte from 0x80 on but does not find them, in images of
/// xorriso neither: it takes them for the marks of a directory and its parent.
fn fits(path: &[u8]) -> bool {
    let mut names = path.split(|&b| b == b'/');
    names.all(|name| name.len() < 254 && !matches!(name, [0x80..=0xFF]))
}

/// A file of holes that ends with a mark.
fn filler(path: &Path, len: u64) -> Source {
    let file = File::create(path).unwrap();
    file.set_len(len).unwrap();
    file.write_all_at(b"mark", len - 4).unwrap();
    Source::file(path)
}

#[test]
fn firmware_boots_system_partitions_of_five_sizes_from_cd_and_usb() {
    let folder = tempfile::tempdir().unwrap();
    let firmware = Generation::Debian12.firmware(false).unwrap();
    for mib in [1, 4, 32, 512, 1024] {
        let word = format!("booted from {mib} MiB");
        // The filler comes first, so that the program lies at the end of the partition.
        let esp = Tree::new()
            .file(
                "filler",
                filler(&folder.path().join("filler"), mib * MIB - 80_000),
            )
            .file("EFI/BOOT/BOOTX64.EFI", program(&format!("{word}\r\n")));
        let image = folder.path().join(format!("{mib}.iso"));
        let plan = Image::bootable(esp).unwrap().plan().unwrap();
        let esp = &plan.regions()[0];
        assert!(esp.len.abs_diff(mib * MIB) < mib * MIB / 8, "{}", esp.len);
        plan.write_file(&image).unwrap();
        for medium in [Medium::cd(&image), Medium::usb(&image)] {
            let name = format!("{mib} MiB, {medium:?}");
            let directory = tempfile::tempdir().unwrap();
            let builder = Machine::builder(firmware.clone()).without_tpm();
            let mut machine = builder.create(directory.path()).unwrap();
            let report = machine.boot(&Boot::new(medium)).unwrap();
            assert!(
                report.serial().contains(&word),
                "{name}: {}",
                report.serial()
            );
            assert_eq!(*report.ending(), Ending::PowerOff, "{name}");
            eprintln!("{name}: {:.1} s", report.seconds());
        }
        std::fs::remove_file(image).unwrap();
    }
}

/// Lines as the guest writes them: hash and path of files, target of links, directories.
fn lines(tree: &OddTree) -> BTreeSet<Vec<u8>> {
    let line = |(path, item): (&Vec<u8>, &Item)| {
        let value = match item {
            Item::File(content) => hash(content),
            Item::Symlink(target) => [b"-> ", target.as_slice()].concat(),
            _ => b"directory".to_vec(),
        };
        [path.as_slice(), b"\t", &value].concat()
    };
    odd_trees::in_full(tree).iter().map(line).collect()
}

fn hash(content: &[u8]) -> Vec<u8> {
    let digits = Sha256::digest(content);
    digits
        .iter()
        .flat_map(|byte| format!("{byte:02x}").into_bytes())
        .collect()
}

fn assert_same(name: &str, expected: &BTreeSet<Vec<u8>>, found: Option<&&[u8]>) {
    let found = found.unwrap_or_else(|| panic!("{name}: no listing"));
    let found = found.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let found: BTreeSet<Vec<u8>> = found.map(<[u8]>::to_vec).collect();
    let differ: Vec<_> = found
        .symmetric_difference(expected)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    assert!(
        differ.is_empty(),
        "{name}: {} lines differ: {:.2000}",
        differ.len(),
        differ.join("\n")
    );
}

/// Lists everything below a folder; a link's target may have any character but a newline.
const SCRIPT: &str = r#"
load isofs vfat nls_cp437 nls_ascii nls_utf8
list() {
    cd "$1" || return 1
    find . -mindepth 1 -type f -exec sha256sum {} + |
        sed 's/^\([0-9a-f]*\)  \.\/\(.*\)$/\2\t\1/' >"/out/$2"
    find . -mindepth 1 -type d | sed 's/^\.\///; s/$/\tdirectory/' >>"/out/$2"
    find . -type l | while IFS= read -r link; do
        printf '%s\t-> %s\n' "${link#./}" "$(readlink "$link")"
    done >>"/out/$2"
    cd /
}
set -e
mkdir -p /m
mount -t iso9660 -o ro /dev/disk/odd /m
list /m rock-ridge
stat -c '%h %i' "/m/hard links/first" "/m/hard links/d/second" >/out/links
umount /m
mount -t iso9660 -o ro,norock,utf8,check=strict /dev/disk/odd /m
list /m joliet
umount /m
mount -t iso9660 -o ro,norock,nojoliet,map=off /dev/disk/odd /m
list /m plain
umount /m
mount -t iso9660 -o ro /dev/disk/large /m
stat -c %s /m/large >/out/large
for offset in 0 4294965245 4294965248 4294970291; do
    dd if=/m/large bs=1 count=5 skip=$offset 2>/dev/null
done >>/out/large
umount /m
for disk in boot d512 d4096; do
    device=$(readlink -f /dev/disk/$disk)
    mount -t vfat -o ro,utf8 "${device}1" /m
    list /m "$disk"
    umount /m
    cat /sys/block/${device##*/}/queue/logical_block_size >"/out/$disk.sector"
    cat /sys/block/${device##*/}/${device##*/}*/size >"/out/$disk.sizes"
done
mount -t iso9660 -o ro /dev/disk/boot /m
list /m boot-iso
umount /m
dmesg | grep -i 'isofs\|iso9660\|fat-fs\|gpt' >/out/kernel || true
"#;

#[test]
fn the_kernel_reads_every_odd_tree_as_it_was() {
    let kernel = Generation::Debian12.kernel().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);

    // All odd trees, each in its folder.
    let mut odd = OddTree::new();
    for (name, tree) in odd_trees::odd_trees() {
        let inside = |path: &[u8]| [name.as_bytes(), b"/", path].concat();
        odd.extend(
            tree.iter()
                .filter(|(path, _)| fits(path))
                .map(|(path, item)| {
                    let item = match item {
                        Item::HardLink(target) => Item::HardLink(inside(target)),
                        item => item.clone(),
                    };
                    (inside(path), item)
                }),
        );
    }
    std::fs::create_dir(at("odd")).unwrap();
    odd_trees::write(&odd, &at("odd"));
    let tree = Tree::from_dir(at("odd")).unwrap();
    Image::new(tree)
        .plan()
        .unwrap()
        .write_file(at("odd.iso"))
        .unwrap();

    let large = File::create(at("large")).unwrap();
    large.set_len(0xFFFF_F800 + 5048).unwrap();
    for (offset, mark) in [
        (0, b"first"),
        (0xFFFF_F7FD, b"cross"),
        (0xFFFF_F800 + 5043, b"final"),
    ] {
        large.write_all_at(mark, offset).unwrap();
    }
    let tree = Tree::new()
        .file("large", Source::file(at("large")))
        .file("next", "next");
    Image::new(tree)
        .plan()
        .unwrap()
        .write_file(at("large.iso"))
        .unwrap();

    // What FAT can hold, as an ESP in an ISO and on disks.
    let mut esp = OddTree::new();
    for (name, tree) in odd_trees::odd_trees() {
        if Fat::new(api_tree(&tree)).plan().is_ok() && name != "many folders" {
            let tree = odd_trees::in_full(&tree);
            esp.extend(
                tree.into_iter()
                    .filter(|(path, _)| fits(path))
                    .map(|(path, item)| ([name.as_bytes(), b"/", &path].concat(), item)),
            );
        }
    }
    esp.insert(b"EFI/BOOT/BOOTX64.EFI".to_vec(), Item::File(program("")));
    let boot = Image::bootable(api_tree(&esp)).unwrap().plan().unwrap();
    boot.write_file(at("boot.iso")).unwrap();
    for sector_len in [512, 4096] {
        let disk = Disk::new("disk")
            .sector_len(sector_len)
            .partition(
                Partition::esp("EFI", Fat::new(api_tree(&esp)).kind(FatKind::Fat32)).len(300 * MIB),
            )
            .partition(Partition::new(Guid::LINUX_DATA, "META").len(MIB));
        disk.plan()
            .unwrap()
            .write_file(at(&format!("d{sector_len}.raw")))
            .unwrap();
    }

    let initramfs = Guest::new(&kernel).module("isofs").module("vfat");
    let initramfs = initramfs
        .module("nls_cp437")
        .module("nls_ascii")
        .module("nls_utf8");
    std::fs::write(at("initramfs"), initramfs.build().unwrap()).unwrap();
    let firmware = Generation::Debian12.firmware(false).unwrap();
    let builder = Machine::builder(firmware).without_tpm();
    let mut machine = builder.create(at("machine")).unwrap();
    let mut boot = Boot::new(Medium::nothing())
        .script(SCRIPT)
        .disk("odd", at("odd.iso"))
        .disk("large", at("large.iso"))
        .disk("boot", at("boot.iso"))
        .disk("d512", at("d512.raw"));
    for (option, value) in [
        ("-kernel", kernel.image.to_str().unwrap().to_owned()),
        ("-initrd", at("initramfs").to_str().unwrap().to_owned()),
        ("-append", bootlab::CMDLINE.to_owned()),
        (
            "-drive",
            format!("if=none,id=d4096,format=raw,snapshot=on,file={}", at("d4096.raw").display()),
        ),
        (
            "-device",
            "virtio-blk-pci,drive=d4096,serial=d4096,logical_block_size=4096,physical_block_size=4096".to_owned(),
        ),
    ] {
        boot = boot.qemu(option).qemu(&value);
    }
    let report = machine.boot(&boot).unwrap();
    let report = report.expect(&Ending::Done).unwrap();
    assert_eq!(report.script_status(), Some(0), "{}", report.script_log());
    let files = report.files();

    assert_same("Rock Ridge", &lines(&odd), files.get("rock-ridge"));
    let contents = |name: &str| {
        let text = String::from_utf8_lossy(files[name]).into_owned();
        let values = text
            .lines()
            .filter_map(|line| Some(line.rsplit_once('\t')?.1.to_owned()));
        let mut values: Vec<String> = values.filter(|value| value != "directory").collect();
        values.sort();
        values
    };
    let full = odd_trees::in_full(&odd);
    let hashes = |links: bool| {
        let mut all: Vec<String> = full
            .values()
            .filter_map(|item| match item {
                Item::File(content) => Some(hash(content)),
                // Without Rock Ridge a link is an empty file.
                Item::Symlink(_) if links => Some(hash(b"")),
                _ => None,
            })
            .map(|hash| String::from_utf8(hash).unwrap())
            .collect();
        all.sort();
        all
    };
    // Linux drops dots at the end of a Joliet name, and with them the whole name "...".
    let Some(Item::File(dots)) = full.get(&b"dots/..."[..]) else {
        panic!("no dots")
    };
    let mut joliet = hashes(false);
    joliet.retain(|other| other.as_bytes() != hash(dots));
    assert_eq!(contents("joliet"), joliet);
    assert_eq!(contents("plain"), hashes(true));
    let joliet = String::from_utf8_lossy(files["joliet"]).into_owned();
    for name in [
        "UTF-8/grüße.txt\t",
        "UTF-8/смесь/файл\t",
        "dots/.hidden\t",
        "UTF-8/😀.bin\t",
    ] {
        assert!(joliet.lines().any(|line| line.starts_with(name)), "{name}");
    }
    let links = report.file("links").unwrap();
    assert!(links.lines().all(|line| line.starts_with("3 ")), "{links}");
    assert_eq!(
        report.file("large"),
        Some("4294970296\nfirstcrossss\0\0\0final")
    );

    for (name, sector) in [("boot", "512\n"), ("d512", "512\n"), ("d4096", "4096\n")] {
        assert_same(name, &lines(&esp), files.get(name));
        assert_eq!(report.file(&format!("{name}.sector")), Some(sector));
    }
    for name in ["d512.sizes", "d4096.sizes"] {
        // Always in units of 512 bytes.
        assert_eq!(report.file(name), Some("614400\n2048\n"));
    }
    assert_same(
        "the ESP's files in the ISO tree",
        &lines(&esp),
        files.get("boot-iso"),
    );
}

/// The tree without a folder of the host.
fn api_tree(tree: &OddTree) -> Tree {
    tree.iter()
        .fold(Tree::new(), |out, (path, item)| match item {
            Item::File(content) => out.file(path, content.clone()),
            Item::Directory => out.entry(path, Entry::directory()),
            Item::Symlink(target) => out.symlink(path, target.clone()),
            Item::HardLink(target) => out.hard_link(path, target.clone()),
        })
}
