//! Contents of sections that have a format.

use alloc::vec::Vec;

use super::{Findings, MAX_TEXT};
use crate::read_at::copy;
use crate::splash::check_splash_head;
use crate::{
    Check, Compression, Error, FirmwareBundle, HardwareIds, ProfileView, ReadAt, Section,
    SectionName, Uki,
};

/// What the formats with a header are told by.
const HEAD_LEN: u64 = 64;

impl Findings {
    pub(super) fn contents<S: ReadAt>(
        &mut self,
        uki: &Uki<S>,
        profile: &ProfileView<'_>,
    ) -> Result<(), Error> {
        let is_first = profile.index().is_none_or(|index| index == 0);
        for name in SectionName::CANONICAL {
            // What profiles have in common is looked at once. Of names that may repeat, so many are enough.
            for section in profile.candidates(&name).take(1024) {
                if is_first || profile.owns(section) {
                    self.content(uki, section, profile.index())?;
                }
                if !name.may_repeat() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn content<S: ReadAt>(
        &mut self,
        uki: &Uki<S>,
        section: &Section,
        profile: Option<usize>,
    ) -> Result<(), Error> {
        use SectionName as Name;
        let name = section.name;
        let is = |other: &Name| name.same(other);
        let check = if is(&Name::CMDLINE) {
            let text = self.start_of(uki, section, MAX_TEXT)?;
            let end = text.iter().position(|byte| *byte == 0);
            let cut = text.get(end.unwrap_or(text.len())..).unwrap_or_default();
            cut.iter()
                .any(|byte| *byte != 0)
                .then_some(Check::CmdlineCut)
        } else if is(&Name::PCRPKEY) {
            let text = self.start_of(uki, section, HEAD_LEN)?;
            let is_key = text.starts_with(b"-----BEGIN PUBLIC KEY-----")
                || text.starts_with(b"-----BEGIN RSA PUBLIC KEY-----");
            (!is_key).then_some(Check::PcrpkeyInvalid)
        } else if is(&Name::PCRSIG) {
            let text = self.start_of(uki, section, HEAD_LEN)?;
            let is_object = text.trim_ascii_start().starts_with(b"{");
            (!is_object).then_some(Check::PcrsigInvalid)
        } else if is(&Name::SPLASH) {
            let head = self.start_of(uki, section, HEAD_LEN)?;
            check_splash_head(&head, section.virtual_len())
                .is_err()
                .then_some(Check::SplashInvalid)
        } else if is(&Name::INITRD) {
            let head = self.start_of(uki, section, 1024)?;
            (!is_ramdisk(&head)).then_some(Check::InitrdUnknown)
        } else if is(&Name::UCODE) {
            let head = self.start_of(uki, section, HEAD_LEN)?;
            (!head.starts_with(b"070701")).then_some(Check::UcodeInvalid)
        } else if is(&Name::DTB) || is(&Name::DTBAUTO) {
            let head = self.start_of(uki, section, 8)?;
            let is_tree = head
                .strip_prefix(b"\xd0\x0d\xfe\xed")
                .and_then(|rest| rest.first_chunk())
                .is_some_and(|len| {
                    (40..=section.virtual_len()).contains(&u32::from_be_bytes(*len).into())
                });
            (!is_tree).then_some(Check::DeviceTreeInvalid)
        } else if is(&Name::HWIDS) {
            let table = self.start_of(uki, section, u64::MAX)?;
            (table.len() as u64 == section.virtual_len() && HardwareIds::parse(&table).is_err())
                .then_some(Check::HwidsInvalid)
        } else if is(&Name::EFIFW) {
            let bundle = self.start_of(uki, section, u64::MAX)?;
            (bundle.len() as u64 == section.virtual_len()
                && FirmwareBundle::parse(&bundle).is_err())
            .then_some(Check::EfifwInvalid)
        } else {
            None
        };
        if let Some(check) = check {
            self.add(check, Some(name), profile);
        }
        Ok(())
    }

    fn start_of<S: ReadAt>(
        &mut self,
        uki: &Uki<S>,
        section: &Section,
        len: u64,
    ) -> Result<Vec<u8>, Error> {
        let len = len.min(section.file_len());
        let Some(left) = self.copy_budget.checked_sub(len) else {
            return Ok(Vec::new());
        };
        self.copy_budget = left;
        copy(&uki.source, "section", section.raw_offset(), len)
    }
}

/// The kernel passes over NULs in front of an archive.
fn is_ramdisk(head: &[u8]) -> bool {
    let start = head.iter().position(|byte| *byte != 0);
    let head = head.get(start.unwrap_or(head.len())..).unwrap_or_default();
    head.is_empty()
        || head.starts_with(b"070701")
        || head.starts_with(b"070702")
        || Compression::of_magic(head).is_some()
}
