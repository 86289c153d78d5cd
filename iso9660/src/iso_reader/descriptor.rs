//! Volume descriptors.

use std::io::{Read, Seek};

use crate::error::Error;
use crate::input::{Extent, Input, array, be32, byte, le32};
use crate::iso::{BLOCK, FIRST_DESCRIPTOR};

/// Descriptors that are looked at.
const MAX_DESCRIPTORS: u64 = 64;

/// A volume of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Volume {
    /// Which tree it describes.
    pub kind: VolumeKind,
    /// Block of its descriptor.
    pub block: u64,
    /// Volume identifier, without the spaces at its end.
    pub id: String,
    /// Volume set identifier.
    pub set_id: String,
    /// System identifier.
    pub system_id: String,
    /// Publisher.
    pub publisher: String,
    /// Data preparer.
    pub preparer: String,
    /// Application.
    pub application: String,
    /// Blocks of the volume, each 2,048 bytes.
    pub blocks: u64,
    /// Creation time as it is recorded: sixteen digits.
    pub created: String,
    /// Length and block of the little-endian path table, and the block of the big-endian one.
    pub path_tables: (u64, u64, u64),
    /// Extent of the root directory.
    pub root: Extent,
    /// Whether both halves of every both-endian number agree.
    pub is_consistent: bool,
    /// Whether times that are not given are zero bytes instead of digits.
    pub has_zero_times: bool,
}

/// The kinds of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VolumeKind {
    /// The primary volume.
    Primary,
    /// A supplementary volume with Joliet names.
    Joliet,
    /// An enhanced volume (ISO 9660:1999).
    Enhanced,
    /// A supplementary volume with other character sets.
    Other,
}

/// Reads the descriptors: the volumes, and the block of the boot catalog.
pub(super) fn read_all<R: Read + Seek>(
    input: &mut Input<R>,
) -> Result<(Vec<Volume>, Option<u32>), Error> {
    let mut volumes: Vec<Volume> = Vec::new();
    let mut catalog = None;
    for block in FIRST_DESCRIPTOR..FIRST_DESCRIPTOR.saturating_add(MAX_DESCRIPTORS) {
        let bytes = match input.read("volume descriptor", block.saturating_mul(BLOCK), BLOCK) {
            Ok(bytes) => bytes,
            Err(error) if volumes.is_empty() => return Err(error),
            Err(_) => break,
        };
        if bytes.get(1..6) != Some(b"CD001") {
            break;
        }
        match byte(&bytes, 0) {
            0 if bytes.get(7..30) == Some(b"EL TORITO SPECIFICATION") && catalog.is_none() => {
                catalog = Some(le32(&bytes, 71));
            }
            1 | 2 => volumes.push(volume(&bytes, block)),
            255 => break,
            _ => {}
        }
    }
    if !volumes.iter().any(|v| v.kind == VolumeKind::Primary) {
        return Err(Error::NotFound {
            what: "ISO 9660 primary volume descriptor",
        });
    }
    volumes.sort_by_key(|volume| volume.kind != VolumeKind::Primary);
    Ok((volumes, catalog))
}

fn volume(bytes: &[u8], block: u64) -> Volume {
    let escape: [u8; 3] = array(bytes, 88).unwrap_or_default();
    let kind = match (byte(bytes, 0), byte(bytes, 6), &escape) {
        (1, ..) => VolumeKind::Primary,
        (_, _, b"%/@" | b"%/C" | b"%/E") => VolumeKind::Joliet,
        (_, 2, _) => VolumeKind::Enhanced,
        _ => VolumeKind::Other,
    };
    let text = |at: usize, len: usize| {
        let end = at.saturating_add(len);
        text(
            bytes.get(at..end).unwrap_or(&[]),
            kind == VolumeKind::Joliet,
        )
    };
    let both32 = |at: usize| {
        (
            u64::from(le32(bytes, at)),
            le32(bytes, at) == be32(bytes, at.saturating_add(4)),
        )
    };
    let both16 = |at: usize| {
        let le: [u8; 2] = array(bytes, at).unwrap_or_default();
        let be: [u8; 2] = array(bytes, at.saturating_add(2)).unwrap_or_default();
        u16::from_le_bytes(le) == u16::from_be_bytes(be)
    };
    let (blocks, a) = both32(80);
    let (table_len, b) = both32(132);
    let (root_block, c) = both32(158);
    let (root_len, d) = both32(166);
    let times = [813, 830, 847, 864];
    Volume {
        kind,
        block,
        id: text(40, 32),
        set_id: text(190, 128),
        system_id: text(8, 32),
        publisher: text(318, 128),
        preparer: text(446, 128),
        application: text(574, 128),
        blocks,
        created: String::from_utf8_lossy(bytes.get(813..829).unwrap_or(&[])).into_owned(),
        path_tables: (
            table_len,
            u64::from(le32(bytes, 140)),
            u64::from(be32(bytes, 148)),
        ),
        root: Extent {
            offset: root_block.saturating_mul(BLOCK),
            len: root_len,
        },
        is_consistent: a && b && c && d && [120, 124, 128].into_iter().all(both16),
        has_zero_times: times
            .into_iter()
            .any(|at| array::<16>(bytes, at) == Some([0; 16])),
    }
}

/// A padded text field.
fn text(bytes: &[u8], is_ucs2: bool) -> String {
    let text = if is_ucs2 {
        let units = bytes.chunks_exact(2).filter_map(|pair| array(pair, 0));
        let units: Vec<u16> = units.map(u16::from_be_bytes).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    };
    text.trim_end_matches([' ', '\0']).to_owned()
}
