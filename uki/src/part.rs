//! What an observer is given while an image is written.

use std::ops::Range;
use std::sync::Arc;

use crate::SectionName;

/// A piece of the image, on its way to the file.
///
/// Pieces come in file order and together are the file. Cloning one copies no bytes, so pieces can be sent to other
/// threads; see [`Worker`](crate::Worker).
#[derive(Clone)]
pub struct Part {
    pub(crate) bytes: Bytes,
    pub(crate) range: Range<usize>,
    pub(crate) in_file: bool,
    pub(crate) mark: Option<Mark>,
}

#[derive(Clone)]
pub(crate) enum Bytes {
    Buffer(Arc<Vec<u8>>),
    Whole(Arc<[u8]>),
}

/// Which section a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) section: SectionName,
    pub(crate) profile: Option<usize>,
    pub(crate) ordinal: usize,
    pub(crate) measured: bool,
}

/// Bytes of a section as a stub measures them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Measured<'a> {
    /// The profile in which the section stands; none for the base.
    pub profile: Option<usize>,
    /// The section's name with its dot.
    pub section: &'a str,
    /// Which of the sections of this name in this place it is, from 0. Only `.dtbauto` and `.efifw` get beyond 0.
    pub ordinal: usize,
    /// The next bytes of its content.
    pub bytes: &'a [u8],
}

impl<'a> Measured<'a> {
    /// Which section it is, for hash tables and for `pcr::Pcr11::observe`: profile, name, ordinal.
    #[must_use]
    pub fn key(&self) -> (Option<usize>, &'a str, usize) {
        (self.profile, self.section, self.ordinal)
    }
}

impl Part {
    /// The bytes of the file. Empty for zeros that the loader adds and the file does not hold.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.in_file { self.all() } else { &[] }
    }

    /// The section whose content these bytes are; none for headers and padding.
    #[must_use]
    pub fn section(&self) -> Option<&str> {
        self.mark.as_ref().map(|mark| mark.section.as_str())
    }

    /// The bytes as a stub measures them into PCR 11; none for what no stub measures: headers, padding, the stub itself,
    /// `.pcrsig`, sections without a meaning, second sections of a name. Whether the image's own stub knows the section
    /// is not looked at: stubs before 254 do not measure `.uname` and `.sbat`, for example.
    #[must_use]
    pub fn measured(&self) -> Option<Measured<'_>> {
        let mark = self.mark.as_ref().filter(|mark| mark.measured)?;
        Some(Measured {
            profile: mark.profile,
            section: mark.section.as_str(),
            ordinal: mark.ordinal,
            bytes: self.all(),
        })
    }

    fn all(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Buffer(bytes) => bytes.as_slice(),
            Bytes::Whole(bytes) => bytes,
        };
        bytes.get(self.range.clone()).unwrap_or_default()
    }
}

impl core::fmt::Debug for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Part")
            .field("mark", &self.mark)
            .field("len", &self.range.len())
            .finish_non_exhaustive()
    }
}

/// It is the turn of a `.pcrsig`: all that its policies depend on has passed the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcrsigTurn {
    pub(crate) profile: Option<usize>,
    pub(crate) len: u64,
}

impl PcrsigTurn {
    /// The profile whose policies are asked for; none for an image without profiles.
    #[must_use]
    pub fn profile(&self) -> Option<usize> {
        self.profile
    }

    /// How many bytes are planned. A shorter document is filled up with line ends, which JSON ignores.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a planned document is never empty"
    )]
    pub fn len(&self) -> u64 {
        self.len
    }
}
