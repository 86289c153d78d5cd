//! `TSS2 PRIVATE KEY` files, loaded and unsealed by this crate and by tpm2-tools.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::fs;

use support::have;
use support::swtpm::Swtpm;
use tpm_seal::{
    Bank, Error, Evidence, KeyFile, PcrSelection, Pin, Policy, Refusal, SealOptions, Secret, Token,
};

/// A TPM with a storage root key at 81000001, as tpm2-tools make it, and something in PCR 7 and 4.
fn prepared(algorithm: &str) -> Swtpm {
    let swtpm = Swtpm::new();
    for pcr in [4, 7] {
        swtpm.extend(pcr, "something");
    }
    let create = ["-Q", "-C", "o", "-G", algorithm, "-c", "srk.ctx"];
    swtpm.tool("tpm2_createprimary", &create);
    swtpm.tool(
        "tpm2_evictcontrol",
        &["-Q", "-C", "o", "-c", "srk.ctx", "0x81000001"],
    );
    swtpm.tool("tpm2_flushcontext", &["-t"]);
    fs::write(swtpm.path("secret"), [0x5a; 32]).unwrap();
    swtpm
}

fn seal_by_tools(swtpm: &Swtpm, more: &[&str]) {
    let create = [
        "-Q",
        "-C",
        "0x81000001",
        "-i",
        "secret",
        "-u",
        "sealed.pub",
        "-r",
        "sealed.priv",
    ];
    swtpm.tool("tpm2_create", &[&create[..], more].concat());
    swtpm.tool("tpm2_flushcontext", &["-t"]);
}

fn token_of_tools(swtpm: &Swtpm, auth: bool) -> Token {
    // What -p means for the file is the contrary of what it should be; both are read.
    let mut encode = vec![
        "-C",
        "0x81000001",
        "-u",
        "sealed.pub",
        "-r",
        "sealed.priv",
        "-o",
        "sealed.pem",
    ];
    if auth {
        encode.push("-p");
    }
    swtpm.tool("tpm2_encodeobject", &encode);
    // It leaves its session and the parent open.
    swtpm.flush_all();
    Token::open(swtpm.path("sealed.pem")).unwrap()
}

#[test]
fn unseals_files_that_tpm2_tools_wrote() {
    let name = "unseals_files_that_tpm2_tools_wrote";
    if !have(name, "swtpm") || !have(name, "tpm2_encodeobject") {
        return;
    }
    for algorithm in ["ecc", "rsa2048", "ecc256:aes256cfb"] {
        let swtpm = prepared(algorithm);
        seal_by_tools(&swtpm, &[]);
        let token = token_of_tools(&swtpm, false);
        let secret = swtpm.open().unlock(&token, &Evidence::new()).unwrap();
        assert_eq!(secret.as_bytes(), [0x5a; 32], "{algorithm}");

        seal_by_tools(&swtpm, &["-p", "hunter2"]);
        let token = token_of_tools(&swtpm, true);
        let mut tpm = swtpm.open();
        let missing = tpm.unlock(&token, &Evidence::new());
        assert!(
            matches!(missing, Err(Error::Refused(Refusal::PinNeeded))),
            "{missing:?}"
        );
        let wrong = tpm.unlock(&token, &Evidence::new().pin(Pin::new("hunter3")));
        assert!(
            matches!(wrong, Err(Error::Refused(Refusal::WrongPin { .. }))),
            "{wrong:?}"
        );
        let right = Evidence::new().pin(Pin::new("hunter2"));
        assert_eq!(tpm.unlock(&token, &right).unwrap().as_bytes(), [0x5a; 32]);
        drop(tpm);
        assert_eq!(swtpm.open_handles(), [0; 0]);
    }
}

#[test]
fn tpm2_tools_unseal_a_file_of_ours() {
    let name = "tpm2_tools_unseal_a_file_of_ours";
    if !have(name, "swtpm") || !have(name, "tpm2_unseal") || !have(name, "openssl") {
        return;
    }
    let swtpm = prepared("ecc");
    let mut tpm = swtpm.open();
    let registers = PcrSelection::new(Bank::Sha256, &[4, 7]).unwrap();
    let policy = Policy::new().pcrs(tpm.pcr_values(registers).unwrap());
    let secret = Secret::new(b"of ours".to_vec());
    let options = SealOptions::new().under_srk();
    let sealed = tpm.seal(&secret, &policy, &options).unwrap();
    let pem = KeyFile::new(&sealed, &policy).unwrap().to_pem().unwrap();

    // As a token again: the policy and the parent are in the file.
    let token = Token::parse(pem.as_bytes()).unwrap();
    assert_eq!(
        tpm.unlock(&token, &Evidence::new()).unwrap().as_bytes(),
        b"of ours"
    );
    drop(tpm);

    // The two structures are the last octet strings of the file; openssl takes them out.
    fs::write(swtpm.path("ours.pem"), &pem).unwrap();
    let listing = swtpm.output("openssl", &["asn1parse", "-in", "ours.pem"]);
    let offsets: Vec<&str> = listing
        .lines()
        .filter(|line| line.contains("d=1") && line.contains("OCTET STRING"))
        .map(|line| line.split(':').next().unwrap().trim())
        .collect();
    let [public, private] = offsets[..] else {
        panic!("{listing}");
    };
    for (offset, file) in [(public, "ours.pub"), (private, "ours.priv")] {
        let parse = [
            "asn1parse",
            "-in",
            "ours.pem",
            "-strparse",
            offset,
            "-noout",
            "-out",
            file,
        ];
        swtpm.output("openssl", &parse);
    }
    let load = [
        "-Q",
        "-C",
        "0x81000001",
        "-u",
        "ours.pub",
        "-r",
        "ours.priv",
        "-c",
        "ours.ctx",
    ];
    swtpm.tool("tpm2_load", &load);
    swtpm.tool("tpm2_flushcontext", &["-t"]);
    let unseal = ["-c", "ours.ctx", "-p", "pcr:sha256:4,7"];
    assert_eq!(swtpm.output("tpm2_unseal", &unseal), "of ours");

    swtpm.extend(7, "an update");
    let refused = swtpm.open().unlock(&token, &Evidence::new());
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::Registers { .. }))),
        "{refused:?}"
    );
}
