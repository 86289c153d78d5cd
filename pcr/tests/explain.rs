//! Naming the cause of a mismatch, or saying that none is known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

#[path = "support/sections.rs"]
mod sections;

use pcr::{
    Bank, BootPlan, Dialect, Digest, Event, EventLog, EventType, HardwareChoice, Pcr11, Pcr11Cause,
    Pcr11Explanation, PhasePath, PlanExplanation, Register, TextEnding,
};
use sections::{observe, sections as sections_of};

const BANK: Bank = Bank::Sha256;
const NONE: HardwareChoice = HardwareChoice::NONE;

fn uki() -> Pcr11 {
    observe("v2-basic", Dialect::Systemd257, &[BANK])
}

/// The register of these sections at a phase.
fn value(sections: &[(&str, &[u8])], phase: &str) -> Digest {
    let mut value = Digest::zero(BANK);
    for (name, content) in sections {
        value = value
            .extended(&BANK.hash(format!("{name}\0").as_bytes()))
            .extended(&BANK.hash(content));
    }
    PhasePath::new(phase).extend(value)
}

fn explain(boot: &Pcr11, measured: Digest) -> Pcr11Explanation {
    let profile = boot.default_profile();
    profile
        .explain(NONE, &PhasePath::initrd(), measured)
        .unwrap()
}

fn because(cause: Pcr11Cause) -> Pcr11Explanation {
    Pcr11Explanation::Because([cause].into())
}

/// v2 in measuring order.
fn ordered() -> Vec<(String, Vec<u8>)> {
    let sections = sections_of("v2-basic");
    Dialect::Systemd257
        .measured_sections()
        .filter_map(|name| sections.iter().find(|(known, _)| known == name).cloned())
        .collect()
}

fn borrowed(sections: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    sections
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()))
        .collect()
}

#[test]
fn the_predicted_value_needs_no_cause() {
    let sections = ordered();
    let measured = value(&borrowed(&sections), "enter-initrd");
    let why = explain(&uki(), measured);
    assert_eq!(why, Pcr11Explanation::AsPredicted);
    assert_eq!(why.to_string(), "as predicted");
}

#[test]
fn registers_that_nobody_extended_are_told_apart() {
    assert_eq!(
        explain(&uki(), Digest::zero(BANK)),
        because(Pcr11Cause::NotMeasured)
    );
    assert_eq!(
        explain(&uki(), Digest::ones(BANK)),
        because(Pcr11Cause::Capped)
    );
}

#[test]
fn a_missing_phase_is_named() {
    let sections = ordered();
    for found in [
        "",
        "enter-initrd:leave-initrd",
        "sysinit:ready",
        "ready:ready",
        "enter-initrd:enter-initrd",
    ] {
        let why = explain(&uki(), value(&borrowed(&sections), found));
        let expected = because(Pcr11Cause::Phase {
            predicted: PhasePath::initrd(),
            found: PhasePath::new(found),
        });
        assert_eq!(why, expected);
    }
    let why = explain(&uki(), value(&borrowed(&sections), ""));
    assert_eq!(
        why.to_string(),
        "the boot stands at the stub's end, not at enter-initrd"
    );
}

#[test]
fn another_stub_is_named() {
    let boot = uki();
    let old = boot.clone().with_dialect(Dialect::Systemd252);
    let measured = old.registers(&[PhasePath::initrd()]).unwrap()[0].value;
    assert_eq!(
        explain(&boot, measured),
        because(Pcr11Cause::Dialect {
            predicted: Dialect::Systemd257,
            found: Dialect::Systemd252
        })
    );
}

#[test]
fn one_to_four_missing_sections_are_named() {
    let sections = ordered();
    for missing in [
        &[".osrel"][..],
        &[".cmdline", ".sbat"],
        &[".osrel", ".initrd", ".pcrpkey", ".uname"],
    ] {
        let mut fewer = sections.clone();
        fewer.retain(|(name, _)| !missing.contains(&name.as_str()));
        let Pcr11Explanation::Because(mut causes) =
            explain(&uki(), value(&borrowed(&fewer), "enter-initrd"))
        else {
            panic!("{missing:?}");
        };
        causes.sort();
        let mut names: Vec<String> = causes.iter().map(ToString::to_string).collect();
        names.sort();
        let mut expected: Vec<String> = missing
            .iter()
            .map(|name| format!("{name} was not measured"))
            .collect();
        expected.sort();
        assert_eq!(names, expected);
    }
}

#[test]
fn another_profile_or_hardware_choice_is_named() {
    let mut boot = uki();
    boot.observe((Some(0), ".profile"), b"ID=main");
    boot.observe((Some(1), ".profile"), b"ID=debug");
    boot.observe((None, ".dtbauto", 0), b"board one");
    let paths = [PhasePath::initrd()];
    let debug = &boot.profile(1).unwrap().registers(&paths).unwrap();
    assert_eq!(
        explain(&boot, debug[0].value),
        because(Pcr11Cause::Profile {
            predicted: 0,
            found: 1
        })
    );
    let board = boot.registers(&paths).unwrap()[1].value;
    assert_eq!(
        explain(&boot, board),
        because(Pcr11Cause::Hardware {
            predicted: NONE,
            found: HardwareChoice::dtbauto(0)
        })
    );
    assert_eq!(
        explain(&boot, debug[1].value).to_string(),
        "profile @1 was started, not @0; the machine picked hardware sections dtbauto 0, not none"
    );
}

#[test]
fn defects_of_tools_are_named() {
    let boot = observe("v7-everything", Dialect::Systemd257, &[BANK]);
    let profile = boot.default_profile();
    let hardware = HardwareChoice::dtbauto(0);
    let explain = |measured| {
        profile
            .explain(hardware, &PhasePath::stub(), measured)
            .unwrap()
    };
    // systemd-measure 257 swaps two sections; the specification has another order.
    let mut sections = Vec::new();
    let all = sections_of("v7-everything");
    for name in Dialect::Systemd257.measured_sections() {
        let content = all
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone();
        sections.push((name.to_string(), content));
    }
    let mut swapped = sections.clone();
    let count = swapped.len();
    (swapped[count - 2].1, swapped[count - 1].1) =
        (sections[count - 1].1.clone(), sections[count - 2].1.clone());
    assert_eq!(
        explain(value(&borrowed(&swapped), "")),
        because(Pcr11Cause::SwappedHardwareSections)
    );
    let specification = [
        ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".dtbauto",
        ".hwids", ".uname", ".sbat", ".pcrpkey", ".profile",
    ];
    let mut reordered = sections.clone();
    reordered.sort_by_key(|(name, _)| specification.iter().position(|known| known == name));
    assert_eq!(
        explain(value(&borrowed(&reordered), "")),
        because(Pcr11Cause::SpecificationOrder)
    );
    // Talos's tool measures empty files.
    let mut with_empty = ordered();
    with_empty.insert(4, (".splash".into(), Vec::new()));
    assert_eq!(
        self::explain(&uki(), value(&borrowed(&with_empty), "enter-initrd")),
        because(Pcr11Cause::Empty { section: ".splash" })
    );
}

#[test]
fn endings_of_texts_and_a_measured_pcrsig_are_named() {
    let mut sections = ordered();
    sections[2].1.push(0);
    assert_eq!(
        explain(&uki(), value(&borrowed(&sections), "enter-initrd")),
        because(Pcr11Cause::Ending {
            section: ".cmdline",
            ending: TextEnding::ExtraNul
        })
    );
    let mut boot = uki();
    boot.observe(".pcrsig", b"{}");
    let mut sections = ordered();
    let place = sections
        .iter()
        .position(|(name, _)| name == ".pcrpkey")
        .unwrap();
    sections.insert(place, (".pcrsig".into(), b"{}".to_vec()));
    assert_eq!(
        explain(&boot, value(&borrowed(&sections), "enter-initrd")),
        because(Pcr11Cause::Extra { section: ".pcrsig" })
    );
}

#[test]
fn other_content_has_no_known_cause_in_a_value_but_in_a_log() {
    let boot = uki();
    let mut sections = ordered();
    sections[3].1[100] ^= 1;
    let why = explain(&boot, value(&borrowed(&sections), "enter-initrd"));
    assert_eq!(why, Pcr11Explanation::NoKnownCause);
    assert_eq!(why.to_string(), "none of the known causes fits");

    let events = |sections: &[(String, Vec<u8>)]| -> Vec<Digest> {
        let parts = sections.iter().flat_map(|(name, content)| {
            [
                BANK.hash(format!("{name}\0").as_bytes()),
                BANK.hash(content),
            ]
        });
        parts.collect()
    };
    let profile = boot.default_profile();
    let explain = |measured: &[Digest]| {
        profile
            .explain_events(NONE, &PhasePath::initrd(), measured)
            .unwrap()
    };
    assert_eq!(explain(&events(&ordered())), []);
    assert_eq!(explain(&[]), [Pcr11Cause::NotMeasured]);
    assert_eq!(
        explain(&events(&sections)),
        [Pcr11Cause::Content { section: ".initrd" }]
    );
    let mut ending = ordered();
    ending[2].1.push(b'\n');
    assert_eq!(
        explain(&events(&ending)),
        [Pcr11Cause::Ending {
            section: ".cmdline",
            ending: TextEnding::ExtraLineEnd
        }]
    );
    let mut many = ordered();
    many.swap(1, 2);
    many.remove(4);
    many.push((".ucode".into(), b"x".to_vec()));
    let mut measured = events(&many);
    measured.push(BANK.hash(b"sysinit"));
    measured.push(BANK.hash(b"strange"));
    assert_eq!(
        explain(&measured),
        [
            Pcr11Cause::UnknownEvent { index: 15 },
            Pcr11Cause::Missing { section: ".uname" },
            Pcr11Cause::Extra { section: ".ucode" },
            Pcr11Cause::Order,
            Pcr11Cause::Phase {
                predicted: PhasePath::initrd(),
                found: PhasePath::new("sysinit")
            },
        ]
    );
}

#[test]
fn a_log_is_compared_with_a_plan_event_by_event() {
    let boot = uki();
    let planned = BootPlan::builder(&boot)
        .passed_options("quiet")
        .secure_boot(false)
        .build()
        .unwrap();
    let mut log = EventLog::crypto_agile(&[BANK]);
    for event in planned
        .events()
        .iter()
        .filter(|event| event.register() == Register::KERNEL_BOOT)
    {
        let digest = *event.digest(BANK).unwrap();
        log.push(Event::new(
            event.register(),
            event.event_type(),
            &[digest],
            event.data(),
        ))
        .unwrap();
    }
    let text = |text: &str| {
        text.encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let options = text("quiet debug");
    log.push(Event::hashed(
        Register::KERNEL_CONFIG,
        EventType::IPL,
        &[BANK],
        &options,
    ))
    .unwrap();
    let differences: Vec<String> = planned
        .compare(&log)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        differences,
        [
            "PCR 12: predicted but not measured: passed command line",
            "PCR 12: measured but not predicted: quiet debug",
        ]
    );
}

/// A minimal PE head that says how large it is in memory.
fn kernel(size_of_image: u32) -> Vec<u8> {
    let mut head = vec![0; 700];
    head[..2].copy_from_slice(b"MZ");
    head[0x3c] = 0x80;
    head[0x80..0x84].copy_from_slice(b"PE\0\0");
    head[0xd0..0xd4].copy_from_slice(&size_of_image.to_le_bytes());
    head
}

/// Each cause by a UKI that was really altered in this way, observed as a stub or tool would see it.
#[test]
fn sections_taken_wrongly_are_named() {
    let kernel = kernel(5000);
    let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    boot.observe(".linux", &kernel);
    boot.observe(".cmdline", b"  quiet\tsplash \n");
    boot.observe((None, ".cmdline", 1), b"second");
    boot.observe(".initrd", &[7; 1000]);
    boot.observe((Some(0), ".profile"), b"ID=main\n");
    boot.observe((Some(1), ".profile"), b"ID=other\n");
    boot.observe((Some(1), ".cmdline"), b"other");
    let padded = |content: &[u8], len: usize| {
        let mut content = content.to_vec();
        content.resize(len, 0);
        content
    };
    let cmdline: &[u8] = b"  quiet\tsplash \n";
    let register = |bank: Bank, linux: &[u8], cmdline: &[u8], initrd: &[u8], nul: &str| {
        let sections = [
            (".linux", linux),
            (".cmdline", cmdline),
            (".initrd", initrd),
            (".profile", b"ID=main\n"),
        ];
        let mut value = Digest::zero(bank);
        for (name, content) in sections {
            value = value
                .extended(&bank.hash(format!("{name}{nul}").as_bytes()))
                .extended(&bank.hash(content));
        }
        PhasePath::initrd().extend(value)
    };
    let initrd = [7; 1000];
    let candidate = [(".cmdline", &b"typed by hand"[..]), (".nothing", b"")];
    for bank in Bank::ALL {
        let value = |linux: &[u8], cmdline: &[u8], initrd: &[u8]| {
            register(bank, linux, cmdline, initrd, "\0")
        };
        for (measured, expected) in [
            (value(&kernel, cmdline, &initrd), "as predicted"),
            (
                value(&padded(&kernel, 5000), cmdline, &initrd),
                ".linux was measured with zeros up to 5000 bytes",
            ),
            (
                value(&kernel, cmdline, &padded(&initrd, 1024)),
                ".initrd was measured with zeros up to 1024 bytes",
            ),
            (
                value(&kernel, &padded(cmdline, 4096), &initrd),
                ".cmdline was measured with zeros up to 4096 bytes",
            ),
            (
                value(&kernel, b"quiet splash", &initrd),
                ".cmdline was measured with its blanks tidied, as ukify does",
            ),
            (
                value(&kernel, b"second", &initrd),
                ".cmdline number 1 of the base was measured",
            ),
            (
                value(&kernel, b"other", &initrd),
                ".cmdline number 0 of profile @1 was measured",
            ),
            (
                value(&kernel, b"typed by hand", &initrd),
                ".cmdline has the other content that was given",
            ),
            (
                register(bank, &kernel, cmdline, &initrd, ""),
                "the names of the sections were hashed without their NUL",
            ),
            (
                value(&padded(&kernel, 5000), b"second", &initrd),
                ".cmdline number 1 of the base was measured; .linux was measured with zeros up to 5000 bytes",
            ),
            (
                value(&kernel, b"unheard of", &initrd),
                "none of the known causes fits",
            ),
        ] {
            let why = boot
                .default_profile()
                .explain_with(NONE, &PhasePath::initrd(), measured, &candidate)
                .unwrap();
            let mut parts: Vec<&str> = expected.split("; ").collect();
            let text = why.to_string();
            let mut found: Vec<&str> = text.split("; ").collect();
            parts.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, parts, "{bank}");
        }
    }
}

#[test]
fn an_event_log_tells_whole_boots_and_wrong_sections_apart() {
    let mut boot = uki();
    boot.observe((None, ".cmdline", 1), b"second");
    boot.observe((Some(0), ".profile"), b"ID=main");
    boot.observe((Some(1), ".profile"), b"ID=debug");
    boot.observe((None, ".dtbauto", 0), b"board one");
    let events = |boot: &Pcr11, profile: usize, hardware| -> Vec<Digest> {
        let events = boot.profile(profile).unwrap().events(hardware).unwrap();
        let digests = events.iter().map(|event| *event.digest(BANK).unwrap());
        digests.collect()
    };
    let explain = |measured: &[Digest]| -> String {
        let causes = boot
            .default_profile()
            .explain_events(NONE, &PhasePath::stub(), measured)
            .unwrap();
        let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
        causes.join("; ")
    };
    assert_eq!(explain(&events(&boot, 0, NONE)), "");
    assert_eq!(
        explain(&events(&boot, 1, NONE)),
        "profile @1 was started, not @0"
    );
    assert_eq!(
        explain(&events(&boot, 0, HardwareChoice::dtbauto(0))),
        "the machine picked hardware sections dtbauto 0, not none"
    );
    let old = boot.clone().with_dialect(Dialect::Systemd254);
    assert_eq!(
        explain(&events(&old, 0, NONE)),
        "systemd-stub 254 measured, the prediction is for systemd-stub 257"
    );
    let mut other = events(&boot, 0, NONE);
    other[5] = BANK.hash(b"second");
    assert_eq!(
        explain(&other),
        ".cmdline number 1 of the base was measured"
    );
    // A log that ends within a section: its content is not there.
    let cut = &events(&boot, 0, NONE)[..5];
    assert!(explain(cut).starts_with(".cmdline has other content; .initrd was not measured"));
}

#[test]
fn the_search_ends_soon_when_nothing_fits() {
    // As bad as it gets: many profiles and device trees, and every section there is.
    let mut boot = observe("v7-everything", Dialect::Systemd257, &[Bank::Sha512]);
    for profile in 0..256 {
        boot.observe((Some(profile), ".profile"), b"ID=x");
        boot.observe((Some(profile), ".cmdline"), &[0x41; 100]);
    }
    for number in 0..200 {
        boot.observe((None, ".dtbauto", number), &[0; 64]);
    }
    let profile = boot.default_profile();
    let begun = seconds_of_this_thread();
    let why = profile
        .explain(NONE, &PhasePath::initrd(), Bank::Sha512.hash(b"nothing"))
        .unwrap();
    assert_eq!(why, Pcr11Explanation::NoKnownCause);
    let taken = seconds_of_this_thread() - begun;
    assert!(taken < 30.0, "{taken} s");
}

/// What this thread has computed, however busy the machine is; 0 where the system does not tell.
fn seconds_of_this_thread() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    nanoseconds.unwrap_or(0.0) / 1e9
}

#[test]
fn registers_of_a_plan_are_explained() {
    let boot = uki();
    let image = [BANK.hash(b"an image")];
    let kernel = [BANK.hash(b"a kernel")];
    let plan = |kernel_is_measured: bool, options: Option<&str>| {
        let mut plan = BootPlan::builder(&boot)
            .secure_boot(!kernel_is_measured)
            .uki_image(&image)
            .kernel_image(&kernel)
            .local_file("a.cred", b"secret")
            .local_file("a.confext.raw", b"extension");
        if let Some(options) = options {
            plan = plan.passed_options(options);
        }
        plan.build().unwrap()
    };
    let (code, config) = (Register::BOOT_LOADER_CODE, Register::KERNEL_CONFIG);
    let off = plan(true, Some("quiet"));
    let measured = |plan: &BootPlan, register| plan.register(register, BANK).unwrap();
    let explain = |register, measured| off.explain(register, measured).to_string();
    assert_eq!(explain(config, measured(&off, config)), "as predicted");
    assert_eq!(
        explain(code, measured(&plan(false, None), code)),
        "predicted but not measured: kernel image"
    );
    assert_eq!(
        explain(config, measured(&plan(true, None), config)),
        "predicted but not measured: passed command line"
    );
    assert_eq!(
        explain(config, Digest::zero(BANK)),
        "nothing was measured into the register"
    );
    assert_eq!(
        explain(config, Digest::ones(BANK)),
        "the register is capped or its bank is switched off"
    );
    assert_eq!(
        explain(config, BANK.hash(b"something")),
        "none of the known causes fits"
    );
    let separated = measured(&off, config).extended(&BANK.hash(b"os-separator"));
    assert_eq!(
        explain(config, separated),
        "the running system has closed the register with os-separator"
    );
    let events: Vec<Digest> = off
        .events()
        .iter()
        .filter(|event| event.register() == config)
        .map(|event| *event.digest(BANK).unwrap())
        .collect();
    let after = |order: &[usize]| {
        let extend = |value: Digest, index: &usize| value.extended(&events[*index]);
        order.iter().fold(Digest::zero(BANK), extend)
    };
    assert_eq!(events.len(), 3);
    assert_eq!(
        explain(config, after(&[0, 0, 1, 2])),
        "measured twice: passed command line"
    );
    assert_eq!(
        explain(config, after(&[0, 2, 1])),
        "measured in the other order: Credentials initrd, Configuration extension initrd"
    );
    assert_eq!(
        explain(config, after(&[1])),
        "predicted but not measured: passed command line; \
         predicted but not measured: Configuration extension initrd"
    );
    assert_eq!(
        off.explain(Register::new(9).unwrap(), BANK.hash(b"x")),
        PlanExplanation::Undetermined
    );
}
