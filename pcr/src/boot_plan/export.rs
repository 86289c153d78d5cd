//! Plans for other programs: JSON, and components of systemd-pcrlock.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::bank::{Bank, Register};
use crate::boot_plan::{BootPlan, PlannedEvent};
use crate::signature_document::to_hex;

type Values = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Serialize)]
struct PlanJson {
    stub: String,
    /// Register, phase path, bank.
    pcrs: BTreeMap<String, Values>,
    events: Vec<EventJson>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct EventJson {
    pcr: u8,
    r#type: String,
    what: String,
    digests: BTreeMap<String, String>,
    data: String,
}

#[derive(Serialize)]
struct Records<'a> {
    records: Vec<Record<'a>>,
}

#[derive(Serialize)]
struct Record<'a> {
    pcr: u8,
    digests: Vec<RecordDigest<'a>>,
}

#[derive(Serialize)]
struct RecordDigest<'a> {
    #[serde(rename = "hashAlg")]
    algorithm: &'a str,
    digest: String,
}

/// A file for a directory that systemd-pcrlock reads (`/var/lib/pcrlock.d`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PcrlockComponent {
    /// Its path in the directory: the number says where in the boot it happens.
    pub path: &'static str,
    /// The JSON content.
    pub content: String,
}

impl BootPlan {
    /// The plan as one JSON document: `stub`, `pcrs` (register, phase path, bank: value), `events`
    /// and `notes`. The same bytes for the same plan.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut pcrs: BTreeMap<String, Values> = BTreeMap::new();
        for register in &self.registers {
            let values = pcrs.entry(register.to_string()).or_default();
            let mut insert = |phase: &str, value: &dyn Fn(Bank) -> Option<crate::Digest>| {
                let banks = self.banks.iter().filter_map(|bank| {
                    let value = value(*bank)?;
                    Some((bank.to_string(), value.to_string()))
                });
                values.insert(phase.into(), banks.collect());
            };
            insert("", &|bank| self.register_at_stub(*register, bank));
            if *register == Register::KERNEL_BOOT || self.events.iter().any(PlannedEvent::is_phase)
            {
                insert(self.phase.as_str(), &|bank| self.register(*register, bank));
            }
        }
        let plan = PlanJson {
            stub: self.dialect.to_string(),
            pcrs,
            events: self.events.iter().map(event_json).collect(),
            notes: self.notes.iter().map(ToString::to_string).collect(),
        };
        serde_json::to_string_pretty(&plan).unwrap_or_default()
    }

    /// The plan as components for systemd-pcrlock.
    ///
    /// systemd itself ships components for separators, for the start of boot options, for the end of
    /// boot services and for the phase words; these are left out.
    #[must_use]
    pub fn to_pcrlock(&self) -> Vec<PcrlockComponent> {
        let mut components: BTreeMap<&'static str, Vec<Record<'_>>> = BTreeMap::new();
        for event in &self.events {
            let Some(path) = component(event) else {
                continue;
            };
            components.entry(path).or_default().push(Record {
                pcr: event.register().index(),
                digests: event
                    .digests()
                    .iter()
                    .map(|digest| RecordDigest {
                        algorithm: digest.bank().name(),
                        digest: digest.to_string(),
                    })
                    .collect(),
            });
        }
        components
            .into_iter()
            .map(|(path, records)| PcrlockComponent {
                path,
                content: serde_json::to_string(&Records { records }).unwrap_or_default(),
            })
            .collect()
    }
}

/// The component of an event; `None` for what systemd ships.
fn component(event: &PlannedEvent) -> Option<&'static str> {
    if event.is_phase() {
        return None;
    }
    match (event.register().index(), event.what()) {
        (4, "boot loader image") => Some("630-boot-loader-code.pcrlock"),
        (5, "partition table") => Some("600-gpt.pcrlock"),
        (5, "loader.conf") => Some("640-boot-loader-config.pcrlock"),
        (12, "options from the boot loader") => Some("645-boot-loader-options.pcrlock"),
        (4, "UKI image" | "addon image" | "kernel image") | (11, _) => Some("650-uki.pcrlock"),
        (12, _) => Some("660-kernel-config.pcrlock"),
        (13, _) => Some("665-sysexts.pcrlock"),
        (9, "initrd") => Some("720-kernel-initrd.pcrlock"),
        (9, _) => Some("710-kernel-cmdline.pcrlock"),
        _ => None,
    }
}

fn event_json(event: &PlannedEvent) -> EventJson {
    EventJson {
        pcr: event.register().index(),
        r#type: event.event_type().to_string(),
        what: event.what().into(),
        digests: event
            .digests()
            .iter()
            .map(|digest| (digest.bank().to_string(), digest.to_string()))
            .collect(),
        data: to_hex(event.data()),
    }
}
