//! `os-release` and `.profile` texts: lines of `KEY=value` with shell quoting.

use alloc::string::String;
use alloc::vec::Vec;

/// The assignments of an os-release or profile text, unquoted, in order.
///
/// Quotes and backslashes are resolved as os-release(5) says; lines that are no assignment are left out.
///
/// # Examples
///
/// ```
/// let os = uki::EnvText::parse(b"ID=talos\nPRETTY_NAME=\"Talos (v1.9)\"\n");
/// assert_eq!(os.get("PRETTY_NAME"), Some("Talos (v1.9)"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvText(Vec<(String, String)>);

impl EnvText {
    /// Never fails: what cannot be read is not there.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let assignments = text.trim_end_matches('\0').lines().filter_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            let is_key = !key.is_empty()
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_key.then(|| (String::from(key), unquote(value)))
        });
        Self(assignments.collect())
    }

    /// The value of a key; the last assignment counts, as in a shell.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }

    /// All assignments.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn unquote(value: &str) -> String {
    let mut result = String::new();
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(next) = chars.next() {
        match (next, quote) {
            ('\\', None | Some('"')) => result.extend(chars.next()),
            ('\'' | '"', None) => quote = Some(next),
            (_, Some(open)) if next == open => quote = None,
            _ => result.push(next),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_quotes_and_takes_the_last_assignment() {
        let text = EnvText::parse(b"# comment\nID=a\nID='b c'\nX=\"q\\\"\\$\"\nbad line\n=1\n\0\0");
        assert_eq!(text.get("ID"), Some("b c"));
        assert_eq!(text.get("X"), Some("q\"$"));
        assert_eq!(text.iter().count(), 3);
    }
}
