//! Our figures beside their peers and floors, taken in one run.
//!
//! The program starts itself once for each run of each case, so that wall time, processor time and peak memory belong
//! to one case alone. README.md tells how to read its table.

mod cases;
mod inputs;
mod measure;
mod table;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use inputs::Folder;
use measure::Figures;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Runs the table, or one case of it when the program has started itself.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--prepare", folder] => Folder::open(folder.as_ref()).and_then(|folder| folder.prepare()),
        ["--run", case, folder] => run_one(case, folder),
        _ => table::print(args.iter().any(|arg| arg == "--bench")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_one(name: &str, folder: &str) -> Outcome<()> {
    let folder = Folder::open(folder.as_ref())?;
    let case = cases::find(name).ok_or_else(|| format!("no case '{name}'"))?;
    folder.reset()?;
    let figures: Figures = case.measure(&folder)?;
    folder.reset()?;
    figures.print()
}
