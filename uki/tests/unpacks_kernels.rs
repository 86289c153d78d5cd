//! Kernels that are packed: unpacked on their way into an image, and looked into for their version.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]
#![cfg(feature = "compressed-kernels")]

#[path = "support/inputs.rs"]
mod support;

use support::{bare, builder, image, vector};
use uki::{Error, Kernel, KernelFormat, Machine, SectionName, Stub, Uki, kernel_version};

const PACKED: [(&str, &str); 7] = [
    ("kernel.efi.gz", "gzip"),
    ("kernel.efi.xz", "xz"),
    ("kernel.efi.lzma", "lzma"),
    ("kernel.efi.lz4", "lz4"),
    ("kernel.efi.legacy.lz4", "lz4"),
    ("kernel.efi.bz2", "bzip2"),
    ("kernel.efi.zst", "zstd"),
];

/// An arm64 `Image` as EFI zboot packs it, around `payload`.
fn zboot(payload: &[u8], compression: &str) -> Vec<u8> {
    let mut kernel = vector("kernel.efi");
    kernel[0x44..0x46].copy_from_slice(&Machine::AA64.0.to_le_bytes());
    let start = u32::try_from(kernel.len()).unwrap();
    let len = u32::try_from(payload.len()).unwrap();
    kernel[4..8].copy_from_slice(b"zimg");
    kernel[8..12].copy_from_slice(&start.to_le_bytes());
    kernel[12..16].copy_from_slice(&len.to_le_bytes());
    kernel[0x18..0x38].fill(0);
    kernel[0x18..0x18 + compression.len()].copy_from_slice(compression.as_bytes());
    kernel.extend_from_slice(payload);
    kernel
}

fn arm_builder() -> uki::Builder {
    let mut stub = vector("stub.efi");
    stub[0x44..0x46].copy_from_slice(&Machine::AA64.0.to_le_bytes());
    uki::Builder::new(Stub::parse(&stub).unwrap())
}

#[test]
fn a_packed_kernel_is_unpacked_on_its_way_into_the_image() {
    let plain = image(&builder().plan().unwrap());
    for (name, _) in PACKED {
        let built = image(&bare().linux(vector(name)).plan().unwrap());
        assert!(built == plain, "{name}");
    }
}

#[test]
fn the_version_of_a_packed_kernel_is_found_without_building() {
    for (name, _) in PACKED {
        let packed = vector(name);
        let found = kernel_version(&&packed[..]).unwrap();
        assert_eq!(found.as_deref(), Some("6.1.0-test"), "{name}");
    }
}

#[test]
fn a_packed_kernel_is_cut_at_no_byte_without_an_error() {
    for (name, _) in PACKED {
        let packed = vector(name);
        let step = if name.contains("lz4") { 23 } else { 1 };
        for len in (8..packed.len()).step_by(step) {
            let plan = bare().linux(&packed[..len]).plan();
            // What is missing may be a checksum only; then the kernel is all there.
            if let Ok(plan) = plan {
                let built = image(&plan);
                let uki = Uki::parse(&built).unwrap();
                let linux = uki.base().section(&SectionName::LINUX).unwrap();
                assert!(uki.content(linux) == vector("kernel.efi"), "{name} {len}");
            }
            let _ = kernel_version(&&packed[..len]);
        }
    }
}

#[test]
fn flipped_bits_never_panic_and_never_take_long() {
    for (name, _) in PACKED {
        let packed = vector(name);
        // LZ4 clears 8 MiB for each try, which is slow without optimisation.
        let step = if name.contains("lz4") { 23 } else { 1 };
        for at in (0..packed.len()).step_by(step) {
            let mut packed = packed.clone();
            packed[at] ^= 1 << (at % 8);
            let _ = bare().linux(packed.clone()).plan();
            let _ = kernel_version(&&packed[..]);
        }
    }
}

#[test]
fn the_version_is_found_in_every_zboot_payload_and_the_kernel_stays_packed() {
    let banner = b"....Linux version 6.12.1-arm (a@b) #1 SMP";
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let kernel = zboot(&gzip(banner), "gzip");
    let identified = Kernel::identify(&&kernel[..]).unwrap();
    assert_eq!(identified.machine(), Machine::AA64);
    assert!(matches!(identified.format(), KernelFormat::Zboot(_)));
    assert_eq!(identified.version(), Some("6.12.1-arm"));
    let built = image(&arm_builder().linux(kernel.clone()).plan().unwrap());
    let uki = Uki::parse(&built).unwrap();
    let content = |name| uki.content(uki.base().section(&name).unwrap());
    assert!(content(SectionName::LINUX) == kernel);
    assert_eq!(content(SectionName::UNAME), b"6.12.1-arm");

    // Each name that Linux writes.
    for (name, compression) in [
        ("kernel.efi.xz", "xzkern"),
        ("kernel.efi.lzma", "lzma"),
        ("kernel.efi.legacy.lz4", "lz4"),
        ("kernel.efi.zst", "zstd22"),
        ("kernel.efi.zst", "zstd"),
    ] {
        let kernel = zboot(&vector(name), compression);
        let found = Kernel::identify(&&kernel[..]).unwrap();
        assert_eq!(found.version(), Some("6.1.0-test"), "{compression}");
        assert!(arm_builder().linux(kernel).plan().is_ok(), "{compression}");
    }
}

#[test]
fn what_cannot_be_unpacked_is_named() {
    let message = |bytes: &[u8]| bare().linux(bytes).plan().unwrap_err().to_string();
    assert_eq!(
        message(b"\x89LZO\0rest"),
        "not a kernel that a UEFI stub can start: a lzo file"
    );
    assert_eq!(
        message(b"\xfd7zXZ\0rest"),
        "bytes in memory (xz): unexpected end of file"
    );
    // An lzop payload hides the version and nothing else.
    let kernel = zboot(b"\x89LZO", "lzo");
    assert_eq!(Kernel::identify(&&kernel[..]).unwrap().version(), None);
}

#[test]
fn a_window_of_gibibytes_is_refused() {
    // lzma alone, properties 0x5d, dictionary of 4 GiB less one, unknown length.
    let mut lzma = b"\x5d\xff\xff\xff\xff".to_vec();
    lzma.extend_from_slice(&[0xff; 8]);
    lzma.extend_from_slice(&[0; 100]);
    lzma[1] = 0;
    lzma[2] = 0;
    let error = bare().linux(lzma).plan().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn a_payload_that_unpacks_without_end_is_searched_for_a_bounded_time() {
    // 768 MiB of zeros in under one MiB.
    let bomb = {
        use std::io::Write;
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..64 {
            packer.write_all(&zeros).unwrap();
        }
        packer.finish().unwrap().repeat(12)
    };
    let start = std::time::Instant::now();
    assert_eq!(kernel_version(&&bomb[..]).unwrap(), None);
    assert_eq!(
        bare().linux(bomb).plan().unwrap_err().to_string(),
        "content of .linux, byte 0: it unpacks to more than any kernel"
    );
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn an_elf_kernel_tells_its_version_and_goes_in_unchecked_only() {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(70_000, 0);
    elf.extend_from_slice(b"Linux version 6.8.0-Vm (a@b) (gcc) #1 SMP");
    assert_eq!(
        kernel_version(&&elf[..]).unwrap().as_deref(),
        Some("6.8.0-Vm")
    );
    assert_eq!(
        bare().linux(elf.clone()).plan().unwrap_err().to_string(),
        "not a kernel that a UEFI stub can start: an ELF file"
    );
    let built = image(&bare().linux(elf).unchecked_kernel().plan().unwrap());
    let uki = Uki::parse(&built).unwrap();
    assert_eq!(
        uki.content(uki.base().section(&SectionName::UNAME).unwrap()),
        b"6.8.0-Vm"
    );
}
