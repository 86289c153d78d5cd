//! What can go wrong, in the caller's terms.

use alloc::boxed::Box;

use crate::{Machine, SectionName};

/// What the caller's closures may return as their own error.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// Why an image could not be read, laid out or written.
///
/// # Examples
///
/// ```
/// let error = uki::Uki::parse(b"MZ").unwrap_err();
/// assert_eq!(error.to_string(), "DOS header at offset 0 needs 64 bytes, 2 are there");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file ends before something that its headers promise.
    #[error("{what} at offset {offset} needs {needed} bytes, {available} are there")]
    Truncated {
        /// The structure that was being read.
        what: &'static str,
        /// Where it starts in the file.
        offset: u64,
        /// How long it is.
        needed: u64,
        /// How many bytes the file has from there on.
        available: u64,
    },
    /// The raw data of a section lies outside the file.
    #[error("section {section} at offset {offset} needs {needed} bytes, {available} are there")]
    SectionTruncated {
        /// The section.
        section: SectionName,
        /// Where its data should start.
        offset: u64,
        /// How long it should be.
        needed: u64,
        /// How many bytes the file has from there on.
        available: u64,
    },
    /// A magic number is not there.
    #[error("no {expected} at offset {offset}: found {found:02x?}")]
    BadMagic {
        /// What should be there.
        expected: &'static str,
        /// Where it should be.
        offset: u64,
        /// The bytes found instead.
        found: [u8; 4],
    },
    /// A header field has a value that no loader takes.
    #[error("{field} at offset {offset} is {value:#x}, expected {expected}")]
    BadField {
        /// Name of the field in the PE specification.
        field: &'static str,
        /// Where it is.
        offset: u64,
        /// Its value.
        value: u64,
        /// What would have been right.
        expected: &'static str,
    },
    /// A name is too long for a section header or not printable ASCII.
    #[error("section name {name:?} is not one to eight printable ASCII characters")]
    BadSectionName {
        /// The name.
        name: Box<str>,
    },
    /// The stub carries a signature, which adding sections would break.
    #[error("the stub is signed: {len} bytes of certificates at offset {offset}")]
    SignedStub {
        /// Where the certificate table starts.
        offset: u64,
        /// How long it is.
        len: u64,
    },
    /// The file has no `.sdmagic` section, so it is neither a systemd stub nor an addon stub.
    #[error("not a systemd stub: no .sdmagic section names systemd-stub or systemd-addon")]
    NotAStub,
    /// Bytes were given as a kernel that are none.
    #[error("not a kernel that a UEFI stub can start: {found}")]
    NotAKernel {
        /// What the bytes look like.
        found: crate::NotAKernel,
    },
    /// A payload is for another machine than the stub.
    #[error("{section} is for {found}, the stub for {expected}")]
    MachineMismatch {
        /// The section with the payload.
        section: SectionName,
        /// The machine of the payload.
        found: Machine,
        /// The machine of the stub.
        expected: Machine,
    },
    /// Two sections have one name where only one may be.
    #[error("section {section} exists twice in {}", in_profile(*profile))]
    DuplicateSection {
        /// The name.
        section: SectionName,
        /// The profile; none for the base.
        profile: Option<usize>,
    },
    /// Nothing to boot.
    #[error("no .linux section in {}", in_profile(*profile))]
    NoKernel {
        /// The profile that has none; none for the base.
        profile: Option<usize>,
    },
    /// A section cannot be in this kind of image.
    #[error("section {section} cannot be here: {reason}")]
    Misplaced {
        /// The section.
        section: SectionName,
        /// Why not.
        reason: &'static str,
    },
    /// The stub reads at most 256 profiles.
    #[error("{count} profiles, the stub reads at most 256")]
    TooManyProfiles {
        /// How many were asked for.
        count: usize,
    },
    /// The section counter of the PE format has 16 bits.
    #[error("{count} sections, the PE format has room for 65535")]
    TooManySections {
        /// How many were asked for.
        count: usize,
    },
    /// All addresses and file offsets of the PE format have 32 bits.
    #[error("{what} of section {section} would be {value:#x}, the limit of the PE format is 4 GiB")]
    TooLarge {
        /// The section at which the limit is passed.
        section: SectionName,
        /// Which number is too large.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// The section table does not fit before the first section and cannot be given more room.
    #[error("the section table needs {needed} bytes of headers, {available} are there: {reason}")]
    NoHeaderRoom {
        /// Bytes needed, from the start of the file.
        needed: u64,
        /// Bytes there are at most.
        available: u64,
        /// Why the room cannot be made.
        reason: &'static str,
    },
    /// Two sections of the given image share file bytes or addresses, so nothing can be moved.
    #[error("sections {first} and {second} overlap {place}")]
    SectionOverlap {
        /// The one before.
        first: SectionName,
        /// The one after.
        second: SectionName,
        /// In memory or in the file.
        place: &'static str,
    },
    /// A section must be moved to make room but code or a data directory refers to it.
    #[error("section {section} cannot be moved: {reason}")]
    Immovable {
        /// The section.
        section: SectionName,
        /// What refers to it.
        reason: &'static str,
    },
    /// Data stands after the last section of an image to be edited and belongs to nothing.
    #[error("{len} bytes at offset {offset} belong to no section")]
    Overlay {
        /// Where they start.
        offset: u64,
        /// How many there are.
        len: u64,
    },
    /// A section that an edit names is not there.
    #[error("no section {section} in {}", in_profile(*profile))]
    NoSection {
        /// The name.
        section: SectionName,
        /// The profile; none for the base.
        profile: Option<usize>,
    },
    /// A profile that an edit names is not there.
    #[error("no profile {profile}, the image has {count}")]
    NoProfile {
        /// The index.
        profile: usize,
        /// How many there are.
        count: usize,
    },
    /// A section's content does not follow its format.
    #[error("content of {section}, byte {offset}: {reason}")]
    BadContent {
        /// The section.
        section: SectionName,
        /// Where in the content.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A description of hardware ids does not follow ukify's format.
    #[error("hardware ids in {name}: {reason}")]
    BadDescription {
        /// The file.
        name: Box<str>,
        /// What is wrong.
        reason: &'static str,
    },
    /// Content changed between the plan and the write.
    #[error("{name} has {found} bytes, {planned} when the image was planned")]
    SizeChanged {
        /// The file, or what the caller called its source.
        name: Box<str>,
        /// Bytes when planned.
        planned: u64,
        /// Bytes now; with a source that has more than planned, one more than planned.
        found: u64,
    },
    /// The signature document does not fit the space planned for it.
    #[error("the .pcrsig document has {found} bytes, {planned} are planned")]
    PcrsigTooLong {
        /// Bytes planned.
        planned: u64,
        /// Bytes the callback returned.
        found: u64,
    },
    /// The plan holds space for a `.pcrsig`, and nobody answered when its turn came.
    #[error("the image has a .pcrsig to fill in, and no callback was given")]
    PcrsigMissing,
    /// The callback for `.pcrsig` returned an error.
    #[error("the .pcrsig callback returned an error")]
    Pcrsig(#[source] BoxError),
    /// A thread that observed the image panicked.
    #[error("an observer's thread panicked")]
    ObserverPanicked,
    /// Reading or writing returned an error.
    #[cfg(feature = "std")]
    #[error("{name}: {}", kind.kind())]
    Io {
        /// The file, or what the caller called its source.
        name: Box<str>,
        /// The error of the operating system.
        #[source]
        kind: std::io::Error,
    },
}

fn in_profile(profile: Option<usize>) -> impl core::fmt::Display {
    struct Place(Option<usize>);
    impl core::fmt::Display for Place {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            match self.0 {
                Some(index) => write!(f, "profile {index}"),
                None => f.write_str("the base"),
            }
        }
    }
    Place(profile)
}

impl Error {
    /// Wraps an error of the operating system with the name of what it happened to.
    #[cfg(feature = "std")]
    pub(crate) fn io(name: impl Into<Box<str>>) -> impl FnOnce(std::io::Error) -> Self {
        |kind| Self::Io {
            name: name.into(),
            kind,
        }
    }
}
