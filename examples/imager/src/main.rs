//! The program; everything that it does is in the library, so that tests and `bootlab` use it as well.

use std::process::ExitCode;

use clap::Parser;
use imager::cli::{Cli, Command, Gen};
use imager::progress::Progress;
use imager::{
    Error, build_installer, build_medium, database, edit, explain, generate, inspect, output,
    predict, sign, verify,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let progress = if cli.quiet {
        Progress::hidden()
    } else {
        Progress::shown()
    };
    let done = output::remove_unfinished_on_interrupt().and_then(|()| run(cli.command, &progress));
    match done {
        Ok(report) => report.print(cli.json),
        Err(error) => {
            eprint!("imager: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprint!(": {inner}");
                cause = inner.source();
            }
            eprintln!();
            ExitCode::from(error.exit_code())
        }
    }
}

/// What a command has to say: a document for scripts, a text for people, and whether the answer is yes.
struct Report {
    document: Value,
    text: String,
    yes: bool,
}

impl Report {
    fn print(self, as_json: bool) -> ExitCode {
        use std::io::Write;
        let text = if as_json {
            format!("{:#}\n", self.document)
        } else {
            self.text
        };
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // A reader that has seen enough is no failure; a full disk is.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                eprintln!("imager: cannot write to standard output: {error}");
                ExitCode::from(2)
            }
            _ => ExitCode::from(if self.yes { 0 } else { 1 }),
        }
    }
}

fn run(command: Command, progress: &Progress) -> Result<Report, Error> {
    match command {
        Command::Gen { what } => generate(what, progress),
        Command::SecurebootIso(options) => build_medium::iso(options, progress).map(made),
        Command::SecurebootMetalUki(options) => build_medium::uki(options, progress).map(made),
        Command::SecurebootMetal(options) => build_medium::disk(options, progress).map(made),
        Command::SecurebootInstaller(options) => {
            build_installer::installer(options, progress).map(made)
        }
        Command::Predict(options) => {
            let prediction = predict::predict(&options, progress)?;
            Ok(Report {
                text: predict::text(&prediction),
                document: json!(prediction),
                yes: true,
            })
        }
        Command::Sign(options) => {
            let document = sign::sign(&options)?;
            Ok(Report {
                text: String::new(),
                document,
                yes: true,
            })
        }
        Command::Verify(options) => {
            let judgement = verify::verify(&options)?;
            Ok(Report {
                text: judgement.text,
                document: judgement.document,
                yes: judgement.allowed,
            })
        }
        Command::Inspect(options) => {
            let document = inspect::inspect(&options)?;
            Ok(Report {
                text: format!("{document:#}\n"),
                document,
                yes: true,
            })
        }
        Command::Explain(options) => {
            let explanation = explain::explain(&options)?;
            let text = explanation
                .lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect();
            Ok(Report {
                text,
                document: explanation.document(),
                yes: explanation.as_predicted,
            })
        }
        Command::Edit(options) => {
            let document = edit::edit(&options, progress)?;
            Ok(Report {
                text: String::new(),
                document,
                yes: true,
            })
        }
    }
}

fn generate(what: Gen, progress: &Progress) -> Result<Report, Error> {
    let files = match what {
        Gen::Uki {
            common_name,
            bits,
            out,
        } => {
            let bits = bits.parse().map_err(|_| Error::Usage {
                what: "--bits".into(),
                problem: "a number".into(),
            })?;
            let files = generate::uki_key(&out.output, &common_name, bits, out.force)?;
            vec![files.key, files.certificate_pem, files.certificate_der]
        }
        Gen::Pcr { out } => {
            let files = generate::pcr_key(&out.output, out.force)?;
            vec![files.key, files.public]
        }
        Gen::Database(options) => database::generate(&options)?,
    };
    for file in &files {
        progress.message(format_args!("written: {}", file.display()));
    }
    Ok(Report {
        document: json!({ "files": files }),
        text: String::new(),
        yes: true,
    })
}

fn made(made: build_medium::Made) -> Report {
    Report {
        document: json!(made),
        text: String::new(),
        yes: true,
    }
}
