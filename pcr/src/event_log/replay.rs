//! Register values from a log.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::data::EventData;
use super::event::EventType;
use super::{Event, EventLog};
use crate::bank::{Bank, Digest, Register};

/// The register values that a log's events give, in every bank of the log that this crate can compute.
///
/// Registers that user space extends have further extends that no firmware log holds: 10 (IMA), and 8, 9 and 11 to 15.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    banks: Vec<Bank>,
    values: BTreeMap<(Bank, Register), Digest>,
    locality: u8,
}

impl Replay {
    pub(super) fn new(log: &EventLog) -> Self {
        let banks = log.banks();
        let locality = startup_locality(log.events());
        let mut values = BTreeMap::new();
        for event in log.events().iter().filter(|event| event.extends()) {
            let Some(register) = event.register() else {
                continue;
            };
            for digest in event
                .digests()
                .iter()
                .filter_map(super::EventDigest::digest)
            {
                let bank = digest.bank();
                let value = values
                    .entry((bank, register))
                    .or_insert_with(|| start(bank, register, locality));
                *value = value.extended(&digest);
            }
        }
        Self {
            banks,
            values,
            locality,
        }
    }

    /// The banks that were computed.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// A register's value, whether the log extends it or not; `None` for a bank that the log does not have.
    #[must_use]
    pub fn value(&self, bank: Bank, register: Register) -> Option<Digest> {
        self.banks.contains(&bank).then(|| {
            self.values
                .get(&(bank, register))
                .copied()
                .unwrap_or_else(|| start(bank, register, self.locality))
        })
    }

    /// The registers that the log extends, with their values.
    pub fn extended(&self) -> impl Iterator<Item = (Register, Digest)> + '_ {
        self.values
            .iter()
            .map(|((_, register), digest)| (*register, *digest))
    }

    /// The locality that started the TPM: the last byte of PCR 0 before the first extend.
    #[must_use]
    pub const fn startup_locality(&self) -> u8 {
        self.locality
    }
}

/// 3 or the like when an event says so; 4 when there was an H-CRTM event, otherwise 0.
fn startup_locality(events: &[Event]) -> u8 {
    let declared = events
        .iter()
        .filter(|event| event.event_type() == EventType::NO_ACTION && event.pcr_index() == 0)
        .find_map(|event| match event.decoded() {
            EventData::StartupLocality(locality) => Some(locality),
            _ => None,
        });
    declared.unwrap_or_else(|| {
        let hcrtm = events.iter().any(|event| {
            event.event_type() == EventType::EFI_HCRTM_EVENT && event.pcr_index() == 0
        });
        if hcrtm { 4 } else { 0 }
    })
}

fn start(bank: Bank, register: Register, locality: u8) -> Digest {
    if register.index() != 0 || locality == 0 {
        return register.reset_value(bank);
    }
    let mut bytes = register.reset_value(bank).as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = locality;
    }
    Digest::new(bank, &bytes).unwrap_or_else(|| register.reset_value(bank))
}
