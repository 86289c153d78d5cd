//! A laid-out image: every size and offset known, nothing read or written yet.

use std::collections::BTreeMap;
use std::io::Write;

use crate::part::Mark;
use crate::profile_view::NameIndex;
use crate::write::Writer;
use crate::{BoxError, Error, Part, PcrsigTurn, ProfileView, Section, SectionName, Source, StubId};

/// An image that can be written in one forward pass; made by [`Builder::plan`](crate::Builder::plan) and
/// [`Edit::plan`](crate::Edit::plan).
///
/// # Examples
///
/// ```
/// use uki::{Builder, Stub};
///
/// let stub = Stub::parse(include_bytes!("../tests/vectors/stub.efi"))?;
/// let plan = Builder::new(stub)
///     .linux(&include_bytes!("../tests/vectors/kernel.efi")[..])
///     .cmdline("ro quiet")
///     .pcrsig_len(10)
///     .plan()?;
/// let mut image = Vec::new();
/// let mut measured = 0;
/// plan.write(
///     &mut image,
///     &mut measured,
///     |sum, part| *sum += part.measured().map_or(0, |found| found.bytes.len()),
///     |sum, _turn| Ok(format!("[{sum}]").into_bytes()),
/// )?;
/// assert_eq!(image.len() as u64, plan.len());
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    pub(crate) stub: StubId,
    pub(crate) sections: Vec<Section>,
    pub(crate) names: NameIndex,
    pub(crate) segments: Vec<Segment>,
    pub(crate) len: u64,
}

/// Consecutive bytes of the file with one origin.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) content: Content,
    pub(crate) len: u64,
    /// The section of which these bytes are what the stub sees.
    pub(crate) section: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    /// From this offset on; the flag says that the source must end with the segment.
    Source(Source, u64, bool),
    Zeros,
    /// Zeros that the loader adds; not in the file.
    ZeroFill,
    Pcrsig,
}

impl Plan {
    /// How long the file will be.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an image is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The stub in the image.
    #[must_use]
    pub fn stub(&self) -> &StubId {
        &self.stub
    }

    /// The section table.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The profiles that the stub will see.
    #[must_use]
    pub fn profiles(&self) -> Vec<ProfileView<'_>> {
        ProfileView::all(&self.sections, &self.names)
    }

    /// The base: the sections before the first `.profile`.
    #[must_use]
    pub fn base(&self) -> ProfileView<'_> {
        ProfileView::base(&self.sections, &self.names)
    }

    /// Writes the image without anyone looking on.
    ///
    /// # Errors
    ///
    /// [`Error::PcrsigMissing`] before the first byte when a `.pcrsig` is to be filled in, [`Error::SizeChanged`] when a
    /// source is not as it was planned, [`Error::Io`].
    pub fn write_to(&self, out: &mut impl Write) -> Result<(), Error> {
        if self
            .segments
            .iter()
            .any(|segment| matches!(segment.content, Content::Pcrsig))
        {
            return Err(Error::PcrsigMissing);
        }
        self.write(out, &mut (), |(), _| {}, |(), _| Err("no callback".into()))
    }

    /// Writes the image in one forward pass. `observe` sees every byte once, in order; `pcrsig` is asked for the
    /// document of a profile after all its measured sections have passed. Both are given `state`, so that the second can
    /// use what the first has gathered.
    ///
    /// # Errors
    ///
    /// [`Error::SizeChanged`], [`Error::Pcrsig`], [`Error::PcrsigTooLong`], [`Error::Io`]. What has been written by then
    /// is not a usable image; whoever writes to a file writes to a temporary one and renames it.
    pub fn write<S>(
        &self,
        out: &mut impl Write,
        state: &mut S,
        mut observe: impl FnMut(&mut S, &Part),
        mut pcrsig: impl FnMut(&mut S, PcrsigTurn) -> Result<Vec<u8>, BoxError>,
    ) -> Result<(), Error> {
        let marks = self.marks();
        let mut writer = Writer::new(out);
        for segment in &self.segments {
            let mark = segment.section.and_then(|index| marks.get(index).copied());
            let turn = PcrsigTurn {
                profile: mark.and_then(|mark| mark.profile),
                len: segment.len,
            };
            let document = match segment.content {
                Content::Pcrsig => Some(pcrsig(state, turn).map_err(Error::Pcrsig)?),
                _ => None,
            };
            writer.segment(segment, mark, document, |part| observe(state, part))?;
        }
        Ok(())
    }

    fn marks(&self) -> Vec<Mark> {
        let mut profile = None;
        let mut here = BTreeMap::<&[u8], usize>::new();
        let marks = self.sections.iter().map(|section| {
            let name = section.name;
            if name.same(&SectionName::PROFILE) {
                profile = Some(profile.map_or(0, |index: usize| index.saturating_add(1)));
                here.clear();
            }
            // An empty section is not there, so a later one of its name still counts.
            let is_there = section.virtual_len != 0;
            let count = here.entry(section.name.as_bytes()).or_default();
            let ordinal = *count;
            *count = ordinal.saturating_add(usize::from(is_there));
            let is_used = is_there && (ordinal == 0 || name.may_repeat());
            Mark {
                section: name,
                profile,
                ordinal,
                measured: is_used && name.is_measured(),
            }
        });
        marks.collect()
    }
}
