//! Event logs as text, and the difference of two logs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end with a message"
)]

mod support;

use pcr::{
    Bank, CelContent, CelLog, Digest, EventLog, EventLogError, EventType, LogDifference, Register,
};
use support::{all_logs, log};

#[test]
fn the_canonical_form_gives_the_same_log_back() {
    for (name, bytes) in all_logs() {
        let log = EventLog::parse(&bytes).unwrap();
        let text = CelLog::from_log(&log).to_json();
        let cel = CelLog::parse_json(&text).unwrap();
        assert!(cel.to_log().unwrap().to_bytes() == bytes, "{name}");
    }
}

#[test]
fn reads_the_example_record_of_the_specification() {
    let text = r#"[{"content":{"event_type":"EV_COMPACT_HASH","event_data":"44656c6c20436f6e66696775726174696f6e20496e666f726d6174696f6e2032"},"content_type":"pcclient_std","pcr":6,"recnum":2,"digests":[{"hashAlg":"sha1","digest":"bac9a8935b720760bcdea2faae75152f5d1e4bea"},{"hashAlg":"sha256","digest":"d18bf8d221a3a3b08774c8d077328c4b2ca205e4f1618ad4bac2b5786f453bc7"}]}]"#;
    let cel = CelLog::parse_json(text).unwrap();
    let [record] = cel.records() else {
        panic!("one record")
    };
    assert_eq!((record.number, record.pcr), (Some(2), 6));
    let CelContent::PcClient { event_type, data } = &record.content else {
        panic!("an event")
    };
    assert_eq!(*event_type, EventType::COMPACT_HASH);
    assert_eq!(data, b"Dell Configuration Information 2");
    assert_eq!(record.digests.len(), 2);
}

#[test]
fn reads_the_log_of_user_space_as_systemd_writes_it() {
    let digest = Bank::Sha256.hash(b"enter-initrd");
    let record = format!(
        r#"{{"pcr":11,"digests":[{{"hashAlg":"sha256","digest":"{digest}"}}],"content_type":"systemd","content":{{"string":"enter-initrd","bootId":"0","timestamp":1,"eventType":"phase"}}}}"#
    );
    let text = format!("\u{1e}{record}\n\u{1e}{record}\n");
    let cel = CelLog::parse_json(&text).unwrap();
    assert_eq!(cel.records().len(), 2);
    let start = Digest::zero(Bank::Sha256);
    assert_eq!(
        cel.replay(Register::KERNEL_BOOT, start),
        start.extended(&digest).extended(&digest)
    );
    assert!(matches!(
        cel.to_log(),
        Err(EventLogError::Text {
            what: "content_type",
            record: 0,
            ..
        })
    ));
    assert_eq!(CelLog::parse_json(&cel.to_json()).unwrap(), cel);
}

#[test]
fn text_errors_name_the_member_and_the_record() {
    let error = |text: &str| CelLog::parse_json(text).unwrap_err().to_string();
    assert_eq!(
        error(r#"[{"pcr":0,"digests":[]},{"digests":[]}]"#),
        "the CEL-JSON text has no usable pcr in record 1"
    );
    assert_eq!(
        error("[1"),
        "the CEL-JSON text has no usable JSON value in record 0"
    );
    assert_eq!(
        EventLog::from_json(r#"{"events":[{"pcr":0}]}"#)
            .unwrap_err()
            .to_string(),
        "the JSON text has no usable type in record 0"
    );
    let text = EventLog::parse(&log("d1-setup-mode")).unwrap().to_json();
    for end in (0..text.len()).step_by(61) {
        assert!(EventLog::from_json(&text[..end]).is_err());
    }
}

#[test]
fn the_same_log_has_no_difference_and_other_boots_name_theirs() {
    let parse = |boot| EventLog::parse(&log(boot)).unwrap();
    let own_keys = parse("d2-own-keys");
    assert!(own_keys.diff(&own_keys).is_empty());

    let denied = parse("d10-first-attempt-denied");
    let differences = own_keys.diff(&denied);
    assert!(
        differences
            .iter()
            .any(|difference| difference.pcr_index() == 4)
    );
    assert!(
        differences
            .iter()
            .all(|difference| difference.pcr_index() != 7),
        "{differences:?}"
    );

    let two_certificates = parse("d4-sdboot-two-certs");
    let one_certificate = parse("d3-sdboot-same-cert");
    let of_pcr7: Vec<_> = one_certificate
        .diff(&two_certificates)
        .into_iter()
        .filter(|difference| difference.pcr_index() == 7)
        .collect();
    assert!(
        matches!(of_pcr7[..], [LogDifference::Changed(db, _), LogDifference::Added(authority)]
            if db.event_type() == EventType::EFI_VARIABLE_DRIVER_CONFIG
            && authority.event_type() == EventType::EFI_VARIABLE_AUTHORITY),
        "{of_pcr7:?}"
    );
    assert!(of_pcr7[0].before().is_some() && of_pcr7[1].after().is_some());
}
