//! Somebody between the library and the TPM who reads, flips and replaces bytes.
#![cfg(feature = "tpm")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::sync::{Arc, Mutex};

use support::have;
use support::proxy::{Proxy, Verdict};
use support::signer::{key, sign_document};
use support::swtpm::Swtpm;
use tpm_seal::{
    Bank, Error, Evidence, PcrSelection, Pin, Policy, Refusal, SealOptions, SealedKey, Secret,
    SignedPcrs, Tpm,
};

const CREATE_PRIMARY: u32 = 0x131;
const CREATE: u32 = 0x153;
const UNSEAL: u32 = 0x15e;
const READ_PUBLIC: u32 = 0x173;

fn secret() -> Secret {
    Secret::new(b"thirty-two bytes of known secret".to_vec())
}

/// A booted TPM with a storage root key, and a policy with signed PCR 11 and a PIN.
fn prepared() -> (Swtpm, Policy, Evidence) {
    let swtpm = Swtpm::new();
    swtpm.extend(7, "secure boot");
    swtpm.extend(11, "kernel");
    let mut tpm = swtpm.open();
    tpm.storage_root_key().unwrap();
    let pcr_11 = tpm
        .pcr_values(PcrSelection::new(Bank::Sha256, &[11]).unwrap())
        .unwrap();
    let policy = Policy::new()
        .signed(SignedPcrs::new(key("rsa2048-e65537")))
        .pin();
    let evidence = Evidence::new()
        .signatures(sign_document("rsa2048-e65537", &[&pcr_11]))
        .pin(Pin::new("a PIN of the test"));
    (swtpm, policy, evidence)
}

fn options(srk: bool) -> SealOptions {
    let options = SealOptions::new().pin(Pin::new("a PIN of the test"));
    if srk { options.under_srk() } else { options }
}

fn contains(traffic: &[u8], needle: &[u8]) -> bool {
    traffic.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_listener_never_sees_the_secret() {
    if !have("a_listener_never_sees_the_secret", "swtpm") {
        return;
    }
    let (swtpm, policy, evidence) = prepared();
    for srk in [false, true] {
        let traffic = Arc::new(Mutex::new(Vec::new()));
        let (requests, responses) = (Arc::clone(&traffic), Arc::clone(&traffic));
        let proxy = Proxy::start(
            swtpm.port,
            move |_, request| {
                requests.lock().unwrap().extend_from_slice(request);
                Verdict::Forward
            },
            move |_, response| responses.lock().unwrap().extend_from_slice(response),
        );
        let mut tpm = Tpm::open(&proxy.tcti()).unwrap();
        let sealed = tpm.seal(&secret(), &policy, &options(srk)).unwrap();
        assert_eq!(tpm.unseal(&sealed, &policy, &evidence).unwrap(), secret());
        drop(tpm);
        let traffic = traffic.lock().unwrap();
        assert!(
            contains(&traffic, sealed.object().public().as_bytes()),
            "the proxy sees the traffic"
        );
        assert!(!contains(&traffic, &secret().as_bytes()[..8]));
        assert!(!contains(&traffic, b"a PIN of"));
    }
}

/// The public area in a response that begins at `at`: the last bytes of its `unique` are another point's.
fn swap_point(response: &mut [u8], at: usize) {
    // A point of the curve: the public key of the vectors' EC key.
    let point = [
        "65da4da6c0bcced38d91c19dd04c0f53754d00e14144edc38d9c07ea3299d561",
        "576e1a93d9c384ef077b60abb4966d927db7592159a120a7c55cac7edaa89b17",
    ];
    let size = usize::from(u16::from_be_bytes([response[at], response[at + 1]]));
    let end = at + 2 + size;
    response[end - 66..end - 34].copy_from_slice(&support::hex(point[0]));
    response[end - 32..end].copy_from_slice(&support::hex(point[1]));
}

/// Makes the Name in a response that of its public area.
fn fix_name(response: &mut [u8], public_at: usize, name_at: usize) {
    use sha2::Digest as _;
    let size = usize::from(u16::from_be_bytes([
        response[public_at],
        response[public_at + 1],
    ]));
    let digest = sha2::Sha256::digest(&response[public_at + 2..public_at + 2 + size]);
    response[name_at + 4..name_at + 36].copy_from_slice(&digest);
}

/// Which of the answers about the key are changed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Which {
    All,
    Only(usize),
}

/// Runs `job` behind a proxy that swaps the storage key's point in the chosen responses, and tells whether Create or
/// Unseal were sent.
fn behind_swapped_key(
    swtpm: &Swtpm,
    which: Which,
    consistent: bool,
    job: impl FnOnce(&mut Tpm) -> Result<(), Error>,
) -> (Result<(), Error>, bool) {
    let sent = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&sent);
    let mut count = 0;
    let proxy = Proxy::start(
        swtpm.port,
        move |code, _| {
            *seen.lock().unwrap() |= matches!(code, CREATE | UNSEAL);
            Verdict::Forward
        },
        move |code, response| {
            if !matches!(code, CREATE_PRIMARY | READ_PUBLIC) || response.len() < 100 {
                return;
            }
            count += 1;
            if which != Which::All && which != Which::Only(count) {
                return;
            }
            // CreatePrimary: header, handle, parameter size, public; ReadPublic: header, public.
            let at = if code == CREATE_PRIMARY { 18 } else { 10 };
            swap_point(response, at);
            if consistent {
                let size = usize::from(u16::from_be_bytes([response[at], response[at + 1]]));
                let name_at = if code == READ_PUBLIC {
                    at + 2 + size
                } else {
                    response.len() - 36 - 5
                };
                fix_name(response, at, name_at);
            }
        },
    );
    let mut tpm = Tpm::open(&proxy.tcti()).unwrap();
    let result = job(&mut tpm);
    drop(tpm);
    drop(proxy);
    // libtss2 gives no handle of a key that it refuses, so nobody can flush that one.
    swtpm.flush_all();
    let sent = *sent.lock().unwrap();
    (result, sent)
}

#[test]
fn a_swapped_storage_key_stops_everything_before_a_secret_is_sent() {
    if !have("a_swapped_storage_key_stops_everything", "swtpm") {
        return;
    }
    let (swtpm, policy, evidence) = prepared();
    for srk in [false, true] {
        let sealed = swtpm
            .open()
            .seal(&secret(), &policy, &options(srk))
            .unwrap();
        let name = sealed.parent().name().unwrap();
        for (which, consistent) in [
            (Which::All, false),
            (Which::All, true),
            (Which::Only(1), false),
            (Which::Only(1), true),
            (Which::Only(2), true),
        ] {
            let unseal = |tpm: &mut Tpm| tpm.unseal(&sealed, &policy, &evidence).map(drop);
            let seal = |tpm: &mut Tpm| {
                tpm.seal(&secret(), &policy, &options(srk).expected_parent(name))
                    .map(drop)
            };
            let (result, sent) = behind_swapped_key(&swtpm, which, consistent, unseal);
            if which == Which::Only(2) && !srk {
                result.unwrap(); // there is no second answer about that key
                continue;
            }
            // A key that was read from its handle may be made again and then is the right one.
            let recovered = srk && result.is_ok();
            assert!(
                recovered || !sent,
                "srk {srk}, consistent {consistent}: {result:?}"
            );
            let (result, sent) = behind_swapped_key(&swtpm, which, consistent, seal);
            assert!(
                result.is_err() && !sent,
                "srk {srk}, consistent {consistent}: {result:?}"
            );
        }
    }
}

#[test]
fn flipped_bytes_never_give_another_secret_and_never_a_wrong_yes() {
    if !have("flipped_bytes_never_give_another_secret", "swtpm") {
        return;
    }
    let (swtpm, policy, evidence) = prepared();
    let policy_without_pin = Policy::new().signed(match &policy.steps()[0] {
        tpm_seal::Step::Signed(signed) => signed.clone(),
        _ => panic!("signed first"),
    });
    let sealed: [SealedKey; 2] = [false, true].map(|srk| {
        let options = if srk {
            SealOptions::new().under_srk()
        } else {
            SealOptions::new()
        };
        swtpm
            .open()
            .seal(&secret(), &policy_without_pin, &options)
            .unwrap()
    });
    let (mut opened, mut failed) = (0, 0);
    for (round, in_response) in (0..80_usize).flat_map(|round| [(round, false), (round, true)]) {
        // Message number and place in it go through all combinations that matter.
        let (target, place) = (round % 20, round / 20 + round % 2);
        let flip = move |count: &mut usize, message: &mut [u8]| {
            *count += 1;
            if *count == target + 1 {
                let at = 10 + (message.len().saturating_sub(11)) * place / 5;
                if let Some(byte) = message.get_mut(at) {
                    *byte ^= 0x10;
                }
            }
        };
        let (mut requests, mut responses) = (0, 0);
        let proxy = Proxy::start(
            swtpm.port,
            move |_, request| {
                if !in_response {
                    flip(&mut requests, request);
                }
                Verdict::Forward
            },
            move |_, response| {
                if in_response {
                    flip(&mut responses, response);
                }
            },
        );
        let Ok(mut tpm) = Tpm::open(&proxy.tcti()) else {
            continue;
        };
        match tpm.unseal(&sealed[round % 2], &policy_without_pin, &evidence) {
            Ok(found) => {
                assert_eq!(found, secret(), "message {target}, place {place}");
                opened += 1;
            }
            Err(_) => failed += 1,
        }
        drop(tpm);
        drop(proxy);
        swtpm.flush_all();
    }
    assert!(
        failed > 60 && opened > 0,
        "{failed} failed, {opened} opened"
    );
}

#[test]
fn whatever_command_fails_nothing_stays_open() {
    if !have("whatever_command_fails_nothing_stays_open", "swtpm") {
        return;
    }
    let (swtpm, policy, evidence) = prepared();
    let sealed = [false, true].map(|srk| {
        swtpm
            .open()
            .seal(&secret(), &policy, &options(srk))
            .unwrap()
    });
    for srk in [false, true] {
        let sealed = &sealed[usize::from(srk)];
        for target in 0..40 {
            let failing = Arc::new(Mutex::new(0));
            let counter = Arc::clone(&failing);
            let proxy = Proxy::start(
                swtpm.port,
                move |code, _| {
                    // FlushContext is what would be missing; it is not made to fail.
                    let mut count = counter.lock().unwrap();
                    *count += usize::from(code != 0x165);
                    // TPM_RC_FAILURE, to one command only.
                    if code != 0x165 && *count == target + 1 {
                        Verdict::Answer(0x101)
                    } else {
                        Verdict::Forward
                    }
                },
                |_, _| {},
            );
            let Ok(mut tpm) = Tpm::open(&proxy.tcti()) else {
                continue;
            };
            let seal = tpm.seal(&secret(), &policy, &options(srk)).map(drop);
            let unseal = tpm.unseal(sealed, &policy, &evidence);
            // Asked past the proxy while the library still lives: it has no chance to tidy up on its way out.
            let open = swtpm.open_handles();
            assert!(
                open.is_empty(),
                "srk {srk}, command {target}: {open:x?}, {seal:?}, {unseal:?}"
            );
        }
    }
}

#[test]
fn a_busy_tpm_and_changing_registers_are_waited_for() {
    if !have("a_busy_tpm_and_changing_registers", "swtpm") {
        return;
    }
    let (swtpm, policy, evidence) = prepared();
    let sealed = swtpm
        .open()
        .seal(&secret(), &policy, &options(true))
        .unwrap();
    // TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_PCR_CHANGED: three times, then no more.
    for code in [0x922, 0x908, 0x128] {
        let mut left = 3;
        let proxy = Proxy::start(
            swtpm.port,
            move |command, _| {
                if command == UNSEAL && left > 0 {
                    left -= 1;
                    return Verdict::Answer(code);
                }
                Verdict::Forward
            },
            |_, _| {},
        );
        let mut tpm = Tpm::open(&proxy.tcti()).unwrap();
        assert_eq!(tpm.unseal(&sealed, &policy, &evidence).unwrap(), secret());
        drop(tpm);
        assert!(swtpm.open_handles().is_empty());
    }
    let proxy = Proxy::start(
        swtpm.port,
        |command, _| {
            if command == UNSEAL {
                Verdict::Answer(0x128)
            } else {
                Verdict::Forward
            }
        },
        |_, _| {},
    );
    let mut tpm = Tpm::open(&proxy.tcti()).unwrap();
    let error = tpm.unseal(&sealed, &policy, &evidence).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused(Refusal::Restless { attempts: 30, .. })
        ),
        "{error}"
    );
}
