//! What the layout promises: room for headers, limits checked before the first byte, every byte seen once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/inputs.rs"]
mod support;

use object::read::pe::PeFile64;
use object::{Object, ObjectSection};
use support::{bare, builder, image, vector};
use uki::{Builder, Error, Plan, Profile, SectionName, Source, Stub, Uki, Worker};

fn zeros(len: u64) -> Source {
    Source::opener("zeros", len, || Ok(std::io::repeat(0)))
}

fn with_profiles(count: usize) -> Builder {
    (0..count).fold(builder(), |builder, index| {
        builder.profile(
            Profile::new(format!("ID=p{index}"))
                .cmdline(&format!("profile {index}"))
                .pcrsig_len(8),
        )
    })
}

fn written(plan: &Plan) -> Vec<u8> {
    let mut image = Vec::new();
    plan.write(
        &mut image,
        &mut (),
        |(), _| {},
        |(), turn| Ok(format!("{:08}", turn.profile().unwrap()).into_bytes()),
    )
    .unwrap();
    image
}

fn check_profiles(image: &[u8], count: usize) {
    let uki = Uki::parse(image).unwrap();
    let profiles = uki.profiles();
    assert_eq!(profiles.len(), count);
    for (index, profile) in profiles.iter().enumerate() {
        let text = |name| {
            String::from_utf8_lossy(uki.content(profile.section(&name).unwrap())).into_owned()
        };
        assert_eq!(text(SectionName::CMDLINE), format!("profile {index}"));
        assert_eq!(text(SectionName::PCRSIG), format!("{index:08}"));
        assert_eq!(text(SectionName::UNAME), "6.1.0-test");
    }
}

/// What a foreign reader finds: entry point, image base and relocations relative to the code.
fn loaded(image: &[u8]) -> (u64, u64, Vec<u8>) {
    let file = PeFile64::parse(image).unwrap();
    let text = file.section_by_name(".text").unwrap();
    (file.entry(), text.address(), text.data().unwrap().to_vec())
}

#[test]
fn few_profiles_need_no_more_room() {
    let built = written(&with_profiles(3).plan().unwrap());
    check_profiles(&built, 3);
    assert_eq!(
        u32::from_le_bytes(built[0x40 + 84..0x40 + 88].try_into().unwrap()),
        0x400
    );
}

#[test]
fn more_profiles_move_the_raw_data_back() {
    let built = written(&with_profiles(20).plan().unwrap());
    check_profiles(&built, 20);
    let headers_len = u32::from_le_bytes(built[0x40 + 84..0x40 + 88].try_into().unwrap());
    assert!(
        headers_len > 0x400 && headers_len <= 0x1000,
        "{headers_len:#x}"
    );
    assert_eq!(loaded(&built), loaded(&vector("stub.efi")));
}

#[test]
fn as_many_profiles_as_the_stub_takes_move_the_image_base_down() {
    let built = written(&with_profiles(256).plan().unwrap());
    check_profiles(&built, 256);
    // Absolute addresses stay: what the image base loses, the sections gain.
    assert_eq!(loaded(&built), loaded(&vector("stub.efi")));
    let stub = PeFile64::parse(&*built).unwrap();
    assert_eq!(stub.relative_address_base(), 0x1_4000_0000 - 0x1_0000);
    let relocations: Vec<u32> = {
        let directory = stub
            .data_directories()
            .relocation_blocks(&*built, &stub.section_table())
            .unwrap();
        let mut pages = Vec::new();
        let mut blocks = directory.unwrap();
        while let Some(block) = blocks.next().unwrap() {
            pages.push(block.virtual_address());
        }
        pages
    };
    assert_eq!(relocations, [0x1_1000]);
}

#[test]
fn refuses_more_profiles_than_the_stub_takes() {
    let error = with_profiles(257).plan().unwrap_err();
    assert_eq!(
        error.to_string(),
        "257 profiles, the stub reads at most 256"
    );
}

#[test]
fn refuses_headers_that_cannot_grow() {
    // With an image base of zero there is nothing to go down by.
    let mut stub = vector("stub.efi");
    stub[0x40 + 48..0x40 + 56].fill(0);
    let plan = (0..100).fold(
        Builder::new(Stub::parse(&stub).unwrap()).linux(vector("kernel.efi")),
        |builder, _| builder.dtbauto("x"),
    );
    assert_eq!(
        plan.plan().unwrap_err().to_string(),
        "the section table needs 4568 bytes of headers, 4096 are there: \
         the image base cannot go down by as much as the sections would go up"
    );
}

#[test]
fn refuses_more_sections_than_the_counter_holds() {
    let plan = (0..65_540).fold(builder(), |builder, _| builder.dtbauto("x"));
    assert!(matches!(
        plan.plan().unwrap_err(),
        Error::TooManySections { count: 65_546 }
    ));
}

#[test]
fn refuses_sizes_that_wrap_before_anything_is_written() {
    for len in [
        u64::from(u32::MAX),
        u64::from(u32::MAX) + 1,
        0xffff_f000,
        u64::MAX - 1,
        u64::MAX,
    ] {
        let error = builder().initrd(zeros(len)).plan().unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    section: SectionName::INITRD,
                    ..
                }
            ),
            "{len:#x}: {error}"
        );
    }
    let error = builder()
        .initrd(zeros(u64::MAX))
        .initrd(zeros(u64::MAX))
        .plan()
        .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = builder()
        .initrd(zeros(3 << 30))
        .ucode(zeros(1 << 30))
        .plan()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "file offset of section .ucode would be 0xc0001600, the limit of the PE format is 4 GiB"
            .replace(
                "file offset of section .ucode would be 0xc0001600",
                "end in the file of section .ucode would be 0x100001600"
            )
    );
}

#[test]
fn an_image_of_almost_four_gibibytes_can_be_read_again() {
    let plan = builder().initrd(zeros((4 << 30) - 0x9000)).plan().unwrap();
    assert!(plan.len() < 4 << 30);
    // Only the beginning matters; the rest is zeros.
    struct Head(Vec<u8>);
    impl std::io::Write for Head {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0.len() > 1 << 20 {
                return Err(std::io::Error::other("enough"));
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut head = Head(Vec::new());
    assert!(plan.write_to(&mut head).is_err());
    struct Sparse(Vec<u8>, u64);
    impl uki::ReadAt for Sparse {
        fn size(&self) -> u64 {
            self.1
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
            let start = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
            Ok(())
        }
    }
    let uki = Uki::from_source(Sparse(head.0, plan.len())).unwrap();
    assert_eq!(
        uki.base()
            .section(&SectionName::INITRD)
            .unwrap()
            .virtual_len(),
        (4 << 30) - 0x9000
    );
}

#[test]
fn observers_see_every_byte_once_and_in_order() {
    let plan = builder()
        .initrd(zeros(3_000_001))
        .dtbauto("one")
        .dtbauto("two")
        .pcrsig_len(6)
        .plan()
        .unwrap();
    let mut out = Vec::new();
    let mut seen = (Vec::new(), std::collections::BTreeMap::<_, Vec<u8>>::new());
    plan.write(
        &mut out,
        &mut seen,
        |(bytes, sections), part| {
            bytes.extend_from_slice(part.bytes());
            if let Some(measured) = part.measured() {
                let (profile, section, ordinal) = measured.key();
                sections
                    .entry((profile, section.to_owned(), ordinal))
                    .or_default()
                    .extend_from_slice(measured.bytes);
            }
        },
        |(_, sections), turn| {
            assert_eq!((turn.profile(), turn.len(), sections.len()), (None, 6, 6));
            Ok(b"123456".to_vec())
        },
    )
    .unwrap();
    assert!(seen.0 == out);
    let uki = Uki::parse(&out).unwrap();
    let base = uki.base();
    for section in base
        .sections()
        .filter(|section| section.name() != &SectionName::PCRSIG)
    {
        let ordinal = base
            .candidates(section.name())
            .position(|other| other.index() == section.index())
            .unwrap();
        let observed = &seen.1[&(None, section.name().to_string(), ordinal)];
        assert!(observed == uki.content(section), "{}", section.name());
    }
    assert_eq!(seen.1[&(None, ".dtbauto".to_owned(), 1)], b"two");
}

#[test]
fn zeros_that_the_loader_adds_are_measured_and_not_in_the_file() {
    let mut before = image(&builder().cmdline("quiet").plan().unwrap());
    // VirtualSize of `.cmdline` beyond its raw data.
    let at = before
        .windows(8)
        .position(|found| found == b".cmdline")
        .unwrap();
    before[at + 8..at + 12].copy_from_slice(&0x300_u32.to_le_bytes());
    let mut measured = Vec::new();
    let mut out = Vec::new();
    let gather = |measured: &mut Vec<u8>, part: &uki::Part| {
        if let Some(found) = part.measured().filter(|found| found.section == ".cmdline") {
            measured.extend_from_slice(found.bytes);
        }
    };
    let edit = || uki::Edit::new(before.clone()).unwrap();
    let none = |_: &mut Vec<u8>, _| Ok(Vec::new());
    edit()
        .plan()
        .unwrap()
        .write(&mut out, &mut measured, gather, none)
        .unwrap();
    assert_eq!((measured.len(), &measured[..5]), (0x300, &b"quiet"[..]));
    assert!(measured[5..].iter().all(|byte| *byte == 0));
    assert!(out == before);

    // Moved by a larger section in front of it, it keeps its size in memory.
    measured.clear();
    out.clear();
    edit()
        .set(None, SectionName::OSREL, "x")
        .plan()
        .unwrap()
        .write(&mut out, &mut measured, gather, none)
        .unwrap();
    assert_eq!(measured.len(), 0x300);
    assert_eq!(
        Uki::parse(&out)
            .unwrap()
            .base()
            .section(&SectionName::CMDLINE)
            .unwrap()
            .virtual_len(),
        0x300
    );
}

#[test]
fn workers_see_the_same_bytes_on_their_own_threads() {
    let plan = builder()
        .initrd(zeros(20 << 20))
        .pcrsig_len(9)
        .plan()
        .unwrap();
    let mut out = Vec::new();
    let (bytes, sum) = std::thread::scope(|scope| {
        let mut workers = (
            Worker::spawn(scope, Vec::new(), |bytes, part| {
                bytes.extend_from_slice(part.bytes())
            }),
            Worker::spawn(scope, 0_u64, |sum, part| {
                *sum += part.measured().map_or(0, |found| found.bytes.len() as u64)
            }),
        );
        plan.write(
            &mut out,
            &mut workers,
            |(bytes, sum), part| {
                bytes.observe(part);
                sum.observe(part);
            },
            |(_, sum), _| Ok(sum.ask(|sum| sum.to_string().into_bytes())?),
        )
        .unwrap();
        (workers.0.finish().unwrap(), workers.1.finish().unwrap())
    });
    assert!(bytes == out);
    let uki = Uki::parse(&out).unwrap();
    assert_eq!(
        uki.content(uki.base().section(&SectionName::PCRSIG).unwrap()),
        format!("{sum}\n").as_bytes()
    );
}

#[test]
fn a_worker_that_panics_is_an_error() {
    let found = std::thread::scope(|scope| {
        let worker = Worker::spawn(scope, (), |(), _| {});
        let answer = worker.ask(|()| -> () { panic!("expected by this test") });
        (
            answer.unwrap_err().to_string(),
            worker.finish().unwrap_err().to_string(),
        )
    });
    assert_eq!(found.0, "an observer's thread panicked");
    assert_eq!(found.1, "an observer's thread panicked");
}

#[test]
fn a_source_that_changed_its_size_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("initrd");
    for (now, found) in [(&b"123"[..], 3), (b"1234567", 6)] {
        std::fs::write(&path, b"12345").unwrap();
        let plan = builder().initrd(Source::file(&path)).plan().unwrap();
        std::fs::write(&path, now).unwrap();
        let error = plan.write_to(&mut Vec::new()).unwrap_err();
        let expected = format!(
            "{} has {found} bytes, 5 when the image was planned",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn missing_and_unreadable_sources_are_named() {
    let error = builder()
        .initrd(Source::file("/nonexistent/initrd"))
        .plan()
        .unwrap_err();
    assert!(
        error.to_string().starts_with("/nonexistent/initrd: "),
        "{error}"
    );
    let error = builder().initrd(Source::file("/")).plan().unwrap_err();
    assert!(error.to_string().starts_with("/: "), "{error}");
}

#[test]
fn a_document_must_fit_the_planned_room() {
    let plan = builder().pcrsig_len(3).plan().unwrap();
    let answer = |bytes: &'static [u8]| {
        plan.write(
            &mut Vec::new(),
            &mut (),
            |(), _| {},
            |(), _| Ok(bytes.to_vec()),
        )
    };
    assert!(answer(b"[]").is_ok());
    assert_eq!(
        answer(b"[  ]").unwrap_err().to_string(),
        "the .pcrsig document has 4 bytes, 3 are planned"
    );
    let refused = plan
        .write(
            &mut Vec::new(),
            &mut (),
            |(), _| {},
            |(), _| Err("no key".into()),
        )
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the .pcrsig callback returned an error"
    );
    assert_eq!(
        std::error::Error::source(&refused).unwrap().to_string(),
        "no key"
    );
    let mut out = Vec::new();
    assert_eq!(
        plan.write_to(&mut out).unwrap_err().to_string(),
        "the image has a .pcrsig to fill in, and no callback was given"
    );
    assert!(out.is_empty());
}

#[test]
fn refuses_shapes_that_no_stub_boots() {
    let addon = || Builder::new(Stub::parse(&vector("addon-stub.efi")).unwrap());
    for (builder, message) in [
        (bare().cmdline("x"), "no .linux section in the base"),
        (
            bare().profile(Profile::new("ID=x")),
            "no .linux section in profile 0",
        ),
        (
            addon().linux(vector("kernel.efi")),
            "section .linux cannot be here: an addon stub boots no kernel",
        ),
        (
            builder().cmdline("a").cmdline("b"),
            "section .cmdline exists twice in the base",
        ),
        (
            builder().profile(Profile::new("ID=x").cmdline("a").cmdline("b")),
            "section .cmdline exists twice in profile 0",
        ),
        (
            builder().section(SectionName::new(".text").unwrap(), "x"),
            "section .text exists twice in the base",
        ),
        (
            builder().pcrsig_len(1).profile(Profile::new("ID=x")),
            "section .pcrsig cannot be here: each profile needs its own policies",
        ),
    ] {
        assert_eq!(builder.plan().unwrap_err().to_string(), message);
    }
}

#[test]
fn refuses_kernels_that_are_none_or_for_another_machine() {
    let kernel = vector("kernel.efi");
    let mut other = kernel.clone();
    other[0x44..0x46].copy_from_slice(&0xaa64_u16.to_le_bytes());
    other[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let mut plain = kernel.clone();
    plain[0x202] = 0;
    let uki = image(&builder().plan().unwrap());
    for (kernel, message) in [
        (
            &b""[..],
            "not a kernel that a UEFI stub can start: an empty file",
        ),
        (
            b"\x7fELF",
            "not a kernel that a UEFI stub can start: an ELF file",
        ),
        (&other, ".linux is for aa64, the stub for x64"),
        (
            &plain,
            "not a kernel that a UEFI stub can start: a PE image without a kernel's boot header",
        ),
        (&uki, "not a kernel that a UEFI stub can start: a UKI"),
        (
            &kernel[..0x500],
            "section .text at offset 1024 needs 1024 bytes, 256 are there",
        ),
        (
            &kernel[..0x20],
            "DOS header at offset 0 needs 64 bytes, 32 are there",
        ),
        (
            b"\x89LZO\0rest",
            "not a kernel that a UEFI stub can start: a lzo file",
        ),
    ] {
        assert_eq!(
            bare().linux(kernel).plan().unwrap_err().to_string(),
            message
        );
    }
}

#[test]
fn refuses_files_that_are_no_stub() {
    let stub = vector("stub.efi");
    let with = |at: usize, bytes: &[u8]| {
        let mut stub = stub.clone();
        stub[at..at + bytes.len()].copy_from_slice(bytes);
        stub
    };
    let directories = 0x40 + 24 + 112;
    for (file, message) in [
        (
            b"".to_vec(),
            "DOS header at offset 0 needs 64 bytes, 0 are there",
        ),
        (with(0, b"ZM"), "no MZ at offset 0: found [5a, 4d, 00, 00]"),
        (
            with(0x40, b"NE"),
            "no PE signature at offset 64: found [4e, 45, 00, 00]",
        ),
        (
            with(0x58, &[7, 7]),
            "Magic at offset 88 is 0x707, expected 0x20b (PE32+) or 0x10b (PE32)",
        ),
        (
            with(0x40 + 56, &[3, 0]),
            "SectionAlignment at offset 120 is 0x3, expected a power of two",
        ),
        (
            with(0x40 + 92, &[2]),
            "Subsystem at offset 156 is 0x2, expected 10 (EFI application)",
        ),
        (
            with(directories + 32, &[8, 1, 0, 0, 16]),
            "the stub is signed: 16 bytes of certificates at offset 264",
        ),
        (
            vector("kernel.efi"),
            "not a systemd stub: no .sdmagic section names systemd-stub or systemd-addon",
        ),
    ] {
        assert_eq!(Stub::parse(&file).unwrap_err().to_string(), message);
    }
    for len in 0..stub.len() {
        assert!(Stub::parse(&stub[..len]).is_err(), "{len}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_order() {
    let one = builder()
        .cmdline("a")
        .os_release("b")
        .initrd("c")
        .uname("d");
    let two = bare()
        .uname("d")
        .initrd("c")
        .os_release("b")
        .cmdline("a")
        .linux(vector("kernel.efi"));
    assert!(image(&one.plan().unwrap()) == image(&two.plan().unwrap()));
}

#[test]
fn on_a_stub_with_no_memory_behind_sbat_the_merged_one_moves() {
    // As on systemd-stub 252: section alignment 0x200 and the next section right behind `.sbat`.
    let mut stub = vector("stub.efi");
    let table = 0x40 + 24 + 240;
    stub[0x40 + 56..0x40 + 60].copy_from_slice(&0x100_u32.to_le_bytes());
    for (index, address) in [(2, 0x2100_u32), (3, 0x2200)] {
        stub[table + index * 40 + 12..table + index * 40 + 16]
            .copy_from_slice(&address.to_le_bytes());
    }
    stub[0x40 + 24 + 112 + 40..0x40 + 24 + 112 + 44].copy_from_slice(&0x2200_u32.to_le_bytes());
    let built = image(
        &Builder::new(Stub::parse(&stub).unwrap())
            .sbat("sbat,1,x\nexample,1,Example,example,1,https://example.com/with/a/long/path/that/does/not/fit/\nsecond,1,Second,second,1,https://example.com/\n")
.linux(vector("kernel.efi"))
            .plan()
            .unwrap(),
    );
    let uki = Uki::parse(&built).unwrap();
    let names: Vec<_> = uki
        .sections()
        .iter()
        .map(|section| section.name().as_str())
        .collect();
    assert_eq!(
        names,
        [".text", ".sdmagic", ".reloc", ".uname", ".linux", ".sbat"]
    );
    assert_eq!(uki.sections()[1].virtual_address(), 0x2100);
    assert_eq!(uki.stub().version(), "257");
    let ends = uki
        .sections()
        .windows(2)
        .all(|pair| pair[0].virtual_address() + pair[0].virtual_len() <= pair[1].virtual_address());
    assert!(ends);
}
