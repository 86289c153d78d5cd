//! What event data means, by type.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::event::{Event, EventType, Hex};
use super::reader::Reader;
use super::variable::{Guid, VariableData};

/// The meaning of an event's data. Whatever has no known meaning is [`EventData::Opaque`], with all its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventData<'a> {
    /// `EV_SEPARATOR`: 00000000 or FFFFFFFF; 00000001 or a message after an error of the firmware.
    Separator(&'a [u8]),
    /// Text: actions, versions, and what boot loaders write.
    Text(String),
    /// A variable or an authority.
    Variable(VariableData),
    /// An image that was loaded.
    Image(ImageLoad<'a>),
    /// A part of the firmware.
    FirmwareBlob(FirmwareBlob),
    /// A partition table.
    Gpt(GptEntries<'a>),
    /// Configuration tables: GUID and address.
    HandoffTables(Vec<(Guid, u64)>),
    /// `EV_EVENT_TAG`: a number that names the kind of data, and data.
    Tagged {
        /// The number.
        tag: u32,
        /// The data.
        data: &'a [u8],
    },
    /// `EV_NO_ACTION` "StartupLocality".
    StartupLocality(u8),
    /// `EV_NO_ACTION` "H-CRTM CompMeas": data of a component that an H-CRTM measured.
    HcrtmComponent(&'a [u8]),
    /// `EV_NO_ACTION` "SP800-155 Event", "… Event2" or "… Event3": where to find reference values.
    ReferenceManifest {
        /// 1, 2 or 3.
        kind: u8,
        /// Vendor identifier of the platform's manufacturer.
        vendor: u32,
        /// Identifier of the manifest.
        manifest: Guid,
        /// What follows.
        rest: &'a [u8],
    },
    /// Everything else.
    Opaque(&'a [u8]),
}

/// `UEFI_IMAGE_LOAD_EVENT` (TCG PC Client PFP 1.06, 10.2.3). The digest is the image's Authenticode digest.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ImageLoad<'a> {
    /// Where it was loaded.
    pub address: u64,
    /// Length in memory.
    pub length: u64,
    /// Address it was linked for.
    pub link_address: u64,
    /// Device path, in binary form.
    pub device_path: &'a [u8],
}

impl ImageLoad<'_> {
    /// The file names of the device path, joined: `\EFI\BOOT\BOOTX64.EFI`.
    #[must_use]
    pub fn file_path(&self) -> Option<String> {
        let mut rest = self.device_path;
        let mut path = String::new();
        while let [kind, sub_kind, low, high, ..] = rest {
            let len = usize::from(u16::from_le_bytes([*low, *high]));
            let (node, after) = rest.split_at_checked(len.max(4))?;
            if (*kind, *sub_kind) == (4, 4) {
                let units = node.get(4..).unwrap_or_default().chunks_exact(2);
                let units = units
                    .map(|unit| match unit {
                        [low, high] => u16::from_le_bytes([*low, *high]),
                        _ => 0,
                    })
                    .take_while(|unit| *unit != 0);
                path.extend(
                    char::decode_utf16(units)
                        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)),
                );
            }
            rest = after;
        }
        (!path.is_empty()).then_some(path)
    }
}

impl fmt::Debug for ImageLoad<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageLoad")
            .field("address", &self.address)
            .field("length", &self.length)
            .field("link_address", &self.link_address)
            .field("file_path", &self.file_path())
            .finish_non_exhaustive()
    }
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB` or `…BLOB2`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FirmwareBlob {
    /// Description; only `…BLOB2` has one.
    pub description: Option<String>,
    /// Where it is.
    pub address: u64,
    /// Its length.
    pub length: u64,
}

/// `UEFI_GPT_DATA`: header and used entries of a partition table.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GptEntries<'a> {
    /// The header of the table, 92 bytes.
    pub header: &'a [u8],
    /// The used entries, each of the size that the header says.
    pub entries: Vec<&'a [u8]>,
}

impl fmt::Debug for GptEntries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GptEntries")
            .field(
                "header",
                &format_args!("{}", Hex(self.header.get(..32).unwrap_or_default())),
            )
            .field("entries", &self.entries.len())
            .finish()
    }
}

impl Event {
    /// The meaning of the data. Data that does not have the form of its type is [`EventData::Opaque`].
    #[must_use]
    pub fn decoded(&self) -> EventData<'_> {
        decode(self.event_type, &self.data).unwrap_or(EventData::Opaque(&self.data))
    }
}

/// Whether events of this type always have data of a form that [`decode`] knows.
pub(super) const fn has_form(event_type: EventType) -> bool {
    matches!(
        event_type,
        EventType::EFI_VARIABLE_DRIVER_CONFIG
            | EventType::EFI_VARIABLE_BOOT
            | EventType::EFI_VARIABLE_BOOT2
            | EventType::EFI_VARIABLE_AUTHORITY
            | EventType::EFI_SPDM_DEVICE_POLICY
            | EventType::EFI_SPDM_DEVICE_AUTHORITY
            | EventType::EFI_BOOT_SERVICES_APPLICATION
            | EventType::EFI_BOOT_SERVICES_DRIVER
            | EventType::EFI_RUNTIME_SERVICES_DRIVER
            | EventType::EFI_GPT_EVENT
            | EventType::EFI_GPT_EVENT2
            | EventType::EFI_PLATFORM_FIRMWARE_BLOB2
            | EventType::EFI_HANDOFF_TABLES
            | EventType::EFI_HANDOFF_TABLES2
            | EventType::EVENT_TAG
    )
}

fn decode(event_type: EventType, data: &[u8]) -> Option<EventData<'_>> {
    match event_type {
        EventType::SEPARATOR => Some(EventData::Separator(data)),
        EventType::ACTION | EventType::EFI_ACTION | EventType::IPL | EventType::POST_CODE => {
            text(data).map(EventData::Text)
        }
        EventType::S_CRTM_VERSION => wide_text(data).or_else(|| text(data)).map(EventData::Text),
        EventType::EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EFI_VARIABLE_BOOT
        | EventType::EFI_VARIABLE_BOOT2
        | EventType::EFI_VARIABLE_AUTHORITY
        | EventType::EFI_SPDM_DEVICE_POLICY
        | EventType::EFI_SPDM_DEVICE_AUTHORITY => {
            VariableData::parse(data).map(EventData::Variable)
        }
        EventType::EFI_BOOT_SERVICES_APPLICATION
        | EventType::EFI_BOOT_SERVICES_DRIVER
        | EventType::EFI_RUNTIME_SERVICES_DRIVER => image(data).map(EventData::Image),
        EventType::EFI_PLATFORM_FIRMWARE_BLOB => blob(data, false).map(EventData::FirmwareBlob),
        EventType::EFI_PLATFORM_FIRMWARE_BLOB2 => blob(data, true).map(EventData::FirmwareBlob),
        EventType::EFI_GPT_EVENT | EventType::EFI_GPT_EVENT2 => gpt(data).map(EventData::Gpt),
        EventType::EFI_HANDOFF_TABLES => tables(data, false).map(EventData::HandoffTables),
        EventType::EFI_HANDOFF_TABLES2 => tables(data, true).map(EventData::HandoffTables),
        EventType::EVENT_TAG => tagged(data),
        EventType::NO_ACTION => no_action(data),
        _ => None,
    }
}

/// ASCII (or UTF-8), or UTF-16 as systemd-stub writes it; a terminator at the end is left out.
fn text(data: &[u8]) -> Option<String> {
    if data.len() >= 4 && data.get(1) == Some(&0) && data.get(3) == Some(&0) {
        return wide_text(data);
    }
    let end = data.strip_suffix(&[0]).unwrap_or(data);
    let text = core::str::from_utf8(end).ok()?;
    (!text.contains('\0')).then(|| text.into())
}

fn wide_text(data: &[u8]) -> Option<String> {
    let (units, []) = data.as_chunks::<2>() else {
        return None;
    };
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    let text = text.strip_suffix('\0').unwrap_or(&text);
    (!text.contains('\0')).then(|| text.into())
}

fn image(data: &[u8]) -> Option<ImageLoad<'_>> {
    let mut reader = Reader::new(data);
    let address = reader.u64("address").ok()?;
    let length = reader.u64("length").ok()?;
    let link_address = reader.u64("link address").ok()?;
    let path_len = reader.u64("device path length").ok()?;
    let device_path = reader.take("device path", path_len).ok()?;
    Some(ImageLoad {
        address,
        length,
        link_address,
        device_path,
    })
}

fn blob(data: &[u8], described: bool) -> Option<FirmwareBlob> {
    let mut reader = Reader::new(data);
    let description = if described {
        let len = reader.u8("description length").ok()?;
        let bytes = reader.take("description", u64::from(len)).ok()?;
        Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').into())
    } else {
        None
    };
    let address = reader.u64("address").ok()?;
    let length = reader.u64("length").ok()?;
    Some(FirmwareBlob {
        description,
        address,
        length,
    })
}

fn gpt(data: &[u8]) -> Option<GptEntries<'_>> {
    let mut reader = Reader::new(data);
    let header = reader.take("header", 92).ok()?;
    let [_, _, _, _] = *header.get(80..84)? else {
        return None;
    };
    let entry_len = u32::from_le_bytes(header.get(84..88)?.try_into().ok()?);
    let count = reader.u64("number of entries").ok()?;
    // At least 128 bytes an entry by UEFI 5.3.2, so the bytes that are left bound the list.
    if entry_len < 128 {
        return None;
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(reader.take("entry", u64::from(entry_len)).ok()?);
    }
    Some(GptEntries { header, entries })
}

fn tables(data: &[u8], described: bool) -> Option<Vec<(Guid, u64)>> {
    let mut reader = Reader::new(data);
    if described {
        let len = reader.u8("description length").ok()?;
        reader.take("description", u64::from(len)).ok()?;
    }
    let count = reader.u64("number of tables").ok()?;
    let mut tables = Vec::new();
    for _ in 0..count {
        let guid = Guid::from_bytes(reader.take("GUID", 16).ok()?.try_into().ok()?);
        tables.push((guid, reader.u64("address").ok()?));
    }
    Some(tables)
}

fn tagged(data: &[u8]) -> Option<EventData<'_>> {
    let mut reader = Reader::new(data);
    let tag = reader.u32("tag").ok()?;
    let len = reader.u32("length").ok()?;
    let data = reader.take("data", u64::from(len)).ok()?;
    Some(EventData::Tagged { tag, data })
}

fn no_action(data: &[u8]) -> Option<EventData<'_>> {
    let (signature, rest) = data.split_first_chunk::<16>()?;
    let manifest = |kind: u8| {
        let mut reader = Reader::new(rest);
        Some(EventData::ReferenceManifest {
            kind,
            vendor: reader.u32("vendor").ok()?,
            manifest: Guid::from_bytes(reader.take("GUID", 16).ok()?.try_into().ok()?),
            rest: rest.get(20..)?,
        })
    };
    match signature {
        b"StartupLocality\0" => match rest {
            [locality] => Some(EventData::StartupLocality(*locality)),
            _ => None,
        },
        b"H-CRTM CompMeas\0" => Some(EventData::HcrtmComponent(rest)),
        b"SP800-155 Event\0" => manifest(1),
        b"SP800-155 Event2" => manifest(2),
        b"SP800-155 Event3" => manifest(3),
        _ => None,
    }
}
