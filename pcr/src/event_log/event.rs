//! One record of an event log.

use alloc::vec::Vec;
use core::fmt;

use crate::bank::{Bank, Digest, Register};

/// The type of an event (TCG PC Client PFP 1.06, 10.4.1): an open set, unknown values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(u32);

macro_rules! event_types {
    ($($name:ident = $value:literal, $spec:literal;)*) => {
        impl EventType {
            $(#[doc = concat!("`", $spec, "`")] pub const $name: Self = Self($value);)*

            /// The name of the specification (`EV_SEPARATOR`); `None` for a type that is not known.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($spec),)*
                    _ => None,
                }
            }

            /// The type with this name of the specification.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($spec => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    PREBOOT_CERT = 0x0, "EV_PREBOOT_CERT";
    POST_CODE = 0x1, "EV_POST_CODE";
    NO_ACTION = 0x3, "EV_NO_ACTION";
    SEPARATOR = 0x4, "EV_SEPARATOR";
    ACTION = 0x5, "EV_ACTION";
    EVENT_TAG = 0x6, "EV_EVENT_TAG";
    S_CRTM_CONTENTS = 0x7, "EV_S_CRTM_CONTENTS";
    S_CRTM_VERSION = 0x8, "EV_S_CRTM_VERSION";
    CPU_MICROCODE = 0x9, "EV_CPU_MICROCODE";
    PLATFORM_CONFIG_FLAGS = 0xa, "EV_PLATFORM_CONFIG_FLAGS";
    TABLE_OF_DEVICES = 0xb, "EV_TABLE_OF_DEVICES";
    COMPACT_HASH = 0xc, "EV_COMPACT_HASH";
    IPL = 0xd, "EV_IPL";
    IPL_PARTITION_DATA = 0xe, "EV_IPL_PARTITION_DATA";
    NONHOST_CODE = 0xf, "EV_NONHOST_CODE";
    NONHOST_CONFIG = 0x10, "EV_NONHOST_CONFIG";
    NONHOST_INFO = 0x11, "EV_NONHOST_INFO";
    OMIT_BOOT_DEVICE_EVENTS = 0x12, "EV_OMIT_BOOT_DEVICE_EVENTS";
    POST_CODE2 = 0x13, "EV_POST_CODE2";
    EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG";
    EFI_VARIABLE_BOOT = 0x8000_0002, "EV_EFI_VARIABLE_BOOT";
    EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION";
    EFI_BOOT_SERVICES_DRIVER = 0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER";
    EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER";
    EFI_GPT_EVENT = 0x8000_0006, "EV_EFI_GPT_EVENT";
    EFI_ACTION = 0x8000_0007, "EV_EFI_ACTION";
    EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB";
    EFI_HANDOFF_TABLES = 0x8000_0009, "EV_EFI_HANDOFF_TABLES";
    EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2";
    EFI_HANDOFF_TABLES2 = 0x8000_000b, "EV_EFI_HANDOFF_TABLES2";
    EFI_VARIABLE_BOOT2 = 0x8000_000c, "EV_EFI_VARIABLE_BOOT2";
    EFI_GPT_EVENT2 = 0x8000_000d, "EV_EFI_GPT_EVENT2";
    EFI_HCRTM_EVENT = 0x8000_0010, "EV_EFI_HCRTM_EVENT";
    EFI_VARIABLE_AUTHORITY = 0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY";
    EFI_SPDM_FIRMWARE_BLOB = 0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB";
    EFI_SPDM_FIRMWARE_CONFIG = 0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG";
    EFI_SPDM_DEVICE_POLICY = 0x8000_00e3, "EV_EFI_SPDM_DEVICE_POLICY";
    EFI_SPDM_DEVICE_AUTHORITY = 0x8000_00e4, "EV_EFI_SPDM_DEVICE_AUTHORITY";
}

impl EventType {
    /// The type with this number.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The type's number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// The name of the specification, or the number in hexadecimal.
impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

/// A digest as a log carries it: also of algorithms that this crate cannot compute (SM3, SHA-3).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventDigest {
    algorithm: u16,
    bytes: Vec<u8>,
}

impl EventDigest {
    pub(crate) fn new(algorithm: u16, bytes: &[u8]) -> Self {
        Self {
            algorithm,
            bytes: bytes.to_vec(),
        }
    }

    /// The `TPM_ALG_ID`.
    #[must_use]
    pub const fn algorithm_id(&self) -> u16 {
        self.algorithm
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest, if this crate can compute its algorithm.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        Digest::new(Bank::from_algorithm_id(self.algorithm)?, &self.bytes)
    }
}

impl From<Digest> for EventDigest {
    fn from(digest: Digest) -> Self {
        Self::new(digest.bank().algorithm_id(), digest.as_bytes())
    }
}

impl fmt::Debug for EventDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}",
            algorithm_name(self.algorithm).unwrap_or("?"),
            Hex(&self.bytes)
        )
    }
}

/// Name of a hash algorithm in this crate's JSON and in CEL.
pub(crate) fn algorithm_name(id: u16) -> Option<&'static str> {
    ALGORITHMS
        .iter()
        .find(|(known, ..)| *known == id)
        .map(|(_, name, _)| *name)
}

/// Digest size of an algorithm of the TCG registry.
pub(crate) fn algorithm_size(id: u16) -> Option<u16> {
    ALGORITHMS
        .iter()
        .find(|(known, ..)| *known == id)
        .map(|(.., size)| *size)
}

pub(crate) const ALGORITHMS: [(u16, &str, u16); 8] = [
    (0x0004, "sha1", 20),
    (0x000b, "sha256", 32),
    (0x000c, "sha384", 48),
    (0x000d, "sha512", 64),
    (0x0012, "sm3-256", 32),
    (0x0027, "sha3-256", 32),
    (0x0028, "sha3-384", 48),
    (0x0029, "sha3-512", 64),
];

/// Lower-case hexadecimal of bytes.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One event: `TCG_PCR_EVENT2`, or `TCG_PCR_EVENT` with its one SHA-1 digest.
///
/// Two events are equal when register, type, digests and data are; where they were found does not matter.
#[derive(Clone)]
pub struct Event {
    pub(crate) offset: u64,
    pub(crate) pcr_index: u32,
    pub(crate) event_type: EventType,
    pub(crate) digests: Vec<EventDigest>,
    pub(crate) data: Vec<u8>,
}

impl Event {
    /// An event with the given digests, for writing a log.
    #[must_use]
    pub fn new(register: Register, event_type: EventType, digests: &[Digest], data: &[u8]) -> Self {
        Self {
            offset: 0,
            pcr_index: u32::from(register.index()),
            event_type,
            digests: digests.iter().copied().map(EventDigest::from).collect(),
            data: data.to_vec(),
        }
    }

    /// An event whose digests, one a bank, are those of its own data.
    #[must_use]
    pub fn hashed(register: Register, event_type: EventType, banks: &[Bank], data: &[u8]) -> Self {
        let digests: Vec<Digest> = banks.iter().map(|bank| bank.hash(data)).collect();
        Self::new(register, event_type, &digests, data)
    }

    /// Where the record starts in the log it was read from; 0 for an event made here.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The register number as written; firmware also writes 0xFFFFFFFF for events that extend nothing.
    #[must_use]
    pub const fn pcr_index(&self) -> u32 {
        self.pcr_index
    }

    /// The register, if the number is one.
    #[must_use]
    pub fn register(&self) -> Option<Register> {
        u8::try_from(self.pcr_index).ok().and_then(Register::new)
    }

    /// The type.
    #[must_use]
    pub const fn event_type(&self) -> EventType {
        self.event_type
    }

    /// All digests, in the order of the record.
    #[must_use]
    pub fn digests(&self) -> &[EventDigest] {
        &self.digests
    }

    /// The digest of one bank.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Option<Digest> {
        self.digests
            .iter()
            .find(|digest| digest.algorithm == bank.algorithm_id())
            .and_then(EventDigest::digest)
    }

    /// The event data, byte for byte.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Whether the firmware extended a register with this event (`EV_NO_ACTION` never does).
    #[must_use]
    pub fn extends(&self) -> bool {
        self.event_type != EventType::NO_ACTION
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.pcr_index == other.pcr_index
            && self.event_type == other.event_type
            && self.data == other.data
            && same_digests(&self.digests, &other.digests)
    }
}

impl Eq for Event {}

/// Equal as sets: the order of digests may differ between records. There are at most sixteen.
fn same_digests(one: &[EventDigest], other: &[EventDigest]) -> bool {
    one.len() == other.len() && one.iter().all(|digest| other.contains(digest))
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("offset", &self.offset)
            .field("pcr_index", &self.pcr_index)
            .field("event_type", &format_args!("{}", self.event_type))
            .field("digests", &self.digests)
            .field("data_len", &self.data.len())
            .finish_non_exhaustive()
    }
}
