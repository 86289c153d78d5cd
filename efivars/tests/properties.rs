//! What holds for all inputs: text forms and bytes come back, and damaged files are an error or a verdict, never a panic.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{
    Attributes, EfiTime, Firmware, Guid, Machine, SignatureDatabase, SignatureType, VariableFile,
    VariableName, Write, json,
};
use proptest::prelude::*;
use support::vector;

proptest! {
    // Each case of the last property verifies RSA signatures.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn guids_come_back_from_their_text(bytes: [u8; 16]) {
        let guid = Guid::from_bytes(bytes);
        prop_assert_eq!(guid.to_string().parse::<Guid>().unwrap(), guid);
        prop_assert_eq!(Guid::from_uuid_bytes(guid.to_uuid_bytes()), guid);
    }

    #[test]
    fn times_come_back_from_text_bytes_and_seconds(seconds in 0u64..253_402_300_800) {
        let time = EfiTime::from_unix(seconds).unwrap();
        prop_assert_eq!(time.to_unix(), Some(seconds));
        prop_assert_eq!(time.to_string().parse::<EfiTime>().unwrap(), time);
        prop_assert_eq!(EfiTime::from_bytes(time.to_bytes()), time);
    }

    #[test]
    fn names_come_back_from_their_file_name(name in "[^\0/]{1,20}", bytes: [u8; 16]) {
        let name = VariableName::new(&name, Guid::from_bytes(bytes)).unwrap();
        prop_assert_eq!(name.to_string().parse::<VariableName>().unwrap(), name);
    }

    #[test]
    fn databases_come_back_from_their_bytes(entries in prop::collection::vec((any::<[u8; 16]>(), any::<[u8; 32]>(), any::<bool>()), 0..40)) {
        let mut database = SignatureDatabase::new();
        for (owner, data, short) in &entries {
            let (kind, data) = if *short { (SignatureType::SHA1, &data[..20]) } else { (SignatureType::SHA256, &data[..]) };
            database.add_signature(kind, Guid::from_bytes(*owner), data).unwrap();
        }
        prop_assert_eq!(database.len(), entries.len());
        prop_assert_eq!(SignatureDatabase::parse(&database.to_bytes()).unwrap(), database);
    }

    #[test]
    fn damaged_updates_get_an_error_or_a_verdict(at in 0usize..2057, byte: u8, len in 0usize..2058) {
        let mut bytes = vector("auth/db.efitools.auth");
        bytes[at] = byte;
        bytes.truncate(len);
        if let Ok(file) = VariableFile::detect(&bytes, None) {
            prop_assert!(!json::describe(&file).is_empty());
        }
        let original = bytes == vector("auth/db.efitools.auth");
        for firmware in [Firmware::Edk2_2022_11, Firmware::Edk2_2025_02] {
            let mut machine = Machine::new(firmware);
            let _ = machine.write(&Write::new(efivars::PK, Attributes::KEY, vector("auth/PK.efitools.auth")));
            let _ = machine.write(&Write::new(efivars::KEK, Attributes::KEY, vector("auth/KEK.efitools.auth")));
            let result = machine.write(&Write::new(efivars::DB, Attributes::KEY, bytes.clone()));
            // Only fields that no signature covers may change.
            prop_assert!(original || result.is_err() || at >= 16, "{at}");
            prop_assert!(result.is_err() || machine.database(&efivars::DB).unwrap().to_bytes() == vector("esl/db.efitools.esl"));
        }
    }
}
