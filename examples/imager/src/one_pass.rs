//! Sections and image of a UKI, hashed while the file is read once from start to end.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use authenticode::{HashAlgorithm, Image, ImageHasher, ImageOptions};
use pcr::{Bank, Dialect, Pcr11, SectionId};
use uki::{ReadAt, Uki};

/// Length of a piece that is read at once.
const PIECE: usize = 1 << 20;
/// So many pieces wait for the image's hashes at most.
const WAITING: usize = 4;

/// More zeros than loaders add to any honest image.
const MAX_ZEROS: u64 = 256 << 20;

/// A section's bytes in the file.
struct Range<'a> {
    start: u64,
    end: u64,
    /// What the loader adds.
    zeros: u64,
    id: SectionId<'a>,
}

/// Hashes both. The image is an error of its own when its digest cannot be computed in passing.
pub(crate) fn hash<S: ReadAt>(
    file: &mut impl Read,
    len: u64,
    uki: &Uki<S>,
    banks: &[Bank],
) -> io::Result<(Pcr11, Result<Image, authenticode::Error>)> {
    let dialect = Dialect::identify(uki.stub().name(), uki.stub().version());
    let mut boot = Pcr11::new(dialect, banks);
    let mut ranges = ranges(uki);
    let measured: u64 = ranges
        .iter()
        .map(|range| range.end - range.start + range.zeros)
        .sum();
    if measured > len.saturating_mul(2).saturating_add(MAX_ZEROS) {
        let problem = "its sections overlap, or are mostly zeros that the loader adds";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let options = ImageOptions::new().hashes(&HashAlgorithm::ALL);
    let image = thread::scope(|scope| {
        let (pieces, waiting) = sync_channel::<Arc<Vec<u8>>>(WAITING);
        let image = scope.spawn(move || {
            let mut hasher = ImageHasher::with_options(options);
            for piece in waiting {
                hasher.update(&piece);
            }
            hasher.finish()
        });
        let mut position = 0;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            let piece = Arc::new(piece);
            if pieces.send(Arc::clone(&piece)).is_err() {
                break; // the thread has died, which its handle tells below
            }
            let end = position + piece.len() as u64;
            // Ranges are sorted by their start; those that are over go.
            for range in ranges.iter().take_while(|range| range.start < end) {
                let from = range.start.max(position) - position;
                let to = range.end.min(end).saturating_sub(position);
                let bytes = index(from)
                    .zip(index(to))
                    .and_then(|(from, to)| piece.get(from..to));
                boot.observe(range.id, bytes.unwrap_or_default());
            }
            ranges.retain(|range| {
                let is_over = range.end <= end;
                if is_over {
                    zeros(&mut boot, range);
                }
                !is_over
            });
            position = end;
        }
        drop(pieces);
        image
            .join()
            .map_err(|_| io::Error::other("the hashing thread ended early"))
    })?;
    // Sections without bytes in the file have only what the loader adds.
    for range in &ranges {
        zeros(&mut boot, range);
    }
    Ok((boot, image))
}

fn ranges<S: ReadAt>(uki: &Uki<S>) -> Vec<Range<'_>> {
    let names = uki.sections().iter().map(|section| section.name().as_str());
    let ids = SectionId::in_table(names);
    let mut ranges: Vec<Range<'_>> = uki
        .sections()
        .iter()
        .zip(ids)
        .filter(|(section, _)| section.virtual_len() > 0 && section.name().is_known())
        .map(|(section, id)| Range {
            start: section.raw_offset(),
            end: section.raw_offset() + section.file_len(),
            zeros: section.zero_fill(),
            id,
        })
        .collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

fn zeros(boot: &mut Pcr11, range: &Range<'_>) {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = range.zeros;
    while left > 0 {
        let len = left.min(ZEROS.len() as u64);
        let piece = index(len).and_then(|len| ZEROS.get(..len));
        boot.observe(range.id, piece.unwrap_or_default());
        left -= len;
    }
}

fn index(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok()
}
