//! Programs of other people that judge.
#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Reports a test whose tool is missing: said aloud, and an error where everything must be there.
pub(crate) fn skip(test: &str, tool: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{test}: {tool} not found, but CI is set"
    );
    eprintln!("SKIPPED: {test}: {tool} not found");
}

/// Whether a program can be started.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The folder with a Debian 13 system, if it has been made.
pub(crate) fn debian13() -> Option<PathBuf> {
    let given = std::env::var_os("TRUSTEDBOOT_CACHE").map(PathBuf::from);
    let cache = given.or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        Some(cache.or_else(home)?.join("trustedboot"))
    });
    let tree = cache?.join("debian13");
    tree.join(".trustedboot-stamp").exists().then_some(tree)
}

/// A program of the Debian 13 tree, run with the tree's own loader and libraries.
pub(crate) fn of_debian13(tree: &Path, program: &str) -> Command {
    let mut command = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let libraries = format!("{0}:{0}/systemd", libraries.display());
    command.args(["--library-path", &libraries]);
    command.arg(tree.join(program));
    command
}

/// What a program says; it must succeed.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A software TPM with four banks; ends with the value.
pub(crate) struct Swtpm {
    child: Child,
    port: u16,
    pub(crate) folder: TempDir,
}

impl Swtpm {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut setup = Command::new("swtpm_setup");
        let state = folder.path().to_str().unwrap();
        setup.args([
            "--tpm2",
            "--tpmstate",
            state,
            "--pcr-banks",
            "sha1,sha256,sha384,sha512",
        ]);
        output(&mut setup);
        let (server, control, port) = port_pair();
        drop((server, control));
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate", &format!("dir={state}")])
            .args([
                "--server",
                &format!("type=tcp,port={port},bindaddr=127.0.0.1"),
            ])
            .args([
                "--ctrl",
                &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1),
            ])
            .args(["--flags", "not-need-init,startup-clear"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            folder,
        }
    }

    /// Runs a program of tpm2-tools; the library itself waits until the TPM answers.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> String {
        let tcti = format!("swtpm:host=127.0.0.1,port={}", self.port);
        let command = || {
            let mut command = Command::new(program);
            command
                .args(args)
                .current_dir(self.folder.path())
                .env("TPM2TOOLS_TCTI", &tcti);
            command
        };
        // The first command may come before swtpm listens.
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                break;
            }
            std::thread::yield_now();
        }
        output(&mut command())
    }

    /// How a program reaches it that takes a TCTI's name and its argument.
    pub(crate) fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two free ports in a row: libtss2 takes the second for the control channel.
fn port_pair() -> (TcpListener, TcpListener, u16) {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let second = port
            .checked_add(1)
            .map(|next| TcpListener::bind(("127.0.0.1", next)));
        if let Some(Ok(second)) = second {
            return (first, second, port);
        }
    }
}
