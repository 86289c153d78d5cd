//! Canonical Event Logs in TLV and CBOR.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use pcr::{CelContent, CelEncoding, CelLog, EventLog, EventLogError, EventType};
use support::{all_logs, read};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A record as the Python package `eventlogs` has it in its tests: number 0, PCR 1, a SHA-1 digest of zeros, type 0x800000e2,
/// data "falafel".
fn tlv_record() -> Vec<u8> {
    hex("00 00000001 00  01 00000001 01
         03 00000019 04 00000014 0000000000000000000000000000000000000000
         05 00000015 00 00000004 800000e2 01 00000007 66616c6166656c")
}

#[test]
fn a_tlv_record_of_another_writer_is_read_and_written_back() {
    let cel = CelLog::parse_tlv(&tlv_record()).unwrap();
    let [record] = cel.records() else {
        panic!("one record")
    };
    assert_eq!((record.number, record.pcr), (Some(0), 1));
    let CelContent::PcClient { event_type, data } = &record.content else {
        panic!("{record:?}")
    };
    assert_eq!(*event_type, EventType::EFI_SPDM_FIRMWARE_CONFIG);
    assert_eq!(data, b"falafel");
    assert!(cel.to_tlv().unwrap() == tlv_record());
    // Numbers of fixed length are read as well.
    let mut fixed = hex("00 00000008 0000000000000000");
    fixed.extend_from_slice(&tlv_record()[6..]);
    assert_eq!(CelLog::parse(&fixed).unwrap(), cel);
}

#[test]
fn the_cbor_form_has_the_keys_of_the_specification() {
    let cel = CelLog::parse_tlv(&tlv_record()).unwrap();
    let expected = hex("81 a5 00 00 01 01
        03 81 a2 00 04 01 54 0000000000000000000000000000000000000000
        09 05 0a a2 00 1a 800000e2 01 47 66616c6166656c");
    assert!(cel.to_cbor().unwrap() == expected);
    assert_eq!(CelLog::parse(&expected).unwrap(), cel);
    // A sequence of records, and the type by its name.
    let mut named = expected[1..].to_vec();
    let name = b"EV_EFI_SPDM_FIRMWARE_CONFIG";
    let number = named
        .windows(5)
        .position(|it| it == hex("1a800000e2"))
        .unwrap();
    named.splice(
        number..number + 5,
        [[0x78, 27].as_slice(), name.as_slice()].concat(),
    );
    let twice = [named.clone(), named].concat();
    let sequence = CelLog::parse(&twice).unwrap();
    assert_eq!(sequence.records(), [cel.records(), cel.records()].concat());
}

#[test]
fn every_log_survives_every_encoding() {
    for (name, bytes) in all_logs() {
        let cel = CelLog::from_log(&EventLog::parse(&bytes).unwrap());
        let (tlv, cbor) = (cel.to_tlv().unwrap(), cel.to_cbor().unwrap());
        for encoded in [&tlv, &cbor, &cel.to_json().into_bytes()] {
            let read = CelLog::parse(encoded).unwrap();
            assert_eq!(read, cel, "{name}");
            assert!(read.to_log().unwrap().to_bytes() == bytes, "{name}");
        }
    }
}

#[test]
fn content_of_other_kinds_is_kept() {
    // An IMA record: name and data.
    let mut tlv = tlv_record();
    tlv.extend(hex("00 00000001 01 01 00000001 0a 03 00000000
         07 00000013 00 00000006 696d612d6e67 01 00000003 010203"));
    let cel = CelLog::parse_tlv(&tlv).unwrap();
    assert!(matches!(
        &cel.records()[1].content,
        CelContent::Encoded { content_type: 7, encoding: CelEncoding::Tlv, bytes } if bytes.len() == 19
    ));
    assert!(cel.to_tlv().unwrap() == tlv);
    assert_eq!(
        cel.to_cbor().unwrap_err().to_string(),
        "the CEL-CBOR log has no usable content that has a CBOR form in record 1, at offset 0"
    );
    assert!(cel.to_log().is_err());
    assert!(cel.to_json().contains(r#""content_type":7"#));

    let cbor = hex("81 a5 00 00 01 0a 03 80 09 07 0a a2 00 66 696d612d6e67 01 43 010203");
    let cel = CelLog::parse_cbor(&cbor).unwrap();
    assert!(cel.to_cbor().unwrap() == cbor);
}

#[test]
fn logs_cut_at_any_byte_are_refused_except_between_records() {
    let log = EventLog::parse(&read("synthetic/startup-locality-3.bin")).unwrap();
    let cel = CelLog::from_log(&log);
    let (tlv, cbor) = (cel.to_tlv().unwrap(), cel.to_cbor().unwrap());
    let whole = (1..tlv.len())
        .filter(|len| CelLog::parse_tlv(&tlv[..*len]).is_ok())
        .count();
    assert_eq!(whole + 1, cel.records().len());
    for len in 0..cbor.len() {
        let cut = CelLog::parse_cbor(&cbor[..len]);
        assert_eq!(cut.is_ok(), len == 0, "{len}");
    }
    assert_eq!(CelLog::parse(&[]), Err(EventLogError::Empty));
}

#[test]
fn hostile_encodings_are_refused_at_once() {
    let wrong = |text: &str| CelLog::parse(&hex(text)).unwrap_err().to_string();
    let told = |what: &str, offset: u64| {
        format!("the CEL-CBOR log has no usable {what} in record 0, at offset {offset}")
    };
    // A count beyond all bytes, an indefinite length, a key twice, an unknown key, nesting without end.
    assert_eq!(wrong("9b ffffffffffffffff"), told("map", 9));
    assert_eq!(wrong("9f ff"), told("array", 0));
    assert_eq!(wrong("81 a2 00 00 00 01"), told("key that occurs once", 6));
    assert_eq!(wrong("81 a1 02 00"), told("key", 3));
    let deep = format!("81 a1 0a {}", "81".repeat(100_000));
    assert!(wrong(&deep).contains("content"));
    assert!(wrong("81 a5 00 00 01 00 03 81 a2 00 0b 01 41 00").contains("digest"));
    assert!(wrong("81 a5 00 00 01 1b 0000000100000000").contains("register"));
    assert!(wrong("80 00").contains("end of the log"));
    assert_eq!(
        wrong("00 ffffffff 00"),
        "the CEL-TLV log has no usable record number in record 0, at offset 0"
    );
    assert!(wrong("00 00000009 000000000000000000").contains("record number"));
    assert!(wrong("00 00000001 00 01 00000001 00 03 00000006 0b 00000001 00").contains("digest"));
    assert!(CelLog::parse(&[0xc3, 0x28]).is_err());
}
