//! `bootlab run`: one boot of one machine.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bootlab::{
    Boot, Comparison, Ending, Error, Generation, Machine, Medium, Prediction, Report, Result, table,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

/// Boots IMAGE on the machine in DIR and reports what was measured.
///
/// The machine is made when DIR is new or empty; after that its variables, TPM and disks stay.
/// Exit code 0: the boot came to its end, or reset after an enrolment, and predictions hold;
/// 1: it did not, or a prediction is wrong; 2: it could not be tried.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bootlab run _out/metal-amd64-secureboot.iso /tmp/machine --as cd --predicted prediction.json"
)]
pub(crate) struct Run {
    /// The image: an ISO, a disk, or an EFI application (a UKI) with --as efi
    image: PathBuf,
    /// Directory of the machine
    directory: PathBuf,
    /// How the image is attached
    #[arg(long = "as", value_enum, default_value_t = Attach::Cd)]
    attach: Attach,
    /// Firmware of a new machine: debian12 (OVMF 2022.11) or debian13 (OVMF 2025.02)
    #[arg(long, default_value = "debian12")]
    firmware: Generation,
    /// Firmware of a new machine without system management mode
    #[arg(long)]
    no_smm: bool,
    /// Variable store of a new machine, instead of an empty one
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// The TPM's banks of a new machine
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sha1,sha256,sha384,sha512"
    )]
    banks: Vec<String>,
    /// A blank disk of a new machine, 64 MiB or the size given
    #[arg(long = "disk", value_name = "NAME[:MIB]")]
    disks: Vec<String>,
    /// Script for bootlab's own guest
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Document of `imager predict --json` to compare with
    #[arg(long, value_name = "FILE")]
    predicted: Option<PathBuf>,
    /// Phase path that the image reaches before the registers are read
    #[arg(long, default_value = "")]
    phase: String,
    /// Writes serial output, event log, variables and files into this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Prints one JSON document instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Attach {
    Cd,
    Usb,
    Virtio,
    Ahci,
    Efi,
}

impl Run {
    pub(crate) fn run(&self) -> Result<bool> {
        let mut machine = self.machine()?;
        let scratch =
            tempfile::tempdir().map_err(|source| file_error("temporary folder", source))?;
        let medium = match self.attach {
            Attach::Cd => Medium::cd(&self.image),
            Attach::Usb => Medium::usb(&self.image),
            Attach::Virtio => Medium::virtio(&self.image),
            Attach::Ahci => Medium::ahci(&self.image),
            Attach::Efi => {
                let esp = scratch.path().join("esp.img");
                bootlab::Esp::new()
                    .file("EFI/BOOT/BOOTX64.EFI", read(&self.image)?)
                    .write(&esp)?;
                Medium::virtio(esp)
            }
        };
        let mut boot = Boot::new(medium);
        if let Some(script) = &self.script {
            boot = boot.script(String::from_utf8_lossy(&read(script)?));
        }
        let report = machine.boot(&boot)?;
        let comparisons = match &self.predicted {
            Some(file) => Prediction::from_json(&String::from_utf8_lossy(&read(file)?))?
                .compare(&self.phase, report.registers()),
            None => Vec::new(),
        };
        if let Some(folder) = &self.keep {
            keep(&report, folder)?;
        }
        let text = if self.json {
            document(&report, &comparisons).to_string()
        } else {
            summary(&report, &comparisons)
        };
        writeln!(std::io::stdout(), "{}", text.trim_end())
            .map_err(|source| file_error("standard output", source))?;
        let ended_well = matches!(report.ending(), Ending::Done | Ending::Reset);
        Ok(ended_well && comparisons.iter().all(Comparison::agrees))
    }

    fn machine(&self) -> Result<Machine> {
        if self.directory.join("machine.json").exists() {
            return Machine::open(&self.directory);
        }
        let firmware = self.firmware.firmware(!self.no_smm)?;
        let banks: Vec<&str> = self.banks.iter().map(String::as_str).collect();
        let mut builder = Machine::builder(firmware).banks(&banks);
        if let Some(store) = &self.variables {
            builder = builder.variables(store);
        }
        for disk in &self.disks {
            let (name, size) = disk.split_once(':').unwrap_or((disk, "64"));
            let size: u32 = size.parse().map_err(|_| Error::Invalid {
                what: "--disk".to_owned(),
                problem: format!("{size:?} is not a size in MiB"),
            })?;
            builder = builder.disk(name, u64::from(size) << 20);
        }
        builder.create(&self.directory)
    }
}

fn file_error(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
    Error::File {
        path: path.into(),
        source,
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| file_error(path, source))
}

fn keep(report: &Report, folder: &Path) -> Result<()> {
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        let above = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(above)
            .and_then(|()| std::fs::write(&path, content))
            .map_err(|source| file_error(&path, source))
    };
    write("serial.txt", report.serial().as_bytes())?;
    if let Some(log) = report.event_log() {
        write("binary_bios_measurements", log)?;
    }
    for (name, content) in report.variables() {
        write(&format!("variables/{name}"), content)?;
    }
    for (name, content) in report.files() {
        write(&format!("files/{name}"), content)?;
    }
    Ok(())
}

fn document(report: &Report, comparisons: &[Comparison]) -> Value {
    let mut registers = serde_json::Map::new();
    for (bank, pcr, _) in report.registers().iter() {
        let value = report.registers().hex(bank, pcr);
        registers.entry(bank).or_insert_with(|| json!({}))[pcr.to_string()] = json!(value);
    }
    json!({
        "result": report.ending().to_string(),
        "seconds": report.seconds(),
        "retries": report.retries(),
        "crashes": report.crashes(),
        "script_status": report.script_status(),
        "script_log": report.script_log(),
        "registers": registers,
        "comparisons": comparisons,
    })
}

fn summary(report: &Report, comparisons: &[Comparison]) -> String {
    let mut lines = vec![format!(
        "{} after {:.1} s, {} crashed attempts",
        report.ending(),
        report.seconds(),
        report.retries()
    )];
    if !report.script_log().is_empty() {
        lines.push(report.script_log().trim_end().to_owned());
    }
    if comparisons.is_empty() {
        for (bank, pcr, value) in report.registers().iter() {
            if value.iter().any(|byte| *byte != 0) && value.iter().any(|byte| *byte != 0xff) {
                lines.push(format!(
                    "{bank:6} {pcr:>2} {}",
                    report.registers().hex(bank, pcr).unwrap_or_default()
                ));
            }
        }
    } else {
        lines.push(table(comparisons));
    }
    lines.join("\n")
}
