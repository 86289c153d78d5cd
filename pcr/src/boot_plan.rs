//! Everything that a boot measures, in order.

mod addon;
mod build;
mod builder;
mod command_line;
mod cpio;
mod event;
mod export;
mod firmware;
mod initrd;
mod loader;
mod note;
mod stub;

use alloc::vec::Vec;

pub use builder::BootPlanBuilder;
pub use event::PlannedEvent;
pub use export::PcrlockComponent;
pub use firmware::gpt_event_data;
pub use loader::Loader;
pub use note::PlanNote;

use crate::bank::{Bank, Digest, Register};
use crate::dialect::Dialect;
use crate::pcr11::Pcr11;
use crate::phase::PhasePath;

/// The measurements of one boot, in order: PCR 4, 5, 9, 11, 12 and 13 as far as loader, stub and
/// what lies on the ESP determine them.
///
/// Made by [`BootPlan::builder`] from an observed UKI. A register that something unknown also
/// extends is left out; [`BootPlan::notes`] says which and why.
///
/// # Examples
/// A credential on the ESP and a command line typed at the boot menu:
/// ```
/// use pcr::{Bank, BootPlan, Dialect, Pcr11, PhasePath, Register};
///
/// let mut boot = Pcr11::new(Dialect::Systemd257, &[Bank::Sha256]);
/// boot.observe(".linux", b"kernel");
/// let plan = BootPlan::builder(&boot)
///     .passed_options("quiet")
///     .local_file("a.cred", b"secret")
///     .phase(PhasePath::initrd())
///     .build()?;
/// let config = plan.events().iter().filter(|event| event.register() == Register::KERNEL_CONFIG);
/// let what: Vec<&str> = config.map(|event| event.what()).collect();
/// assert_eq!(what, ["passed command line", "Credentials initrd"]);
/// assert!(plan.register(Register::KERNEL_CONFIG, Bank::Sha256).is_some());
/// assert!(plan.register(Register::BOOT_LOADER_CODE, Bank::Sha256).is_none()); // no image digests
/// # Ok::<(), pcr::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    dialect: Dialect,
    banks: Vec<Bank>,
    phase: PhasePath,
    events: Vec<PlannedEvent>,
    registers: Vec<Register>,
    notes: Vec<PlanNote>,
}

impl BootPlan {
    /// Starts a plan for a UKI whose sections were observed: profile 0, no hardware-dependent
    /// section, Secure Boot on, started by the firmware itself.
    pub const fn builder(uki: &Pcr11) -> BootPlanBuilder<'_> {
        BootPlanBuilder::new(uki)
    }

    /// The stub's dialect.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The banks that are predicted.
    #[must_use]
    pub fn banks(&self) -> &[Bank] {
        &self.banks
    }

    /// The phase that the plan ends with.
    #[must_use]
    pub const fn phase(&self) -> &PhasePath {
        &self.phase
    }

    /// The measurements in order, those of registers that are not fully known included.
    #[must_use]
    pub fn events(&self) -> &[PlannedEvent] {
        &self.events
    }

    /// The registers that are fully known, in ascending order.
    #[must_use]
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// What was ignored, and which registers could not be determined.
    #[must_use]
    pub fn notes(&self) -> &[PlanNote] {
        &self.notes
    }

    /// The value of a register at the end of the plan; `None` when it is not fully known.
    #[must_use]
    pub fn register(&self, register: Register, bank: Bank) -> Option<Digest> {
        self.value(register, bank, |_| true)
    }

    /// The value of a register as the stub leaves it, before any word of userspace.
    #[must_use]
    pub fn register_at_stub(&self, register: Register, bank: Bank) -> Option<Digest> {
        self.value(register, bank, |event| !event.is_phase())
    }

    fn value(
        &self,
        register: Register,
        bank: Bank,
        wanted: impl Fn(&PlannedEvent) -> bool,
    ) -> Option<Digest> {
        if !self.registers.contains(&register) || !self.banks.contains(&bank) {
            return None;
        }
        self.events
            .iter()
            .filter(|event| event.register() == register && wanted(event))
            .try_fold(register.reset_value(bank), |value, event| {
                Some(value.extended(event.digest(bank).ok()?))
            })
    }
}

/// An addon (`*.addon.efi`) as the stub sees it: its file name and the contents of its sections.
///
/// # Examples
/// ```
/// use pcr::Addon;
///
/// let addon = Addon::local("debug.addon.efi").cmdline(b"debug");
/// # let _ = addon;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addon<'a> {
    file_name: &'a str,
    global: bool,
    cmdline: &'a [u8],
    dtb: &'a [u8],
    initrd: &'a [u8],
    ucode: &'a [u8],
    uname: &'a [u8],
    image: &'a [Digest],
}

/// Whether a file name ends so, upper and lower case alike.
fn has_suffix(name: &str, suffix: &str) -> bool {
    let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
    let start = name.len().checked_sub(suffix.len());
    start
        .and_then(|start| name.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

/// Whether the stub looks at files of this name at all.
fn is_file_name(name: &str) -> bool {
    !name.starts_with('.') && name.is_ascii() && name.len() <= 255
}
