//! What is wrong with the signed policies of a finished UKI.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]
#![cfg(feature = "rsa")]

#[path = "support/sections.rs"]
mod sections;

use pcr::{
    Bank, BoxError, Dialect, HardwareChoice, Pcr11, PhasePath, Policies, PolicyCheck, RsaSigner,
    ToBeSigned,
};
use sections::read;

fn signer() -> RsaSigner {
    RsaSigner::from_pem(&String::from_utf8(read("inputs/pcr-key.pem")).unwrap()).unwrap()
}

/// Another key, of the same size.
fn other_signer() -> &'static RsaSigner {
    static OTHER: std::sync::OnceLock<RsaSigner> = std::sync::OnceLock::new();
    OTHER.get_or_init(|| {
        let key = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, 2048).unwrap();
        RsaSigner::new(key).unwrap()
    })
}

/// A UKI with the test key, without policies.
fn uki() -> Pcr11 {
    let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    boot.observe(".linux", b"kernel");
    boot.observe(".cmdline", b"quiet");
    boot.observe(".pcrpkey", signer().public_key().to_pem().as_bytes());
    boot
}

fn signed(policies: &Policies, signer: &RsaSigner) -> Vec<u8> {
    policies
        .sign(signer.public_key(), signer)
        .unwrap()
        .to_json()
}

fn with_pcrsig(mut boot: Pcr11, document: &[u8]) -> Pcr11 {
    boot.observe(".pcrsig", document);
    boot
}

fn findings(boot: &Pcr11) -> Vec<String> {
    let findings = boot.check_policies(&[]).unwrap();
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn good_policies_have_no_findings() {
    for phase in [PhasePath::initrd(), PhasePath::talos()] {
        let document = signed(&uki().policies(&[phase]).unwrap(), &signer());
        assert_eq!(findings(&with_pcrsig(uki(), &document)), [""; 0]);
    }
    assert_eq!(findings(&uki()), [""; 0]);
}

#[test]
fn a_key_that_is_not_the_policies_is_found() {
    let policies = uki().policies(&[PhasePath::initrd()]).unwrap();
    let document = signed(&policies, other_signer());
    assert_eq!(
        findings(&with_pcrsig(uki(), &document)),
        ["pcrsig-other-key: profile 0: no policy in .pcrsig is signed with the key in .pcrpkey"]
    );
    // With several keys, one of them must be it.
    let both = policies
        .prepare(other_signer().public_key())
        .sign(other_signer())
        .unwrap()
        .merge(policies.sign(signer().public_key(), &signer()).unwrap());
    assert_eq!(findings(&with_pcrsig(uki(), &both.to_json())), [""; 0]);
}

#[test]
fn missing_and_late_phases_are_found() {
    let sysinit = PhasePath::new("enter-initrd:leave-initrd:sysinit");
    let policies = uki().policies(std::slice::from_ref(&sysinit)).unwrap();
    let policies = policies.filter(|policy| policy.bank == Bank::Sha256);
    let boot = with_pcrsig(uki(), &signed(&policies, &signer()));
    assert_eq!(
        findings(&boot),
        [
            "pcrsig-late-phase: profile 0: signed for the phase \"enter-initrd:leave-initrd:sysinit\", \
             when root of the running system can unseal",
            "pcrsig-phase-missing: profile 0: no usable sha256 policy for the phase \"enter-initrd\"",
        ]
    );
    let wanted = [sysinit, PhasePath::new("my:words")];
    let checks: Vec<PolicyCheck> = boot
        .check_policies(&wanted)
        .unwrap()
        .into_iter()
        .map(|finding| finding.check)
        .collect();
    assert!(matches!(&checks[..], [
        PolicyCheck::LatePhase { .. },
        PolicyCheck::PhaseMissing { phase, bank: Bank::Sha256 },
    ] if phase.as_str() == "my:words"));
}

#[test]
fn signatures_that_no_tpm_takes_are_found() {
    let policies = uki().policies(&[PhasePath::initrd()]).unwrap();
    let document = String::from_utf8(signed(&policies, &signer())).unwrap();
    // The first entry gets the signature of the second bank's.
    let signatures: Vec<&str> = document
        .split("\"sig\":\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    let exchanged = document.replacen(signatures[0], signatures[1], 1);
    assert_eq!(
        findings(&with_pcrsig(uki(), exchanged.as_bytes())),
        [
            "pcrsig-invalid: profile 0: sha1 entry 0: the signature does not verify",
            "pcrsig-phase-missing: profile 0: no usable sha1 policy for the phase \"enter-initrd\"",
        ]
    );

    // As systemd-measure 257 signs the bank SHA-384.
    let key = signer();
    let policies = policies.filter(|policy| policy.bank == Bank::Sha384);
    let pem = String::from_utf8(read("inputs/pcr-key.pem")).unwrap();
    let private =
        <rsa::RsaPrivateKey as rsa::pkcs1::DecodeRsaPrivateKey>::from_pkcs1_pem(&pem).unwrap();
    let with_bank_hash = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> {
        let digest = Bank::Sha384.hash(request.message());
        let scheme = rsa::Pkcs1v15Sign::new::<sha2::Sha384>();
        Ok(private.sign(scheme, digest.as_bytes()).unwrap())
    };
    // Our own signing refuses to make such a document, so it is put together by hand.
    let prepared = policies.prepare(key.public_key());
    let request = prepared.to_be_signed()[0].clone();
    let good = prepared.sign(&key).unwrap().to_json();
    let good = String::from_utf8(good).unwrap();
    let base64 = |bytes: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    let ours = base64(&pcr::Signer::sign(&key, &request).unwrap());
    let theirs = base64(&with_bank_hash(&request).unwrap());
    let bad = good.replace(&ours, &theirs);
    assert_ne!(good, bad);
    assert_eq!(
        findings(&with_pcrsig(uki(), bad.as_bytes())),
        [
            "pcrsig-bank-hash: profile 0: sha384 entry 0: \
             signed with the bank's hash instead of SHA-256, no TPM takes it",
            "pcrsig-phase-missing: profile 0: no usable sha384 policy for the phase \"enter-initrd\"",
        ]
    );
}

#[test]
fn policies_of_another_uki_are_found() {
    let mut other = uki();
    other.observe(".uname", b"6.1");
    let policies = other.policies(&[PhasePath::initrd()]).unwrap();
    let policies = policies.filter(|policy| policy.bank == Bank::Sha256);
    assert_eq!(
        findings(&with_pcrsig(uki(), &signed(&policies, &signer()))),
        [
            "pcrsig-other-value: profile 0: sha256 entry 0: \
             fits no value that this UKI gives PCR 11 in a known phase",
            "pcrsig-phase-missing: profile 0: no usable sha256 policy for the phase \"enter-initrd\"",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_found() {
    for (document, expected) in [
        (&b"{"[..], "pcrsig-unreadable"),
        (b"[]", "pcrsig-unreadable"),
        (b"{\"sha256\":[{}]}", "pcrsig-entry-unreadable"),
        (b"{}", "pcrsig-other-key"),
    ] {
        let found = findings(&with_pcrsig(uki(), document));
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    let mut boot = Pcr11::new(Dialect::Systemd257, &Bank::ALL);
    boot.observe(".linux", b"kernel");
    boot.observe(
        ".pcrpkey",
        &signer().public_key().to_pem().as_bytes()[..200],
    );
    boot.observe(".pcrsig", b"{}");
    assert_eq!(
        findings(&boot),
        [
            "pcrpkey-unusable: profile 0: .pcrpkey is unusable: a PEM block without its END line: the text is cut off"
        ]
    );
}

#[test]
fn hardware_without_policy_is_found() {
    let mut boot = uki();
    boot.observe((None, ".dtbauto", 0), b"board one");
    boot.observe((None, ".dtbauto", 1), b"board two");
    // As ukify signs it: nothing for machines that match no device tree.
    let policies = boot.policies(&[PhasePath::initrd()]).unwrap();
    let policies = policies
        .filter(|policy| policy.bank == Bank::Sha256 && policy.hardware != HardwareChoice::NONE);
    assert_eq!(
        findings(&with_pcrsig(boot, &signed(&policies, &signer()))),
        ["pcrsig-hardware-missing: profile 0: no usable policy for the hardware choice none"]
    );
}

#[test]
fn a_debug_profile_with_the_disks_key_is_found() {
    let mut boot = uki();
    boot.observe((Some(0), ".profile"), b"ID=main\n");
    boot.observe((Some(1), ".profile"), b"ID=reset\nTITLE=Factory reset\n");
    boot.observe((Some(2), ".profile"), b"ID=x\n");
    boot.observe((Some(2), ".cmdline"), b"quiet systemd.debug_shell\n");
    for profile in 0..3 {
        let paths = [PhasePath::initrd()];
        let policies = boot.profile(profile).unwrap().policies(&paths).unwrap();
        let document = signed(&policies, &signer());
        boot.observe((Some(profile), ".pcrsig"), &document);
    }
    assert_eq!(
        findings(&boot),
        [
            "pcrsig-debug-profile: profile 2: a profile for debugging is signed with the key of the first one, \
             it can unseal the disk"
        ]
    );
}

#[test]
fn codes_are_stable_and_errors_marked() {
    let phase = PhasePath::initrd();
    let all = [
        (PolicyCheck::DocumentUnreadable, "pcrsig-unreadable", true),
        (
            PolicyCheck::EntryUnreadable,
            "pcrsig-entry-unreadable",
            true,
        ),
        (PolicyCheck::OtherKey, "pcrsig-other-key", true),
        (PolicyCheck::SignatureInvalid, "pcrsig-invalid", true),
        (PolicyCheck::BankHash, "pcrsig-bank-hash", false),
        (PolicyCheck::OtherValue, "pcrsig-other-value", false),
        (PolicyCheck::LatePhase { phase }, "pcrsig-late-phase", false),
        (PolicyCheck::DebugProfile, "pcrsig-debug-profile", false),
    ];
    for (check, code, is_error) in all {
        assert_eq!((check.code(), check.is_error()), (code, is_error));
    }
}
