#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::space::{aligned, merge, record_len};
use super::verify::{Authority, verify};
use super::{EfiStatus, Firmware, Mode, Outcome, Quota, Reason, Refusal, Write, format};
use crate::authenticated_update::{HEADER_LEN, RawHeader};
use crate::{
    Attributes, CUSTOM_MODE, EfiTime, Error, KEK, PK, SECURE_BOOT, SECURE_BOOT_ENABLE, SETUP_MODE,
    SignatureDatabase, Variable, VariableName,
};

/// The variables of a machine and the rules of its firmware: says what happens with a write before anyone makes it.
///
/// # Examples
///
/// ```
/// use efivars::{Attributes, EfiStatus, Firmware, Machine, Mode, Write};
/// let mut machine = Machine::new(Firmware::Edk2_2025_02);
/// assert_eq!(machine.mode(), Mode::Setup);
/// let refusal = machine.write(&Write::new(efivars::DB, Attributes::KEY, vec![0; 39])).unwrap_err();
/// assert_eq!(refusal.status, EfiStatus::SECURITY_VIOLATION);
/// assert_eq!(refusal.to_string(), "EFI_SECURITY_VIOLATION: the authentication header does not fit the data");
/// ```
#[derive(Clone, Debug)]
pub struct Machine {
    firmware: Firmware,
    quota: Quota,
    variables: BTreeMap<VariableName, Stored>,
    setup_mode: bool,
    secure_boot: bool,
    vendor_keys: bool,
    runtime: bool,
    /// Bytes taken in the store, replaced and deleted values included until the next boot.
    used: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) variable: Variable,
    /// Who may write it, for variables outside of the key hierarchy.
    pub(super) owner: Option<Vec<u8>>,
}

impl Machine {
    /// A machine without any variable: setup mode, in the firmware's own time, quota of OVMF with 4 MiB.
    #[must_use]
    pub const fn new(firmware: Firmware) -> Self {
        Self {
            firmware,
            quota: Quota::OVMF_4M,
            variables: BTreeMap::new(),
            setup_mode: true,
            secure_boot: false,
            vendor_keys: true,
            runtime: false,
            used: 0,
        }
    }

    /// A machine that starts with these variables, as they stand in a variable store or were read on the machine. SecureBoot
    /// and SetupMode among them are ignored: firmware computes them.
    #[must_use]
    pub fn with_variables(
        firmware: Firmware,
        variables: impl IntoIterator<Item = Variable>,
    ) -> Self {
        let mut machine = Self::new(firmware);
        for variable in variables {
            if variable.name != SECURE_BOOT && variable.name != SETUP_MODE {
                machine.variables.insert(
                    variable.name.clone(),
                    Stored {
                        variable,
                        owner: None,
                    },
                );
            }
        }
        machine.reboot();
        machine
    }

    /// The same with another quota.
    #[must_use]
    pub const fn with_quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// The generation of the firmware.
    #[must_use]
    pub const fn firmware(&self) -> Firmware {
        self.firmware
    }

    /// How much it stores.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// SetupMode: no PK is enrolled.
    #[must_use]
    pub const fn setup_mode(&self) -> bool {
        self.setup_mode
    }

    /// SecureBoot: images are verified in this boot.
    #[must_use]
    pub const fn secure_boot(&self) -> bool {
        self.secure_boot
    }

    /// VendorKeys: keys were only changed with signatures.
    #[must_use]
    pub const fn vendor_keys(&self) -> bool {
        self.vendor_keys
    }

    /// The state of the keys.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        Mode::from_flags(self.setup_mode, self.secure_boot, false, false)
    }

    /// A stored variable.
    #[must_use]
    pub fn variable(&self, name: &VariableName) -> Option<&Variable> {
        self.variables.get(name).map(|stored| &stored.variable)
    }

    /// All stored variables, by name.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.variables.values().map(|stored| &stored.variable)
    }

    /// The value of a key variable; empty when it does not exist.
    ///
    /// # Errors
    ///
    /// As [`SignatureDatabase::parse_lenient`], which cannot happen with values that were written through the rules.
    pub fn database(&self, name: &VariableName) -> Result<SignatureDatabase, Error> {
        self.variable(name).map_or_else(
            || Ok(SignatureDatabase::new()),
            |v| SignatureDatabase::parse_lenient(&v.data),
        )
    }

    /// From now on writes come from the operating system: SecureBoot no longer changes, space is not reclaimed.
    pub const fn exit_boot_services(&mut self) {
        self.runtime = true;
    }

    /// Switches edk2's custom mode on, as a user at the console, or systemd-boot for an unsigned PK, does: until the next boot key
    /// variables can be written without a signature.
    pub fn enter_custom_mode(&mut self) {
        let flags = Attributes::NON_VOLATILE | Attributes::BOOTSERVICE_ACCESS;
        self.insert(Variable::new(CUSTOM_MODE, flags, alloc::vec![1]), None);
    }

    /// Starts again: SetupMode and SecureBoot are computed anew, custom mode ends, the store is reclaimed.
    pub fn reboot(&mut self) {
        self.runtime = false;
        self.setup_mode = !self.variables.contains_key(&PK);
        let flags = Attributes::NON_VOLATILE | Attributes::BOOTSERVICE_ACCESS;
        if self.setup_mode {
            self.variables.remove(&SECURE_BOOT_ENABLE);
        } else if !self.variables.contains_key(&SECURE_BOOT_ENABLE) {
            self.insert(
                Variable::new(SECURE_BOOT_ENABLE, flags, alloc::vec![1]),
                None,
            );
        }
        self.insert(Variable::new(CUSTOM_MODE, flags, alloc::vec![0]), None);
        let enabled = self
            .variable(&SECURE_BOOT_ENABLE)
            .is_some_and(|v| v.data.first() == Some(&1));
        self.secure_boot = !self.setup_mode && enabled;
        self.used = self.live();
    }

    /// Makes the write, or says why firmware refuses it; then nothing changes.
    ///
    /// # Errors
    ///
    /// The status that firmware returns and the reason.
    pub fn write(&mut self, write: &Write) -> Result<Outcome, Refusal> {
        let payload_len = self.check_parameters(write)?;
        self.check_size(write, payload_len)?;
        self.check_variable(write, payload_len)?;
        let (name, stored) = (&write.name, self.variables.get(&write.name));
        if let Some(Stored { variable, .. }) = stored {
            if self.runtime && !variable.attributes.contains(Attributes::RUNTIME_ACCESS) {
                return Err(Refusal::new(EfiStatus::WRITE_PROTECTED, Reason::AtRuntime));
            }
            let found = write.attributes.without(Attributes::APPEND_WRITE);
            if write.attributes.bits() != 0 && found != variable.attributes {
                return Err(Refusal::invalid(Reason::AttributesDiffer {
                    found,
                    stored: variable.attributes,
                }));
            }
        }
        if *name == PK || *name == KEK {
            self.write_with_pk(write)
        } else if name.is_image_database() {
            // A second attempt, and its verdict, when PK is not the authority.
            self.write_with_pk(write)
                .or_else(|_| self.write_with_kek(write))
        } else {
            self.write_other(write)
        }
    }

    pub(super) fn stored(&self, name: &VariableName) -> Option<&Stored> {
        self.variables.get(name)
    }

    /// Attributes and header; returns the length of the value.
    fn check_parameters(&self, write: &Write) -> Result<u64, Refusal> {
        const KNOWN: u32 = 0x7f;
        let attributes = write.attributes;
        let has = |flag| attributes.contains(flag);
        let bad = Reason::Attributes { found: attributes };
        if attributes.bits() & !KNOWN != 0 {
            return Err(Refusal::invalid(bad));
        }
        let counter = has(Attributes::AUTHENTICATED_WRITE_ACCESS);
        let visible = has(Attributes::BOOTSERVICE_ACCESS);
        if (has(Attributes::RUNTIME_ACCESS) && !visible)
            || attributes.without(Attributes::AUTHENTICATED_WRITE_ACCESS)
                == Attributes::NON_VOLATILE
            || has(Attributes::HARDWARE_ERROR_RECORD)
        {
            let status = if counter {
                EfiStatus::UNSUPPORTED
            } else {
                EfiStatus::INVALID_PARAMETER
            };
            return Err(Refusal::new(status, bad));
        }
        if counter {
            return Err(Refusal::new(EfiStatus::UNSUPPORTED, bad));
        }
        if !has(Attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS) {
            return Ok(write.data.len() as u64);
        }
        if write.data.len() < HEADER_LEN {
            return Err(Refusal::violation(Reason::Header));
        }
        let header =
            RawHeader::parse(&write.data).map_err(|_| Refusal::violation(Reason::Header))?;
        Ok(header.value.len() as u64)
    }

    fn check_size(&self, write: &Write, payload_len: u64) -> Result<(), Refusal> {
        let authenticated = write
            .attributes
            .contains(Attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS);
        let max = if authenticated {
            self.quota.max_authenticated
        } else {
            self.quota.max_other
        };
        let len = record_len(&write.name, payload_len);
        if len > max {
            Err(Refusal::invalid(Reason::TooLarge { len, max }))
        } else {
            Ok(())
        }
    }

    /// What the specification fixes for single variables.
    fn check_variable(&self, write: &Write, payload_len: u64) -> Result<(), Refusal> {
        let append = write.attributes.contains(Attributes::APPEND_WRITE);
        if write.name == SECURE_BOOT || write.name == SETUP_MODE {
            return Err(Refusal::new(EfiStatus::WRITE_PROTECTED, Reason::ReadOnly));
        }
        let deletes = !append && payload_len == 0;
        let wrong = write.attributes.without(Attributes::APPEND_WRITE) != Attributes::KEY;
        if write.name.is_key_variable() && wrong && !deletes {
            return Err(Refusal::invalid(Reason::Attributes {
                found: write.attributes,
            }));
        }
        Ok(())
    }

    fn custom_mode(&self) -> bool {
        self.variable(&CUSTOM_MODE)
            .is_some_and(|v| v.data.first() == Some(&1))
    }

    fn header<'a>(&self, write: &'a Write) -> Result<RawHeader<'a>, Refusal> {
        let key = Attributes::NON_VOLATILE | Attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS;
        if !write.attributes.contains(key) {
            return Err(Refusal::invalid(Reason::Attributes {
                found: write.attributes,
            }));
        }
        RawHeader::parse(&write.data).map_err(|_| Refusal::violation(Reason::Header))
    }

    fn write_with_pk(&mut self, write: &Write) -> Result<Outcome, Refusal> {
        let header = self.header(write)?;
        let is_pk = write.name == PK;
        let self_signed = self.firmware.wants_self_signed_pk() && is_pk;
        let outcome = if self.custom_mode() || (self.setup_mode && !self_signed) {
            format::check(&write.name, header.value)?;
            let outcome = self.store(write, header.value, header.time, None)?;
            self.vendor_keys &= self.setup_mode && !self_signed;
            outcome
        } else {
            let authority = if self.setup_mode {
                Authority::Payload
            } else {
                Authority::Pk
            };
            verify(self, write, &header, authority)?;
            self.store(write, header.value, header.time, None)?
        };
        if is_pk {
            match outcome {
                Outcome::Deleted => self.set_setup_mode(true),
                Outcome::Stored { .. } => self.set_setup_mode(false),
                Outcome::Nothing => {}
            }
        }
        Ok(outcome)
    }

    fn set_setup_mode(&mut self, setup: bool) {
        let changed = self.setup_mode != setup;
        self.setup_mode = setup;
        if changed && !self.runtime {
            self.secure_boot = !setup;
            if setup {
                self.variables.remove(&SECURE_BOOT_ENABLE);
            } else {
                let flags = Attributes::NON_VOLATILE | Attributes::BOOTSERVICE_ACCESS;
                self.insert(
                    Variable::new(SECURE_BOOT_ENABLE, flags, alloc::vec![1]),
                    None,
                );
            }
        }
    }

    fn write_with_kek(&mut self, write: &Write) -> Result<Outcome, Refusal> {
        let header = self.header(write)?;
        if !self.setup_mode && !self.custom_mode() {
            verify(self, write, &header, Authority::Kek)?;
            return self.store(write, header.value, header.time, None);
        }
        format::check(&write.name, header.value)?;
        let outcome = self.store(write, header.value, header.time, None)?;
        self.vendor_keys &= self.setup_mode;
        Ok(outcome)
    }

    fn write_other(&mut self, write: &Write) -> Result<Outcome, Refusal> {
        if write
            .attributes
            .contains(Attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS)
        {
            let header =
                RawHeader::parse(&write.data).map_err(|_| Refusal::violation(Reason::Header))?;
            let append = write.attributes.contains(Attributes::APPEND_WRITE);
            // Physical presence, which OVMF always sees, lets anyone delete.
            if header.value.is_empty() && !append && self.variables.contains_key(&write.name) {
                self.variables.remove(&write.name);
                return Ok(Outcome::Deleted);
            }
            let owner = verify(self, write, &header, Authority::FirstWriter)?;
            return self.store(write, header.value, header.time, owner);
        }
        let stored = self
            .variables
            .get(&write.name)
            .map(|stored| stored.variable.attributes);
        if stored.is_some_and(|a| a.contains(Attributes::TIME_BASED_AUTHENTICATED_WRITE_ACCESS)) {
            return Err(Refusal::new(
                EfiStatus::WRITE_PROTECTED,
                Reason::NeedsAuthentication,
            ));
        }
        self.store(write, &write.data, EfiTime::ZERO, None)
    }

    /// Stores, appends or deletes what has been allowed.
    fn store(
        &mut self,
        write: &Write,
        value: &[u8],
        time: EfiTime,
        owner: Option<Vec<u8>>,
    ) -> Result<Outcome, Refusal> {
        let append = write.attributes.contains(Attributes::APPEND_WRITE);
        let no_access = !write.attributes.contains(Attributes::BOOTSERVICE_ACCESS);
        let Some(stored) = self.variables.get(&write.name) else {
            if value.is_empty() && append {
                return Ok(Outcome::Nothing);
            }
            if value.is_empty() || no_access {
                return Err(Refusal::new(EfiStatus::NOT_FOUND, Reason::DoesNotExist));
            }
            let lasting = Attributes::RUNTIME_ACCESS | Attributes::NON_VOLATILE;
            if self.runtime && !write.attributes.contains(lasting) {
                return Err(Refusal::invalid(Reason::AtRuntime));
            }
            // An append that creates the variable leaves it without a time.
            let time = if append { EfiTime::ZERO } else { time };
            return self.replace(write, value.to_vec(), time, owner);
        };
        if (value.is_empty() && !append) || no_access {
            self.variables.remove(&write.name);
            return Ok(Outcome::Deleted);
        }
        let (old, owner) = (&stored.variable, stored.owner.clone());
        if !append {
            return self.replace(write, value.to_vec(), time, owner);
        }
        let time = if time.is_later_than(old.time) {
            time
        } else {
            old.time
        };
        let merged = merge(&write.name, &old.data, value);
        let max = self.quota.max_authenticated;
        let len = record_len(&write.name, merged.len() as u64);
        if len > max {
            return Err(Refusal::invalid(Reason::TooLarge { len, max }));
        }
        self.replace(write, merged, time, owner)
    }

    fn replace(
        &mut self,
        write: &Write,
        data: Vec<u8>,
        time: EfiTime,
        owner: Option<Vec<u8>>,
    ) -> Result<Outcome, Refusal> {
        let needed = aligned(record_len(&write.name, data.len() as u64));
        let old = self
            .variable(&write.name)
            .map_or(0, |v| aligned(record_len(&v.name, v.data.len() as u64)));
        // Before the operating system runs, the space of old values is reclaimed when it is needed.
        if self.used.saturating_add(needed) > self.quota.space && !self.runtime {
            self.used = self.live().saturating_sub(old);
        }
        let available = self.quota.space.saturating_sub(self.used);
        if needed > available {
            return Err(Refusal::new(
                EfiStatus::OUT_OF_RESOURCES,
                Reason::NoSpace { needed, available },
            ));
        }
        let attributes = write.attributes.without(Attributes::APPEND_WRITE);
        self.insert(
            Variable::new(write.name.clone(), attributes, data).at(time),
            owner,
        );
        Ok(Outcome::Stored { time })
    }

    fn insert(&mut self, variable: Variable, owner: Option<Vec<u8>>) {
        self.used = self.used.saturating_add(aligned(record_len(
            &variable.name,
            variable.data.len() as u64,
        )));
        self.variables
            .insert(variable.name.clone(), Stored { variable, owner });
    }

    /// Bytes of all variables that exist.
    fn live(&self) -> u64 {
        self.variables().fold(0, |sum, v| {
            sum.saturating_add(aligned(record_len(&v.name, v.data.len() as u64)))
        })
    }
}
