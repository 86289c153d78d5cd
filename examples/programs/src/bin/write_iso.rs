//! Writes a directory as an ISO 9660 image, bootable with `--esp`.

use std::process::ExitCode;

use iso9660::{Entry, Image, Source, Timestamp, Tree};
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
        let tree = Tree::from_dir(tree)?;
        let image = match esp {
            None => Ok(Image::new(tree)),
            Some(dir) => {
                let seed = std::path::Path::new(dir).join("loader/random-seed");
                let mut esp = Tree::from_dir(dir)?;
                if seed.is_file() {
                    // systemd-boot leaves a seed alone that is read-only.
                    let entry = Entry::file(Source::file(seed)).read_only();
                    esp = esp.replace("loader/random-seed", entry);
                }
                Image::bootable(esp).map(|image| image.tree(tree))
            }
        };
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => Timestamp::from_unix(text.parse()?),
            Err(_) => Timestamp::default(),
        };
        let plan = match image.and_then(|image| image.time(epoch).plan()) {
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
