//! Identifiers of ISO 9660 and their order (ECMA-119 7.5, 9.3).

use std::cmp::Ordering;

use crate::unique::UniqueNames;

/// The interchange level (ECMA-119 10): how long identifiers are and how large files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[expect(clippy::exhaustive_enums, reason = "the standard has these three")]
pub enum Level {
    /// Names of 8 and 3 characters, files under 4 GiB.
    One,
    /// Names of 30 characters, files under 4 GiB.
    Two,
    /// Names of 30 characters, files of any size.
    #[default]
    Three,
}

/// An identifier in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier {
    base: Vec<u8>,
    extension: Vec<u8>,
    is_directory: bool,
}

impl Identifier {
    /// As it is recorded: a directory plain, a file with its separators and version 1.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        let mut out = self.base.clone();
        if !self.is_directory {
            out.push(b'.');
            out.extend(&self.extension);
            out.extend(b";1");
        }
        out
    }

    /// The order of records in a directory: part by part, the shorter part padded with spaces.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        padded(&self.base, &other.base).then_with(|| padded(&self.extension, &other.extension))
    }
}

fn padded(a: &[u8], b: &[u8]) -> Ordering {
    let len = a.len().max(b.len());
    let pad = |part: &[u8]| -> Vec<u8> {
        let mut out = part.to_vec();
        out.resize(len, b' ');
        out
    };
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => a.cmp(b),
        None => pad(a).cmp(&pad(b)),
    }
}

/// Makes the identifiers of one directory's children, which come sorted: name and whether it is a
/// directory. An error is the count of names that there are for more children than that.
pub(crate) fn assign(children: &[(&[u8], bool)], level: Level) -> Result<Vec<Identifier>, u64> {
    let made: Vec<(Identifier, bool)> = children
        .iter()
        .map(|&(name, is_directory)| identifier(name, is_directory, level))
        .collect();
    let mut unique = UniqueNames::new(Some(b'_'));
    // Names that need no change keep theirs, whatever sorts before them.
    for (id, _) in made.iter().filter(|(_, exact)| *exact) {
        unique.take(&id.base, &id.extension);
    }
    made.into_iter()
        .zip(0u64..)
        .map(|((mut id, exact), before)| {
            if !exact && !unique.take(&id.base, &id.extension) {
                let limit = match (level, id.is_directory) {
                    (Level::One, _) => 8,
                    (_, true) => 31,
                    (_, false) => 30 - id.extension.len(),
                };
                let made = unique.number(&id.base, &id.extension, limit);
                id.base = made.ok_or(before)?;
            }
            Ok(id)
        })
        .collect()
}

/// The identifier before it is made unique, and whether it is the name itself.
fn identifier(name: &[u8], is_directory: bool, level: Level) -> (Identifier, bool) {
    let (base, extension) = match name.iter().rposition(|&b| b == b'.') {
        Some(dot) if dot > 0 && !is_directory => {
            let (base, extension) = name.split_at(dot);
            (base, extension.get(1..).unwrap_or(&[]))
        }
        _ => (name, &[][..]),
    };
    let (mut base, mut extension) = (d_characters(base), d_characters(extension));
    match (level, is_directory) {
        (Level::One, _) => {
            base.truncate(8);
            extension.truncate(3);
        }
        (_, true) => base.truncate(31),
        (_, false) => {
            if base.len() + extension.len() > 30 {
                extension.truncate(8);
            }
            base.truncate(30 - extension.len());
        }
    }
    let id = Identifier {
        base,
        extension,
        is_directory,
    };
    let mut plain = id.base.clone();
    if !id.extension.is_empty() {
        plain.push(b'.');
        plain.extend(&id.extension);
    }
    let exact = plain == name;
    (id, exact)
}

/// Capitals, digits and underscores; each other character becomes an underscore.
fn d_characters(name: &[u8]) -> Vec<u8> {
    let good = |b: u8| match b.to_ascii_uppercase() {
        b @ (b'A'..=b'Z' | b'0'..=b'9') => b,
        _ => b'_',
    };
    match str::from_utf8(name) {
        Ok(text) => text
            .chars()
            .map(|c| u8::try_from(c).map_or(b'_', good))
            .collect(),
        Err(_) => name.iter().map(|&b| good(b)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(names: &[&str], level: Level) -> Vec<String> {
        let children: Vec<(&[u8], bool)> = names
            .iter()
            .map(|n| (n.trim_end_matches('/').as_bytes(), n.ends_with('/')))
            .collect();
        let assigned = assign(&children, level).unwrap();
        assigned
            .iter()
            .map(|id| String::from_utf8(id.recorded()).unwrap())
            .collect()
    }

    #[test]
    fn boot_file_is_exact_at_level_one() {
        assert_eq!(
            recorded(&["BOOTX64.EFI", "BOOT/"], Level::One),
            ["BOOTX64.EFI;1", "BOOT"]
        );
    }

    #[test]
    fn maps_cuts_and_numbers() {
        assert_eq!(
            recorded(
                &[
                    "FOO",
                    "Talos-v1.9.0.efi",
                    "a.b.c",
                    ".profile",
                    "foo/",
                    "foo.",
                    "héllo"
                ],
                Level::Three
            ),
            [
                "FOO.;1",
                "TALOS_V1_9_0.EFI;1",
                "A_B.C;1",
                "_PROFILE.;1",
                "FOO_1",
                "FOO_2.;1",
                "H_LLO.;1"
            ]
        );
    }

    #[test]
    fn numbered_names_step_around_real_ones() {
        assert_eq!(
            recorded(&["A", "A_1", "a"], Level::Three),
            ["A.;1", "A_1.;1", "A_2.;1"]
        );
    }

    #[test]
    fn a_long_prefix_stays_unique() {
        let names: Vec<String> = (0..120)
            .map(|i| format!("common-prefix-number-that-is-long-{i:03}.text"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for level in [Level::One, Level::Two] {
            let mut made = recorded(&names, level);
            let limit = if level == Level::One { 14 } else { 33 };
            assert!(made.iter().all(|name| name.len() <= limit));
            made.sort();
            made.dedup();
            assert_eq!(made.len(), 120);
        }
    }

    #[test]
    fn order_compares_part_by_part() {
        let id = |name: &str| identifier(name.as_bytes(), false, Level::Three).0;
        assert_eq!(id("S2").order(&id("S2046")), Ordering::Less);
        assert_eq!(id("A").order(&id("A_1")), Ordering::Less);
        assert_eq!(id("A.B").order(&id("A")), Ordering::Greater);
        assert_eq!(id("AB.A").order(&id("A.Z")), Ordering::Greater);
    }
}
