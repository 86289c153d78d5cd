//! `bootlab demo` and `bootlab matrix`: the story, told.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bootlab::{Comparison, Error, Generation, Result, Step, Story, StoryOptions, table};
use clap::Args;
use serde_json::{Value, json};

/// Runs the main job: enrol keys, install, unlock, upgrade.
///
/// Generates keys, builds and signs images from Debian's kernel, boots them in QEMU with OVMF and a
/// software TPM, and prints predicted beside measured registers. Everything is written to
/// OUTPUT/demo, which is made anew each time, and OUTPUT/report.json. Exit code 0: every boot did
/// its job and every prediction was right; 1: not so; 2: it could not be tried.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bootlab demo --output _out --json | jq .boots")]
pub(crate) struct Demo {
    /// Folder for keys, images, the machine and report.json
    #[arg(long, short, default_value = "_out")]
    output: PathBuf,
    /// debian12 (systemd 252, OVMF 2022.11) or debian13 (systemd 257, OVMF 2025.02)
    #[arg(long, default_value = "debian12")]
    generation: Generation,
    /// Length of the Secure Boot key
    #[arg(long, default_value_t = 4096)]
    key_bits: u32,
    /// Prints report.json instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs every boot there is and prints predicted beside measured registers.
///
/// Two generations run side by side. Exit codes are those of `bootlab demo`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bootlab matrix --output _out/matrix --generation debian13")]
pub(crate) struct Matrix {
    /// Folder for keys, images, machines and report.json
    #[arg(long, short, default_value = "_out/matrix")]
    output: PathBuf,
    /// Generations to try; all whose files are on this machine by default
    #[arg(long)]
    generation: Vec<Generation>,
    /// Prints report.json instead of a table
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<bool> {
        let folder = fresh_folder(&self.output.join("demo"))?;
        eprintln!("keys and images ({}) …", self.generation);
        let options = StoryOptions::new(self.generation).key_bits(self.key_bits);
        let story = Story::begin(&options, &folder, say)?;
        let mut steps = vec![story.enrol().clone(), story.install().clone()];
        for boot in [Story::unlock, Story::upgrade] {
            let step = boot(&story)?;
            say(&step);
            steps.push(step);
        }
        let report = json!({
            "secure_boot": has_secure_boot(&steps),
            "pcrs": rows(&steps),
            "boots": steps.iter().map(Step::summary).collect::<Vec<_>>(),
        });
        publish(
            &self.output,
            &report,
            self.json,
            &[(self.generation, &steps)],
        )?;
        Ok(has_secure_boot(&steps) && steps.iter().all(|step| step.problem().is_none()))
    }
}

impl Matrix {
    pub(crate) fn run(&self) -> Result<bool> {
        let generations = if self.generation.is_empty() {
            Generation::available()
        } else {
            self.generation.clone()
        };
        let told: Vec<(Generation, Vec<Step>)> = std::thread::scope(|scope| {
            let tell = |generation: Generation| {
                let folder = fresh_folder(&self.output.join(generation.name()))?;
                let say = |step: &Step| say_in(generation, step);
                let story = Story::begin(&StoryOptions::new(generation), &folder, say)?;
                Ok((generation, story.every_boot(say)?))
            };
            let running: Vec<_> = generations
                .iter()
                .map(|&generation| scope.spawn(move || tell(generation)))
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<Result<_>>()
        })?;
        let report = json!({
            "generations": told.iter().map(|(generation, steps)| json!({
                "generation": generation.name(),
                "secure_boot": has_secure_boot(steps),
                "pcrs": rows(steps),
                "boots": steps.iter().map(Step::summary).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        });
        let all: Vec<(Generation, &[Step])> = told
            .iter()
            .map(|(name, steps)| (*name, steps.as_slice()))
            .collect();
        publish(&self.output, &report, self.json, &all)?;
        Ok(!told.is_empty()
            && told
                .iter()
                .all(|(_, steps)| steps.iter().all(|step| step.problem().is_none())))
    }
}

fn say(step: &Step) {
    let summary = step.summary();
    let right = step.comparisons().iter().filter(|row| row.agrees()).count();
    let retries = if summary.retries == 0 {
        String::new()
    } else {
        format!(", {} crashed attempts", summary.retries)
    };
    let all = step.comparisons().len();
    eprintln!(
        "{:16} {} ({:.1} s{retries}), {right} of {all} registers as predicted",
        step.name(),
        summary.result,
        summary.seconds
    );
}

fn say_in(generation: Generation, step: &Step) {
    eprint!("{generation} ");
    say(step);
}

/// Whether the guest saw Secure Boot on when it was installed.
fn has_secure_boot(steps: &[Step]) -> bool {
    const NAME: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let install = steps.iter().find(|step| step.name() == "install");
    install.is_some_and(|step| {
        step.report()
            .variables()
            .get(NAME)
            .and_then(|value| value.last())
            == Some(&1)
    })
}

fn rows(steps: &[Step]) -> Vec<Value> {
    let row = |step: &Step, row: &Comparison| {
        let mut value = json!(row);
        value["boot"] = json!(step.name());
        value
    };
    steps
        .iter()
        .flat_map(|step| {
            step.comparisons()
                .iter()
                .map(move |comparison| row(step, comparison))
        })
        .collect()
}

/// Writes report.json and prints it or a table.
fn publish(
    folder: &Path,
    report: &Value,
    as_json: bool,
    told: &[(Generation, &[Step])],
) -> Result<()> {
    let path = folder.join("report.json");
    let file = |path: PathBuf| move |source| Error::File { path, source };
    let mut text = format!("{report:#}\n");
    std::fs::write(&path, &text).map_err(file(path))?;
    if !as_json {
        text.clear();
        for (generation, steps) in told {
            for step in *steps {
                let summary = step.summary();
                text.push_str(&format!(
                    "\n{generation}, boot \"{}\": {}\n",
                    step.name(),
                    summary.result
                ));
                text.push_str(&table(step.comparisons()));
            }
        }
    }
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(file("standard output".into()))
}

/// The folder, empty. Only a folder that an earlier run made is emptied.
fn fresh_folder(folder: &Path) -> Result<PathBuf> {
    let file = |source| Error::File {
        path: folder.to_path_buf(),
        source,
    };
    let mark = folder.join(".made-by-bootlab");
    if mark.exists() {
        std::fs::remove_dir_all(folder).map_err(file)?;
    } else if folder.exists() {
        return Err(Error::Machine {
            path: folder.to_path_buf(),
            problem: "exists, and bootlab did not make it",
        });
    }
    std::fs::create_dir_all(folder).map_err(file)?;
    std::fs::write(&mark, "").map_err(file)?;
    folder.canonicalize().map_err(file)
}
