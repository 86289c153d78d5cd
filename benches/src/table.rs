//! The table: every case in turn, several times, and medians beside each other.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::Outcome;
use crate::cases::{Budget, Case, JOBS, Job, Role, Time};
use crate::inputs::Folder;
use crate::measure::Figures;

/// Measures everything and prints it; a smoke test when it is not `full`.
pub(crate) fn print(full: bool) -> Outcome<()> {
    let setting = |name: &str, otherwise: &str| env::var(name).unwrap_or_else(|_| otherwise.into());
    let divisor = setting("TRUSTEDBOOT_BENCH_DIVISOR", if full { "1" } else { "64" });
    let runs: usize =
        setting("TRUSTEDBOOT_BENCH_RUNS", if full { "5" } else { "1" }).parse::<usize>()?;
    let tree = debian13();
    let temp = make_folder(tree.as_deref())?;
    let program = Program {
        folder: temp.path(),
        divisor,
    };
    program.start(&["--prepare"])?;
    let folder = Folder::open(temp.path())?;

    let mut out = io::stdout();
    writeln!(
        out,
        "sizes divided by {}, medians of {runs} runs, load {} at the start",
        program.divisor,
        load()
    )?;
    for job in JOBS {
        print_job(&mut out, job, &program, &folder, runs.max(1), full)?;
    }
    writeln!(out, "\nload {} at the end", load())?;
    temp.close()?;
    Ok(())
}

fn print_job(
    out: &mut impl io::Write,
    job: &Job,
    program: &Program<'_>,
    folder: &Folder,
    runs: usize,
    full: bool,
) -> Outcome<()> {
    let mut rows: Vec<(&Case, Result<Vec<Figures>, String>)> = job
        .cases
        .iter()
        .map(|case| (case, case.obstacle(folder).map_or(Ok(Vec::new()), Err)))
        .collect();
    // In turn, so that other work on the machine meets all of them alike, and each time another one first: a virtual
    // machine gives unused memory back, and whoever comes first pays for getting it again.
    for _ in 0..runs {
        rows.rotate_left(1);
        for (case, figures) in &mut rows {
            if let Ok(figures) = figures {
                figures.push(Figures::parse(&program.start(&["--run", case.name])?)?);
            }
        }
    }
    let turned = runs % rows.len().max(1);
    rows.rotate_right(turned);
    let medians: Vec<(&Case, Result<Figures, String>)> = rows
        .into_iter()
        .map(|(case, figures)| {
            let median = figures.and_then(|all| Figures::median(&all).ok_or("no run".into()));
            (case, median)
        })
        .collect();
    let ours = medians
        .iter()
        .find(|(case, _)| case.role == Role::Ours)
        .and_then(|(_, median)| median.as_ref().ok().copied());

    writeln!(out, "\n{}", job.title)?;
    writeln!(
        out,
        "  {:<5}  {:<46} {:>8} {:>8} {:>9}  ours / it",
        "", "", "wall s", "cpu s", "peak MiB"
    )?;
    for (case, median) in &medians {
        let role = match case.role {
            Role::Ours => "ours",
            Role::Peer => "peer",
            Role::Floor => "floor",
        };
        write!(out, "  {role:<5}  {:<46} ", case.what)?;
        match (median, ours) {
            (Err(reason), _) if env::var_os("CI").is_some() => {
                return Err(format!("{}: {reason}", case.what).into());
            }
            (Err(reason), _) => writeln!(out, "SKIPPED: {reason}")?,
            (Ok(it), ours) => {
                let ratio = match ours {
                    Some(ours) if case.role != Role::Ours => format!("{:.2}", ours.wall / it.wall),
                    _ => String::new(),
                };
                let peak = it.peak_kib / 1024;
                writeln!(
                    out,
                    "{:>8.3} {:>8.3} {peak:>9}  {ratio:>9}",
                    it.wall, it.cpu
                )?;
                assert!(it.wall > 0.0, "{} took no time at all", case.name);
            }
        }
    }
    let floor = medians
        .iter()
        .find(|(case, _)| case.role == Role::Floor)
        .and_then(|(_, median)| median.as_ref().ok());
    if let (true, Some(Budget { time, memory }), Some(ours), Some(floor)) =
        (full, job.budget, ours, floor)
    {
        let kept = |kept| if kept { "kept" } else { "MISSED" };
        let (limit, seconds) = match time {
            Time::Floors(times) => (format!("{times} × floor"), times * floor.wall),
            Time::Seconds(seconds) => (format!("{seconds} s"), seconds),
        };
        writeln!(
            out,
            "  budget: time at most {limit}: {}; memory at most {memory} MiB: {}",
            kept(ours.wall <= seconds),
            kept(ours.peak_kib <= memory * 1024),
        )?;
    }
    out.flush()?;
    Ok(())
}

/// This program, to be started again for one case.
struct Program<'a> {
    folder: &'a Path,
    divisor: String,
}

impl Program<'_> {
    fn start(&self, args: &[&str]) -> Outcome<String> {
        let output = Command::new(env::current_exe()?)
            .args(args)
            .arg(self.folder)
            .env("TRUSTEDBOOT_BENCH_DIVISOR", &self.divisor)
            .output()?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {messages}", args.join(" ")).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Where `.ci/setup` puts what Debian 12 does not have.
pub(crate) fn cache() -> Option<PathBuf> {
    if let Some(cache) = env::var_os("TRUSTEDBOOT_CACHE") {
        return Some(cache.into());
    }
    let all = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))?;
    Some(all.join("trustedboot"))
}

/// The tree that `.ci/debian13` has made, when it is there.
fn debian13() -> Option<PathBuf> {
    let tree = fs::canonicalize(cache()?.join("debian13")).ok()?;
    tree.join("usr/lib/systemd/boot/efi/linuxx64.efi.stub")
        .exists()
        .then_some(tree)
}

/// A folder for everything; inside the tree when ukify is to see it, so that both sides use the same file system.
fn make_folder(tree: Option<&Path>) -> Outcome<TempDir> {
    let builder = |within: &Path| tempfile::Builder::new().prefix("bench-").tempdir_in(within);
    let Some(tree) = tree else {
        return Ok(builder(&env::temp_dir())?);
    };
    let kernel = fs::read_dir(tree.join("kernel/boot"))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        })
        .ok_or("no kernel in the Debian 13 tree")?;
    let stub = tree.join("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let Ok(temp) = builder(&tree.join("tmp")) else {
        // Not root: everything but ukify works elsewhere, too.
        let temp = builder(&env::temp_dir())?;
        fs::copy(stub, temp.path().join("stub"))?;
        fs::copy(kernel, temp.path().join("vmlinuz"))?;
        fs::write(temp.path().join("tree"), tree.display().to_string())?;
        return Ok(temp);
    };
    fs::copy(stub, temp.path().join("stub"))?;
    fs::copy(kernel, temp.path().join("vmlinuz"))?;
    fs::write(temp.path().join("tree"), tree.display().to_string())?;
    Ok(temp)
}

fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').take(1).collect()
}
