//! Event logs, judged by recorded boots: their TPM values and a foreign reading of their events.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use std::path::Path;

use pcr::{
    Bank, Event, EventData, EventLog, EventLogError, EventType, FindingKind, Guid, LogFormat,
    Register, SpecId,
};
use support::{BOOTS, all_logs, json, log, measured, read};

fn register(index: u8) -> Register {
    Register::new(index).unwrap()
}

#[test]
fn replays_every_boot_to_the_values_of_the_tpm_in_every_bank() {
    let mut compared = 0;
    for boot in BOOTS {
        let replay = EventLog::parse(&log(boot)).unwrap().replay();
        for (bank, registers) in measured(boot) {
            let bank: Bank = bank.parse().unwrap();
            for (index, value) in registers {
                // PCR 10 belongs to IMA, which has a log of its own.
                if index != "10" {
                    let register = register(index.parse().unwrap());
                    assert_eq!(
                        replay.value(bank, register).unwrap().to_string(),
                        value,
                        "{boot} {bank} {index}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 345, "23 registers in each of 15 banks");
}

#[test]
fn reads_every_event_as_the_foreign_reader_did() {
    let mut compared = 0;
    for boot in BOOTS {
        let log = EventLog::parse(&log(boot)).unwrap();
        let expected = json(Path::new(boot).join("events.json"));
        let events = expected["events"].as_array().unwrap();
        assert_eq!(log.events().len(), events.len(), "{boot}");
        for (event, expected) in log.events().iter().zip(events) {
            assert_eq!(event.offset(), expected["offset"].as_u64().unwrap());
            assert_eq!(
                u64::from(event.pcr_index()),
                expected["pcr"].as_u64().unwrap()
            );
            assert_eq!(
                u64::from(event.event_type().value()),
                expected["type"].as_u64().unwrap()
            );
            assert_eq!(
                event.event_type().to_string(),
                expected["type_name"].as_str().unwrap()
            );
            assert_eq!(
                event.data().len() as u64,
                expected["event_size"].as_u64().unwrap()
            );
            assert_eq!(
                Bank::Sha256.hash(event.data()).to_string(),
                expected["event_sha256"].as_str().unwrap()
            );
            for (bank, digest) in expected["digests"].as_object().unwrap() {
                let digest_found = event.digest(bank.parse().unwrap()).unwrap();
                assert_eq!(digest_found.to_string(), digest.as_str().unwrap());
            }
            match event.decoded() {
                EventData::Variable(variable) => {
                    let expected = &expected["variable"];
                    assert_eq!(variable.name, expected["name"].as_str().unwrap());
                    assert_eq!(
                        variable.guid.to_string(),
                        expected["guid"].as_str().unwrap()
                    );
                    assert_eq!(
                        variable.value.len() as u64,
                        expected["data_len"].as_u64().unwrap()
                    );
                }
                EventData::Text(text) if !expected["text"].is_null() => {
                    assert_eq!(text, expected["text"].as_str().unwrap());
                }
                EventData::Image(image) => {
                    assert_eq!(image.length, expected["image"]["length"].as_u64().unwrap());
                }
                _ => {}
            }
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
}

#[test]
fn recorded_boots_have_no_finding() {
    for boot in BOOTS {
        assert_eq!(EventLog::parse(&log(boot)).unwrap().check(), [], "{boot}");
    }
}

#[test]
fn takes_and_refuses_the_synthetic_logs_as_expected() {
    for case in json("synthetic/expected.json").as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let parsed = EventLog::parse(&read(Path::new("synthetic").join(file)));
        if case["result"] != "ok" {
            assert!(parsed.is_err(), "{file}");
            continue;
        }
        let log = parsed.unwrap();
        let replay = log.replay();
        let mut extended = 0;
        for (bank, registers) in case["pcrs"].as_object().unwrap() {
            for (index, value) in registers.as_object().unwrap() {
                let value_found =
                    replay.value(bank.parse().unwrap(), register(index.parse().unwrap()));
                assert_eq!(
                    value_found.unwrap().to_string(),
                    value.as_str().unwrap(),
                    "{file} {bank} {index}"
                );
                extended += 1;
            }
        }
        assert_eq!(replay.extended().count(), extended, "{file}");
        let findings: Vec<String> = log.check().iter().map(ToString::to_string).collect();
        match case["flag"].as_str() {
            Some(flag) => assert!(
                findings.iter().any(|finding| finding.contains(flag)),
                "{file}: {findings:?}"
            ),
            None => assert!(findings.is_empty(), "{file}: {findings:?}"),
        }
    }
}

#[test]
fn names_what_is_wrong_and_where() {
    let error = |file: &str| EventLog::parse(&read(Path::new("synthetic").join(file))).unwrap_err();
    assert_eq!(error("empty.bin"), EventLogError::Empty);
    assert_eq!(
        error("bad-alg-count.bin"),
        EventLogError::AlgorithmCount {
            found: 0x1000_0000,
            limit: 16
        }
    );
    assert_eq!(
        error("bad-alg-size.bin"),
        EventLogError::AlgorithmSize {
            algorithm: 0x000b,
            found: 20,
            expected: 32
        }
    );
    assert!(matches!(
        error("bad-digest-count.bin"),
        EventLogError::DigestCount { found: 65535, .. }
    ));
    assert!(matches!(
        error("bad-undeclared-alg.bin"),
        EventLogError::DigestCount {
            found: 2,
            expected: 1,
            ..
        }
    ));
    let mut foreign = log("d2-own-keys");
    // The algorithm of the first digest, behind register, type and count of the first record at 65.
    foreign[65 + 12] = 0x04;
    assert_eq!(
        EventLog::parse(&foreign),
        Err(EventLogError::UndeclaredAlgorithm {
            algorithm: 0x0004,
            offset: 77
        })
    );
    assert!(matches!(
        error("bad-event-size.bin"),
        EventLogError::Truncated {
            what: "event data",
            needed: 0xffff_ffff,
            ..
        }
    ));
    assert!(matches!(
        error("bad-truncated-data.bin"),
        EventLogError::Truncated {
            what: "event data",
            ..
        }
    ));
    let header = error("bad-truncated-header.bin");
    assert!(
        matches!(header, EventLogError::Truncated { .. }),
        "{header:?}"
    );
    assert!(
        header.to_string().starts_with("the event log ends within "),
        "{header}"
    );
}

#[test]
fn a_log_cut_anywhere_is_an_error_unless_the_cut_is_between_two_records() {
    for (name, bytes) in all_logs() {
        let whole = EventLog::parse(&bytes).unwrap();
        let mut ends: Vec<u64> = whole.events().iter().map(Event::offset).collect();
        ends.push(bytes.len() as u64);
        for end in 0..bytes.len() {
            let parsed = EventLog::parse(&bytes[..end]);
            assert_eq!(
                parsed.is_ok(),
                end > 0 && ends.contains(&(end as u64)),
                "{name} cut at {end}"
            );
        }
    }
}

#[test]
fn writes_every_log_back_byte_for_byte() {
    for (name, bytes) in all_logs() {
        let log = EventLog::parse(&bytes).unwrap();
        assert!(log.to_bytes() == bytes, "{name}");
        let copy = EventLog::from_json(&log.to_json()).unwrap();
        assert!(copy.to_bytes() == bytes, "{name} through JSON");
    }
}

#[test]
fn a_log_made_here_is_byte_identical_to_the_one_that_was_read() {
    let bytes = log("d4-sdboot-two-certs");
    let recorded = EventLog::parse(&bytes).unwrap();
    let mut copy = EventLog::crypto_agile(&[Bank::Sha256, Bank::Sha384]);
    for event in recorded.events() {
        let digests: Vec<_> = recorded
            .banks()
            .iter()
            .map(|bank| event.digest(*bank).unwrap())
            .collect();
        copy.push(Event::new(
            event.register().unwrap(),
            event.event_type(),
            &digests,
            event.data(),
        ))
        .unwrap();
    }
    assert!(copy.to_bytes() == bytes);
    assert_eq!(copy, recorded);
}

#[test]
fn refuses_an_event_with_other_banks_than_the_log() {
    let mut log = EventLog::crypto_agile(&[Bank::Sha256]);
    let foreign = Event::hashed(register(7), EventType::SEPARATOR, &[Bank::Sha1], &[0; 4]);
    assert_eq!(log.push(foreign), Err(EventLogError::ForeignDigests));
    assert_eq!(log.events(), []);
}

#[test]
fn reads_spec_id_events_of_all_generations() {
    let agile = EventLog::parse(&log("d2-own-keys")).unwrap();
    let spec_id = agile.spec_id().unwrap();
    assert_eq!(agile.format(), LogFormat::CryptoAgile);
    assert_eq!((spec_id.version, spec_id.uintn_size), ((2, 0, 0), 2));
    assert_eq!(spec_id.algorithms, [(0x000b, 32)]);

    let legacy = EventLog::parse(&read("synthetic/legacy-sha1.bin")).unwrap();
    assert_eq!(legacy.format(), LogFormat::Sha1Only);
    assert!(legacy.spec_id().is_some());

    let none = EventLog::parse(&read("synthetic/no-spec-id.bin")).unwrap();
    assert_eq!((none.spec_id(), none.banks()), (None, vec![Bank::Sha1]));

    let order = EventLog::parse(&read("synthetic/digest-order-swapped.bin")).unwrap();
    assert!(!order.spec_id().unwrap().vendor_info.is_empty());
    assert_ne!(
        order.events()[0].digests()[0].algorithm_id(),
        order.events()[1].digests()[0].algorithm_id()
    );

    let mut bios = SpecId::crypto_agile(&[]);
    bios.format = LogFormat::Sha1Only;
    bios.uintn_size = 0;
    bios.algorithms = vec![(0x0004, 20)];
    let mut log = EventLog::with_spec_id(bios.clone());
    log.push(Event::hashed(
        register(0),
        EventType::SEPARATOR,
        &[Bank::Sha1],
        &[0; 4],
    ))
    .unwrap();
    let read = EventLog::parse(&log.to_bytes()).unwrap();
    assert_eq!(read.spec_id(), Some(&bios));
    assert_eq!(read.events(), log.events());
}

#[test]
fn unknown_banks_and_types_are_kept() {
    let log = EventLog::parse(&read("synthetic/sm3-bank.bin")).unwrap();
    assert_eq!(log.banks(), [Bank::Sha256]);
    assert!(log.algorithms().contains(&(0x0012, 32)));
    assert!(log.events().iter().all(|event| event.digests().len() == 2));
    assert_eq!(EventType::new(0x1234).to_string(), "0x00001234");
    assert_eq!(
        EventType::from_name("EV_SEPARATOR"),
        Some(EventType::SEPARATOR)
    );
}

#[test]
fn a_locality_after_the_first_extend_is_reported() {
    let mut log = EventLog::crypto_agile(&[Bank::Sha256]);
    let banks = [Bank::Sha256];
    log.push(Event::hashed(
        register(0),
        EventType::SEPARATOR,
        &banks,
        &[0; 4],
    ))
    .unwrap();
    log.push(Event::hashed(
        register(0),
        EventType::NO_ACTION,
        &banks,
        b"StartupLocality\0\x03",
    ))
    .unwrap();
    let findings = log.check();
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].event, findings[0].kind),
        (1, FindingKind::LocalityConflict)
    );
    assert_eq!(log.replay().startup_locality(), 3);
}

#[test]
fn an_hcrtm_event_alone_means_locality_four() {
    let mut log = EventLog::crypto_agile(&[Bank::Sha256]);
    log.push(Event::hashed(
        register(0),
        EventType::EFI_HCRTM_EVENT,
        &[Bank::Sha256],
        b"HCRTM",
    ))
    .unwrap();
    let mut start = [0; 32];
    start[31] = 4;
    let expected = pcr::Digest::new(Bank::Sha256, &start)
        .unwrap()
        .extended(&Bank::Sha256.hash(b"HCRTM"));
    assert_eq!(
        log.replay().value(Bank::Sha256, register(0)),
        Some(expected)
    );
}

#[test]
fn final_events_are_merged_without_those_that_the_log_has() {
    let bytes = log("d7-shim-mok-uki");
    let whole = EventLog::parse(&bytes).unwrap();
    let count = whole.events().len();
    let cut = usize::try_from(whole.events()[count - 3].offset()).unwrap();
    for overlap in [0, 1, 4] {
        let from = usize::try_from(whole.events()[count - 3 - overlap].offset()).unwrap();
        let mut table = 1_u64.to_le_bytes().to_vec();
        table.extend_from_slice(&(3 + overlap as u64).to_le_bytes());
        table.extend_from_slice(&bytes[from..]);
        let mut log = EventLog::parse(&bytes[..cut]).unwrap();
        assert_eq!(
            log.merge_final_events(&table).unwrap(),
            3,
            "{overlap} events are in both"
        );
        assert!(log.to_bytes() == bytes);
        for end in 0..table.len() {
            let mut log = EventLog::parse(&bytes[..cut]).unwrap();
            assert!(log.merge_final_events(&table[..end]).is_err());
            assert_eq!(
                log.events().len(),
                count - 3,
                "nothing is added by a bad table"
            );
        }
    }
    let mut hostile = 1_u64.to_le_bytes().to_vec();
    hostile.extend_from_slice(&u64::MAX.to_le_bytes());
    let mut log = EventLog::parse(&bytes).unwrap();
    assert!(matches!(
        log.merge_final_events(&hostile),
        Err(EventLogError::Truncated { .. })
    ));
    hostile[0] = 2;
    assert_eq!(
        log.merge_final_events(&hostile),
        Err(EventLogError::FinalEventsVersion { found: 2 })
    );
}

#[test]
fn decodes_images_partition_tables_and_tags() {
    let log = EventLog::parse(&log("d9-dbt-gpt")).unwrap();
    let image = log.events().iter().find_map(|event| match event.decoded() {
        EventData::Image(image) => image.file_path(),
        _ => None,
    });
    assert_eq!(image.unwrap(), "\\EFI\\BOOT\\BOOTX64.EFI");
    let gpt = log.events().iter().find_map(|event| match event.decoded() {
        EventData::Gpt(gpt) => Some((gpt.header[..8].to_vec(), gpt.entries.len())),
        _ => None,
    });
    assert_eq!(gpt.unwrap(), (b"EFI PART".to_vec(), 1));
    let tags: Vec<u32> = log
        .events()
        .iter()
        .filter_map(|event| match event.decoded() {
            EventData::Tagged { tag, .. } => Some(tag),
            _ => None,
        })
        .collect();
    assert!(
        tags.contains(&0x8f3b_22ed) && tags.contains(&0xf5bc_582a),
        "{tags:x?}"
    );
}

#[test]
fn guids_read_what_they_write() {
    for text in [
        "8be4df61-93ca-11d2-aa0d-00e098032b8c",
        "d719b2cb-3d3a-4596-a3bc-dad00e67656f",
    ] {
        assert_eq!(text.parse::<Guid>().unwrap().to_string(), text);
    }
    assert_eq!(
        Guid::SHIM_LOCK.to_string(),
        "605dab50-e046-4300-abb6-3dd810dd8b23"
    );
    for wrong in [
        "",
        "8be4df61",
        "8be4df61-93ca-11d2-aa0d-00e098032b8c-",
        "+be4df61-93ca-11d2-aa0d-00e098032b8c",
    ] {
        assert!(wrong.parse::<Guid>().is_err(), "{wrong}");
    }
}
