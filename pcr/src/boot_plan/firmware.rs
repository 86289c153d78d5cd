//! What the firmware measures around the images.
#![warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use alloc::vec::Vec;

/// The text of the event that opens a boot option, in PCR 4.
pub(super) const CALLING: &[u8] = b"Calling EFI Application from Boot Option";
/// The texts of the events that end the firmware's rule, in PCR 5.
pub(super) const EXIT_BOOT_SERVICES: [&[u8]; 2] = [
    b"Exit Boot Services Invocation",
    b"Exit Boot Services Returned with Success",
];

/// The event data of `EV_EFI_GPT_EVENT` for a disk: the GPT header, the number of used entries, and
/// the used entries (TCG PC Client PFP, `UEFI_GPT_DATA`). The firmware measures it into PCR 5 once,
/// for the first GPT disk that an image is loaded from.
///
/// `disk_start` is the start of the disk with header and entries, 34 sectors of 512 bytes as a rule.
/// The answer is `None` when there is no GPT in it.
///
/// # Examples
/// ```
/// assert_eq!(pcr::gpt_event_data(&[0; 17408], 512), None);
/// ```
#[must_use]
pub fn gpt_event_data(disk_start: &[u8], sector_len: usize) -> Option<Vec<u8>> {
    const HEADER_LEN: usize = 92;
    let header = disk_start.get(sector_len..)?.get(..HEADER_LEN)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let number = |at: usize| {
        let bytes = header.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let first_lba = u64::from_le_bytes(*header.get(72..)?.first_chunk::<8>()?);
    let (count, entry_len) = (number(80)?, number(84)?);
    if entry_len < 128 {
        return None;
    }
    let start = usize::try_from(first_lba).ok()?.checked_mul(sector_len)?;
    let table = disk_start
        .get(start..)?
        .get(..count.checked_mul(entry_len)?)?;
    let used: Vec<&[u8]> = table
        .chunks_exact(entry_len)
        .filter(|entry| entry.iter().take(16).any(|byte| *byte != 0))
        .collect();
    let mut data = header.to_vec();
    data.extend((used.len() as u64).to_le_bytes());
    for entry in used {
        data.extend_from_slice(entry);
    }
    Some(data)
}
