//! The inputs of a plan.

use alloc::vec::Vec;

use crate::bank::Digest;
use crate::boot_plan::initrd::{Piece, ReadInto, Stream};
use crate::boot_plan::{Addon, BootPlan, Loader, build};
use crate::error::Error;
use crate::pcr11::{HardwareChoice, Pcr11};
use crate::phase::PhasePath;

/// Collects what is known about a boot; every setter may be left out.
#[derive(Debug, Clone)]
#[must_use]
pub struct BootPlanBuilder<'a> {
    pub(super) uki: &'a Pcr11,
    pub(super) profile: usize,
    pub(super) hardware: HardwareChoice,
    pub(super) secure_boot: bool,
    pub(super) confidential: bool,
    pub(super) os_separator: bool,
    pub(super) loader: Option<Loader>,
    pub(super) loader_conf: Option<&'a [u8]>,
    pub(super) loader_image: &'a [Digest],
    pub(super) uki_image: &'a [Digest],
    pub(super) kernel_image: &'a [Digest],
    pub(super) gpt_event: Option<&'a [u8]>,
    pub(super) options: Option<&'a str>,
    pub(super) smbios: Option<&'a str>,
    pub(super) addons: Vec<Addon<'a>>,
    pub(super) local_files: Vec<(&'a str, &'a [u8])>,
    pub(super) global_credentials: Vec<(&'a str, &'a [u8])>,
    pub(super) global_extensions: Vec<(&'a str, &'a [u8])>,
    pub(super) initrd: Option<(&'a [u8], Piece<'a>)>,
    pub(super) previous_initrd: &'a [u8],
    pub(super) phase: PhasePath,
}

impl<'a> BootPlanBuilder<'a> {
    pub(super) const fn new(uki: &'a Pcr11) -> Self {
        Self {
            uki,
            profile: 0,
            hardware: HardwareChoice::NONE,
            secure_boot: true,
            confidential: false,
            os_separator: false,
            loader: None,
            loader_conf: None,
            loader_image: &[],
            uki_image: &[],
            kernel_image: &[],
            gpt_event: None,
            options: None,
            smbios: None,
            addons: Vec::new(),
            local_files: Vec::new(),
            global_credentials: Vec::new(),
            global_extensions: Vec::new(),
            initrd: None,
            previous_initrd: &[],
            phase: PhasePath::stub(),
        }
    }

    /// The profile that is started.
    pub const fn profile(mut self, index: usize) -> Self {
        self.profile = index;
        self
    }

    /// Which hardware-dependent sections the machine picks.
    pub const fn hardware(mut self, choice: HardwareChoice) -> Self {
        self.hardware = choice;
        self
    }

    /// Whether Secure Boot is on: then the stub ignores passed command lines when the UKI has its
    /// own, and the kernel inside is not measured into PCR 4.
    pub const fn secure_boot(mut self, on: bool) -> Self {
        self.secure_boot = on;
        self
    }

    /// A confidential virtual machine: passed and SMBIOS command lines are ignored (the passed one
    /// with Secure Boot on).
    pub const fn confidential(mut self, yes: bool) -> Self {
        self.confidential = yes;
        self
    }

    /// Userspace of systemd 261 or later: the initrd extends `os-separator` into every register of
    /// the plan but PCR 11.
    pub const fn os_separator(mut self, yes: bool) -> Self {
        self.os_separator = yes;
        self
    }

    /// The boot loader between firmware and UKI.
    pub const fn loader(mut self, loader: Loader) -> Self {
        self.loader = Some(loader);
        self
    }

    /// Authenticode digests of the boot loader, one for each bank: for PCR 4.
    pub const fn loader_image(mut self, digests: &'a [Digest]) -> Self {
        self.loader_image = digests;
        self
    }

    /// The content of `\loader\loader.conf`, if there is one: for PCR 5.
    pub const fn loader_conf(mut self, content: &'a [u8]) -> Self {
        self.loader_conf = Some(content);
        self
    }

    /// Authenticode digests of the UKI, one for each bank: for PCR 4.
    pub const fn uki_image(mut self, digests: &'a [Digest]) -> Self {
        self.uki_image = digests;
        self
    }

    /// Authenticode digests of the content of `.linux`, one for each bank: for PCR 4, needed without
    /// Secure Boot up to stub 257.
    pub const fn kernel_image(mut self, digests: &'a [Digest]) -> Self {
        self.kernel_image = digests;
        self
    }

    /// The event data of the disk's partition table ([`gpt_event_data`](crate::gpt_event_data)),
    /// empty for a medium without: for PCR 5.
    pub const fn gpt_event(mut self, data: &'a [u8]) -> Self {
        self.gpt_event = Some(data);
        self
    }

    /// The options that the UKI is started with: from the boot entry, the boot menu's editor or the
    /// UEFI shell (which collapses runs of blanks), without a leading `@N`.
    pub const fn passed_options(mut self, options: &'a str) -> Self {
        self.options = Some(options);
        self
    }

    /// The SMBIOS string `io.systemd.stub.kernel-cmdline-extra`.
    pub const fn smbios_options(mut self, options: &'a str) -> Self {
        self.smbios = Some(options);
        self
    }

    /// An addon; the order does not matter.
    pub fn addon(mut self, addon: Addon<'a>) -> Self {
        self.addons.push(addon);
        self
    }

    /// A file in the UKI's folder `<UKI>.extra.d`: `*.cred`, `*.raw`, `*.confext.raw`.
    pub fn local_file(mut self, name: &'a str, content: &'a [u8]) -> Self {
        self.local_files.push((name, content));
        self
    }

    /// A file in `\loader\credentials`: `*.cred`.
    pub fn global_credential(mut self, name: &'a str, content: &'a [u8]) -> Self {
        self.global_credentials.push((name, content));
        self
    }

    /// A file in `\loader\extensions` (systemd 258 and later): `*.raw`, `*.confext.raw`.
    pub fn global_extension(mut self, name: &'a str, content: &'a [u8]) -> Self {
        self.global_extensions.push((name, content));
        self
    }

    /// The contents of the UKI's `.ucode` and `.initrd`, empty where there is none: for PCR 9, whose
    /// initrd is hashed as one piece with what the stub adds.
    pub fn embedded_initrds(mut self, ucode: &'a [u8], initrd: &'a [u8]) -> Self {
        self.initrd = Some((ucode, Piece::Bytes(initrd)));
        self
    }

    /// As [`BootPlanBuilder::embedded_initrds`], for an `.initrd` that is not in memory: `read` hands
    /// its bytes to the sink, in order and in any number of pieces. It is called once.
    ///
    /// What goes wrong on the way is for the caller to remember; the plan is worth nothing then.
    ///
    /// # Examples
    /// ```
    /// use pcr::{Bank, BootPlan, Dialect, Pcr11, Register};
    ///
    /// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
    /// boot.observe(".linux", b"kernel");
    /// boot.observe(".cmdline", b"quiet");
    /// boot.observe(".initrd", b"initramfs");
    /// let in_memory = BootPlan::builder(&boot).embedded_initrds(b"", b"initramfs").build()?;
    /// let read = |sink: &mut dyn FnMut(&[u8])| {
    ///     sink(b"init");
    ///     sink(b"ramfs");
    /// };
    /// assert_eq!(BootPlan::builder(&boot).read_initrd(b"", &read).build()?, in_memory);
    /// # Ok::<(), pcr::Error>(())
    /// ```
    pub fn read_initrd(mut self, ucode: &'a [u8], read: &'a ReadInto<'a>) -> Self {
        self.initrd = Some((ucode, Piece::Stream(Stream(read))));
        self
    }

    /// An initrd that the boot loader offered (from stub 258 on it is handed over): for PCR 9.
    pub const fn previous_initrd(mut self, content: &'a [u8]) -> Self {
        self.previous_initrd = content;
        self
    }

    /// How far the boot comes: the words that userspace extends into PCR 11.
    pub fn phase(mut self, phase: PhasePath) -> Self {
        self.phase = phase;
        self
    }

    /// Makes the plan.
    ///
    /// # Errors
    /// [`Error::NoKernel`], [`Error::NoSuchProfile`], [`Error::NoSuchHardware`], and
    /// [`Error::MissingDigest`] when image digests lack a bank.
    pub fn build(self) -> Result<BootPlan, Error> {
        build::plan(&self)
    }
}
