#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod record;
mod volume;

use alloc::vec::Vec;
use core::fmt;

use crate::{
    Attributes, CUSTOM_MODE, Enrolment, Error, Firmware, Machine, Quota, SECURE_BOOT_ENABLE,
    Variable, VariableName,
};
use record::Record;
use volume::Volume;

/// A variable store file of OVMF (`OVMF_VARS.fd`, also within a whole `OVMF.fd`): the non-volatile variables of a virtual machine.
///
/// Parsing and writing back gives the same bytes. After a change the records are written anew, in the order of their names and
/// without those that were deleted, as virt-firmware does; everything around them is kept.
///
/// # Examples
///
/// ```no_run
/// # fn demo(plan: efivars::Enrolment) -> Result<(), Box<dyn std::error::Error>> {
/// use efivars::VariableStore;
/// let mut store = VariableStore::parse(&std::fs::read("OVMF_VARS_4M.fd")?)?;
/// store.enrol(&plan);
/// std::fs::write("machine.fd", store.to_bytes()?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct VariableStore {
    bytes: Vec<u8>,
    volume: Volume,
    records: Vec<Record>,
    changed: bool,
}

/// The sizes that the file has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StoreLayout {
    /// The 128 KiB of OVMF's 1 MiB and 2 MiB builds.
    Ovmf2M,
    /// The 528 KiB of OVMF's 4 MiB builds.
    Ovmf4M,
    /// Other sizes.
    Other,
}

impl VariableStore {
    /// Reads the file and all records that are valid.
    ///
    /// # Errors
    ///
    /// [`Error::NoVariableStore`] when there is none, [`Error::BrokenStore`] for checksums and sizes that do not fit, and for a
    /// write that firmware has begun and not finished, [`Error::LooksLike`] for a qcow2 image.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.starts_with(b"QFI\xfb") {
            return Err(Error::LooksLike {
                what: "a qcow2 disk image, which has to be converted to a raw one first",
            });
        }
        let volume = Volume::find(bytes)?;
        let area = bytes
            .get(volume.records.clone())
            .ok_or(Error::NoVariableStore)?;
        let records = record::read_all(area, volume.records.start as u64)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            volume,
            records,
            changed: false,
        })
    }

    /// The sizes that it has.
    #[must_use]
    pub const fn layout(&self) -> StoreLayout {
        match (self.volume.len, self.volume.store_len) {
            (0x2_0000, 0xdfb8) => StoreLayout::Ovmf2M,
            (0x8_4000, 0x3_ffb8) => StoreLayout::Ovmf4M,
            _ => StoreLayout::Other,
        }
    }

    /// How much the firmware that uses such a file stores.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        match self.layout() {
            StoreLayout::Ovmf2M => Quota::OVMF_2M,
            StoreLayout::Ovmf4M | StoreLayout::Other => Quota::OVMF_4M,
        }
    }

    /// The variables, in the order in which they stand there.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.records.iter().map(|record| &record.variable)
    }

    /// The variable of this name.
    #[must_use]
    pub fn variable(&self, name: &VariableName) -> Option<&Variable> {
        self.variables().find(|variable| variable.name == *name)
    }

    /// Adds a variable, or replaces the one of the same name, without asking firmware.
    pub fn set(&mut self, variable: Variable) {
        self.changed = true;
        match self
            .records
            .iter_mut()
            .find(|record| record.variable.name == variable.name)
        {
            Some(record) => *record = Record::new(variable),
            None => self.records.push(Record::new(variable)),
        }
    }

    /// Removes a variable; whether there was one.
    pub fn remove(&mut self, name: &VariableName) -> bool {
        let before = self.records.len();
        self.records.retain(|record| record.variable.name != *name);
        let removed = self.records.len() != before;
        self.changed |= removed;
        removed
    }

    /// Enrols keys and switches Secure Boot on: the machine starts with it at its next boot.
    pub fn enrol(&mut self, plan: &Enrolment) {
        plan.variables()
            .into_iter()
            .for_each(|variable| self.set(variable));
        let flags = Attributes::NON_VOLATILE | Attributes::BOOTSERVICE_ACCESS;
        self.set(Variable::new(SECURE_BOOT_ENABLE, flags, alloc::vec![1]));
        self.set(Variable::new(CUSTOM_MODE, flags, alloc::vec![0]));
    }

    /// Removes PK, KEK, db, dbx and dbt: the machine starts in setup mode.
    pub fn remove_keys(&mut self) {
        let before = self.records.len();
        self.records.retain(|record| {
            !record.variable.name.is_key_variable() && record.variable.name != SECURE_BOOT_ENABLE
        });
        self.changed |= self.records.len() != before;
    }

    /// The machine that starts with this file, for the firmware model.
    #[must_use]
    pub fn to_machine(&self, firmware: Firmware) -> Machine {
        Machine::with_variables(firmware, self.variables().cloned()).with_quota(self.quota())
    }

    /// The file.
    ///
    /// # Errors
    ///
    /// [`Error::NoSpace`] when the variables do not fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        if !self.changed {
            return Ok(self.bytes.clone());
        }
        let mut records: Vec<&Record> = self.records.iter().collect();
        records.sort_by(|a, b| a.variable.name.cmp(&b.variable.name));
        let mut area = Vec::new();
        records
            .iter()
            .try_for_each(|record| record.append_to(&mut area))?;
        let available = self.volume.records.len();
        if area.len() > available {
            return Err(Error::NoSpace {
                needed: area.len() as u64,
                available: available as u64,
            });
        }
        area.resize(available, 0xff);
        let mut bytes = self.bytes.clone();
        if let Some(place) = bytes.get_mut(self.volume.records.clone()) {
            place.copy_from_slice(&area);
        }
        Ok(bytes)
    }
}

impl fmt::Debug for VariableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VariableStore")
            .field("layout", &self.layout())
            .field("variables", &self.records.len())
            .finish_non_exhaustive()
    }
}
