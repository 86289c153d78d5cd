//! What the small programs share: one JSON document on stdout, and what the exit code says.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::Value;

/// Runs a small program: calls `f` with the arguments after the program's name and prints its
/// document.
///
/// The exit code is 0 when `f` answers `true` (yes), 1 when it answers `false` (refused), and 2
/// with a message on stderr when it fails (unreadable input or wrong use). `--help` as the first
/// argument prints `usage` and exits 0.
pub fn run(
    usage: &str,
    f: impl FnOnce(&[String]) -> Result<(Value, bool), Box<dyn Error>>,
) -> ExitCode {
    match answer(usage, std::env::args_os(), f) {
        Ok((text, yes)) => {
            let mut out = std::io::stdout().lock();
            match writeln!(out, "{text}").and_then(|()| out.flush()) {
                Ok(()) if yes => ExitCode::SUCCESS,
                Ok(()) => ExitCode::from(1),
                Err(error) => fail(&error),
            }
        }
        Err(error) => fail(error.as_ref()),
    }
}

/// Seconds after 1970 that `SOURCE_DATE_EPOCH` asks for; 1980-01-01, where FAT begins, without it.
///
/// # Errors
/// When the variable holds something else than digits.
pub fn epoch() -> Result<i64, String> {
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(315_532_800);
    };
    seconds(text.to_str())
        .ok_or_else(|| format!("SOURCE_DATE_EPOCH is {text:?}, not a count of seconds"))
}

fn seconds(text: Option<&str>) -> Option<i64> {
    let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

/// The text to print and the verdict, apart from the process around it.
fn answer(
    usage: &str,
    args: impl Iterator<Item = std::ffi::OsString>,
    f: impl FnOnce(&[String]) -> Result<(Value, bool), Box<dyn Error>>,
) -> Result<(String, bool), Box<dyn Error>> {
    let args = args
        .skip(1)
        .map(|arg| {
            arg.into_string()
                .map_err(|arg| format!("argument {} is not UTF-8", arg.display()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if matches!(args.first().map(String::as_str), Some("--help" | "-h")) {
        return Ok((format!("usage: {usage}"), true));
    }
    let (document, yes) = f(&args)?;
    Ok((serde_json::to_string_pretty(&document)?, yes))
}

/// Prints the error with its causes; the exit code of unreadable input.
fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("error: {text}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(args: &[&str], yes: bool) -> (String, bool) {
        let args = args.iter().map(Into::into);
        let echo = |args: &[String]| Ok((serde_json::json!(args), yes));
        answer("echo TEXT…", args, echo).unwrap()
    }

    #[test]
    fn hands_over_the_arguments_after_the_name() {
        let (text, yes) = with(&["echo", "a"], false);
        assert_eq!(text, "[\n  \"a\"\n]");
        assert!(!yes);
    }

    #[test]
    fn help_prints_the_usage_and_succeeds() {
        assert_eq!(
            with(&["echo", "--help"], false),
            ("usage: echo TEXT…".to_owned(), true)
        );
    }

    #[test]
    fn a_count_of_seconds_has_digits_only() {
        assert_eq!(seconds(Some("1700000000")), Some(1_700_000_000));
        for wrong in [
            "",
            "+5",
            "-5",
            "1.5",
            " 5",
            "5 ",
            "0x5",
            "9223372036854775808",
        ] {
            assert_eq!(seconds(Some(wrong)), None, "{wrong:?}");
        }
        assert_eq!(seconds(None), None);
    }

    #[test]
    fn a_failing_program_is_an_error() {
        let args = ["name"].iter().map(Into::into);
        assert!(answer("", args, |_| Err("wrong use".into())).is_err());
    }
}
