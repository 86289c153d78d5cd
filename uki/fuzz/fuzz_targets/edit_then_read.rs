//! What can be edited gives an image that can be read.
#![no_main]

use uki::{Edit, SectionName, Uki};

libfuzzer_sys::fuzz_target!(|image: &[u8]| {
    let edit = Edit::new(image).map(|edit| {
        let edit = edit.set(None, SectionName::CMDLINE, "other");
        match image.len() % 4 {
            0 => edit,
            1 => edit.add_profile(uki::Profile::new("ID=x").cmdline("y")),
            2 => edit.remove(None, SectionName::INITRD),
            _ => edit.remove_profile(0),
        }
    });
    let Ok(plan) = edit.and_then(Edit::plan) else { return };
    if plan.len() > 1 << 24 {
        return;
    }
    let mut edited = Vec::new();
    plan.write_to(&mut edited).expect("a plan over bytes can be written");
    let uki = Uki::parse(&edited).expect("what was written can be read");
    let cmdline = uki.base().section(&SectionName::CMDLINE).map(|section| uki.content(section));
    assert_eq!(cmdline, Some(&b"other"[..]));
});
