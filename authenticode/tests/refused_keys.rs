//! Signatures of kinds that no firmware knows: made and checked on request, never a reason to start an image.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::process::Command;

use authenticode::{
    BoxError, Certificate, Databases, Edk2, Error, HashAlgorithm, Image, ImageOptions, KeyKind,
    Reason, SignatureDatabase, Signing, ToBeSigned, Verifier,
};
use support::tools::{have, run};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod tools;
}

#[test]
fn elliptic_curves_and_ed25519_hold_and_are_denied_for_their_kind() {
    if !have(&["openssl"], "elliptic_curves_and_ed25519") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let image = fs::read("tests/vectors/images/tiny64.efi").unwrap();
    let options = ImageOptions::new().hashes(&HashAlgorithm::ALL);
    for (name, arguments, kind, hash) in [
        (
            "p384",
            "ec -pkeyopt ec_paramgen_curve:P-384",
            KeyKind::EcP384,
            HashAlgorithm::Sha384,
        ),
        (
            "p521",
            "ec -pkeyopt ec_paramgen_curve:P-521",
            KeyKind::EcP521,
            HashAlgorithm::Sha256,
        ),
        (
            "ed25519",
            "ed25519",
            KeyKind::Ed25519,
            HashAlgorithm::Sha512,
        ),
    ] {
        run(Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-subj", "/CN=kind", "-newkey"])
            .args(arguments.split(' '))
            .arg("-keyout")
            .arg(path("key"))
            .arg("-out")
            .arg(path("cert")));
        let certificate =
            Certificate::from_pem(&fs::read_to_string(path("cert")).unwrap()).unwrap();
        assert_eq!(certificate.key_kind(), kind);
        let parsed = Image::parse_with(&image, &options).unwrap();
        let signing = Signing::new(&certificate).hash(hash);
        let refused = signing.clone().prepare(parsed.clone()).unwrap_err();
        assert!(matches!(refused, Error::KeyKindRefused { .. }), "{name}");

        let by_openssl = |request: &ToBeSigned| -> Result<Vec<u8>, BoxError> {
            fs::write(path("message"), request.message())?;
            let mut command = Command::new("openssl");
            if kind == KeyKind::Ed25519 {
                command.args(["pkeyutl", "-sign", "-rawin", "-in"]);
                command.arg(path("message")).arg("-inkey").arg(path("key"));
            } else {
                command
                    .arg("dgst")
                    .arg(format!("-{}", request.hash_algorithm()));
                command.arg("-sign").arg(path("key")).arg(path("message"));
            }
            let output = command.output()?;
            assert!(output.status.success(), "{output:?}");
            Ok(output.stdout)
        };
        let prepared = signing
            .allow_refused_by_firmware(true)
            .prepare(parsed)
            .unwrap();
        let wrong = prepared.clone().attach(&[0x30; 64]).unwrap_err();
        assert!(matches!(wrong, Error::SignatureMismatch), "{name}");
        let mut signed = image.clone();
        let edit = prepared.sign(&by_openssl).unwrap().edit().unwrap();
        edit.apply_to_bytes(&mut signed).unwrap();

        let signed = Image::parse_with(&signed, &options).unwrap();
        let report = Verifier::new().trust([certificate.clone()]).verify(&signed);
        assert_eq!(report.signatures()[0].status().name(), "valid", "{name}");
        let databases = Databases::new().db(SignatureDatabase::from_certificates([&certificate]));
        for release in [Edk2::Stable202211, Edk2::Stable202502] {
            let verdict = databases.judge(&signed, release).unwrap();
            assert!(!verdict.is_allowed());
            assert_eq!(verdict.reason(), Reason::UnknownAlgorithm, "{name}");
            assert_eq!(verdict.signature(), Some(0));
        }
    }
}
