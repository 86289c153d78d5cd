//! Walking through a tree.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::io::{Read, Seek};

use super::Namespace;
use super::record::RawRecord;
use super::susp::RockRidge;
use crate::error::Error;
use crate::input::{Budget, Extent, Input, Limits, array};
use crate::iso::record::{DIRECTORY, MULTI_EXTENT};
use crate::iso::{BLOCK, BLOCK_LEN};
use crate::item::{Item, ItemKind, check_name};
use crate::listing::Listing;
use crate::tree::join;

/// A directory to be read.
struct Pending {
    extent: Extent,
    path: Vec<u8>,
    depth: u64,
}

/// What a walk notices beside the items.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Extents of the directories, the root first.
    pub(crate) directories: Vec<(Vec<u8>, Extent)>,
    /// Directories whose records are out of order.
    pub(crate) unsorted: Vec<String>,
    /// Directories with a record that reaches into the next block.
    pub(crate) crossing: Vec<String>,
    /// Items whose both-endian numbers do not agree.
    pub(crate) inconsistent: Vec<String>,
    /// Interleaved files.
    pub(crate) interleaved: Vec<String>,
}

pub(super) struct Walk<'a, R> {
    input: &'a mut Input<R>,
    namespace: Namespace,
    /// Bytes to skip in a system use area; none when there is nothing to read in it.
    skip: Option<usize>,
    block_len: u64,
    max_depth: u64,
    item_budget: Budget,
    byte_budget: Budget,
    path_budget: Budget,
    extent_budget: Budget,
    seen: HashSet<u64>,
    listing: Listing,
    notes: Notes,
}

impl<'a, R: Read + Seek> Walk<'a, R> {
    pub(super) fn new(
        input: &'a mut Input<R>,
        limits: &Limits,
        namespace: Namespace,
        skip: Option<usize>,
        block_len: u64,
    ) -> Self {
        Self {
            input,
            namespace,
            skip,
            block_len,
            max_depth: limits.depth,
            item_budget: Budget::new("count of files and directories", limits.items),
            byte_budget: Budget::new("size of directories", limits.directory_bytes),
            path_budget: Budget::new("length of paths", limits.path_bytes),
            extent_budget: Budget::new("count of pieces of files", limits.extents),
            seen: HashSet::new(),
            listing: Listing::default(),
            notes: Notes::default(),
        }
    }

    /// Walks through the tree. A directory that cannot be read is left out; a limit ends the walk.
    pub(super) fn run(mut self, root: Extent) -> Result<(Listing, Notes), Error> {
        let mut pending = VecDeque::from([Pending {
            extent: root,
            path: Vec::new(),
            depth: 1,
        }]);
        while let Some(directory) = pending.pop_front() {
            if let Err(error) = self.directory(&directory, &mut pending) {
                if matches!(error, Error::Image { .. }) {
                    return Err(error);
                }
                let is_limit = matches!(error, Error::Limit { .. });
                self.listing.add(&directory.path, error);
                if is_limit {
                    break;
                }
            }
        }
        Ok((self.listing, self.notes))
    }

    fn directory(
        &mut self,
        directory: &Pending,
        pending: &mut VecDeque<Pending>,
    ) -> Result<(), Error> {
        let Extent { offset, len } = directory.extent;
        if directory.depth > self.max_depth {
            return Err(Error::Limit {
                what: "depth of directories",
                offset,
                limit: self.max_depth,
            });
        }
        if !self.seen.insert(offset) {
            return Err(Error::Malformed {
                what: "directory",
                offset,
                reason: "it is in the tree twice",
            });
        }
        self.byte_budget.take(len, offset)?;
        let bytes = self.input.read("directory", offset, len)?;
        let noted = (directory.path.clone(), directory.extent);
        self.notes.directories.push(noted);
        let mut open: Option<(usize, &[u8])> = None;
        let mut at = 0usize;
        let mut before: Option<&[u8]> = None;
        let mut is_sorted = true;
        while let Some(&first) = bytes.get(at) {
            let in_block = at.checked_rem(BLOCK_LEN).unwrap_or(0);
            if first == 0 {
                // A zero length byte sends the reader to the next block.
                at = at.saturating_add(BLOCK_LEN.saturating_sub(in_block));
                continue;
            }
            let here = offset.saturating_add(at as u64);
            let record = bytes.get(at..).and_then(RawRecord::parse);
            let record = record.ok_or(Error::Malformed {
                what: "directory record",
                offset: here,
                reason: "its length does not fit its content",
            })?;
            if in_block.saturating_add(record.len) > BLOCK_LEN {
                self.note_crossing(&directory.path);
            }
            at = at.saturating_add(record.len);
            if matches!(record.identifier, [0 | 1]) {
                continue;
            }
            let is_joliet = self.namespace == Namespace::Joliet;
            let is_next = |before: &[u8]| compare(before, record.identifier, is_joliet).is_le();
            is_sorted &= before.is_none_or(is_next);
            before = Some(record.identifier);
            self.record(&record, here, directory, pending, &mut open)?;
        }
        if !is_sorted {
            let path = crate::error::text(&directory.path);
            self.notes.unsorted.push(path);
        }
        Ok(())
    }

    fn note_crossing(&mut self, path: &[u8]) {
        let path = crate::error::text(path);
        if self.notes.crossing.last() != Some(&path) {
            self.notes.crossing.push(path);
        }
    }

    /// Where the content of a record lies.
    fn extents(
        &mut self,
        record: &RawRecord<'_>,
        here: u64,
        out: &mut Vec<Extent>,
    ) -> Result<(), Error> {
        let offset = u64::from(record.block)
            .saturating_add(u64::from(record.attribute_blocks))
            .saturating_mul(self.block_len);
        let len = u64::from(record.data_len);
        let (unit, gap) = record.interleave;
        let unit = u64::from(unit).saturating_mul(self.block_len);
        if unit == 0 || gap == 0 || len <= unit {
            self.extent_budget.take(1, here)?;
            out.push(Extent { offset, len });
            return Ok(());
        }
        let stride = unit.saturating_add(u64::from(gap).saturating_mul(self.block_len));
        self.extent_budget.take(len.div_ceil(unit), here)?;
        let (mut offset, mut left) = (offset, len);
        while left > 0 {
            let len = left.min(unit);
            out.push(Extent { offset, len });
            offset = offset.saturating_add(stride);
            left = left.saturating_sub(len);
        }
        Ok(())
    }

    /// Adds the item of a record. `open` is a file that has more parts.
    fn record<'b>(
        &mut self,
        record: &RawRecord<'b>,
        here: u64,
        directory: &Pending,
        pending: &mut VecDeque<Pending>,
        open: &mut Option<(usize, &'b [u8])>,
    ) -> Result<(), Error> {
        self.item_budget.take(1, here)?;
        let has_more = record.flags & MULTI_EXTENT != 0;
        if let Some((index, name)) = open.take()
            && name == record.identifier
        {
            let mut extents = Vec::new();
            self.extents(record, here, &mut extents)?;
            if let Some(item) = self.listing.items.get_mut(index) {
                item.len = item.len.saturating_add(u64::from(record.data_len));
                item.extents.extend(extents);
            }
            *open = has_more.then_some((index, name));
            return Ok(());
        }
        let rock_ridge = match self.skip {
            Some(skip) => {
                let system_use = record.system_use.get(skip..).unwrap_or(&[]);
                match RockRidge::read(self.input, system_use, self.block_len) {
                    Err(error) if !matches!(error, Error::Image { .. }) => {
                        let path = join(&directory.path, &plain_name(record.identifier));
                        self.listing.add(&path, error);
                        RockRidge::default()
                    }
                    read => read?,
                }
            }
            None => RockRidge::default(),
        };
        if rock_ridge.is_moved {
            return Ok(());
        }
        let name = match &rock_ridge.name {
            Some(name) => name.clone(),
            None => self.plain_name(record.identifier),
        };
        if let Err(reason) = check_name(&name) {
            let error = Error::Malformed {
                what: "directory record",
                offset: here,
                reason,
            };
            self.listing.add(&directory.path, error);
            return Ok(());
        }
        let path = join(&directory.path, &name);
        self.path_budget.take(path.len() as u64, here)?;
        if !record.is_consistent {
            let path = crate::error::text(&path);
            self.notes.inconsistent.push(path);
        }
        let mut item = Item::new(
            path,
            ItemKind::File,
            u64::from(record.data_len),
            Vec::with_capacity(1),
        );
        self.extents(record, here, &mut item.extents)?;
        item.flags = record.flags;
        item.modified = rock_ridge.modified.or(record.modified);
        item.accessed = rock_ridge.accessed;
        item.posix = rock_ridge.posix;
        item.unpacked_len = rock_ridge.unpacked_len;
        item.is_packed = rock_ridge.is_packed;
        if item.extents.len() > 1 {
            self.notes.interleaved.push(item.path_text());
        }
        let kind = rock_ridge.posix.map(|p| p.mode & 0o170_000);
        if record.flags & DIRECTORY != 0 || rock_ridge.child.is_some() {
            item.kind = ItemKind::Directory;
            if let Some(block) = rock_ridge.child {
                match self.moved(block) {
                    Ok(extent) => (item.len, item.extents) = (extent.len, vec![extent]),
                    Err(error) if matches!(error, Error::Image { .. }) => return Err(error),
                    Err(error) => {
                        self.listing.add(&item.path, error);
                        self.listing.items.push(item);
                        return Ok(());
                    }
                }
            }
            let extent = item.extents.first().copied().unwrap_or(Extent {
                offset: here,
                len: 0,
            });
            pending.push_back(Pending {
                extent,
                path: item.path.clone(),
                depth: directory.depth.saturating_add(1),
            });
        } else if let Some(target) = rock_ridge.target {
            item.kind = ItemKind::Symlink(target);
        } else if kind.is_some_and(|kind| !matches!(kind, 0 | 0o100_000)) {
            item.kind = ItemKind::Special;
        } else if has_more {
            *open = Some((self.listing.items.len(), record.identifier));
        }
        self.listing.items.push(item);
        Ok(())
    }

    /// A name as it is recorded in this tree.
    fn plain_name(&self, identifier: &[u8]) -> Vec<u8> {
        match self.namespace {
            Namespace::Joliet => joliet_name(identifier),
            Namespace::RockRidge => plain_name(identifier),
            _ => identifier.to_vec(),
        }
    }

    /// The extent of a directory that was moved, from its own first record.
    fn moved(&mut self, block: u32) -> Result<Extent, Error> {
        let offset = u64::from(block).saturating_mul(self.block_len);
        let bytes = self.input.read("moved directory", offset, BLOCK)?;
        let record = RawRecord::parse(&bytes).ok_or(Error::Malformed {
            what: "moved directory",
            offset,
            reason: "it has no record of itself",
        })?;
        Ok(Extent {
            offset,
            len: u64::from(record.data_len),
        })
    }
}

/// How ECMA-119 9.3 sorts: by name and extension, both padded with spaces, then by version, the
/// highest first. Joliet names are compared whole.
fn compare(a: &[u8], b: &[u8], is_joliet: bool) -> Ordering {
    if is_joliet {
        return a.cmp(b);
    }
    let ((name_a, extension_a, version_a), (name_b, extension_b, version_b)) = (parts(a), parts(b));
    padded(name_a, name_b)
        .then_with(|| padded(extension_a, extension_b))
        .then_with(|| version_b.cmp(&version_a))
}

/// Name, extension and version.
fn parts(identifier: &[u8]) -> (&[u8], &[u8], u32) {
    let end = identifier.iter().rposition(|&b| b == b';');
    let (name, version) = identifier.split_at(end.unwrap_or(identifier.len()));
    let dot = name.iter().position(|&b| b == b'.').unwrap_or(name.len());
    let (name, extension) = name.split_at(dot);
    let version = version.get(1..).and_then(|v| str::from_utf8(v).ok());
    let version = version.and_then(|v| v.parse().ok()).unwrap_or(0);
    (name, extension.get(1..).unwrap_or(&[]), version)
}

/// Compares as if the shorter one were padded with spaces.
fn padded(a: &[u8], b: &[u8]) -> Ordering {
    let len = a.len().max(b.len());
    let pad = |bytes: &[u8]| {
        let spaces = std::iter::repeat_n(b' ', len.saturating_sub(bytes.len()));
        bytes.iter().copied().chain(spaces).collect::<Vec<u8>>()
    };
    match a.len() == b.len() {
        true => a.cmp(b),
        false => pad(a).cmp(&pad(b)),
    }
}

/// A Joliet name in UTF-8, without a version.
pub(crate) fn joliet_name(identifier: &[u8]) -> Vec<u8> {
    let units = identifier.chunks_exact(2).filter_map(|pair| array(pair, 0));
    let units: Vec<u16> = units.map(u16::from_be_bytes).collect();
    let name = String::from_utf16_lossy(&units);
    let name = name.strip_suffix(";1").unwrap_or(&name);
    name.to_owned().into_bytes()
}

/// A plain name without version and empty extension.
pub(crate) fn plain_name(identifier: &[u8]) -> Vec<u8> {
    let end = identifier.iter().rposition(|&b| b == b';');
    let name = end
        .and_then(|end| identifier.get(..end))
        .unwrap_or(identifier);
    name.strip_suffix(b".").unwrap_or(name).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_sorted_by_their_parts() {
        let sorted: [&[u8]; 6] = [
            b"A.;1",
            b"A.B;2",
            b"A.B;1",
            b"A_1.;1",
            b"S2.;1",
            b"S2046.;1",
        ];
        assert!(sorted.is_sorted_by(|a, b| compare(a, b, false).is_lt()));
    }
}
