//! A finished UKI or addon.

use alloc::string::String;
use alloc::vec::Vec;

use crate::headers::Headers;
use crate::read_at::{copy, range};
use crate::stub::TrimNul;
use crate::{Error, Kernel, Machine, ProfileView, ReadAt, Section, SectionName, StubId};

/// A UKI, an addon or another PE image, opened for reading.
///
/// Over a slice nothing is copied. Over a [`Stream`](crate::Stream) only the headers are read, and later what is
/// asked for.
///
/// # Examples
///
/// ```
/// use uki::{Builder, SectionName, Stub, Uki};
///
/// let mut addon = Vec::new();
/// let stub = Stub::parse(include_bytes!("../tests/vectors/addon-stub.efi"))?;
/// Builder::new(stub).cmdline("quiet").plan()?.write_to(&mut addon)?;
///
/// let uki = Uki::parse(&addon)?;
/// let profile = &uki.profiles()[0];
/// let cmdline = profile.section(&SectionName::CMDLINE).map(|section| uki.content(section));
/// assert_eq!(cmdline, Some(&b"quiet"[..]));
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Uki<S> {
    pub(crate) source: S,
    pub(crate) headers: Headers,
    stub: StubId,
}

impl<'a> Uki<&'a [u8]> {
    /// Reads the headers of an image in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`], [`Error::SectionTruncated`], [`Error::BadMagic`] or [`Error::BadField`].
    pub fn parse(image: &'a [u8]) -> Result<Self, Error> {
        Self::from_source(image)
    }

    /// What the file holds of a section: the bytes that the stub sees, without the zeros that the loader adds
    /// ([`Section::zero_fill`]).
    #[must_use]
    pub fn content(&self, section: &Section) -> &'a [u8] {
        range(
            self.source,
            "section",
            section.raw_offset(),
            section.file_len(),
        )
        .unwrap_or_default()
    }
}

#[cfg(feature = "std")]
impl<R: std::io::Read + std::io::Seek> Uki<crate::Stream<R>> {
    /// Reads the headers of an image that is not in memory.
    ///
    /// # Errors
    ///
    /// As [`Uki::parse`], and [`Error::Io`].
    pub fn read(input: R) -> Result<Self, Error> {
        Self::from_source(crate::Stream::new(input)?)
    }
}

impl<S: ReadAt> Uki<S> {
    /// Reads the headers of an image in any source.
    ///
    /// # Errors
    ///
    /// As [`Uki::parse`], and whatever the source returns.
    pub fn from_source(source: S) -> Result<Self, Error> {
        let headers = Headers::read(&source)?;
        let stub = StubId::of(&source, &headers)?;
        Ok(Self {
            source,
            headers,
            stub,
        })
    }

    /// The machine it is for.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.headers.machine
    }

    /// What the stub says about itself.
    #[must_use]
    pub fn stub(&self) -> &StubId {
        &self.stub
    }

    /// The section table, in its order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.headers.sections
    }

    /// Whether a stub would boot something from it: there is a `.linux`.
    #[must_use]
    pub fn is_uki(&self) -> bool {
        self.headers.section(&SectionName::LINUX).is_some()
    }

    /// Whether it is an addon: one of the sections that addons bring, the addon stub or no `.linux`.
    #[must_use]
    pub fn is_addon(&self) -> bool {
        use SectionName as Name;
        let brought = [
            Name::CMDLINE,
            Name::DTB,
            Name::DTBAUTO,
            Name::INITRD,
            Name::UCODE,
        ];
        !self.is_uki()
            && brought
                .iter()
                .any(|name| self.headers.section(name).is_some())
    }

    /// File offset and length of the certificate table; none when the image is not signed.
    #[must_use]
    pub fn certificates(&self) -> Option<(u64, u64)> {
        Some(self.headers.certificates()).filter(|found| *found != (0, 0))
    }

    /// What the stub can boot: each profile with the sections it sees, or the base alone when there is none.
    #[must_use]
    pub fn profiles(&self) -> Vec<ProfileView<'_>> {
        ProfileView::all(&self.headers.sections, &self.headers.names)
    }

    /// The base: the sections before the first `.profile`.
    #[must_use]
    pub fn base(&self) -> ProfileView<'_> {
        ProfileView::base(&self.headers.sections, &self.headers.names)
    }

    /// What the file holds of a section, copied; never more than the file is long.
    ///
    /// # Errors
    ///
    /// Whatever the source returns.
    pub fn bytes(&self, section: &Section) -> Result<Vec<u8>, Error> {
        copy(
            &self.source,
            "section",
            section.raw_offset(),
            section.file_len(),
        )
    }

    /// A section as text, without NULs at its end; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    ///
    /// Whatever the source returns.
    pub fn text(&self, section: &Section) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(self.bytes(section)?.trim_suffix_nul()).into_owned())
    }

    /// What is in a `.linux` section.
    ///
    /// # Errors
    ///
    /// [`Error::NotAKernel`], or whatever the source returns.
    pub fn kernel(&self, section: &Section) -> Result<Kernel, Error> {
        Kernel::identify(&self.window(section))
    }

    /// As [`Uki::kernel`], with how many bytes may be searched for the version.
    pub(crate) fn kernel_within(
        &self,
        section: &Section,
        budget: &mut u64,
    ) -> Result<Kernel, Error> {
        Kernel::identify_within(&self.window(section), budget)
    }

    fn window(&self, section: &Section) -> Window<'_, S> {
        Window {
            source: &self.source,
            offset: section.raw_offset(),
            len: section.file_len(),
        }
    }

    /// The bytes that the stub sees and measures, zeros that the loader adds included.
    #[cfg(feature = "std")]
    pub fn reader(&self, section: &Section) -> impl std::io::Read {
        use std::io::Read;
        let file = WindowReader {
            window: self.window(section),
            position: 0,
        };
        file.chain(std::io::repeat(0).take(section.zero_fill()))
    }
}

/// A part of a source.
pub(crate) struct Window<'a, S> {
    pub(crate) source: &'a S,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl<S: ReadAt> ReadAt for Window<'_, S> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.source
            .read_at(self.offset.saturating_add(offset), buffer)
    }
}

#[cfg(feature = "std")]
pub(crate) struct WindowReader<W> {
    pub(crate) window: W,
    pub(crate) position: u64,
}

#[cfg(feature = "std")]
impl<W: ReadAt> std::io::Read for WindowReader<W> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left =
            usize::try_from(self.window.size().saturating_sub(self.position)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let part = buffer.get_mut(..len).unwrap_or_default();
        self.window
            .read_at(self.position, part)
            .map_err(std::io::Error::other)?;
        self.position = self.position.saturating_add(len as u64);
        Ok(len)
    }
}
