//! What a machine boots from.

use std::path::{Path, PathBuf};

/// A boot medium. Image files are never changed by a boot.
///
/// ```
/// let medium = bootlab::Medium::usb("metal-amd64-secureboot.iso");
/// assert_ne!(medium, bootlab::Medium::cd("metal-amd64-secureboot.iso"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium(pub(crate) Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Cd(PathBuf),
    Usb(PathBuf),
    Virtio(PathBuf),
    Ahci(PathBuf),
    MachineDisk(String),
    Nothing,
}

impl Medium {
    /// A CD in an AHCI drive.
    pub fn cd(image: impl AsRef<Path>) -> Self {
        Self(Kind::Cd(image.as_ref().to_path_buf()))
    }

    /// A USB stick behind an XHCI controller.
    pub fn usb(image: impl AsRef<Path>) -> Self {
        Self(Kind::Usb(image.as_ref().to_path_buf()))
    }

    /// A virtio disk.
    pub fn virtio(image: impl AsRef<Path>) -> Self {
        Self(Kind::Virtio(image.as_ref().to_path_buf()))
    }

    /// A SATA disk.
    pub fn ahci(image: impl AsRef<Path>) -> Self {
        Self(Kind::Ahci(image.as_ref().to_path_buf()))
    }

    /// One of the machine's own disks; what is written to it stays.
    pub fn machine_disk(name: impl Into<String>) -> Self {
        Self(Kind::MachineDisk(name.into()))
    }

    /// No medium: the firmware is alone.
    #[must_use]
    pub fn nothing() -> Self {
        Self(Kind::Nothing)
    }

    /// QEMU's arguments for the medium as the first to boot from.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let (image, options, device) = match &self.0 {
            Kind::Cd(image) => (image, "media=cdrom,readonly=on", vec!["ide-cd,bus=ide.0"]),
            Kind::Usb(image) => (
                image,
                "snapshot=on",
                vec!["qemu-xhci,id=xhci", "usb-storage,bus=xhci.0"],
            ),
            Kind::Virtio(image) => (image, "snapshot=on", vec!["virtio-blk-pci,serial=medium"]),
            Kind::Ahci(image) => (image, "snapshot=on", vec!["ide-hd,bus=ide.0"]),
            Kind::MachineDisk(_) | Kind::Nothing => return Vec::new(),
        };
        let mut arguments = vec![
            "-drive".to_owned(),
            format!(
                "if=none,id=medium,format=raw,{options},file={}",
                quoted(image)
            ),
        ];
        let last = device.len().saturating_sub(1);
        for (index, name) in device.into_iter().enumerate() {
            let end = if index == last {
                ",drive=medium,bootindex=1"
            } else {
                ""
            };
            arguments.extend(["-device".to_owned(), format!("{name}{end}")]);
        }
        arguments
    }
}

/// A path inside a QEMU option: commas are doubled.
pub(crate) fn quoted(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        let arguments = Medium::cd("/tmp/a,b.iso").arguments();
        assert_eq!(
            arguments[1],
            "if=none,id=medium,format=raw,media=cdrom,readonly=on,file=/tmp/a,,b.iso"
        );
    }

    #[test]
    fn only_the_drive_itself_is_bootable() {
        let arguments = Medium::usb("x").arguments();
        assert_eq!(arguments[3], "qemu-xhci,id=xhci");
        assert_eq!(
            arguments[5],
            "usb-storage,bus=xhci.0,drive=medium,bootindex=1"
        );
    }
}
