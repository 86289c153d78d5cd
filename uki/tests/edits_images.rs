//! Editing a finished image gives what building it anew would give.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "support/inputs.rs"]
mod support;

use support::{bare, builder, image, skip, vector};
use uki::{Builder, Edit, Error, Plan, Profile, SectionName, Uki};

const CMDLINE: SectionName = SectionName::CMDLINE;

fn edit(image: &[u8]) -> Edit {
    Edit::new(image).unwrap()
}

/// A builder with the synthetic kernel, a ramdisk and this command line.
fn with_cmdline(text: &str) -> Builder {
    builder().initrd(&[9; 700]).cmdline(text)
}

fn error(plan: Result<Plan, Error>) -> Error {
    plan.map(|plan| plan.len()).unwrap_err()
}

#[test]
fn without_changes_the_bytes_stay() {
    let before = image(&with_cmdline("a").plan().unwrap());
    assert_eq!(image(&edit(&before).plan().unwrap()), before);
}

#[test]
fn a_replaced_section_is_as_if_built_so_at_any_length() {
    let before = image(&with_cmdline("a").plan().unwrap());
    for text in [
        "b".to_owned(),
        String::new(),
        "c".repeat(512),
        "d".repeat(513),
        "e".repeat(5000),
    ] {
        let after = image(
            &edit(&before)
                .set(None, CMDLINE, text.as_str())
                .plan()
                .unwrap(),
        );
        let fresh = image(
            &builder()
                .initrd(&[9; 700])
                .cmdline_verbatim(text.as_str())
                .plan()
                .unwrap(),
        );
        assert!(after == fresh, "{}", text.len());
    }
}

#[test]
fn added_and_removed_sections_are_as_if_built_so() {
    let plain = image(&builder().plan().unwrap());
    let with = image(&builder().ucode(b"microcode").plan().unwrap());
    assert_eq!(
        image(
            &edit(&plain)
                .set(None, SectionName::UCODE, b"microcode")
                .plan()
                .unwrap()
        ),
        with
    );
    assert_eq!(
        image(&edit(&with).remove(None, SectionName::UCODE).plan().unwrap()),
        plain
    );
}

#[test]
fn added_and_removed_profiles_are_as_if_built_so() {
    let profile = |id: &str| Profile::new(format!("ID={id}")).cmdline(id);
    let two = image(
        &builder()
            .profile(profile("one"))
            .profile(profile("two"))
            .plan()
            .unwrap(),
    );
    let one = image(&builder().profile(profile("one")).plan().unwrap());
    assert_eq!(
        image(&edit(&one).add_profile(profile("two")).plan().unwrap()),
        two
    );
    assert_eq!(image(&edit(&two).remove_profile(1).plan().unwrap()), one);
    let changed = image(&edit(&two).set(Some(0), CMDLINE, "other").plan().unwrap());
    let uki = Uki::parse(&changed).unwrap();
    let cmdlines: Vec<_> = uki
        .profiles()
        .iter()
        .map(|view| uki.content(view.section(&CMDLINE).unwrap()).to_vec())
        .collect();
    assert_eq!(cmdlines, [b"other".to_vec(), b"two".to_vec()]);
}

#[test]
fn policies_and_their_key_are_exchanged_at_equal_and_other_length() {
    let built = |key: &'static str, signature: &'static str| {
        image(&builder().pcrpkey(key).pcrsig(signature).plan().unwrap())
    };
    let before = built("key one", "{1}");
    for (key, signature) in [("key two", "{2}"), ("a longer key", "{\"longer\": 3}")] {
        let edited = edit(&before).set(None, SectionName::PCRPKEY, key).set(
            None,
            SectionName::PCRSIG,
            signature,
        );
        assert_eq!(image(&edited.plan().unwrap()), built(key, signature));
    }
}

#[test]
fn new_policies_are_asked_for_when_all_else_has_passed() {
    // Here `.pcrsig` stands in front of the kernel, as no builder of ours puts it.
    let odd = bare()
        .linux(vector("kernel.efi"))
        .section(SectionName::PCRSIG, "{}")
        .section(SectionName::DTB, "late");
    let before = image(&odd.plan().unwrap());
    let plan = edit(&before).pcrsig_len(None, 4).plan().unwrap();
    assert_eq!(plan.sections().last().unwrap().name(), &SectionName::PCRSIG);
    let mut after = Vec::new();
    let mut seen = Vec::new();
    plan.write(
        &mut after,
        &mut seen,
        |seen, part| seen.extend(part.measured().map(|measured| measured.section.to_owned())),
        |seen, _| {
            assert!(seen.contains(&".dtb".to_owned()));
            Ok(b"[4]".to_vec())
        },
    )
    .unwrap();
    let uki = Uki::parse(&after).unwrap();
    assert_eq!(
        uki.content(uki.base().section(&SectionName::PCRSIG).unwrap()),
        b"[4]\n"
    );
}

#[test]
fn a_larger_sbat_leaves_the_stub_and_comes_last_in_the_base() {
    let before = image(&builder().plan().unwrap());
    let large = "x".repeat(600);
    let after = image(
        &edit(&before)
            .set(None, SectionName::SBAT, large.as_str())
            .plan()
            .unwrap(),
    );
    let uki = Uki::parse(&after).unwrap();
    let sbat: Vec<_> = uki
        .sections()
        .iter()
        .filter(|section| section.name() == &SectionName::SBAT)
        .collect();
    assert_eq!((sbat.len(), sbat[0].index()), (1, uki.sections().len() - 1));
    assert_eq!(uki.content(sbat[0]), large.as_bytes());
}

#[test]
fn refuses_what_is_not_there_and_what_must_stay() {
    let before = image(&builder().profile(Profile::new("ID=a")).plan().unwrap());
    let dtb = SectionName::DTB;
    let text = SectionName::new(".text").unwrap();
    let kernel = vector("kernel.efi");
    for (plan, message) in [
        (
            edit(&before).remove(None, dtb).plan(),
            "no section .dtb in the base",
        ),
        (
            edit(&before).remove(Some(0), dtb).plan(),
            "no section .dtb in profile 0",
        ),
        (
            edit(&before).set(Some(1), dtb, "x").plan(),
            "no profile 1, the image has 1",
        ),
        (
            edit(&before).remove_profile(3).plan(),
            "no profile 3, the image has 1",
        ),
        (
            edit(&before).remove(None, text).plan(),
            "section .text cannot be moved: it is part of the stub",
        ),
        (
            edit(&before).set(None, text, "x").plan(),
            "section .text cannot be moved: it is part of the stub",
        ),
        (
            edit(&before)
                .add(None, SectionName::LINUX, &kernel[..])
                .plan(),
            "section .linux exists twice in the base",
        ),
        (
            edit(&before).set(None, SectionName::PROFILE, "x").plan(),
            "section .profile cannot be here: profiles are added and removed as a whole",
        ),
        (
            edit(&before).pcrsig_len(None, 10).plan(),
            "section .pcrsig cannot be here: each profile needs its own policies",
        ),
        (
            edit(&before).set(None, SectionName::LINUX, "x").plan(),
            "not a kernel that a UEFI stub can start: a file that starts with [78, 00, 00, 00]",
        ),
    ] {
        assert_eq!(error(plan).to_string(), message);
    }
}

#[test]
fn refuses_data_that_belongs_to_no_section() {
    let mut before = image(&builder().plan().unwrap());
    let offset = before.len() as u64;
    before.extend_from_slice(b"overlay");
    let found = error(edit(&before).plan());
    assert!(
        matches!(found, Error::Overlay { offset: at, len: 7 } if at == offset),
        "{found}"
    );
}

#[test]
fn removes_the_signature_that_sbsign_has_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let before = image(&with_cmdline("a").plan().unwrap());
    std::fs::write(path("in"), &before).unwrap();
    let run = |program: &str, args: &[&str]| {
        std::process::Command::new(program)
            .args(args)
            .current_dir(dir.path())
            .output()
    };
    let made = run(
        "openssl",
        &[
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=t", "-keyout", "k",
            "-out", "c",
        ],
    );
    let signed = run(
        "sbsign",
        &["--key", "k", "--cert", "c", "--output", "out", "in"],
    );
    if made.is_err() || signed.is_err() {
        return skip(
            "removes_the_signature_that_sbsign_has_made",
            "openssl or sbsign",
        );
    }
    let signed = std::fs::read(path("out")).unwrap();
    assert!(Uki::parse(&signed).unwrap().certificates().is_some());
    assert!(image(&edit(&signed).plan().unwrap()) == before);
}
