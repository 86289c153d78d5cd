//! What a report finds, with codes that stay.

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works for some readers, firmware or tools only.
    Warning,
    /// The image is damaged, or something in it does not do what it is there for.
    Error,
}

impl Severity {
    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that a [`Report`](crate::Report) has found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub check: Check,
    /// What it is about: a path, a partition, a number; empty when there is only one such thing.
    pub subject: String,
}

impl Finding {
    pub(crate) fn new(check: Check, subject: impl Into<String>) -> Self {
        Self {
            check,
            subject: subject.into(),
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.check.severity()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.check.code(), self.check.text())?;
        if !self.subject.is_empty() {
            write!(f, " ({})", self.subject)?;
        }
        Ok(())
    }
}

/// Writes an enumeration with a stable code, a severity and a sentence for each member.
macro_rules! checks {
    ($($name:ident, $severity:ident, $code:literal, $text:literal;)*) => {
        /// What can be found. The [`code`](Check::code) of each is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Check {
            $(#[doc = $text] $name,)*
        }

        impl Check {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name that scripts may rely on.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// A sentence about it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

checks! {
    // ISO 9660.
    IsoUnreadable, Error, "iso-unreadable", "a part of the tree cannot be read";
    IsoPastEnd, Error, "iso-past-end", "a file lies behind the end of the image";
    IsoTruncated, Warning, "iso-truncated", "the volume is longer than the image";
    IsoBothEndian, Warning, "iso-both-endian", "the two halves of a both-endian number differ";
    IsoZeroTime, Note, "iso-zero-time", "a time that is not given is zero bytes instead of digits";
    IsoNoTerminator, Warning, "iso-no-terminator", "the volume descriptors have no terminator";
    IsoPathTable, Warning, "iso-path-table", "the path tables do not tell the same directories as the tree, and Windows and firmware read them";
    IsoUnsorted, Warning, "iso-unsorted", "the records of a directory are not in the order of ECMA-119 9.3";
    IsoRecordCrossing, Warning, "iso-record-crossing", "a directory record crosses the border of a block";
    IsoDuplicate, Error, "iso-duplicate", "a name is in a directory twice";
    IsoDirectoryBehindData, Note, "iso-directory-behind-data", "a directory lies behind file content, so readers of streams miss it";
    IsoInterleaved, Warning, "iso-interleaved", "a file is interleaved, which most readers cannot read";
    IsoMultiExtent, Note, "iso-multi-extent", "a file has several extents, which some readers cut to the first one";
    IsoCompressed, Note, "iso-compressed", "a file is stored compressed or with holes left out";
    IsoSpecial, Note, "iso-special", "a device, pipe or socket";
    IsoSessions, Note, "iso-sessions", "the image has several sessions; the last one is read";
    IsoUdf, Note, "iso-udf", "the image has a UDF file system as well, which is not read";
    Hfs, Note, "hfs", "the image has an HFS or HFS+ volume as well, which is not read";
    IsoNoJoliet, Note, "iso-no-joliet", "there is no Joliet tree, so Windows shows short names";
    IsoDeep, Note, "iso-deep", "directories lie deeper than the eight levels of ECMA-119";

    // El Torito.
    CatalogUnreadable, Error, "catalog-unreadable", "the boot catalog cannot be read";
    CatalogChecksum, Warning, "catalog-checksum", "the checksum of the boot catalog is wrong";
    CatalogPlace, Warning, "catalog-place", "the boot record does not stand in the second descriptor";
    BootImagePastEnd, Error, "boot-image-past-end", "a boot image lies behind the end of the image";
    BootImageBehindVolume, Warning, "boot-image-behind-volume", "a UEFI boot image without a sector count lies behind the end of the volume, so firmware takes it as empty";
    BootImageCut, Warning, "boot-image-cut", "the sector count of a UEFI boot image is smaller than its file system";
    BootImageNotFat, Warning, "boot-image-not-fat", "a UEFI boot image holds no FAT volume";

    // Partition tables.
    GptHeader, Warning, "gpt-header", "the primary GPT header is damaged";
    GptArray, Warning, "gpt-array", "the checksum of the primary partition array is wrong";
    GptBackupHeader, Warning, "gpt-backup-header", "the backup GPT header is missing or damaged";
    GptBackupArray, Warning, "gpt-backup-array", "the backup partition array is damaged or differs from the primary one";
    GptBackupPlace, Note, "gpt-backup-place", "the backup GPT header is not in the last sector";
    GptBackupUsed, Warning, "gpt-backup-used", "the partitions are those of the backup GPT";
    GptUnusable, Error, "gpt-unusable", "no copy of the GPT is whole";
    GptIsohybrid, Warning, "gpt-isohybrid", "the GPT is that of isohybrid: partitions lie in one another, and strict firmware shows nothing";
    GptSectors, Note, "gpt-sectors", "the GPT is for disks with sectors of another length than 512 bytes";
    GptStaleBackup, Note, "gpt-stale-backup", "there is a backup GPT, but no primary one and no protective MBR";
    GptEntries, Warning, "gpt-entries", "the partition array has a size that no table has";
    GptUsableRange, Warning, "gpt-usable-range", "the usable sectors are no range of the disk or overlap the tables";
    GptRange, Error, "gpt-range", "a partition lies outside the usable sectors";
    GptPastEnd, Error, "gpt-past-end", "a partition ends behind the end of the image";
    GptOverlap, Error, "gpt-overlap", "two partitions overlap";
    GptDuplicateGuid, Warning, "gpt-duplicate-guid", "two partitions have the same GUID, or one has none";
    AppleMap, Note, "apple-map", "there is an Apple partition map, which is not read";
    MbrMissing, Warning, "mbr-missing", "there is a GPT without a protective MBR";
    MbrHybrid, Warning, "mbr-hybrid", "there are MBR entries beside the protective one, which strict firmware refuses";
    MbrProtective, Warning, "mbr-protective", "the protective MBR entry does not begin at sector 1 or does not cover the disk, as on a larger stick";
    MbrActive, Warning, "mbr-active", "the protective MBR entry is marked active, which UEFI does not want";
    MbrOverlap, Warning, "mbr-overlap", "two MBR entries overlap";
    MbrPastEnd, Warning, "mbr-past-end", "an MBR entry ends behind the end of the image";

    // FAT.
    FatUnreadable, Error, "fat-unreadable", "a part of the volume cannot be read";
    FatTruncated, Error, "fat-truncated", "the volume is longer than its partition or the image";
    FatLonger, Warning, "fat-longer", "the volume is longer than its partition, but nothing that is in use is cut off the image";
    FatKindMismatch, Warning, "fat-kind-mismatch", "the count of clusters belongs to another type than the layout, so firmware reads it wrong";
    FatNearLimit, Note, "fat-near-limit", "the count of clusters is so near to that of another type that some drivers take it for one";
    FatTableTooShort, Warning, "fat-table-too-short", "the allocation table is too short for the volume";
    FatNoSignature, Warning, "fat-no-signature", "the boot sector does not end with 55 AA";
    FatTablesDiffer, Warning, "fat-tables-differ", "the copies of the allocation table differ";
    FatNotMirrored, Note, "fat-not-mirrored", "only one allocation table is in use";
    FatBackupDiffers, Note, "fat-backup-differs", "the copy of the boot sector differs from it";
    FatInfo, Warning, "fat-info", "the FSInfo sector is damaged or counts other free clusters than the table has";
    FatDirty, Note, "fat-dirty", "the volume is marked as in use";
    FatCrossLinked, Error, "fat-cross-linked", "two files share a cluster";
    FatLost, Warning, "fat-lost", "clusters are in use that belong to no file";
    FatChainTooLong, Warning, "fat-chain-too-long", "a file has more clusters than it needs";
    FatEmptyCluster, Warning, "fat-empty-cluster", "an empty file has a cluster";
    FatOrphans, Warning, "fat-orphans", "there are parts of long names that belong to no entry";
    FatDots, Warning, "fat-dots", "a directory has no entries of itself and its parent, or they have long names";
    FatDuplicate, Error, "fat-duplicate", "a name is in a directory twice";
    FatLabel, Note, "fat-label", "the label of the boot sector is not that of the root directory";

    // What boots.
    NoElTorito, Note, "no-el-torito", "there is no boot catalog";
    NoUefiEntry, Note, "no-uefi-entry", "the boot catalog has no bootable entry for UEFI";
    NoBiosEntry, Note, "no-bios-entry", "the boot catalog has no bootable entry for PC BIOS";
    NoGpt, Note, "no-gpt", "there is no GPT";
    NoMbrEsp, Note, "no-mbr-esp", "the MBR has no entry of type 0xEF";
    GptFirst, Note, "gpt-first", "firmware uses the GPT and does not look at MBR entries";
    NoEsp, Error, "no-esp", "the GPT has no EFI system partition";
    EspNotFat, Error, "esp-not-fat", "the EFI system partition holds no FAT volume that can be read";
    NoBootFile, Error, "no-boot-file", "there is no EFI/BOOT/BOOT*.EFI for firmware to start";
    BootFileBroken, Error, "boot-file-broken", "the boot file is no EFI image for the machine that its name stands for";
    NoFat, Note, "no-fat", "the medium as a whole is no FAT volume";
    NoTree, Note, "no-tree", "there is no ISO tree and no FAT volume to show";
    BootImageEmpty, Error, "boot-image-empty", "the boot image is empty or nothing but zeros";
    NoBootCode, Note, "no-boot-code", "the first sector has no boot code for PC BIOS";
    GptUntrusted, Error, "gpt-untrusted", "firmware does not take this GPT";
    MbrOnly, Warning, "mbr-only", "there is no GPT, and firmware of Supermicro and others offers no stick without";
    TreeLacksBoot, Warning, "tree-lacks-boot", "the ISO tree has no EFI/BOOT/BOOT*.EFI, and tools that copy the tree need it";
    TreeLacksEspFile, Warning, "tree-lacks-esp-file", "a file of the ESP is not in the ISO tree, and tools that copy the tree miss it";
    TreeOtherFile, Warning, "tree-other-file", "a file has another length in the ISO tree than in the ESP";
    TreeFileTooLarge, Warning, "tree-file-too-large", "a file is too large for FAT32, to which tools copy the tree";
    TreeFatName, Warning, "tree-fat-name", "a name of the tree cannot be stored in FAT32 or collides there";
    TreeSymlinks, Note, "tree-symlinks", "the tree has symbolic links, which FAT32 cannot hold";
    RandomSeed, Note, "random-seed", "loader/random-seed is missing or not read-only, and systemd-boot 261.0 wants to write it";
    WindowsNames, Warning, "windows-names", "Windows sees other names than the tree has";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_plain() {
        let mut seen = HashSet::new();
        for check in Check::ALL {
            let code = check.code();
            assert!(seen.insert(code), "{code}");
            assert!(code.bytes().all(|b| b == b'-' || b.is_ascii_lowercase()));
        }
    }

    #[test]
    fn a_finding_reads_as_a_sentence() {
        let finding = Finding::new(Check::GptOverlap, "1 and 2");
        assert_eq!(
            finding.to_string(),
            "gpt-overlap: two partitions overlap (1 and 2)"
        );
        assert_eq!(finding.severity().name(), "error");
    }
}
