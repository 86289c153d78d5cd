//! `.hwids`: which computer gets which device tree or firmware.
//!
//! | part | content, little endian |
//! | --- | --- |
//! | records of 28 bytes | u32 type << 28 \| 28, CHID (16 bytes, EFI order), u32 name offset, u32 value offset |
//! | end | a record of zeros |
//! | strings | NUL-terminated, offsets count from the start of the section |

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{Error, SectionName};

const RECORD_LEN: usize = 28;
/// Longer than any name that a device tree or a firmware has.
const MAX_STRING_LEN: usize = 4096;

/// What a device's record chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The `.dtbauto` whose first `compatible` is the value.
    DeviceTree,
    /// The `.efifw` whose id is the value (systemd 258).
    Firmware,
}

/// One kind of computer in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Device {
    /// What the record chooses.
    pub kind: DeviceKind,
    /// Its name, for people.
    pub name: String,
    /// The compatible string or the firmware id.
    pub value: String,
    /// The computer hardware ids in the byte order of EFI GUIDs.
    pub chids: Vec<[u8; 16]>,
}

impl Device {
    /// A device; see the fields.
    #[must_use]
    pub fn new(kind: DeviceKind, name: &str, value: &str, chids: Vec<[u8; 16]>) -> Self {
        Self {
            kind,
            name: name.to_string(),
            value: value.to_string(),
            chids,
        }
    }
}

/// The content of a `.hwids` section.
///
/// # Examples
///
/// ```
/// use uki::{Device, DeviceKind, HardwareIds};
///
/// let table = HardwareIds::new().device(Device::new(DeviceKind::DeviceTree, "Board", "acme,board", vec![[7; 16]]));
/// let section = table.to_bytes()?;
/// assert_eq!(HardwareIds::parse(&section)?, table);
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardwareIds {
    devices: Vec<Device>,
}

impl HardwareIds {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a device. Devices stay in the order given, which is the order ukify has after sorting its files by name;
    /// ids of one device are sorted as ukify sorts them.
    #[must_use]
    pub fn device(mut self, mut device: Device) -> Self {
        let same = |old: &&mut Device| {
            (old.kind, &old.name, &old.value) == (device.kind, &device.name, &device.value)
        };
        if let Some(old) = self.devices.iter_mut().find(same) {
            old.chids.append(&mut device.chids);
            sort(&mut old.chids);
        } else {
            sort(&mut device.chids);
            self.devices.push(device);
        }
        self
    }

    /// The devices.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The section's content, byte for byte as ukify writes it.
    ///
    /// # Errors
    ///
    /// [`Error::BadContent`] when a string contains a NUL or the table does not fit 32-bit offsets.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let bad = |reason| Error::BadContent {
            section: SectionName::HWIDS,
            offset: 0,
            reason,
        };
        let records = self
            .devices
            .iter()
            .map(|device| device.chids.len())
            .sum::<usize>()
            .saturating_add(1);
        let strings: BTreeSet<&str> = self
            .devices
            .iter()
            .flat_map(|device| [device.name.as_str(), device.value.as_str()])
            .collect();
        let mut blob = Vec::new();
        let mut offsets = BTreeMap::new();
        for string in strings {
            if string.contains('\0') {
                return Err(bad("a string contains a NUL"));
            }
            let offset = records
                .saturating_mul(RECORD_LEN)
                .saturating_add(blob.len());
            offsets.insert(
                string,
                u32::try_from(offset).map_err(|_| bad("more than 4 GiB"))?,
            );
            blob.extend_from_slice(string.as_bytes());
            blob.push(0);
        }
        let mut bytes = Vec::new();
        let offset_of = |string: &String| offsets.get(string.as_str()).copied().unwrap_or_default();
        for device in &self.devices {
            let kind: u32 = match device.kind {
                DeviceKind::DeviceTree => 1 << 28 | 28,
                DeviceKind::Firmware => 2 << 28 | 28,
            };
            for chid in &device.chids {
                bytes.extend_from_slice(&kind.to_le_bytes());
                bytes.extend_from_slice(chid);
                bytes.extend_from_slice(&offset_of(&device.name).to_le_bytes());
                bytes.extend_from_slice(&offset_of(&device.value).to_le_bytes());
            }
        }
        bytes.extend_from_slice(&[0; RECORD_LEN]);
        bytes.append(&mut blob);
        Ok(bytes)
    }

    /// Reads a section's content.
    ///
    /// # Errors
    ///
    /// [`Error::BadContent`] with the byte at which it does not follow the format.
    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let mut table = Self::new();
        // Offsets may point into one long text again and again; real tables hold each text once.
        let mut budget = section.len().saturating_mul(4).max(1 << 16);
        for (index, record) in section.as_chunks::<RECORD_LEN>().0.iter().enumerate() {
            if record == &[0; RECORD_LEN] {
                return Ok(table);
            }
            let offset = index.saturating_mul(RECORD_LEN) as u64;
            let bad = |reason| Error::BadContent {
                section: SectionName::HWIDS,
                offset,
                reason,
            };
            let (descriptor, rest) = record
                .split_first_chunk::<4>()
                .ok_or_else(|| bad("short record"))?;
            let (chid, rest) = rest
                .split_first_chunk::<16>()
                .ok_or_else(|| bad("short record"))?;
            let (name, value) = rest
                .split_first_chunk::<4>()
                .ok_or_else(|| bad("short record"))?;
            let kind = match u32::from_le_bytes(*descriptor) {
                0x1000_001c => DeviceKind::DeviceTree,
                0x2000_001c => DeviceKind::Firmware,
                _ => return Err(bad("unknown kind of record")),
            };
            let value = value
                .first_chunk::<4>()
                .ok_or_else(|| bad("short record"))?;
            let string = |at: &[u8; 4]| {
                let start = usize::try_from(u32::from_le_bytes(*at)).ok()?;
                let text = section.get(start..)?;
                let text = text.get(..text.len().min(MAX_STRING_LEN))?;
                let end = text.iter().position(|byte| *byte == 0)?;
                core::str::from_utf8(text.get(..end)?).ok()
            };
            let strings = string(name)
                .zip(string(value))
                .ok_or_else(|| bad("no text of up to 4096 bytes is where a string should be"))?;
            if table.push_record(kind, strings, *chid) {
                let (name, value) = strings;
                budget = budget
                    .checked_sub(name.len().saturating_add(value.len()))
                    .ok_or_else(|| bad("the strings are used too often"))?;
            }
        }
        let offset = section.len() as u64;
        Err(Error::BadContent {
            section: SectionName::HWIDS,
            offset,
            reason: "no record of zeros ends the table",
        })
    }

    /// Records of one device follow each other, so only the last device can be the same one. Says whether it is new.
    fn push_record(
        &mut self,
        kind: DeviceKind,
        (name, value): (&str, &str),
        chid: [u8; 16],
    ) -> bool {
        match self.devices.last_mut() {
            Some(last)
                if (last.kind, last.name.as_str(), last.value.as_str()) == (kind, name, value) =>
            {
                last.chids.push(chid);
                false
            }
            _ => {
                self.devices
                    .push(Device::new(kind, name, value, [chid].into()));
                true
            }
        }
    }
}

/// Sorts as ukify does: by the printed form, in which the first three groups are big endian.
fn sort(chids: &mut Vec<[u8; 16]>) {
    let printed = |chid: &[u8; 16]| {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *chid;
        ([d, c, b, a], [f, e], [h, g], rest)
    };
    chids.sort_by_key(printed);
    chids.dedup();
}
