//! `imager predict`: the registers that a boot will leave, and the events behind them.

use std::collections::BTreeMap;
use std::fs;

use pcr::{
    Addon, Bank, BootPlan, EventLog, Loader, Pcr7, PhasePath, Register, SecureBootVariables,
};
use serde::Serialize;
use serde_json::Value;
use uki::SectionName;

use crate::assets::read;
use crate::build_uki::{parse_banks, phase_paths};
use crate::cli::PredictOptions;
use crate::contents::{self, Contents};
use crate::progress::Progress;
use crate::variables::Variables;
use crate::{Error, medium};

/// Values by register, phase path (empty: what the stub leaves) and bank.
pub type Registers = BTreeMap<u8, BTreeMap<String, BTreeMap<String, String>>>;

/// What `--json` prints.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Prediction {
    /// systemd-stub and its version, as the image has it.
    pub stub: String,
    /// The boot loader likewise, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loader: Option<String>,
    /// The registers that are fully known.
    pub pcrs: Registers,
    /// The events behind them, in order.
    pub events: Vec<Value>,
    /// What is not determined and why.
    pub notes: Vec<String>,
}

/// Predicts.
///
/// # Errors
/// [`Error::Input`] for a file that does not boot, [`Error::Usage`] for options that contradict.
pub fn predict(options: &PredictOptions, progress: &Progress) -> Result<Prediction, Error> {
    let banks = if options.banks.is_empty() {
        Bank::ALL.to_vec()
    } else {
        parse_banks(&options.banks.join(","))?
    };
    let mut prediction = Prediction::default();
    let contents = options.file.as_deref().map(Contents::open).transpose()?;
    if let Some(contents) = &contents {
        registers(contents, options, &banks, &mut prediction, progress)?;
    }
    secure_boot(contents.as_ref(), options, &banks, &mut prediction)?;
    Ok(prediction)
}

fn registers(
    contents: &Contents,
    options: &PredictOptions,
    banks: &[Bank],
    prediction: &mut Prediction,
    progress: &Progress,
) -> Result<(), Error> {
    let step = |error: pcr::Error| Error::step("predict the registers", error);
    let uki = contents.uki()?;
    let boot = contents.pcr11(&uki, banks)?;
    if let Some(warning) = boot.dialect().warning() {
        progress.warning(format_args!("{}: {warning}", contents.path.display()));
        prediction.notes.push(warning.to_owned());
    }
    prediction.stub = format!("{} {}", uki.stub().name(), uki.stub().version())
        .trim()
        .to_owned();

    let given = options.loader.as_deref().map(read).transpose()?;
    let loader = given.as_ref().or(contents.loader.as_ref());
    let loader_version =
        loader.map(|image| medium::loader_version_text(image).unwrap_or_else(|| "unknown".into()));
    prediction.loader.clone_from(&loader_version);
    let loader_digests = match (&given, contents.loader_image()?) {
        (Some(bytes), _) => {
            let hashes =
                authenticode::ImageOptions::new().hashes(&authenticode::HashAlgorithm::ALL);
            let image = authenticode::Image::parse_with(bytes, &hashes)
                .map_err(|error| Error::step("hash the boot loader", error))?;
            contents::digests(&image)?
        }
        (None, Some(image)) => contents::digests(&image)?,
        (None, None) => Vec::new(),
    };
    let uki_digests = contents::digests(&contents.uki_image()?)?;
    let kernel_digests = if options.secure_boot_off {
        contents
            .kernel_image(&uki)?
            .as_ref()
            .map(contents::digests)
            .transpose()?
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    let section = |name: &SectionName| -> Result<Vec<u8>, Error> {
        match uki.base().section(name) {
            Some(section) => uki
                .bytes(section)
                .map_err(|error| Error::input("UKI", &contents.path, error)),
            None => Ok(Vec::new()),
        }
    };
    let (ucode, initrd) = (
        section(&SectionName::UCODE)?,
        section(&SectionName::INITRD)?,
    );
    let gpt = if options.usb {
        pcr::gpt_event_data(&contents.start, 512).unwrap_or_default()
    } else {
        Vec::new()
    };
    let addons = Addons::read(&options.addon)?;
    let credentials = options
        .credential
        .iter()
        .map(|path| {
            Ok((
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                read(path)?,
            ))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let profile = usize::try_from(options.uki_profile).unwrap_or(usize::MAX);
    let hardware = boot.profile(profile).map_err(step)?.hardware();
    if hardware.len() > 1 {
        prediction.notes.push(
            "the UKI has device trees or firmware that the machine picks: values are for a machine that picks none".into(),
        );
    }
    let plan = |phase: &PhasePath| -> Result<BootPlan, Error> {
        let mut plan = BootPlan::builder(&boot)
            .profile(profile)
            .secure_boot(!options.secure_boot_off)
            .uki_image(&uki_digests)
            .kernel_image(&kernel_digests)
            .embedded_initrds(&ucode, &initrd)
            .phase(phase.clone());
        if let Some(text) = &loader_version {
            plan = plan
                .loader(Loader::from_version(text))
                .loader_image(&loader_digests)
                .gpt_event(&gpt);
            if let Some(conf) = &contents.loader_conf {
                plan = plan.loader_conf(conf);
            }
        }
        if let Some(text) = &options.passed_cmdline {
            plan = plan.passed_options(text);
        }
        for addon in &addons.0 {
            plan = plan.addon(addon.plan());
        }
        for (name, bytes) in &credentials {
            plan = plan.local_file(name, bytes);
        }
        plan.build().map_err(step)
    };

    let stub = plan(&PhasePath::stub())?;
    prediction
        .notes
        .extend(stub.notes().iter().map(ToString::to_string));
    for register in stub.registers() {
        insert(prediction, *register, "", banks, |bank| {
            stub.register_at_stub(*register, bank)
        });
    }
    let paths = if options.phases.is_empty() {
        PhasePath::systemd().to_vec()
    } else {
        phase_paths(&options.phases)
    };
    for path in paths {
        let phased = plan(&path)?;
        insert(
            prediction,
            Register::KERNEL_BOOT,
            path.as_str(),
            banks,
            |bank| phased.register(Register::KERNEL_BOOT, bank),
        );
    }
    let document: Value = serde_json::from_str(&stub.to_json()).unwrap_or_default();
    prediction
        .events
        .extend(document["events"].as_array().cloned().unwrap_or_default());
    if let Some(folder) = &options.pcrlock {
        for component in stub.to_pcrlock() {
            let path = folder.join(component.path);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent)
                .map_err(|source| Error::io("create the folder", parent, source))?;
            fs::write(&path, component.content)
                .map_err(|source| Error::io("write", &path, source))?;
        }
    }
    Ok(())
}

fn insert(
    prediction: &mut Prediction,
    register: Register,
    phase: &str,
    banks: &[Bank],
    value: impl Fn(Bank) -> Option<pcr::Digest>,
) {
    let values: BTreeMap<_, _> = banks
        .iter()
        .filter_map(|bank| Some((bank.name().to_owned(), value(*bank)?.to_string())))
        .collect();
    if !values.is_empty() {
        prediction
            .pcrs
            .entry(register.index())
            .or_default()
            .insert(phase.to_owned(), values);
    }
}

/// PCR 7 of this boot, from variables or an event log; left out when nothing tells of the keys.
pub(crate) fn pcr_7(
    contents: Option<&Contents>,
    options: &PredictOptions,
) -> Result<Option<(Pcr7, pcr::Pcr7Prediction)>, Error> {
    let medium = contents
        .map(|contents| contents.enrolment.as_slice())
        .unwrap_or_default();
    let variables = Variables::gather(&options.variables, medium)?;
    let mut boot = match (&options.event_log, &variables) {
        (Some(path), _) => {
            let log = EventLog::parse(&read(path)?)
                .map_err(|error| Error::input("event log", path, error))?;
            let mut boot =
                Pcr7::from_log(&log).map_err(|error| Error::input("event log", path, error))?;
            for (variable, value) in variables.iter().flat_map(Variables::given) {
                boot = boot
                    .update(&pcr::VariableUpdate::replace(variable, value))
                    .map_err(|error| {
                        Error::step("put the given variables in place of the log's", error)
                    })?;
            }
            boot
        }
        (None, Some(variables)) => Pcr7::new(variables.for_pcr_7(!options.secure_boot_off)),
        (None, None) if options.secure_boot_off => Pcr7::new(SecureBootVariables::setup_mode()),
        (None, None) => return Ok(None),
    };
    if let Some(contents) = contents {
        if let Some(loader) = contents.loader_image()? {
            boot = boot.load(contents::boot_image(&loader, "boot loader")?);
        }
        boot = boot.load(contents::boot_image(&contents.uki_image()?, "UKI")?);
    }
    let predicted = boot
        .predict()
        .map_err(|error| Error::step("predict PCR 7", error))?;
    Ok(Some((boot, predicted)))
}

fn secure_boot(
    contents: Option<&Contents>,
    options: &PredictOptions,
    banks: &[Bank],
    prediction: &mut Prediction,
) -> Result<(), Error> {
    let Some((_, predicted)) = pcr_7(contents, options)? else {
        prediction
            .notes
            .push("PCR 7 needs the keys: --secureboot-dir, --pk --kek --db, or --event-log".into());
        return Ok(());
    };
    for verdict in predicted
        .verdicts()
        .iter()
        .filter(|verdict| !verdict.is_started())
    {
        prediction.notes.push(format!(
            "firmware with these keys does not start it: {verdict}"
        ));
    }
    insert(
        prediction,
        Register::SECURE_BOOT_POLICY,
        "",
        banks,
        |bank| Some(predicted.value(bank)),
    );
    let log: Value = serde_json::from_str(&predicted.to_log(banks).to_json()).unwrap_or_default();
    if let Some(events) = log["events"].as_array() {
        let of_pcr_7 = events.iter().filter(|event| event["pcr"] == 7).cloned();
        prediction.events.extend(of_pcr_7);
    }
    Ok(())
}

/// Addon images with what the stub takes from them.
struct Addons(Vec<AddonFile>);

struct AddonFile {
    name: String,
    digests: Vec<pcr::Digest>,
    sections: BTreeMap<&'static str, Vec<u8>>,
}

impl Addons {
    fn read(paths: &[std::path::PathBuf]) -> Result<Self, Error> {
        let mut addons = Vec::new();
        for path in paths {
            let bytes = read(path)?;
            let addon =
                uki::Uki::parse(&bytes).map_err(|error| Error::input("addon", path, error))?;
            let hashes =
                authenticode::ImageOptions::new().hashes(&authenticode::HashAlgorithm::ALL);
            let image = authenticode::Image::parse_with(&bytes, &hashes)
                .map_err(|error| Error::input("addon", path, error))?;
            let mut sections = BTreeMap::new();
            let kinds = [
                (".cmdline", SectionName::CMDLINE),
                (".dtb", SectionName::DTB),
                (".initrd", SectionName::INITRD),
                (".ucode", SectionName::UCODE),
                (".uname", SectionName::UNAME),
            ];
            for (name, kind) in kinds {
                if let Some(section) = addon.base().section(&kind) {
                    sections.insert(name, addon.content(section).to_vec());
                }
            }
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            addons.push(AddonFile {
                name,
                digests: contents::digests(&image)?,
                sections,
            });
        }
        Ok(Self(addons))
    }
}

impl AddonFile {
    fn plan(&self) -> Addon<'_> {
        let mut addon = Addon::local(&self.name).image(&self.digests);
        for (name, bytes) in &self.sections {
            addon = match *name {
                ".cmdline" => addon.cmdline(bytes),
                ".dtb" => addon.dtb(bytes),
                ".initrd" => addon.initrd(bytes),
                ".ucode" => addon.ucode(bytes),
                _ => addon.uname(bytes),
            };
        }
        addon
    }
}

/// The values as a table for people.
#[must_use]
pub fn text(prediction: &Prediction) -> String {
    let mut out = String::new();
    if !prediction.stub.is_empty() {
        out.push_str(&format!("stub: {}\n", prediction.stub));
    }
    if let Some(loader) = &prediction.loader {
        out.push_str(&format!("loader: {loader}\n"));
    }
    for (register, phases) in &prediction.pcrs {
        for (phase, banks) in phases {
            for (bank, value) in banks {
                let phase = if phase.is_empty() { "-" } else { phase };
                out.push_str(&format!("PCR {register:<2} {bank:<6} {phase}  {value}\n"));
            }
        }
    }
    for note in &prediction.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    out
}
