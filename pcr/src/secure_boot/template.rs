//! The order of events in PCR 7: that of edk2, or that of a log.

use alloc::vec::Vec;

use super::error::SecureBootError;
use super::prediction::PredictedEvent;
use super::signature_list::Entry;
use super::variables::{KeyVariable, SecureBootVariables};
use crate::bank::Register;
use crate::event_log::{EventData, EventLog, EventType, Guid};

/// One place in the order of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    SecureBoot,
    Key(KeyVariable),
    Separator,
    /// An event that a prediction cannot know.
    Copy(PredictedEvent),
    /// The authority of a driver, measured as long as the entry is in db.
    DriverAuthority(PredictedEvent),
}

/// All events but the authorities of what boot options start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    slots: Vec<Slot>,
    authorities: Vec<PredictedEvent>,
}

impl Template {
    pub(super) fn of_edk2() -> Self {
        let keys = KeyVariable::ALL.into_iter().map(Slot::Key);
        let slots = core::iter::once(Slot::SecureBoot)
            .chain(keys)
            .chain([Slot::Separator]);
        Self {
            slots: slots.collect(),
            authorities: Vec::new(),
        }
    }

    pub(super) fn from_log(log: &EventLog) -> Result<Self, SecureBootError> {
        let mut template = Self {
            slots: Vec::new(),
            authorities: Vec::new(),
        };
        let mut booting = false;
        for event in log.events().iter().filter(|event| event.extends()) {
            if event.register() == Some(Register::BOOT_LOADER_CODE) {
                // The separator of PCR 4, or the action before it, ends the time of drivers.
                booting |= matches!(
                    event.event_type(),
                    EventType::SEPARATOR | EventType::EFI_ACTION
                );
            }
            let register = Register::SECURE_BOOT_POLICY;
            if event.register() != Some(register) {
                continue;
            }
            let copy = PredictedEvent::copied(event, register);
            match (event.event_type(), event.decoded()) {
                (EventType::EFI_VARIABLE_DRIVER_CONFIG, EventData::Variable(variable)) => {
                    let slot = match KeyVariable::find(variable.guid, &variable.name) {
                        Some(key) => Slot::Key(key),
                        None if variable.guid == Guid::GLOBAL && variable.name == "SecureBoot" => {
                            Slot::SecureBoot
                        }
                        None => Slot::Copy(copy),
                    };
                    template.slots.push(slot);
                }
                (EventType::EFI_VARIABLE_AUTHORITY, _) if booting => {
                    template.authorities.push(copy)
                }
                (EventType::EFI_VARIABLE_AUTHORITY, _) => {
                    template.slots.push(Slot::DriverAuthority(copy))
                }
                (EventType::SEPARATOR, _) => template.slots.push(Slot::Separator),
                _ => template.slots.push(Slot::Copy(copy)),
            }
        }
        if !template.slots.contains(&Slot::Separator) {
            return Err(SecureBootError::IncompleteLog { what: "separator" });
        }
        template.add_optional_variables();
        Ok(template)
    }

    /// dbt and dbr are in a log only when they have a value; a later boot may have them.
    fn add_optional_variables(&mut self) {
        let mut after = Slot::Key(KeyVariable::Dbx);
        for variable in [KeyVariable::Dbt, KeyVariable::Dbr] {
            let slot = Slot::Key(variable);
            if !self.slots.contains(&slot) {
                let place = self.slots.iter().position(|other| *other == after);
                self.slots.insert(
                    place.map_or(self.slots.len(), |place| place + 1),
                    slot.clone(),
                );
            }
            after = slot;
        }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The authorities of what the boot option of the log started.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &PredictedEvent> {
        self.authorities.iter()
    }
}

/// Whether the entry of an authority of db is in db.
pub(super) fn is_still_valid(event: &PredictedEvent, variables: &SecureBootVariables) -> bool {
    let Some(authority) = event.variable_data().filter(|data| data.name == "db") else {
        return true;
    };
    let in_db =
        |entries: Vec<Entry<'_>>| entries.iter().any(|entry| entry.bytes == authority.value);
    variables.is_secure_boot() && variables.entries(KeyVariable::Db).is_ok_and(in_db)
}
