//! What the tests share: a folder with keys and inputs, the built program, and the tools that judge its results.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// systemd-stub and systemd-boot of Debian's package systemd-boot-efi.
pub(crate) const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// The boot loader of the same package.
pub(crate) const LOADER: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder of its own, in which the program runs.
pub(crate) struct Lab {
    folder: TempDir,
    environment: Vec<(&'static str, &'static str)>,
}

impl Lab {
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment: vec![("SOURCE_DATE_EPOCH", "1767225600")],
        }
    }

    /// With keys of OpenSSL in `_out`, under the names that the builds look for.
    pub(crate) fn with_keys() -> Self {
        let lab = Self::empty();
        fs::create_dir(lab.path("_out")).unwrap();
        lab.key_pair("_out/uki-signing");
        lab.tool(
            "openssl",
            &["genrsa", "-out", "_out/pcr-signing-key.pem", "2048"],
        );
        lab
    }

    /// With keys, enrolment files and all inputs of a build.
    pub(crate) fn for_builds() -> Self {
        let lab = Self::with_keys();
        lab.done(&["gen", "database"]);
        let kernel = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../uki/tests/vectors/kernel.efi"
        );
        fs::copy(kernel, lab.path("vmlinuz")).unwrap();
        lab.write("initramfs", &[b"070701".as_slice(), &[0x5a; 5000]].concat());
        lab.write("os-release", b"ID=test\nNAME=Test\nVERSION_ID=1.2\n");
        lab
    }

    /// `NAME-key.pem` and `NAME-cert.pem`.
    pub(crate) fn key_pair(&self, name: &str) {
        let (key, certificate) = (format!("{name}-key.pem"), format!("{name}-cert.pem"));
        self.tool(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-subj",
                "/CN=test",
                "-days",
                "3650",
            ],
        );
    }

    pub(crate) fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Names in a folder, sorted.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imager"));
        command
            .env_remove("IMAGER_KEY_PASSPHRASE")
            .env_remove("IMAGER_PCR_KEY_PASSPHRASE")
            .envs(self.environment.iter().copied());
        self.finish(command, args)
    }

    /// Runs the program, which must succeed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        run.out
    }

    /// The document of a run that must succeed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[&["--json"], args].concat())).unwrap()
    }

    /// Runs the program, which must end with this code and say this.
    pub(crate) fn fails(&self, args: &[&str], code: i32, message: &str) {
        let run = self.run(args);
        assert_eq!(run.code, code, "{args:?}: {}{}", run.out, run.err);
        assert!(run.err.contains(message), "{args:?}: {}", run.err);
        assert!(!run.err.contains("panicked"), "{args:?}: {}", run.err);
    }

    /// Runs a tool, whatever it answers.
    pub(crate) fn judge(&self, tool: &str, args: &[&str]) -> Run {
        self.finish(Command::new(tool), args)
    }

    /// Runs a tool, which must succeed.
    pub(crate) fn tool(&self, tool: &str, args: &[&str]) -> String {
        let run = self.judge(tool, args);
        assert_eq!(run.code, 0, "{tool} {args:?}: {}{}", run.out, run.err);
        run.out
    }

    fn finish(&self, mut command: Command, args: &[&str]) -> Run {
        let output = command
            .args(args)
            .current_dir(self.folder.path())
            .env("LC_ALL", "C")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A build command with all inputs that [`Lab::for_builds`] has, but for those that `more` gives.
pub(crate) fn build<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let inputs = [
        ["--kernel", "vmlinuz"],
        ["--initramfs", "initramfs"],
        ["--os-release", "os-release"],
        ["--cmdline", "console=ttyS0"],
    ];
    let inputs = inputs.iter().filter(|[flag, _]| !more.contains(flag));
    [
        &[command][..],
        inputs.flatten().copied().collect::<Vec<_>>().as_slice(),
        more,
    ]
    .concat()
}

/// Whether all tools and systemd's boot files are there; if not, the test is skipped, or fails in CI.
pub(crate) fn have(test: &str, tools: &[&str]) -> bool {
    let in_path = |tool: &str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
        })
    };
    for tool in tools.iter().chain(&["openssl", STUB, LOADER]) {
        if !in_path(tool) && !Path::new(tool).is_file() {
            assert!(std::env::var_os("CI").is_none(), "{test}: {tool} not found");
            eprintln!("SKIPPED: {test}: {tool} not found");
            return false;
        }
    }
    true
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Name and content of each section of a PE file.
pub(crate) fn sections(image: &[u8]) -> Vec<(String, Vec<u8>)> {
    let pe = u32_at(image, 0x3c);
    let count = usize::from(u16::from_le_bytes([image[pe + 6], image[pe + 7]]));
    let table = pe + 24 + usize::from(u16::from_le_bytes([image[pe + 20], image[pe + 21]]));
    (0..count)
        .map(|index| {
            let header = &image[table + 40 * index..];
            let name = String::from_utf8_lossy(&header[..8]);
            let (len, raw, offset) = (u32_at(header, 8), u32_at(header, 16), u32_at(header, 20));
            (
                name.trim_end_matches('\0').to_owned(),
                image[offset..offset + len.min(raw)].to_vec(),
            )
        })
        .collect()
}

/// The content of one section.
pub(crate) fn section(image: &[u8], name: &str) -> Vec<u8> {
    let found = sections(image).into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name}")).1
}

/// First byte and length of the EFI system partition of a medium with GPT and sectors of 512 bytes.
pub(crate) fn esp(medium: &[u8]) -> (usize, usize) {
    assert_eq!(&medium[512..520], b"EFI PART");
    let table = 512 * u32_at(medium, 512 + 72);
    let esp = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
    ];
    let entry = medium[table..]
        .chunks(128)
        .take(128)
        .find(|entry| entry[..16] == esp)
        .expect("an EFI system partition");
    let (first, last) = (u32_at(entry, 32), u32_at(entry, 40));
    (512 * first, 512 * (last + 1 - first))
}
