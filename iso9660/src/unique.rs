//! Short names that differ from each other.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Gives out names of one directory so that no two are the same.
///
/// A name is a base and an extension. A taken base is cut and gets a number. The search goes on
/// where it ended for the same cut, so that thousands of names that collide stay cheap.
pub(crate) struct UniqueNames<T> {
    taken: HashSet<(Vec<T>, Vec<T>)>,
    /// The next number for a cut base, an extension and a count of digits.
    next: HashMap<(Vec<T>, Vec<T>, usize), u64>,
    separator: Option<T>,
}

impl<T: Copy + Eq + Hash + From<u8>> UniqueNames<T> {
    /// `separator` stands between the base and the number.
    pub(crate) fn new(separator: Option<T>) -> Self {
        Self {
            taken: HashSet::new(),
            next: HashMap::new(),
            separator,
        }
    }

    /// Takes a name as it is; false if it is taken.
    pub(crate) fn take(&mut self, base: &[T], extension: &[T]) -> bool {
        self.taken.insert((base.to_vec(), extension.to_vec()))
    }

    /// Takes a name with a number that makes it unique; the base has at most `limit` units with it.
    /// None if there is no room for a number.
    pub(crate) fn number(&mut self, base: &[T], extension: &[T], limit: usize) -> Option<Vec<T>> {
        let separator = usize::from(self.separator.is_some());
        for digits in 1..=limit.checked_sub(separator)?.min(18) {
            let cut = base.len().min(limit - separator - digits);
            let cut = base.get(..cut)?;
            let first = 10u64.pow(u32::try_from(digits).ok()? - 1);
            let key = (cut.to_vec(), extension.to_vec(), digits);
            let next = self.next.entry(key).or_insert(first);
            while *next < first * 10 {
                let mut name = cut.to_vec();
                name.extend(self.separator);
                name.extend(next.to_string().bytes().map(T::from));
                *next += 1;
                if self.taken.insert((name.clone(), extension.to_vec())) {
                    return Some(name);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_each_other_and_shorten_the_base() {
        let mut names = UniqueNames::new(Some(b'~'));
        assert!(names.take(b"TALOS-~3", b"EFI"));
        let made: Vec<Vec<u8>> = (0..12)
            .filter_map(|_| names.number(b"TALOS-V1", b"EFI", 8))
            .collect();
        assert_eq!(made[0], b"TALOS-~1");
        assert_eq!(made[2], b"TALOS-~4");
        assert_eq!(made[8], b"TALOS~10");
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), 12);
    }

    #[test]
    fn says_when_there_is_no_name_left() {
        let mut names = UniqueNames::new(None);
        let made = (0..9).all(|_| names.number(b"A", b"", 1).is_some());
        assert!(made);
        assert_eq!(names.number(b"B", b"", 1), None);
    }
}
