//! One tree of names over the files: plain ISO 9660 with Rock Ridge, or Joliet.

use super::Image;
use crate::error::NameProblem;
use crate::error::{Error, text};
use crate::iso::directory::{Directory, Points};
use crate::iso::record::{self, Record};
use crate::iso::rock_ridge::{self, Posix};
use crate::iso::{joliet, name, path_table, symlink};
use crate::tree::{Attributes, Child, Flat, Target, join};

/// Bytes of one part of a large file: the most that is whole blocks and fits the field.
pub(super) const PART_LEN: u64 = 0xFFFF_F800;
/// Linux reads a file of at most so many parts.
const PARTS: u64 = 100;

/// The directories of one tree.
pub(super) struct Namespace {
    /// As in [`Flat::directories`].
    pub(super) directories: Vec<Directory>,
    /// Identifiers of the directories as they are recorded.
    identifiers: Vec<Vec<u8>>,
    /// The directories in the order of the path table.
    order: Vec<usize>,
}

/// A child with its identifier, in the order of the directory.
struct Named<'a> {
    child: &'a Child,
    identifier: Vec<u8>,
}

impl Namespace {
    /// The plain tree.
    pub(super) fn primary(image: &Image, flat: &Flat) -> Result<Self, Error> {
        Self::build(image, flat, image.rock_ridge, |children| {
            let all: Vec<(&[u8], bool)> = children
                .iter()
                .map(|c| (c.name.as_ref(), matches!(c.target, Target::Directory(_))))
                .collect();
            let mut named: Vec<_> = name::assign(&all, image.level)?
                .into_iter()
                .zip(children)
                .collect();
            named.sort_by(|a, b| a.0.order(&b.0));
            let named = named.into_iter().map(|(id, child)| Named {
                child,
                identifier: id.recorded(),
            });
            Ok(named.collect())
        })
    }

    /// The Joliet tree, which has no symbolic links.
    pub(super) fn joliet(image: &Image, flat: &Flat, limit: usize) -> Result<Self, Error> {
        Self::build(image, flat, false, |children| {
            let children: Vec<&Child> = children
                .iter()
                .filter(|c| !matches!(c.target, Target::Symlink(_)))
                .collect();
            let all: Vec<&[u8]> = children.iter().map(|c| c.name.as_ref()).collect();
            let mut named: Vec<_> = joliet::assign(&all, limit)?
                .into_iter()
                .zip(children)
                .collect();
            named.sort_by(|a, b| a.0.cmp(&b.0));
            let named = named.into_iter().map(|(units, child)| Named {
                child,
                identifier: joliet::recorded(&units),
            });
            Ok(named.collect())
        })
    }

    fn build<'a>(
        image: &Image,
        flat: &'a Flat,
        rock_ridge: bool,
        assign: impl Fn(&'a [Child]) -> Result<Vec<Named<'a>>, u64>,
    ) -> Result<Self, Error> {
        let writer = Writer {
            image,
            flat,
            rock_ridge,
        };
        let mut out = Self {
            directories: Vec::with_capacity(flat.directories.len()),
            identifiers: vec![vec![0]; flat.directories.len()],
            order: Vec::new(),
        };
        let mut below: Vec<Vec<usize>> = Vec::with_capacity(flat.directories.len());
        let mut links = 0;
        for (i, directory) in flat.directories.iter().enumerate() {
            let named = assign(&directory.children).map_err(|limit| Error::TooMany {
                what: "names",
                path: text(&directory.path),
                count: directory.children.len() as u64,
                limit,
            })?;
            let mut subdirectories = Vec::new();
            for named in &named {
                if let Target::Directory(index) = named.child.target {
                    subdirectories.push(index);
                    if let Some(identifier) = out.identifiers.get_mut(index) {
                        identifier.clone_from(&named.identifier);
                    }
                }
            }
            out.directories
                .push(writer.directory(i, &named, &mut links)?);
            below.push(subdirectories);
        }
        // Breadth first, each directory's children in their order.
        out.order.push(0);
        let mut at = 0;
        while let Some(&directory) = out.order.get(at) {
            out.order.extend(below.get(directory).into_iter().flatten());
            at += 1;
        }
        Ok(out)
    }

    /// Length of the path table.
    pub(super) fn path_table_len(&self) -> u64 {
        let lens = self.identifiers.iter().map(Vec::len);
        lens.map(path_table::record_len).sum()
    }

    /// Blocks of all directories with their continuation areas.
    pub(super) fn blocks(&self) -> u64 {
        self.directories.iter().map(Directory::blocks).sum()
    }

    /// The first block of each directory, in the order of the path table from `first`: parents
    /// before children.
    pub(super) fn place(&self, first: u64) -> Vec<u64> {
        let mut next = first;
        let mut out = vec![0; self.directories.len()];
        for &i in &self.order {
            if let (Some(place), Some(directory)) = (out.get_mut(i), self.directories.get(i)) {
                *place = next;
                next += directory.blocks();
            }
        }
        out
    }

    /// Both path tables: little-endian, big-endian.
    pub(super) fn path_tables(&self, flat: &Flat, places: &[u64]) -> (Vec<u8>, Vec<u8>) {
        let mut numbers = vec![1; self.order.len()];
        for (number, &i) in (1..=u16::MAX).zip(&self.order) {
            if let Some(n) = numbers.get_mut(i) {
                *n = number;
            }
        }
        let entry = |&i: &usize| path_table::Entry {
            identifier: self.identifiers.get(i).map_or(&[], Vec::as_slice),
            block: places.get(i).map_or(0, |&p| super::layout::block(p)),
            parent: flat
                .directories
                .get(i)
                .and_then(|d| numbers.get(d.parent))
                .copied()
                .unwrap_or(1),
        };
        let entries: Vec<_> = self.order.iter().map(entry).collect();
        (
            path_table::to_bytes(&entries, false),
            path_table::to_bytes(&entries, true),
        )
    }
}

/// Writes the records of directories.
struct Writer<'a> {
    image: &'a Image,
    flat: &'a Flat,
    rock_ridge: bool,
}

impl Writer<'_> {
    fn directory(
        &self,
        index: usize,
        named: &[Named<'_>],
        links: &mut usize,
    ) -> Result<Directory, Error> {
        let mut out = Directory::default();
        let mut entries = Vec::new();
        let Some(directory) = self.flat.directories.get(index) else {
            return Ok(out);
        };
        for (identifier, target) in [(&[0u8], index), (&[1u8], directory.parent)] {
            let Some(own) = self.flat.directories.get(target) else {
                continue;
            };
            entries.clear();
            if self.rock_ridge {
                let is_root = index == 0 && identifier == &[0];
                if is_root {
                    entries.extend(rock_ridge::MARKER);
                }
                self.directory_posix(target).append(&mut entries);
                if is_root {
                    entries.extend(rock_ridge::reference());
                }
            }
            let record = Record {
                identifier,
                flags: record::DIRECTORY,
                time: self.time(&own.attributes),
            };
            out.push(&record, &entries, Points::Directory(target));
        }
        for named in named {
            entries.clear();
            let points = self.child(&directory.path, named, &mut entries, links)?;
            self.records(named, &entries, points, &mut out);
        }
        Ok(out)
    }

    /// Appends the system use entries of a child; answers where it points and in how many parts.
    fn child(
        &self,
        directory: &[u8],
        named: &Named<'_>,
        entries: &mut Vec<u8>,
        links: &mut usize,
    ) -> Result<(Points, u64), Error> {
        let child = named.child;
        let attributes = &child.attributes;
        let mut sl = Vec::new();
        let mut points = (Points::Empty, 1);
        let posix = match &child.target {
            Target::Directory(index) => {
                points.0 = Points::Directory(*index);
                self.directory_posix(*index)
            }
            Target::File(index) => {
                let file = self.flat.files.get(*index);
                let (len, links) = file.map_or((0, 1), |f| (f.len, f.links));
                points.1 = self.parts(directory, child, len)?;
                if len > 0 {
                    points.0 = Points::File {
                        file: *index,
                        part: 0,
                    };
                }
                let serial = self.flat.directories.len() + index;
                let is_program = attributes.mode.is_some_and(|mode| mode & 0o111 != 0);
                let mode = if is_program { 0o555 } else { 0o444 };
                self.posix(attributes, (rock_ridge::TYPE_FILE, mode), links, serial)
            }
            Target::Symlink(target) => {
                if !self.rock_ridge {
                    return Err(Error::Unsupported {
                        path: text(&join(directory, &child.name)),
                        kind: "symbolic link",
                        format: "ISO 9660 without Rock Ridge",
                    });
                }
                sl = symlink::entries(target).ok_or_else(|| Error::Name {
                    path: text(&join(directory, &child.name)),
                    format: "Rock Ridge",
                    reason: NameProblem::Target,
                })?;
                let serial = self.flat.directories.len() + self.flat.files.len() + *links;
                *links += 1;
                let kind = (rock_ridge::TYPE_SYMLINK, 0o777);
                self.posix(attributes, kind, 1, serial)
            }
        };
        if self.rock_ridge {
            posix.append(entries);
            rock_ridge::append_name(&child.name, entries);
            entries.extend(sl.iter().flatten());
        }
        Ok(points)
    }

    /// Adds the records of a child, one for each part.
    fn records(
        &self,
        named: &Named<'_>,
        entries: &[u8],
        (points, parts): (Points, u64),
        out: &mut Directory,
    ) {
        let attributes = &named.child.attributes;
        let mut flags = if attributes.hidden { record::HIDDEN } else { 0 };
        if matches!(points, Points::Directory(_)) {
            flags |= record::DIRECTORY;
        }
        for part in 0..parts {
            let is_last = part + 1 == parts;
            let record = Record {
                identifier: &named.identifier,
                flags: flags | if is_last { 0 } else { record::MULTI_EXTENT },
                time: self.time(attributes),
            };
            let points = match points {
                Points::File { file, .. } => Points::File { file, part },
                other => other,
            };
            out.push(&record, entries, points);
        }
    }

    /// Parts of a file of this length.
    fn parts(&self, directory: &[u8], child: &Child, len: u64) -> Result<u64, Error> {
        let (limit, format) = match self.image.level {
            name::Level::Three => (PARTS * PART_LEN, "ISO 9660"),
            _ => (u64::from(u32::MAX), "ISO 9660 under level 3"),
        };
        if len > limit {
            return Err(Error::FileTooLarge {
                path: text(&join(directory, &child.name)),
                len,
                limit,
                format,
            });
        }
        Ok(if len <= u64::from(u32::MAX) {
            1
        } else {
            len.div_ceil(PART_LEN)
        })
    }

    fn directory_posix(&self, index: usize) -> Posix {
        let directory = self.flat.directories.get(index);
        let attributes = directory.map_or_else(Attributes::default, |d| d.attributes.clone());
        let below = directory.map_or(0, |d| d.subdirectories);
        let links = u32::try_from(below + 2).unwrap_or(u32::MAX);
        let kind = (rock_ridge::TYPE_DIRECTORY, 0o555);
        self.posix(&attributes, kind, links, index)
    }

    /// `kind`: the type bits and the mode of an item that keeps none of its own.
    fn posix(
        &self,
        attributes: &Attributes,
        (kind, mode): (u32, u32),
        links: u32,
        serial: usize,
    ) -> Posix {
        let keep = self.image.keep_attributes;
        Posix {
            mode: kind | attributes.mode.filter(|_| keep).unwrap_or(mode),
            links,
            uid: if keep { attributes.uid } else { 0 },
            gid: if keep { attributes.gid } else { 0 },
            serial: u32::try_from(serial + 1).unwrap_or(u32::MAX),
            time: self.time(attributes),
        }
    }

    fn time(&self, attributes: &Attributes) -> [u8; 7] {
        let image = self.image.time;
        let modified = attributes.modified.filter(|_| self.image.keep_attributes);
        modified.map_or(image, |time| time.min(image)).record()
    }
}
