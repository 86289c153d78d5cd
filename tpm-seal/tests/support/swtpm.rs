//! A software TPM of its own for each test.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tpm_seal::{Tcti, Tpm};

use super::wire::{command, command_with_password, response_code, transmit};

/// swtpm on a pair of TCP ports; ends with the value.
pub(crate) struct Swtpm {
    child: Child,
    pub(crate) port: u16,
    folder: TempDir,
}

/// The library's warnings are expected here.
fn quiet() {
    static ONCE: Once = Once::new();
    // SAFETY: every test makes its TPM first, so libtss2, the only reader past std's lock, is not in use yet when the
    // one call comes through.
    ONCE.call_once(|| unsafe { std::env::set_var("TSS2_LOG", "all+NONE") });
}

/// A pair of free ports, the second right behind the first.
pub(crate) fn port_pair() -> (TcpListener, TcpListener, u16) {
    for _ in 0..1000 {
        let Ok(first) = TcpListener::bind("127.0.0.1:0") else {
            continue;
        };
        let port = first.local_addr().unwrap().port();
        let Some(next) = port.checked_add(1) else {
            continue;
        };
        if let Ok(second) = TcpListener::bind(("127.0.0.1", next)) {
            return (first, second, port);
        }
    }
    panic!("no pair of free ports");
}

impl Swtpm {
    /// A new TPM.
    pub(crate) fn new() -> Self {
        Self::start(None)
    }

    /// The TPM of a vector set, in the state of its boot.
    pub(crate) fn of_vectors(set: &str) -> Self {
        let tpm = Self::start(Some(&super::vector(set, "swtpm-tpm2-00.permall")));
        tpm.replay(set);
        tpm
    }

    fn start(state: Option<&[u8]>) -> Self {
        quiet();
        let folder = tempfile::tempdir().unwrap();
        if let Some(state) = state {
            fs::write(folder.path().join("tpm2-00.permall"), state).unwrap();
        }
        let (child, port) = spawn(&folder);
        Self {
            child,
            port,
            folder,
        }
    }

    /// Power off and on: registers are reset, what is stored is kept.
    pub(crate) fn reboot(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        (self.child, self.port) = spawn(&self.folder);
    }

    pub(crate) fn tcti(&self) -> Tcti {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
            .parse()
            .unwrap()
    }

    pub(crate) fn open(&self) -> Tpm {
        Tpm::open(&self.tcti()).unwrap()
    }

    /// A connection for raw commands. swtpm serves one at a time: drop it before the library connects.
    pub(crate) fn raw(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }

    /// Runs a program of tpm2-tools on this TPM, in its folder.
    pub(crate) fn tool(&self, name: &str, args: &[&str]) {
        self.output(name, args);
    }

    /// A file in the TPM's folder.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// As [`tool`](Self::tool), with what the program prints.
    pub(crate) fn output(&self, name: &str, args: &[&str]) -> String {
        let output = Command::new(name)
            .args(args)
            .env("TPM2TOOLS_TCTI", self.tcti().as_str())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Removes a persistent object.
    pub(crate) fn evict(&self, handle: u32) {
        let owner = 0x4000_0001_u32.to_be_bytes();
        let handles = [&owner[..], &handle.to_be_bytes()].concat();
        let response = transmit(
            &mut self.raw(),
            &command_with_password(0x120, &handles, &handle.to_be_bytes()),
        );
        assert_eq!(response_code(&response), 0);
    }

    pub(crate) fn state_file(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("tpm2-00.permall")).unwrap()
    }

    /// Extends a text into banks SHA-256 and SHA-384, as the vectors' events are.
    pub(crate) fn extend(&self, pcr: u8, text: &str) {
        extend(&mut self.raw(), pcr, text);
    }

    fn replay(&self, set: &str) {
        let state = super::vector_json(set, "tpm-state.json");
        let mut raw = self.raw();
        for (pcr, events) in state["events"].as_object().unwrap() {
            for event in events.as_array().unwrap() {
                extend(&mut raw, pcr.parse().unwrap(), event.as_str().unwrap());
            }
        }
    }

    /// Loaded transient objects, loaded sessions and saved sessions.
    pub(crate) fn open_handles(&self) -> Vec<u32> {
        open_handles(&mut self.raw())
    }

    /// Flushes whatever somebody left open.
    pub(crate) fn flush_all(&self) {
        let mut raw = self.raw();
        for handle in open_handles(&mut raw) {
            transmit(&mut raw, &command(0x165, &handle.to_be_bytes()));
        }
    }
}

pub(crate) fn open_handles(raw: &mut TcpStream) -> Vec<u32> {
    let mut handles = Vec::new();
    for first in [0x8000_0000_u32, 0x0200_0000, 0x0300_0000] {
        let body = [
            &1_u32.to_be_bytes()[..],
            &first.to_be_bytes(),
            &254_u32.to_be_bytes(),
        ]
        .concat();
        let response = transmit(raw, &command(0x17a, &body));
        assert_eq!(response_code(&response), 0);
        handles.extend(
            response[19..]
                .chunks(4)
                .map(|handle| u32::from_be_bytes(handle.try_into().unwrap())),
        );
    }
    handles
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn extend(raw: &mut TcpStream, pcr: u8, text: &str) {
    use sha2::Digest as _;
    let digests = [
        &2_u32.to_be_bytes()[..],
        &[0x00, 0x0b],
        &sha2::Sha256::digest(text),
        &[0x00, 0x0c],
        &sha2::Sha384::digest(text),
    ];
    let response = transmit(
        raw,
        &command_with_password(0x182, &u32::from(pcr).to_be_bytes(), &digests.concat()),
    );
    assert_eq!(response_code(&response), 0);
}

fn spawn(folder: &TempDir) -> (Child, u16) {
    let pid_file = folder.path().join("pid");
    for _ in 0..50 {
        let (first, second, port) = port_pair();
        drop((first, second));
        let _ = fs::remove_file(&pid_file);
        let mut child = Command::new("swtpm")
            .args([
                "socket",
                "--tpm2",
                "--seccomp",
                "action=none",
                "--flags",
                "not-need-init,startup-clear",
            ])
            .arg("--tpmstate")
            .arg(format!("dir={}", folder.path().display()))
            .arg("--server")
            .arg(format!("type=tcp,port={port}"))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={}", port + 1))
            .arg("--pid")
            .arg(format!("file={}", pid_file.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            // Its own pid: not some other swtpm's port that another test was quicker to take.
            let ready =
                fs::read_to_string(&pid_file).is_ok_and(|pid| pid.trim() == child.id().to_string());
            if ready
                && TcpStream::connect(("127.0.0.1", port + 1)).is_ok()
                && child.try_wait().unwrap().is_none()
            {
                return (child, port);
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("swtpm does not start");
}
