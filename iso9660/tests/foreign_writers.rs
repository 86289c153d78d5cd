//! What other tools write, the readers read to the same tree: xorriso, genisoimage, pycdlib,
//! mkfs.vfat with mtools, sgdisk.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/reading.rs"]
mod reading;

use std::fs::File;
use std::path::{Path, PathBuf};

use iso9660::{FatKind, FatReader, Format, IsoReader, Medium, Namespace, PartitionTable, Report};
use reading::{Node, Nodes, difference, nodes, pattern, tool, write};

/// A folder of the host with the names, kinds and lengths that writers treat specially.
fn odd_tree(folder: &Path) {
    write(folder, "README.TXT", b"readme\n");
    write(folder, "empty", b"");
    for len in [1, 2047, 2048, 2049, 70_000] {
        write(folder, &format!("len{len}"), &pattern(len, len));
    }
    write(folder, "Mixed Case/sub.dir/File Name.Text", b"mixed");
    write(folder, &format!("{}.long", "n".repeat(200)), b"long");
    write(folder, "dots/a.b.c.d", b"dots");
    write(folder, "dots/.hidden", b"hidden");
    for n in 0..40 {
        let name = format!("many/common-prefix-number-{n:03}.text");
        write(folder, &name, name.as_bytes());
    }
    write(folder, "1/2/3/4/5/6/7/8/9/10/deep", b"deep");
    std::fs::create_dir(folder.join("emptydir")).unwrap();
}

fn link(folder: &Path, name: &str, target: &str) {
    std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
}

struct Lab {
    folder: tempfile::TempDir,
    test: &'static str,
}

impl Lab {
    fn new(test: &'static str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            test,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        tool(self.test, program, arguments, self.folder.path()).is_some()
    }

    fn file(&self, name: &str, len: u64) {
        File::create(self.path(name)).unwrap().set_len(len).unwrap();
    }

    /// Extracts an ISO image and compares with the tree.
    fn compare(&self, image: &str, namespace: Namespace, expected: &Nodes) {
        let target = tempfile::tempdir().unwrap();
        let mut iso = IsoReader::read(File::open(self.path(image)).unwrap()).unwrap();
        iso.extract(namespace, target.path()).unwrap();
        let mut found = nodes(target.path());
        // What writers add of their own.
        found.retain(|name, _| !name.starts_with("rr_moved") && !name.starts_with("boot.cat"));
        let wrong = difference(expected, &found);
        assert_eq!(wrong, [""; 0], "{image} {namespace:?}");
        let report = Report::read(File::open(self.path(image)).unwrap()).unwrap();
        assert!(!report.is_damaged(), "{image}: {:?}", report.findings);
    }
}

#[test]
fn rock_ridge_of_xorriso_and_genisoimage_gives_the_tree_with_times_and_modes() {
    let lab = Lab::new("rock_ridge_of_xorriso_and_genisoimage_gives_the_tree_with_times_and_modes");
    let tree = lab.path("tree");
    odd_tree(&tree);
    link(&tree, "relative", "dots/a.b.c.d");
    link(&tree, "absolute", "/etc/hostname");
    link(&tree, "Mixed Case/up", "../dots/./.hidden");
    link(&tree, "long-link", &vec!["component"; 40].join("/"));
    let expected = nodes(&tree);
    let script = tree.join("len1");
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890);
    {
        use std::os::unix::fs::PermissionsExt as _;
        let file = File::options().append(true).open(&script).unwrap();
        file.set_modified(time).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o750))
            .unwrap();
    }
    let writers: [(&str, &[&str]); 5] = [
        (
            "xorrisofs",
            &[
                "-quiet",
                "-R",
                "-J",
                "-joliet-long",
                "-o",
                "image.iso",
                "tree",
            ],
        ),
        (
            "xorrisofs",
            &["-quiet", "-R", "-D", "-o", "image.iso", "tree"],
        ),
        (
            "xorriso",
            &[
                "-compliance",
                "deep_paths_off:long_paths_off:new_rr",
                "-outdev",
                "image.iso",
                "-map",
                "tree",
                "/",
                "-commit",
            ],
        ),
        (
            "genisoimage",
            &[
                "-quiet",
                "-R",
                "-J",
                "-joliet-long",
                "-o",
                "image.iso",
                "tree",
            ],
        ),
        (
            "genisoimage",
            &["-quiet", "-R", "-D", "-o", "image.iso", "tree"],
        ),
    ];
    for (program, arguments) in writers {
        let _ = std::fs::remove_file(lab.path("image.iso"));
        if !lab.run(program, arguments) {
            return;
        }
        let mut expected = expected.clone();
        if program == "genisoimage" {
            // It loses the end of long targets.
            std::fs::remove_file(tree.join("long-link")).unwrap();
            expected.remove("long-link");
            lab.run(program, arguments);
            link(&tree, "long-link", "x");
        }
        lab.compare("image.iso", Namespace::RockRidge, &expected);
        let target = tempfile::tempdir().unwrap();
        let mut iso = IsoReader::read(File::open(lab.path("image.iso")).unwrap()).unwrap();
        iso.extract(Namespace::RockRidge, target.path()).unwrap();
        let metadata = std::fs::metadata(target.path().join("len1")).unwrap();
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(metadata.permissions().mode() & 0o777, 0o750, "{program}");
        }
        assert_eq!(metadata.modified().unwrap(), time, "{program}");
    }
}

#[test]
fn joliet_plain_and_long_iso_names_give_the_tree() {
    let lab = Lab::new("joliet_plain_and_long_iso_names_give_the_tree");
    let tree = lab.path("tree");
    write(&tree, "Some name with blanks.txt", b"a");
    write(&tree, "Dir/\u{65e5}\u{672c}.txt", b"b");
    write(&tree, "Dir/gr\u{fc}\u{df}e", &pattern(5000, 1));
    let expected = nodes(&tree);
    for (program, arguments) in [
        (
            "xorrisofs",
            &["-quiet", "--norock", "-J", "-o", "j.iso", "tree"][..],
        ),
        (
            "genisoimage",
            &[
                "-quiet",
                "-input-charset",
                "utf-8",
                "-J",
                "-o",
                "j.iso",
                "tree",
            ],
        ),
    ] {
        if lab.run(program, arguments) {
            lab.compare("j.iso", Namespace::Joliet, &expected);
        }
    }
    let plain = lab.path("plain");
    write(&plain, "AAA.TXT", b"a");
    write(&plain, "SUB/B.BIN", &pattern(9000, 2));
    write(&plain, "NOEXT", b"c");
    let expected = nodes(&plain);
    for level in ["1", "2", "3"] {
        for (program, rock) in [("xorrisofs", "--norock"), ("genisoimage", "-no-pad")] {
            let arguments = ["-quiet", rock, "-iso-level", level, "-o", "p.iso", "plain"];
            if lab.run(program, &arguments) {
                lab.compare("p.iso", Namespace::Iso, &expected);
            }
        }
    }
    let long = lab.path("long");
    write(&long, "a long name.txt.gz", b"x");
    write(&long, "sub dir/UP", b"y");
    let expected = nodes(&long);
    if lab.run(
        "genisoimage",
        &["-quiet", "-iso-level", "4", "-o", "l.iso", "long"],
    ) {
        lab.compare("l.iso", Namespace::Enhanced, &expected);
    }
}

#[test]
fn the_last_session_of_several_is_read() {
    let lab = Lab::new("the_last_session_of_several_is_read");
    write(&lab.path("one"), "A", b"old");
    write(&lab.path("one"), "B", &pattern(5000, 3));
    write(&lab.path("two"), "A", b"newer");
    write(&lab.path("two"), "C", b"added");
    let mut expected = nodes(&lab.path("one"));
    expected.append(&mut nodes(&lab.path("two")));
    if !lab.run("genisoimage", &["-quiet", "-R", "-o", "m.iso", "one"]) {
        return;
    }
    let mut image = std::fs::read(lab.path("m.iso")).unwrap();
    let start = (image.len() / 2048).next_multiple_of(16) + 32;
    image.resize(start * 2048, 0);
    std::fs::write(lab.path("m.iso"), &image).unwrap();
    let place = format!("0,{start}");
    lab.run(
        "genisoimage",
        &[
            "-quiet", "-R", "-C", &place, "-M", "m.iso", "-o", "two.iso", "two",
        ],
    );
    image.extend(std::fs::read(lab.path("two.iso")).unwrap());
    std::fs::write(lab.path("m.iso"), &image).unwrap();
    lab.compare("m.iso", Namespace::RockRidge, &expected);
    let iso = IsoReader::read(File::open(lab.path("m.iso")).unwrap()).unwrap();
    assert_eq!(iso.session(), start as u64);
    let mut first = IsoReader::read_session(File::open(lab.path("m.iso")).unwrap(), 0).unwrap();
    assert_eq!(first.items(Namespace::RockRidge).unwrap().len(), 2);
    if lab.run(
        "xorriso",
        &["-outdev", "x.iso", "-map", "one", "/", "-commit"],
    ) {
        lab.run("xorriso", &["-dev", "x.iso", "-map", "two", "/", "-commit"]);
        lab.compare("x.iso", Namespace::RockRidge, &expected);
    }
}

#[test]
fn files_over_four_gigabytes_are_one_item() {
    let lab = Lab::new("files_over_four_gigabytes_are_one_item");
    std::fs::create_dir(lab.path("tree")).unwrap();
    // Without content in the image: the writer is asked for the first blocks only.
    let len = (4 << 30) + 7;
    lab.file("tree/big", len);
    // genisoimage writes no such files.
    let Some(head) = tool(
        lab.test,
        "sh",
        &[
            "-c",
            "command -v xorriso >/dev/null || exit 0
             xorriso -as mkisofs -quiet -R -iso-level 3 -o - tree 2>/dev/null | head -c 400000",
        ],
        lab.folder.path(),
    ) else {
        return;
    };
    if head.is_empty() {
        eprintln!("SKIPPED: {}: xorriso not found", lab.test);
        assert!(std::env::var_os("CI").is_none());
        return;
    }
    let mut iso = IsoReader::read(std::io::Cursor::new(head)).unwrap();
    let items = iso.items(Namespace::RockRidge).unwrap();
    assert_eq!((items.len(), items[0].len), (1, len));
    let lens: u64 = items[0].extents.iter().map(|extent| extent.len).sum();
    assert_eq!(lens, len);
    assert!(items[0].extents.len() > 1);
}

#[test]
fn packed_files_are_told() {
    let lab = Lab::new("packed_files_are_told");
    write(&lab.path("tree"), "packed", &vec![b'x'; 100_000]);
    let arguments = [
        "-outdev",
        "z.iso",
        "-map",
        "tree",
        "/",
        "-set_filter_r",
        "--zisofs",
        "/",
        "--",
        "-commit",
    ];
    if lab.run("xorriso", &arguments) {
        let report = Report::read(File::open(lab.path("z.iso")).unwrap()).unwrap();
        assert_eq!(report.items[0].unpacked_len, Some(100_000));
        let is_told = |f: &iso9660::Finding| f.check.code() == "iso-compressed";
        assert!(report.findings.iter().any(is_told));
    }
}

fn esp_tree(folder: &Path) -> Nodes {
    write(folder, "EFI/BOOT/BOOTX64.EFI", &pattern(5000, 6));
    write(
        folder,
        "EFI/Linux/A long name of a kernel.efi",
        &pattern(90_000, 7),
    );
    write(folder, "loader/loader.conf", b"timeout 3\n");
    write(
        folder,
        "loader/\u{65e5}\u{672c} gr\u{fc}\u{df}e.txt",
        b"text",
    );
    write(folder, &"l".repeat(255), b"longest");
    for n in 0..60 {
        write(
            folder,
            &format!("many/File number {n}.text"),
            &pattern(n * 37, n),
        );
    }
    nodes(folder)
}

/// The tree of a FAT volume.
fn fat_nodes(fat: &mut FatReader<File>) -> Nodes {
    let items = fat.items().unwrap();
    reading::read(&items, |item| {
        let mut out = Vec::new();
        fat.copy_to(item, &mut out).unwrap();
        out
    })
}

/// Makes a FAT volume with mkfs.vfat and mtools.
fn format(lab: &Lab, image: &str, len: u64, options: &[&str]) -> bool {
    let _ = std::fs::remove_file(lab.path(image));
    lab.file(image, len);
    let mut arguments = vec!["--invariant"];
    arguments.extend(options);
    arguments.push(image);
    let copy = [
        "-s",
        "-Q",
        "-m",
        "-i",
        image,
        "tree/EFI",
        "tree/loader",
        "tree/many",
        &format!("tree/{}", "l".repeat(255)),
        "::",
    ];
    lab.run("mkfs.vfat", &arguments) && lab.run("mcopy", &copy)
}

#[test]
fn volumes_of_mkfs_and_mtools_of_all_kinds_give_the_tree() {
    let lab = Lab::new("volumes_of_mkfs_and_mtools_of_all_kinds_give_the_tree");
    let expected = esp_tree(&lab.path("tree"));
    let cases: [(u64, &[&str], FatKind); 9] = [
        (1440 << 10, &[], FatKind::Fat12),
        (20 << 20, &[], FatKind::Fat16),
        (40 << 20, &["-F", "32", "-s", "1"], FatKind::Fat32),
        (300 << 20, &["-F", "32", "-s", "8"], FatKind::Fat32),
        (40 << 20, &["-S", "4096"], FatKind::Fat12),
        (40 << 20, &["-S", "2048", "-s", "1"], FatKind::Fat16),
        (
            8 << 20,
            &["-S", "1024", "-F", "12", "-s", "8"],
            FatKind::Fat12,
        ),
        (
            34 << 20,
            &["-F", "32", "-s", "1", "-f", "1"],
            FatKind::Fat32,
        ),
        (
            10 << 20,
            &["-f", "4", "-r", "112", "-R", "7"],
            FatKind::Fat16,
        ),
    ];
    for (len, options, kind) in cases {
        if !format(&lab, "fat.img", len, options) {
            return;
        }
        let mut fat = FatReader::read(File::open(lab.path("fat.img")).unwrap()).unwrap();
        assert_eq!(fat.kind(), kind, "{options:?}");
        let found = fat_nodes(&mut fat);
        assert_eq!(difference(&expected, &found), [""; 0], "{options:?}");
        let report = Report::read(File::open(lab.path("fat.img")).unwrap()).unwrap();
        let worst = report.findings.iter().map(|f| f.severity()).max();
        assert!(
            worst.is_none_or(|worst| worst == iso9660::Severity::Note),
            "{options:?}: {:?}",
            report.findings
        );
    }
}

#[test]
fn files_in_pieces_are_put_together() {
    let lab = Lab::new("files_in_pieces_are_put_together");
    let mut expected = esp_tree(&lab.path("tree"));
    if !format(&lab, "fat.img", 2 << 20, &["-F", "12", "-s", "4"]) {
        return;
    }
    for n in 0..40 {
        write(&lab.path("tmp"), "x", &pattern(9000, n));
        lab.run("mcopy", &["-i", "fat.img", "tmp/x", &format!("::f{n}")]);
        expected.insert(format!("f{n}"), Node::File(pattern(9000, n)));
    }
    for n in (0..40).step_by(2) {
        lab.run("mdel", &["-i", "fat.img", &format!("::f{n}")]);
        expected.remove(&format!("f{n}"));
    }
    let frag = pattern(1_200_000, 9);
    write(&lab.path("tmp"), "frag", &frag);
    lab.run("mcopy", &["-i", "fat.img", "tmp/frag", "::frag"]);
    expected.insert("frag".to_owned(), Node::File(frag.clone()));
    let mut fat = FatReader::read(File::open(lab.path("fat.img")).unwrap()).unwrap();
    assert_eq!(difference(&expected, &fat_nodes(&mut fat)), [""; 0]);
    let item = fat.find("FRAG").unwrap().unwrap();
    assert!(item.extents.len() > 10, "{}", item.extents.len());
    let (mut middle, mut reader) = ([0; 1000], fat.open(&item));
    std::io::Seek::seek(&mut reader, std::io::SeekFrom::Start(777_777)).unwrap();
    std::io::Read::read_exact(&mut reader, &mut middle).unwrap();
    assert_eq!(middle[..], frag[777_777..778_777]);
}

#[test]
fn a_table_that_is_not_the_first_is_used_when_mirroring_is_off() {
    let lab = Lab::new("a_table_that_is_not_the_first_is_used_when_mirroring_is_off");
    let expected = esp_tree(&lab.path("tree"));
    if !format(&lab, "fat.img", 40 << 20, &["-F", "32", "-s", "1"]) {
        return;
    }
    let mut image = std::fs::read(lab.path("fat.img")).unwrap();
    let len = u32::from_le_bytes(image[36..40].try_into().unwrap()) as usize * 512;
    // The first of the two tables is made useless.
    image[32 * 512..32 * 512 + len].fill(0xFF);
    image[40..42].copy_from_slice(&0x81u16.to_le_bytes());
    std::fs::write(lab.path("fat.img"), image).unwrap();
    let mut fat = FatReader::read(File::open(lab.path("fat.img")).unwrap()).unwrap();
    assert_eq!(difference(&expected, &fat_nodes(&mut fat)), [""; 0]);
}

#[test]
fn disks_of_sgdisk_and_their_volumes_are_read() {
    let lab = Lab::new("disks_of_sgdisk_and_their_volumes_are_read");
    let expected = esp_tree(&lab.path("tree"));
    if !format(&lab, "fat.img", 40 << 20, &["-F", "32", "-s", "1"]) {
        return;
    }
    lab.file("disk.img", 64 << 20);
    let arguments = [
        "-n",
        "1:2048:+40M",
        "-t",
        "1:ef00",
        "-c",
        "1:EFI gr\u{fc}n",
        "-n",
        "3:0:0",
        "-c",
        "3:META",
        "disk.img",
    ];
    if !lab.run("sgdisk", &arguments) {
        return;
    }
    let mut disk = std::fs::read(lab.path("disk.img")).unwrap();
    let fat = std::fs::read(lab.path("fat.img")).unwrap();
    disk[1 << 20..][..fat.len()].copy_from_slice(&fat);
    std::fs::write(lab.path("disk.img"), &disk).unwrap();
    let open = || File::open(lab.path("disk.img")).unwrap();
    let table = PartitionTable::read(open()).unwrap();
    assert_eq!(table.findings, []);
    let gpt = table.gpt.unwrap();
    let named: Vec<_> = gpt
        .partitions
        .iter()
        .map(|p| (p.number, p.name.as_str()))
        .collect();
    assert_eq!(named, [(1, "EFI gr\u{fc}n"), (3, "META")]);
    let report = Report::read(open()).unwrap();
    assert_eq!(report.format, Format::Disk);
    assert!(report.boots(Medium::UsbGpt) && !report.is_damaged());
    let target = tempfile::tempdir().unwrap();
    report.extract(open(), target.path()).unwrap();
    assert_eq!(difference(&expected, &nodes(target.path())), [""; 0]);
}

#[test]
fn hybrid_images_of_other_tools_boot_as_the_sheet_says() {
    let lab = Lab::new("hybrid_images_of_other_tools_boot_as_the_sheet_says");
    esp_tree(&lab.path("tree"));
    if !format(&lab, "esp.img", 36 << 20, &[]) {
        return;
    }
    let appended = [
        "-e",
        "--interval:appended_partition_2:all::",
        "-no-emul-boot",
        "-append_partition",
        "2",
        "0xef",
        "esp.img",
    ];
    let works = |options: &[&str]| {
        let mut arguments = vec!["-quiet", "-R", "-J", "-joliet-long", "-o", "b.iso"];
        arguments.extend(appended);
        arguments.extend(options);
        arguments.push("tree");
        if !lab.run("xorrisofs", &arguments) {
            return None;
        }
        let report = Report::read(File::open(lab.path("b.iso")).unwrap()).unwrap();
        assert!(!report.is_damaged(), "{:?}", report.findings);
        let paths = [
            Medium::CdUefi,
            Medium::UsbGpt,
            Medium::UsbMbr,
            Medium::Rufus,
        ];
        Some(paths.map(|medium| report.boots(medium)))
    };
    // CD, USB by GPT, USB by MBR, Rufus: measured with OVMF.
    let cases: [(&[&str], [bool; 4]); 3] = [
        (
            &["-appended_part_as_gpt", "-partition_offset", "16"],
            [true, true, false, true],
        ),
        (&["-appended_part_as_gpt"], [false, true, false, true]),
        (
            &[
                "-partition_offset",
                "16",
                "-partition_cyl_align",
                "all",
                "-iso_mbr_part_type",
                "0x83",
            ],
            [true, false, true, true],
        ),
    ];
    for (options, expected) in cases {
        if let Some(found) = works(options) {
            assert_eq!(found, expected, "{options:?}");
        }
    }
}

#[test]
fn images_of_pycdlib_give_the_tree() {
    let test = "images_of_pycdlib_give_the_tree";
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache");
    let python = cache
        .unwrap_or_else(|_| home())
        .join("trustedboot/python/bin/python3");
    let lab = Lab::new(test);
    let script = r"
import io, pycdlib
iso = pycdlib.PyCdlib()
iso.new(interchange_level=3, joliet=3, rock_ridge='1.09')
data = b'hello' * 999
iso.add_fp(io.BytesIO(data), len(data), '/FOO.;1', rr_name='a longer name', joliet_path='/a longer name')
iso.add_symlink('/SYM.;1', 'sym', '../x/y')
path, long = '', ''
for i in range(8):
    path += '/D%d' % i
    long += '/dir %d' % i
    iso.add_directory(path, rr_name='dir %d' % i, joliet_path=long)
iso.write('py.iso')
";
    write(lab.folder.path(), "make.py", script.as_bytes());
    if !lab.run(&python.to_string_lossy(), &["make.py"]) {
        return;
    }
    let mut expected = Nodes::new();
    expected.insert("a longer name".to_owned(), Node::File(b"hello".repeat(999)));
    let mut path = String::new();
    for n in 0..8 {
        path += &format!("{}dir {n}", if n == 0 { "" } else { "/" });
        expected.insert(path.clone(), Node::Directory);
    }
    lab.compare("py.iso", Namespace::Joliet, &expected);
    expected.insert("sym".to_owned(), Node::Link(b"../x/y".to_vec()));
    lab.compare("py.iso", Namespace::RockRidge, &expected);
}
