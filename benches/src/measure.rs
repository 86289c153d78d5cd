//! Wall time, processor time and peak memory of one run, and medians over several.

use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::Outcome;

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) peak_kib: u64,
}

impl Figures {
    /// Measures work of this process.
    pub(crate) fn of_work(work: impl FnOnce() -> Outcome<()>) -> Outcome<Self> {
        let before = cpu_seconds(UsageWho::RUSAGE_SELF)?;
        let start = Instant::now();
        work()?;
        let wall = start.elapsed();
        let cpu = cpu_seconds(UsageWho::RUSAGE_SELF)? - before;
        // Unlike ru_maxrss, this one starts anew with the program.
        let status = fs::read_to_string("/proc/self/status")?;
        let peak_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .ok_or("no VmHWM in /proc/self/status")?
            .trim()
            .parse()?;
        Ok(Self::new(wall, cpu, peak_kib))
    }

    /// Measures a command and everything that it starts; its peak memory is that of the largest of these processes.
    pub(crate) fn of_command(command: &mut Command) -> Outcome<Self> {
        let before = cpu_seconds(UsageWho::RUSAGE_CHILDREN)?;
        let start = Instant::now();
        let output = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        let wall = start.elapsed();
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command:?}: {}: {messages}", output.status).into());
        }
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let cpu = cpu_seconds(UsageWho::RUSAGE_CHILDREN)? - before;
        Ok(Self::new(wall, cpu, usage.max_rss().try_into()?))
    }

    fn new(wall: Duration, cpu: f64, peak_kib: u64) -> Self {
        Self {
            wall: wall.as_secs_f64(),
            cpu,
            peak_kib,
        }
    }

    /// Hands the figures to the process that started this one.
    pub(crate) fn print(self) -> Outcome<()> {
        let Self {
            wall,
            cpu,
            peak_kib,
        } = self;
        writeln!(io::stdout(), "{wall} {cpu} {peak_kib}")?;
        Ok(())
    }

    /// Reads what [`print`](Self::print) wrote.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let [wall, cpu, peak_kib] = text.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("no figures: '{text}'").into());
        };
        Ok(Self {
            wall: wall.parse()?,
            cpu: cpu.parse()?,
            peak_kib: peak_kib.parse()?,
        })
    }

    /// Each figure's own median.
    pub(crate) fn median(runs: &[Self]) -> Option<Self> {
        let middle = |figure: fn(&Self) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied()
        };
        let mut peaks: Vec<u64> = runs.iter().map(|run| run.peak_kib).collect();
        peaks.sort_unstable();
        Some(Self {
            wall: middle(|run| run.wall)?,
            cpu: middle(|run| run.cpu)?,
            peak_kib: *peaks.get(peaks.len() / 2)?,
        })
    }
}

fn cpu_seconds(who: UsageWho) -> Outcome<f64> {
    let usage = getrusage(who)?;
    let seconds = |time: TimeVal| -> Outcome<f64> {
        let seconds = u32::try_from(time.tv_sec())?;
        let micros = u32::try_from(time.tv_usec())?;
        Ok(f64::from(seconds) + f64::from(micros) / 1e6)
    };
    Ok(seconds(usage.user_time())? + seconds(usage.system_time())?)
}
