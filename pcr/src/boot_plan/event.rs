//! One predicted measurement.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::EventType;
use crate::bank::{Bank, Digest, Register};
use crate::error::Error;

/// A measurement that a boot will make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedEvent {
    register: Register,
    event_type: EventType,
    digests: Vec<Digest>,
    what: String,
    data: Vec<u8>,
    phase: bool,
}

impl PlannedEvent {
    /// An event with these digests, one for each bank; `what` is told to people.
    #[must_use]
    pub fn new(
        register: Register,
        event_type: EventType,
        digests: Vec<Digest>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            register,
            event_type,
            digests,
            what: what.into(),
            data: Vec::new(),
            phase: false,
        }
    }

    /// An event that measures these bytes.
    #[must_use]
    pub fn of(
        register: Register,
        event_type: EventType,
        banks: &[Bank],
        measured: &[u8],
        what: impl Into<String>,
    ) -> Self {
        let digests = banks.iter().map(|bank| bank.hash(measured)).collect();
        Self::new(register, event_type, digests, what)
    }

    /// With event data as boot loader and stub write them: the text in UTF-16 with a NUL.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.data = utf16_with_nul(text);
        self
    }

    /// With the event data of `EV_EVENT_TAG`: the tag, the length, the text in UTF-16 with a NUL.
    #[must_use]
    pub fn with_tag(mut self, tag: u32, text: &str) -> Self {
        let text = utf16_with_nul(text);
        self.data = tag.to_le_bytes().to_vec();
        let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.data.extend(len.to_le_bytes());
        self.data.extend(text);
        self
    }

    /// With these event data.
    #[must_use]
    pub fn with_data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    /// A word that userspace extends.
    pub(super) fn of_phase(mut self, word: &[u8]) -> Self {
        self.phase = true;
        self.data = word.to_vec();
        self
    }

    /// Whether userspace makes this measurement: it stands in no log of the firmware.
    #[must_use]
    pub const fn is_phase(&self) -> bool {
        self.phase
    }

    /// The register that is extended.
    #[must_use]
    pub const fn register(&self) -> Register {
        self.register
    }

    /// The type under which the event is logged.
    #[must_use]
    pub const fn event_type(&self) -> EventType {
        self.event_type
    }

    /// The digests, one for each bank of the plan.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// The digest for this bank.
    ///
    /// # Errors
    /// [`Error::MissingDigest`] when the plan does not have the bank.
    pub fn digest(&self, bank: Bank) -> Result<&Digest, Error> {
        self.digests
            .iter()
            .find(|digest| digest.bank() == bank)
            .ok_or_else(|| Error::MissingDigest {
                what: self.what.to_string(),
                bank,
            })
    }

    /// What is measured, for people.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The event data as far as they are known; they are not what is measured.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// Text as firmware has it: UTF-16, little endian, with a final NUL.
pub(crate) fn utf16_with_nul(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}
