//! Writes a directory as the FAT volume of an EFI system partition.

use std::process::ExitCode;

use iso9660::{Entry, Fat, Plan, Source, Timestamp, Tree};
use serde_json::json;

fn main() -> ExitCode {
    programs::run("write_esp TREE OUT", |args| {
        let [dir, out] = args else {
            return Err("expected TREE OUT".into());
        };
        let plan = match plan(dir, Timestamp::from_unix(programs::epoch()?)) {
            Err(e) if !e.is_io() => return Ok((json!({"refused": e.to_string()}), false)),
            plan => plan?,
        };
        plan.write_file(out)?;
        Ok((json!({"file": out, "bytes": plan.len()}), true))
    })
}

fn plan(dir: &str, time: Timestamp) -> Result<Plan, iso9660::Error> {
    let mut tree = Tree::from_dir(dir)?;
    let seed = std::path::Path::new(dir).join("loader/random-seed");
    if seed.is_file() {
        // systemd-boot leaves a seed alone that is read-only.
        tree = tree.replace(
            "loader/random-seed",
            Entry::file(Source::file(seed)).read_only(),
        );
    }
    Fat::new(tree).time(time).plan()
}
