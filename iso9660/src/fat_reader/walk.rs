//! Walking through the directories of a FAT volume.

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Seek};

use super::FatReader;
use super::directory::{DIRECTORY, Entries, RawEntry};
use super::survey::Survey;
use super::table::Chain;
use crate::error::Error;
use crate::input::{Budget, Extent};
use crate::item::{Item, ItemKind, check_name};
use crate::tree::join;

/// A directory has at most 65,536 entries.
const MAX_DIRECTORY: u64 = 65_536 * 32;

struct Pending {
    /// The first cluster; 0 for the root.
    cluster: u64,
    path: Vec<u8>,
    depth: u64,
}

struct Budgets {
    items: Budget,
    bytes: Budget,
    paths: Budget,
    extents: Budget,
    /// Every cluster belongs to one file, so many more of them than there are is no tree.
    clusters: Budget,
}

impl<R: Read + Seek> FatReader<R> {
    /// Walks through the whole volume.
    pub(crate) fn survey(&mut self) -> Result<Survey, Error> {
        let limits = self.limits;
        let mut budgets = Budgets {
            items: Budget::new("count of files and directories", limits.items),
            bytes: Budget::new("size of directories", limits.directory_bytes),
            paths: Budget::new("length of paths", limits.path_bytes),
            extents: Budget::new("count of pieces of files", limits.extents),
            clusters: Budget::new(
                "count of clusters of all files",
                self.boot.clusters.saturating_mul(4),
            ),
        };
        let mut out = Survey::default();
        let mut seen = HashSet::new();
        let mut pending = VecDeque::from([Pending {
            cluster: 0,
            path: Vec::new(),
            depth: 1,
        }]);
        while let Some(directory) = pending.pop_front() {
            let done = self.directory(&directory, &mut pending, &mut seen, &mut budgets, &mut out);
            if let Err(error) = done {
                if matches!(error, Error::Image { .. }) {
                    return Err(error);
                }
                let is_limit = matches!(error, Error::Limit { .. });
                out.listing.add(&directory.path, error);
                if is_limit {
                    break;
                }
            }
        }
        Ok(out)
    }

    /// The label in the root directory.
    pub(super) fn survey_root(&mut self) -> Result<Option<String>, Error> {
        let extents = self.directory_extents(0, &mut Survey::default())?;
        let bytes = self.directory_bytes(&extents)?;
        Ok(Entries::parse(&bytes, true).label)
    }

    fn directory_extents(
        &mut self,
        cluster: u64,
        survey: &mut Survey,
    ) -> Result<Vec<Extent>, Error> {
        let is_fixed = cluster == 0 && self.boot.root_cluster == 0;
        if is_fixed && self.boot.kind != crate::FatKind::Fat32 {
            let (offset, len) = self.boot.fixed_root;
            return Ok(vec![Extent { offset, len }]);
        }
        let first = if cluster == 0 {
            self.boot.root_cluster
        } else {
            cluster
        };
        let most = MAX_DIRECTORY.div_ceil(self.boot.cluster_len).max(1);
        let (input, boot) = (&mut self.input, &self.boot);
        let chain = Chain::follow(input, boot, &mut self.pages, first, None, most)?;
        survey.used_clusters = survey.used_clusters.saturating_add(chain.clusters);
        match chain.problem {
            None => Ok(chain.extents),
            Some(reason) => Err(Error::Malformed {
                what: "directory",
                offset: self.input.absolute(self.boot.cluster_offset(first)),
                reason,
            }),
        }
    }

    fn directory_bytes(&mut self, extents: &[Extent]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for extent in extents {
            let mut at = 0;
            // An entry that marks the end saves reading the rest.
            while at < extent.len {
                let len = extent.len.saturating_sub(at).min(self.boot.cluster_len);
                let offset = extent.offset.saturating_add(at);
                let piece = self.input.read("directory", offset, len)?;
                let is_end = piece
                    .chunks_exact(32)
                    .any(|entry| entry.first() == Some(&0));
                bytes.extend(piece);
                if is_end {
                    return Ok(bytes);
                }
                at = at.saturating_add(len);
            }
        }
        Ok(bytes)
    }

    fn directory(
        &mut self,
        directory: &Pending,
        pending: &mut VecDeque<Pending>,
        seen: &mut HashSet<u64>,
        budgets: &mut Budgets,
        out: &mut Survey,
    ) -> Result<(), Error> {
        let cluster = match directory.cluster {
            0 => self.boot.root_cluster,
            cluster => cluster,
        };
        let offset = self.input.absolute(match cluster {
            0 => self.boot.fixed_root.0,
            _ => self.boot.cluster_offset(cluster),
        });
        if directory.depth > self.limits.depth {
            return Err(Error::Limit {
                what: "depth of directories",
                offset,
                limit: self.limits.depth,
            });
        }
        if !seen.insert(cluster) {
            return Err(Error::Malformed {
                what: "directory",
                offset,
                reason: "it is in the tree twice",
            });
        }
        let extents = self.directory_extents(directory.cluster, out)?;
        let len: u64 = extents.iter().map(|extent| extent.len).sum();
        budgets.bytes.take(len, offset)?;
        if cluster != 0 {
            let clusters = len.div_ceil(self.boot.cluster_len.max(1));
            budgets.clusters.take(clusters, offset)?;
        }
        let bytes = self.directory_bytes(&extents)?;
        out.runs.extend(extents);
        let entries = Entries::parse(&bytes, self.boot.kind == crate::FatKind::Fat32);
        out.note(directory.cluster == 0, &entries);
        for entry in entries.entries {
            self.entry(entry, offset, directory, pending, budgets, out)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: RawEntry,
        offset: u64,
        directory: &Pending,
        pending: &mut VecDeque<Pending>,
        budgets: &mut Budgets,
        out: &mut Survey,
    ) -> Result<(), Error> {
        // A directory in pieces has its later entries elsewhere; its beginning is near enough.
        let here = offset.saturating_add(entry.at);
        let path = join(&directory.path, entry.name.as_bytes());
        budgets.items.take(1, here)?;
        budgets.paths.take(path.len() as u64, here)?;
        if let Err(reason) = check_name(entry.name.as_bytes()) {
            let error = Error::Malformed {
                what: "directory entry",
                offset: here,
                reason,
            };
            out.listing.add(&directory.path, error);
            return Ok(());
        }
        let mut item = Item::new(path, ItemKind::File, entry.len, Vec::new());
        item.flags = entry.attributes;
        item.modified = entry.modified;
        item.short_name = Some(entry.short_name);
        if entry.attributes & DIRECTORY != 0 {
            item.kind = ItemKind::Directory;
            item.len = 0;
            if entry.cluster == 0 {
                let error = Error::Malformed {
                    what: "directory entry",
                    offset: here,
                    reason: "its directory has no cluster",
                };
                out.listing.add(&item.path, error);
            } else {
                pending.push_back(Pending {
                    cluster: entry.cluster,
                    path: item.path.clone(),
                    depth: directory.depth.saturating_add(1),
                });
            }
        } else if entry.len != 0 {
            self.content(&mut item, entry.cluster, here, budgets, out)?;
        } else if entry.cluster != 0 {
            out.empty_with_cluster = out.empty_with_cluster.saturating_add(1);
        }
        out.listing.items.push(item);
        Ok(())
    }

    /// Finds the pieces of a file.
    fn content(
        &mut self,
        item: &mut Item,
        cluster: u64,
        here: u64,
        budgets: &mut Budgets,
        out: &mut Survey,
    ) -> Result<(), Error> {
        let (input, boot) = (&mut self.input, &self.boot);
        let most = boot.clusters;
        let len = Some(item.len.min(most.saturating_mul(boot.cluster_len)));
        let chain = Chain::follow(input, boot, &mut self.pages, cluster, len, most)?;
        budgets.clusters.take(chain.clusters, here)?;
        budgets.extents.take(chain.extents.len() as u64, here)?;
        out.used_clusters = out.used_clusters.saturating_add(chain.clusters);
        out.runs.extend(&chain.extents);
        if chain.is_longer {
            out.too_long.push(item.path_text());
        }
        let found: u64 = chain.extents.iter().map(|extent| extent.len).sum();
        item.extents = chain.extents;
        let reason = match chain.problem {
            None if found < item.len => Some("it is longer than the volume"),
            problem => problem,
        };
        if let Some(reason) = reason {
            let error = Error::Malformed {
                what: "file",
                offset: here,
                reason,
            };
            out.listing.add(&item.path, error);
        }
        Ok(())
    }
}
