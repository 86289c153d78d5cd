//! Puts the measurements of a boot in order.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::EventType;
use crate::bank::{Bank, Digest, Register};
use crate::boot_plan::event::utf16_with_nul;
use crate::boot_plan::firmware::{CALLING, EXIT_BOOT_SERVICES};
use crate::boot_plan::initrd::{self, Piece};
use crate::boot_plan::{BootPlan, BootPlanBuilder, Loader, PlanNote, PlannedEvent, command_line};
use crate::dialect::Dialect;
use crate::error::Error;
use crate::pcr11::Profile;

/// PCR 5: partition table and `loader.conf`.
const LOADER_CONFIG: Register = match Register::new(5) {
    Some(register) => register,
    None => Register::BOOT_LOADER_CODE,
};
/// PCR 9: what the kernel's EFI stub measures.
const KERNEL_INITRD: Register = match Register::new(9) {
    Some(register) => register,
    None => Register::BOOT_LOADER_CODE,
};

const TAG_LOADER_CONF: u32 = 0xf5bc_582a;
const TAG_PROFILE: u32 = 0x13ae_d6db;
const TAG_KERNEL_OPTIONS: u32 = 0x8f3b_22ed;
const TAG_KERNEL_INITRD: u32 = 0x8f3b_22ec;

/// Makes the plan.
pub(super) fn plan(inputs: &BootPlanBuilder<'_>) -> Result<BootPlan, Error> {
    let profile = inputs.uki.profile(inputs.profile)?;
    let mut boot = Boot {
        inputs,
        profile,
        generation: inputs.uki.dialect().generation(),
        banks: inputs.uki.banks(),
        events: Vec::new(),
        notes: Vec::new(),
    };
    if inputs.uki.dialect() == Dialect::Unknown {
        boot.notes.push(PlanNote::UnknownStub);
    }
    boot.firmware()?;
    let options = boot.loader()?;
    boot.stub(options)?;
    boot.phases();
    let undetermined: Vec<Register> = boot
        .notes
        .iter()
        .filter_map(|note| match note {
            PlanNote::Undetermined { register, .. } => Some(*register),
            _ => None,
        })
        .collect();
    let known = [
        Register::BOOT_LOADER_CODE,
        LOADER_CONFIG,
        KERNEL_INITRD,
        Register::KERNEL_BOOT,
        Register::KERNEL_CONFIG,
        Register::SYSEXTS,
    ];
    Ok(BootPlan {
        dialect: inputs.uki.dialect(),
        banks: boot.banks.to_vec(),
        phase: inputs.phase.clone(),
        registers: known
            .into_iter()
            .filter(|register| !undetermined.contains(register))
            .collect(),
        events: boot.events,
        notes: boot.notes,
    })
}

/// A boot under way.
pub(super) struct Boot<'a> {
    pub(super) inputs: &'a BootPlanBuilder<'a>,
    pub(super) profile: Profile<'a>,
    pub(super) generation: u16,
    pub(super) banks: &'a [Bank],
    pub(super) events: Vec<PlannedEvent>,
    pub(super) notes: Vec<PlanNote>,
}

impl<'a> Boot<'a> {
    /// Up to the first image.
    fn firmware(&mut self) -> Result<(), Error> {
        let (action, separator) = (EventType::EFI_ACTION, EventType::SEPARATOR);
        let code = Register::BOOT_LOADER_CODE;
        self.measure(code, action, CALLING, "start of a boot option", CALLING);
        for register in [code, LOADER_CONFIG] {
            self.measure(register, separator, &[0; 4], "separator", &[0; 4]);
        }
        match self.inputs.gpt_event {
            Some([]) => {}
            Some(gpt) => {
                let what = "partition table";
                self.measure(LOADER_CONFIG, EventType::EFI_GPT_EVENT, gpt, what, gpt);
            }
            None => self.undetermined(LOADER_CONFIG, "the disk's partition table is not given"),
        }
        if self.inputs.loader.is_some() {
            self.image(
                self.inputs.loader_image,
                "boot loader",
                "the boot loader's digests are not given",
            )?;
        }
        Ok(())
    }

    /// The boot loader; the answer is what it passes to the UKI, without the profile.
    fn loader(&mut self) -> Result<Option<String>, Error> {
        let passed = self.inputs.options.map(ToOwned::to_owned);
        let Some(loader) = self.inputs.loader else {
            self.image(
                self.inputs.uki_image,
                "UKI",
                "the UKI's digests are not given",
            )?;
            return Ok(passed);
        };
        if loader == Loader::Unknown {
            let why = "the boot loader is unknown";
            self.undetermined(LOADER_CONFIG, why);
            self.undetermined(Register::BOOT_LOADER_CODE, why);
            self.undetermined(Register::KERNEL_CONFIG, why);
        }
        if let Some(content) = self
            .inputs
            .loader_conf
            .filter(|_| loader.generation() >= 255)
        {
            let event = self
                .event(LOADER_CONFIG, EventType::EVENT_TAG, content, "loader.conf")
                .with_tag(TAG_LOADER_CONF, "loader.conf");
            self.events.push(event);
        }
        self.image(
            self.inputs.uki_image,
            "UKI",
            "the UKI's digests are not given",
        )?;
        let own = || {
            let cmdline = command_line::text(self.profile.text(".cmdline")?);
            Some(command_line::cleaned(loader.generation(), &cmdline))
        };
        let options = match loader {
            Loader::SystemdBoot252 => passed.or_else(own),
            _ => passed,
        };
        let measured = match (self.inputs.profile, &options) {
            (0, options) => options.clone(),
            (profile, None) => Some(format!("@{profile}")),
            (profile, Some(options)) if options.is_empty() => Some(format!("@{profile}")),
            (profile, Some(options)) => Some(format!("@{profile} {options}")),
        };
        if let Some(measured) = measured {
            self.options(&measured, "options from the boot loader");
        }
        Ok(options)
    }

    /// The stub, and the kernel's own stub.
    fn stub(&mut self, options: Option<String>) -> Result<(), Error> {
        let addons = self.addons();
        for addon in &addons {
            self.image(addon.image, "addon", "an addon's digests are not given")?;
        }
        let uname = self.profile.text(".uname");
        let (used, unused): (Vec<_>, Vec<_>) = addons
            .into_iter()
            .partition(|addon| addon.check(self.generation, uname).is_ok());
        for addon in unused {
            let why = addon
                .check(self.generation, uname)
                .err()
                .unwrap_or_default();
            self.ignored(addon.file_name, why);
        }
        let used: Vec<_> = used
            .into_iter()
            .map(|addon| addon.for_generation(self.generation))
            .collect();
        if self.inputs.profile > 0 {
            let number = format!("{}", self.inputs.profile);
            let event = self
                .event(
                    Register::KERNEL_CONFIG,
                    EventType::EVENT_TAG,
                    &utf16_with_nul(&number),
                    "profile",
                )
                .with_tag(TAG_PROFILE, &number);
            self.events.push(event);
        }
        self.events
            .extend(self.profile.events(self.inputs.hardware)?);
        let mut cmdline = self.settled_command_line(options);
        self.addon_command_lines(&mut cmdline, &used);
        self.smbios(&mut cmdline);
        if self.generation >= 257 {
            self.device_trees(&used);
        }
        let pieces = self.initrds(&used);
        if self.generation < 257 {
            self.device_trees(&used);
        }
        self.kernel(&cmdline, &pieces)
    }

    /// The kernel: its image, what its EFI stub measures, and the end of the firmware's rule.
    fn kernel(&mut self, cmdline: &str, pieces: &[Piece<'_>]) -> Result<(), Error> {
        if !self.inputs.secure_boot && self.generation <= 257 {
            let why = "without Secure Boot this stub has the kernel measured, whose digests are not given";
            self.image(self.inputs.kernel_image, "kernel", why)?;
        }
        if cmdline.is_empty() {
            self.undetermined(KERNEL_INITRD, "the kernel gets no command line");
        } else {
            let event = self
                .event(
                    KERNEL_INITRD,
                    EventType::EVENT_TAG,
                    &utf16_with_nul(cmdline),
                    "kernel command line",
                )
                .with_data(ascii_tag(TAG_KERNEL_OPTIONS, "LOADED_IMAGE::LoadOptions"));
            self.events.push(event);
        }
        let has_section = |name| self.profile.section(name).is_some();
        if self.inputs.initrd.is_none() && (has_section(".initrd") || has_section(".ucode")) {
            self.undetermined(
                KERNEL_INITRD,
                "the contents of .ucode and .initrd are not given",
            );
        } else if let Some(digests) = initrd::whole(self.banks, pieces) {
            let event = PlannedEvent::new(KERNEL_INITRD, EventType::EVENT_TAG, digests, "initrd");
            self.events
                .push(event.with_data(ascii_tag(TAG_KERNEL_INITRD, "Linux initrd")));
        }
        if self.generation >= 258 {
            self.notes.push(PlanNote::Assumed {
                register: KERNEL_INITRD,
                why: "the stub is taken to add no console= of its own to the command line",
            });
        }
        for text in EXIT_BOOT_SERVICES {
            let what = "end of boot services";
            self.measure(LOADER_CONFIG, EventType::EFI_ACTION, text, what, text);
        }
        Ok(())
    }

    /// What userspace adds.
    fn phases(&mut self) {
        if self.inputs.os_separator {
            let word = b"os-separator";
            for register in [4, 5, 9, 12, 13].into_iter().filter_map(Register::new) {
                let event = self.event(register, EventType::IPL, word, "word os-separator");
                self.events.push(event.of_phase(word));
            }
        }
        for word in self.inputs.phase.words() {
            let what = format!("word {word}");
            let event = PlannedEvent::of(
                Register::KERNEL_BOOT,
                EventType::IPL,
                self.banks,
                word.as_bytes(),
                what,
            );
            self.events.push(event.of_phase(word.as_bytes()));
        }
    }

    /// A command line in PCR 12, with its final NUL.
    pub(super) fn options(&mut self, text: &str, what: &str) {
        let data = utf16_with_nul(text);
        self.measure(Register::KERNEL_CONFIG, EventType::IPL, &data, what, &data);
    }

    /// An image in PCR 4; without digests the register is unknown.
    fn image(
        &mut self,
        digests: &[Digest],
        what: &str,
        unknown: &'static str,
    ) -> Result<(), Error> {
        if digests.is_empty() {
            self.undetermined(Register::BOOT_LOADER_CODE, unknown);
            return Ok(());
        }
        let of = |bank: &Bank| {
            let digest = digests
                .iter()
                .find(|digest| digest.bank() == *bank)
                .copied();
            digest.ok_or_else(|| Error::MissingDigest {
                what: format!("the {what} image"),
                bank: *bank,
            })
        };
        let digests = self.banks.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        let event_type = EventType::EFI_BOOT_SERVICES_APPLICATION;
        let what = format!("{what} image");
        let event = PlannedEvent::new(Register::BOOT_LOADER_CODE, event_type, digests, what);
        self.events.push(event);
        Ok(())
    }

    pub(super) fn event(
        &self,
        register: Register,
        event_type: EventType,
        measured: &[u8],
        what: &str,
    ) -> PlannedEvent {
        PlannedEvent::of(register, event_type, self.banks, measured, what)
    }

    pub(super) fn measure(
        &mut self,
        register: Register,
        event_type: EventType,
        measured: &[u8],
        what: &str,
        data: &[u8],
    ) {
        let event = self.event(register, event_type, measured, what);
        self.events.push(event.with_data(data.to_vec()));
    }

    pub(super) fn undetermined(&mut self, register: Register, why: &'static str) {
        self.notes.push(PlanNote::Undetermined { register, why });
    }

    pub(super) fn ignored(&mut self, what: &str, why: &'static str) {
        self.notes.push(PlanNote::Ignored {
            what: what.to_owned(),
            why,
        });
    }
}

/// Event data of the kernel's EFI stub: tag, length, ASCII text with NUL.
fn ascii_tag(tag: u32, text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len().saturating_add(1)).unwrap_or(u32::MAX);
    let mut data = tag.to_le_bytes().to_vec();
    data.extend(len.to_le_bytes());
    data.extend(text.bytes().chain([0]));
    data
}
