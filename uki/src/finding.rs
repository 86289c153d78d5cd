//! Findings of the lint, with codes that stay.

use core::fmt;

use crate::SectionName;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works on some machines or with some settings only, or is less safe than it looks.
    Warning,
    /// Firmware or stub will refuse the image or do something else than its builder wanted.
    Error,
}

/// What is found. The [`code`](Check::code) of each is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Two sections share addresses.
    SectionOverlap,
    /// Addresses do not rise along the section table.
    SectionOrder,
    /// A section ends beyond `SizeOfImage` or beyond 4 GiB: an address has wrapped.
    AddressWrapped,
    /// A section does not start at a multiple of the alignments.
    SectionAlignment,
    /// Headers reach into the first section.
    HeaderOverlap,
    /// The section table ends behind `SizeOfHeaders`, so loaders do not see all of it.
    HeadersShort,
    /// Two sections share bytes of the file.
    RawOverlap,
    /// The entry point is in no section with code.
    EntryPoint,
    /// A section can be written and executed.
    WritableCode,
    /// NX_COMPAT is set although the kernel is not NX compatible, or the other way round.
    NxMismatch,
    /// The kernel is for another machine than the stub.
    MachineMismatch,
    /// A `.linux` section holds no kernel that a stub can start.
    NotAKernel,
    /// A profile has nothing to boot.
    NoKernel,
    /// The image is no EFI application.
    Subsystem,
    /// The stub is not known: no `.sdmagic`.
    UnknownStub,
    /// There is no `.sbat`, so shim refuses the image.
    SbatMissing,
    /// `.sbat` has no valid first line.
    SbatInvalid,
    /// Two entries of `.sbat` name one component with different generations.
    SbatConflict,
    /// There are several `.sbat` sections, in profiles or not: shim refuses the image.
    SbatDuplicate,
    /// A name stands twice where only the first counts.
    DuplicateSection,
    /// A section of the specification is empty, so the stub takes it as not there.
    EmptySection,
    /// A section reaches beyond its raw data; builders of policies forget the zeros that are then measured.
    ZeroFill,
    /// More profiles than the stub looks at.
    TooManyProfiles,
    /// Two profiles have one id.
    ProfileId,
    /// `.uname` is not the version of the kernel.
    UnameMismatch,
    /// There are signed policies without the public key that belongs to them.
    PcrkeyMissing,
    /// There is a public key for policies but a profile has no policies.
    PcrsigMissing,
    /// A profile uses the policies of the base, which cannot fit what it measures.
    PcrsigInBase,
    /// A profile for debugging has policies of its own: whoever boots it can unseal the disk.
    DebugProfileSigned,
    /// No `.cmdline`: under Secure Boot the stub then takes any command line that it is passed.
    CmdlineOpen,
    /// `.cmdline` has a NUL inside: the stub measures all of it and takes what is in front.
    CmdlineCut,
    /// A command line that is passed in is ignored under Secure Boot, since the image has its own. Found by
    /// [`lint_passed_cmdline`](crate::lint_passed_cmdline()) only.
    CmdlineIgnored,
    /// No `.osrel`: systemd-boot does not list the image.
    OsrelMissing,
    /// `.pcrpkey` is no public key in PEM.
    PcrpkeyInvalid,
    /// `.pcrsig` is no JSON object.
    PcrsigInvalid,
    /// `.splash` is no picture that the stub can draw.
    SplashInvalid,
    /// `.initrd` is neither a cpio archive nor compressed as the kernel knows it.
    InitrdUnknown,
    /// `.ucode` is no plain cpio archive: the kernel does not unpack microcode.
    UcodeInvalid,
    /// `.dtb` or `.dtbauto` is no flattened device tree.
    DeviceTreeInvalid,
    /// `.hwids` does not follow its format.
    HwidsInvalid,
    /// `.efifw` does not follow its format.
    EfifwInvalid,
    /// An addon brings nothing that the stub uses.
    AddonEmpty,
    /// An addon's sections that the stub does not look at.
    AddonIgnored,
}

impl Check {
    /// A short name that stays the same in later versions.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SectionOverlap => "section-overlap",
            Self::SectionOrder => "section-order",
            Self::AddressWrapped => "address-wrapped",
            Self::SectionAlignment => "section-alignment",
            Self::HeaderOverlap => "header-overlap",
            Self::WritableCode => "writable-code",
            Self::NxMismatch => "nx-mismatch",
            Self::MachineMismatch => "machine-mismatch",
            Self::NotAKernel => "not-a-kernel",
            Self::NoKernel => "no-kernel",
            Self::Subsystem => "subsystem",
            Self::UnknownStub => "unknown-stub",
            Self::SbatMissing => "sbat-missing",
            Self::SbatInvalid => "sbat-invalid",
            Self::SbatConflict => "sbat-conflict",
            Self::DuplicateSection => "duplicate-section",
            Self::EmptySection => "empty-section",
            Self::ZeroFill => "zero-fill",
            Self::TooManyProfiles => "too-many-profiles",
            Self::ProfileId => "profile-id",
            Self::UnameMismatch => "uname-mismatch",
            Self::PcrkeyMissing => "pcrpkey-missing",
            Self::PcrsigMissing => "pcrsig-missing",
            Self::PcrsigInBase => "pcrsig-in-base",
            Self::DebugProfileSigned => "debug-profile-signed",
            Self::CmdlineOpen => "cmdline-open",
            Self::HeadersShort => "headers-short",
            Self::RawOverlap => "raw-overlap",
            Self::EntryPoint => "entry-point",
            Self::SbatDuplicate => "sbat-duplicate",
            Self::CmdlineCut => "cmdline-cut",
            Self::CmdlineIgnored => "cmdline-ignored",
            Self::OsrelMissing => "osrel-missing",
            Self::PcrpkeyInvalid => "pcrpkey-invalid",
            Self::PcrsigInvalid => "pcrsig-invalid",
            Self::SplashInvalid => "splash-invalid",
            Self::InitrdUnknown => "initrd-unknown",
            Self::UcodeInvalid => "ucode-invalid",
            Self::DeviceTreeInvalid => "devicetree-invalid",
            Self::HwidsInvalid => "hwids-invalid",
            Self::EfifwInvalid => "efifw-invalid",
            Self::AddonEmpty => "addon-empty",
            Self::AddonIgnored => "addon-ignored",
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::SectionAlignment
            | Self::SectionOrder
            | Self::WritableCode
            | Self::SbatMissing
            | Self::SbatConflict
            | Self::DuplicateSection
            | Self::ZeroFill
            | Self::ProfileId
            | Self::UnameMismatch
            | Self::PcrkeyMissing
            | Self::PcrsigMissing
            | Self::DebugProfileSigned
            | Self::CmdlineOpen
            | Self::CmdlineCut
            | Self::CmdlineIgnored
            | Self::RawOverlap
            | Self::PcrpkeyInvalid
            | Self::PcrsigInvalid
            | Self::SplashInvalid
            | Self::InitrdUnknown
            | Self::UcodeInvalid
            | Self::DeviceTreeInvalid
            | Self::HwidsInvalid
            | Self::EfifwInvalid
            | Self::UnknownStub => Severity::Warning,
            Self::EmptySection | Self::AddonIgnored | Self::OsrelMissing => Severity::Note,
            _ => Severity::Error,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::SectionOverlap => "shares addresses with the section before it",
            Self::SectionOrder => "stands at a lower address than the section before it",
            Self::AddressWrapped => "ends beyond the image: its address has wrapped",
            Self::SectionAlignment => "does not start at a multiple of the alignment",
            Self::HeaderOverlap => "starts within the headers",
            Self::WritableCode => "can be written and executed",
            Self::NxMismatch => "the NX flags of kernel and image differ",
            Self::MachineMismatch => "is for another machine than the stub",
            Self::NotAKernel => "holds no kernel that a stub can start",
            Self::NoKernel => "there is no kernel to boot",
            Self::Subsystem => "the image is no EFI application",
            Self::UnknownStub => "the stub does not say what it is",
            Self::SbatMissing => "there is no .sbat, and shim refuses images without",
            Self::SbatInvalid => "does not start with an SBAT header line",
            Self::SbatConflict => "names a component twice with different generations",
            Self::DuplicateSection => "stands a second time and is ignored",
            Self::EmptySection => "is empty and therefore ignored",
            Self::ZeroFill => {
                "reaches beyond its data: the zeros that the loader adds are measured"
            }
            Self::TooManyProfiles => "the stub looks at no more than 256 profiles",
            Self::ProfileId => "has the ID of an earlier profile or none",
            Self::UnameMismatch => "is not the version of the kernel",
            Self::PcrkeyMissing => "there are signed policies and no .pcrpkey",
            Self::PcrsigMissing => "there is a .pcrpkey and no .pcrsig",
            Self::PcrsigInBase => {
                "the policies of the base are used for a profile that measures more"
            }
            Self::DebugProfileSigned => {
                "a profile for debugging has signed policies: it can unseal what they protect"
            }
            Self::CmdlineOpen => {
                "there is no .cmdline, so any command line is taken, even under Secure Boot"
            }
            Self::HeadersShort => "the section table ends behind SizeOfHeaders",
            Self::RawOverlap => "shares bytes of the file with another section",
            Self::EntryPoint => "the entry point is in no section with code",
            Self::SbatDuplicate => "stands a second time, and shim refuses such images",
            Self::CmdlineCut => {
                "has a NUL inside: what follows is measured and not part of the command line"
            }
            Self::CmdlineIgnored => {
                "is there, so under Secure Boot a command line that is passed in is ignored"
            }
            Self::OsrelMissing => "there is no .osrel, so systemd-boot does not list the image",
            Self::PcrpkeyInvalid => "is no public key in PEM",
            Self::PcrsigInvalid => "is no JSON object",
            Self::SplashInvalid => "is no bitmap that the stub can draw",
            Self::InitrdUnknown => {
                "is neither a cpio archive nor compressed in a way that the kernel knows"
            }
            Self::UcodeInvalid => "is no plain cpio archive, so no microcode is found in it",
            Self::DeviceTreeInvalid => "is no flattened device tree",
            Self::HwidsInvalid => "does not follow the format of hardware ids",
            Self::EfifwInvalid => "does not follow the format of firmware bundles",
            Self::AddonEmpty => "the addon brings nothing that the stub uses",
            Self::AddonIgnored => "is ignored in an addon",
        }
    }
}

/// One thing that [`lint`](crate::lint()) has found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub check: Check,
    /// The section it is about.
    pub section: Option<SectionName>,
    /// The profile it is about.
    pub profile: Option<usize>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.check.code())?;
        if let Some(profile) = self.profile {
            write!(f, "profile {profile}: ")?;
        }
        if let Some(section) = self.section {
            write!(f, "{section} ")?;
        }
        f.write_str(self.check.text())
    }
}
