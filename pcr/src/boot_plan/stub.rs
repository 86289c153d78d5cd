//! What the stub adds to the UKI: command lines, device trees, archives and initrds from outside.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::EventType;
use crate::bank::Register;
use crate::boot_plan::build::Boot;
use crate::boot_plan::cpio::Archive;
use crate::boot_plan::initrd::{self, Piece};
use crate::boot_plan::{Addon, PlannedEvent, command_line, has_suffix, is_file_name};

const TAG_DEVICETREE: u32 = 0x6c46_f751;
const TAG_UCODE: u32 = 0xdac0_8e1a;
const TAG_INITRD: u32 = 0x49df_fe0f;

impl<'a> Boot<'a> {
    /// The command line before addons.
    pub(super) fn settled_command_line(&mut self, options: Option<String>) -> String {
        let embedded = self.profile.section(".cmdline").is_some();
        let generation = self.generation;
        if let Some(options) = options {
            let locked = self.inputs.secure_boot
                && (embedded || (self.inputs.confidential && generation >= 254));
            if locked {
                self.ignored(
                    "the passed command line",
                    "Secure Boot is on and the UKI has its own",
                );
            } else if options.is_empty() || !command_line::is_printable(generation, &options) {
                self.ignored("the passed command line", "it is empty or not text");
            } else {
                let cleaned = command_line::cleaned(generation, &options);
                if generation < 257 || !cleaned.is_empty() {
                    self.options(&cleaned, "passed command line");
                    return cleaned;
                }
            }
        }
        let own = self.profile.text(".cmdline").map(command_line::text);
        command_line::cleaned(generation, &own.unwrap_or_default())
    }

    pub(super) fn addon_command_lines(&mut self, cmdline: &mut String, addons: &[Addon<'_>]) {
        let generation = self.generation;
        let joined = |addons: &mut dyn Iterator<Item = &Addon<'_>>| {
            let mut line = String::new();
            for addon in addons.filter(|addon| !addon.cmdline.is_empty()) {
                let text = command_line::text(addon.cmdline);
                let text = if generation >= 257 {
                    command_line::cleaned(generation, &text)
                } else {
                    text
                };
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&text);
            }
            command_line::cleaned(generation, &line)
        };
        let lines = if generation == 254 {
            [true, false]
                .map(|global| joined(&mut addons.iter().filter(|addon| addon.global == global)))
                .to_vec()
        } else {
            [joined(&mut addons.iter())].to_vec()
        };
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            self.options(&line, "command line of addons");
            command_line::append(cmdline, &line);
        }
    }

    pub(super) fn smbios(&mut self, cmdline: &mut String) {
        let Some(text) = self.inputs.smbios else {
            return;
        };
        if self.generation < 254 || self.inputs.confidential {
            return self.ignored("the SMBIOS command line", "this stub does not take it here");
        }
        let text = if self.generation >= 257 {
            command_line::cleaned(self.generation, text)
        } else {
            text.to_owned()
        };
        if !text.is_empty() {
            self.options(&text, "command line from SMBIOS");
            command_line::append(cmdline, &text);
        }
    }

    pub(super) fn device_trees(&mut self, addons: &[Addon<'_>]) {
        for addon in addons.iter().filter(|addon| !addon.dtb.is_empty()) {
            self.addon_blob(addon, addon.dtb, TAG_DEVICETREE, "device tree");
        }
    }

    /// Archives and initrd addons, measured; the answer is the initrd in the order it is handed over.
    pub(super) fn initrds(&mut self, addons: &[Addon<'a>]) -> Vec<Piece<'a>> {
        let local = &self.inputs.local_files;
        let is_sysext = |name: &str| {
            has_suffix(name, ".raw") && (self.generation < 256 || !has_suffix(name, ".confext.raw"))
        };
        let is_confext = |name: &str| self.generation >= 256 && has_suffix(name, ".confext.raw");
        let is_credential = |name: &str| has_suffix(name, ".cred");
        let pick = |files: &[(&'a str, &'a [u8])], wanted: &dyn Fn(&str) -> bool| {
            let picked = files.iter().copied();
            picked
                .filter(|(name, _)| is_file_name(name) && wanted(name))
                .collect::<Vec<_>>()
        };
        let global: &[(&str, &[u8])] = if self.generation >= 258 {
            &self.inputs.global_extensions
        } else {
            &[]
        };
        let config = Register::KERNEL_CONFIG;
        let archives = [
            (
                config,
                "Credentials initrd",
                Archive::credentials(".extra/credentials", pick(local, &is_credential)),
            ),
            (
                config,
                "Global credentials initrd",
                Archive::credentials(
                    ".extra/global_credentials",
                    pick(&self.inputs.global_credentials, &is_credential),
                ),
            ),
            (
                Register::SYSEXTS,
                "System extension initrd",
                Archive::public(".extra/sysext", pick(local, &is_sysext)),
            ),
            (
                Register::SYSEXTS,
                "Global system extension initrd",
                Archive::public(".extra/global_sysext", pick(global, &is_sysext)),
            ),
            (
                config,
                "Configuration extension initrd",
                Archive::public(".extra/confext", pick(local, &is_confext)),
            ),
            (
                config,
                "Global configuration extension initrd",
                Archive::public(".extra/global_confext", pick(global, &is_confext)),
            ),
        ];
        let unused = |files: &[(&str, &[u8])], wanted: &dyn Fn(&str) -> bool| {
            let ignored = files
                .iter()
                .filter(|(name, _)| !is_file_name(name) || !wanted(name));
            ignored
                .map(|(name, _)| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let is_extension = |name: &str| is_sysext(name) || is_confext(name);
        let mut ignored = unused(local, &|name| is_credential(name) || is_extension(name));
        ignored.extend(unused(&self.inputs.global_credentials, &is_credential));
        ignored.extend(unused(&self.inputs.global_extensions, &|name| {
            self.generation >= 258 && is_extension(name)
        }));
        for name in ignored {
            self.ignored(&name, "this stub picks up no such file there");
        }
        let mut generated = Vec::new();
        for (register, text, archive) in archives {
            if !archive.is_empty() {
                let digests = initrd::digests(self.banks, |sink| archive.write(sink));
                let event = PlannedEvent::new(register, EventType::IPL, digests, text);
                self.events.push(event.with_text(text));
            }
            generated.push(Piece::Archive(archive));
        }
        for addon in addons.iter().rev().filter(|addon| !addon.ucode.is_empty()) {
            self.addon_blob(addon, addon.ucode, TAG_UCODE, "microcode");
        }
        for addon in addons.iter().filter(|addon| !addon.initrd.is_empty()) {
            self.addon_blob(addon, addon.initrd, TAG_INITRD, "initrd");
        }
        let nothing = (&[][..], Piece::Bytes(&[]));
        let (ucode, initrd) = self.inputs.initrd.clone().unwrap_or(nothing);
        let mut pieces: Vec<Piece<'a>> = addons
            .iter()
            .rev()
            .map(|addon| Piece::Bytes(addon.ucode))
            .collect();
        pieces.push(Piece::Bytes(ucode));
        if self.generation >= 258 {
            pieces.push(Piece::Bytes(self.inputs.previous_initrd));
        }
        pieces.push(initrd);
        pieces.extend(generated);
        pieces.extend(self.embedded_files());
        pieces.extend(addons.iter().map(|addon| Piece::Bytes(addon.initrd)));
        pieces
    }

    /// Sections that the stub hands over as files.
    fn embedded_files(&self) -> Vec<Piece<'a>> {
        const FILES: [(&str, &str, u16); 4] = [
            (".pcrsig", "tpm2-pcr-signature.json", 252),
            (".pcrpkey", "tpm2-pcr-public-key.pem", 252),
            (".osrel", "os-release", 257),
            (".profile", "profile", 257),
        ];
        FILES
            .into_iter()
            .filter(|(.., since)| self.generation >= *since)
            .filter_map(|(section, file, _)| {
                let content = self.profile.text(section).filter(|text| !text.is_empty())?;
                Some(Piece::Archive(Archive::public(
                    ".extra",
                    [(file, content)].to_vec(),
                )))
            })
            .collect()
    }

    /// Files that the stub loads as addons: global ones first, each folder sorted.
    pub(super) fn addons(&mut self) -> Vec<Addon<'a>> {
        let (mut addons, others): (Vec<_>, Vec<_>) =
            self.inputs
                .addons
                .iter()
                .copied()
                .partition(|addon: &Addon<'a>| {
                    self.generation >= 254
                        && is_file_name(addon.file_name)
                        && addon.has_addon_name()
                });
        for addon in others {
            self.ignored(addon.file_name, "this stub loads no such addon");
        }
        addons.sort_by_key(|addon| (!addon.global, addon.file_name));
        addons
    }

    fn addon_blob(&mut self, addon: &Addon<'_>, blob: &[u8], tag: u32, what: &str) {
        let what = format!("{what} of {}", addon.file_name);
        let event = PlannedEvent::of(
            Register::KERNEL_CONFIG,
            EventType::EVENT_TAG,
            self.banks,
            blob,
            what,
        );
        self.events.push(event.with_tag(tag, addon.file_name));
    }
}
