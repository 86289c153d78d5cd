//! Event logs of machines that others recorded, with the values of their TPMs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use pcr::{Bank, EventData, EventLog, EventLogError, EventType, FindingKind, LogFormat, Register};

fn foreign(name: &str) -> Vec<u8> {
    support::read(format!("../foreign/{name}"))
}

fn assert_values(log: &EventLog, bank: Bank, expected: &[&str]) {
    let replay = log.replay();
    for (index, value) in (0..).zip(expected) {
        let register = Register::new(index).unwrap();
        let replayed = replay.value(bank, register).unwrap().to_string();
        assert_eq!(replayed, *value, "{bank} {index}");
    }
}

#[test]
fn a_laptop_whose_tpm_was_started_at_locality_3_is_replayed_to_its_values() {
    let log = EventLog::parse(&foreign("laptop-locality-3.bin")).unwrap();
    assert_eq!(log.replay().startup_locality(), 3);
    assert_eq!(log.check(), []);
    assert_values(
        &log,
        Bank::Sha1,
        &[
            "29d236609a5f9cc6912af44ba5f57b13a17c8a84",
            "db16852a369b2503d6cc6c0007501c837dbe1170",
            "0c8ef58d40b8cd1fe15f6b45fc1b385dd251eec0",
            "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236",
            "c56cddf3dcf59a473a239efd17b130391e24b0df",
            "23606963a2813421f5b6e76e32a337ff8940e413",
            "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236",
            "9221b8fc57b60cb7de507dc016f88d4600cde9c5",
        ],
    );
    assert_values(
        &log,
        Bank::Sha256,
        &[
            "0e5ea849d7647a1ac1becc096fee4df98f00f8015f934afadaab0b8aa20b38a5",
            "9750400838980c9419764b9cf19c975c0e159c18ebe21cb897c6e834a8d8d433",
            "970096d49105b0404999173e49c3f6b8597b9c4c5ff6a9e364b55ce01037578e",
            "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
            "ddb124ca9013f1e42f98537f7f381e47c5e6caa988cf2b4088f452c5a8dd912d",
            "fb58603615cfec59c0428e71913d30d45f38e4280380cc814135a7659c246b13",
            "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
            "9d1be46302bc4f5055c90a0376d9142e397ca8744f387c9824170f1bc855fde5",
        ],
    );
}

#[test]
fn a_log_of_sha_1_records_with_an_old_shim_is_replayed_and_has_no_findings() {
    let log = EventLog::parse(&foreign("cloud-sha1.bin")).unwrap();
    assert_eq!(log.format(), LogFormat::Sha1Only);
    assert_values(
        &log,
        Bank::Sha1,
        &[
            "0f2d3a2a1adaa479aeeca8f5df76aadc41b862ea",
            "b1676439cac1531683990fefe2218a43239d6fe8",
            "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236",
            "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236",
            "1eb30816474a3f144e99b24e4ad480b2e51fd9e1",
            "019079179dbc0eb5992c500dcf8a095910ac590d",
            "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236",
            "9e6c57e850f371c2a7fe02bca552149363952318",
        ],
    );
    // Its shim logged six bytes too many behind a certificate, of which it measured five.
    assert_eq!(log.check(), []);
    let authorities: Vec<String> = log
        .events()
        .iter()
        .filter(|event| event.event_type() == EventType::EFI_VARIABLE_AUTHORITY)
        .map(|event| match event.decoded() {
            EventData::Variable(variable) => variable.name,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(authorities, ["db", "Shim"]);
}

#[test]
fn unused_memory_after_a_log_is_told_and_kept() {
    let log = foreign("confidential-vm.bin");
    assert_eq!(EventLog::parse(&log).unwrap().padding_len(), 0);
    for (name, filler) in [("zeros", 0), ("erased", 0xff)] {
        for (bytes, shortest) in [(&log, 12), (&foreign("cloud-sha1.bin"), 32)] {
            let events = EventLog::parse(bytes).unwrap().events().len();
            for len in [1, shortest - 1, shortest, 65_536] {
                let mut padded = bytes.clone();
                padded.resize(bytes.len() + len, filler);
                let read = EventLog::parse(&padded);
                if len < shortest {
                    assert!(
                        matches!(read, Err(EventLogError::Truncated { .. })),
                        "{name} {len}"
                    );
                    continue;
                }
                let read = read.unwrap();
                assert_eq!(read.events().len(), events, "{name} {len}");
                assert!(read.to_bytes() == padded);
                assert!(EventLog::from_json(&read.to_json()).unwrap().to_bytes() == padded);
                let last = read.check().pop().unwrap();
                assert_eq!(
                    (last.event, last.kind),
                    (events, FindingKind::Padding(len as u64))
                );
                assert_eq!(
                    last.to_string(),
                    format!("{len} bytes of padding after the last event")
                );
            }
        }
    }
    // Anything else after the last record is a damaged log.
    let mut damaged = log.clone();
    damaged.resize(log.len() + 64, 0);
    damaged.push(1);
    assert!(EventLog::parse(&damaged).is_err());
    assert_eq!(EventLog::parse(&[0; 4096]), Err(EventLogError::Empty));
    assert_eq!(EventLog::parse(&[0xff; 4096]), Err(EventLogError::Empty));
}
