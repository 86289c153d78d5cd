//! Other tools accept what is signed here, and what they sign is accepted here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use authenticode::{
    Certificate, Databases, Edk2, Existing, HashAlgorithm, Image, ImageOptions, Prepared,
    RsaSigner, SignatureDatabase, Signing, Verifier,
};
use support::tools::{debian13, have, run, succeeds};

mod support {
    #![allow(dead_code, unused_imports, reason = "each test file uses a part")]
    pub(crate) mod tools;
}

fn vector(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(path)
}

/// A folder with keys of three lengths: `2048.key`, `2048.pem` and so on.
struct Keys(tempfile::TempDir);

const BITS: [usize; 3] = [2048, 3072, 4096];

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (bits, name) in [(2048, "db-rsa2048"), (4096, "db-rsa4096")] {
            fs::copy(
                vector(&format!("keys/{name}.key")),
                folder.path().join(format!("{bits}.key")),
            )
            .unwrap();
            fs::copy(
                vector(&format!("keys/{name}.pem")),
                folder.path().join(format!("{bits}.pem")),
            )
            .unwrap();
        }
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:3072",
                "-nodes",
                "-days",
                "3650",
                "-subj",
                "/CN=rsa3072",
                "-keyout",
            ])
            .arg(folder.path().join("3072.key"))
            .arg("-out")
            .arg(folder.path().join("3072.pem")));
        Self(folder)
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    fn key(&self, bits: usize) -> PathBuf {
        self.path(format!("{bits}.key"))
    }

    fn pem(&self, bits: usize) -> PathBuf {
        self.path(format!("{bits}.pem"))
    }

    fn certificate(&self, bits: usize) -> Certificate {
        Certificate::from_pem(&fs::read_to_string(self.pem(bits)).unwrap()).unwrap()
    }

    fn signer(&self, bits: usize) -> RsaSigner {
        RsaSigner::from_pem(&fs::read_to_string(self.key(bits)).unwrap()).unwrap()
    }
}

const IMAGES: [&str; 6] = [
    "addon",
    "bss64",
    "oddend64",
    "stub-unaligned",
    "tiny32",
    "unsorted64",
];

/// Signs a copy of an image in place.
fn sign(keys: &Keys, image: &str, bits: usize, hash: HashAlgorithm) -> PathBuf {
    let out = keys.path(format!("{image}-{bits}-{hash}.efi"));
    fs::copy(vector(&format!("images/{image}.efi")), &out).unwrap();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&out)
        .unwrap();
    let image = Image::read_with(&mut file, &ImageOptions::new().hashes(&[hash])).unwrap();
    let prepared = Signing::new(&keys.certificate(bits))
        .hash(hash)
        .prepare(image)
        .unwrap();
    prepared
        .sign(&keys.signer(bits))
        .unwrap()
        .append_to(&mut file)
        .unwrap();
    out
}

/// Whether the strict verifier and the model of firmware take the file.
fn is_accepted(file: &Path, certificate: &Certificate) -> bool {
    let image = Image::read(&mut File::open(file).unwrap()).unwrap();
    let strict = Verifier::new()
        .trust([certificate.clone()])
        .verify(&image)
        .is_trusted();
    let databases = Databases::new().db(SignatureDatabase::from_certificates([certificate]));
    let firmware = databases
        .judge(&image, Edk2::Stable202502)
        .unwrap()
        .is_allowed();
    assert_eq!(strict, firmware, "{}", file.display());
    strict
}

#[test]
fn sbverify_and_osslsigncode_accept_our_signatures() {
    if !have(
        &["sbverify", "osslsigncode", "openssl"],
        "sbverify_and_osslsigncode_accept_our_signatures",
    ) {
        return;
    }
    let keys = Keys::new();
    for image in IMAGES {
        for bits in BITS {
            let file = sign(&keys, image, bits, HashAlgorithm::Sha256);
            run(Command::new("sbverify")
                .arg("--cert")
                .arg(keys.pem(bits))
                .arg(&file));
            run(Command::new("osslsigncode")
                .args(["verify", "-CAfile"])
                .arg(keys.pem(bits))
                .arg("-in")
                .arg(&file));
        }
        for hash in [HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            let file = sign(&keys, image, 2048, hash);
            run(Command::new("osslsigncode")
                .args(["verify", "-CAfile"])
                .arg(keys.pem(2048))
                .arg("-in")
                .arg(&file));
        }
    }
}

#[test]
fn sbverify_refuses_our_signature_with_another_certificate() {
    if !have(
        &["sbverify", "openssl"],
        "sbverify_refuses_our_signature_with_another_certificate",
    ) {
        return;
    }
    let keys = Keys::new();
    let file = sign(&keys, "addon", 2048, HashAlgorithm::Sha256);
    assert!(!succeeds(
        Command::new("sbverify")
            .arg("--cert")
            .arg(keys.pem(4096))
            .arg(&file)
    ));
}

#[test]
fn pesign_reads_our_signatures_and_computes_our_digests() {
    if !have(
        &["pesign", "openssl"],
        "pesign_reads_our_signatures_and_computes_our_digests",
    ) {
        return;
    }
    let keys = Keys::new();
    // The last section header of unsorted64 is not sorted by pesign, and it forgets the padding of oddend64.
    for image in ["addon", "bss64", "stub-unaligned", "tiny32"] {
        let file = sign(&keys, image, 2048, HashAlgorithm::Sha256);
        let listed = run(Command::new("pesign").arg("-S").arg("-i").arg(&file));
        assert!(
            listed.contains("The signer's common name is db rsa2048 self-signed"),
            "{listed}"
        );
        let exported = keys.path("exported.p7");
        run(Command::new("pesign")
            .arg("-i")
            .arg(&file)
            .arg("-e")
            .arg(&exported)
            .args(["-u", "0", "--force"]));
        let ours = Image::read(&mut File::open(&file).unwrap()).unwrap();
        assert_eq!(
            fs::read(&exported).unwrap(),
            ours.entries()[0].pkcs7().unwrap()
        );
        let hashed = run(Command::new("pesign")
            .args(["-h", "-P", "-d", "sha256", "-i"])
            .arg(&file));
        let digest = ours
            .digest_as_loaded(HashAlgorithm::Sha256)
            .unwrap()
            .to_string();
        assert!(hashed.contains(&digest), "{image}: {hashed}");
    }
}

#[test]
fn we_accept_what_sbsign_and_osslsigncode_sign() {
    if !have(
        &["sbsign", "osslsigncode", "openssl"],
        "we_accept_what_sbsign_and_osslsigncode_sign",
    ) {
        return;
    }
    let keys = Keys::new();
    let out = keys.path("theirs.efi");
    for image in IMAGES {
        let input = vector(&format!("images/{image}.efi"));
        for bits in BITS {
            let (key, pem, certificate) = (keys.key(bits), keys.pem(bits), keys.certificate(bits));
            let mut command = Command::new("sbsign");
            run(command
                .arg("--key")
                .arg(&key)
                .arg("--cert")
                .arg(&pem)
                .arg("--output")
                .arg(&out)
                .arg(&input));
            assert!(is_accepted(&out, &certificate), "sbsign {image} {bits}");
            for hash in ["sha256", "sha384", "sha512"] {
                let _ = fs::remove_file(&out);
                let mut command = Command::new("osslsigncode");
                command
                    .args(["sign", "-h", hash, "-certs"])
                    .arg(&pem)
                    .arg("-key")
                    .arg(&key);
                run(command.arg("-in").arg(&input).arg("-out").arg(&out));
                assert!(
                    is_accepted(&out, &certificate),
                    "osslsigncode {image} {bits} {hash}"
                );
            }
        }
    }
}

#[test]
fn we_accept_signers_with_unusual_certificates() {
    let test = "we_accept_signers_with_unusual_certificates";
    if !have(&["sbsign", "openssl"], test) {
        return;
    }
    let keys = Keys::new();
    let name = |mask: &str, name: &str| {
        let text = format!(
            "[req]\nstring_mask={mask}\nutf8=yes\nprompt=no\ndistinguished_name=dn\n[dn]\nCN={name}\n"
        );
        fs::write(keys.path("name.cnf"), text).unwrap();
    };
    let common = ["-x509", "-days", "3650", "-config"];
    for (mask, text, more) in [
        ("default", "Café", &[][..]),
        ("MASK:0x800", "漢字", &[]),
        ("MASK:0x100", "Universal", &[]),
        ("utf8only", "  two   spaces ", &["-subj", "/"]),
        (
            "utf8only",
            "x",
            &["-subj", "/C=DE+CN=a+O=b/OU=x/OU=y/DC=org"],
        ),
        ("utf8only", "x", &["-set_serial", "-1234567890"]),
        ("utf8only", "x", &["-set_serial", "0"]),
        (
            "utf8only",
            "x",
            &[
                "-set_serial",
                "0xffffffffffffffffffffffffffffffffffffffffffffffffff",
            ],
        ),
        ("utf8only", "x", &["-sha1"]),
        ("utf8only", "x", &["-md5"]),
        (
            "utf8only",
            "x",
            &["-addext", "1.2.3.4.5=ASN1:UTF8String:unknown"],
        ),
        (
            "utf8only",
            "x",
            &[
                "-addext",
                "subjectAltName=DNS:a.example,IP:::1,email:x@y.z,URI:http://a/,RID:1.2.3,otherName:1.2.3;UTF8:x",
                "-addext",
                "crlDistributionPoints=URI:http://a/b.crl",
                "-addext",
                "1.3.6.1.4.1.311.20.2=ASN1:BMPString:SubCA",
                "-addext",
                "nameConstraints=permitted;DNS:x.example,excluded;IP:10.0.0.0/255.0.0.0",
            ],
        ),
    ] {
        name(mask, text);
        run(Command::new("openssl")
            .arg("req")
            .args(common)
            .arg(keys.path("name.cnf"))
            .args(more)
            .arg("-key")
            .arg(keys.key(2048))
            .arg("-out")
            .arg(keys.path("odd.pem")));
        run(Command::new("sbsign")
            .arg("--key")
            .arg(keys.key(2048))
            .arg("--cert")
            .arg(keys.path("odd.pem"))
            .arg("--output")
            .arg(keys.path("odd.efi"))
            .arg(vector("images/addon.efi")));
        let certificate =
            Certificate::from_pem(&fs::read_to_string(keys.path("odd.pem")).unwrap()).unwrap();
        let accepted = is_accepted(&keys.path("odd.efi"), &certificate);
        assert!(accepted, "{mask} {text} {more:?}");
    }
}

#[test]
fn we_accept_what_pesign_signs() {
    if !have(
        &["pesign", "certutil", "pk12util", "openssl"],
        "we_accept_what_pesign_signs",
    ) {
        return;
    }
    let keys = Keys::new();
    let store = keys.path("nss");
    fs::create_dir(&store).unwrap();
    run(Command::new("certutil")
        .args(["-N", "--empty-password", "-d"])
        .arg(&store));
    for bits in BITS {
        let bundle = keys.path("bundle.p12");
        run(Command::new("openssl")
            .args([
                "pkcs12",
                "-export",
                "-passout",
                "pass:",
                "-name",
                &format!("key{bits}"),
                "-in",
            ])
            .arg(keys.pem(bits))
            .arg("-inkey")
            .arg(keys.key(bits))
            .arg("-out")
            .arg(&bundle));
        run(Command::new("pk12util")
            .arg("-i")
            .arg(&bundle)
            .arg("-d")
            .arg(&store)
            .args(["-W", ""]));
        for image in ["addon", "bss64", "stub-unaligned", "tiny32"] {
            let (input, out) = (
                vector(&format!("images/{image}.efi")),
                keys.path("theirs.efi"),
            );
            let mut command = Command::new("pesign");
            command
                .arg("-n")
                .arg(&store)
                .args(["-c", &format!("key{bits}"), "-s", "--force", "-i"])
                .arg(&input);
            run(command.arg("-o").arg(&out));
            assert!(
                is_accepted(&out, &keys.certificate(bits)),
                "pesign {image} {bits}"
            );
        }
    }
}

#[test]
fn we_accept_what_systemd_sbsign_signs() {
    let test = "we_accept_what_systemd_sbsign_signs";
    let Some(tree) = debian13(test).filter(|_| have(&["openssl"], test)) else {
        return;
    };
    let keys = Keys::new();
    // It writes a wrong signature for oddend64, whose last section ends unaligned.
    for image in ["addon", "bss64", "stub-unaligned", "unsorted64"] {
        for bits in BITS {
            let (input, out) = (
                vector(&format!("images/{image}.efi")),
                keys.path("theirs.efi"),
            );
            let libraries = tree.join("usr/lib/x86_64-linux-gnu");
            let path = format!(
                "{}:{}",
                libraries.display(),
                libraries.join("systemd").display()
            );
            run(Command::new(tree.join("lib64/ld-linux-x86-64.so.2"))
                .arg("--library-path")
                .arg(path)
                .arg(tree.join("usr/lib/systemd/systemd-sbsign"))
                .arg("sign")
                .arg(format!("--certificate={}", keys.pem(bits).display()))
                .arg(format!("--private-key={}", keys.key(bits).display()))
                .arg(format!("--output={}", out.display()))
                .arg(&input));
            assert!(
                is_accepted(&out, &keys.certificate(bits)),
                "systemd-sbsign {image} {bits}"
            );
        }
    }
}

#[test]
fn sbverify_accepts_each_of_two_signers_and_the_rest_after_removing_one() {
    if !have(
        &["sbverify", "openssl"],
        "sbverify_accepts_each_of_two_signers_and_the_rest_after_removing_one",
    ) {
        return;
    }
    let keys = Keys::new();
    let path = sign(&keys, "stub-unaligned", 2048, HashAlgorithm::Sha256);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let image = Image::read(&mut file).unwrap();
    let second = Prepared::new(image, &keys.certificate(4096))
        .unwrap()
        .sign(&keys.signer(4096))
        .unwrap();
    second.append_to(&mut file).unwrap();
    let verify = |bits| {
        succeeds(
            Command::new("sbverify")
                .arg("--cert")
                .arg(keys.pem(bits))
                .arg(&path),
        )
    };
    assert!(verify(2048) && verify(4096));
    let image = Image::read(&mut file).unwrap();
    assert_eq!(image.checksum(), image.correct_checksum());
    let mut table = image.table().clone();
    table.remove(0).unwrap();
    image
        .with_table(&table)
        .unwrap()
        .apply_to_file(&mut file)
        .unwrap();
    assert!(!verify(2048) && verify(4096));
}

#[test]
fn sbattach_and_we_attach_and_detach_the_same() {
    if !have(
        &["sbattach", "sbsign", "openssl"],
        "sbattach_and_we_attach_and_detach_the_same",
    ) {
        return;
    }
    let keys = Keys::new();
    let input = vector("images/addon.efi");
    let detached = keys.path("addon.pk7");
    let mut command = Command::new("sbsign");
    command
        .arg("--detached")
        .arg("--key")
        .arg(keys.key(2048))
        .arg("--cert")
        .arg(keys.pem(2048));
    run(command.arg("--output").arg(&detached).arg(&input));
    let theirs = keys.path("theirs.efi");
    fs::copy(&input, &theirs).unwrap();
    run(Command::new("sbattach")
        .arg("--attach")
        .arg(&detached)
        .arg(&theirs));
    let mut bytes = fs::read(&input).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let table = image.attach(&fs::read(&detached).unwrap()).unwrap();
    image
        .with_table(&table)
        .unwrap()
        .apply_to_bytes(&mut bytes)
        .unwrap();
    assert!(bytes == fs::read(&theirs).unwrap());
    let signed = Image::parse(&bytes).unwrap();
    assert_eq!(
        signed.entries()[0].pkcs7().unwrap(),
        fs::read(&detached).unwrap()
    );
}

#[test]
fn replacing_the_same_signer_leaves_one_signature() {
    let text = |path: &str| fs::read_to_string(vector(path)).unwrap();
    let certificate = Certificate::from_pem(&text("keys/db-rsa2048.pem")).unwrap();
    let signer = RsaSigner::from_pem(&text("keys/db-rsa2048.key")).unwrap();
    let image = Image::parse(&fs::read(vector("signed/addon.sbsign.efi")).unwrap()).unwrap();
    let signed = Signing::new(&certificate)
        .existing(Existing::ReplaceSameSigner)
        .prepare(image)
        .unwrap()
        .sign(&signer)
        .unwrap();
    assert_eq!(signed.table().entries().len(), 1);
    assert_eq!(signed.table().entries()[0].pkcs7().unwrap(), signed.pkcs7());
}
