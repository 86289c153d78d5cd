//! What a file that is given as a kernel really is.

#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use alloc::string::{String, ToString};
use alloc::vec;

use core::fmt;

use crate::headers::{Headers, NX_COMPAT};
use crate::read_at::copy;
use crate::{Compression, Error, Machine, ReadAt, SectionName};

/// The boot formats of kernels that a UEFI stub can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelFormat {
    /// x86 `bzImage` with an EFI stub.
    BzImage,
    /// 32-bit ARM `zImage` with an EFI stub.
    ArmZImage,
    /// arm64 `Image`.
    Arm64,
    /// RISC-V `Image`.
    Riscv,
    /// LoongArch `vmlinux.efi`.
    LoongArch,
    /// EFI zboot: a small decompressor with a compressed `Image`.
    Zboot(Compression),
}

/// A kernel that a UEFI stub can start.
///
/// # Examples
///
/// ```
/// let kernel = uki::Kernel::identify(&&include_bytes!("../tests/vectors/kernel.efi")[..])?;
/// assert_eq!(kernel.format(), uki::KernelFormat::BzImage);
/// assert_eq!(kernel.version(), Some("6.1.0-test"));
/// # Ok::<(), uki::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    format: KernelFormat,
    machine: Machine,
    version: Option<String>,
    nx_compat: bool,
    mixed_mode: bool,
    image_version: (u16, u16),
}

impl Kernel {
    /// Looks at the headers, and for the version at as much of the file as it takes.
    ///
    /// # Errors
    ///
    /// [`Error::NotAKernel`] with what was found instead; [`Error::Truncated`] or [`Error::SectionTruncated`] for a
    /// kernel of which only the beginning is there.
    pub fn identify(file: &impl ReadAt) -> Result<Self, Error> {
        let mut budget = SEARCH_LIMIT;
        Self::identify_within(file, &mut budget)
    }

    /// As [`Kernel::identify`], with how many bytes may be searched for the version; what was searched is taken off.
    pub(crate) fn identify_within(file: &impl ReadAt, budget: &mut u64) -> Result<Self, Error> {
        let head = copy(file, "kernel", 0, file.size().min(0x240))?;
        if !head.starts_with(b"MZ") {
            return Err(Error::NotAKernel {
                found: NotAKernel::of(&head),
            });
        }
        let headers = Headers::read(file)?;
        let format = format(&head, &headers).ok_or(Error::NotAKernel {
            found: if headers.section(&SectionName::LINUX).is_some() {
                NotAKernel::Uki
            } else {
                NotAKernel::OtherPe
            },
        })?;
        Ok(Self {
            format,
            machine: headers.machine,
            version: version(file, &head, format, budget)?,
            nx_compat: headers.dll_characteristics & NX_COMPAT != 0,
            mixed_mode: headers
                .section(&SectionName::from_header(*b".compat\0"))
                .is_some(),
            image_version: headers.image_version,
        })
    }

    /// The boot format.
    #[must_use]
    pub fn format(&self) -> KernelFormat {
        self.format
    }

    /// The machine that it runs on.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// What `uname -r` will say; none when it cannot be found without a decompressor that this build lacks.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether it can run with writable memory never executable.
    #[must_use]
    pub fn is_nx_compat(&self) -> bool {
        self.nx_compat
    }

    /// Whether firmware of this machine can start it: its own, or 32-bit x86 for a 64-bit kernel with `.compat`.
    #[must_use]
    pub fn runs_on(&self, machine: Machine) -> bool {
        self.machine == machine
            || self.mixed_mode && (self.machine, machine) == (Machine::X64, Machine::IA32)
    }

    /// Whether it takes its ramdisk through LoadFile2 (image version 1.0 and later, Linux 5.8).
    #[must_use]
    pub fn loads_initrd_itself(&self) -> bool {
        self.image_version >= (1, 0)
    }
}

/// What bytes that are no kernel for a UEFI stub look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotAKernel {
    /// No bytes at all.
    Empty,
    /// An ELF file, such as `vmlinux`.
    Elf,
    /// A compressed file.
    Compressed(Compression),
    /// A ramdisk.
    Cpio,
    /// A UKI: a kernel is inside, with a stub of its own around it.
    Uki,
    /// A PE image without the marks of a kernel.
    OtherPe,
    /// Something else, with its first bytes.
    Unknown([u8; 4]),
}

impl NotAKernel {
    pub(crate) fn of(head: &[u8]) -> Self {
        let mut first = [0; 4];
        first
            .iter_mut()
            .zip(head)
            .for_each(|(to, from)| *to = *from);
        match (first, Compression::of_magic(head)) {
            _ if head.is_empty() => Self::Empty,
            ([0x7f, b'E', b'L', b'F'], _) => Self::Elf,
            ([b'0', b'7', b'0', b'7'], _) => Self::Cpio,
            (_, Some(compression)) => Self::Compressed(compression),
            _ => Self::Unknown(first),
        }
    }
}

impl fmt::Display for NotAKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file"),
            Self::Elf => f.write_str("an ELF file"),
            Self::Compressed(compression) => write!(f, "a {compression} file"),
            Self::Cpio => f.write_str("a cpio archive"),
            Self::Uki => f.write_str("a UKI"),
            Self::OtherPe => f.write_str("a PE image without a kernel's boot header"),
            Self::Unknown(first) => write!(f, "a file that starts with {first:02x?}"),
        }
    }
}

fn at<const N: usize>(head: &[u8], offset: usize) -> Option<[u8; N]> {
    head.get(offset..)?.first_chunk().copied()
}

fn format(head: &[u8], headers: &Headers) -> Option<KernelFormat> {
    if at(head, 4) == Some(*b"zimg") {
        let name = head.get(0x18..0x38)?.split(|byte| *byte == 0).next()?;
        return Some(KernelFormat::Zboot(Compression::of_zboot(name)));
    }
    match headers.machine {
        Machine::IA32 | Machine::X64 if at(head, 0x202) == Some(*b"HdrS") => {
            Some(KernelFormat::BzImage)
        }
        Machine::ARM if at(head, 0x24) == Some(0x016f_2818_u32.to_le_bytes()) => {
            Some(KernelFormat::ArmZImage)
        }
        Machine::AA64 if at(head, 0x38) == Some(*b"ARM\x64") => Some(KernelFormat::Arm64),
        Machine::RISCV32 | Machine::RISCV64 if at(head, 0x38) == Some(*b"RSC\x05") => {
            Some(KernelFormat::Riscv)
        }
        Machine::LOONGARCH32 | Machine::LOONGARCH64
            if at(head, 0x38) == Some(0x8182_23cd_u32.to_le_bytes()) =>
        {
            Some(KernelFormat::LoongArch)
        }
        _ => None,
    }
}

fn version(
    file: &impl ReadAt,
    head: &[u8],
    format: KernelFormat,
    budget: &mut u64,
) -> Result<Option<String>, Error> {
    let word = |text: &[u8]| {
        let text = text.split(|byte| *byte == 0 || *byte == b' ').next()?;
        let text = core::str::from_utf8(text)
            .ok()
            .filter(|text| !text.is_empty())?;
        text.bytes()
            .all(|byte| byte.is_ascii_graphic())
            .then(|| text.to_string())
    };
    match format {
        KernelFormat::BzImage => {
            // The offset counts from 0x200; the text stands within the setup code.
            let Some(offset) = at(head, 0x20e)
                .map(u16::from_le_bytes)
                .filter(|offset| *offset != 0)
            else {
                return Ok(None);
            };
            let setup_len = u64::from(
                head.get(0x1f1)
                    .copied()
                    .filter(|sectors| *sectors != 0)
                    .unwrap_or(4),
            )
            .saturating_mul(512);
            let start = u64::from(offset).saturating_add(0x200);
            if u64::from(offset) >= setup_len || start >= file.size() {
                return Ok(None);
            }
            Ok(word(&copy(
                file,
                "kernel version",
                start,
                file.size().saturating_sub(start).min(128),
            )?))
        }
        KernelFormat::Zboot(compression) => zboot_version(file, head, compression, budget),
        _ => search_file(file, budget),
    }
}

fn search_file(file: &impl ReadAt, budget: &mut u64) -> Result<Option<String>, Error> {
    let mut offset = 0;
    search(budget, |buffer| {
        let left = usize::try_from(file.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        file.read_at(offset, buffer.get_mut(..len).unwrap_or_default())?;
        offset = offset.saturating_add(len as u64);
        Ok(len)
    })
}

/// The version of any kernel: of one that a stub can start, of an ELF file, of one that is compressed as a whole when this
/// build can unpack it.
///
/// # Errors
///
/// As [`Kernel::identify`].
///
/// # Examples
///
/// ```
/// let elf = b"\x7fELF...Linux version 6.12.1 (someone@somewhere) #1";
/// assert_eq!(uki::kernel_version(&&elf[..])?.as_deref(), Some("6.12.1"));
/// # Ok::<(), uki::Error>(())
/// ```
pub fn kernel_version(file: &impl ReadAt) -> Result<Option<String>, Error> {
    let mut budget = SEARCH_LIMIT;
    let budget = &mut budget;
    match Kernel::identify_within(file, budget) {
        Err(Error::NotAKernel {
            found: NotAKernel::Elf | NotAKernel::OtherPe,
        }) => search_file(file, budget),
        #[cfg(feature = "std")]
        Err(Error::NotAKernel {
            found: NotAKernel::Compressed(compression),
        }) => packed_version(file, 0, file.size(), compression, budget),
        other => Ok(other?.version),
    }
}

#[cfg(feature = "std")]
fn zboot_version(
    file: &impl ReadAt,
    head: &[u8],
    compression: Compression,
    budget: &mut u64,
) -> Result<Option<String>, Error> {
    let field = |offset| {
        at(head, offset)
            .map(u32::from_le_bytes)
            .map_or(0, u64::from)
    };
    let (offset, len) = (field(8), field(12));
    if offset.saturating_add(len) > file.size() {
        let available = file.size().saturating_sub(offset);
        return Err(Error::Truncated {
            what: "compressed kernel",
            offset,
            needed: len,
            available,
        });
    }
    packed_version(file, offset, len, compression, budget)
}

#[cfg(feature = "std")]
fn packed_version(
    file: &impl ReadAt,
    offset: u64,
    len: u64,
    compression: Compression,
    budget: &mut u64,
) -> Result<Option<String>, Error> {
    use std::io::Read;

    use crate::uki::{Window, WindowReader};
    let payload = WindowReader {
        window: Window {
            source: file,
            offset,
            len,
        },
        position: 0,
    };
    // A payload that cannot be unpacked is the boot's problem; here it only hides the version.
    let payload = std::io::BufReader::with_capacity(BUFFER_LEN, payload);
    let Ok(Some(plain)) = compression.decoder(payload) else {
        return Ok(None);
    };
    let mut plain = plain.take(crate::compression::max_plain_len(len));
    let found = search(budget, |buffer| {
        plain.read(buffer).map_err(Error::io("compressed kernel"))
    });
    Ok(found.unwrap_or(None))
}

#[cfg(not(feature = "std"))]
fn zboot_version(
    _: &impl ReadAt,
    _: &[u8],
    _: Compression,
    _: &mut u64,
) -> Result<Option<String>, Error> {
    Ok(None)
}

/// More than any kernel is long; what unpacks to more is no kernel.
pub(crate) const SEARCH_LIMIT: u64 = 512 << 20;

const BUFFER_LEN: usize = 1 << 16;

/// Looks for `Linux version X (`, the banner that every kernel holds, in at most `budget` bytes.
fn search(
    budget: &mut u64,
    mut read: impl FnMut(&mut [u8]) -> Result<usize, Error>,
) -> Result<Option<String>, Error> {
    const BANNER: &[u8] = b"Linux version ";
    const OVERLAP: usize = 128;
    let mut buffer = vec![0; BUFFER_LEN];
    let mut kept: usize = 0;
    while *budget != 0 {
        let room = usize::try_from(*budget)
            .unwrap_or(usize::MAX)
            .min(BUFFER_LEN.saturating_sub(kept));
        let end = kept.saturating_add(room);
        let got = read(buffer.get_mut(kept..end).unwrap_or_default())?;
        *budget = budget.saturating_sub(got as u64);
        let filled = kept.saturating_add(got);
        let mut rest = buffer.get(..filled).unwrap_or_default();
        while let Some(start) = rest.iter().position(|byte| *byte == b'L') {
            rest = rest.get(start..).unwrap_or_default();
            if let Some(text) = rest.strip_prefix(BANNER)
                && let Some(found) =
                    banner_version(text.get(..OVERLAP.min(text.len())).unwrap_or_default())
            {
                return Ok(Some(found));
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        if got == 0 {
            return Ok(None);
        }
        kept = filled.min(OVERLAP.saturating_add(BANNER.len()));
        buffer.copy_within(filled.saturating_sub(kept)..filled, 0);
    }
    Ok(None)
}

/// `6.1.0-test (builder@host) …`: a word with a digit first and a dot in it, then a parenthesis.
fn banner_version(text: &[u8]) -> Option<String> {
    let end = text.windows(2).position(|pair| pair == b" (")?;
    let word: &[u8] = text.get(..end)?;
    let is_version = word.first().is_some_and(u8::is_ascii_digit) && word.contains(&b'.');
    (is_version && word.iter().all(u8::is_ascii_graphic))
        .then(|| String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_banner_that_lies_across_two_reads() {
        for lead in (1 << 16) - 60..(1 << 16) + 4 {
            let mut text: Vec<u8> = vec![b'.'; lead];
            text.extend_from_slice(b"Linux version %s (x) Linux version 6.12.1-Foo (a@b) #1");
            let mut rest = &text[..];
            let mut budget = SEARCH_LIMIT;
            let found = search(&mut budget, |buffer| {
                let len = rest.len().min(buffer.len());
                buffer[..len].copy_from_slice(&rest[..len]);
                rest = &rest[len..];
                Ok(len)
            });
            assert_eq!(found.unwrap().as_deref(), Some("6.12.1-Foo"), "{lead}");
        }
    }

    #[test]
    fn says_what_was_found_instead_of_a_kernel() {
        for (bytes, message) in [
            (&b""[..], "an empty file"),
            (b"\x7fELF....", "an ELF file"),
            (b"070701", "a cpio archive"),
            (b"\x1f\x8b\x08", "a gzip file"),
            (b"kernel", "a file that starts with [6b, 65, 72, 6e]"),
        ] {
            let error = Kernel::identify(&bytes).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("not a kernel that a UEFI stub can start: {message}")
            );
        }
    }
}
