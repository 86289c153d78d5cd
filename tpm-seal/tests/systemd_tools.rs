//! systemd 257's own tools and this crate open each other's tokens, on a LUKS2 header in a plain file.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::signer::{document_text, key};
use support::swtpm::Swtpm;
use support::{have, skip};
use tempfile::TempDir;
use tpm_seal::{
    Bank, Evidence, PcrSelection, Pin, Policy, SealOptions, Secret, SignatureDocument, SignedPcrs,
    SystemdToken, Token, seal_offline,
};

const PIN: &str = "0815";

/// The Debian 13 tree, with a folder of the test at /mnt and a /run of its own, for the time of a command.
struct Tree {
    root: PathBuf,
    folder: TempDir,
}

impl Tree {
    fn find(test: &str) -> Option<Self> {
        let cache = std::env::var_os("TRUSTEDBOOT_CACHE")
            .map(PathBuf::from)
            .or_else(|| {
                let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
                xdg.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))
                    .map(|dir| dir.join("trustedboot"))
            });
        let root = cache?.join("debian13");
        if !root.join("usr/bin/systemd-cryptenroll").is_file() {
            skip(test, "the Debian 13 tree");
            return None;
        }
        let may_mount = Command::new("unshare").args(["--mount", "true"]).output();
        if !may_mount.is_ok_and(|output| output.status.success()) {
            skip(test, "unshare --mount (root)");
            return None;
        }
        Some(Self {
            root,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, environment: &[(&str, &str)], command: &[&str]) -> Output {
        let script = r#"
            mount --bind "$2" "$1/mnt" && mount -t tmpfs none "$1/run" && mkdir "$1/run/systemd" || exit 99
            [ ! -e "$2/tpm2-pcr-signature.json" ] || cp "$2/tpm2-pcr-signature.json" "$1/run/systemd/"
            tree=$1; shift 2; exec chroot "$tree" "$@""#;
        let mut process = Command::new("unshare");
        process
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(&self.root)
            .arg(self.folder.path())
            .args(command);
        process
            .env("TSS2_LOG", "all+NONE")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    fn succeed(&self, environment: &[(&str, &str)], command: &[&str]) -> String {
        let output = self.run(environment, command);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{command:?}: {text}");
        text
    }

    /// A LUKS2 header with the passphrase `pw` in slot 0.
    fn format(&self) {
        fs::write(self.path("pw"), "pw").unwrap();
        fs::File::create(self.path("img"))
            .unwrap()
            .set_len(20 << 20)
            .unwrap();
        let pbkdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        let format = [
            "cryptsetup",
            "luksFormat",
            "--type",
            "luks2",
            "--batch-mode",
        ];
        self.succeed(
            &[],
            &[&format[..], &pbkdf, &["/mnt/img", "/mnt/pw"]].concat(),
        );
    }

    /// Puts a secret and its token into the header.
    fn add(&self, secret: &Secret, slot: &str, token: &str) {
        fs::write(self.path("key"), secret.to_passphrase().as_bytes()).unwrap();
        fs::write(self.path("token.json"), token).unwrap();
        let add = [
            "cryptsetup",
            "luksAddKey",
            "--batch-mode",
            "--key-file",
            "/mnt/pw",
            "--new-key-slot",
            slot,
        ];
        let pbkdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        self.succeed(&[], &[&add[..], &pbkdf, &["/mnt/img", "/mnt/key"]].concat());
        self.succeed(
            &[],
            &[
                "cryptsetup",
                "token",
                "import",
                "--json-file",
                "/mnt/token.json",
                "/mnt/img",
            ],
        );
    }

    fn tokens(&self) -> Vec<Token> {
        let text = self.succeed(
            &[],
            &["cryptsetup", "luksDump", "--dump-json-metadata", "/mnt/img"],
        );
        let header: serde_json::Value = serde_json::from_str(&text).unwrap();
        let tokens = header["tokens"].as_object().unwrap().values();
        tokens
            .filter(|token| token["type"] == "systemd-tpm2")
            .map(|token| Token::parse(token.to_string().as_bytes()).unwrap())
            .collect()
    }

    fn opens_with(&self, secret: &Secret) -> bool {
        fs::write(self.path("key"), secret.to_passphrase().as_bytes()).unwrap();
        let open = [
            "cryptsetup",
            "open",
            "--test-passphrase",
            "--key-file",
            "/mnt/key",
            "/mnt/img",
        ];
        self.run(&[], &open).status.success()
    }

    /// systemd unlocks by its TPM token, which is what it does before it enrols anything else.
    fn systemd_unlocks(&self, swtpm: &Swtpm) -> Result<(), String> {
        let device = format!("--unlock-tpm2-device={}", swtpm.tcti());
        let output = self.run(
            &[("PIN", PIN)],
            &["systemd-cryptenroll", &device, "--recovery-key", "/mnt/img"],
        );
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

fn booted() -> Swtpm {
    let swtpm = Swtpm::new();
    swtpm.extend(7, "secure boot");
    swtpm.extend(11, "kernel");
    swtpm
}

fn registers(swtpm: &Swtpm, bank: Bank, pcrs: &[u8]) -> tpm_seal::PcrValues {
    swtpm
        .open()
        .pcr_values(PcrSelection::new(bank, pcrs).unwrap())
        .unwrap()
}

#[test]
fn systemd_unlocks_what_this_crate_writes() {
    let test = "systemd_unlocks_what_this_crate_writes";
    let Some(tree) = Tree::find(test).filter(|_| have(test, "swtpm")) else {
        return;
    };
    let swtpm = booted();
    let pcr_7 = registers(&swtpm, Bank::Sha256, &[7]);
    let pcr_11 = registers(&swtpm, Bank::Sha256, &[11]);
    let document = document_text("rsa2048-e65537", &[&pcr_11], b"");
    fs::write(tree.path("tpm2-pcr-signature.json"), document).unwrap();
    let signed = SignedPcrs::new(key("rsa2048-e65537"));
    let sha384 = registers(&swtpm, Bank::Sha384, &[7, 11]);
    let policies = [
        ("literal", Policy::new().pcrs(pcr_7.clone())),
        ("sha384", Policy::new().pcrs(sha384)),
        ("signed", Policy::new().signed(signed.clone())),
        (
            "signed and literal",
            Policy::new().signed(signed.clone()).pcrs(pcr_7.clone()),
        ),
        ("with a PIN", Policy::new().signed(signed).pcrs(pcr_7).pin()),
        ("PIN alone", Policy::new().pin()),
    ];
    for (name, policy) in policies {
        for offline in [false, true] {
            tree.format();
            let mut options = SealOptions::new().under_srk().allow_weak();
            if policy.needs_pin() {
                options = options.pin(Pin::new(PIN));
            }
            let secret = Secret::generate().unwrap();
            let mut tpm = swtpm.open();
            let sealed = if offline {
                seal_offline(&tpm.storage_root_key().unwrap(), &secret, &policy, &options)
            } else {
                tpm.seal(&secret, &policy, &options)
            };
            drop(tpm);
            let token = SystemdToken::new(sealed.unwrap(), &policy).unwrap().slot(1);
            tree.add(&secret, "1", &token.to_json());
            tree.systemd_unlocks(&swtpm)
                .unwrap_or_else(|text| panic!("{name}, offline {offline}: {text}"));
        }
    }
}

#[test]
fn this_crate_unlocks_what_systemd_writes() {
    let test = "this_crate_unlocks_what_systemd_writes";
    let Some(tree) = Tree::find(test).filter(|_| have(test, "swtpm")) else {
        return;
    };
    let swtpm = booted();
    let pcr_11 = registers(&swtpm, Bank::Sha256, &[11]);
    let document = document_text("rsa2048-e65537", &[&pcr_11], b"");
    let evidence = Evidence::new()
        .signatures(SignatureDocument::parse(document.as_bytes()).unwrap())
        .pin(Pin::new(PIN));
    fs::write(tree.path("pcr.pem"), key("rsa2048-e65537").to_pem()).unwrap();
    let srk = swtpm.open().storage_root_key().unwrap();
    fs::write(tree.path("srk.pub"), srk.to_bytes()).unwrap();
    let device = format!("--tpm2-device={}", swtpm.tcti());
    let pcr_7 = registers(&swtpm, Bank::Sha256, &[7]);
    let literal = format!(
        "--tpm2-pcrs=7:sha256={}",
        support::to_hex(pcr_7.get(7).unwrap())
    );
    let signed = "--tpm2-public-key=/mnt/pcr.pem";
    let cases: [&[&str]; 6] = [
        &[&device, "--tpm2-pcrs=7", "--tpm2-public-key="],
        &[&device, "--tpm2-pcrs=7+11:sha384", "--tpm2-public-key="],
        &[
            &device,
            "--tpm2-pcrs=7",
            signed,
            "--tpm2-public-key-pcrs=11",
        ],
        &[
            &device,
            "--tpm2-pcrs=7",
            signed,
            "--tpm2-public-key-pcrs=11",
            "--tpm2-with-pin=yes",
        ],
        &[
            &device,
            "--tpm2-pcrs=",
            "--tpm2-public-key=",
            "--tpm2-with-pin=yes",
        ],
        &[
            "--tpm2-device-key=/mnt/srk.pub",
            &literal,
            signed,
            "--tpm2-public-key-pcrs=11",
        ],
    ];
    for case in cases {
        tree.format();
        let enroll = ["systemd-cryptenroll", "--unlock-key-file=/mnt/pw"];
        tree.succeed(
            &[("NEWPIN", PIN)],
            &[&enroll[..], case, &["/mnt/img"]].concat(),
        );
        let tokens = tree.tokens();
        assert_eq!(tokens.len(), 1);
        assert_eq!(tokens[0].slots(), [1]);
        let secret = swtpm
            .open()
            .unlock(&tokens[0], &evidence)
            .unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert!(tree.opens_with(&secret), "{case:?}");
    }
}
