//! PCR 11 of a UKI for every profile, hardware choice, phase path and bank.

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;

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
    let uki = Uki::read(File::open(image).map_err(|error| format!("{image}: {error}"))?)?;
    let dialect = Dialect::identify(uki.stub().name(), uki.stub().version());
    let mut boot = Pcr11::new(dialect, &Bank::ALL);
    let names = uki.sections().iter().map(|section| section.name().as_str());
    for (section, id) in uki.sections().iter().zip(SectionId::in_table(names)) {
        let (mut reader, mut buffer) = (uki.reader(section), vec![0; 1 << 20]);
        while let len @ 1.. = reader.read(&mut buffer)? {
            boot.observe(id, &buffer[..len]);
        }
    }
    let mut profiles = Vec::new();
    for index in 0..boot.profile_count() {
        let profile = boot.profile(index)?;
        for hardware in profile.hardware() {
            let mut values = json!({});
            for bank in Bank::ALL {
                let stub = profile.register(hardware, bank)?;
                for phase in PhasePath::list(phases) {
                    values[phase.as_str()][bank.name()] = phase.extend(stub).to_string().into();
                }
            }
            let hardware = hardware.to_string();
            profiles.push(json!({"profile": index, "hardware": hardware, "pcrs": {"11": values}}));
        }
    }
    let stub = format!("{} {}", uki.stub().name(), uki.stub().version());
    let document = json!({"stub": stub.trim(), "warning": dialect.warning(),
        "pcrs": profiles[0]["pcrs"], "profiles": profiles});
    Ok((document, true))
}
