//! Hardware ids from the JSON files that ukify takes with `--hwids=`.
//!
//! One file is one kind of computer: `{"type": "devicetree", "name": …, "compatible": …, "hwids": [GUID, …]}`, or with
//! `"type": "uefi-fw"` and `"fwid"` (systemd 258). systemd 257 knows no `type`; without one it is a device tree.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde_json::Value;

use crate::{Device, DeviceKind, Error};

impl Device {
    /// Reads one file; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`Error::BadDescription`].
    ///
    /// # Examples
    ///
    /// ```
    /// let json = br#"{"name": "Board", "compatible": "acme,board", "hwids": ["03020100-0504-0706-0809-0a0b0c0d0e0f"]}"#;
    /// let device = uki::Device::from_json("board.json", json)?;
    /// assert_eq!(device.chids, [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]]);
    /// # Ok::<(), uki::Error>(())
    /// ```
    pub fn from_json(name: &str, json: &[u8]) -> Result<Self, Error> {
        let bad = |reason| Error::BadDescription {
            name: Box::from(name),
            reason,
        };
        let json: Value = serde_json::from_slice(json).map_err(|_| bad("it is no JSON"))?;
        let text = |key: &str| match json.get(key) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .filter(|text| !text.contains('\0'))
                .map(Some)
                .ok_or_else(|| bad("a value is no text")),
        };
        let kind = match text("type")? {
            None | Some("devicetree") => DeviceKind::DeviceTree,
            Some("uefi-fw") => DeviceKind::Firmware,
            Some(_) => return Err(bad("its type is neither devicetree nor uefi-fw")),
        };
        let (value, other) = match kind {
            DeviceKind::DeviceTree => (text("compatible")?, text("fwid")?),
            DeviceKind::Firmware => (text("fwid")?, text("compatible")?),
        };
        if other.is_some() {
            return Err(bad("compatible is for a device tree, fwid for a firmware"));
        }
        let value = value.ok_or_else(|| bad("it has no compatible or fwid"))?;
        let device = text("name")?.ok_or_else(|| bad("it has no name"))?;
        let chids = json
            .get("hwids")
            .and_then(Value::as_array)
            .ok_or_else(|| bad("it has no list of hwids"))?
            .iter()
            .map(|guid| guid.as_str().and_then(chid))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| bad("one of the hwids is no GUID"))?;
        Ok(Self::new(kind, device, value, chids))
    }
}

#[cfg(feature = "std")]
impl crate::HardwareIds {
    /// Reads all `*.json` files of a folder and the folders in it, in the order in which ukify takes them.
    ///
    /// # Errors
    ///
    /// [`Error::BadDescription`] with the file's name, [`Error::Io`].
    pub fn from_dir(folder: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        /// Longer than any description; the longest that systemd comes with have 2 KiB.
        const MAX_LEN: u64 = 1 << 20;
        let shown = |path: &std::path::Path| path.display().to_string();
        let mut folders = std::vec![folder.as_ref().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).map_err(Error::io(shown(&folder)))?;
            for entry in entries {
                let entry = entry.map_err(Error::io(shown(&folder)))?;
                let kind = entry.file_type().map_err(Error::io(shown(&folder)))?;
                let is_json = entry.file_name().as_encoded_bytes().ends_with(b".json");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if is_json {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        files.iter().try_fold(Self::new(), |table, path| {
            let name = shown(path);
            let mut json = Vec::new();
            std::fs::File::open(path)
                .and_then(|file| {
                    use std::io::Read;
                    file.take(MAX_LEN.saturating_add(1)).read_to_end(&mut json)
                })
                .map_err(Error::io(name.as_str()))?;
            if json.len() as u64 > MAX_LEN {
                let reason = "it is longer than 1 MiB";
                return Err(Error::BadDescription {
                    name: name.into(),
                    reason,
                });
            }
            Ok(table.device(Device::from_json(&name, &json)?))
        })
    }
}

/// A GUID as Python reads it: 32 hexadecimal digits, hyphens anywhere, braces or `urn:uuid:` around them.
fn chid(text: &str) -> Option<[u8; 16]> {
    let text = text.replace("urn:", "").replace("uuid:", "");
    let digits = text
        .trim_matches(['{', '}'])
        .chars()
        .filter(|digit| *digit != '-')
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<Vec<u8>>>()?;
    let bytes: Vec<u8> = digits
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[high, low]| high << 4 | low)
        .collect();
    let [a, b, c, d, e, f, g, h, rest @ ..] = <[u8; 16]>::try_from(bytes).ok()?;
    let mut guid = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    guid.iter_mut()
        .skip(8)
        .zip(rest)
        .for_each(|(to, from)| *to = from);
    (digits.len() == 32).then_some(guid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_guids_in_all_forms_that_python_takes() {
        let plain = chid("00010203-0405-0607-0809-0a0b0c0d0e0f").unwrap();
        assert_eq!(plain[..8], [3, 2, 1, 0, 5, 4, 7, 6]);
        for form in [
            "{00010203-0405-0607-0809-0A0B0C0D0E0F}",
            "urn:uuid:00010203-0405-0607-0809-0a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(chid(form), Some(plain), "{form}");
        }
        for form in [
            "",
            "00010203",
            "000102030405060708090a0b0c0d0e0",
            "g0010203-0405-0607-0809-0a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f0",
        ] {
            assert_eq!(chid(form), None, "{form}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_description() {
        for (json, reason) in [
            ("", "it is no JSON"),
            ("[]", "it has no compatible or fwid"),
            (
                r#"{"name": "x", "compatible": "y"}"#,
                "it has no list of hwids",
            ),
            (
                r#"{"name": "x", "compatible": "y", "hwids": ["z"]}"#,
                "one of the hwids is no GUID",
            ),
            (
                r#"{"name": "x", "compatible": "y", "hwids": [1]}"#,
                "one of the hwids is no GUID",
            ),
            (r#"{"compatible": "y", "hwids": []}"#, "it has no name"),
            (
                r#"{"name": 1, "compatible": "y", "hwids": []}"#,
                "a value is no text",
            ),
            (
                r#"{"name": "a\u0000", "compatible": "y", "hwids": []}"#,
                "a value is no text",
            ),
            (
                r#"{"name": "x", "fwid": "y", "hwids": []}"#,
                "compatible is for a device tree, fwid for a firmware",
            ),
            (
                r#"{"type": "tpm", "name": "x", "compatible": "y", "hwids": []}"#,
                "its type is neither devicetree nor uefi-fw",
            ),
        ] {
            let error = Device::from_json("f.json", json.as_bytes()).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("hardware ids in f.json: {reason}")
            );
        }
        let firmware = br#"{"type": "uefi-fw", "name": "x", "fwid": "y", "hwids": []}"#;
        let firmware = Device::from_json("f.json", firmware).unwrap();
        assert_eq!(
            (firmware.kind, firmware.value.as_str()),
            (DeviceKind::Firmware, "y")
        );
    }
}
