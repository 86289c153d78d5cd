//! The EFI program at the front of a UKI.

use alloc::string::{String, ToString};
use alloc::sync::Arc;

use crate::headers::{Headers, field};
use crate::read_at::{copy, range};
use crate::{Error, Machine, ReadAt, SectionName};

/// What a stub says about itself in `.sdmagic`: `#### LoaderInfo: NAME VERSION ####`.
///
/// # Examples
///
/// ```
/// let id = uki::StubId::parse(b"#### LoaderInfo: systemd-stub 257.13-1~deb13u1 ####\0");
/// assert_eq!((id.name(), id.version(), id.is_addon()), ("systemd-stub", "257.13-1~deb13u1", false));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StubId {
    name: String,
    version: String,
}

impl StubId {
    /// Reads the content of a `.sdmagic` section; name and version are empty when it has another form.
    #[must_use]
    pub fn parse(magic: &[u8]) -> Self {
        let text = core::str::from_utf8(magic)
            .unwrap_or_default()
            .trim_end_matches('\0')
            .trim();
        let inner = text
            .strip_prefix("#### LoaderInfo: ")
            .and_then(|rest| rest.strip_suffix(" ####"));
        let (name, version) = inner
            .and_then(|inner| inner.split_once(' '))
            .unwrap_or_default();
        Self {
            name: name.to_string(),
            version: version.to_string(),
        }
    }

    pub(crate) fn of(source: &impl ReadAt, headers: &Headers) -> Result<Self, Error> {
        let Some(section) = headers.section(&SectionName::SDMAGIC) else {
            return Ok(Self::default());
        };
        Ok(Self::parse(&copy(
            source,
            ".sdmagic",
            section.raw_offset(),
            section.file_len().min(4096),
        )?))
    }

    /// The program: `systemd-stub`, `systemd-addon`, another one's name, or empty when unknown.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version as the distribution has written it; empty when unknown.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it is the stub of an addon.
    #[must_use]
    pub fn is_addon(&self) -> bool {
        self.name == "systemd-addon"
    }
}

/// A stub that sections can be added to: unsigned, an EFI application, identified by `.sdmagic`.
///
/// # Examples
///
/// ```
/// let stub = uki::Stub::parse(include_bytes!("../tests/vectors/stub.efi"))?;
/// assert_eq!(stub.machine(), uki::Machine::X64);
/// assert_eq!(stub.id().version(), "257");
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone)]
pub struct Stub {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) headers: Headers,
    id: StubId,
}

impl Stub {
    /// Checks the headers and copies the file.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStub`], [`Error::Misplaced`] for a finished image, [`Error::SignedStub`], or what is wrong with the headers.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let headers = Headers::read(&file)?;
        let id = StubId::of(&file, &headers)?;
        if id.name.is_empty() {
            return Err(Error::NotAStub);
        }
        let payload = headers
            .sections
            .iter()
            .find(|section| section.name.is_known() && !section.name.same(&SectionName::SBAT));
        if let Some(section) = payload {
            return Err(Error::Misplaced {
                section: section.name,
                reason: "the file is a finished image, not a stub",
            });
        }
        let (offset, len) = headers.certificates();
        if (offset, len) != (0, 0) {
            return Err(Error::SignedStub { offset, len });
        }
        if headers.subsystem != 10 {
            return Err(Error::BadField {
                field: "Subsystem",
                offset: headers
                    .pe_offset
                    .saturating_add(field::DLL_CHARACTERISTICS)
                    .saturating_sub(2),
                value: headers.subsystem.into(),
                expected: "10 (EFI application)",
            });
        }
        Ok(Self {
            bytes: Arc::from(file),
            headers,
            id,
        })
    }

    /// Name and version.
    #[must_use]
    pub fn id(&self) -> &StubId {
        &self.id
    }

    /// The machine it runs on.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.headers.machine
    }

    /// The stub's own `.sbat` as the file holds it, without its padding.
    #[must_use]
    pub fn sbat(&self) -> Option<&[u8]> {
        let section = self.headers.section(&SectionName::SBAT)?;
        let bytes = range(
            &self.bytes,
            ".sbat",
            section.raw_offset(),
            section.raw_len(),
        )
        .ok()?;
        Some(bytes.trim_suffix_nul())
    }
}

impl core::fmt::Debug for Stub {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stub")
            .field("id", &self.id)
            .field("machine", &self.machine())
            .finish_non_exhaustive()
    }
}

/// Bytes without the NULs at their end.
pub(crate) trait TrimNul {
    fn trim_suffix_nul(&self) -> &[u8];
}

impl TrimNul for [u8] {
    fn trim_suffix_nul(&self) -> &[u8] {
        let len = self
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last.saturating_add(1));
        self.get(..len).unwrap_or_default()
    }
}
