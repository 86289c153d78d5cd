//! Walking through a tree.

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
use crate::tree::join;

/// A directory to be read.
struct Pending {
    extent: Extent,
    path: Vec<u8>,
    depth: u64,
}

pub(super) struct Walk<'a, R> {
    input: &'a mut Input<R>,
    namespace: Namespace,
    /// Bytes to skip in a system use area; none when there is nothing to read in it.
    skip: Option<usize>,
    max_depth: u64,
    item_budget: Budget,
    byte_budget: Budget,
    path_budget: Budget,
    seen: HashSet<u64>,
    items: Vec<Item>,
}

impl<'a, R: Read + Seek> Walk<'a, R> {
    pub(super) fn new(
        input: &'a mut Input<R>,
        limits: &Limits,
        namespace: Namespace,
        skip: Option<usize>,
    ) -> Self {
        Self {
            input,
            namespace,
            skip,
            max_depth: limits.depth,
            item_budget: Budget::new("count of files and directories", limits.items),
            byte_budget: Budget::new("size of directories", limits.directory_bytes),
            path_budget: Budget::new("length of paths", limits.path_bytes),
            seen: HashSet::new(),
            items: Vec::new(),
        }
    }

    pub(super) fn run(mut self, root: Extent) -> Result<Vec<Item>, Error> {
        let mut pending = VecDeque::from([Pending {
            extent: root,
            path: Vec::new(),
            depth: 1,
        }]);
        while let Some(directory) = pending.pop_front() {
            self.directory(&directory, &mut pending)?;
        }
        Ok(self.items)
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
        let mut open: Option<usize> = None;
        for (block, bytes) in bytes.chunks(BLOCK_LEN).enumerate() {
            let mut at = 0usize;
            // A zero length byte sends the reader to the next block.
            while bytes.get(at).is_some_and(|&len| len != 0) {
                let here = offset
                    .saturating_add((block as u64).saturating_mul(BLOCK))
                    .saturating_add(at as u64);
                let record = bytes.get(at..).and_then(RawRecord::parse);
                let record = record.ok_or(Error::Malformed {
                    what: "directory record",
                    offset: here,
                    reason: "its length does not fit its content",
                })?;
                at = at.saturating_add(record.len);
                if !matches!(record.identifier, [0 | 1]) {
                    self.record(&record, here, directory, pending, &mut open)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the item of a record. `open` is a file that has more parts.
    fn record(
        &mut self,
        record: &RawRecord<'_>,
        here: u64,
        directory: &Pending,
        pending: &mut VecDeque<Pending>,
        open: &mut Option<usize>,
    ) -> Result<(), Error> {
        let extent = Extent {
            offset: u64::from(record.block)
                .saturating_add(u64::from(record.attribute_blocks))
                .saturating_mul(BLOCK),
            len: u64::from(record.data_len),
        };
        let has_more = record.flags & MULTI_EXTENT != 0;
        if let Some(item) = open.take().and_then(|i| self.items.get_mut(i)) {
            item.len = item.len.saturating_add(extent.len);
            self.item_budget.take(1, here)?;
            item.extents.push(extent);
            if has_more {
                *open = self.items.len().checked_sub(1);
            }
            return Ok(());
        }
        let rock_ridge = match self.skip {
            Some(skip) => {
                let system_use = record.system_use.get(skip..).unwrap_or(&[]);
                RockRidge::read(self.input, system_use)?
            }
            None => RockRidge::default(),
        };
        if rock_ridge.is_moved {
            return Ok(());
        }
        let is_joliet = self.namespace == Namespace::Joliet;
        let name = match rock_ridge.name {
            Some(name) => name,
            None if is_joliet => joliet_name(record.identifier),
            None if self.skip.is_some() => plain_name(record.identifier),
            None => record.identifier.to_vec(),
        };
        check_name(&name).map_err(|reason| Error::Malformed {
            what: "directory record",
            offset: here,
            reason,
        })?;
        let path = join(&directory.path, &name);
        self.item_budget.take(1, here)?;
        self.path_budget.take(path.len() as u64, here)?;
        let mut item = Item {
            path,
            kind: ItemKind::File,
            len: extent.len,
            extents: vec![extent],
            flags: record.flags,
            modified: record.modified,
            posix: rock_ridge.posix,
        };
        let kind = rock_ridge.posix.map(|p| p.mode & 0o170_000);
        if record.flags & DIRECTORY != 0 || rock_ridge.child.is_some() {
            item.kind = ItemKind::Directory;
            let extent = match rock_ridge.child {
                Some(block) => self.moved(block)?,
                None => extent,
            };
            (item.len, item.extents) = (extent.len, vec![extent]);
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
            *open = Some(self.items.len());
        }
        self.items.push(item);
        Ok(())
    }

    /// The extent of a directory that was moved, from its own first record.
    fn moved(&mut self, block: u32) -> Result<Extent, Error> {
        let offset = u64::from(block).saturating_mul(BLOCK);
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

/// A Joliet name in UTF-8, without a version.
fn joliet_name(identifier: &[u8]) -> Vec<u8> {
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
