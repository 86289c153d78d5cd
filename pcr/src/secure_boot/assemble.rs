//! From a described boot to events: first which authorities there are, then all events in order.

use alloc::vec::Vec;

use super::log_shim::LogShim;
use super::prediction::{EventCause, PredictedEvent};
use super::quirk::Quirk;
use super::shim::{Shim, ShimLists, ShimMeasurement};
use super::template::{Slot, Template};
use super::variables::{KeyVariable, SecureBootVariables};
use super::verify::{Databases, Decision, Verdict, by_firmware, by_shim};
use super::{BootImage, Pcr7, SecureBootError, Step};
use crate::bank::Register;
use crate::event_log::{EventType, Guid, VariableData};

/// shim and the kernel's boot loader measure the state of MOK here.
const MOK_REGISTER: Register = Register::SHIM_POLICY;
const OPTION_ROM_REGISTER: Register = Register::OPTION_ROM_CODE;

/// `EFI_DEVICE_SIGNATURE_DATABASE_GUID`
const DEVICE_SIGNATURE_DATABASE: Guid = Guid::new(
    0xb9c2_b4f4,
    0xbf5f,
    0x462d,
    *b"\x8a\xdf\xc5\xc7\x0a\xc3\x5d\xad",
);

/// Events that images and shim cause, and what becomes of the images. All of it depends on keys and signatures.
pub(super) struct Decisions {
    pub(super) events: Vec<BootEvent>,
    pub(super) verdicts: Vec<Verdict>,
}

/// An event after the variables.
#[derive(Clone)]
pub(super) struct BootEvent {
    pub(super) event: PredictedEvent,
    /// It is about a driver that starts before any boot option.
    pub(super) early: bool,
}

impl Pcr7 {
    pub(super) fn decide(&self) -> Result<Decisions, SecureBootError> {
        let sha256_only = self.quirks.contains(&Quirk::UnsignedBySha256Only);
        let databases = Databases::new(&self.variables, sha256_only)?;
        for variable in [KeyVariable::Pk, KeyVariable::Kek, KeyVariable::Dbr] {
            self.variables.entries(variable)?;
        }
        let described = self.steps.iter().any(|step| matches!(step, Step::Shim(_)));
        let template = self.template.as_ref();
        let mut boot = Boot {
            of_log: template.and_then(Template::shim).filter(|_| !described),
            secure_boot: self.variables.is_secure_boot(),
            databases,
            shim: None,
            idle: None,
            by_firmware: Vec::new(),
            by_shim: Vec::new(),
            decisions: Decisions {
                events: Vec::new(),
                verdicts: Vec::new(),
            },
        };
        for step in &self.steps {
            match step {
                Step::Load(image) => boot.load(image, true)?,
                Step::LoadByFirmware(image) => boot.load(image, false)?,
                Step::Shim(shim) => boot.start_shim(shim)?,
            }
        }
        if let (true, Some(template)) = (self.steps.is_empty(), &self.template) {
            boot.repeat(template, template.authorities(), &self.variables);
        }
        // When nothing was given of what shim starts, it starts what it started then.
        if let (Some(shim), Some(template)) = (boot.idle, &self.template) {
            boot.repeat(template, &shim.authorities, &self.variables);
        }
        Ok(boot.decisions)
    }

    /// All events in order, for these variables.
    pub(super) fn assemble(
        &self,
        variables: &SecureBootVariables,
        boot: &[BootEvent],
    ) -> Vec<PredictedEvent> {
        let default;
        let template = match &self.template {
            Some(template) => template,
            None => {
                default = Template::of_edk2();
                &default
            }
        };
        let has = |quirk: Quirk| self.quirks.contains(&quirk);
        let early = || {
            boot.iter().filter(|event| event.early).map(|event| {
                let mut event = event.event.clone();
                if has(Quirk::DriverAuthorityInPcr2) {
                    event.move_to(OPTION_ROM_REGISTER);
                }
                event
            })
        };
        let mut events = self.before_variables();
        for slot in template.slots() {
            match slot {
                Slot::SecureBoot => {
                    let empty = has(Quirk::EmptySecureBoot) || template.empty_secure_boot();
                    events.push(if empty && !variables.is_secure_boot() {
                        secure_boot_of(&[])
                    } else {
                        secure_boot(variables.is_secure_boot())
                    });
                }
                Slot::Key(variable) => {
                    if self.is_measured(*variable, variables) {
                        events.push(key_variable(*variable, variables.value(*variable)));
                    }
                    if *variable == KeyVariable::Dbx && has(Quirk::AuditAndDeployedMode) {
                        events.extend([
                            firmware_variable("AuditMode", &[0]),
                            firmware_variable("DeployedMode", &[0]),
                        ]);
                    }
                }
                Slot::Copy(event) => events.push(event.clone()),
                Slot::DriverAuthority(event) => {
                    if template.is_still_valid(event, variables) {
                        events.push(event.clone());
                    }
                }
                Slot::Separator => {
                    events.extend(self.after_variables());
                    if has(Quirk::LateSeparator) {
                        events.extend(early());
                    }
                    events.push(separator(has(Quirk::ErrorSeparator)));
                    if !has(Quirk::LateSeparator) {
                        events.extend(early());
                    }
                }
            }
        }
        let late = boot
            .iter()
            .filter(|event| !event.early)
            .map(|event| event.event.clone());
        events.extend(late);
        if has(Quirk::NoDbAuthority) {
            events.retain(|event| {
                !event.is_authority() || event.variable_data().is_none_or(|data| data.name != "db")
            });
        }
        events
    }

    fn is_measured(&self, variable: KeyVariable, variables: &SecureBootVariables) -> bool {
        let empty = variables.value(variable).is_empty();
        match variable {
            KeyVariable::Dbt if self.quirks.contains(&Quirk::NoDbt) => false,
            KeyVariable::Dbt => !empty || self.quirks.contains(&Quirk::EmptyDbt),
            KeyVariable::Dbr => !empty,
            _ => !(empty && self.quirks.contains(&Quirk::AbsentNotMeasured)),
        }
    }

    fn before_variables(&self) -> Vec<PredictedEvent> {
        let debug = self
            .quirks
            .contains(&Quirk::DebugMode)
            .then(|| action(b"UEFI Debug Mode"));
        debug
            .into_iter()
            .chain(self.dma_protection(false))
            .collect()
    }

    fn after_variables(&self) -> Vec<PredictedEvent> {
        let empty = VariableData::new(DEVICE_SIGNATURE_DATABASE, "devdb", &[]);
        let devdb = self.quirks.contains(&Quirk::EmptyDevdb).then(|| {
            PredictedEvent::variable(
                EventType::EFI_SPDM_DEVICE_POLICY,
                &empty,
                EventCause::Firmware,
            )
        });
        devdb.into_iter().chain(self.dma_protection(true)).collect()
    }

    fn dma_protection(&self, after: bool) -> impl Iterator<Item = PredictedEvent> + '_ {
        self.quirks.iter().filter_map(move |quirk| match quirk {
            Quirk::DmaProtectionDisabled {
                after_variables,
                terminated,
            } if *after_variables == after => {
                let text: &[u8] = if *terminated {
                    b"DMA Protection Disabled\0"
                } else {
                    b"DMA Protection Disabled"
                };
                Some(action(text))
            }
            _ => None,
        })
    }
}

/// What was decided so far, and what the deciders remember.
struct Boot<'a> {
    secure_boot: bool,
    databases: Databases<'a>,
    shim: Option<(&'a Shim, ShimLists<'a>)>,
    /// The shim of the log, until an image is taken for it.
    of_log: Option<&'a LogShim>,
    /// The shim of the log, once it runs and as long as it has started nothing.
    idle: Option<&'a LogShim>,
    /// Authorities that each has measured: nothing is measured twice by the same one.
    by_firmware: Vec<VariableData>,
    by_shim: Vec<VariableData>,
    decisions: Decisions,
}

impl<'a> Boot<'a> {
    fn load(&mut self, image: &BootImage, shim_verifies: bool) -> Result<(), SecureBootError> {
        let number = self.decisions.verdicts.len();
        let shim = self.shim.as_ref().filter(|_| shim_verifies);
        let (authorities, verdict): Decision = match (&image.authorities, shim) {
            _ if !self.secure_boot => (Vec::new(), Verdict::Unverified),
            (Some(authorities), _) => (authorities.clone(), Verdict::Stated),
            (None, Some((shim, _))) if !shim.verifies() => (Vec::new(), Verdict::Unverified),
            (None, Some((_, lists))) => by_shim(image, number, &self.databases, lists)?,
            (None, None) => by_firmware(image, number, &self.databases)?,
        };
        let padded = shim.is_some_and(|(shim, _)| shim.pads_events());
        let known = if shim.is_some() {
            self.idle = None;
            &mut self.by_shim
        } else {
            &mut self.by_firmware
        };
        for authority in &authorities {
            if !known.contains(authority) {
                let cause = EventCause::Image(number);
                let event = if padded {
                    PredictedEvent::padded(authority, cause)
                } else {
                    PredictedEvent::variable(EventType::EFI_VARIABLE_AUTHORITY, authority, cause)
                };
                known.push(authority.clone());
                self.decisions.events.push(BootEvent {
                    event,
                    early: image.early,
                });
            }
        }
        self.decisions.verdicts.push(verdict);
        let is_shim =
            |of_log: &&LogShim| shim_verifies && !image.early && of_log.is(image, &authorities);
        if let Some(of_log) = self.of_log.filter(is_shim) {
            self.copy(&of_log.state);
            self.shim = Some((&of_log.shim, of_log.shim.lists()?));
            self.idle = self.of_log.take();
        }
        Ok(())
    }

    fn copy<'e>(&mut self, events: impl IntoIterator<Item = &'e PredictedEvent>) {
        let events = events.into_iter().cloned().map(|event| BootEvent {
            event,
            early: false,
        });
        self.decisions.events.extend(events);
    }

    /// Copies authorities of the log, up to the image that these variables refuse: what it started is not started either.
    fn repeat<'e>(
        &mut self,
        template: &Template,
        events: impl IntoIterator<Item = &'e PredictedEvent>,
        variables: &SecureBootVariables,
    ) {
        let (mut refused, mut shim_runs) = (false, false);
        for event in events {
            if refused && (event.is_authority() || !shim_runs) {
                continue;
            }
            shim_runs |= LogShim::is_state(event);
            match template.verdict(event, variables) {
                Verdict::Unverified => {}
                verdict if verdict.is_started() => self.copy([event]),
                verdict => {
                    refused = true;
                    self.decisions.verdicts.push(verdict);
                }
            }
        }
    }

    fn start_shim(&mut self, shim: &'a Shim) -> Result<(), SecureBootError> {
        for measurement in shim.measurements() {
            let event = match measurement {
                ShimMeasurement::Authority(variable) => {
                    let event = PredictedEvent::variable(
                        EventType::EFI_VARIABLE_AUTHORITY,
                        &variable,
                        EventCause::Shim,
                    );
                    self.by_shim.push(variable);
                    event
                }
                ShimMeasurement::Logged { name, content } => {
                    let mut data = name.as_bytes().to_vec();
                    data.push(0);
                    PredictedEvent::new(MOK_REGISTER, EventType::IPL, data, EventCause::Shim)
                        .measuring(content)
                }
            };
            self.decisions.events.push(BootEvent {
                event,
                early: false,
            });
        }
        self.shim = Some((shim, shim.lists()?));
        Ok(())
    }
}

pub(super) fn secure_boot(on: bool) -> PredictedEvent {
    secure_boot_of(&[u8::from(on)])
}

fn secure_boot_of(value: &[u8]) -> PredictedEvent {
    let variable = VariableData::new(Guid::GLOBAL, "SecureBoot", value);
    PredictedEvent::variable(
        EventType::EFI_VARIABLE_DRIVER_CONFIG,
        &variable,
        EventCause::SecureBoot,
    )
}

pub(super) fn key_variable(variable: KeyVariable, value: &[u8]) -> PredictedEvent {
    let data = VariableData::new(variable.guid(), variable.name(), value);
    PredictedEvent::variable(
        EventType::EFI_VARIABLE_DRIVER_CONFIG,
        &data,
        EventCause::Variable(variable),
    )
}

pub(super) fn firmware_variable(name: &str, value: &[u8]) -> PredictedEvent {
    let data = VariableData::new(Guid::GLOBAL, name, value);
    PredictedEvent::variable(
        EventType::EFI_VARIABLE_DRIVER_CONFIG,
        &data,
        EventCause::Firmware,
    )
}

pub(super) fn action(text: &[u8]) -> PredictedEvent {
    PredictedEvent::new(
        Register::SECURE_BOOT_POLICY,
        EventType::EFI_ACTION,
        text.to_vec(),
        EventCause::Firmware,
    )
}

pub(super) fn separator(error: bool) -> PredictedEvent {
    let value = u32::from(error).to_le_bytes().to_vec();
    PredictedEvent::new(
        Register::SECURE_BOOT_POLICY,
        EventType::SEPARATOR,
        value,
        EventCause::Separator,
    )
}

pub(super) fn authority(entry: &[u8], cause: EventCause) -> PredictedEvent {
    let data = VariableData::new(Guid::IMAGE_SECURITY, "db", entry);
    PredictedEvent::variable(EventType::EFI_VARIABLE_AUTHORITY, &data, cause)
}
