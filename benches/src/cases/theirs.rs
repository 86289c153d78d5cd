//! Peers (programs) and floors (the least work that a job can be).

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::Outcome;
use crate::inputs::Folder;

/// The same job as `ours::uki`.
pub(super) const UKIFY: &str = "chroot {TREE} ukify build --stub={/stub} --linux={/vmlinuz} --initrd={/initramfs} \
--cmdline=quiet --os-release=ID=bench --pcrpkey={/pcr.pub} --pcr-private-key={/pcr.key} --pcr-public-key={/pcr.pub} \
--phases=enter-initrd --pcr-banks=sha256 --secureboot-private-key={/signing.key} --secureboot-certificate={/signing.crt} \
--output={/output}";

/// Replaces the names in braces.
pub(super) fn command(line: &str, folder: &Folder) -> Outcome<Command> {
    let mut words = line.split(' ').map(|word| -> Outcome<String> {
        let Some((before, name)) = word.split_once('{') else {
            return Ok(word.to_owned());
        };
        let name = name.trim_end_matches('}');
        let path = match name.strip_prefix('/') {
            _ if name == "TREE" => folder.read_text("tree")?.into(),
            _ if name == "PYTHON" => python().ok_or("no home folder")?,
            None => folder.file(name),
            Some(name) => {
                let tree = folder.read_text("tree")?;
                Path::new("/").join(folder.file(name).strip_prefix(tree)?)
            }
        };
        Ok(format!("{before}{}", path.display()))
    });
    let mut command = Command::new(words.next().ok_or("an empty command line")??);
    for word in words {
        command.arg(word?);
    }
    Ok(command)
}

/// The Python that `.ci/setup python` makes.
fn python() -> Option<PathBuf> {
    Some(crate::table::cache()?.join("python/bin/python3"))
}

/// Why pycdlib does not run.
pub(super) fn pycdlib_obstacle() -> Option<String> {
    let found = python().and_then(|python| {
        let output = Command::new(python).args(["-c", "import pycdlib"]).output();
        output.ok().filter(|output| output.status.success())
    });
    found.is_none().then(|| "pycdlib not found".into())
}

/// Only root may enter the tree.
pub(super) fn chroot_obstacle(folder: &Folder) -> Option<String> {
    let Ok(tree) = folder.read_text("tree") else {
        return Some("no Debian 13 tree".into());
    };
    let entered = Command::new("chroot")
        .args([&tree, "ukify", "--version"])
        .output();
    match entered {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let messages = String::from_utf8_lossy(&output.stderr);
            Some(
                messages
                    .lines()
                    .next()
                    .unwrap_or("chroot failed")
                    .to_owned(),
            )
        }
        Err(error) => Some(format!("chroot: {error}")),
    }
}

pub(super) fn two_hashes_and_a_copy(folder: &Folder) -> Outcome<()> {
    let path = &folder.file("initramfs");
    thread::scope(|scope| {
        let hash = move || {
            pieces(path, |piece, hash: &mut Sha256| hash.update(piece))
                .map_err(|error| error.to_string())
        };
        let threads = [scope.spawn(hash), scope.spawn(hash)];
        fs::copy(path, folder.output())?;
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

pub(super) fn one_hash(folder: &Folder) -> Outcome<()> {
    pieces(&folder.file("unsigned"), |piece, hash: &mut Sha256| {
        hash.update(piece);
    })
}

pub(super) fn four_hashes(folder: &Folder) -> Outcome<()> {
    pieces(
        &folder.file("sections"),
        |piece, all: &mut (Sha1, Sha256, Sha384, Sha512)| {
            all.0.update(piece);
            all.1.update(piece);
            all.2.update(piece);
            all.3.update(piece);
        },
    )
}

/// Reads a file in the pieces that `uki` uses.
pub(super) fn pieces<S: Default>(path: &Path, mut see: impl FnMut(&[u8], &mut S)) -> Outcome<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 512 << 10];
    let mut state = S::default();
    loop {
        let len = file.read(&mut piece)?;
        if len == 0 {
            std::hint::black_box(&mut state);
            return Ok(());
        }
        see(piece.get(..len).unwrap_or_default(), &mut state);
    }
}
