//! Building UKIs, addons and profile images.

use crate::assemble::{Base, Slot};
use crate::kernel_input::{KernelInput, sbat_of};
use crate::plan::{Content, Plan};
use crate::sections::{Item, Rank, Sections, clean_cmdline};
use crate::{ADDON_SBAT, Error, Profile, SectionName, Source, Stub, UKI_SBAT, merge_sbat};

/// Most profiles that systemd-stub looks at.
pub(crate) const MAX_PROFILES: usize = 256;

/// Collects what goes into an image. Setters may come in any order; everything is checked in [`Builder::plan`].
///
/// Sections stand in the file in ukify's order, and the result is byte for byte ukify's where ukify makes one. It
/// becomes a UKI with a kernel, an addon without one on an addon stub.
///
/// # Examples
///
/// ```
/// use uki::{Builder, Profile, Source, Stub};
///
/// let plan = Builder::new(Stub::parse(include_bytes!("../tests/vectors/stub.efi"))?)
///     .linux(&include_bytes!("../tests/vectors/kernel.efi")[..])
///     .initrd(Source::bytes("first")).initrd(Source::bytes("second"))
///     .os_release("ID=example\n")
///     .profile(Profile::new("ID=main"))
///     .profile(Profile::new("ID=debug").cmdline("debug"))
///     .plan()?;
/// assert_eq!(plan.profiles().len(), 2);
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    stub: Stub,
    base: Sections,
    profiles: Vec<Profile>,
    sbat: Vec<String>,
    keeps_stub_sbat: bool,
    checks_kernel: bool,
}

impl Builder {
    /// An image on this stub.
    pub fn new(stub: Stub) -> Self {
        let base = Sections::default();
        Self {
            stub,
            base,
            profiles: Vec::new(),
            sbat: Vec::new(),
            keeps_stub_sbat: false,
            checks_kernel: true,
        }
    }

    /// The kernel, `.linux`. One that is compressed as a whole is unpacked when this build can (features `gzip`,
    /// `zstd`); its version becomes `.uname` unless that is given.
    pub fn linux(self, kernel: impl Into<Source>) -> Self {
        self.add(Rank::Linux, SectionName::LINUX, kernel)
    }

    /// Takes anything as a kernel, unpacks nothing, checks no machine. For tests and unusual payloads.
    pub fn unchecked_kernel(mut self) -> Self {
        self.checks_kernel = false;
        self
    }

    /// A ramdisk, `.initrd`. Several are joined in the order given, each padded with NULs to four bytes; a single one
    /// goes in as it is.
    pub fn initrd(mut self, ramdisk: impl Into<Source>) -> Self {
        self.base.initrds.push(ramdisk.into());
        self
    }

    /// The command line, `.cmdline`. Runs of white space become one blank, none stays at the ends, as ukify does it;
    /// an empty one is left out. For other bytes use [`Builder::cmdline_verbatim`].
    pub fn cmdline(self, text: &str) -> Self {
        let text = clean_cmdline(text);
        if text.is_empty() {
            self
        } else {
            self.cmdline_verbatim(text)
        }
    }

    /// The command line as it is.
    pub fn cmdline_verbatim(self, text: impl Into<Source>) -> Self {
        self.add(Rank::Cmdline, SectionName::CMDLINE, text)
    }

    /// The os-release text, `.osrel`. There is no default: the machine that builds is not looked at.
    pub fn os_release(self, text: impl Into<Source>) -> Self {
        self.add(Rank::Osrel, SectionName::OSREL, text)
    }

    /// The kernel's version, `.uname`, instead of the one found in the kernel.
    pub fn uname(self, version: &str) -> Self {
        self.add(Rank::Uname, SectionName::UNAME, version)
    }

    /// Leaves `.uname` out even when the version can be found.
    pub fn no_uname(mut self) -> Self {
        self.base.no_uname = true;
        self
    }

    /// The boot picture, `.splash`; see [`check_splash`](crate::check_splash).
    pub fn splash(self, bitmap: impl Into<Source>) -> Self {
        self.add(Rank::Splash, SectionName::SPLASH, bitmap)
    }

    /// The device tree, `.dtb`.
    pub fn dtb(self, tree: impl Into<Source>) -> Self {
        self.add(Rank::Dtb, SectionName::DTB, tree)
    }

    /// A device tree to be picked by hardware, `.dtbauto`; may be given many times.
    pub fn dtbauto(self, tree: impl Into<Source>) -> Self {
        self.add(Rank::Dtbauto, SectionName::DTBAUTO, tree)
    }

    /// The table of hardware ids, `.hwids`; see [`HardwareIds`](crate::HardwareIds).
    pub fn hwids(self, table: impl Into<Source>) -> Self {
        self.add(Rank::Hwids, SectionName::HWIDS, table)
    }

    /// A firmware to be picked by hardware, `.efifw`; see [`FirmwareBundle`](crate::FirmwareBundle).
    pub fn efifw(self, bundle: impl Into<Source>) -> Self {
        self.add(Rank::Efifw, SectionName::EFIFW, bundle)
    }

    /// The microcode ramdisk, `.ucode`.
    pub fn ucode(self, ramdisk: impl Into<Source>) -> Self {
        self.add(Rank::Ucode, SectionName::UCODE, ramdisk)
    }

    /// The public key of the signed policies in PEM, `.pcrpkey`.
    pub fn pcrpkey(self, pem: impl Into<Source>) -> Self {
        self.add(Rank::Pcrpkey, SectionName::PCRPKEY, pem)
    }

    /// A finished `.pcrsig`.
    pub fn pcrsig(self, document: impl Into<Source>) -> Self {
        self.add(Rank::Pcrsig, SectionName::PCRSIG, document)
    }

    /// Room for a `.pcrsig` that [`Plan::write`] asks for. In an image with profiles each profile has its own
    /// ([`Profile::pcrsig_len`]), and the base can have none: it would be written before the profiles are known.
    pub fn pcrsig_len(mut self, len: u64) -> Self {
        self.base
            .add(Rank::Pcrsig, SectionName::PCRSIG, Item::Pcrsig(len));
        self
    }

    /// An SBAT text to be merged with those of stub and kernel; may be given many times. Without any, ukify's own is
    /// taken ([`UKI_SBAT`], [`ADDON_SBAT`]).
    pub fn sbat(mut self, text: impl Into<String>) -> Self {
        self.sbat.push(text.into());
        self
    }

    /// Leaves the stub's `.sbat` as it is, as Talos does.
    pub fn keep_stub_sbat(mut self) -> Self {
        self.keeps_stub_sbat = true;
        self
    }

    /// Any other section, after those that have a place of their own.
    pub fn section(self, name: SectionName, content: impl Into<Source>) -> Self {
        self.add(Rank::Free, name, content)
    }

    /// A profile; the first is booted when none is asked for.
    ///
    /// Without any other section the image is a profile image: what ukify builds with `--profile=` for a later
    /// `--join-profile=`.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profiles.push(profile);
        self
    }

    /// Checks everything and lays the image out. Of the sources, kernels are read; of the others only lengths are taken.
    ///
    /// # Errors
    ///
    /// What is wrong, naming the section: [`Error::NotAKernel`], [`Error::MachineMismatch`],
    /// [`Error::DuplicateSection`], [`Error::NoKernel`], [`Error::TooLarge`], [`Error::NoHeaderRoom`], [`Error::Io`], …
    pub fn plan(mut self) -> Result<Plan, Error> {
        self.check_shape()?;
        let is_profile_image = self.base.is_empty() && !self.profiles.is_empty();
        let mut nx_compat = true;
        let mut kernel_sbat = None;
        let all = std::iter::once(&mut self.base).chain(
            self.profiles
                .iter_mut()
                .map(|profile| &mut profile.sections),
        );
        for sections in all {
            let Some(source) = sections.find(&SectionName::LINUX).cloned() else {
                continue;
            };
            let kernel = KernelInput::new(source, self.stub.machine(), self.checks_kernel)?;
            nx_compat &= kernel.nx_compat;
            if let Some(version) = kernel
                .version
                .filter(|_| !sections.no_uname && sections.find(&SectionName::UNAME).is_none())
            {
                sections.add(
                    Rank::Uname,
                    SectionName::UNAME,
                    Item::Source(version.into()),
                );
            }
            if kernel_sbat.is_none() {
                kernel_sbat = Some(sbat_of(&kernel.source)?);
            }
            sections.replace(&SectionName::LINUX, &kernel.source);
        }
        if !is_profile_image && !self.keeps_stub_sbat {
            let merged = self.merged_sbat(kernel_sbat.flatten().as_deref());
            self.base
                .add(Rank::Sbat, SectionName::SBAT, Item::Source(merged.into()));
        }
        let slots = self.slots()?;
        let headers = &self.stub.headers;
        let (end, drop_symbols) = end_without_symbols(&self.stub);
        let base = Base {
            source: &Source::shared(self.stub.bytes.clone()),
            headers,
            stub: self.stub.id(),
            fixed: headers.sections.len(),
            end,
            drop_symbols,
        };
        base.assemble(&slots, nx_compat)
    }

    fn check_shape(&self) -> Result<(), Error> {
        let count = self.profiles.len();
        if count > MAX_PROFILES {
            return Err(Error::TooManyProfiles { count });
        }
        let misplaced = |section, reason| Err(Error::Misplaced { section, reason });
        if !self.profiles.is_empty() && self.base.has_pcrsig_to_fill() {
            return misplaced(SectionName::PCRSIG, "each profile needs its own policies");
        }
        let has_kernel = |sections: &Sections| sections.find(&SectionName::LINUX).is_some();
        if self.stub.id().is_addon() {
            // A profile image is joined to a UKI later, whatever stub carries it.
            let is_profile_image = self.base.is_empty() && self.profiles.len() == 1;
            if is_profile_image {
                return Ok(());
            }
            if has_kernel(&self.base)
                || self
                    .profiles
                    .iter()
                    .any(|profile| has_kernel(&profile.sections))
            {
                return misplaced(SectionName::LINUX, "an addon stub boots no kernel");
            }
            return Ok(());
        }
        if has_kernel(&self.base) {
            return Ok(());
        }
        match self
            .profiles
            .iter()
            .position(|profile| !has_kernel(&profile.sections))
        {
            None if self.profiles.is_empty() => Err(Error::NoKernel { profile: None }),
            None => Ok(()),
            profile => Err(Error::NoKernel { profile }),
        }
    }

    fn merged_sbat(&self, kernel: Option<&[u8]>) -> Vec<u8> {
        let is_addon = self.stub.id().is_addon();
        let own = if is_addon { ADDON_SBAT } else { UKI_SBAT };
        let given: Vec<&[u8]> = self.sbat.iter().map(String::as_bytes).collect();
        let given = if given.is_empty() {
            vec![own.as_bytes()]
        } else {
            given
        };
        let stub = self.stub.sbat().filter(|_| !is_addon);
        merge_sbat(
            stub.into_iter()
                .chain(kernel.filter(|_| !is_addon))
                .chain(given),
        )
    }

    /// The stub's sections, then the base, then the profiles.
    fn slots(&self) -> Result<Vec<Slot>, Error> {
        let mut slots: Vec<Slot> = (0..self.stub.headers.sections.len())
            .map(Slot::Kept)
            .collect();
        let profiles = self
            .profiles
            .iter()
            .enumerate()
            .map(|(index, profile)| (Some(index), &profile.sections));
        for (profile, sections) in std::iter::once((None, &self.base)).chain(profiles) {
            for (name, item) in sections.ordered(profile)? {
                let (content, len) = match item {
                    Item::Source(source) => {
                        let len = source.len()?;
                        (Content::Source(source, 0, true), len)
                    }
                    Item::Pcrsig(len) => (Content::Pcrsig, len),
                };
                add_slot(&mut slots, &self.stub.headers, profile, name, content, len)?;
            }
        }
        Ok(slots)
    }

    fn add(mut self, rank: Rank, name: SectionName, content: impl Into<Source>) -> Self {
        self.base.add(rank, name, Item::Source(content.into()));
        self
    }
}

/// A section of the stub's own, in practice `.sbat`, is replaced where it stands when the content fits, in the file and
/// in memory. Otherwise it leaves its place and comes after the stub: on stub 252 a merged `.sbat` would reach
/// into `.sdmagic`. Other names of the stub cannot be given.
pub(crate) fn add_slot(
    slots: &mut Vec<Slot>,
    headers: &crate::headers::Headers,
    profile: Option<usize>,
    name: SectionName,
    content: Content,
    len: u64,
) -> Result<(), Error> {
    let kept = |slot: &Slot| match slot {
        Slot::Kept(index) => headers
            .sections
            .get(*index)
            .is_some_and(|section| section.name.same(&name)),
        _ => false,
    };
    let may_be_in_stub = profile.is_none() && !name.may_repeat();
    let place = if may_be_in_stub {
        // The old image's sections stand at the front.
        slots.iter().take(headers.sections.len()).position(kept)
    } else {
        None
    };
    let Some(place) = place else {
        slots.push(Slot::New(name, content, len));
        return Ok(());
    };
    if !name.is_known() {
        return Err(Error::DuplicateSection {
            section: name,
            profile,
        });
    }
    let Some((index, section)) = headers
        .sections
        .iter()
        .enumerate()
        .find(|(_, section)| section.name.same(&name))
    else {
        return Ok(());
    };
    let next = headers
        .sections
        .iter()
        .map(crate::Section::virtual_address)
        .filter(|next| *next > section.virtual_address());
    let room = next.min().map_or(u64::MAX, |next| {
        next.saturating_sub(section.virtual_address())
    });
    let raw_room = section
        .raw_len()
        .checked_next_multiple_of(headers.file_alignment)
        .unwrap_or_default();
    if len <= room.min(raw_room) {
        if let Some(slot) = slots.get_mut(place) {
            *slot = Slot::Replaced(index, content, len);
        }
    } else {
        slots.remove(place);
        slots.push(Slot::New(name, content, len));
    }
    Ok(())
}

/// Old stubs carry a COFF symbol table at their end, which no loader uses.
fn end_without_symbols(stub: &Stub) -> (u64, bool) {
    let size = stub.bytes.len() as u64;
    let start = stub.headers.symbols;
    if start == 0 {
        return (size, false);
    }
    let strings = start.saturating_add(stub.headers.symbol_count.saturating_mul(18));
    let len = usize::try_from(strings)
        .ok()
        .and_then(|at| stub.bytes.get(at..)?.first_chunk())
        .map(|len| u32::from_le_bytes(*len));
    let end = strings.saturating_add(len.unwrap_or_default().into());
    if end == size {
        (start, true)
    } else {
        (size, false)
    }
}
