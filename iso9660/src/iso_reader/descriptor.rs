//! Volume descriptors.

use std::io::{Read, Seek};

use crate::error::Error;
use crate::input::{Extent, Input, array, be32, byte, le16, le32};
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
    /// Blocks of the volume.
    pub blocks: u64,
    /// Length of a block: 2,048 bytes in all but very odd images.
    pub block_len: u64,
    /// Creation time as it is recorded: sixteen digits.
    pub created: String,
    /// Modification time, likewise. UUIDs of images are made of it.
    pub modified: String,
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

/// The descriptors of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Descriptors {
    pub(crate) volumes: Vec<Volume>,
    /// Block of the boot catalog.
    pub(crate) catalog: Option<u32>,
    /// The boot record stands where El Torito wants it, right behind the primary descriptor.
    pub(crate) catalog_in_place: bool,
    /// There is a UDF file system as well.
    pub(crate) has_udf: bool,
    pub(crate) has_terminator: bool,
    /// First block of the session.
    pub(crate) session: u64,
}

/// Reads the descriptors of the session that begins at a block.
pub(super) fn read_all<R: Read + Seek>(
    input: &mut Input<R>,
    session: u64,
) -> Result<Descriptors, Error> {
    let mut out = Descriptors {
        session,
        ..Descriptors::default()
    };
    let first = session.saturating_add(FIRST_DESCRIPTOR);
    for block in first..first.saturating_add(MAX_DESCRIPTORS) {
        let bytes = match input.read("volume descriptor", block.saturating_mul(BLOCK), BLOCK) {
            Ok(bytes) => bytes,
            Err(error) if block == first => return Err(error),
            Err(_) => break,
        };
        match (bytes.get(1..6), byte(&bytes, 0)) {
            (Some(b"NSR02" | b"NSR03"), _) => out.has_udf = true,
            (Some(b"BEA01" | b"TEA01" | b"BOOT2"), _) => {}
            (Some(b"CD001"), _) if out.has_terminator => {}
            (Some(b"CD001"), 0) => {
                if bytes.get(7..30) == Some(b"EL TORITO SPECIFICATION") && out.catalog.is_none() {
                    out.catalog = Some(le32(&bytes, 71));
                    out.catalog_in_place = block == first.saturating_add(1);
                }
            }
            (Some(b"CD001"), 1 | 2) => out.volumes.push(volume(&bytes, block)),
            (Some(b"CD001"), 255) => out.has_terminator = true,
            (Some(b"CD001"), _) => {}
            _ => break,
        }
    }
    if !out.volumes.iter().any(|v| v.kind == VolumeKind::Primary) {
        return Err(Error::NotFound {
            what: "ISO 9660 primary volume descriptor",
        });
    }
    out.volumes
        .sort_by_key(|volume| volume.kind != VolumeKind::Primary);
    Ok(out)
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
    let digits = |at: usize| {
        let bytes = bytes.get(at..at.saturating_add(16)).unwrap_or(&[]);
        String::from_utf8_lossy(bytes).into_owned()
    };
    // ECMA-119 6.2.2: a power of two from 512 up to the length of a sector.
    let block_len = match le16(bytes, 128) {
        len @ (512 | 1024) => u64::from(len),
        _ => BLOCK,
    };
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
        block_len,
        created: digits(813),
        modified: digits(830),
        path_tables: (
            table_len,
            u64::from(le32(bytes, 140)),
            u64::from(be32(bytes, 148)),
        ),
        root: Extent {
            offset: root_block
                .saturating_add(u64::from(byte(bytes, 157)))
                .saturating_mul(block_len),
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
