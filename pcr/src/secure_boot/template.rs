//! The order of events in PCR 7: that of edk2, or that of a log.

use alloc::vec::Vec;

use super::certificate::Certificate;
use super::error::SecureBootError;
use super::log_shim::LogShim;
use super::prediction::PredictedEvent;
use super::signature_list::Entry;
use super::variables::{KeyVariable, SecureBootVariables};
use super::verify::Verdict;
use crate::bank::{Bank, Register};
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
    shim: Option<LogShim>,
    /// The variables of the log.
    variables: SecureBootVariables,
    /// Firmware measures SecureBoot without a value when it is off.
    empty_secure_boot: bool,
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
            shim: None,
            variables: SecureBootVariables::default(),
            empty_secure_boot: false,
        }
    }

    pub(super) fn from_log(log: &EventLog) -> Result<Self, SecureBootError> {
        let mut template = Self {
            slots: Vec::new(),
            authorities: Vec::new(),
            shim: None,
            variables: SecureBootVariables::from_log(log)?,
            empty_secure_boot: false,
        };
        let (mut mok, mut applications) = (Vec::new(), Vec::new());
        let mut booting = false;
        for event in log.events().iter().filter(|event| event.extends()) {
            if event.register() == Some(Register::BOOT_LOADER_CODE) {
                // The separator of PCR 4, or the action before it, ends the time of drivers.
                booting |= matches!(
                    event.event_type(),
                    EventType::SEPARATOR | EventType::EFI_ACTION
                );
            }
            if event.event_type() == EventType::EFI_BOOT_SERVICES_APPLICATION {
                applications.extend(Bank::ALL.into_iter().filter_map(|bank| event.digest(bank)));
            }
            if event.register() == Some(Register::SHIM_POLICY)
                && event.event_type() == EventType::IPL
            {
                mok.push(PredictedEvent::copied(event, Register::SHIM_POLICY));
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
                            template.empty_secure_boot = variable.value.is_empty();
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
        template.shim = LogShim::new(&template.authorities, &mok, &applications);
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

    /// Whether the authority of a driver is measured with these variables, too. One that is in no db then either came from
    /// elsewhere, and does so again.
    pub(super) fn is_still_valid(
        &self,
        event: &PredictedEvent,
        variables: &SecureBootVariables,
    ) -> bool {
        is_valid(event, variables)
            || (variables.is_secure_boot() && !is_valid(event, &self.variables))
    }

    /// What becomes, with these variables, of the image that an authority of the log stands for; [`Verdict::Stated`] when it
    /// is started and measured as it was then.
    pub(super) fn verdict(
        &self,
        event: &PredictedEvent,
        variables: &SecureBootVariables,
    ) -> Verdict {
        if !event.is_authority() || LogShim::is_state(event) {
            return Verdict::Stated;
        }
        match (self.variables.is_secure_boot(), variables.is_secure_boot()) {
            (true, true) => {}
            (true, false) => return Verdict::Unverified,
            (false, _) => return Verdict::Stated,
        }
        if is_valid(event, &self.variables) && !is_valid(event, variables) {
            return Verdict::NotInDb;
        }
        match forbidden(event, &self.variables) {
            None => forbidden(event, variables).unwrap_or(Verdict::Stated),
            Some(_) => Verdict::Stated,
        }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The authorities of what the boot option of the log started, and what shim measured into PCR 14.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &PredictedEvent> {
        let shim = self.shim.iter().flat_map(|shim| &shim.state);
        let mok = shim.filter(|event| event.register() == Register::SHIM_POLICY);
        self.authorities.iter().chain(mok)
    }

    /// Whether firmware measures SecureBoot without a value when it is off.
    pub(super) const fn empty_secure_boot(&self) -> bool {
        self.empty_secure_boot
    }

    /// The shim that ran.
    pub(super) const fn shim(&self) -> Option<&LogShim> {
        self.shim.as_ref()
    }
}

/// Whether the entry of an authority of db is in db, with Secure Boot on.
fn is_valid(event: &PredictedEvent, variables: &SecureBootVariables) -> bool {
    let Some(authority) = event.variable_data().filter(|data| data.name == "db") else {
        return true;
    };
    let in_db =
        |entries: Vec<Entry<'_>>| entries.iter().any(|entry| entry.bytes == authority.value);
    variables.is_secure_boot() && variables.entries(KeyVariable::Db).is_ok_and(in_db)
}

/// The refusal, when the entry of an authority is itself in dbx. A revocation that depends on time stamps is left aside.
fn forbidden(event: &PredictedEvent, variables: &SecureBootVariables) -> Option<Verdict> {
    let authority = event.variable_data()?;
    let data = authority.value.get(16..)?;
    let dbx = variables.entries(KeyVariable::Dbx).ok()?;
    let Some(certificate) = Certificate::parse(data) else {
        let is_image = |entry: &Entry<'_>| {
            entry.data() == data && Bank::ALL.into_iter().any(|bank| entry.is_hash_of(bank))
        };
        return dbx.iter().any(is_image).then_some(Verdict::DigestInDbx);
    };
    let is_signer = |entry: &Entry<'_>| {
        let revoked = entry.revokes(certificate.tbs);
        entry.certificate() == Some(data)
            || revoked.is_some_and(|time| time.iter().all(|byte| *byte == 0))
    };
    dbx.iter().any(is_signer).then_some(Verdict::SignerInDbx)
}
