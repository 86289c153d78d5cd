//! A disk key in booted machines: enrolled, opened after an upgrade, kept through a change of the PCR key and of `dbx`,
//! with a PIN, and exchanged with systemd 257's own tools in both directions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use authenticode::{HashAlgorithm, Image, ImageOptions, Prepared};
use bootlab::{Boot, Ending, Esp, Generation, Guest, Machine, Medium, Report};
use efivars::{EfiTime, Enrolment, Guid, SignatureDatabase, Update, VariableStore};
use pcr::{
    Bank, BootImage, Dialect, Digest, KeyVariable, Pcr7, Pcr11, PhasePath, SecureBootVariables,
    VariableUpdate,
};

const OWNER: Guid = Guid::ZERO;
const SIGNER: &str = "db-rsa2048";
const OLD_PCR_KEY: &str = "rsa2048-e65537";
const NEW_PCR_KEY: &str = "rotation-new";

/// What every boot does first. The tools of Debian 13 live in a folder of their own.
const BEGIN: &str = "
load crc32c_generic ext4 dm-crypt algif_skcipher ecb xts
export DM_DISABLE_UDEV=1
disk-key phase enter-initrd || exit 11
mkdir -p /deb13 && tar x -C /deb13 -f /dev/disk/deb13 || exit 12
for folder in dev proc sys; do mkdir -p /deb13/$folder; mount -o bind /$folder /deb13/$folder || exit 13; done
mkdir -p /deb13/run/systemd /deb13/run/cryptsetup /deb13/tmp
cp /.extra/tpm2-pcr-* /deb13/run/systemd/ || exit 14
mkdir -p /run/cryptsetup
printf 2580 >/tmp/pin; printf 0000 >/tmp/wrong-pin; printf initial >/tmp/initial; cp /tmp/initial /deb13/tmp/initial
# opens DISK [ARGUMENTS]: with our program.
opens() { disk=$1; shift; disk-key unlock --luks /dev/disk/$disk --map $disk \"$@\" && cryptsetup close $disk; }
# systemd_opens DISK: with systemd-cryptsetup, by itself and through cryptsetup's plugin.
systemd_opens() {
    SYSTEMD_CRYPTSETUP_USE_TOKEN_MODULE=0 chroot /deb13 /usr/lib/systemd/systemd-cryptsetup attach opened /dev/disk/$1 - \\
        tpm2-device=auto,headless=1 && cryptsetup close opened &&
        chroot /deb13 /usr/sbin/cryptsetup open --token-only --test-passphrase /dev/disk/$1 </dev/null
}
refused() { disk=$1; shift; disk-key unlock --luks /dev/disk/$disk \"$@\" >/dev/null 2>/out/refused-$disk; [ $? = 1 ]; }
";

const ENROL: &str = "
for disk in planned systemd ours pin; do
    cryptsetup luksFormat --type luks2 --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 \\
        /dev/disk/$disk /tmp/initial || exit 20
done
enrol() { disk=$1; shift; disk-key enroll --luks /dev/disk/$disk --unlock-key-file /tmp/initial \"$@\"; }
enrol planned || exit 21
enrol ours --format systemd || exit 22
enrol pin --format systemd --with-pin --pin-file /tmp/pin || exit 23
chroot /deb13 /usr/bin/systemd-cryptenroll --unlock-key-file=/tmp/initial --tpm2-device=auto --tpm2-pcrs=7 \\
    --tpm2-public-key=/run/systemd/tpm2-pcr-public-key.pem --tpm2-public-key-pcrs=11 /dev/disk/systemd || exit 24
opens planned && opens ours && opens systemd || exit 25
opens pin --pin-file /tmp/pin || exit 26
refused pin --pin-file /tmp/wrong-pin || exit 27
systemd_opens ours || exit 28
systemd_opens systemd || exit 29
disk-key reseal --luks /dev/disk/planned --format trustedboot --pcr7 \"$(cat /in/pcr7)\" --next-pcr-key /in/next.pem || exit 30
disk-key status --luks /dev/disk/planned --json >/out/status.json || exit 31
disk-key phase leave-initrd || exit 32
refused planned && refused ours && refused systemd || exit 33
";

const UPGRADED: &str = "
grep -q upgraded /proc/cmdline || exit 20
opens planned && opens ours && opens systemd || exit 21
opens pin --pin-file /tmp/pin || exit 22
systemd_opens ours && systemd_opens systemd || exit 23
";

/// The token of ours that knows both keys opens, and the one that it replaces goes.
const ROTATED: &str = "
opens planned || exit 20
disk-key status --luks /dev/disk/planned --json >/out/status.json || exit 21
refused ours && refused systemd || exit 22
write_variable $(cat /in/name) /in/dbx || exit 23
";

const DBX_UPDATED: &str = "
opens planned || exit 20
refused ours && refused systemd || exit 21
";

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn secure_boot_key(extension: &str) -> String {
    text(&format!(
        "../../authenticode/tests/vectors/keys/{SIGNER}.{extension}"
    ))
}

fn pcr_key(name: &str, half: &str) -> String {
    text(&format!(
        "../../tpm-seal/tests/vectors/ecc-srk/{name}.{half}.pem"
    ))
}

/// The files of Debian 13 that its systemd-cryptenroll, systemd-cryptsetup and cryptsetup need, as a tar.
fn debian13_tools(tree: &Path, to: &Path) {
    let libraries = tree.join("usr/lib/x86_64-linux-gnu");
    let programs = [
        "usr/bin/systemd-cryptenroll",
        "usr/lib/systemd/systemd-cryptsetup",
        "usr/sbin/cryptsetup",
    ];
    // What is opened while they run.
    let opened = [
        "libcryptsetup.so.12",
        "libtss2-esys.so.0",
        "libtss2-mu.so.0",
        "libtss2-rc.so.0",
        "libtss2-tcti-device.so.0",
        "libblkid.so.1",
        "cryptsetup/libcryptsetup-token-systemd-tpm2.so",
    ];
    let search = format!(
        "{}:{}",
        libraries.display(),
        libraries.join("systemd").display()
    );
    let linker = libraries.join("ld-linux-x86-64.so.2");
    let mut files: BTreeSet<PathBuf> = programs.iter().map(|path| tree.join(path)).collect();
    files.extend(opened.iter().map(|name| libraries.join(name)));
    for file in files.clone() {
        let output = Command::new(&linker)
            .args(["--library-path", &search, "--list"])
            .arg(&file)
            .output()
            .unwrap();
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}: {list}", file.display());
        let paths = list
            .lines()
            .filter_map(|line| line.split("=> ").nth(1)?.split(' ').next());
        files.extend(paths.map(PathBuf::from));
    }
    let mut archive = tar::Builder::new(fs::File::create(to).unwrap());
    archive
        .append_path_with_name(
            fs::canonicalize(&linker).unwrap(),
            "lib64/ld-linux-x86-64.so.2",
        )
        .unwrap();
    for file in files {
        let name = file.strip_prefix(tree).unwrap();
        archive
            .append_path_with_name(fs::canonicalize(&file).unwrap(), name)
            .unwrap();
    }
    let mut file = archive.into_inner().unwrap();
    // A disk has whole sectors.
    let len = std::io::Seek::stream_position(&mut file).unwrap();
    file.set_len(len.next_multiple_of(1 << 20)).unwrap();
}

struct World {
    generation: Generation,
    initramfs: Vec<u8>,
    folder: tempfile::TempDir,
}

impl World {
    fn new(generation: Generation) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk_key = bootlab::program("disk-key", "trustedboot-disk-key").unwrap();
        let stripped = folder.path().join("disk-key");
        let strip = Command::new("strip")
            .arg("-o")
            .args([&stripped, &disk_key])
            .status();
        assert!(strip.unwrap().success());
        let initramfs = Guest::new(&generation.kernel().unwrap())
            .binary("/usr/sbin/cryptsetup")
            .binary_as(&stripped, "/bin/disk-key")
            .library("libtss2-tcti-device.so.0")
            .build()
            .unwrap();
        Self {
            generation,
            initramfs,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A signed UKI with policies for `enter-initrd` by a PCR key.
    fn uki(&self, more: &str, key: &str) -> Vec<u8> {
        let signer = pcr::RsaSigner::from_pem(&pcr_key(key, "key")).unwrap();
        let (paths, banks) = ([PhasePath::initrd()], Bank::ALL);
        let stub = fs::read(self.generation.stub().unwrap()).unwrap();
        let len = pcr::signature_document_len(&paths, &banks, signer.public_key().bits());
        let plan = uki::Builder::new(uki::Stub::parse(&stub).unwrap())
            .linux(uki::Source::file(&self.generation.kernel().unwrap().image))
            .initrd(self.initramfs.clone())
            .cmdline(&format!("{} {more}", bootlab::CMDLINE))
            .os_release("ID=trial\nVERSION_ID=1\n")
            .pcrpkey(signer.public_key().to_pem())
            .pcrsig_len(len)
            .plan()
            .unwrap();
        let dialect = Dialect::identify(plan.stub().name(), plan.stub().version());
        let mut image = Vec::new();
        plan.write(
            &mut image,
            &mut Pcr11::new(dialect, &banks),
            |boot, part| {
                if let Some(measured) = part.measured() {
                    boot.observe(measured.key(), measured.bytes);
                }
            },
            |boot, _| {
                let policies = boot.policies(&paths)?;
                Ok(policies.sign(signer.public_key(), &signer)?.to_json())
            },
        )
        .unwrap();
        let certificate = authenticode::Certificate::from_pem(&secure_boot_key("pem")).unwrap();
        let signer = authenticode::RsaSigner::from_pem(&secure_boot_key("key")).unwrap();
        let prepared = Prepared::new(Image::parse(&image).unwrap(), &certificate).unwrap();
        let edit = prepared.sign(&signer).unwrap().edit().unwrap();
        edit.apply_to_bytes(&mut image).unwrap();
        image
    }

    fn boot(
        &self,
        machine: &mut Machine,
        image: &[u8],
        script: &str,
        inputs: &[(&str, &[u8])],
    ) -> Report {
        let medium = self.path("esp.img");
        let esp = Esp::new().file("EFI/BOOT/BOOTX64.EFI", image);
        esp.write(&medium).unwrap();
        let boot = Boot::new(Medium::virtio(&medium))
            .script([BEGIN, script].concat())
            .disk("deb13", self.path("deb13.tar"));
        let boot = inputs
            .iter()
            .fold(boot, |boot, (name, content)| boot.input(name, content));
        let report = machine.boot(&boot).unwrap().expect(&Ending::Done).unwrap();
        assert_eq!(report.script_status(), Some(0), "{}", report.script_log());
        report
    }
}

/// What the prediction gets to know of an image.
fn described(bytes: &[u8]) -> BootImage {
    let image = Image::parse_with(bytes, &ImageOptions::new().hashes(&HashAlgorithm::ALL)).unwrap();
    let digests = Bank::ALL.into_iter().zip(HashAlgorithm::ALL);
    let unsigned = BootImage::new(digests.map(|(bank, algorithm)| {
        Digest::new(bank, image.digest_as_loaded(algorithm).unwrap().as_bytes()).unwrap()
    }));
    let signatures = image
        .entries()
        .iter()
        .filter_map(|entry| entry.pkcs7_data());
    signatures.fold(unsigned, BootImage::signature)
}

fn pcr_7(predicted: &Pcr7) -> String {
    predicted.predict().unwrap().value(Bank::Sha256).to_string()
}

/// The numbers of the tokens of a volume, as `disk-key status` tells them.
fn tokens(report: &Report) -> Vec<u64> {
    let status: serde_json::Value =
        serde_json::from_str(report.file("status.json").unwrap()).unwrap();
    let tokens = status["volume"]["tokens"].as_array().unwrap().iter();
    tokens.map(|token| token["id"].as_u64().unwrap()).collect()
}

fn assert_refused(report: &Report, disk: &str, reason: &str) {
    let name = format!("refused-{disk}");
    let given = report.file(&name).unwrap();
    eprintln!("{disk}: {}", given.trim());
    assert!(given.contains(reason), "{disk}: {given}");
}

#[test]
fn a_disk_key_lives_through_upgrade_key_rotation_and_dbx_update_and_systemd_agrees() {
    let tree = Generation::available()
        .contains(&Generation::Debian13)
        .then(|| Generation::Debian13.stub().unwrap());
    let Some(stub) = tree else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the tree of Debian 13 is missing"
        );
        eprintln!("SKIPPED: a disk key in booted machines: the tree of Debian 13 not found");
        return;
    };
    // …/usr/lib/systemd/boot/efi/linuxx64.efi.stub
    let tree = stub.ancestors().nth(6).unwrap();
    let world = World::new(Generation::Debian13);
    debian13_tools(tree, &world.path("deb13.tar"));

    let owner = efivars::Certificate::from_pem(&secure_boot_key("pem")).unwrap();
    let time = |second| EfiTime::new(2024, 1, 2, 3, 4, second).unwrap();
    let plan = Enrolment::new(&owner, &owner, OWNER, time(0)).db(OWNER, &owner);
    let firmware = world.generation.firmware(true).unwrap();
    let mut store = VariableStore::parse(&fs::read(&firmware.variables).unwrap()).unwrap();
    store.enrol(&plan);
    fs::write(world.path("prepared.fd"), store.to_bytes().unwrap()).unwrap();
    let machine = Machine::builder(firmware).variables(world.path("prepared.fd"));
    let disks = ["planned", "systemd", "ours", "pin"];
    let mut machine = disks
        .iter()
        .fold(machine, |machine, name| machine.disk(name, 24 << 20))
        .create(world.path("machine"))
        .unwrap();

    // PCR 7 now, and after the update of dbx that comes with the third boot.
    let first = world.uki("first", OLD_PCR_KEY);
    let variables = SecureBootVariables::enrolled(
        &plan.pk_value().to_bytes(),
        &plan.kek_value().to_bytes(),
        &plan.db_value().to_bytes(),
        &plan.dbx_value().to_bytes(),
    );
    let now = Pcr7::new(variables).load(described(&first));
    let mut revoked = SignatureDatabase::new();
    revoked
        .add_image_digest(efivars::HashAlgorithm::Sha256, OWNER, &[0x55; 32])
        .unwrap();
    let signer = efivars::RsaSigner::from_pem(&secure_boot_key("key")).unwrap();
    let update = Update::append(efivars::DBX, &revoked, time(1))
        .unwrap()
        .sign(&owner, &signer)
        .unwrap()
        .to_efivarfs();
    let pending = VariableUpdate::append(KeyVariable::Dbx, &revoked.to_bytes());
    let later = now.clone().update(&pending).unwrap();

    let (predicted, next_key) = (pcr_7(&later), pcr_key(NEW_PCR_KEY, "pub"));
    let inputs: [(&str, &[u8]); 2] = [
        ("pcr7", predicted.as_bytes()),
        ("next.pem", next_key.as_bytes()),
    ];
    let report = world.boot(&mut machine, &first, ENROL, &inputs);
    assert_eq!(report.registers().hex("sha256", 7).unwrap(), pcr_7(&now));
    assert_eq!(tokens(&report), [0, 1], "the old token is kept");
    assert_refused(&report, "pin", "wrong PIN");
    for disk in ["planned", "ours", "systemd"] {
        assert_refused(
            &report,
            disk,
            "of 1 signed PCR policies is for this software in this boot phase: PCR 11",
        );
    }

    let upgraded = world.uki("upgraded", OLD_PCR_KEY);
    world.boot(&mut machine, &upgraded, UPGRADED, &[]);

    let rotated = world.uki("rotated", NEW_PCR_KEY);
    let name = efivars::DBX.to_string();
    let inputs: [(&str, &[u8]); 2] = [("name", name.as_bytes()), ("dbx", &update)];
    let report = world.boot(&mut machine, &rotated, ROTATED, &inputs);
    assert_eq!(tokens(&report), [1], "the new token has opened once");
    for disk in ["ours", "systemd"] {
        assert_refused(&report, disk, "the state is signed by key ");
    }

    let report = world.boot(&mut machine, &first, DBX_UPDATED, &[]);
    assert_eq!(report.registers().hex("sha256", 7).unwrap(), pcr_7(&later));
    let differs = format!(
        "PCR 7 (sha256) is {}, sealed to {}",
        pcr_7(&later),
        pcr_7(&now)
    );
    assert_refused(&report, "ours", &differs);
    // A token of systemd holds no values to compare with.
    assert_refused(
        &report,
        "systemd",
        &format!("PCR 7 (sha256) is {}", pcr_7(&later)),
    );
}
