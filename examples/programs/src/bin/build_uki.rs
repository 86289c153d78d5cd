//! Builds an unsigned UKI: `build_uki STUB LINUX INITRD CMDLINE OSREL OUT`.
//!
//! STUB, LINUX, INITRD and OSREL are files, CMDLINE is the text itself. Nothing is left behind when it fails.

use std::error::Error;
use std::process::ExitCode;

use serde_json::{Value, json};
use uki::{Builder, Source, Stub};

fn main() -> ExitCode {
    programs::run("build_uki STUB LINUX INITRD CMDLINE OSREL OUT", build)
}

fn build(args: &[String]) -> Result<(Value, bool), Box<dyn Error>> {
    let [stub, linux, initrd, cmdline, osrel, out] = args else {
        return Err("six arguments expected: STUB LINUX INITRD CMDLINE OSREL OUT".into());
    };
    let stub = std::fs::read(stub).map_err(|error| format!("{stub}: {error}"))?;
    let plan = Builder::new(Stub::parse(&stub)?)
        .linux(Source::file(linux))
        .initrd(Source::file(initrd))
        .cmdline(cmdline)
        .os_release(Source::file(osrel))
        .plan()?;

    if std::fs::metadata(out).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{out}: not a regular file").into());
    }
    let unfinished = format!("{out}.{}.tmp", std::process::id());
    let written = std::fs::File::create_new(&unfinished)
        .map_err(|error| format!("{unfinished}: {error}").into())
        .and_then(|mut file| Ok::<_, Box<dyn Error>>(plan.write_to(&mut file)?))
        .and_then(|()| {
            std::fs::rename(&unfinished, out).map_err(|error| format!("{out}: {error}").into())
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;

    let sections = plan.sections().iter().map(|section| {
        json!({ "name": section.name().as_str(), "offset": section.raw_offset(), "size": section.virtual_len() })
    });
    let stub = json!({ "name": plan.stub().name(), "version": plan.stub().version() });
    Ok((
        json!({ "output": out, "size": plan.len(), "stub": stub, "sections": sections.collect::<Value>() }),
        true,
    ))
}
