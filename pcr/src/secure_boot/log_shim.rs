//! What a log tells of the shim that ran.

use alloc::vec::Vec;

use super::BootImage;
use super::prediction::PredictedEvent;
use super::shim::{Shim, ShimGeneration};
use super::signature_list::{self, SHA256, X509};
use crate::bank::Digest;
use crate::event_log::{Guid, VariableData};

/// shim as a log shows it: its measurements, which are copied, and the keys by which it started images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogShim {
    /// What it measured of its own state, into PCR 7 and 14, in order.
    pub(super) state: Vec<PredictedEvent>,
    /// The authorities that it measured for images.
    pub(super) authorities: Vec<PredictedEvent>,
    /// Its lists, as far as the authorities tell.
    pub(super) shim: Shim,
    /// The authority by which the firmware started it.
    loaded_by: Option<VariableData>,
    /// The digests of all boot applications: one of them is shim.
    applications: Vec<Digest>,
}

fn is_state(data: &VariableData) -> bool {
    data.guid == Guid::SHIM_LOCK
        && ["SbatLevel", "MokSBState", "MokListTrusted"].contains(&data.name.as_str())
}

fn is_of_shim(data: &VariableData) -> bool {
    data.guid == Guid::SHIM_LOCK || data.name == "vendor_db"
}

impl LogShim {
    /// From the authorities of a log, the events of PCR 14, and the digests of boot applications; `None` when no shim ran.
    pub(super) fn new(
        authorities: &[PredictedEvent],
        mok: &[PredictedEvent],
        applications: &[Digest],
    ) -> Option<Self> {
        let data = |event: &PredictedEvent| event.variable_data();
        let first = authorities
            .iter()
            .position(|event| data(event).is_some_and(|data| is_of_shim(&data)))?;
        let (before, after) = authorities.split_at(first);
        let (state, authorities): (Vec<_>, Vec<_>) = after
            .iter()
            .cloned()
            .partition(|event| data(event).is_some_and(|data| is_state(&data)));
        let mut level = Vec::new();
        let (mut list, mut vendor) = (Vec::new(), Vec::new());
        let mut generation = ShimGeneration::Current;
        let mut state_off = None;
        for data in after.iter().filter_map(data) {
            match data.name.as_str() {
                "SbatLevel" => level = data.value,
                "MokSBState" => state_off = data.value.first().copied(),
                "MokListTrusted" => generation = ShimGeneration::TrustedInPcr7,
                "MokListRT" | "MokList" => {
                    if data.name == "MokList" && generation == ShimGeneration::Current {
                        generation = ShimGeneration::BareVendorCertificate;
                    }
                    let kind = if data.value.len() == 48 { SHA256 } else { X509 };
                    list.extend(signature_list::list(kind, &[&data.value]));
                }
                "Shim" => {
                    if generation == ShimGeneration::Current {
                        generation = ShimGeneration::BareVendorCertificate;
                    }
                    vendor = data.value;
                }
                _ => {}
            }
        }
        if level.is_empty() {
            generation = ShimGeneration::BeforeSbat;
        }
        let shim = Shim::new(&level).generation(generation);
        Some(Self {
            state: state.into_iter().chain(mok.iter().cloned()).collect(),
            authorities,
            shim: shim
                .with_vendor_certificate(&vendor, &list, &[], &[])
                .mok_sb_state(state_off),
            loaded_by: before.iter().rev().find_map(data),
            applications: applications.to_vec(),
        })
    }

    /// Whether this is what shim measures of its own state, whatever it starts.
    pub(super) fn is_state(event: &PredictedEvent) -> bool {
        event.variable_data().is_some_and(|data| is_state(&data))
    }

    /// Whether this image, started by the firmware with these authorities, is the shim of the log or another version of it.
    pub(super) fn is(&self, image: &BootImage, authorities: &[VariableData]) -> bool {
        let known = |digest: &Digest| self.applications.contains(digest);
        image.digests.iter().any(known)
            || self
                .loaded_by
                .as_ref()
                .is_some_and(|loaded_by| authorities.contains(loaded_by))
    }
}
