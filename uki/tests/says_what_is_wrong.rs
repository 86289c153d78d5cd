//! Every kind of error, with its fields and its words.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/inputs.rs"]
mod support;

use support::{bare, builder, image, vector};
use uki::{Builder, Edit, Error, NotAKernel, Plan, Profile, SectionName, Source, Stub, Uki};

const PE: usize = 0x40;

fn with(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn parsed(file: &[u8]) -> Error {
    Uki::parse(file).map(|_| ()).unwrap_err()
}

fn planned(plan: Result<Plan, Error>) -> Error {
    plan.map(|_| ()).unwrap_err()
}

fn written(builder: Builder, answer: Result<&str, &'static str>) -> Error {
    let answer = |(): &mut (), _| Ok(answer.map(|text| text.as_bytes().to_vec())?);
    let plan = builder.plan().unwrap();
    plan.write(&mut std::io::sink(), &mut (), |(), _| {}, answer)
        .unwrap_err()
}

#[test]
fn each_error_of_the_reader_has_its_own_words() {
    let stub = vector("stub.efi");
    for (file, message) in [
        (
            stub[..100].to_vec(),
            "optional header at offset 88 needs 240 bytes, 12 are there",
        ),
        (
            stub[..1500].to_vec(),
            "section .text at offset 1024 needs 512 bytes, 476 are there",
        ),
        (
            with(stub.clone(), PE, b"NE"),
            "no PE signature at offset 64: found [4e, 45, 00, 00]",
        ),
        (
            with(stub.clone(), PE + 24, &[7, 1]),
            "Magic at offset 88 is 0x107, expected 0x20b (PE32+) or 0x10b (PE32)",
        ),
        (
            with(stub.clone(), PE + 20, &[8, 0]),
            "SizeOfOptionalHeader at offset 84 is 0x8, expected at least 96 (PE32) or 112 (PE32+)",
        ),
        (
            with(stub.clone(), PE + 24 + 32, &[0; 4]),
            "SectionAlignment at offset 120 is 0x0, expected a power of two",
        ),
        (
            with(stub.clone(), PE + 24 + 36, &[3, 0, 0, 0]),
            "FileAlignment at offset 124 is 0x3, expected a power of two",
        ),
    ] {
        assert_eq!(parsed(&file).to_string(), message);
    }
    assert!(matches!(
        parsed(b""),
        Error::Truncated {
            what: "DOS header",
            offset: 0,
            needed: 64,
            available: 0
        }
    ));
    assert!(matches!(
        parsed(&stub[..1500]),
        Error::SectionTruncated {
            offset: 1024,
            needed: 512,
            available: 476,
            ..
        }
    ));
    assert!(matches!(
        parsed(&with(stub.clone(), 0, b"ZM")),
        Error::BadMagic {
            expected: "MZ",
            offset: 0,
            found: [b'Z', b'M', ..]
        }
    ));
    assert!(matches!(
        parsed(&with(stub, PE + 24, &[7, 1])),
        Error::BadField {
            field: "Magic",
            offset: 88,
            value: 0x107,
            ..
        }
    ));
}

#[test]
fn each_error_of_the_builder_has_its_own_words() {
    let kernel = || vector("kernel.efi");
    let addon = || Builder::new(Stub::parse(&vector("addon-stub.efi")).unwrap());
    let mut other = kernel();
    other[PE + 4..PE + 6].copy_from_slice(&0x14c_u16.to_le_bytes());
    let missing = bare().linux(Source::file("/nonexistent/kernel")).plan();
    for (error, message) in [
        (
            planned(builder().cmdline("a").cmdline("b").plan()),
            "section .cmdline exists twice in the base",
        ),
        (
            planned(
                builder()
                    .profile(Profile::new("ID=a").cmdline("a").cmdline("b"))
                    .plan(),
            ),
            "section .cmdline exists twice in profile 0",
        ),
        (
            planned(bare().cmdline("a").plan()),
            "no .linux section in the base",
        ),
        (
            planned(
                bare()
                    .cmdline("a")
                    .profile(Profile::new("ID=a").linux(kernel()))
                    .profile(Profile::new("ID=b"))
                    .plan(),
            ),
            "no .linux section in profile 1",
        ),
        (
            planned(addon().linux(kernel()).plan()),
            "section .linux cannot be here: an addon stub boots no kernel",
        ),
        (
            planned(builder().pcrsig_len(1).profile(Profile::new("ID=a")).plan()),
            "section .pcrsig cannot be here: each profile needs its own policies",
        ),
        (
            planned(bare().linux(other).plan()),
            ".linux is for ia32, the stub for x64",
        ),
        (
            planned(bare().linux("070701").plan()),
            "not a kernel that a UEFI stub can start: a cpio archive",
        ),
        (planned(missing), "/nonexistent/kernel: entity not found"),
        (
            planned(builder().initrd(Source::file("/")).plan()),
            "/: invalid input parameter",
        ),
        (
            SectionName::new("too.long.").unwrap_err(),
            "section name \"too.long.\" is not one to eight printable ASCII characters",
        ),
        (
            Stub::parse(&kernel()).unwrap_err(),
            "not a systemd stub: no .sdmagic section names systemd-stub or systemd-addon",
        ),
        (
            Stub::parse(&with(
                vector("stub.efi"),
                PE + 24 + 112 + 32,
                &[0, 2, 0, 0, 8, 0, 0, 0],
            ))
            .unwrap_err(),
            "the stub is signed: 8 bytes of certificates at offset 512",
        ),
        (
            Stub::parse(&with(vector("stub.efi"), PE + 24 + 68, &[3, 0])).unwrap_err(),
            "Subsystem at offset 156 is 0x3, expected 10 (EFI application)",
        ),
        (
            planned(
                Builder::new(
                    Stub::parse(&with(
                        vector("stub.efi"),
                        PE + 24 + 240 + 40 + 20,
                        &[0, 4, 0, 0],
                    ))
                    .unwrap(),
                )
                .linux(kernel())
                .plan(),
            ),
            "sections .text and .sbat overlap in the file",
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
    assert!(matches!(
        planned(bare().linux(&b"\x7fELF"[..]).plan()),
        Error::NotAKernel {
            found: NotAKernel::Elf
        }
    ));
}

#[test]
fn each_error_of_writing_has_its_own_words() {
    let filled = || builder().pcrsig_len(4);
    assert_eq!(
        written(filled(), Ok("12345")).to_string(),
        "the .pcrsig document has 5 bytes, 4 are planned"
    );
    let refused = written(filled(), Err("the HSM is asleep"));
    assert_eq!(
        refused.to_string(),
        "the .pcrsig callback returned an error"
    );
    assert_eq!(
        core::error::Error::source(&refused).unwrap().to_string(),
        "the HSM is asleep"
    );
    assert_eq!(
        filled()
            .plan()
            .unwrap()
            .write_to(&mut Vec::new())
            .unwrap_err()
            .to_string(),
        "the image has a .pcrsig to fill in, and no callback was given"
    );
    for (len, given, found) in [(10, 5, 5), (5, 10, 6)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("initrd");
        std::fs::write(&path, vec![1; len]).unwrap();
        let plan = builder().initrd(Source::file(&path)).plan().unwrap();
        std::fs::write(&path, vec![1; given]).unwrap();
        let error = plan.write_to(&mut Vec::new()).unwrap_err();
        // A single ramdisk is read through the joiner, which tells of too few bytes itself.
        assert!(
            matches!(error, Error::SizeChanged { .. } | Error::Io { .. }),
            "{found}: {error}"
        );
        assert!(error.to_string().contains("initrd"), "{error}");
    }
    let short = builder().section(
        SectionName::new(".x").unwrap(),
        Source::opener("a pipe", 9, || Ok(&b"1234"[..])),
    );
    assert_eq!(
        written(short, Ok("")).to_string(),
        "a pipe has 4 bytes, 9 when the image was planned"
    );
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(
        builder()
            .plan()
            .unwrap()
            .write_to(&mut Full)
            .unwrap_err()
            .to_string(),
        "output: no storage space"
    );
    let panicked = std::thread::scope(|scope| {
        let worker = uki::Worker::spawn(scope, (), |(), _| panic!("wanted by the test"));
        builder()
            .plan()
            .unwrap()
            .write(
                &mut std::io::sink(),
                &mut (),
                |(), part| worker.observe(part),
                |(), _| Ok(Vec::new()),
            )
            .unwrap();
        worker.finish().unwrap_err()
    });
    assert_eq!(panicked.to_string(), "an observer's thread panicked");
}

#[test]
fn each_error_of_contents_has_its_own_words() {
    for (error, message) in [
        (
            uki::HardwareIds::parse(&[0; 27]).unwrap_err(),
            "content of .hwids, byte 27: no record of zeros ends the table",
        ),
        (
            uki::HardwareIds::parse(&[9; 56]).unwrap_err(),
            "content of .hwids, byte 0: unknown kind of record",
        ),
        (
            uki::FirmwareBundle::parse(b"\xad\xde\xed\xfe\x10").unwrap_err(),
            "content of .efifw, byte 4: ends inside the header",
        ),
        (
            uki::FirmwareBundle::new("a\0b", b"")
                .to_bytes()
                .unwrap_err(),
            "content of .efifw, byte 16: the id contains a NUL",
        ),
        (
            uki::check_splash(b"BM").unwrap_err(),
            "content of .splash, byte 2: ends inside the bitmap's headers",
        ),
    ] {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn formats_inside_sections_are_cut_at_no_byte_without_an_error() {
    let device = uki::Device::new(
        uki::DeviceKind::Firmware,
        "name",
        "value",
        vec![[1; 16], [2; 16]],
    );
    let hwids = uki::HardwareIds::new().device(device).to_bytes().unwrap();
    for len in 0..hwids.len() {
        assert!(uki::HardwareIds::parse(&hwids[..len]).is_err(), "{len}");
    }
    let bundle = uki::FirmwareBundle::new("id", b"payload")
        .to_bytes()
        .unwrap();
    for len in 0..bundle.len() {
        assert!(uki::FirmwareBundle::parse(&bundle[..len]).is_err(), "{len}");
    }
}

#[test]
fn hardware_ids_that_point_into_one_long_text_take_neither_time_nor_memory() {
    let start = std::time::Instant::now();
    let records = 40_000_u32;
    let mut section = Vec::new();
    for index in 0..records {
        section.extend_from_slice(&0x1000_001c_u32.to_le_bytes());
        section.extend_from_slice(&[7; 16]);
        let at = (records + 1) * 28 + index;
        section.extend_from_slice(&at.to_le_bytes());
        section.extend_from_slice(&at.to_le_bytes());
    }
    section.extend_from_slice(&[0; 28]);
    let mut endless = section.clone();
    endless.resize(section.len() + 2_000_000, b'x');
    let error = uki::HardwareIds::parse(&endless).unwrap_err();
    assert_eq!(
        error.to_string(),
        "content of .hwids, byte 0: no text of up to 4096 bytes is where a string should be"
    );
    for _ in 0..600 {
        section.extend_from_slice(&[b'x'; 4000]);
        section.push(0);
    }
    let error = uki::HardwareIds::parse(&section).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the strings are used too often"),
        "{error}"
    );
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn each_error_of_editing_has_its_own_words() {
    let before = image(&builder().cmdline("a").plan().unwrap());
    let header = |name: &str| {
        let uki = Uki::parse(&before).unwrap();
        let found = uki
            .sections()
            .iter()
            .position(|section| section.name() == name);
        PE + 24 + 240 + found.unwrap() * 40
    };
    let overlap = with(
        before.clone(),
        header(".linux") + 12,
        &0x5000_u32.to_le_bytes(),
    );
    let filled = with(before.clone(), PE + 24 + 240 + 40 * 9, b"junk");
    for (plan, message) in [
        (
            Edit::new(overlap).unwrap().plan(),
            "sections .uname and .linux overlap in memory",
        ),
        (
            Edit::new(filled)
                .unwrap()
                .set(None, SectionName::UCODE, "x")
                .set(None, SectionName::OSREL, "x")
                .set(None, SectionName::DTB, "x")
                .plan(),
            "the section table needs 728 bytes of headers, 608 are there: \
             data stands between the section table and the first section",
        ),
    ] {
        assert_eq!(planned(plan).to_string(), message);
    }
}
