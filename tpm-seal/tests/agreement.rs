//! Policies of any shape have the same digest in pure Rust and on a TPM.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::have;
use support::signer::key;
use support::swtpm::Swtpm;
use tpm_seal::{Bank, PcrSelection, PcrValues, Policy, SignedPcrs, Step, Tcti, Tpm};

fn pcrs() -> impl Strategy<Value = PcrValues> {
    let bank = prop_oneof![Just(Bank::Sha256), Just(Bank::Sha384)];
    (bank, btree_map(0..24_u8, any::<u8>(), 1..5)).prop_map(|(bank, values)| {
        values
            .into_iter()
            .fold(PcrValues::new(bank), |all, (pcr, byte)| {
                all.with(pcr, &vec![byte; bank.digest_len()]).unwrap()
            })
    })
}

fn signed() -> impl Strategy<Value = SignedPcrs> {
    (
        prop_oneof![Just("rsa2048-e65537"), Just("rotation-new")],
        vec(any::<u8>(), 0..10),
    )
        .prop_map(|(name, policy_ref)| SignedPcrs::new(key(name)).policy_ref(&policy_ref))
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = prop_oneof![
        pcrs().prop_map(Step::Pcrs),
        any::<[u8; 32]>().prop_map(|digest| {
            Step::PcrDigest(PcrSelection::new(Bank::Sha256, &[4, 9]).unwrap(), digest)
        }),
        Just(Step::Pin),
        Just(Step::CommandCode(0x15e)),
    ];
    leaf.prop_recursive(2, 12, 3, |inner| {
        vec(vec(inner, 1..3), 2..4).prop_map(|branches| {
            Step::Or(
                branches
                    .into_iter()
                    .map(|steps| steps.into_iter().fold(Policy::new(), Policy::step))
                    .collect(),
            )
        })
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    (proptest::option::of(vec(signed(), 1..4)), vec(step(), 0..4)).prop_map(|(signed, steps)| {
        let start = signed.map_or_else(Policy::new, |signed| Policy::new().signed_by_any(signed));
        steps.into_iter().fold(start, Policy::step)
    })
}

#[test]
fn the_tpm_computes_the_same_digest_for_every_policy() {
    if !have("the_tpm_computes_the_same_digest_for_every_policy", "swtpm") {
        return;
    }
    let swtpm = Swtpm::new();
    let tpm = std::cell::RefCell::new(swtpm.open());
    let mut runner = TestRunner::new(Config {
        cases: 100,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&policy(), |policy| {
            let ours = policy.digest().unwrap();
            // A TPM refuses the same command code twice only if it differs; any policy of these can be computed.
            prop_assert_eq!(tpm.borrow_mut().policy_digest(&policy).unwrap(), ours);
            let again = Policy::parse(policy.to_json().as_bytes()).unwrap();
            prop_assert_eq!(again, policy);
            Ok(())
        })
        .unwrap();
    drop(tpm);
    assert!(swtpm.open_handles().is_empty());
}

#[test]
fn steps_on_nv_indices_are_for_digests_only_and_say_so() {
    if !have("steps_on_nv_indices_are_for_digests_only", "swtpm") {
        return;
    }
    let swtpm = Swtpm::new();
    let name = "000b507e33e1010f5b6b7ee03baa09f4d15bb87445effec0e9386ac710314a6f2958"
        .parse()
        .unwrap();
    let error = swtpm
        .open()
        .policy_digest(&Policy::new().step(Step::AuthorizeNv(name)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy step PolicyAuthorizeNV can be computed but not carried out on a TPM"
    );
}

#[test]
fn what_is_missing_is_said_clearly() {
    let open = |text: &str| {
        Tpm::open(&text.parse::<Tcti>().unwrap())
            .unwrap_err()
            .to_string()
    };
    // The one reader of the variable is libtss2, and this test is alone in using it in its thread.
    let _swtpm = have("what_is_missing_is_said_clearly", "swtpm").then(Swtpm::new);
    assert_eq!(
        open("device:/nonexistent/tpm"),
        "cannot reach the TPM through device:/nonexistent/tpm: the device does not exist"
    );
    let (first, second, port) = support::swtpm::port_pair();
    drop((first, second));
    let text = open(&format!("swtpm:host=127.0.0.1,port={port}"));
    assert!(
        text.contains("nothing answers there, or libtss2's module for this TCTI is missing")
            || text.contains("libtss2-tcti-"),
        "{text}"
    );
}
