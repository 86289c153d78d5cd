//! The examples sign as the crate itself does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::tools::{have, run};

#[allow(dead_code, reason = "their command lines are not used here")]
#[path = "../examples/openssl.rs"]
mod openssl;
#[allow(dead_code, reason = "their command lines are not used here")]
#[path = "../examples/pkcs11.rs"]
mod pkcs11;
mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod tools;
}

fn vector(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(path)
}

fn assert_golden(output: &Path) {
    assert!(fs::read(output).unwrap() == fs::read(vector("signed/addon.golden.efi")).unwrap());
}

#[test]
fn an_external_command_signs() {
    if !have(&["openssl"], "an_external_command_signs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.efi");
    let (key, certificate) = (vector("keys/db-rsa2048.key"), vector("keys/db-rsa2048.pem"));
    openssl::sign(&key, &certificate, &vector("images/addon.efi"), &output).unwrap();
    assert_golden(&output);
}

#[test]
fn a_pkcs11_token_signs() {
    const MODULES: [&str; 3] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    if !have(&["softhsm2-util", "openssl"], "a_pkcs11_token_signs") {
        return;
    }
    let module = MODULES
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let configuration = folder.path().join("softhsm2.conf");
    fs::write(
        &configuration,
        format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            tokens.display()
        ),
    )
    .unwrap();
    let util = |args: &[&str]| {
        run(Command::new("softhsm2-util")
            .args(args)
            .env("SOFTHSM2_CONF", &configuration))
    };
    util(&[
        "--init-token",
        "--free",
        "--label",
        "boot",
        "--pin",
        "1234",
        "--so-pin",
        "5678",
    ]);
    let key = vector("keys/db-rsa2048.key");
    let key = key.to_str().unwrap();
    util(&[
        "--import", key, "--token", "boot", "--pin", "1234", "--label", "signer", "--id", "01",
    ]);
    // The library reads its configuration from the environment, so the token is used by a process of its own.
    let output = folder.path().join("out.efi");
    run(Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "signs_with_the_token_of_the_environment"])
        .env("SOFTHSM2_CONF", &configuration)
        .env("TEST_MODULE", module)
        .env("TEST_OUTPUT", &output));
    assert_golden(&output);
}

/// The other process of the test above; alone it has nothing to do.
#[test]
fn signs_with_the_token_of_the_environment() {
    let (Some(module), Some(output)) = (
        std::env::var_os("TEST_MODULE"),
        std::env::var_os("TEST_OUTPUT"),
    ) else {
        return;
    };
    let token = pkcs11::Token::open(Path::new(&module), "boot", "1234", "signer").unwrap();
    token
        .sign(
            &vector("keys/db-rsa2048.pem"),
            &vector("images/addon.efi"),
            Path::new(&output),
        )
        .unwrap();
}
