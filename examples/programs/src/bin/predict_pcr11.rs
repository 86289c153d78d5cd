//! PCR 11 of a UKI for every profile, hardware choice, phase path and bank.

use std::{collections::BTreeSet, error::Error, fs::File, io::Read as _, process::ExitCode};

use pcr::{Bank, Dialect, Pcr11, PhasePath, SectionId};
use serde_json::{Value, json};
use uki::Uki;

/// As the stub leaves it, and systemd-measure's default paths.
const PHASES: &str = ":,enter-initrd,enter-initrd:leave-initrd,\
    enter-initrd:leave-initrd:sysinit,enter-initrd:leave-initrd:sysinit:ready";

fn main() -> ExitCode {
    programs::run("predict_pcr11 UKI [--phases A:B,…]", |args| match args {
        [image] => predict(image, PHASES),
        [image, flag, phases] if flag == "--phases" => predict(image, phases),
        [flag, phases, image] if flag == "--phases" => predict(image, phases),
        _ => Err("expected UKI [--phases A:B,…]".into()),
    })
}

fn predict(image: &str, phases: &str) -> Result<(Value, bool), Box<dyn Error>> {
    let phases = PhasePath::checked_list(phases)?;
    let uki = Uki::read(File::open(image).map_err(|error| format!("{image}: {error}"))?)?;
    let dialect = Dialect::identify(uki.stub().name(), uki.stub().version());
    let mut boot = Pcr11::new(dialect, &Bank::ALL);
    let names = uki.sections().iter().map(|section| section.name().as_str());
    let mut left = 1_u64 << 32; // an image has less than 4 GiB in memory
    for (section, id) in uki.sections().iter().zip(SectionId::in_table(names)) {
        if section.name().is_known() {
            left = left
                .checked_sub(section.virtual_len())
                .ok_or("sections overlap")?;
            let (mut reader, mut buffer) = (uki.reader(section), vec![0; 1 << 20]);
            while let len @ 1.. = reader.read(&mut buffer)? {
                boot.observe(id, &buffer[..len]);
            }
        }
    }
    let mut profiles = Vec::new();
    for index in 0..boot.profile_count() {
        let predictions = boot.profile(index)?.registers(&phases)?;
        for same in predictions.chunk_by(|a, b| a.hardware == b.hardware) {
            let mut values = json!({});
            for predicted in same {
                let (phase, bank) = (predicted.phase.as_str(), predicted.value.bank().name());
                values[phase][bank] = predicted.value.to_string().into();
            }
            profiles.push(json!({"profile": index, "hardware": same[0].hardware.to_string(), "pcrs": {"11": values}}));
        }
    }
    let unknown: BTreeSet<_> = phases.iter().flat_map(PhasePath::unknown_words).collect();
    Ok((
        json!({"stub": format!("{} {}", uki.stub().name(), uki.stub().version()).trim(), "warning": dialect.warning(),
        "unknown_phase_words": unknown,
        "pcrs": profiles[0]["pcrs"], "profiles": profiles}),
        true,
    ))
}
