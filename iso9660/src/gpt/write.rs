//! Protective MBR, both headers and both arrays.

use crate::Guid;
use crate::error::{Error, NameProblem};
use crate::field::Fields;

/// Entries of an array; UEFI asks for room for 128 at least.
pub(crate) const HEAD_ENTRIES: u64 = 128;
const ENTRY_LEN: u64 = 128;
const ARRAY_LEN: u64 = HEAD_ENTRIES * ENTRY_LEN;
const HEADER_LEN: usize = 92;
/// UTF-16 units of a partition name.
const NAME_UNITS: usize = 36;

/// A partition, in sectors.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Guid,
    pub(crate) guid: Guid,
    pub(crate) first: u64,
    /// Inclusive.
    pub(crate) last: u64,
    pub(crate) attributes: u64,
    pub(crate) name: String,
}

/// What stands at the beginning and at the end of a partitioned disk.
pub(crate) struct Tables<'a> {
    pub(crate) sector_len: u64,
    /// Sectors of the whole disk.
    pub(crate) sectors: u64,
    pub(crate) disk: Guid,
    pub(crate) entries: &'a [Entry],
}

/// Refuses names that have no place in an entry.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.encode_utf16().count() > NAME_UNITS {
        return Err(Error::Label {
            what: "partition name",
            text: name.to_owned(),
            reason: NameProblem::TooLong { limit: NAME_UNITS },
        });
    }
    Ok(())
}

impl Tables<'_> {
    /// Sectors of one array.
    pub(crate) const fn array_sectors(sector_len: u64) -> u64 {
        ARRAY_LEN.div_ceil(sector_len)
    }

    /// The first sector that a partition may use.
    pub(crate) const fn first_usable(sector_len: u64) -> u64 {
        2 + Self::array_sectors(sector_len)
    }

    /// The last sector that a partition may use.
    pub(crate) const fn last_usable(sector_len: u64, sectors: u64) -> u64 {
        sectors.saturating_sub(2 + Self::array_sectors(sector_len))
    }

    /// Protective MBR, primary header and array: the first sectors of the disk.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut out = self.protective_mbr();
        out.extend(self.header(1, self.sectors.saturating_sub(1), 2));
        out.extend(self.array());
        out
    }

    /// Backup array and header: the last sectors of the disk.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let last = self.sectors.saturating_sub(1);
        let mut out = self.array();
        out.resize(out.len().next_multiple_of(self.sector()), 0);
        let array = last.saturating_sub(Self::array_sectors(self.sector_len));
        out.extend(self.header(last, 1, array));
        out
    }

    fn sector(&self) -> usize {
        usize::try_from(self.sector_len).unwrap_or(512)
    }

    /// UEFI 2.10, 5.2.3.
    fn protective_mbr(&self) -> Vec<u8> {
        let mut mbr = Fields::new(self.sector());
        mbr.put(446, &[0x00, 0x00, 0x02, 0x00, 0xEE, 0xFF, 0xFF, 0xFF]);
        mbr.le(454, 4, 1);
        let rest = self.sectors.saturating_sub(1).min(u64::from(u32::MAX));
        mbr.le(458, 4, rest);
        mbr.put(510, &[0x55, 0xAA]);
        mbr.into_bytes()
    }

    /// UEFI 2.10, 5.3.2.
    fn header(&self, own: u64, other: u64, array: u64) -> Vec<u8> {
        let mut header = Fields::new(HEADER_LEN);
        header.put(0, b"EFI PART");
        header.le(8, 4, 0x0001_0000);
        header.le(12, 4, HEADER_LEN as u64);
        header.le(24, 8, own);
        header.le(32, 8, other);
        header.le(40, 8, Self::first_usable(self.sector_len));
        header.le(48, 8, Self::last_usable(self.sector_len, self.sectors));
        header.put(56, &self.disk.to_bytes());
        header.le(72, 8, array);
        header.le(80, 4, HEAD_ENTRIES);
        header.le(84, 4, ENTRY_LEN);
        header.le(88, 4, u64::from(crc32fast::hash(&self.array())));
        let bytes = header.into_bytes();
        let mut sector = Fields::new(self.sector());
        sector.put(0, &bytes);
        sector.le(16, 4, u64::from(crc32fast::hash(&bytes)));
        sector.into_bytes()
    }

    /// UEFI 2.10, 5.3.3.
    fn array(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.entries {
            let mut fields = Fields::new(128);
            fields.put(0, &entry.kind.to_bytes());
            fields.put(16, &entry.guid.to_bytes());
            fields.le(32, 8, entry.first);
            fields.le(40, 8, entry.last);
            fields.le(48, 8, entry.attributes);
            for (i, unit) in entry.name.encode_utf16().take(NAME_UNITS).enumerate() {
                fields.le(56 + 2 * i, 2, u64::from(unit));
            }
            out.extend(fields.into_bytes());
        }
        out.resize(16_384, 0);
        out
    }
}
