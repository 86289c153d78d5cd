//! Everything that is known about the boot of a file, and the plan of its measurements.

use std::cell::RefCell;
use std::io::{self, Read};

use pcr::{Bank, BootPlan, HardwareChoice, Loader, Pcr11, PhasePath};
use uki::{ProfileView, SectionName, Stream, Uki};

use crate::cli::BootOptions;
use crate::companions::Companions;
use crate::contents::{self, Contents, Part};
use crate::{Error, assets, medium};

/// The boot of a UKI or of a medium, with all that is measured on the way.
pub(crate) struct PlannedBoot<'a> {
    contents: &'a Contents,
    options: &'a BootOptions,
    uki: Uki<Stream<Part>>,
    /// The sections, hashed.
    pub(crate) boot: Pcr11,
    /// The image, hashed in the same pass.
    pub(crate) image: authenticode::Image,
    /// The profile that is started.
    pub(crate) profile: usize,
    /// What the machine picks.
    pub(crate) hardware: HardwareChoice,
    /// The loader's version text.
    pub(crate) loader: Option<String>,
    /// The loader's image, if there is a loader.
    pub(crate) loader_image: Option<authenticode::Image>,
    /// What lies beside the UKI.
    pub(crate) companions: Companions,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
}

impl<'a> PlannedBoot<'a> {
    /// Reads everything; the UKI once.
    ///
    /// # Errors
    /// [`Error::Input`] for files that are not what they should be, [`Error::Usage`] for a profile or hardware choice
    /// that the UKI does not have.
    pub(crate) fn read(
        contents: &'a Contents,
        options: &'a BootOptions,
        banks: &[Bank],
    ) -> Result<Self, Error> {
        let uki = contents.uki()?;
        let (boot, image) = contents.hashed(&uki, banks)?;
        let given = options.loader.as_deref().map(assets::read).transpose()?;
        let loader = given.as_ref().or(contents.loader.as_ref());
        let version = loader
            .map(|image| medium::loader_version_text(image).unwrap_or_else(|| "unknown".into()));
        let loader_image = match &given {
            Some(bytes) => Some(
                contents::image(bytes)
                    .map_err(|error| Error::step("hash the boot loader", error))?,
            ),
            None => contents.loader_image()?,
        };
        let mut notes = contents.notes.clone();
        let ignored = contents.entry.iter().flat_map(|entry| &entry.ignored);
        notes.extend(ignored.map(|key| format!("the boot entry's {key} is not predicted")));
        let companions = contents.companions()?;
        let companions = companions.with_files(&options.addon, &options.credential)?;
        notes.extend(companions.notes());
        let profile = profile_index(&uki, contents, options)?;
        let step = |error: pcr::Error| Error::step("predict the registers", error);
        let choices = boot.profile(profile).map_err(step)?.hardware();
        let hardware = match &options.hardware {
            None => HardwareChoice::NONE,
            Some(wanted) => choices
                .iter()
                .copied()
                .find(|choice| choice.to_string() == *wanted)
                .ok_or_else(|| {
                    let names: Vec<String> = choices.iter().map(ToString::to_string).collect();
                    let problem = format!("'{wanted}' is none of: {}", names.join(", "));
                    Error::usage("--hardware", problem)
                })?,
        };
        if choices.len() > 1 && options.hardware.is_none() {
            notes.push(
                "the UKI has device trees or firmware that the machine picks: values are for a machine that picks none, \
                 --hardware names another choice"
                    .into(),
            );
        }
        Ok(Self {
            contents,
            options,
            uki,
            boot,
            image,
            profile,
            hardware,
            loader: version,
            loader_image,
            companions,
            notes,
        })
    }

    /// The stub and its version.
    pub(crate) fn stub(&self) -> String {
        let stub = self.uki.stub();
        format!("{} {}", stub.name(), stub.version())
            .trim()
            .to_owned()
    }

    /// Leaves out the addons that firmware refuses; without keys, those that are not signed at all.
    pub(crate) fn refuse_addons(&mut self, is_started: impl Fn(&str) -> Option<bool>) {
        if self.options.secure_boot_off {
            return;
        }
        let notes = self
            .companions
            .without_refused(|addon| is_started(&addon.name).unwrap_or_else(|| addon.is_signed()));
        self.notes.extend(notes);
    }

    /// The plan as the stub leaves the registers, and its notes.
    ///
    /// # Errors
    /// [`Error::Step`], read errors.
    pub(crate) fn plan(&self) -> Result<BootPlan, Error> {
        let view = self.view();
        let (boot, contents) = (&self.boot, self.contents);
        let section = |name: &SectionName| match view.section(name) {
            Some(section) => read_section(&self.uki, section)
                .map_err(|source| Error::io("read", &contents.path, source)),
            None => Ok(Vec::new()),
        };
        let ucode = section(&SectionName::UCODE)?;
        let uki_digests = contents::digests(&self.image)?;
        let loader_digests = match &self.loader_image {
            Some(image) => contents::digests(image)?,
            None => Vec::new(),
        };
        let kernel_digests = if self.options.secure_boot_off {
            // A kernel that is no EFI image, or one whose digest tools disagree about, has no predictable measurement.
            let kernel = contents::image(&section(&SectionName::LINUX)?).ok();
            let digests = kernel.as_ref().map(contents::digests);
            digests.transpose()?.unwrap_or_default()
        } else {
            Vec::new()
        };
        let gpt = self.gpt();
        let failed = RefCell::new(None);
        let read_initrd = |sink: &mut dyn FnMut(&[u8])| {
            let Some(section) = view.section(&SectionName::INITRD) else {
                return;
            };
            let read = in_pieces(&mut self.uki.reader(section), sink);
            if let Err(error) = read {
                *failed.borrow_mut() = Some(error);
            }
        };
        let mut plan = BootPlan::builder(boot)
            .profile(self.profile)
            .hardware(self.hardware)
            .secure_boot(!self.options.secure_boot_off)
            .uki_image(&uki_digests)
            .kernel_image(&kernel_digests)
            .phase(PhasePath::stub());
        plan = match view.section(&SectionName::INITRD) {
            Some(_) => plan.read_initrd(&ucode, &read_initrd),
            None => plan.embedded_initrds(&ucode, &[]),
        };
        if let Some(text) = &self.loader {
            plan = plan
                .loader(Loader::from_version(text))
                .loader_image(&loader_digests)
                .gpt_event(&gpt);
            if let Some(conf) = &contents.loader_conf {
                plan = plan.loader_conf(conf);
            }
        }
        let entry_options = contents
            .entry
            .as_ref()
            .and_then(|entry| entry.options.as_deref());
        if let Some(text) = self.options.passed_cmdline.as_deref().or(entry_options) {
            plan = plan.passed_options(text);
        }
        let plan = self.companions.plan(plan).build();
        let plan = plan.map_err(|error| Error::step("predict the registers", error))?;
        match failed.into_inner() {
            Some(source) => Err(Error::io("read", &contents.path, source)),
            None => Ok(plan),
        }
    }

    /// The sections that the stub sees.
    fn view(&self) -> ProfileView<'_> {
        let profiles = self.uki.profiles();
        let chosen = profiles.into_iter().nth(self.profile);
        chosen
            .filter(|_| self.boot.dialect().has_profiles())
            .unwrap_or_else(|| self.uki.base())
    }

    /// What firmware measures of the partition table: of disks, not of CDs.
    fn gpt(&self) -> Vec<u8> {
        let start = &self.contents.start;
        let is_cd = start
            .get(0x8001..)
            .is_some_and(|rest| rest.starts_with(b"CD001"));
        if is_cd && !self.options.usb {
            return Vec::new();
        }
        let of_sectors = |len| pcr::gpt_event_data(start, len);
        of_sectors(512)
            .or_else(|| of_sectors(4096))
            .unwrap_or_default()
    }
}

/// The profile that is asked for by number, or that `loader.conf` asks for by its id.
fn profile_index(
    uki: &Uki<Stream<Part>>,
    contents: &Contents,
    options: &BootOptions,
) -> Result<usize, Error> {
    if let Some(index) = options.uki_profile {
        return Ok(usize::try_from(index).unwrap_or(usize::MAX));
    }
    let wanted = contents
        .entry
        .as_ref()
        .and_then(|entry| entry.profile.as_deref());
    let Some(wanted) = wanted else {
        return Ok(0);
    };
    let mut profiles = uki.profiles().into_iter();
    let found = profiles.position(|profile| {
        let section = profile.section(&SectionName::PROFILE);
        let text = section.and_then(|section| uki.text(section).ok());
        let text = text.map(|text| uki::EnvText::parse(text.as_bytes()));
        text.as_ref()
            .and_then(|text| text.get("ID"))
            .is_some_and(|id| id.eq_ignore_ascii_case(wanted))
    });
    let number = wanted.parse().ok();
    found.or(number).ok_or_else(|| {
        let problem =
            format!("the boot entry asks for profile {wanted}, which the UKI does not have");
        Error::input("UKI", &contents.path, problem)
    })
}

fn read_section(uki: &Uki<Stream<Part>>, section: &uki::Section) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Zeros that the loader adds are measured too, but a section is never mostly zeros.
    let limit = section.virtual_len().min(1 << 30);
    uki.reader(section).take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Hands all bytes of a reader to the sink.
pub(crate) fn in_pieces(reader: &mut impl Read, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            len => sink(buffer.get(..len).unwrap_or_default()),
        }
    }
}
