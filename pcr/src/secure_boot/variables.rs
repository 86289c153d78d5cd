//! The variables that PCR 7 is about, and changes that are about to be made to them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::error::SecureBootError;
use super::signature_list::{self, Entry};
use crate::event_log::{EventData, EventLog, EventType, Guid, VariableData};

/// A variable that holds keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyVariable {
    /// Platform key.
    Pk,
    /// Keys that may change the databases.
    Kek,
    /// What may start.
    Db,
    /// What may not start.
    Dbx,
    /// Certificates of time stamps.
    Dbt,
    /// Certificates for recovery.
    Dbr,
}

impl KeyVariable {
    /// The variable's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
            Self::Dbx => "dbx",
            Self::Dbt => "dbt",
            Self::Dbr => "dbr",
        }
    }

    /// The variable's vendor GUID.
    #[must_use]
    pub const fn guid(self) -> Guid {
        match self {
            Self::Pk | Self::Kek => Guid::GLOBAL,
            Self::Db | Self::Dbx | Self::Dbt | Self::Dbr => Guid::IMAGE_SECURITY,
        }
    }

    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 6] = [
        Self::Pk,
        Self::Kek,
        Self::Db,
        Self::Dbx,
        Self::Dbt,
        Self::Dbr,
    ];

    /// The key variable with this GUID and name.
    #[must_use]
    pub fn find(guid: Guid, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variable| variable.guid() == guid && variable.name() == name)
    }
}

impl fmt::Display for KeyVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The values of the variables that firmware measures into PCR 7, as they are when the machine starts.
///
/// Values are signature lists, without attributes and without authentication header. An empty value and a variable that
/// does not exist are measured alike.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SecureBootVariables {
    secure_boot: bool,
    values: [Vec<u8>; 6],
}

impl SecureBootVariables {
    /// No key enrolled, Secure Boot off: a machine in setup mode.
    #[must_use]
    pub fn setup_mode() -> Self {
        Self::default()
    }

    /// Secure Boot on with these values: a machine that has keys, or how it will be once these are enrolled.
    #[must_use]
    pub fn enrolled(pk: &[u8], kek: &[u8], db: &[u8], dbx: &[u8]) -> Self {
        Self::default()
            .secure_boot(true)
            .with(KeyVariable::Pk, pk)
            .with(KeyVariable::Kek, kek)
            .with(KeyVariable::Db, db)
            .with(KeyVariable::Dbx, dbx)
    }

    /// The variables of a running machine, from efivarfs: file names (`db-d719b2cb-…`) and file contents. Files of other
    /// variables are passed over; so are contents shorter than their attributes, as failed writes leave them.
    #[must_use]
    pub fn from_efivarfs<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut variables = Self::default();
        for (name, content) in files {
            let parts = name
                .split_once('-')
                .and_then(|(name, guid)| Some((name, guid.parse().ok()?)));
            if let (Some((name, guid)), Some((_, value))) =
                (parts, content.split_first_chunk::<4>())
            {
                variables.set(guid, name, value);
            }
        }
        variables
    }

    /// The variables that a boot measured.
    ///
    /// # Errors
    /// [`SecureBootError::IncompleteLog`] when the log has no event of SecureBoot, PK, KEK, db or dbx.
    pub fn from_log(log: &EventLog) -> Result<Self, SecureBootError> {
        let mut variables = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for event in log.events() {
            if event.pcr_index() != 7 || event.event_type() != EventType::EFI_VARIABLE_DRIVER_CONFIG
            {
                continue;
            }
            if let EventData::Variable(VariableData { guid, name, value }) = event.decoded() {
                variables.set(guid, &name, &value);
                seen.push(name);
            }
        }
        for what in ["SecureBoot", "PK", "KEK", "db", "dbx"] {
            if !seen.iter().any(|name| name == what) {
                return Err(SecureBootError::IncompleteLog { what });
            }
        }
        Ok(variables)
    }

    fn set(&mut self, guid: Guid, name: &str, value: &[u8]) {
        if let Some(variable) = KeyVariable::find(guid, name) {
            *self.slot(variable) = value.to_vec();
        } else if guid == Guid::GLOBAL && name == "SecureBoot" {
            self.secure_boot = value == [1];
        }
    }

    /// The same with Secure Boot on or off.
    #[must_use]
    pub fn secure_boot(mut self, on: bool) -> Self {
        self.secure_boot = on;
        self
    }

    /// The same with another value of one variable.
    #[must_use]
    pub fn with(mut self, variable: KeyVariable, value: &[u8]) -> Self {
        *self.slot(variable) = value.to_vec();
        self
    }

    /// Whether Secure Boot is on.
    #[must_use]
    pub const fn is_secure_boot(&self) -> bool {
        self.secure_boot
    }

    /// A variable's value; empty when it does not exist.
    #[must_use]
    pub fn value(&self, variable: KeyVariable) -> &[u8] {
        let [pk, kek, db, dbx, dbt, dbr] = &self.values;
        match variable {
            KeyVariable::Pk => pk,
            KeyVariable::Kek => kek,
            KeyVariable::Db => db,
            KeyVariable::Dbx => dbx,
            KeyVariable::Dbt => dbt,
            KeyVariable::Dbr => dbr,
        }
    }

    fn slot(&mut self, variable: KeyVariable) -> &mut Vec<u8> {
        let [pk, kek, db, dbx, dbt, dbr] = &mut self.values;
        match variable {
            KeyVariable::Pk => pk,
            KeyVariable::Kek => kek,
            KeyVariable::Db => db,
            KeyVariable::Dbx => dbx,
            KeyVariable::Dbt => dbt,
            KeyVariable::Dbr => dbr,
        }
    }

    /// The variables after an update, as edk2 stores it. Secure Boot goes off when PK is emptied, and on when a PK is
    /// written to a machine without one: both at the next start, which is when PCR 7 is measured again.
    ///
    /// # Errors
    /// [`SecureBootError::SignatureList`] when the value, or the value that is appended to, is malformed.
    pub fn updated(&self, update: &VariableUpdate) -> Result<Self, SecureBootError> {
        self.updated_as(update, false)
    }

    pub(super) fn updated_as(
        &self,
        update: &VariableUpdate,
        ignore_owner: bool,
    ) -> Result<Self, SecureBootError> {
        let variable = update.variable;
        let new = entries_of(variable, &update.value)?;
        let mut after = self.clone();
        if update.append {
            let old = entries_of(variable, self.value(variable))?;
            after
                .slot(variable)
                .extend(appended(&old, &new, ignore_owner));
        } else {
            after.slot(variable).clone_from(&update.value);
        }
        if variable == KeyVariable::Pk {
            let had_key = !self.value(variable).is_empty();
            let has_key = !after.value(variable).is_empty();
            if had_key != has_key {
                after.secure_boot = has_key;
            }
        }
        Ok(after)
    }

    pub(super) fn entries(&self, variable: KeyVariable) -> Result<Vec<Entry<'_>>, SecureBootError> {
        entries_of(variable, self.value(variable))
    }
}

/// What edk2 appends: the lists that were given, each without the entries that are known already.
fn appended(old: &[Entry<'_>], new: &[Entry<'_>], ignore_owner: bool) -> Vec<u8> {
    let same = |one: &Entry<'_>, other: &Entry<'_>| {
        one.kind() == other.kind()
            && if ignore_owner {
                one.data() == other.data()
            } else {
                one.bytes == other.bytes
            }
    };
    let mut bytes = Vec::new();
    for list in new.chunk_by(|one, other| one.list() == other.list()) {
        let fresh: Vec<&[u8]> = list
            .iter()
            .filter(|entry| !old.iter().any(|known| same(known, entry)))
            .map(|entry| entry.bytes)
            .collect();
        if let (Some(first), false) = (list.first(), fresh.is_empty()) {
            bytes.extend(signature_list::list(first.kind(), &fresh));
        }
    }
    bytes
}

pub(super) fn entries_of(
    variable: KeyVariable,
    value: &[u8],
) -> Result<Vec<Entry<'_>>, SecureBootError> {
    signature_list::entries(value).map_err(|(what, offset)| SecureBootError::SignatureList {
        variable,
        what,
        offset,
    })
}

impl fmt::Debug for SecureBootVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SecureBootVariables");
        debug.field("secure_boot", &self.secure_boot);
        for variable in KeyVariable::ALL {
            debug.field(
                variable.name(),
                &format_args!("{} bytes", self.value(variable).len()),
            );
        }
        debug.finish()
    }
}

/// A write to a key variable that has not been measured yet.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VariableUpdate {
    variable: KeyVariable,
    append: bool,
    value: Vec<u8>,
}

impl VariableUpdate {
    /// The variable gets this value.
    #[must_use]
    pub fn replace(variable: KeyVariable, value: &[u8]) -> Self {
        Self {
            variable,
            append: false,
            value: value.to_vec(),
        }
    }

    /// The variable's value is followed by these lists, without the entries that it has already.
    #[must_use]
    pub fn append(variable: KeyVariable, value: &[u8]) -> Self {
        Self {
            variable,
            append: true,
            value: value.to_vec(),
        }
    }

    /// For an append of several entries: one append for each of them.
    pub(super) fn single_entries(&self) -> Result<Vec<Self>, SecureBootError> {
        let entries = entries_of(self.variable, &self.value)?;
        if !self.append || entries.len() < 2 {
            return Ok(Vec::new());
        }
        Ok(entries
            .iter()
            .map(|entry| Self::append(self.variable, &entry.to_list()))
            .collect())
    }

    /// The variable.
    #[must_use]
    pub const fn variable(&self) -> KeyVariable {
        self.variable
    }
}

impl fmt::Display for VariableUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.append { "append to" } else { "replace" };
        write!(f, "{verb} {}", self.variable)
    }
}

impl fmt::Debug for VariableUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VariableUpdate({self}, {} bytes)", self.value.len())
    }
}
