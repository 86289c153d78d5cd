//! A profile that a builder adds.

use crate::headers::Headers;
use crate::sections::{Item, Rank, Sections, clean_cmdline};
use crate::source::SourceAt;
use crate::{Error, SectionName, Source};

/// A profile: its `.profile` text and the sections that it has instead of the base's.
///
/// # Examples
///
/// ```
/// use uki::Profile;
///
/// let reset = Profile::new("ID=factory-reset\nTITLE=Factory reset\n").cmdline("ro systemd.factory_reset=1");
/// ```
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) sections: Sections,
}

impl Profile {
    /// A profile with this text, such as `ID=main`.
    #[must_use]
    pub fn new(text: impl Into<Source>) -> Self {
        let mut sections = Sections::default();
        sections.add(
            Rank::Profile,
            SectionName::PROFILE,
            Item::Source(text.into()),
        );
        Self { sections }
    }

    /// The profile in a PE file that ukify has built with `--profile=`: the sections that `--join-profile=` takes.
    ///
    /// # Errors
    ///
    /// What is wrong with the file's headers; [`Error::NoSection`] when its first section is not `.profile`,
    /// [`Error::DuplicateSection`] when it has several.
    pub fn from_image(image: &Source) -> Result<Self, Error> {
        use SectionName as Name;
        let taken = [
            Name::LINUX,
            Name::OSREL,
            Name::CMDLINE,
            Name::INITRD,
            Name::UCODE,
            Name::SPLASH,
            Name::DTB,
            Name::UNAME,
            Name::SBAT,
            Name::PROFILE,
            Name::EFIFW,
        ];
        let headers = Headers::read(&SourceAt::new(image)?)?;
        let mut found = headers
            .sections
            .iter()
            .filter(|section| taken.iter().any(|name| name.same(&section.name)));
        let part = |section: &crate::Section| image.part(section.raw_offset(), section.file_len());
        let first = found.next().filter(|first| first.name.same(&Name::PROFILE));
        let first = first.ok_or(Error::NoSection {
            section: Name::PROFILE,
            profile: Some(0),
        })?;
        let mut profile = Self::new(part(first));
        profile.sections.no_uname = true;
        for section in found {
            if section.name.same(&Name::PROFILE) {
                return Err(Error::DuplicateSection {
                    section: Name::PROFILE,
                    profile: Some(0),
                });
            }
            profile
                .sections
                .add(Rank::Free, section.name, Item::Source(part(section)));
        }
        Ok(profile)
    }

    /// A kernel of its own.
    #[must_use]
    pub fn linux(self, kernel: impl Into<Source>) -> Self {
        self.add(Rank::Linux, SectionName::LINUX, kernel)
    }

    /// A ramdisk of its own; several are joined as [`Builder::initrd`](crate::Builder::initrd) says.
    #[must_use]
    pub fn initrd(mut self, ramdisk: impl Into<Source>) -> Self {
        self.sections.initrds.push(ramdisk.into());
        self
    }

    /// A command line of its own, cleaned as [`Builder::cmdline`](crate::Builder::cmdline) says.
    #[must_use]
    pub fn cmdline(self, text: &str) -> Self {
        self.add(Rank::Cmdline, SectionName::CMDLINE, clean_cmdline(text))
    }

    /// An os-release text of its own.
    #[must_use]
    pub fn os_release(self, text: impl Into<Source>) -> Self {
        self.add(Rank::Osrel, SectionName::OSREL, text)
    }

    /// The version of its own kernel.
    #[must_use]
    pub fn uname(self, version: &str) -> Self {
        self.add(Rank::Uname, SectionName::UNAME, version)
    }

    /// A boot picture of its own.
    #[must_use]
    pub fn splash(self, bitmap: impl Into<Source>) -> Self {
        self.add(Rank::Splash, SectionName::SPLASH, bitmap)
    }

    /// A device tree of its own.
    #[must_use]
    pub fn dtb(self, tree: impl Into<Source>) -> Self {
        self.add(Rank::Dtb, SectionName::DTB, tree)
    }

    /// A device tree to be picked by hardware; may be given many times.
    #[must_use]
    pub fn dtbauto(self, tree: impl Into<Source>) -> Self {
        self.add(Rank::Dtbauto, SectionName::DTBAUTO, tree)
    }

    /// A table of hardware ids of its own.
    #[must_use]
    pub fn hwids(self, table: impl Into<Source>) -> Self {
        self.add(Rank::Hwids, SectionName::HWIDS, table)
    }

    /// A firmware to be picked by hardware; may be given many times.
    #[must_use]
    pub fn efifw(self, bundle: impl Into<Source>) -> Self {
        self.add(Rank::Efifw, SectionName::EFIFW, bundle)
    }

    /// A microcode ramdisk of its own.
    #[must_use]
    pub fn ucode(self, ramdisk: impl Into<Source>) -> Self {
        self.add(Rank::Ucode, SectionName::UCODE, ramdisk)
    }

    /// Any other section of its own, after those that have a place of their own.
    #[must_use]
    pub fn section(self, name: SectionName, content: impl Into<Source>) -> Self {
        self.add(Rank::Free, name, content)
    }

    /// A finished `.pcrsig`.
    #[must_use]
    pub fn pcrsig(self, document: impl Into<Source>) -> Self {
        self.add(Rank::Pcrsig, SectionName::PCRSIG, document)
    }

    /// Room for a `.pcrsig` that is asked for while the image is written.
    #[must_use]
    pub fn pcrsig_len(mut self, len: u64) -> Self {
        self.sections
            .add(Rank::Pcrsig, SectionName::PCRSIG, Item::Pcrsig(len));
        self
    }

    fn add(mut self, rank: Rank, name: SectionName, content: impl Into<Source>) -> Self {
        self.sections.add(rank, name, Item::Source(content.into()));
        self
    }
}
