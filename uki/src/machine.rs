//! Machine types of the PE format.

use core::fmt;

/// The machine that an image is for (PE `Machine`).
///
/// # Examples
///
/// ```
/// assert_eq!(uki::Machine::X64.efi_name(), Some("x64"));
/// assert_eq!(uki::Machine(0x1234).to_string(), "machine 0x1234");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the field is the format's 16-bit number and stays so"
)]
pub struct Machine(pub u16);

impl Machine {
    /// 32-bit x86.
    pub const IA32: Self = Self(0x014c);
    /// 64-bit x86.
    pub const X64: Self = Self(0x8664);
    /// 32-bit ARM (Thumb-2).
    pub const ARM: Self = Self(0x01c2);
    /// 64-bit ARM.
    pub const AA64: Self = Self(0xaa64);
    /// 32-bit RISC-V.
    pub const RISCV32: Self = Self(0x5032);
    /// 64-bit RISC-V.
    pub const RISCV64: Self = Self(0x5064);
    /// 32-bit LoongArch.
    pub const LOONGARCH32: Self = Self(0x6232);
    /// 64-bit LoongArch.
    pub const LOONGARCH64: Self = Self(0x6264);

    /// The name that UEFI file names use, as in `BOOTX64.EFI` or `linuxx64.efi.stub`; lower case.
    #[must_use]
    pub fn efi_name(self) -> Option<&'static str> {
        Some(match self {
            Self::IA32 => "ia32",
            Self::X64 => "x64",
            Self::ARM => "arm",
            Self::AA64 => "aa64",
            Self::RISCV32 => "riscv32",
            Self::RISCV64 => "riscv64",
            Self::LOONGARCH32 => "loongarch32",
            Self::LOONGARCH64 => "loongarch64",
            _ => return None,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.efi_name() {
            Some(name) => f.write_str(name),
            None => write!(f, "machine {:#06x}", self.0),
        }
    }
}
