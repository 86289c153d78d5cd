//! Signing, the signature table, timestamps.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs::{self, OpenOptions};
use std::io::{Cursor, Seek as _};

use authenticode::{
    BoxError, Certificate, Error, Existing, Finding, HashAlgorithm, Image, ImageHasher,
    ImageOptions, KeyKind, Prepared, RsaSigner, SignatureScheme, Signing, ToBeSigned, UnixTime,
    Verifier, verify_timestamp,
};
use support::forge::{self, Key};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod forge;
}

fn vector(path: &str) -> Vec<u8> {
    fs::read(format!("tests/vectors/{path}")).unwrap()
}

fn text(path: &str) -> String {
    String::from_utf8(vector(path)).unwrap()
}

fn certificate(name: &str) -> Certificate {
    Certificate::from_pem(&text(&format!("keys/{name}.pem"))).unwrap()
}

fn signer(name: &str) -> RsaSigner {
    RsaSigner::from_pem(&text(&format!("keys/{name}.key"))).unwrap()
}

/// Signs bytes and gives the signed file.
fn sign(bytes: &[u8], signing: Signing, key: &str) -> Vec<u8> {
    let mut file = bytes.to_vec();
    let signed = signing.prepare(
        Image::parse_with(bytes, &ImageOptions::new().hashes(&HashAlgorithm::ALL)).unwrap(),
    );
    signed
        .unwrap()
        .sign(&signer(key))
        .unwrap()
        .edit()
        .unwrap()
        .apply_to_bytes(&mut file)
        .unwrap();
    file
}

fn is_trusted(bytes: &[u8], anchor: &str) -> bool {
    let image = Image::parse(bytes).unwrap();
    assert_eq!(image.checksum(), image.correct_checksum());
    Verifier::new()
        .trust([certificate(anchor)])
        .verify(&image)
        .is_trusted()
}

#[test]
fn the_flow_of_a_writer_reads_nothing_twice() {
    let bytes = vector("images/stub-unaligned.efi");
    let mut hasher = ImageHasher::new();
    let mut out = Cursor::new(Vec::new());
    for part in bytes.chunks(1000) {
        hasher.update(part);
        std::io::Write::write_all(&mut out, part).unwrap();
    }
    assert_eq!(hasher.position(), bytes.len() as u64);
    let prepared = Prepared::new(hasher.finish().unwrap(), &certificate("db-rsa2048")).unwrap();
    prepared
        .sign(&signer("db-rsa2048"))
        .unwrap()
        .append_to(&mut out)
        .unwrap();
    assert!(out.into_inner() == vector("signed/stub-unaligned.golden.efi"));
}

#[test]
fn all_ways_of_writing_give_the_same_file() {
    let input = vector("images/overlay5.efi");
    let expected = vector("signed/overlay5.golden.efi");
    let image = Image::parse(&input).unwrap();
    let signed = Prepared::new(image, &certificate("db-rsa2048"))
        .unwrap()
        .sign(&signer("db-rsa2048"))
        .unwrap();
    let edit = signed.edit().unwrap();
    assert_eq!(edit.len(), expected.len() as u64);
    let mut copy = Vec::new();
    edit.write_to(&mut Cursor::new(&input), &mut copy).unwrap();
    assert!(copy == expected);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.efi");
    fs::write(&path, &input).unwrap();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    edit.apply_to_file(&mut file).unwrap();
    assert!(fs::read(&path).unwrap() == expected);
    // And back: the padding stays.
    file.rewind().unwrap();
    let image = Image::read(&mut file).unwrap();
    let mut table = image.table().clone();
    table.clear();
    image
        .with_table(&table)
        .unwrap()
        .apply_to_file(&mut file)
        .unwrap();
    let bare = fs::read(&path).unwrap();
    assert_eq!(bare.len(), input.len().next_multiple_of(8));
    let image = Image::parse(&bare).unwrap();
    assert!(!image.is_signed());
    assert_eq!(image.checksum(), image.correct_checksum());
}

#[test]
fn a_file_that_changed_its_length_is_refused() {
    let input = vector("images/addon.efi");
    let image = Image::parse(&input).unwrap();
    let signed = Prepared::new(image, &certificate("db-rsa2048"))
        .unwrap()
        .sign(&signer("db-rsa2048"))
        .unwrap();
    let mut longer = input.clone();
    longer.push(0);
    let error = signed
        .edit()
        .unwrap()
        .apply_to_bytes(&mut longer)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the file has 2049 bytes, but 2048 when it was hashed"
    );
    let error = signed.append_to(&mut Cursor::new(longer)).unwrap_err();
    assert!(matches!(
        error,
        Error::FileChanged {
            expected: 2048,
            found: 2049
        }
    ));
    let mut out = Vec::new();
    let error = signed
        .edit()
        .unwrap()
        .write_to(&mut Cursor::new(&input[..2000]), &mut out)
        .unwrap_err();
    assert!(matches!(
        error,
        Error::FileChanged {
            expected: 2048,
            found: 2000
        }
    ));
}

#[test]
fn appending_is_idempotent_and_replacing_replaces() {
    let bytes = vector("images/tiny64.efi");
    let (a, b) = (certificate("db-rsa2048"), certificate("db-rsa4096"));
    let once = sign(&bytes, Signing::new(&a), "db-rsa2048");
    assert!(sign(&once, Signing::new(&a), "db-rsa2048") == once);
    // Even if the signature would be another.
    assert!(
        sign(
            &once,
            Signing::new(&a).signing_time(UnixTime(5)),
            "db-rsa2048"
        ) == once
    );
    let two = sign(&once, Signing::new(&b), "db-rsa4096");
    assert!(is_trusted(&two, "db-rsa2048") && is_trusted(&two, "db-rsa4096"));
    assert!(two.starts_with(&once[..0x80]) && two.len() > once.len());
    let same = sign(
        &two,
        Signing::new(&a)
            .existing(Existing::ReplaceSameSigner)
            .signing_time(UnixTime(5)),
        "db-rsa2048",
    );
    assert_eq!(Image::parse(&same).unwrap().entries().len(), 2);
    let first = sign(
        &two,
        Signing::new(&b).existing(Existing::Replace(0)),
        "db-rsa4096",
    );
    assert!(!is_trusted(&first, "db-rsa2048") && is_trusted(&first, "db-rsa4096"));
    let all = sign(
        &two,
        Signing::new(&a).existing(Existing::ReplaceAll),
        "db-rsa2048",
    );
    assert!(all == once);
    let image = Image::parse(&two).unwrap();
    let error = Signing::new(&a)
        .existing(Existing::Replace(2))
        .prepare(image.clone())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no signature 2: the table has 2"
    );
    let (table, removed) = image.without_signer(&a);
    assert_eq!((table.entries().len(), removed), (1, 1));
    assert!(matches!(
        image.table().clone().remove(2),
        Err(Error::NoSuchSignature { index: 2, count: 2 })
    ));
}

#[test]
fn signatures_are_merged_from_another_copy_of_the_image() {
    let bytes = vector("images/overlay5.efi");
    let a = sign(
        &bytes,
        Signing::new(&certificate("db-rsa2048")),
        "db-rsa2048",
    );
    let b = sign(
        &bytes,
        Signing::new(&certificate("db-rsa4096")),
        "db-rsa4096",
    );
    let (image, other) = (Image::parse(&a).unwrap(), Image::parse(&b).unwrap());
    let (table, added) = image.merge(&other).unwrap();
    assert_eq!((table.entries().len(), added), (2, 1));
    let mut both = a.clone();
    image
        .with_table(&table)
        .unwrap()
        .apply_to_bytes(&mut both)
        .unwrap();
    assert!(is_trusted(&both, "db-rsa2048") && is_trusted(&both, "db-rsa4096"));
    assert_eq!(Image::parse(&both).unwrap().merge(&other).unwrap().1, 0);
    // From a signed copy to the unsigned one.
    assert_eq!(Image::parse(&bytes).unwrap().merge(&other).unwrap().1, 1);
    let foreign = Image::parse(&vector("signed/addon.golden.efi")).unwrap();
    assert!(matches!(image.merge(&foreign), Err(Error::DigestMismatch)));
}

#[test]
fn a_detached_signature_is_attached_only_to_its_image() {
    let detached = vector("detached/overlay5.golden.p7");
    let mut bytes = vector("images/overlay5.efi");
    let image = Image::parse(&bytes).unwrap();
    let table = image.attach(&detached).unwrap();
    image
        .with_table(&table)
        .unwrap()
        .apply_to_bytes(&mut bytes)
        .unwrap();
    assert!(bytes == vector("signed/overlay5.golden.efi"));
    let other = Image::parse(&vector("images/addon.efi")).unwrap();
    assert!(matches!(
        other.attach(&detached),
        Err(Error::DigestMismatch)
    ));
    let mut broken = detached.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert!(matches!(
        image.attach(&broken),
        Err(Error::SignatureMismatch)
    ));
    assert!(matches!(
        image.attach(&detached[..100]),
        Err(Error::Der { .. })
    ));
}

#[test]
fn all_hashes_and_a_chain_are_trusted_by_the_root() {
    for hash in [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ] {
        let signing = Signing::new(&certificate("leaf"))
            .hash(hash)
            .chain([certificate("inter")]);
        let bytes = sign(&vector("images/tiny32.efi"), signing, "leaf");
        assert!(is_trusted(&bytes, "root"), "{hash}");
        assert!(is_trusted(&bytes, "leaf"), "{hash}");
        assert!(!is_trusted(&bytes, "other"), "{hash}");
    }
    let alone = sign(
        &vector("images/tiny32.efi"),
        Signing::new(&certificate("leaf")),
        "leaf",
    );
    assert!(!is_trusted(&alone, "root"));
    assert!(is_trusted(&alone, "inter"));
}

#[test]
fn closures_sign_by_message_by_digest_or_by_digest_info() {
    let key = Key::from_pem(&text("keys/db-rsa2048.key"));
    let golden = vector("detached/addon.golden.p7");
    let image = Image::parse(&vector("images/addon.efi")).unwrap();
    let prepared = Prepared::new(image, &certificate("db-rsa2048")).unwrap();
    let by_message = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> {
        Ok(key.sign(request.hash_algorithm(), request.message()))
    };
    assert_eq!(prepared.clone().sign(&by_message).unwrap().pkcs7(), golden);
    let raw = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> {
        let scheme = rsa::Pkcs1v15Sign {
            hash_len: None,
            prefix: Box::new([]),
        };
        Ok(key.0.sign(scheme, &request.digest_info()).unwrap())
    };
    assert_eq!(prepared.clone().sign(&raw).unwrap().pkcs7(), golden);
    let prefix = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let info = prepared.to_be_signed().digest_info();
    assert_eq!(
        info,
        [&prefix[..], prepared.to_be_signed().digest()].concat()
    );
    let failing = |_: &ToBeSigned| -> Result<Vec<u8>, BoxError> { Err("the card is gone".into()) };
    let error = prepared.clone().sign(&failing).unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the card is gone"
    );
    let wrong = prepared.clone().sign(&signer("other")).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "the signature does not verify with the certificate's key"
    );
    assert!(matches!(
        prepared.attach(&[0; 255]),
        Err(Error::SignatureMismatch)
    ));
}

#[test]
fn keys_that_firmware_refuses_need_to_be_asked_for() {
    let bytes = vector("images/tiny64.efi");
    let image = Image::parse(&bytes).unwrap();
    let error = Prepared::new(image.clone(), &certificate("ec-p256")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "firmware refuses signatures by EC P-256 keys"
    );
    let pss = Signing::new(&certificate("db-rsa2048")).scheme(SignatureScheme::RsaPss);
    assert!(matches!(
        pss.clone().prepare(image.clone()),
        Err(Error::KeyKindRefused { key: "RSA-PSS" })
    ));
    let signed = sign(&bytes, pss.allow_refused_by_firmware(true), "db-rsa2048");
    assert!(is_trusted(&signed, "db-rsa2048"));
    let ec = Signing::new(&certificate("ec-p256"))
        .allow_refused_by_firmware(true)
        .prepare(image)
        .unwrap();
    assert_eq!(ec.to_be_signed().scheme(), SignatureScheme::Ecdsa);
    let blob = Image::parse(&vector("signed/tiny64.ecdsa.efi")).unwrap();
    let findings = blob.findings(None);
    assert!(
        findings.contains(&Finding::RefusedKey {
            signature: 0,
            key: KeyKind::EcP256
        }),
        "{findings:?}"
    );
    assert!(matches!(ec.attach(&[0; 64]), Err(Error::SignatureMismatch)));
}

#[test]
fn keys_are_read_in_both_pem_forms() {
    use rsa::pkcs1::EncodeRsaPrivateKey as _;
    let key = Key::from_pem(&text("keys/db-rsa2048.key"));
    let pkcs1 = key.0.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF).unwrap();
    assert!(pkcs1.starts_with("-----BEGIN RSA PRIVATE KEY"));
    assert!(RsaSigner::from_pem(&pkcs1).is_ok());
    assert!(
        RsaSigner::from_pem(&format!(
            "Bag Attributes\n{}trailing",
            text("keys/db-rsa2048.key")
        ))
        .is_ok()
    );
    assert!(matches!(
        RsaSigner::from_pem(&text("keys/ec-p256.key")),
        Err(Error::Key(_))
    ));
    assert!(matches!(
        Certificate::from_pem("nothing"),
        Err(Error::Pem {
            label: "CERTIFICATE"
        })
    ));
    let chain =
        Certificate::chain_from_pem(&[text("keys/leaf.pem"), text("keys/inter.pem")].concat())
            .unwrap();
    assert_eq!(chain, [certificate("leaf"), certificate("inter")]);
}

#[test]
fn a_timestamp_is_attached_and_checked() {
    let authority = forge::Certificate::new("tsa", "tsa root", 7).extension(forge::extension(
        "2.5.29.37",
        true,
        &forge::seq(&[&forge::oid("1.3.6.1.5.5.7.3.8")]),
    ));
    let (key, root_key) = (
        Key::from_pem(&text("keys/tsa.key")),
        Key::from_pem(&text("keys/other.key")),
    );
    let authority = authority.sign(&key, &root_key);
    let root = forge::Certificate::new("tsa root", "tsa root", 8)
        .ca(true)
        .sign(&root_key, &root_key);
    let root = Certificate::from_der(&root).unwrap();
    let mut file = vector("signed/addon.two-signers.efi");
    let image = Image::parse(&file).unwrap();
    let value = image.signature_value(1).unwrap();
    let token = forge::timestamp(&key, &authority, &value, "20250601120000Z");
    let time = verify_timestamp(&token, &value, std::slice::from_ref(&root))
        .unwrap()
        .time;
    assert_eq!(time.to_string(), "2025-06-01T12:00:00Z");
    assert_eq!(
        verify_timestamp(&token, b"other", std::slice::from_ref(&root))
            .unwrap_err()
            .to_string(),
        "timestamp: it is for another signature"
    );
    assert_eq!(
        verify_timestamp(&token, &value, &[])
            .unwrap_err()
            .to_string(),
        "timestamp: its signer is not trusted"
    );
    assert!(matches!(
        image.attach_timestamp(0, &token),
        Err(Error::Timestamp { .. })
    ));
    let table = image.attach_timestamp(1, &token).unwrap();
    image
        .with_table(&table)
        .unwrap()
        .apply_to_bytes(&mut file)
        .unwrap();
    let stamped = Image::parse(&file).unwrap();
    assert_eq!(stamped.checksum(), stamped.correct_checksum());
    let report = Verifier::new()
        .trust([certificate("db-rsa2048")])
        .timestamp_roots([root])
        .verify(&stamped);
    assert!(report.is_trusted());
    let stamps = report.signatures()[1].timestamps();
    assert_eq!(stamps[0].claimed, Some(time));
    assert_eq!(stamps[0].checked.as_ref().unwrap().time, time);
    let untrusting = Verifier::new()
        .trust([certificate("db-rsa2048")])
        .verify(&stamped);
    assert!(untrusting.signatures()[1].timestamps()[0].checked.is_none());
}

#[test]
fn an_authority_that_is_not_for_timestamps_is_not_believed() {
    let key = Key::from_pem(&text("keys/tsa.key"));
    let plain = forge::Certificate::new("tsa", "tsa", 7)
        .ca(true)
        .sign(&key, &key);
    let token = forge::timestamp(&key, &plain, b"value", "20250601120000Z");
    let root = [Certificate::from_der(&plain).unwrap()];
    let error = verify_timestamp(&token, b"value", &root).unwrap_err();
    assert_eq!(
        error.to_string(),
        "timestamp: the signer's certificate is not for timestamps"
    );
}

#[test]
fn nested_signatures_and_recorded_timestamps_are_reported() {
    let image = Image::parse(&vector("signed/addon.nested.efi")).unwrap();
    let report = Verifier::new()
        .trust([certificate("db-rsa2048")])
        .verify(&image);
    assert_eq!(report.signatures()[0].nested().len(), 1);
    assert_eq!(
        report.signatures()[0].nested()[0].status().name(),
        "unsupported_algorithm"
    );
    let all = Image::parse_with(
        &vector("signed/addon.nested.efi"),
        &ImageOptions::new().hashes(&HashAlgorithm::ALL),
    )
    .unwrap();
    let report = Verifier::new()
        .trust([certificate("db-rsa2048")])
        .verify(&all);
    assert_eq!(report.signatures()[0].nested()[0].status().name(), "valid");
    let image = Image::parse(&vector("signed/addon.rfc3161.efi")).unwrap();
    let verifier = Verifier::new()
        .trust([certificate("db-rsa2048")])
        .timestamp_roots([certificate("root")]);
    let report = verifier.verify(&image);
    let stamp = &report.signatures()[0].timestamps()[0];
    assert_eq!(
        stamp.checked.as_ref().unwrap().time,
        UnixTime(1_710_000_000)
    );
    assert!(report.signatures()[0].signer().is_some() && report.signatures()[0].anchor().is_some());
}

#[test]
fn findings_name_what_is_odd() {
    let find = |name: &str| {
        Image::parse(&vector(name))
            .unwrap()
            .findings(Some(UnixTime(4_000_000_000)))
    };
    let pesign = find("signed/addon.pesign.efi");
    assert!(pesign.iter().any(|finding| matches!(
        finding,
        Finding::WrongChecksum {
            stored: 0,
            correct: 0x6036
        }
    )));
    assert!(pesign.contains(&Finding::UnusualForm { signature: 0 }));
    assert!(
        pesign
            .iter()
            .any(|finding| matches!(finding, Finding::ExpiredCertificate { signature: 0, .. }))
    );
    let sha384 = find("signed/addon.osslsigncode-sha384.efi");
    assert!(sha384.contains(&Finding::NotSha256 {
        signature: 0,
        hash: HashAlgorithm::Sha384
    }));
    assert!(find("signed/addon.nested.efi").contains(&Finding::NestedSignature { signature: 0 }));
    assert!(
        find("signed/addon.rsa4096.efi").contains(&Finding::LongKey {
            signature: 0,
            bits: 4096
        })
    );
    assert!(find("signed/tiny64.golden.efi").contains(&Finding::NoSbat));
}

#[test]
fn a_validity_period_counts_only_when_a_time_is_given() {
    let image = Image::parse(&vector("signed/addon.golden.efi")).unwrap();
    let verifier = Verifier::new().trust([certificate("db-rsa2048")]);
    assert!(
        verifier
            .clone()
            .at(UnixTime(1_750_000_000))
            .verify(&image)
            .is_trusted()
    );
    let late = verifier.at(UnixTime(4_000_000_000)).verify(&image);
    assert_eq!(late.signatures()[0].status().name(), "expired");
}

#[test]
fn an_image_without_certificate_directory_cannot_be_signed() {
    let mut bytes = vector("images/unsorted64.efi");
    // It has six directories; four are left, and the header is shorter by two.
    let pe = 0x40;
    bytes[pe + 20] = 112 + 32;
    forge::put(&mut bytes, pe + 132, 4);
    let table = pe + 24 + 160;
    bytes.copy_within(table..table + 120, table - 16);
    let image = Image::parse(&bytes).unwrap();
    assert!(matches!(
        Prepared::new(image, &certificate("db-rsa2048")),
        Err(Error::NoCertificateDirectory)
    ));
}

#[test]
fn memory_does_not_grow_with_the_image() {
    /// A file of 96 MiB that is not there: headers, then zeros.
    struct Big {
        head: Vec<u8>,
        len: u64,
        at: u64,
    }
    impl std::io::Read for Big {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = buffer.len().min((self.len - self.at) as usize);
            for (offset, byte) in buffer[..len].iter_mut().enumerate() {
                *byte = self
                    .head
                    .get(self.at as usize + offset)
                    .copied()
                    .unwrap_or(0);
            }
            self.at += len as u64;
            Ok(len)
        }
    }
    impl std::io::Seek for Big {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            if let std::io::SeekFrom::Start(at) = to {
                self.at = at;
            }
            Ok(self.at)
        }
    }
    let mut head = vector("images/tiny64.efi");
    let len = 96_u64 << 20;
    let row = forge::headers(&head).sections;
    forge::put(&mut head, row + 40 + 16, (len - 1024) as u32);
    forge::put(&mut head, 0x80 + 80, 0x7fff_0000);
    let image = Image::read(&mut Big { head, len, at: 0 }).unwrap();
    assert_eq!(image.len(), len);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or("0 kB");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB");
}
