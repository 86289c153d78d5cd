//! The kernel command line of an image.

use std::path::Path;

use crate::Error;
use crate::assets::read;

/// A text is trimmed and its blanks collapsed, as ukify does; the bytes of a file are left as they are.
pub(crate) fn command_line(given: Option<&str>, extra: &[String]) -> Result<Vec<u8>, Error> {
    let mut line = match given {
        Some(text) => match text.strip_prefix('@') {
            Some(file) if extra.is_empty() => return read(Path::new(file)),
            Some(file) => String::from_utf8(read(Path::new(file))?)
                .map_err(|error| Error::input("command line", Path::new(file), error))?,
            None => text.to_owned(),
        },
        None => String::new(),
    };
    for argument in extra {
        line.push(' ');
        line.push_str(argument);
    }
    if let Some(bad) = line.chars().find(|c| c.is_control() && !c.is_whitespace()) {
        return Err(Error::usage(
            "--cmdline",
            format!("has the control character {:#04x}", u32::from(bad)),
        ));
    }
    Ok(line
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collapses_blanks_of_a_text_and_appends_the_profiles_arguments() {
        let extra = ["a=b".to_owned()];
        assert_eq!(
            command_line(Some("  quiet   splash "), &extra).unwrap(),
            b"quiet splash a=b"
        );
        assert_eq!(command_line(None, &[]).unwrap(), b"");
        assert_eq!(
            command_line(Some("a\u{1}"), &[]).unwrap_err().to_string(),
            "--cmdline: has the control character 0x01"
        );
    }
}
