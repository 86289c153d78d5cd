//! Command lines as boot loader and stub clean and measure them.

use alloc::string::String;

/// The text of a section or option: up to the first NUL, without bytes that are no UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
    bytes.utf8_chunks().map(|chunk| chunk.valid()).collect()
}

/// What boot loader and stub of this generation make of a command line before they use it:
/// control characters become blanks, blanks at the end go, and from 255 on those at the start.
pub(super) fn cleaned(generation: u16, text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c <= '\u{1f}' { ' ' } else { c })
        .collect();
    if generation >= 255 {
        text.trim_matches(' ').into()
    } else {
        text.trim_end_matches(' ').into()
    }
}

/// Appends with a blank between; an empty part adds nothing.
pub(super) fn append(line: &mut String, part: &str) {
    if !line.is_empty() && !part.is_empty() {
        line.push(' ');
    }
    line.push_str(part);
}

/// Load options that look like the binary data some firmware passes are not used.
pub(super) fn is_printable(generation: u16, text: &str) -> bool {
    let is_control = |c: char| c <= '\u{1f}';
    if generation >= 257 {
        !text.contains(is_control)
    } else {
        !text.starts_with(is_control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_at_the_start_stay_before_255() {
        assert_eq!(cleaned(254, " \tquiet\n "), "  quiet");
        assert_eq!(cleaned(255, " \tquiet\tx\n "), "quiet x");
    }

    #[test]
    fn texts_end_at_the_first_nul() {
        assert_eq!(text(b"a\xffb\0c"), "ab");
    }

    #[test]
    fn binary_options_are_not_used() {
        assert!(is_printable(252, "a\u{1}"));
        assert!(!is_printable(257, "a\u{1}"));
        assert!(!is_printable(252, "\u{1}a"));
    }
}
