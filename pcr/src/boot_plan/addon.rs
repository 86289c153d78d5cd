//! Addons: PE files that add to a UKI's command line, device tree, initrd or microcode.

use crate::bank::Digest;
use crate::boot_plan::Addon;

impl<'a> Addon<'a> {
    /// An addon in `\loader\addons`, for every UKI.
    #[must_use]
    pub const fn global(file_name: &'a str) -> Self {
        Self::new(file_name, true)
    }

    /// An addon in the UKI's own folder, `<UKI>.extra.d`.
    #[must_use]
    pub const fn local(file_name: &'a str) -> Self {
        Self::new(file_name, false)
    }

    const fn new(file_name: &'a str, global: bool) -> Self {
        Self {
            file_name,
            global,
            cmdline: &[],
            dtb: &[],
            initrd: &[],
            ucode: &[],
            uname: &[],
            image: &[],
        }
    }

    /// The content of its `.cmdline`.
    #[must_use]
    pub const fn cmdline(mut self, content: &'a [u8]) -> Self {
        self.cmdline = content;
        self
    }

    /// The content of its `.dtb`, or of the `.dtbauto` that matches.
    #[must_use]
    pub const fn dtb(mut self, content: &'a [u8]) -> Self {
        self.dtb = content;
        self
    }

    /// The content of its `.initrd`.
    #[must_use]
    pub const fn initrd(mut self, content: &'a [u8]) -> Self {
        self.initrd = content;
        self
    }

    /// The content of its `.ucode`.
    #[must_use]
    pub const fn ucode(mut self, content: &'a [u8]) -> Self {
        self.ucode = content;
        self
    }

    /// The content of its `.uname`: the addon is used only with a UKI of this kernel version.
    #[must_use]
    pub const fn uname(mut self, content: &'a [u8]) -> Self {
        self.uname = content;
        self
    }

    /// Authenticode digests of the file, one for each bank: for PCR 4.
    #[must_use]
    pub const fn image(mut self, digests: &'a [Digest]) -> Self {
        self.image = digests;
        self
    }

    /// Whether the stub loads a file of this name as an addon.
    pub(super) fn has_addon_name(&self) -> bool {
        super::has_suffix(self.file_name, ".addon.efi")
    }

    /// Only what the stub of this generation takes from addons.
    pub(super) const fn for_generation(mut self, generation: u16) -> Self {
        if generation < 255 {
            self.dtb = &[];
        }
        if generation < 257 {
            self.initrd = &[];
            self.ucode = &[];
        }
        self
    }

    /// Whether the stub of this generation uses the addon; `Err` says why not.
    pub(super) fn check(&self, generation: u16, uname: Option<&[u8]>) -> Result<(), &'static str> {
        let usable = self.for_generation(generation);
        let useful = [usable.cmdline, usable.dtb, usable.initrd, usable.ucode]
            .iter()
            .any(|content| !content.is_empty());
        if !useful {
            return Err("it has no section that this stub takes from addons");
        }
        let differs = |uname: &[u8]| !uname.starts_with(self.uname);
        if !self.uname.is_empty() && uname.is_some_and(differs) {
            return Err("its .uname is not the UKI's");
        }
        Ok(())
    }
}
