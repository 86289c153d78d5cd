//! `policy_digest` and `unseal_token` as a script sees them: documents on standard output, messages on standard error,
//! exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};

const POLICY_DIGEST: &str = env!("CARGO_BIN_EXE_policy_digest");
const UNSEAL_TOKEN: &str = env!("CARGO_BIN_EXE_unseal_token");

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tpm-seal/tests/vectors/ecc-srk")
        .join(name)
}

fn vector_json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(vector(name)).unwrap()).unwrap()
}

/// Exit code, the document (null when there is none) and the message.
fn run(program: &str, args: &[&str]) -> (i32, Value, String) {
    let output = Command::new(program)
        .args(args)
        .env("TSS2_LOG", "all+NONE")
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), document, message)
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[test]
fn policy_digest_gives_the_digest_of_every_vector() {
    let scratch = Scratch::new();
    let key = fs::read_to_string(vector("rsa2048-e65537.pub.pem")).unwrap();
    let signed = json!({ "signed": { "key": key } });
    let signed_by_file =
        json!({ "signed": { "key_file": vector("rotation-new.pub.pem").to_str().unwrap() } });
    let cases = vector_json("policy-digests.json");
    let case = |name: &str| {
        let mut all = cases.as_array().unwrap().iter();
        all.find(|case| case["name"] == name).unwrap().clone()
    };
    let digest = |policy: &Value| run(POLICY_DIGEST, &[&scratch.file("p", policy.to_string())]).1;
    for entry in cases.as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        if name.starts_with("pcr-") {
            let values = json!([{ "pcrs": entry["pcr_values"], "bank": entry["bank"] }]);
            assert_eq!(
                digest(&values),
                json!({ "digest": entry["digest"] }),
                "{name}"
            );
        }
    }
    let pcr_7 = json!({ "pcrs": case("pcr-sha256-7")["pcr_values"] });
    let nv = json!({ "authorize_nv": case("authorizenv")["nv_name"] });
    for (name, policy) in [
        ("authorize", json!([signed])),
        ("authorize+pcr7", json!({ "steps": [signed, pcr_7] })),
        ("authorize+pcr7+authvalue", json!([signed, pcr_7, "pin"])),
        ("authvalue", json!(["auth_value"])),
        ("or", json!([{ "or": [[pcr_7], ["pin"]] }])),
        (
            "rotation",
            json!([{ "or": [[signed], [signed_by_file]] }, pcr_7]),
        ),
        ("authorizenv", json!([nv])),
    ] {
        assert_eq!(
            digest(&policy),
            json!({ "digest": case(name)["digest"] }),
            "{name}"
        );
    }
}

#[test]
fn policy_digest_exits_with_2_for_what_is_no_policy() {
    let scratch = Scratch::new();
    for text in [
        "",
        "5",
        "[5]",
        "{}",
        r#"["x"]"#,
        r#"[{"or": [["pin"]]}]"#,
        r#"[{"pcrs": {"24": "00"}}]"#,
        r#"[{"pcrs": {"07": "00"}}]"#,
        r#"[{"pcrs": {"7": "00"}, "bank": "md5"}]"#,
        r#"[{"signed": {"key_file": "/nowhere"}}]"#,
        r#"["pin", {"command_code": 350, "pin": true}]"#,
    ] {
        let (code, document, message) = run(POLICY_DIGEST, &[&scratch.file("p", text)]);
        assert_eq!((code, document), (2, Value::Null), "{text}");
        assert!(message.starts_with("error: "), "{text}: {message}");
    }
    for args in [&[][..], &["a", "b"], &["/nowhere"]] {
        assert_eq!(run(POLICY_DIGEST, args).0, 2, "{args:?}");
    }
    assert_eq!(run(POLICY_DIGEST, &["--help"]).0, 0);
}

/// swtpm with the state of the vectors and their registers.
struct Swtpm {
    child: Child,
    port: u16,
    _state: tempfile::TempDir,
}

impl Swtpm {
    fn of_vectors() -> Option<Self> {
        if Command::new("swtpm").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "swtpm not found");
            eprintln!("SKIPPED: unseal_token: swtpm not found");
            return None;
        }
        let state = tempfile::tempdir().unwrap();
        fs::copy(
            vector("swtpm-tpm2-00.permall"),
            state.path().join("tpm2-00.permall"),
        )
        .unwrap();
        for _ in 0..100 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let child = Command::new("swtpm")
                .args(["socket", "--tpm2", "--seccomp", "action=none"])
                .args(["--flags", "not-need-init,startup-clear"])
                .arg(format!("--tpmstate=dir={}", state.path().display()))
                .arg(format!("--server=type=tcp,port={port}"))
                .arg(format!("--ctrl=type=tcp,port={}", u32::from(port) + 1))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut swtpm = Self {
                child,
                port,
                _state: tempfile::tempdir().unwrap(),
            };
            if swtpm.is_up() {
                swtpm._state = state;
                swtpm.replay();
                return Some(swtpm);
            }
        }
        panic!("swtpm does not start");
    }

    fn is_up(&mut self) -> bool {
        for _ in 0..5000 {
            if TcpStream::connect(("127.0.0.1", self.port.saturating_add(1))).is_ok() {
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        false
    }

    fn replay(&self) {
        let mut tpm = tpm_seal::Tpm::open(&self.tcti().parse().unwrap()).unwrap();
        let state = vector_json("tpm-state.json");
        for (pcr, events) in state["events"].as_object().unwrap() {
            for event in events.as_array().unwrap() {
                let event = event.as_str().unwrap().as_bytes();
                tpm.extend(pcr.parse().unwrap(), event).unwrap();
            }
        }
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn unseal_token_opens_tokens_of_talos_and_systemd_and_says_why_not() {
    let Some(swtpm) = Swtpm::of_vectors() else {
        return;
    };
    let scratch = Scratch::new();
    let (tcti, pcrsig) = (swtpm.tcti(), vector("tpm2-pcr-signature.json"));
    let common = ["--pcrsig", pcrsig.to_str().unwrap(), "--tcti", &tcti];
    let unseal = |token: &Value, more: &[&str]| {
        let path = scratch.file("token.json", token.to_string());
        run(
            UNSEAL_TOKEN,
            &[&[path.as_str()][..], &common, more].concat(),
        )
    };
    let systemd = vector_json("systemd-cryptenroll-tokens.json");
    for case in systemd.as_array().unwrap() {
        // With the line end that editors leave.
        let pin = case["pin"].as_str().unwrap_or_default();
        let pin = scratch.file("pin", format!("{pin}\n"));
        let (code, document, message) = unseal(&case["token"], &["--pin-file", &pin]);
        assert_eq!(code, 0, "{}: {document} {message}", case["case"]);
        assert_eq!(document, json!({ "secret": case["unsealed_secret"] }));
    }
    for case in vector_json("talos-tokens.json").as_array().unwrap() {
        let token = json!({ "type": "talos-tpm2", "keyslots": [], "UserData": case["userdata"] });
        // The key is found beside the signatures; or it is named.
        let key = vector("rsa2048-e65537.pub.pem");
        for more in [&[][..], &["--pcrpkey", key.to_str().unwrap()]] {
            let (code, document, _) = unseal(&token, more);
            if case["policy_matches_sorted_formula"] == true {
                assert_eq!((code, &document["secret"]), (0, &case["secret"]));
            } else {
                assert_eq!((code, &document["refused"]), (1, &json!("policy")));
            }
        }
    }
    let key_file = vector("tss2-sealed-pcr7.pem");
    let (code, _, _) = run(UNSEAL_TOKEN, &[key_file.to_str().unwrap(), "--tcti", &tcti]);
    assert_eq!(code, 0);

    let by_case = |name: &str| {
        let mut all = systemd.as_array().unwrap().iter();
        all.find(|case| case["case"] == name).unwrap()["token"].clone()
    };
    let (code, document, message) = unseal(&by_case("pin-only"), &[]);
    assert_eq!((code, message.as_str()), (1, ""));
    assert_eq!(
        document,
        json!({ "refused": "pin-needed", "reason": "a PIN is needed" })
    );
    let wrong = scratch.file("wrong", "wrong");
    let (code, document, _) = unseal(&by_case("pin-only"), &["--pin-file", &wrong]);
    assert_eq!((code, &document["refused"]), (1, &json!("wrong-pin")));
    let mut damaged = by_case("pcr7");
    damaged["tpm2-policy-hash"] = json!("zz");
    assert_eq!(unseal(&damaged, &[]).0, 2);
    damaged["tpm2-policy-hash"] = json!("00".repeat(32));
    assert_eq!(unseal(&damaged, &[]).0, 1);
    let sealed_twice = json!({ "type": "systemd-tpm2", "tpm2-blob": ["AA==", "AA=="] });
    assert_eq!(unseal(&sealed_twice, &[]).0, 2);
}

#[test]
fn unseal_token_exits_with_2_for_wrong_use_and_when_no_tpm_answers() {
    let scratch = Scratch::new();
    let all = vector_json("systemd-cryptenroll-tokens.json");
    let token = scratch.file("token.json", all[0]["token"].to_string());
    let empty = scratch.file("empty", "");
    let swtpm = "swtpm:host=127.0.0.1,port=1";
    for args in [
        &[][..],
        &[token.as_str()],
        &["--tcti", swtpm],
        &[&token, "--tcti"],
        &[&token, "--tcti", "nonsense"],
        &[&token, "--tcti", "swtpm:path=/nowhere"],
        &[&token, "--tcti", "device:/nowhere"],
        &[&token, "--tcti", swtpm],
        &[&token, "--tcti", swtpm, "--pin-file", "/nowhere"],
        &[&token, "--tcti", swtpm, "--pcrsig", "/nowhere"],
        &[&token, "--tcti", swtpm, "--pcrsig", &empty],
        &[&token, "--tcti", swtpm, "--pcrpkey", &empty],
        &[&token, "--tcti", swtpm, "--unknown", "x"],
        &[&token, &token, "--tcti", swtpm],
        &[&empty, "--tcti", swtpm],
        &["/nowhere", "--tcti", swtpm],
    ] {
        let (code, document, message) = run(UNSEAL_TOKEN, args);
        assert_eq!((code, document), (2, Value::Null), "{args:?}");
        assert!(message.starts_with("error: "), "{args:?}: {message}");
    }
    assert_eq!(run(UNSEAL_TOKEN, &["--help"]).0, 0);
}
