//! Reading: what the stub sees, and hostile files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/inputs.rs"]
mod support;

use std::io::{Cursor, Read};

use proptest::prelude::*;
use support::{builder, image, vector};
use uki::{
    Builder, Check, Edit, Error, KernelFormat, Machine, Profile, SectionName, Stub, Uki, lint,
};

const PE: usize = 0x40;
const OPTIONAL: usize = PE + 24;

fn sample() -> Vec<u8> {
    image(
        &builder()
            .cmdline("quiet")
            .os_release("ID=example\nNAME=\"An Example\"\n")
            .initrd([&b"070701"[..], &[5; 2994]].concat())
            .profile(Profile::new("ID=main"))
            .profile(Profile::new("ID=second").cmdline("second"))
            .plan()
            .unwrap(),
    )
}

/// Where the table entry of a section starts.
fn header(image: &[u8], name: &str) -> usize {
    let uki = Uki::parse(image).unwrap();
    let found = uki
        .sections()
        .iter()
        .find(|section| section.name() == name)
        .unwrap();
    OPTIONAL + 240 + found.index() * 40
}

fn with(mut image: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn a_profile_has_its_own_sections_and_those_of_the_base() {
    let sample = sample();
    let uki = Uki::parse(&sample).unwrap();
    assert!(uki.is_uki() && !uki.is_addon());
    assert_eq!((uki.machine(), uki.certificates()), (Machine::X64, None));
    let profiles = uki.profiles();
    let text = |index: usize, name| {
        String::from_utf8_lossy(uki.content(profiles[index].section(&name).unwrap())).into_owned()
    };
    assert_eq!(text(0, SectionName::CMDLINE), "quiet");
    assert_eq!(text(1, SectionName::CMDLINE), "second");
    assert_eq!(text(1, SectionName::UNAME), "6.1.0-test");
    let order: Vec<_> = profiles[1]
        .sections()
        .map(|section| section.name().as_str())
        .collect();
    assert_eq!(
        order,
        [
            ".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat", ".profile"
        ]
    );
    assert!(profiles[1].owns(profiles[1].section(&SectionName::CMDLINE).unwrap()));
    assert!(!profiles[1].owns(profiles[1].section(&SectionName::LINUX).unwrap()));
    let kernel = uki
        .kernel(profiles[0].section(&SectionName::LINUX).unwrap())
        .unwrap();
    assert_eq!(
        (kernel.format(), kernel.version()),
        (KernelFormat::BzImage, Some("6.1.0-test"))
    );
    assert!(kernel.loads_initrd_itself());
}

#[test]
fn a_stream_gives_what_a_slice_gives() {
    let sample = sample();
    let (slice, stream) = (
        Uki::parse(&sample).unwrap(),
        Uki::read(Cursor::new(&sample)).unwrap(),
    );
    assert_eq!(slice.sections(), stream.sections());
    for section in slice.sections() {
        assert_eq!(slice.content(section), stream.bytes(section).unwrap());
        let mut all = Vec::new();
        stream.reader(section).read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, section.virtual_len());
    }
    assert_eq!(lint(&slice).unwrap(), lint(&stream).unwrap());
}

#[test]
fn of_two_sections_the_first_counts_and_an_empty_one_is_not_there() {
    let sample = sample();
    // `.osrel` becomes a second `.cmdline` in front of the first.
    let renamed = with(sample.clone(), header(&sample, ".osrel"), b".cmdline");
    let uki = Uki::parse(&renamed).unwrap();
    assert!(
        uki.content(uki.base().section(&SectionName::CMDLINE).unwrap())
            .starts_with(b"ID=example")
    );
    let first = header(&renamed, ".cmdline");
    let emptied = with(renamed, first + 8, &[0; 4]);
    let uki = Uki::parse(&emptied).unwrap();
    assert_eq!(
        uki.content(uki.base().section(&SectionName::CMDLINE).unwrap()),
        b"quiet"
    );
}

#[test]
fn memory_beyond_the_raw_data_reads_as_zeros() {
    let sample = sample();
    let grown = with(
        sample.clone(),
        header(&sample, ".uname") + 8,
        &0x205_u32.to_le_bytes(),
    );
    let uki = Uki::parse(&grown).unwrap();
    let section = uki.base().section(&SectionName::UNAME).unwrap();
    assert_eq!((section.file_len(), section.zero_fill()), (0x200, 5));
    let mut all = Vec::new();
    uki.reader(section).read_to_end(&mut all).unwrap();
    assert_eq!(
        (all.len(), &all[..10], &all[0x200..]),
        (0x205, &b"6.1.0-test"[..], &[0; 5][..])
    );
    assert_eq!(uki.text(section).unwrap(), "6.1.0-test");
    // Four gibibytes of zeros cost nothing until someone reads them.
    let huge = with(sample.clone(), header(&sample, ".uname") + 8, &[0xff; 4]);
    let uki = Uki::parse(&huge).unwrap();
    assert_eq!(
        uki.bytes(uki.base().section(&SectionName::UNAME).unwrap())
            .unwrap()
            .len(),
        0x200
    );
}

#[test]
fn every_truncation_is_an_error_that_says_what_is_missing() {
    let sample = sample();
    for len in 0..sample.len() {
        let error = Uki::parse(&sample[..len]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Truncated { .. } | Error::SectionTruncated { .. }
            ),
            "{len}: {error}"
        );
        assert!(Uki::read(Cursor::new(&sample[..len])).is_err());
    }
}

#[test]
fn header_fields_at_their_extremes_never_panic() {
    let sample = sample();
    let end = header(&sample, ".profile") + 80;
    for at in 0..end {
        for value in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            sample[at].wrapping_add(1),
            sample[at].wrapping_sub(1),
        ] {
            exercise(&with(sample.clone(), at, &[value]));
        }
    }
    for at in (0..end - 8).step_by(2) {
        exercise(&with(sample.clone(), at, &[0xff; 4]));
        exercise(&with(sample.clone(), at, &[0xff; 8]));
        exercise(&with(sample.clone(), at, &[0; 4]));
        exercise(&with(sample.clone(), at, &0x8000_0000_u32.to_le_bytes()));
    }
}

/// Everything that can be asked of a file; whatever is read can be edited or is refused, and what comes out can be read.
fn exercise(image: &[u8]) {
    let Ok(uki) = Uki::parse(image) else { return };
    let _ = lint(&uki).unwrap();
    for profile in uki.profiles() {
        for section in profile.sections() {
            assert!(uki.content(section).len() <= image.len());
        }
    }
    for section in uki.sections() {
        let _ = uki.kernel(section);
    }
    let Ok(plan) =
        Edit::new(image).and_then(|edit| edit.set(None, SectionName::CMDLINE, "other").plan())
    else {
        return;
    };
    if plan.len() > 1 << 24 {
        return;
    }
    let mut edited = Vec::new();
    plan.write_to(&mut edited).unwrap();
    assert_eq!(edited.len() as u64, plan.len());
    let again = Uki::parse(&edited).unwrap();
    let cmdline = again.base().section(&SectionName::CMDLINE).unwrap();
    assert_eq!(again.content(cmdline), b"other");
}

#[test]
fn as_many_sections_as_can_be_counted_are_read_in_linear_time() {
    let mut image = vector("stub.efi");
    image[PE + 6..PE + 8].copy_from_slice(&0xffff_u16.to_le_bytes());
    image.truncate(OPTIONAL + 240);
    for index in 0..0xffff_u32 {
        let name = if index % 2 == 0 {
            b".profile"
        } else {
            b".dtbauto"
        };
        image.extend_from_slice(name);
        for value in [1, 0x1000 + index, 0, 0, 0, 0, 0, 0x4000_0040] {
            image.extend_from_slice(&u32::to_le_bytes(value));
        }
    }
    let uki = Uki::parse(&image).unwrap();
    assert_eq!(
        (uki.sections().len(), uki.profiles().len()),
        (0xffff, 0x8000)
    );
    assert!(
        lint(&uki)
            .unwrap()
            .iter()
            .any(|found| found.check == Check::TooManyProfiles)
    );
    assert!(Edit::new(image).unwrap().remove_profile(7).plan().is_err());
}

/// An image with these sections and nothing else.
fn crowded(names: &[&[u8; 8]], fields: impl Fn(u32) -> [u32; 4]) -> Vec<u8> {
    let mut image = vector("stub.efi");
    let count = u16::try_from(names.len()).unwrap();
    image[PE + 6..PE + 8].copy_from_slice(&count.to_le_bytes());
    image.truncate(OPTIONAL + 240);
    for (index, name) in (0..).zip(names) {
        image.extend_from_slice(&name[..]);
        let [virtual_len, address, raw_len, raw_offset] = fields(index);
        let rest = [
            virtual_len,
            address,
            raw_len,
            raw_offset,
            0,
            0,
            0,
            0x4000_0040,
        ];
        image.extend(rest.into_iter().flat_map(u32::to_le_bytes));
    }
    image.resize(image.len().next_multiple_of(512) + 512, b'L');
    image
}

/// How long reading, linting and editing take for a table of this length, of the worst kinds.
fn time_for(count: usize) -> std::time::Duration {
    let start = std::time::Instant::now();
    let in_turn: [&[u8; 8]; 4] = [b".cmdline", b".linux\0\0", b".osrel\0\0", b".hwids\0\0"];
    let mut tables: Vec<Vec<&[u8; 8]>> = vec![in_turn.into_iter().cycle().take(count).collect()];
    // A base full of sections, and 256 profiles that all see it.
    for name in [b".dtbauto", b".linux\0\0", b"unknown\0"] {
        let mut names = vec![name; count - 256];
        names.extend([b".profile"; 256]);
        tables.push(names);
    }
    for names in tables {
        let kinds: [fn(u32) -> [u32; 4]; 2] = [
            // All claim the same bytes of the file.
            |index| [0x1_0000, 0x30_0000 + index, 0x1_0000, 0],
            // Nothing in the file, and rising addresses.
            |index| [1, 0x30_0000 + index * 0x1000, 0, 0],
        ];
        for fields in kinds {
            let image = crowded(&names, fields);
            let uki = Uki::parse(&image).unwrap();
            let _ = lint(&uki).unwrap();
            for view in uki.profiles().iter().take(256) {
                for name in SectionName::CANONICAL {
                    let _ = view.section(&name);
                }
            }
            let edit = || Edit::new(&image[..]).unwrap();
            let _ = edit().remove(None, SectionName::DTBAUTO).plan();
            let _ = edit().set(Some(255), SectionName::CMDLINE, "x").plan();
        }
    }
    start.elapsed()
}

#[test]
fn no_table_of_sections_makes_reading_linting_or_editing_slow() {
    let (short, long) = (time_for(2047), time_for(16_383));
    // Eight times as long for eight times as many; if each looked at each other, it would be 64 times.
    assert!(long < short * 30, "{short:?} {long:?}");
}

#[test]
fn names_without_terminator_and_with_odd_bytes_are_kept() {
    let sample = sample();
    let odd = with(
        sample.clone(),
        header(&sample, ".osrel"),
        b"\xff\xfe odd!\x01",
    );
    let uki = Uki::parse(&odd).unwrap();
    let names: Vec<_> = uki
        .sections()
        .iter()
        .map(|section| section.name().to_string())
        .collect();
    assert!(
        names.contains(&r"\xff\xfe odd!\x01".to_owned()),
        "{names:?}"
    );
    assert_eq!(image_of(Edit::new(odd.clone()).unwrap()), odd);
}

fn image_of(edit: Edit) -> Vec<u8> {
    image(&edit.plan().unwrap())
}

#[test]
fn finds_what_is_wrong_with_an_image() {
    let sample = sample();
    let at = |name: &str| header(&sample, name);
    let u32s = |value: u32| value.to_le_bytes();
    let codes = |image: &[u8]| -> Vec<&str> {
        lint(&Uki::parse(image).unwrap())
            .unwrap()
            .iter()
            .map(|found| found.check.code())
            .collect()
    };
    assert!(codes(&sample).is_empty(), "{:?}", codes(&sample));
    let kernel = at(".linux");
    let kernel_data = Uki::parse(&sample)
        .unwrap()
        .base()
        .section(&SectionName::LINUX)
        .unwrap()
        .raw_offset();
    let kernel_data = usize::try_from(kernel_data).unwrap();
    for (code, image) in [
        (
            "section-overlap",
            with(sample.clone(), at(".osrel") + 12, &u32s(0x4000)),
        ),
        (
            "section-order",
            with(sample.clone(), at(".osrel") + 12, &u32s(0x1000)),
        ),
        (
            "address-wrapped",
            with(sample.clone(), at(".initrd") + 12, &u32s(0xb20a_0000)),
        ),
        (
            "section-alignment",
            with(sample.clone(), at(".initrd") + 12, &u32s(0x9001)),
        ),
        (
            "header-overlap",
            with(sample.clone(), at(".text") + 12, &u32s(0x200)),
        ),
        (
            "writable-code",
            with(sample.clone(), at(".text") + 36, &u32s(0xe000_0020)),
        ),
        ("nx-mismatch", with(sample.clone(), PE + 94, &[0x60, 0])),
        ("subsystem", with(sample.clone(), PE + 92, &[2])),
        (
            "machine-mismatch",
            with(sample.clone(), kernel_data + 0x44, &[0x4c, 1]),
        ),
        (
            "not-a-kernel",
            with(sample.clone(), kernel_data + 0x202, b"x"),
        ),
        ("no-kernel", with(sample.clone(), kernel, b".linuxx")),
        (
            "unknown-stub",
            with(sample.clone(), at(".sdmagic"), b".sdmagix"),
        ),
        ("sbat-missing", with(sample.clone(), at(".sbat"), b".sbaat")),
        (
            "duplicate-section",
            with(sample.clone(), at(".osrel"), b".cmdline"),
        ),
        (
            "empty-section",
            with(sample.clone(), at(".osrel") + 8, &u32s(0)),
        ),
        (
            "zero-fill",
            with(sample.clone(), at(".osrel") + 8, &u32s(0x201)),
        ),
        (
            "cmdline-open",
            with(sample.clone(), at(".cmdline"), b".cmdlin\0"),
        ),
        (
            "sbat-invalid",
            edited(&sample, |edit| edit.set(None, SectionName::SBAT, "x")),
        ),
        (
            "sbat-conflict",
            edited(&sample, |edit| {
                edit.set(None, SectionName::SBAT, "sbat,1\na,1,x\na,2,x\n")
            }),
        ),
        (
            "uname-mismatch",
            edited(&sample, |edit| edit.set(None, SectionName::UNAME, "6.2")),
        ),
        (
            "pcrpkey-missing",
            edited(&sample, |edit| edit.set(Some(0), SectionName::PCRSIG, "{}")),
        ),
        (
            "pcrsig-missing",
            edited(&sample, |edit| edit.set(None, SectionName::PCRPKEY, "key")),
        ),
        (
            "pcrsig-in-base",
            edited(&sample, |edit| {
                edit.set(None, SectionName::PCRPKEY, "key")
                    .set(None, SectionName::PCRSIG, "{}")
            }),
        ),
        (
            "debug-profile-signed",
            edited(&sample, |edit| {
                edit.set(None, SectionName::PCRPKEY, "key")
                    .set(Some(0), SectionName::PCRSIG, "{}")
                    .set(Some(1), SectionName::PCRSIG, "{}")
                    .set(Some(1), SectionName::CMDLINE, "rd.break")
            }),
        ),
        ("headers-short", with(sample.clone(), PE + 84, &u32s(0x200))),
        (
            "raw-overlap",
            with(sample.clone(), at(".osrel") + 20, &u32s(0x400)),
        ),
        ("entry-point", with(sample.clone(), PE + 40, &u32s(0x10))),
        (
            "entry-point",
            with(sample.clone(), at(".text") + 36, &u32s(0x4000_0020)),
        ),
        (
            "sbat-duplicate",
            with(sample.clone(), at(".osrel"), b".sbat\0\0\0"),
        ),
        (
            "sbat-invalid",
            with(sample.clone(), at(".sbat") + 8, &u32s(0x1000)),
        ),
        (
            "cmdline-cut",
            edited(&sample, |edit| edit.set(None, SectionName::CMDLINE, "a\0b")),
        ),
        (
            "osrel-missing",
            edited(&sample, |edit| edit.remove(None, SectionName::OSREL)),
        ),
        (
            "pcrpkey-invalid",
            edited(&sample, |edit| edit.set(None, SectionName::PCRPKEY, "key")),
        ),
        (
            "pcrsig-invalid",
            edited(&sample, |edit| edit.set(Some(1), SectionName::PCRSIG, "[]")),
        ),
        (
            "splash-invalid",
            edited(&sample, |edit| edit.set(None, SectionName::SPLASH, "text")),
        ),
        (
            "initrd-unknown",
            edited(&sample, |edit| edit.set(None, SectionName::INITRD, "text")),
        ),
        (
            "ucode-invalid",
            edited(&sample, |edit| edit.set(None, SectionName::UCODE, "text")),
        ),
        (
            "devicetree-invalid",
            edited(&sample, |edit| edit.set(Some(1), SectionName::DTB, "text")),
        ),
        (
            "devicetree-invalid",
            edited(&sample, |edit| {
                edit.add(None, SectionName::DTBAUTO, b"\xd0\x0d\xfe\xed\0\x01\0\0")
            }),
        ),
        (
            "hwids-invalid",
            edited(&sample, |edit| edit.set(None, SectionName::HWIDS, "text")),
        ),
        (
            "efifw-invalid",
            edited(&sample, |edit| edit.add(None, SectionName::EFIFW, "text")),
        ),
        (
            "profile-id",
            edited(&sample, |edit| edit.add_profile(Profile::new("ID=main"))),
        ),
    ] {
        assert!(codes(&image).contains(&code), "{code}: {:?}", codes(&image));
    }
    let addon = |build: fn(Builder) -> Builder| {
        image(
            &build(Builder::new(
                Stub::parse(&vector("addon-stub.efi")).unwrap(),
            ))
            .plan()
            .unwrap(),
        )
    };
    assert!(codes(&addon(|addon| addon.cmdline("x"))).is_empty());
    assert_eq!(codes(&addon(|addon| addon.uname("x"))), ["addon-empty"]);
    assert_eq!(
        codes(&addon(|addon| addon.cmdline("x").splash("x"))),
        ["addon-ignored", "splash-invalid"]
    );
}

#[test]
fn contents_as_they_should_be_are_no_findings() {
    let mut tree = b"\xd0\x0d\xfe\xed".to_vec();
    tree.extend_from_slice(&48_u32.to_be_bytes());
    tree.resize(48, 0);
    let hwids = uki::HardwareIds::new().to_bytes().unwrap();
    let firmware = uki::FirmwareBundle::new("id", b"capsule")
        .to_bytes()
        .unwrap();
    let built = builder()
        .cmdline_verbatim(&b"quiet\0\0"[..])
        .os_release("ID=x")
        .initrd(&b"\0\0\0\0\x28\xb5\x2f\xfd"[..])
        .ucode("070701")
        .dtb(tree.clone())
        .dtbauto(tree)
        .hwids(hwids)
        .efifw(firmware)
        .pcrpkey(vector("pcr-key.pub.pem"))
        .pcrsig("\n{}");
    let image = image(&built.plan().unwrap());
    let findings = lint(&Uki::parse(&image).unwrap()).unwrap();
    assert_eq!(findings, []);
}

#[test]
fn a_passed_command_line_is_ignored_where_the_image_has_its_own() {
    let sample = sample();
    let uki = Uki::parse(&sample).unwrap();
    let profiles = |passed| -> Vec<Option<usize>> {
        let found = uki::lint_passed_cmdline(&uki, passed);
        found.iter().map(|found| found.profile).collect()
    };
    assert_eq!(profiles("debug"), [Some(0), Some(1)]);
    assert_eq!(profiles("@1 debug"), [Some(1)]);
    assert_eq!(profiles("@1"), []);
    assert_eq!(profiles("@x debug"), [Some(0), Some(1)]);
    assert_eq!(profiles(" "), []);
    assert_eq!(
        uki::lint_passed_cmdline(&uki, "@0 x")[0].to_string(),
        "cmdline-ignored: profile 0: .cmdline is there, so under Secure Boot a command line that is passed in is ignored"
    );
}

fn edited(image: &[u8], change: impl FnOnce(Edit) -> Edit) -> Vec<u8> {
    image_of(change(Edit::new(image).unwrap()))
}

#[test]
fn types_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Uki<&[u8]>>();
    check::<Uki<uki::Stream<std::fs::File>>>();
    check::<uki::Plan>();
    check::<Builder>();
    check::<Edit>();
    check::<uki::Part>();
    check::<uki::Source>();
    check::<Error>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_what_is_read(
        cmdline in "[ -~]{0,40}", initrd in proptest::collection::vec(any::<u8>(), 0..3000), osrel in "[ -~\n]{1,300}",
        profiles in proptest::collection::vec("[a-z]{1,8}", 0..12),
    ) {
        let built = profiles.iter().fold(
            builder().cmdline_verbatim(cmdline.as_str()).initrd(initrd.clone()).os_release(osrel.as_str()),
            |builder, id| builder.profile(Profile::new(format!("ID={id}"))),
        );
        let image = image(&built.plan().unwrap());
        let uki = Uki::parse(&image).unwrap();
        let content = |name| uki.base().section(&name).map(|section| uki.content(section).to_vec()).unwrap_or_default();
        prop_assert_eq!(content(SectionName::CMDLINE), cmdline.into_bytes());
        prop_assert_eq!(content(SectionName::INITRD), initrd);
        prop_assert_eq!(content(SectionName::OSREL), osrel.into_bytes());
        prop_assert_eq!(uki.profiles().len(), profiles.len().max(1));
        prop_assert_eq!(image_of(Edit::new(image.clone()).unwrap()), image);
    }

    #[test]
    fn names_are_what_they_display(name in "[!-~]{1,8}") {
        prop_assume!(!name.contains(['\\', '\'', '"']));
        let parsed: SectionName = name.parse().unwrap();
        prop_assert_eq!(parsed.to_string(), name);
    }
}
