//! systemd-boot: what it measures before it starts a UKI.

use crate::dialect::leading_number;

/// The boot loader that starts the UKI.
///
/// # Examples
/// ```
/// use pcr::Loader;
///
/// assert_eq!(Loader::from_version("systemd-boot 252.39-1~deb12u1"), Loader::SystemdBoot252);
/// assert_eq!(Loader::from_version("grub 2.06"), Loader::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Loader {
    /// systemd-boot 252 to 254: measures the options of the entry it starts into PCR 12, and passes
    /// them, also when they are only the UKI's own command line.
    SystemdBoot252,
    /// systemd-boot 255 and 256: measures `loader.conf` into PCR 5; passes and measures options only
    /// when they are not the UKI's own.
    SystemdBoot255,
    /// systemd-boot 257 to 262: as 255, and passes and measures `@N` for profiles.
    SystemdBoot257,
    /// Another boot loader: what it measures itself is not predicted.
    Unknown,
}

impl Loader {
    /// The loader with this version text: the content of `.sdmagic`
    /// (`#### LoaderInfo: systemd-boot 257.13 ####`) or the part of it after the colon.
    #[must_use]
    pub fn from_version(version: &str) -> Self {
        let text = version
            .trim_matches(|c: char| c == '#' || c == '\0' || c.is_whitespace())
            .trim_start_matches("LoaderInfo:")
            .trim_start();
        let version = text.strip_prefix("systemd-boot").map(str::trim_start);
        match version.and_then(leading_number) {
            Some(252..=254) => Self::SystemdBoot252,
            Some(255 | 256) => Self::SystemdBoot255,
            Some(257..=262) => Self::SystemdBoot257,
            _ => Self::Unknown,
        }
    }

    /// The systemd release that it behaves like.
    pub(super) const fn generation(self) -> u16 {
        match self {
            Self::SystemdBoot252 => 252,
            Self::SystemdBoot255 => 255,
            Self::SystemdBoot257 | Self::Unknown => 257,
        }
    }
}
