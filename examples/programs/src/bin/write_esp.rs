//! Writes a directory as the FAT volume of an EFI system partition.

use std::process::ExitCode;

use iso9660::{Entry, Fat, Source, Timestamp, Tree};
use serde_json::json;

fn main() -> ExitCode {
    programs::run("write_esp TREE OUT", |args| {
        let [dir, out] = args else {
            return Err("expected TREE OUT".into());
        };
        let mut tree = Tree::from_dir(dir)?;
        let seed = std::path::Path::new(dir).join("loader/random-seed");
        if seed.is_file() {
            // systemd-boot leaves a seed alone that is read-only.
            let entry = Entry::file(Source::file(seed)).read_only();
            tree = tree.replace("loader/random-seed", entry);
        }
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => Timestamp::from_unix(text.parse()?),
            Err(_) => Timestamp::default(),
        };
        let plan = match Fat::new(tree).time(epoch).plan() {
            Err(e) if !e.is_io() => return Ok((json!({"refused": e.to_string()}), false)),
            plan => plan?,
        };
        plan.write_file(out)?;
        Ok((json!({"file": out, "bytes": plan.len()}), true))
    })
}
