//! Names in a FAT directory: the long one and the short one that every entry has.

use std::collections::HashMap;

use crate::error::{Error, NameProblem, text};
use crate::unique::UniqueNames;

/// The names of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// Eight and three bytes, padded with spaces.
    pub(super) short: [u8; 11],
    /// The long name in UTF-16; none when the short name says it all.
    pub(super) long: Option<Vec<u16>>,
}

impl Names {
    /// The number of directory entries that these names take.
    pub(super) fn entries(&self) -> u64 {
        let long = self.long.as_ref().map_or(0, |name| name.len().div_ceil(13));
        long as u64 + 1
    }
}

/// What a name becomes when it is made short.
struct Short {
    base: Vec<u8>,
    extension: Vec<u8>,
    /// Nothing but the case of letters was lost.
    exact: bool,
}

/// Finds the names for the children of the directory `path`, which come sorted.
pub(super) fn assign(path: &[u8], children: &[&[u8]]) -> Result<Vec<Names>, Error> {
    let problem = |name: &[u8], reason| Error::Name {
        path: text(&crate::tree::join(path, name)),
        format: "FAT",
        reason,
    };
    let mut long = Vec::with_capacity(children.len());
    for name in children {
        long.push(check(name).map_err(|reason| problem(name, reason))?);
    }
    refuse_collisions(path, &long)?;

    let mut unique = UniqueNames::new(Some(b'~'));
    let shorts: Vec<Short> = long.iter().map(|name| shorten(name)).collect();
    for short in shorts.iter().filter(|short| short.exact) {
        unique.take(&short.base, &short.extension);
    }
    let mut names = Vec::with_capacity(children.len());
    for (name, mut short) in long.iter().zip(shorts) {
        if !short.exact {
            short.base = unique
                .number(&short.base, &short.extension, 8)
                .ok_or_else(|| problem(name.as_bytes(), NameProblem::TooLong { limit: 8 }))?;
        }
        let mut padded = [b' '; 11];
        let (base, extension) = padded.split_at_mut(8);
        for (to, from) in base.iter_mut().zip(&short.base) {
            *to = *from;
        }
        for (to, from) in extension.iter_mut().zip(&short.extension) {
            *to = *from;
        }
        let mut plain = short.base.clone();
        if !short.extension.is_empty() {
            plain.push(b'.');
            plain.extend(&short.extension);
        }
        names.push(Names {
            short: padded,
            long: (plain != name.as_bytes()).then(|| name.encode_utf16().collect()),
        });
    }
    Ok(names)
}

/// A name that VFAT can hold.
fn check(name: &[u8]) -> Result<&str, NameProblem> {
    let name = str::from_utf8(name).map_err(|_| NameProblem::NotUnicode)?;
    let forbidden = |c: char| c < ' ' || "\"*/:<>?\\|\u{7F}".contains(c);
    if let Some(found) = name.chars().find(|&c| forbidden(c)) {
        return Err(NameProblem::Character { found });
    }
    if name.ends_with(['.', ' ']) {
        return Err(NameProblem::TrailingDotOrSpace);
    }
    if name.encode_utf16().count() > 255 {
        return Err(NameProblem::TooLong { limit: 255 });
    }
    Ok(name)
}

/// A name as FAT compares it.
pub(crate) fn fold(name: &str) -> String {
    name.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        })
        .collect()
}

fn refuse_collisions(path: &[u8], names: &[&str]) -> Result<(), Error> {
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(names.len());
    for name in names {
        if let Some(first) = seen.insert(fold(name), name) {
            let full = |name: &str| text(&crate::tree::join(path, name.as_bytes()));
            return Err(Error::NameCollision {
                first: full(first),
                second: full(name),
                format: "FAT",
            });
        }
    }
    Ok(())
}

fn shorten(name: &str) -> Short {
    let mut exact = true;
    let trimmed = name.trim_start_matches(['.', ' ']);
    exact &= trimmed.len() == name.len();
    let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
    let mut part = |text: &str, limit: usize| {
        let mut out = Vec::new();
        for c in text.chars() {
            match c {
                ' ' | '.' => exact = false,
                'a'..='z' | 'A'..='Z' | '0'..='9' => {
                    out.extend(u8::try_from(c.to_ascii_uppercase()));
                }
                c if "$%'-_@~`!(){}^#&".contains(c) => out.extend(u8::try_from(c)),
                _ => {
                    exact = false;
                    out.push(b'_');
                }
            }
        }
        exact &= out.len() <= limit;
        out.truncate(limit);
        out
    };
    let (base, extension) = (part(base, 8), part(extension, 3));
    Short {
        exact: exact && !base.is_empty(),
        base,
        extension,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let names: Vec<&[u8]> = names.iter().map(|n| n.as_bytes()).collect();
        let assigned = assign(b"", &names).unwrap();
        assigned
            .iter()
            .map(|n| String::from_utf8_lossy(&n.short).into_owned())
            .collect()
    }

    #[test]
    fn keeps_what_fits_and_numbers_the_rest() {
        assert_eq!(
            shorts(&[
                "BOOTX64.EFI",
                "PK.auth",
                "a+b.txt",
                "loader.conf",
                "talos-v1.9.0.efi",
                "x.efi"
            ]),
            [
                "BOOTX64 EFI",
                "PK~1    AUT",
                "A_B~1   TXT",
                "LOADER~1CON",
                "TALOS-~1EFI",
                "X       EFI"
            ]
        );
    }

    #[test]
    fn steps_around_a_real_name_that_looks_numbered() {
        assert_eq!(
            shorts(&["TALOS-~1.EFI", "talos-v1.9.0.efi"]),
            ["TALOS-~1EFI", "TALOS-~2EFI"]
        );
    }

    #[test]
    fn a_name_in_capitals_needs_no_long_name() {
        let names = assign(b"", &[b"BOOTX64.EFI", b"bootx32.efi"]).unwrap();
        assert_eq!(names[0].long, None);
        assert_eq!(names[0].entries(), 1);
        assert!(names[1].long.is_some());
        assert_eq!(names[1].entries(), 2);
    }

    #[test]
    fn refuses_names_that_differ_in_case_only() {
        let error = assign(b"keys", &[b"PK.auth", b"pk.AUTH"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"keys/PK.auth\" and \"keys/pk.AUTH\" are one name in FAT, which ignores case"
        );
    }

    #[test]
    fn sharp_s_is_not_a_double_s() {
        assert!(assign(b"", &["straße".as_bytes(), "strasse".as_bytes()]).is_ok());
    }

    #[test]
    fn refuses_what_vfat_cannot_hold() {
        for (name, reason) in [
            (&b"a:b"[..], NameProblem::Character { found: ':' }),
            (b"a\x01", NameProblem::Character { found: '\u{1}' }),
            (b"\xFF", NameProblem::NotUnicode),
            (b"end.", NameProblem::TrailingDotOrSpace),
            (b"end ", NameProblem::TrailingDotOrSpace),
        ] {
            assert_eq!(check(name), Err(reason));
        }
    }
}
