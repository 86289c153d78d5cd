//! Signature lists: the vectors of efitools and sbsigntool, the malformed set, editing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{
    Certificate, EfiTime, Error, Guid, HashAlgorithm, Problem, SignatureDatabase, SignatureList,
    SignatureType,
};
use support::{certificate, g1, g2, hex, json, sha256, vector};

#[test]
fn lists_of_the_vectors_are_read_as_recorded_and_written_back() {
    let expected = json("esl/expected.json");
    assert_eq!(expected.as_object().unwrap().len(), 13);
    for (name, lists) in expected.as_object().unwrap() {
        let bytes = vector(&format!("esl/{name}"));
        let database = SignatureDatabase::parse(&bytes).unwrap();
        assert!(database.to_bytes() == bytes, "{name}");
        assert_eq!(
            database.lists().len(),
            lists.as_array().unwrap().len(),
            "{name}"
        );
        for (list, fields) in database.lists().iter().zip(lists.as_array().unwrap()) {
            assert_eq!(
                list.kind().guid().to_string(),
                fields["type"].as_str().unwrap(),
                "{name}"
            );
            assert_eq!(list.kind().name(), fields["type_name"].as_str(), "{name}");
            assert_eq!(
                Some(list.byte_len()),
                fields["list_size"].as_u64(),
                "{name}"
            );
            assert_eq!(
                Some(list.header().len() as u64),
                fields["header_size"].as_u64(),
                "{name}"
            );
            assert_eq!(
                Some(u64::from(list.entry_len())),
                fields["signature_size"].as_u64(),
                "{name}"
            );
            let entries = fields["entries"].as_array().unwrap();
            assert_eq!(list.len(), entries.len(), "{name}");
            for (signature, fields) in list.signatures().zip(entries) {
                assert_eq!(
                    signature.owner.to_string(),
                    fields["owner"].as_str().unwrap(),
                    "{name}"
                );
                assert_eq!(
                    sha256(signature.data),
                    fields["data_sha256"].as_str().unwrap(),
                    "{name}"
                );
                if let Some(subject) = fields["subject"].as_str() {
                    assert_eq!(
                        Certificate::from_der(signature.data).unwrap().subject(),
                        subject,
                        "{name}"
                    );
                }
                if let Some(year) = fields["revocation_time"]["year"].as_u64() {
                    assert_eq!(
                        u64::from(signature.revocation_time().unwrap().year()),
                        year,
                        "{name}"
                    );
                }
            }
        }
    }
}

#[test]
fn lists_are_made_byte_for_byte_like_those_of_efitools() {
    let with = |name: &str| {
        SignatureDatabase::new()
            .with_certificate(g1(), &certificate(name))
            .to_bytes()
    };
    assert!(with("PK") == vector("esl/PK.efitools.esl"));
    assert!(with("KEK") == vector("esl/KEK.efitools.esl"));
    let two = SignatureDatabase::new()
        .with_certificate(g1(), &certificate("db"))
        .with_certificate(g2(), &certificate("db2"));
    assert!(two.to_bytes() == vector("esl/db-two-lists.esl"));

    let time = EfiTime::new(2024, 1, 2, 3, 4, 5).unwrap();
    for (algorithm, time, file) in [
        (HashAlgorithm::Sha256, time, "db2.x509_sha256.efitools.esl"),
        (
            HashAlgorithm::Sha256,
            EfiTime::ZERO,
            "db2.x509_sha256-forever.efitools.esl",
        ),
        (HashAlgorithm::Sha384, time, "db2.x509_sha384.efitools.esl"),
        (HashAlgorithm::Sha512, time, "db2.x509_sha512.efitools.esl"),
    ] {
        let mut dbx = SignatureDatabase::new();
        dbx.add_revocation(algorithm, g2(), &certificate("db2"), time)
            .unwrap();
        assert_eq!(
            hex(&dbx.to_bytes()),
            hex(&vector(&format!("esl/{file}"))),
            "{file}"
        );
    }

    let theirs = SignatureDatabase::parse(&vector("esl/three-sha256.efitools.esl")).unwrap();
    let mut ours = SignatureDatabase::new();
    for entry in theirs.entries() {
        ours.add_image_digest(HashAlgorithm::Sha256, Guid::SHIM_LOCK, entry.data)
            .unwrap();
    }
    assert_eq!(ours, theirs);
}

#[test]
fn the_malformed_set_has_the_recorded_verdicts() {
    for row in json("malformed/expected.json").as_array().unwrap() {
        let file = row["file"].as_str().unwrap();
        let bytes = vector(&format!("malformed/{file}"));
        let (strict, lenient) = if file.ends_with(".esl") {
            (
                SignatureDatabase::parse(&bytes).err(),
                SignatureDatabase::parse_lenient(&bytes).err(),
            )
        } else {
            let read = |strict: bool| {
                let update = if strict {
                    efivars::AuthenticatedUpdate::parse(&bytes)
                } else {
                    efivars::AuthenticatedUpdate::parse_lenient(&bytes)
                };
                update.and_then(|update| update.signed_data()).err()
            };
            (read(true), read(false))
        };
        for (verdict, error) in [(&row["strict"], strict), (&row["lenient"], lenient)] {
            assert_eq!(
                verdict.as_str().unwrap().starts_with("error"),
                error.is_some(),
                "{file}: {error:?}"
            );
        }
        if let (Ok(database), true) = (
            SignatureDatabase::parse_lenient(&bytes),
            file.ends_with(".esl"),
        ) {
            assert!(database.to_bytes() == bytes, "{file}");
        }
    }
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    for (file, message) in [
        (
            "bad-short-header.esl",
            "signature list header at offset 0 is truncated: 28 bytes needed, 27 available",
        ),
        (
            "bad-listsize-small.esl",
            "signature list at offset 0 says it has 27 bytes, its headers need 28",
        ),
        (
            "bad-listsize-zero.esl",
            "signature list at offset 0 says it has 0 bytes, its headers need 28",
        ),
        (
            "bad-listsize-big.esl",
            "signature list at offset 0 is truncated: 508 bytes needed, 76 available",
        ),
        (
            "bad-not-multiple.esl",
            "signature list at offset 0 has 50 bytes of entries, not a multiple of 48",
        ),
        (
            "bad-sigsize-zero.esl",
            "signature list at offset 0 has entries of 0 bytes, at least 16 expected",
        ),
        (
            "bad-sigsize-small.esl",
            "signature list at offset 0 has entries of 15 bytes, at least 16 expected",
        ),
        (
            "bad-headersize-overflow.esl",
            "signature list at offset 0 says it has 76 bytes, its headers need 4294967308",
        ),
        (
            "bad-trailing.esl",
            "signature list header at offset 124 is truncated: 28 bytes needed, 3 available",
        ),
        (
            "warn-header.esl",
            "signature list at offset 0 has a signature header of 4 bytes, none expected",
        ),
        (
            "warn-no-entries.esl",
            "signature list at offset 0 has no entries",
        ),
        (
            "warn-sha256-size.esl",
            "signature list at offset 0: SHA256 data has 36 bytes, 32 expected",
        ),
        (
            "warn-x509-garbage.esl",
            "entry at offset 44 is not a DER certificate",
        ),
    ] {
        let error = SignatureDatabase::parse(&vector(&format!("malformed/{file}"))).unwrap_err();
        assert_eq!(error.to_string(), message, "{file}");
    }
}

#[test]
fn an_x509_list_without_data_is_refused_by_the_strict_reader() {
    let mut bytes = vector("malformed/warn-no-entries.esl");
    bytes[16] = 44;
    bytes.extend_from_slice(&[7; 16]);
    let error = SignatureDatabase::parse(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "signature list at offset 0 has entries of 16 bytes, at least 17 expected"
    );
    assert_eq!(SignatureDatabase::parse_lenient(&bytes).unwrap().len(), 1);
}

#[test]
fn what_the_lenient_reader_lets_pass_is_told() {
    let problems = |file: &str| {
        SignatureDatabase::parse_lenient(&vector(file))
            .unwrap()
            .problems()
    };
    assert_eq!(problems("malformed/ok-two-lists.esl"), []);
    assert_eq!(
        problems("malformed/warn-header.esl"),
        [Problem::SignatureHeader { list: 0 }]
    );
    assert_eq!(
        problems("malformed/warn-no-entries.esl"),
        [Problem::NoEntries { list: 0 }]
    );
    assert_eq!(
        problems("malformed/warn-sha256-size.esl"),
        [Problem::DataLength { list: 0 }]
    );
    assert_eq!(
        problems("malformed/warn-x509-garbage.esl"),
        [Problem::NotACertificate { list: 0, entry: 0 }]
    );
    assert_eq!(
        problems("malformed/warn-two-x509.esl"),
        [
            Problem::SeveralCertificates { list: 0 },
            Problem::Duplicate { list: 0, entry: 1 }
        ]
    );
    let unknown = SignatureType::from_guid("12345678-9abc-4def-8123-456789abcdef".parse().unwrap());
    assert_eq!(
        problems("malformed/ok-unknown-type.esl"),
        [Problem::UnknownToFirmware {
            list: 0,
            kind: unknown
        }]
    );
    assert_eq!(
        problems("esl/ec.efitools.esl"),
        [Problem::NotRsa { list: 0, entry: 0 }]
    );
    assert_eq!(
        problems("esl/ec.efitools.esl")[0].to_string(),
        "the certificate in entry 0 of list 0 has no RSA key: edk2 refuses it"
    );
}

#[test]
fn cutting_at_any_byte_is_an_error_except_between_lists() {
    let bytes = vector("esl/db-two-lists.esl");
    for len in 1..bytes.len() {
        assert_eq!(
            SignatureDatabase::parse_lenient(&bytes[..len]).is_ok(),
            len == 833,
            "{len}"
        );
    }
}

#[test]
fn an_append_drops_what_is_there_and_starts_a_new_list() {
    let (one, two, three) = ([1; 32], [2; 32], [3; 32]);
    let database = |owner, digests: &[[u8; 32]]| {
        let mut database = SignatureDatabase::new();
        for digest in digests {
            database
                .add_signature(SignatureType::SHA256, owner, digest)
                .unwrap();
        }
        database
    };
    let mut dbx = database(g1(), &[one, two]);
    assert_eq!(dbx.append_as_firmware(&database(g1(), &[two, three])), 1);
    assert_eq!(dbx.lists().len(), 2);
    assert_eq!(
        dbx.append_as_firmware(&database(g1(), &[one, two, three])),
        0
    );
    // Another owner makes another entry, and twice the same new entry stays twice.
    assert_eq!(dbx.append_as_firmware(&database(g2(), &[one, one])), 2);
    let entries: Vec<_> = dbx
        .entries()
        .map(|entry| (entry.owner, entry.data[0]))
        .collect();
    assert_eq!(
        entries,
        [(g1(), 1), (g1(), 2), (g1(), 3), (g2(), 1), (g2(), 1)]
    );
}

#[test]
fn removing_drops_empty_lists_and_diff_tells_the_rest() {
    let old = SignatureDatabase::parse(&vector("esl/db-two-lists.esl")).unwrap();
    let mut new = old.clone();
    assert_eq!(new.remove(|entry| entry.owner == g1()), 1);
    assert_eq!(new.lists().len(), 1);
    new.add_image_digest(HashAlgorithm::Sha1, g1(), &[9; 20])
        .unwrap();
    let difference = old.diff(&new);
    assert_eq!(difference.added.len(), 1);
    assert_eq!(difference.added[0].kind, SignatureType::SHA1);
    assert_eq!(
        difference.removed[0].certificate().unwrap().subject(),
        "CN=vector dev db"
    );
    assert!(!difference.reordered);
    assert_eq!(new.remove(|_| false), 0);

    let mut swapped = SignatureDatabase::new();
    old.lists()
        .iter()
        .rev()
        .for_each(|list| swapped.push_list(list.clone()));
    let difference = old.diff(&swapped);
    assert!(difference.added.is_empty() && difference.removed.is_empty() && difference.reordered);
}

#[test]
fn entries_of_another_length_do_not_fit() {
    let mut database = SignatureDatabase::new();
    let error = database
        .add_signature(SignatureType::SHA256, g1(), &[0; 20])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "signature list at offset 0: SHA256 data has 20 bytes, 32 expected"
    );
    let error = database
        .add_revocation(HashAlgorithm::Sha1, g1(), &certificate("db"), EfiTime::ZERO)
        .unwrap_err();
    assert!(matches!(
        error,
        Error::DataLength {
            found: 36,
            expected: 48,
            ..
        }
    ));
    let mut list = SignatureList::new(SignatureType::SHA1, g1(), &[0; 20]).unwrap();
    let error = list.push(g1(), &[0; 32]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an entry of 48 bytes does not fit into a list with entries of 36 bytes"
    );
}

#[test]
fn ten_thousand_hashes_are_merged_at_once() {
    let mut big = SignatureDatabase::new();
    for n in 0..10_000u32 {
        let digest: [u8; 32] =
            std::array::from_fn(|i| n.to_le_bytes()[i % 4] ^ u8::try_from(i).unwrap());
        big.add_signature(SignatureType::SHA256, Guid::MICROSOFT, &digest)
            .unwrap();
    }
    assert_eq!(big.lists().len(), 1);
    let start = std::time::Instant::now();
    let mut merged = big.clone();
    assert_eq!(merged.append_as_firmware(&big), 0);
    assert!(big.diff(&merged).added.is_empty());
    assert_eq!(big.problems(), []);
    // Comparing each with each takes a hundred million comparisons: minutes in this profile.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn certificates_tell_who_they_are() {
    let certificate = certificate("db2");
    assert_eq!(certificate.subject(), "CN=vector dev db two");
    assert_eq!(certificate.issuer(), "CN=vector dev db two");
    assert_eq!(
        certificate.common_name().as_deref(),
        Some("vector dev db two")
    );
    assert_eq!(certificate.rsa_bits(), Some(4096));
    assert_eq!(
        hex(&certificate.sha256()),
        "9a9ed8e5fd7fdbe60e10900ed85684ac918389b2353b453a327a0cf3288c198c"
    );
    assert_eq!(certificate.to_der(), vector("keys/db2.der"));
    assert_eq!(
        Certificate::from_pem_or_der(&vector("keys/db2.der")).unwrap(),
        certificate
    );
    assert!(!support::certificate("ec").is_rsa());
}

#[test]
fn a_certificate_cut_at_any_byte_is_refused() {
    let der = vector("keys/db.der");
    for len in 0..der.len() {
        assert!(Certificate::from_der(&der[..len]).is_err(), "{len}");
    }
    let mut longer = der;
    longer.push(0);
    assert!(matches!(
        Certificate::from_der(&longer),
        Err(Error::Der { offset: 789, .. })
    ));
}
