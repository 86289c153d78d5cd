//! The program on a software TPM and a LUKS2 volume in a file; OpenSSL signs the policies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A machine: TPM, volume, and the evidence that its UKI would have brought.
struct Machine {
    folder: TempDir,
    swtpm: Child,
    port: u16,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.swtpm.kill();
        let _ = self.swtpm.wait();
    }
}

/// Whether all tools are there; if not, the test is skipped, or fails in CI.
fn have(test: &str) -> bool {
    for tool in [
        "cryptsetup",
        "openssl",
        "swtpm",
        "tpm2_pcrextend",
        "tpm2_pcrread",
    ] {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&folders)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|folder| folder.join(tool).is_file());
        if !found {
            assert!(std::env::var_os("CI").is_none(), "{test}: {tool} not found");
            eprintln!("SKIPPED: {test}: {tool} not found");
            return false;
        }
    }
    true
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// PCR after one extension of a register of zeros, SHA-256 bank.
fn extended(data: &[u8]) -> [u8; 32] {
    Sha256::digest([&[0; 32][..], &Sha256::digest(data)].concat()).into()
}

fn spawn_swtpm(folder: &TempDir) -> (Child, u16) {
    let pid_file = folder.path().join("pid");
    for _ in 0..20 {
        // Many a port is still held by a connection that ended just now.
        let (first, second, port) = (0..500).find_map(|_| free_ports()).unwrap();
        drop((first, second));
        let _ = fs::remove_file(&pid_file);
        let mut child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--seccomp", "action=none"])
            .args(["--flags", "not-need-init,startup-clear", "--tpmstate"])
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
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            // Its own pid: not some other swtpm's port that another test was quicker to take.
            let own = child.id().to_string();
            let ready = fs::read_to_string(&pid_file).is_ok_and(|pid| pid.trim() == own);
            if ready && TcpStream::connect(("127.0.0.1", port + 1)).is_ok() {
                return (child, port);
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("swtpm does not start");
}

fn free_ports() -> Option<(TcpListener, TcpListener, u16)> {
    let first = TcpListener::bind("127.0.0.1:0").ok()?;
    let port = first.local_addr().ok()?.port();
    let second = TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
    Some((first, second, port))
}

impl Machine {
    /// In phase enter-initrd, with a volume that `initial` opens, a PCR key and its signature for this phase.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (swtpm, port) = spawn_swtpm(&folder);
        let machine = Self {
            folder,
            swtpm,
            port,
        };
        let volume = fs::File::create(machine.folder.path().join("volume")).unwrap();
        volume.set_len(32 << 20).unwrap();
        machine.write("initial", b"initial passphrase");
        let format = [
            "luksFormat",
            "--batch-mode",
            "--type",
            "luks2",
            "--pbkdf",
            "pbkdf2",
        ];
        let rest = [
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            "initial",
            "volume",
        ];
        machine.tool("cryptsetup", &[&format[..], &rest].concat());
        machine.tool("openssl", &["genrsa", "-out", "key.pem", "2048"]);
        machine.tool(
            "openssl",
            &["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"],
        );
        machine.boot();
        machine.sign(&extended(b"enter-initrd"));
        machine
    }

    /// What firmware and stub measure, in short.
    fn boot(&self) {
        self.measure(7, "01");
        self.done(&["phase", "enter-initrd"]);
    }

    fn reboot_with(&mut self, pcr_7: &str) {
        let _ = self.swtpm.kill();
        let _ = self.swtpm.wait();
        (self.swtpm, self.port) = spawn_swtpm(&self.folder);
        self.measure(7, pcr_7);
        self.done(&["phase", "enter-initrd"]);
    }

    /// Extends a register with a digest of this one byte.
    fn measure(&self, pcr: u8, byte: &str) {
        let event = format!("{pcr}:sha256={}", byte.repeat(32));
        self.tool("tpm2_pcrextend", &[&event]);
    }

    /// PCR 7 after [`Self::measure`] on a register of zeros.
    fn pcr_7(byte: u8) -> String {
        hex(&Sha256::digest([[0; 32], [byte; 32]].concat()))
    }

    /// Writes `pcrsig`: the policy "PCR 11 has this value", signed by OpenSSL.
    fn sign(&self, register: &[u8]) {
        let command = [
            &[0; 32][..],
            &[0, 0, 1, 0x7f],
            &[0, 0, 0, 1, 0, 0x0b, 3, 0, 8, 0],
            &Sha256::digest(register),
        ];
        let policy = Sha256::digest(command.concat());
        self.write("policy", &policy);
        self.tool(
            "openssl",
            &[
                "dgst",
                "-sha256",
                "-sign",
                "key.pem",
                "-out",
                "signature",
                "policy",
            ],
        );
        let encode = ["-RSAPublicKey_out", "-outform", "DER", "-out", "public.der"];
        self.tool(
            "openssl",
            &[&["rsa", "-in", "key.pem"][..], &encode].concat(),
        );
        let document = serde_json::json!({ "sha256": [{
            "pcrs": [11],
            "pkfp": hex(&Sha256::digest(self.read("public.der"))),
            "pol": hex(&policy),
            "sig": BASE64_STANDARD.encode(self.read("signature")),
        }] });
        self.write("pcrsig", document.to_string().as_bytes());
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let tcti = format!("swtpm:host=127.0.0.1,port={}", self.port);
        let mut command = Command::new(program);
        if program == env!("CARGO_BIN_EXE_disk-key") {
            command.args(["--tcti", &tcti]);
        }
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("TPM2TOOLS_TCTI", &tcti)
            .env("TSS2_LOG", "all+NONE")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn tool(&self, program: &str, args: &[&str]) -> Vec<u8> {
        let output = self.run(program, args);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {args:?}: {message}");
        output.stdout
    }

    fn done(&self, args: &[&str]) -> Vec<u8> {
        self.tool(env!("CARGO_BIN_EXE_disk-key"), args)
    }

    /// Runs the program on the volume with key and signatures.
    fn with_evidence(&self, command: &str, more: &[&str]) -> Output {
        let evidence = ["--pcr-public-key", "public.pem", "--pcrsig", "pcrsig"];
        let arguments = [&[command, "--luks", "volume"][..], &evidence, more].concat();
        self.run(env!("CARGO_BIN_EXE_disk-key"), &arguments)
    }

    fn enroll(&self, more: &[&str]) -> Value {
        let usual = [
            "--json",
            "--unlock-key-file",
            "initial",
            "--allow-insecure-boot",
        ];
        let output = self.with_evidence("enroll", &[&usual[..], more].concat());
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{message}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The key that `unlock` prints; it must open the volume.
    fn unlock(&self, more: &[&str]) -> Vec<u8> {
        let output = self.with_evidence("unlock", more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{message}");
        assert!(self.opens(&output.stdout));
        output.stdout
    }

    fn refused(&self, command: &str, more: &[&str], code: i32, reason: &str) {
        let output = self.with_evidence(command, more);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{message}");
        assert!(message.contains(reason), "{message}");
        assert!(output.stdout.is_empty());
    }

    fn opens(&self, key: &[u8]) -> bool {
        self.write("candidate", key);
        let test = [
            "open",
            "--test-passphrase",
            "--key-file",
            "candidate",
            "volume",
        ];
        self.run("cryptsetup", &test).status.success()
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.done(&["status", "--json", "--luks", "volume"])).unwrap()
    }
}

#[test]
fn the_key_opens_the_volume_and_another_pcr_7_is_refused_by_name() {
    if !have("the_key_opens_the_volume") {
        return;
    }
    let mut machine = Machine::new();
    let enrolled = machine.enroll(&[]);
    assert_eq!(enrolled["proven"], true);
    assert_eq!(enrolled["keyslot"], 1);
    let key = machine.unlock(&[]);
    machine.reboot_with("01");
    assert_eq!(machine.unlock(&[]), key);
    machine.reboot_with("02");
    machine.refused("unlock", &[], 1, "PCR 7");
    machine.reboot_with("01");
    machine.done(&["phase", "leave-initrd"]);
    machine.refused("unlock", &[], 1, "token 0");
}

#[test]
fn a_token_of_systemds_form_asks_for_its_pin() {
    if !have("a_token_of_systemds_form") {
        return;
    }
    let machine = Machine::new();
    machine.write("pin", b"1234\n");
    machine.write("wrong", b"4321\n");
    machine.enroll(&["--format", "systemd", "--with-pin", "--pin-file", "pin"]);
    let status = machine.status();
    assert_eq!(status["volume"]["tokens"][0]["type"], "systemd-tpm2");
    assert_eq!(status["volume"]["tokens"][0]["pin"], true);
    machine.unlock(&["--pin-file", "pin"]);
    machine.refused("unlock", &["--pin-file", "wrong"], 1, "PIN");
    machine.refused("unlock", &[], 2, "--pin-file");
}

#[test]
fn a_reseal_keeps_the_old_token_until_a_new_one_has_opened() {
    if !have("a_reseal_keeps_the_old_token") {
        return;
    }
    let mut machine = Machine::new();
    machine.enroll(&[]);
    let old = machine.unlock(&[]);
    let planned = Machine::pcr_7(2);
    let output = machine.with_evidence("reseal", &["--pcr7", &planned, "--only-predicted"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let status = machine.status();
    let tokens = status["volume"]["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    assert_eq!(tokens[1]["waits_to_replace"], serde_json::json!([0]));
    // Before the change the old token opens, and nothing goes.
    assert_eq!(machine.unlock(&[]), old);
    assert_eq!(machine.status()["volume"], status["volume"]);

    machine.reboot_with("02");
    let output = machine.with_evidence("unlock", &["--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let opened: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(opened["token"], 1);
    assert_eq!(opened["retired_tokens"], serde_json::json!([0]));
    assert!(machine.opens(opened["key"].as_str().unwrap().as_bytes()));
    assert!(!machine.opens(&old));
    let volume = &machine.status()["volume"];
    assert_eq!(volume["tokens"].as_array().unwrap().len(), 1);
    assert_eq!(volume["keyslots"], serde_json::json!([0, 2]));
    machine.reboot_with("01");
    machine.refused("unlock", &[], 1, "PCR 7");
}

#[test]
fn a_recovery_key_opens_the_volume_whatever_the_tpm_says() {
    if !have("a_recovery_key_opens") {
        return;
    }
    let mut machine = Machine::new();
    machine.enroll(&[]);
    let output = machine.with_evidence("recovery", &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let words = output.stdout.strip_suffix(b"\n").unwrap();
    assert_eq!(words.len(), 71);
    assert!(machine.opens(words));
    let output = machine.with_evidence("recovery", &["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["keyslot"], 3);
    assert!(machine.opens(document["recovery_key"].as_str().unwrap().as_bytes()));
    machine.reboot_with("02");
    machine.refused("recovery", &[], 1, "PCR 7");
    assert!(machine.opens(words));
    let tokens = machine.tool(
        "cryptsetup",
        &["luksDump", "--dump-json-metadata", "volume"],
    );
    assert!(
        String::from_utf8(tokens)
            .unwrap()
            .contains("systemd-recovery")
    );
}

#[test]
fn an_unreadable_token_is_no_refusal_and_does_not_hide_one() {
    if !have("an_unreadable_token_is_no_refusal") {
        return;
    }
    let mut machine = Machine::new();
    let damaged =
        r#"{"type":"talos-tpm2","keyslots":[],"UserData":{"keyslots":[1],"alg":"sha256"}}"#;
    machine.write("damaged", damaged.as_bytes());
    let import = ["token", "import", "--json-file", "damaged", "volume"];
    machine.tool("cryptsetup", &import);
    machine.refused("unlock", &[], 2, "token 0: ");
    let output = machine.with_evidence("unlock", &["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(document["refused"], false);
    let reason = document["reasons"][0].as_str().unwrap();
    assert!(reason.contains("sealed_blob_private"), "{reason}");
    let status = machine.done(&["status", "--luks", "volume"]);
    assert!(String::from_utf8_lossy(&status).contains("Unreadable: token 0: "));

    machine.enroll(&[]);
    machine.unlock(&[]);
    machine.reboot_with("02");
    let output = machine.with_evidence("unlock", &["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(document["refused"], true);
    assert_eq!(document["reasons"].as_array().unwrap().len(), 2);
}

#[test]
fn status_tells_what_it_can_without_secure_boot() {
    if !have("status_tells_what_it_can") {
        return;
    }
    let machine = Machine::new();
    machine.enroll(&[]);
    let status = machine.status();
    assert_eq!(status["pcrs"]["7"]["sha256"], Machine::pcr_7(1));
    assert_eq!(
        status["pcrs"]["11"]["sha256"],
        hex(&extended(b"enter-initrd"))
    );
    let tokens = status["volume"]["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0]["type"], "talos-tpm2");
    assert_eq!(tokens[0]["keyslots"], serde_json::json!([1]));
    if !std::path::Path::new("/sys/firmware/efi/efivars").exists() {
        assert_eq!(status["secure_boot"], Value::Null);
        assert_eq!(status["keys"]["db"], serde_json::json!([]));
    }
    let text = String::from_utf8(machine.done(&["status", "--luks", "volume"])).unwrap();
    assert!(
        text.contains("Token 0: talos-tpm2, key slots [1], no PIN"),
        "{text}"
    );
}

#[test]
fn an_enrolment_that_would_not_protect_leaves_the_volume_as_it_was() {
    if !have("an_enrolment_that_would_not_protect") {
        return;
    }
    let machine = Machine::new();
    machine.write("wrong", b"wrong passphrase");
    machine.write("garbage", &[0x42; 4096]);
    let header = machine.read("volume");
    let (insecure, initial) = ("--allow-insecure-boot", ["--unlock-key-file", "initial"]);
    let with = |more: &[&'static str]| [&initial[..], more].concat();
    if !std::path::Path::new("/sys/firmware/efi/efivars").exists() {
        machine.refused("enroll", &initial, 2, "Secure Boot: is off");
    }
    machine.refused(
        "enroll",
        &with(&[insecure, "--pcrs", "7,11"]),
        2,
        "PCR 11 is bound through",
    );
    machine.refused(
        "enroll",
        &with(&[insecure, "--pcrs", "99"]),
        2,
        "no list of registers",
    );
    let wrong = ["--unlock-key-file", "wrong", insecure];
    machine.refused(
        "enroll",
        &wrong,
        2,
        "--unlock-key-file: does not open the volume",
    );
    machine.refused("unlock", &[], 2, "has no TPM token");
    assert!(machine.read("volume") == header);
    let program = env!("CARGO_BIN_EXE_disk-key");
    for (device, reason) in [
        ("garbage", "is not a LUKS2 volume"),
        ("nothing", "cannot open nothing"),
    ] {
        let output = machine.run(program, &["unlock", "--luks", device]);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(reason),
            "{output:?}"
        );
    }
    let output = machine.run(program, &["phase", "a:b"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn one_token_holds_the_next_pcr_key_and_the_planned_pcr_7() {
    if !have("one_token_holds_the_next_pcr_key") {
        return;
    }
    let mut machine = Machine::new();
    machine.enroll(&[]);
    let old = machine.unlock(&[]);
    machine.tool("openssl", &["genrsa", "-out", "next.pem", "2048"]);
    let public = [
        "pkey",
        "-in",
        "next.pem",
        "-pubout",
        "-out",
        "next-public.pem",
    ];
    machine.tool("openssl", &public);
    let planned = Machine::pcr_7(2);
    let reseal = [
        "--json",
        "--format",
        "trustedboot",
        "--pcr7",
        &planned,
        "--next-pcr-key",
        "next-public.pem",
    ];
    let output = machine.with_evidence("reseal", &reseal);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{message}");
    let resealed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(resealed["keyslots"], serde_json::json!([2]), "one slot");
    assert_eq!(
        machine.status()["volume"]["tokens"][1]["type"],
        "trustedboot-tpm2"
    );
    assert_eq!(machine.unlock(&[]), old, "the old token is still there");

    // The next system is signed by the next key; PCR 7 is as before.
    machine.write("key.pem", &machine.read("next.pem"));
    machine.write("public.pem", &machine.read("next-public.pem"));
    machine.reboot_with("01");
    machine.sign(&extended(b"enter-initrd"));
    let new = machine.unlock(&[]);
    assert!(
        machine.opens(&new) && !machine.opens(&old),
        "it has opened once"
    );
    // Then PCR 7 changes as planned, and in no other way.
    machine.reboot_with("02");
    assert_eq!(machine.unlock(&[]), new);
    machine.reboot_with("03");
    machine.refused("unlock", &[], 1, "no alternative of the policy fits");
    // And a third key is none of the two.
    machine.tool("openssl", &["genrsa", "-out", "key.pem", "2048"]);
    machine.reboot_with("02");
    machine.sign(&extended(b"enter-initrd"));
    machine.refused("unlock", &[], 1, "the state is signed by key");
}

#[test]
fn a_reseal_that_cannot_be_proven_leaves_the_header_as_it_was() {
    if !have("a_reseal_that_cannot_be_proven") {
        return;
    }
    let machine = Machine::new();
    machine.enroll(&[]);
    let key = machine.unlock(&[]);
    let header = machine.read("volume");
    let planned = Machine::pcr_7(2);
    // Something else is where the storage root key should be.
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
    let create = ["-Q", "-C", "o", "-G", "ecc256:ecdsa:null", "-a", attributes];
    machine.tool(
        "tpm2_createprimary",
        &[&create[..], &["-c", "other.ctx"]].concat(),
    );
    machine.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "other.ctx", "0x81000001"],
    );
    machine.tool("tpm2_flushcontext", &["-t"]);
    for format in ["systemd", "trustedboot"] {
        let reseal = ["--format", format, "--pcr7", &planned];
        machine.refused("reseal", &reseal, 1, "handle 0x81000001 is in use");
    }
    machine.refused(
        "reseal",
        &["--pcr7", "zz"],
        2,
        "is not 64 hexadecimal digits",
    );
    machine.refused(
        "reseal",
        &["--next-pcr-key", "nothing"],
        2,
        "cannot read nothing",
    );
    let output = machine.with_evidence("reseal", &[]);
    assert_eq!(output.status.code(), Some(2), "nothing to seal to");
    assert!(machine.read("volume") == header);
    assert_eq!(machine.unlock(&[]), key);
}

#[test]
fn a_key_for_another_machine_opens_there_only() {
    if !have("a_key_for_another_machine") {
        return;
    }
    let mut machine = Machine::new();
    let there = Machine::new();
    // The other machine's storage root key and PCR 7 are all that is known of it here.
    there.enroll(&["--format", "systemd"]);
    there.tool(
        "tpm2_readpublic",
        &["-Q", "-c", "0x81000001", "-o", "srk.pub"],
    );
    machine.write("srk.pub", &there.read("srk.pub"));
    machine.enroll(&[]);
    let value = format!("7={}", Machine::pcr_7(1));
    let enrolled = machine.enroll(&[
        "--format",
        "systemd",
        "--device-key",
        "srk.pub",
        "--pcr-value",
        &value,
    ]);
    assert_eq!(enrolled["proven"], false);
    let here = machine.unlock(&[]);
    // A reseal here takes nothing from there.
    let planned = ["--json", "--only-predicted", "--pcr7", &Machine::pcr_7(2)];
    let output = machine.with_evidence("reseal", &planned);
    let resealed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(resealed["kept_until_opened"], serde_json::json!([0]));
    machine.reboot_with("02");
    let here_later = machine.unlock(&[]);
    assert!(here_later != here && !machine.opens(&here));

    // The volume moves, with the key's and the signatures' files.
    for file in ["volume", "public.pem", "pcrsig"] {
        there.write(file, &machine.read(file));
    }
    let key = there.unlock(&[]);
    assert!(key != here_later && there.opens(&key));
    let initial = ["--unlock-key-file", "initial", "--device-key", "srk.pub"];
    machine.refused("enroll", &initial, 2, "Talos's form cannot hold");
    let bad = ["--format", "systemd", "--pcr-value", "7=zz"];
    let reason = "'7=zz' is not a register";
    machine.refused("enroll", &[&initial[..], &bad].concat(), 2, reason);
}
