//! From keys to the files of `loader/keys/auto`, tried on the firmware model; rotation; updates of dbx.
#![cfg(feature = "rsa")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{
    Attributes, AuthenticatedUpdate, Certificate, DbxUpdate, Enrolment, EnrolmentSet, Error,
    Firmware, Guid, Machine, Mode, Outcome, Quota, Rotation, RsaSigner, SignatureDatabase,
    SignatureType, Signer, Update, talos_owner,
};
use support::{certificate, g1, g2, key, text, time, vector};

fn plan() -> Enrolment {
    Enrolment::new(
        &certificate("PK"),
        &certificate("KEK"),
        g1(),
        time("2024-01-02 03:04:05"),
    )
    .db(g1(), &certificate("db"))
}

#[test]
fn the_owner_of_talos_is_made_from_the_pem_file() {
    assert_eq!(
        talos_owner(&vector("systemd-257/talos.crt")).to_string(),
        "884ee3b8-a42c-49b7-8e49-2a35662d841f"
    );
}

#[test]
fn separate_keys_give_the_files_of_efitools() {
    let set = plan().sign_with(&key("PK"), &key("KEK")).unwrap();
    let files = set.files();
    let names: Vec<_> = files.iter().map(|file| file.name()).collect();
    assert_eq!(
        names,
        [
            "db.auth", "db.esl", "KEK.auth", "KEK.esl", "PK.auth", "PK.esl"
        ]
    );
    for (name, file) in [
        ("db.auth", "auth/db.efitools.auth"),
        ("KEK.auth", "auth/KEK.efitools.auth"),
        ("PK.auth", "auth/PK.efitools.auth"),
        ("db.esl", "esl/db.efitools.esl"),
        ("KEK.esl", "esl/KEK.efitools.esl"),
        ("PK.esl", "esl/PK.efitools.esl"),
    ] {
        let ours = files.iter().find(|file| file.name() == name).unwrap();
        assert!(ours.bytes() == vector(file), "{name}");
    }
}

#[test]
fn one_certificate_gives_the_files_of_bootctl() {
    let certificate = Certificate::from_pem(&text("systemd-257/talos.crt")).unwrap();
    let signer = RsaSigner::from_pem(&text("systemd-257/talos.key")).unwrap();
    let plan = Enrolment::single(&certificate, Guid::ZERO, time("2026-11-22 18:33:01"));
    let set = plan.sign(&signer).unwrap();
    for update in set.updates() {
        assert!(
            update.to_bytes() == vector(&format!("systemd-257/{}", update.file_name())),
            "{}",
            update.name()
        );
    }
    assert_eq!(plan.sign(&signer).unwrap(), set);
}

#[test]
fn both_generations_take_the_set_and_end_in_user_mode() {
    let mut dbx = SignatureDatabase::new();
    dbx.add_signature(SignatureType::SHA256, g2(), &[7; 32])
        .unwrap();
    let set = plan()
        .dbx_lists(&dbx)
        .kek(g2(), &certificate("db2"))
        .sign_with(&key("PK"), &key("KEK"))
        .unwrap();
    let order: Vec<_> = set
        .updates()
        .iter()
        .map(|update| update.name().name())
        .collect();
    assert_eq!(order, ["db", "dbx", "KEK", "PK"]);
    for firmware in [
        Firmware::Edk2_2022_11,
        Firmware::Edk2_2025_02,
        Firmware::Edk2_2026_05,
    ] {
        let machine = set.try_on(firmware).unwrap();
        assert_eq!(machine.mode(), Mode::User);
        assert_eq!(machine.database(&efivars::DBX).unwrap(), dbx);
        assert_eq!(machine.database(&efivars::KEK).unwrap().len(), 2);
    }
}

#[test]
fn the_same_files_are_good_for_a_machine_in_user_mode() {
    let mut machine = plan()
        .sign_with(&key("PK"), &key("KEK"))
        .unwrap()
        .try_on(Firmware::Edk2_2022_11)
        .unwrap();
    let later = Enrolment::new(
        &certificate("PK"),
        &certificate("KEK"),
        g1(),
        time("2025-01-01 00:00:00"),
    )
    .db(g1(), &certificate("db2"));
    for update in later.sign_with(&key("PK"), &key("KEK")).unwrap().updates() {
        machine.write(&update.to_write()).unwrap();
    }
    assert!(!machine.setup_mode());
}

#[test]
fn an_enrolment_in_two_steps_gives_the_same_set() {
    let (pk, kek) = (key("PK"), key("KEK"));
    let set: EnrolmentSet = plan()
        .prepare()
        .unwrap()
        .into_updates()
        .into_iter()
        .map(|prepared| {
            let signer: &dyn Signer = if prepared.certificate() == &certificate("PK") {
                &pk
            } else {
                &kek
            };
            let signature = signer.sign(prepared.to_be_signed()).unwrap();
            prepared.attach(&signature).unwrap()
        })
        .collect();
    assert_eq!(set, plan().sign_with(&pk, &kek).unwrap());
}

#[test]
fn keys_in_the_wrong_place_are_refused() {
    assert!(matches!(
        plan().sign_with(&key("KEK"), &key("PK")),
        Err(Error::KeyMismatch)
    ));
    let ec = Enrolment::single(&certificate("ec"), g1(), time("2024-01-02 03:04:05"));
    assert!(matches!(ec.sign(&key("PK")), Err(Error::NotRsa)));
}

#[test]
fn all_orders_agree_with_what_the_rules_say() {
    // In setup mode everything goes before PK; after PK only what its signer may write.
    let mut dbx = SignatureDatabase::new();
    dbx.add_signature(SignatureType::SHA256, g2(), &[7; 32])
        .unwrap();
    let set = plan()
        .dbx_lists(&dbx)
        .sign_with(&key("PK"), &key("KEK"))
        .unwrap();
    for firmware in [Firmware::Edk2_2022_11, Firmware::Edk2_2025_02] {
        for order in permutations(4) {
            let mut machine = Machine::new(firmware);
            let (mut pk, mut kek) = (false, false);
            for index in order {
                let update = &set.updates()[index];
                let result = machine.write(&update.to_write());
                match update.name().name() {
                    "PK" => pk = true,
                    "KEK" => kek = true,
                    _ if pk && !kek => {
                        let refusal = result.unwrap_err();
                        assert_eq!(
                            refusal.to_string(),
                            "EFI_NOT_FOUND: not signed by PK, and there is no KEK"
                        );
                        continue;
                    }
                    _ => {}
                }
                assert!(matches!(result, Ok(Outcome::Stored { .. })), "{result:?}");
            }
            assert!(!machine.setup_mode());
        }
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let smaller = permutations(n - 1);
    smaller
        .iter()
        .flat_map(|order| {
            (0..n).map(|at| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}

#[test]
fn a_rotation_is_accepted_step_by_step() {
    let mut machine = plan()
        .sign_with(&key("PK"), &key("KEK"))
        .unwrap()
        .try_on(Firmware::Edk2_2025_02)
        .unwrap();
    let new = certificate("db2");
    let steps = Rotation::new(
        &certificate("PK"),
        &certificate("KEK"),
        machine.database(&efivars::KEK).unwrap(),
        machine.database(&efivars::DB).unwrap(),
        time("2025-01-01 00:00:00"),
    )
    .add_db(g2(), &new)
    .remove_db(&certificate("db"))
    .replace_kek(g2(), &new)
    .replace_pk(g2(), &new)
    .revoke_removed()
    .steps()
    .unwrap();
    let told: Vec<_> = steps
        .iter()
        .map(|step| {
            (
                step.update().name().name(),
                step.signer().subject(),
                step.after_new_image(),
            )
        })
        .collect();
    let by = |name: &str| format!("CN=vector dev {name}");
    assert_eq!(
        told,
        [
            ("db", by("KEK"), false),
            ("KEK", by("PK"), false),
            ("PK", by("PK"), false),
            ("db", by("db two"), true),
            ("dbx", by("db two"), true),
        ]
    );
    for step in steps {
        let name = if step.signer() == &new {
            "db2"
        } else if step.signer() == &certificate("KEK") {
            "KEK"
        } else {
            "PK"
        };
        let signer = step.signer().clone();
        let signed = step.into_update().sign(&signer, &key(name)).unwrap();
        machine.write(&signed.to_write()).unwrap();
    }
    assert_eq!(
        machine
            .database(&efivars::DB)
            .unwrap()
            .certificates()
            .map(|(_, c)| c)
            .collect::<Vec<_>>(),
        std::slice::from_ref(&new)
    );
    assert_eq!(
        machine
            .database(&efivars::PK)
            .unwrap()
            .certificates()
            .next()
            .unwrap()
            .1,
        new
    );
    assert_eq!(machine.database(&efivars::DBX).unwrap().len(), 1);
}

#[test]
fn an_update_of_dbx_is_checked_for_space_before_it_is_written() {
    let mut big = SignatureDatabase::new();
    for n in 0..443u32 {
        let digest: [u8; 32] = std::array::from_fn(|i| n.to_be_bytes()[i % 4]);
        big.add_signature(SignatureType::SHA256, Guid::MICROSOFT, &digest)
            .unwrap();
    }
    let update = Update::append(efivars::DBX, &big, efivars::EfiTime::MICROSOFT_APPEND).unwrap();
    let signed = update.sign(&certificate("KEK"), &key("KEK")).unwrap();
    let update = DbxUpdate::parse(signed.to_bytes()).unwrap();
    assert_eq!(update.entries(), big);
    assert_eq!(update.verify_for(&certificate("KEK")), Ok(()));
    assert!(update.verify_for(&certificate("PK")).is_err());
    let space = update.space(&SignatureDatabase::new(), Quota::OVMF_2M);
    assert_eq!(
        (space.added, space.new_len, space.max_len),
        (443, 28 + 443 * 48, 0x2800 - 68)
    );
    assert!(!space.fits());
    assert!(update.space(&big, Quota::OVMF_4M).fits());

    let set = plan().sign_with(&key("PK"), &key("KEK")).unwrap();
    let mut small = set
        .try_on(Firmware::Edk2_2025_02)
        .unwrap()
        .with_quota(Quota::OVMF_2M);
    let refusal = small.write(&update.to_write()).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "EFI_INVALID_PARAMETER: 21360 bytes with header and name, one variable may have 10240"
    );
    let mut large = set.try_on(Firmware::Edk2_2025_02).unwrap();
    large.write(&update.to_write()).unwrap();
    assert_eq!(
        large.database(&efivars::DBX).unwrap(),
        update.merged(&SignatureDatabase::new())
    );

    let file = vector("auth/db.efitools.auth");
    let error = DbxUpdate::parse(&file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not an update that is signed for appending to dbx"
    );
}

#[test]
fn explained_attributes_are_those_the_machine_wants() {
    let set = plan().sign_with(&key("PK"), &key("KEK")).unwrap();
    for update in set.updates() {
        let explanation = AuthenticatedUpdate::parse(update.to_bytes())
            .unwrap()
            .explain();
        let signed_for = explanation.signed_for.unwrap();
        assert_eq!(
            (&signed_for.name, signed_for.attributes),
            (update.name(), Attributes::KEY)
        );
    }
}
