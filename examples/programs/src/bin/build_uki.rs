//! Builds an unsigned UKI: `build_uki STUB LINUX INITRD CMDLINE OSREL OUT`.
//!
//! STUB, LINUX, INITRD and OSREL are files, CMDLINE is the text itself. Nothing is left behind when it fails.

use std::error::Error;
use std::fs::{self, metadata};
use std::os::unix::fs::MetadataExt;
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
    let old = metadata(out).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return Err(format!("{out}: not a regular file").into());
    }
    let taken = old.map(|old| (old.dev(), old.ino()));
    for input in [stub, linux, initrd, osrel] {
        let found = metadata(input).map_err(|error| format!("{input}: {error}"))?;
        if !found.is_file() || found.len() == 0 {
            return Err(format!("{input}: empty, or not a regular file").into());
        } else if taken == Some((found.dev(), found.ino())) {
            return Err(format!("{out}: would replace the input {input}").into());
        }
    }
    let stub = fs::read(stub).map_err(|error| format!("{stub}: {error}"))?;
    let plan = Builder::new(Stub::parse(&stub)?)
        .linux(Source::file(linux))
        .initrd(Source::file(initrd))
        .cmdline(cmdline)
        .os_release(Source::file(osrel))
        .plan()?;

    let unfinished = format!("{out}.{}.tmp", std::process::id());
    let mut file =
        fs::File::create_new(&unfinished).map_err(|error| format!("{unfinished}: {error}"))?;
    let written = plan.write_to(&mut file).map_err(Box::<dyn Error>::from);
    let written = written.and_then(|()| Ok(fs::rename(&unfinished, out)?));
    written.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;

    let sections = plan.sections().iter().map(|section| {
        json!({ "name": section.name().as_str(), "offset": section.raw_offset(), "size": section.virtual_len() })
    });
    let stub = json!({ "name": plan.stub().name(), "version": plan.stub().version() });
    Ok((
        json!({ "output": out, "size": plan.len(), "stub": stub, "sections": sections.collect::<Value>() }),
        true,
    ))
}
