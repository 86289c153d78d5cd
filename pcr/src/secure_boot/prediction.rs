//! The result of a prediction: events, and the register values that they give.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::variables::KeyVariable;
use super::verify::Verdict;
use crate::bank::{Bank, Digest, Register};
use crate::event_log::{Event, EventData, EventLog, EventType, Guid, VariableData};

/// Why an event is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventCause {
    /// The state of Secure Boot.
    SecureBoot,
    /// A key variable.
    Variable(KeyVariable),
    /// The separator.
    Separator,
    /// An image was authorised; this is its number in the order of loading.
    Image(usize),
    /// shim started.
    Shim,
    /// The firmware is like that: a [`super::Quirk`], or an event that was copied from a log.
    Firmware,
}

/// An event that will be measured.
#[derive(Clone, PartialEq, Eq)]
pub struct PredictedEvent {
    register: Register,
    event_type: EventType,
    data: Vec<u8>,
    measured: Option<Vec<u8>>,
    digests: Vec<Digest>,
    cause: EventCause,
}

impl PredictedEvent {
    pub(super) fn new(
        register: Register,
        event_type: EventType,
        data: Vec<u8>,
        cause: EventCause,
    ) -> Self {
        Self {
            register,
            event_type,
            data,
            measured: None,
            digests: Vec::new(),
            cause,
        }
    }

    pub(super) fn variable(
        event_type: EventType,
        variable: &VariableData,
        cause: EventCause,
    ) -> Self {
        Self::new(
            Register::SECURE_BOOT_POLICY,
            event_type,
            variable.to_bytes(),
            cause,
        )
    }

    /// An authority as shim before 15.3 measures it: with five bytes of padding, and one more in the log.
    pub(super) fn padded(variable: &VariableData, cause: EventCause) -> Self {
        let mut measured = variable.to_bytes();
        measured.extend_from_slice(&[0; 5]);
        let mut event = Self::variable(EventType::EFI_VARIABLE_AUTHORITY, variable, cause);
        event.data.extend_from_slice(&[0; 6]);
        event.measuring(measured)
    }

    /// The digests are those of other bytes than the data.
    pub(super) fn measuring(mut self, measured: Vec<u8>) -> Self {
        self.measured = Some(measured);
        self
    }

    /// A copy of an event of a log.
    pub(super) fn copied(event: &Event, register: Register) -> Self {
        let digests = Bank::ALL.into_iter().filter_map(|bank| event.digest(bank));
        let mut copy = Self::new(
            register,
            event.event_type(),
            event.data().to_vec(),
            EventCause::Firmware,
        );
        copy.digests = digests.collect();
        copy
    }

    /// The register.
    #[must_use]
    pub const fn register(&self) -> Register {
        self.register
    }

    /// The type.
    #[must_use]
    pub const fn event_type(&self) -> EventType {
        self.event_type
    }

    /// The event data as firmware will log it.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Why it is measured.
    #[must_use]
    pub const fn cause(&self) -> EventCause {
        self.cause
    }

    /// The variable or authority, when the event is about one.
    #[must_use]
    pub fn variable_data(&self) -> Option<VariableData> {
        VariableData::parse(&self.data)
    }

    /// The digest that extends the register. An event that was copied from a log without this bank is hashed anew.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Digest {
        self.digests
            .iter()
            .find(|digest| digest.bank() == bank)
            .copied()
            .unwrap_or_else(|| bank.hash(self.measured.as_ref().unwrap_or(&self.data)))
    }

    pub(super) fn move_to(&mut self, register: Register) {
        self.register = register;
    }

    pub(super) fn is_authority(&self) -> bool {
        self.event_type == EventType::EFI_VARIABLE_AUTHORITY
    }

    pub(super) fn to_event(&self, banks: &[Bank]) -> Event {
        let digests: Vec<Digest> = banks.iter().map(|bank| self.digest(*bank)).collect();
        Event::new(self.register, self.event_type, &digests, &self.data)
    }
}

impl fmt::Debug for PredictedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.variable_data().map(|variable| variable.name);
        f.debug_struct("PredictedEvent")
            .field("register", &self.register.index())
            .field("event_type", &format_args!("{}", self.event_type))
            .field("variable", &name)
            .field("cause", &self.cause)
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// What PCR 7, and with shim PCR 14, will hold, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcr7Prediction {
    pub(super) events: Vec<PredictedEvent>,
    pub(super) verdicts: Vec<Verdict>,
}

impl Pcr7Prediction {
    /// PCR 7 in a bank.
    #[must_use]
    pub fn value(&self, bank: Bank) -> Digest {
        self.register(bank, Register::SECURE_BOOT_POLICY)
    }

    /// The value that the events of this prediction give to a register. Of registers other than 7 and 14 it is only what
    /// shim or a quirk adds.
    #[must_use]
    pub fn register(&self, bank: Bank, register: Register) -> Digest {
        let events = self
            .events
            .iter()
            .filter(|event| event.register == register);
        events.fold(register.reset_value(bank), |value, event| {
            value.extended(&event.digest(bank))
        })
    }

    /// The registers that have events here.
    #[must_use]
    pub fn registers(&self) -> Vec<Register> {
        let registers: BTreeSet<Register> =
            self.events.iter().map(|event| event.register).collect();
        registers.into_iter().collect()
    }

    /// The events in order.
    #[must_use]
    pub fn events(&self) -> &[PredictedEvent] {
        &self.events
    }

    /// What becomes of each image, in the order of loading; then the refusal of an image that only a log tells of, if the
    /// variables have changed so that it is not started any more.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Whether all images are started. If not, the prediction is what is measured up to and with the refusals; a machine
    /// that goes on then measures more.
    #[must_use]
    pub fn all_started(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.is_started())
    }

    /// The authorities, in order: what `EV_EFI_VARIABLE_AUTHORITY` events in PCR 7 will say.
    #[must_use]
    pub fn authorities(&self) -> Vec<VariableData> {
        let authorities = self.events.iter().filter(|event| event.is_authority());
        authorities
            .filter_map(PredictedEvent::variable_data)
            .collect()
    }

    /// The events as an event log.
    #[must_use]
    pub fn to_log(&self, banks: &[Bank]) -> EventLog {
        EventLog::of_events(
            banks,
            self.events
                .iter()
                .map(|event| event.to_event(banks))
                .collect(),
        )
    }
}

/// A short name for what an event is about.
pub(super) fn subject(event: &Event) -> String {
    match event.decoded() {
        EventData::Variable(variable)
            if event.event_type() == EventType::EFI_VARIABLE_AUTHORITY =>
        {
            let owner = variable
                .value
                .first_chunk::<16>()
                .copied()
                .map(Guid::from_bytes);
            let owner = owner.filter(|_| variable.name != "SbatLevel" && variable.name != "Shim");
            match owner {
                Some(owner) => format!("authority {} of owner {owner}", variable.name),
                None => format!("authority {}", variable.name),
            }
        }
        EventData::Variable(variable) => format!("variable {}", variable.name),
        EventData::Text(text) => format!("action \"{text}\""),
        EventData::Separator(_) => "separator".into(),
        _ => format!("{}", event.event_type()),
    }
}
