//! SBAT: the revocation metadata that shim reads.

use alloc::string::String;
use alloc::vec::Vec;

/// The first line of every SBAT text.
const HEADER: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";

/// The entry for a UKI that is added when its builder names none, as ukify does.
pub const UKI_SBAT: &str =
    "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/
";

/// The entry for an addon that is added when its builder names none, as ukify does.
pub const ADDON_SBAT: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
uki-addon,1,UKI Addon,addon,1,https://www.freedesktop.org/software/systemd/man/latest/systemd-stub.html
";

/// One line of an SBAT text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SbatEntry<'a> {
    /// The component, such as `systemd-stub`.
    pub component: &'a str,
    /// Its generation: revocation is by this number.
    pub generation: u32,
    /// The other columns as they are: vendor, package, version, URL.
    pub rest: &'a str,
}

/// The entries of an SBAT text; lines that are none are left out.
///
/// # Examples
///
/// ```
/// let entries: Vec<_> = uki::sbat_entries(uki::UKI_SBAT.as_bytes()).collect();
/// assert_eq!((entries[1].component, entries[1].generation), ("uki", 1));
/// ```
pub fn sbat_entries(text: &[u8]) -> impl Iterator<Item = SbatEntry<'_>> {
    let end = text
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(text.len());
    let text = core::str::from_utf8(text.get(..end).unwrap_or_default()).unwrap_or_default();
    lines(text).filter_map(|line| {
        let mut columns = line.splitn(3, ',');
        let component = columns.next()?;
        let generation = columns.next()?.parse().ok()?;
        Some(SbatEntry {
            component,
            generation,
            rest: columns.next().unwrap_or_default(),
        })
    })
}

/// Merges SBAT texts as ukify does, byte for byte: one header, then the lines of each text but its first,
/// a line end and a NUL that belongs to the section. A text that does not start with `sbat,` is left out.
///
/// # Examples
///
/// ```
/// let merged = uki::merge_sbat([uki::UKI_SBAT.as_bytes(), b"not sbat"]);
/// assert_eq!(merged, format!("{}\0", uki::UKI_SBAT).into_bytes());
/// ```
pub fn merge_sbat<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut added = Vec::new();
    for text in texts {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_end_matches('\0');
        if text.starts_with("sbat,") {
            added.extend(lines(text).skip(1).map(String::from));
        }
    }
    let mut merged = String::from(HEADER);
    merged.push('\n');
    merged.push_str(&added.join("\n"));
    merged.push_str("\n\0");
    merged.into_bytes()
}

/// Lines as Python's `splitlines` cuts them, which is what ukify uses.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    const ENDS: [char; 10] = [
        '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let mut rest = text;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((line, after)) = rest.split_once(ENDS) else {
            return Some(core::mem::take(&mut rest));
        };
        let is_crlf = after.starts_with('\n') && rest.as_bytes().get(line.len()) == Some(&b'\r');
        rest = if is_crlf {
            after.strip_prefix('\n').unwrap_or(after)
        } else {
            after
        };
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_lines_as_python_does() {
        let cut: Vec<_> = lines("a\r\nb\rc\n\nd\x0be\n").collect();
        assert_eq!(cut, ["a", "b", "c", "", "d", "e"]);
    }

    #[test]
    fn a_merge_of_nothing_is_the_header_an_empty_line_and_a_nul() {
        assert_eq!(merge_sbat([]), [HEADER.as_bytes(), b"\n\n\0"].concat());
    }

    #[test]
    fn lines_without_a_generation_are_no_entries() {
        let entries: Vec<_> =
            sbat_entries(b"sbat,1,x\nfoo\nbar,x,y\nbaz,7\n\0\0junk,1\n").collect();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[1].component, entries[1].generation, entries[1].rest),
            ("baz", 7, "")
        );
    }
}
