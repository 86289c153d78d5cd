//! Writes a directory as an ISO 9660 image, bootable with `--esp`.

use std::process::ExitCode;

use iso9660::{Entry, Image, Plan, Source, Timestamp, Tree};
use serde_json::json;

fn main() -> ExitCode {
    programs::run("write_iso TREE OUT [--esp DIR]", |args| {
        let (tree, out, esp) = match args {
            [tree, out] => (tree, out, None),
            [tree, out, flag, esp] | [flag, esp, tree, out] if flag == "--esp" => {
                (tree, out, Some(esp))
            }
            _ => return Err("expected TREE OUT [--esp DIR]".into()),
        };
        let plan = match plan(tree, esp, Timestamp::from_unix(programs::epoch()?)) {
            Err(e) if !e.is_io() => return Ok((json!({"refused": e.to_string()}), false)),
            plan => plan?,
        };
        plan.write_file(out)?;
        let partitions: Vec<_> = plan
            .regions()
            .iter()
            .map(|r| json!({"name": r.name, "offset": r.offset, "bytes": r.len}))
            .collect();
        Ok((
            json!({"file": out, "bytes": plan.len(), "partitions": partitions}),
            true,
        ))
    })
}

fn plan(tree: &str, esp: Option<&String>, time: Timestamp) -> Result<Plan, iso9660::Error> {
    let tree = Tree::from_dir(tree)?;
    let Some(dir) = esp else {
        return Image::new(tree).time(time).plan();
    };
    let mut esp = Tree::from_dir(dir)?;
    let seed = std::path::Path::new(dir).join("loader/random-seed");
    if seed.is_file() {
        // systemd-boot leaves a seed alone that is read-only.
        esp = esp.replace(
            "loader/random-seed",
            Entry::file(Source::file(seed)).read_only(),
        );
    }
    Image::bootable(esp)?.tree(tree).time(time).plan()
}
