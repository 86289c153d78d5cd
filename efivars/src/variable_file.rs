#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::{Attributes, AuthenticatedUpdate, Error, SignatureDatabase, VariableName, Write};

/// A file about a variable, whatever kind it is.
///
/// # Examples
///
/// ```
/// use efivars::VariableFile;
/// let file = VariableFile::detect(&[6, 0, 0, 0, 1], Some("SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"))?;
/// assert!(matches!(file, VariableFile::Efivarfs { value: [1], .. }));
/// # Ok::<(), efivars::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VariableFile<'a> {
    /// `.auth`, `.signed`, `DBXUpdate.bin`; with the attributes when they stand before it, as for a write to efivarfs.
    Update {
        /// The attributes, when the file has them.
        attributes: Option<Attributes>,
        /// The update.
        update: AuthenticatedUpdate<'a>,
    },
    /// `.esl`, `.siglist`: signature lists only.
    Lists(SignatureDatabase),
    /// A file as efivarfs shows it: attributes and value.
    Efivarfs {
        /// The name, when the file's name tells it.
        name: Option<VariableName>,
        /// The attributes.
        attributes: Attributes,
        /// The value.
        value: &'a [u8],
    },
}

impl<'a> VariableFile<'a> {
    /// Finds out what it is; the file's name helps when it is that of efivarfs. Reads leniently.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFile`] with the reason why it is not what it looks most like.
    pub fn detect(bytes: &'a [u8], file_name: Option<&str>) -> Result<Self, Error> {
        let name = file_name.and_then(|name| name.parse::<VariableName>().ok());
        let not_update = match AuthenticatedUpdate::parse_lenient(bytes) {
            Ok(update) => {
                return Ok(Self::Update {
                    attributes: None,
                    update,
                });
            }
            Err(error) => error,
        };
        let prefixed = bytes.split_first_chunk::<4>().map(|(attributes, rest)| {
            (Attributes::from_bits(u32::from_le_bytes(*attributes)), rest)
        });
        // The name decides: a value can look like anything.
        if let (Some(name), Some((attributes, value))) = (&name, prefixed) {
            return Ok(Self::prefixed(Some(name.clone()), attributes, value));
        }
        let not_lists = match SignatureDatabase::parse_lenient(bytes) {
            Ok(lists) => return Ok(Self::Lists(lists)),
            Err(error) => error,
        };
        if let Some((attributes, value)) = prefixed.filter(|(attributes, _)| plausible(*attributes))
        {
            let file = Self::prefixed(None, attributes, value);
            match &file {
                Self::Efivarfs { value, .. }
                    if SignatureDatabase::parse_lenient(value).is_err() => {}
                _ => return Ok(file),
            }
        }
        let cause = match looks_like(bytes) {
            Some(what) => Error::LooksLike { what },
            None if looks_like_update(bytes) => not_update,
            None => not_lists,
        };
        Err(Error::UnknownFile {
            cause: cause.into(),
        })
    }

    /// The write that the file stands for: its own attributes count when it has some, an update is one without them.
    ///
    /// Any other file is written as it is: firmware says what it thinks of it.
    #[must_use]
    pub fn to_write(bytes: &'a [u8], name: VariableName, attributes: Attributes) -> Write {
        match Self::detect(bytes, None) {
            Ok(Self::Update {
                attributes: Some(own),
                ..
            }) => Write::new(name, own, bytes.get(4..).unwrap_or_default().to_vec()),
            _ => Write::new(name, attributes, bytes.to_vec()),
        }
    }

    fn prefixed(name: Option<VariableName>, attributes: Attributes, value: &'a [u8]) -> Self {
        match AuthenticatedUpdate::parse_lenient(value) {
            Ok(update) => Self::Update {
                attributes: Some(attributes),
                update,
            },
            Err(_) => Self::Efivarfs {
                name,
                attributes,
                value,
            },
        }
    }
}

fn plausible(attributes: Attributes) -> bool {
    attributes.bits() <= 0xff && attributes.contains(Attributes::BOOTSERVICE_ACCESS)
}

/// Files of other kinds that are given by mistake.
fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"-----BEGIN CERT") || starts(b"Certificate:") || starts(b"Bag Attributes") {
        Some("a certificate in PEM, of which a signature list has to be made first")
    } else if starts(b"-----BEGIN ") {
        Some("a PEM file")
    } else if crate::Certificate::from_der(bytes).is_ok() {
        Some("a certificate in DER, of which a signature list has to be made first")
    } else if starts(b"QFI\xfb") {
        Some("a qcow2 disk image, which has to be converted to a raw one first")
    } else if starts(b"MZ") {
        Some("an EFI image")
    } else if bytes.get(40..44) == Some(b"_FVH") {
        Some("a firmware volume")
    } else if starts(b"{") || starts(b"[") {
        Some("a JSON document")
    } else {
        None
    }
}

/// Whether the file starts with a date of our times.
fn looks_like_update(bytes: &[u8]) -> bool {
    let Some((&[y0, y1, month, day, hour, ..], _)) = bytes.split_first_chunk::<16>() else {
        return false;
    };
    (1990..2100).contains(&u16::from_le_bytes([y0, y1]))
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
}
