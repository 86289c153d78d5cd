//! The items of a tree and what could not be read of it.

use crate::error::{Error, text};
use crate::item::Item;

/// Problems that are kept; a hostile image has as many as it likes.
const MAX_PROBLEMS: usize = 1000;

/// The items of a tree, and what is wrong with the rest: from
/// [`IsoReader::list`](crate::IsoReader::list) and [`FatReader::list`](crate::FatReader::list).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// What could be read, parents first. The content of an item with a problem may be shorter than
    /// its length.
    pub items: Vec<Item>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// Something of a tree that could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The item or directory it was met at; empty for the root.
    pub path: String,
    /// What is wrong.
    pub error: Error,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}: {}", self.path, self.error)
    }
}

impl Listing {
    pub(crate) fn add(&mut self, path: &[u8], error: Error) {
        if self.problems.len() < MAX_PROBLEMS {
            let path = text(path);
            self.problems.push(Problem { path, error });
        }
    }

    /// The items, or the first problem.
    pub(crate) fn strict(self) -> Result<Vec<Item>, Error> {
        match self.problems.into_iter().next() {
            None => Ok(self.items),
            Some(problem) => Err(problem.error),
        }
    }
}
