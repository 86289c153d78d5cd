//! `imager predict`: the registers that a boot will leave, and the events behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pcr::{Bank, KeyVariable, Pcr7, Pcr7Prediction, PhasePath, Register, SecureBootVariables};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::build_uki::{self, parse_banks};
use crate::cli::{PredictOptions, VariableOptions};
use crate::contents::{self, Contents};
use crate::logs::read_log;
use crate::planned_boot::PlannedBoot;
use crate::progress::Progress;
use crate::variables::Variables;

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
    /// PCR 11 of every profile and every choice that the hardware has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfilePrediction>,
    /// The events behind them, in order.
    pub events: Vec<Value>,
    /// What is not determined and why.
    pub notes: Vec<String>,
}

/// PCR 11 of one profile on one kind of machine.
#[derive(Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ProfilePrediction {
    /// The profile's number.
    pub profile: usize,
    /// What the machine picks of the hardware-dependent sections, or `none`.
    pub hardware: String,
    /// PCR 11.
    pub pcrs: Registers,
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
    let entry = options.boot.entry.as_deref();
    let open = |path: &Path| Contents::open_entry(path, entry);
    let contents = options.file.as_deref().map(open).transpose()?;
    let read = |contents| PlannedBoot::read(contents, &options.boot, &banks);
    let mut planned = contents.as_ref().map(read).transpose()?;
    let keys = Keys {
        variables: &options.variables,
        event_log: options.event_log.as_deref(),
        secure_boot_off: options.boot.secure_boot_off,
        setup_mode: false,
    };
    let policy = pcr_7(contents.as_ref(), planned.as_mut(), &keys)?;
    if let Some(planned) = &planned {
        registers(planned, options, &banks, &mut prediction, progress)?;
    }
    let what = match &contents {
        Some(_) => "it",
        None => "an image that the log shows",
    };
    let machine = policy.as_ref().map(|(boot, _)| boot.variables());
    let assumed = keys.assumed(machine, contents.is_some());
    prediction.notes.extend(assumed.map(str::to_owned));
    secure_boot(
        policy.map(|(_, predicted)| predicted),
        what,
        &banks,
        &mut prediction,
    );
    Ok(prediction)
}

fn registers(
    planned: &PlannedBoot<'_>,
    options: &PredictOptions,
    banks: &[Bank],
    prediction: &mut Prediction,
    progress: &Progress,
) -> Result<(), Error> {
    let step = |error: pcr::Error| Error::step("predict the registers", error);
    let boot = &planned.boot;
    if let Some(warning) = boot.dialect().warning() {
        progress.warning(format_args!("{warning}"));
        prediction.notes.push(warning.to_owned());
    }
    prediction.stub = planned.stub();
    prediction.loader.clone_from(&planned.loader);
    prediction.notes.extend(planned.notes.iter().cloned());

    let stub = planned.plan()?;
    prediction
        .notes
        .extend(stub.notes().iter().map(ToString::to_string));
    for register in stub.registers() {
        insert(&mut prediction.pcrs, *register, "", banks, |bank| {
            stub.register_at_stub(*register, bank)
        });
    }
    let paths = phase_paths(&options.phases)?;
    let unknown = paths.iter().flat_map(PhasePath::unknown_words);
    let unknown: BTreeSet<&str> = unknown.collect();
    prediction.notes.extend(
        unknown
            .iter()
            .map(|word| format!("the phase word {word} is none that systemd or Talos extends")),
    );
    for path in &paths {
        insert(
            &mut prediction.pcrs,
            Register::KERNEL_BOOT,
            path.as_str(),
            banks,
            |bank| Some(path.extend(stub.register_at_stub(Register::KERNEL_BOOT, bank)?)),
        );
    }
    for index in 0..boot.profile_count() {
        let predictions = boot.profile(index).map_err(step)?.registers(&paths);
        // A profile without kernel boots nowhere; the others do.
        let predictions = match predictions {
            Err(pcr::Error::NoKernel { .. }) if index != planned.profile => continue,
            other => other.map_err(step)?,
        };
        for predicted in predictions {
            let hardware = predicted.hardware.to_string();
            let last = prediction.profiles.last();
            if last.is_none_or(|last| last.profile != index || last.hardware != hardware) {
                prediction.profiles.push(ProfilePrediction {
                    profile: index,
                    hardware,
                    pcrs: Registers::new(),
                });
            }
            let Some(last) = prediction.profiles.last_mut() else {
                continue;
            };
            let phases = last.pcrs.entry(Register::KERNEL_BOOT.index()).or_default();
            let values = phases.entry(predicted.phase.to_string()).or_default();
            let bank = predicted.value.bank().name().to_owned();
            values.insert(bank, predicted.value.to_string());
        }
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

/// The paths that are asked for; systemd's when none is.
fn phase_paths(given: &[String]) -> Result<Vec<PhasePath>, Error> {
    if given.is_empty() {
        return Ok(PhasePath::systemd().to_vec());
    }
    for text in given {
        PhasePath::checked_list(text)
            .map_err(|error| Error::usage("--phases", error.to_string()))?;
    }
    Ok(build_uki::phase_paths(given))
}

fn insert(
    pcrs: &mut Registers,
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
        pcrs.entry(register.index())
            .or_default()
            .insert(phase.to_owned(), values);
    }
}

/// What tells of the machine's keys.
pub(crate) struct Keys<'a> {
    pub(crate) variables: &'a VariableOptions,
    pub(crate) event_log: Option<&'a Path>,
    pub(crate) secure_boot_off: bool,
    /// A machine of which nothing is known and that has Secure Boot off is taken for one in setup mode.
    pub(crate) setup_mode: bool,
}

impl Keys<'_> {
    /// What PCR 7 takes for granted of the machine, or what it needs to be known.
    fn assumed(
        &self,
        machine: Option<&SecureBootVariables>,
        with_image: bool,
    ) -> Option<&'static str> {
        let Some(machine) = machine else {
            return Some(if self.secure_boot_off {
                "PCR 7 without Secure Boot depends on the machine: give its --event-log, the keys that it has all the \
                 same (--secureboot-dir, or --pk --kek --db), or --pk - when it is in setup mode"
            } else {
                "PCR 7 needs the keys: --secureboot-dir, --pk --kek --db, or --event-log"
            });
        };
        let has_owner = !machine.value(KeyVariable::Pk).is_empty();
        match (self.event_log, self.secure_boot_off, has_owner) {
            (Some(_), false, _) if with_image && !machine.is_secure_boot() => Some(
                "the event log is of a machine with Secure Boot off, and so is PCR 7; the other registers are for Secure \
                 Boot on: --secure-boot-off changes that",
            ),
            (Some(_), ..) | (None, false, true) => None,
            (None, false, false) => Some(
                "no PK is given, and without one no firmware has Secure Boot on: PCR 7 is for an empty PK",
            ),
            (None, true, true) => {
                Some("PCR 7 is that of a machine that has these keys and Secure Boot switched off")
            }
            (None, true, false) => Some(
                "PCR 7 is that of a machine in setup mode; firmware that is built without Secure Boot measures another \
                 value: give its --event-log",
            ),
        }
    }
}

/// PCR 7 of this boot, from variables or an event log; left out when nothing tells of the keys. Addons that firmware
/// with these keys refuses leave the planned boot.
pub(crate) fn pcr_7(
    contents: Option<&Contents>,
    planned: Option<&mut PlannedBoot<'_>>,
    keys: &Keys<'_>,
) -> Result<Option<(Pcr7, Pcr7Prediction)>, Error> {
    let medium = contents
        .map(|contents| contents.enrolment.as_slice())
        .unwrap_or_default();
    let variables = Variables::gather(keys.variables, medium)?;
    let on = !keys.secure_boot_off;
    let boot = match (keys.event_log, &variables) {
        (Some(path), _) => {
            let log = read_log(path)?;
            let mut boot =
                Pcr7::from_log(&log).map_err(|error| Error::input("event log", path, error))?;
            for (variable, value) in variables.iter().flat_map(Variables::given) {
                boot = boot
                    .update(&pcr::VariableUpdate::replace(variable, value))
                    .map_err(|error| {
                        Error::step("put the given variables in place of the log's", error)
                    })?;
            }
            if !on {
                let off = boot.variables().clone().secure_boot(false);
                boot = boot.with_variables(off);
            }
            Some(boot)
        }
        (None, Some(variables)) => Some(Pcr7::new(variables.for_pcr_7(on))),
        (None, None) if !on && keys.setup_mode => {
            Some(Pcr7::new(SecureBootVariables::setup_mode()))
        }
        (None, None) => None,
    };
    let Some(planned) = planned else {
        let predict = |boot: Pcr7| Ok((boot.clone(), predicted(&boot)?));
        return boot.map(predict).transpose();
    };
    let Some(mut boot) = boot else {
        planned.refuse_addons(|_| None);
        return Ok(None);
    };
    if let Some(loader) = &planned.loader_image {
        boot = boot.load(contents::boot_image(loader, "boot loader")?);
    }
    boot = boot.load(contents::boot_image(&planned.image, "UKI")?);
    // Each addon is judged alone: one that is refused stops nothing.
    let mut started = BTreeSet::new();
    for addon in planned.companions.addons() {
        let with = boot.clone().load(addon.image().clone());
        let verdicts = predicted(&with)?;
        if verdicts
            .verdicts()
            .last()
            .is_some_and(|verdict| verdict.is_started())
        {
            started.insert(addon.name.clone());
            boot = with;
        }
    }
    planned.refuse_addons(|name| Some(started.contains(name)));
    let predicted = predicted(&boot)?;
    Ok(Some((boot, predicted)))
}

fn predicted(boot: &Pcr7) -> Result<Pcr7Prediction, Error> {
    boot.predict()
        .map_err(|error| Error::step("predict PCR 7", error))
}

fn secure_boot(
    predicted: Option<Pcr7Prediction>,
    what: &str,
    banks: &[Bank],
    prediction: &mut Prediction,
) {
    let Some(predicted) = predicted else {
        return;
    };
    for verdict in predicted
        .verdicts()
        .iter()
        .filter(|verdict| !verdict.is_started())
    {
        prediction.notes.push(format!(
            "firmware with these keys does not start {what}: {verdict}"
        ));
    }
    insert(
        &mut prediction.pcrs,
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
    table(&mut out, &prediction.pcrs);
    if prediction.profiles.len() > 1 {
        for profile in &prediction.profiles {
            out.push_str(&format!(
                "profile @{}, hardware {}\n",
                profile.profile, profile.hardware
            ));
            table(&mut out, &profile.pcrs);
        }
    }
    for note in &prediction.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    out
}

fn table(out: &mut String, registers: &Registers) {
    for (register, phases) in registers {
        for (phase, banks) in phases {
            for (bank, value) in banks {
                let phase = if phase.is_empty() { "-" } else { phase };
                out.push_str(&format!("PCR {register:<2} {bank:<6} {phase}  {value}\n"));
            }
        }
    }
}
