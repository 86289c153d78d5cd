//! The recorded writes on two real firmwares, replayed on the model.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use efivars::{Attributes, Firmware, Machine, VariableName, Write};
use support::{json, sha256, vector};

fn replay(firmware: Firmware) {
    let mut machine = Machine::new(firmware);
    machine.exit_boot_services();
    let steps = json("firmware-oracle/steps.json");
    let steps = steps.as_array().unwrap();
    assert_eq!(steps.len(), 54);
    for step in steps {
        let text = |key: &str| step[key].as_str().unwrap();
        let name = VariableName::new(text("variable"), text("guid").parse().unwrap()).unwrap();
        let attributes =
            Attributes::from_bits(u32::try_from(step["attributes"].as_u64().unwrap()).unwrap());
        let data = vector(&format!("firmware-oracle/{}", text("file")));
        let expected = &step["verdict"][firmware.to_string()];
        let result = machine.write(&Write::new(name.clone(), attributes, data));
        let shown = result
            .as_ref()
            .map_or_else(|refusal| refusal.status.linux_errno().unwrap(), |_| "OK");
        assert_eq!(
            Some(shown),
            expected["result"].as_str(),
            "{}: {result:?}",
            text("id")
        );
        assert_eq!(
            Some(u64::from(machine.setup_mode())),
            expected["setup_mode_after"].as_u64(),
            "{}",
            text("id")
        );
        let value = machine
            .variable(&name)
            .map(|variable| variable.data.as_slice());
        if let Some(digest) = expected["value_sha256"].as_str() {
            assert_eq!(value.map(sha256).as_deref(), Some(digest), "{}", text("id"));
        }
        if let Some(len) = expected["value_len"].as_u64() {
            assert_eq!(
                value.map(|value| value.len() as u64),
                Some(len),
                "{}",
                text("id")
            );
        } else {
            assert_eq!(value, None, "{}", text("id"));
        }
    }
}

#[test]
fn every_verdict_of_2022_11_is_predicted() {
    replay(Firmware::Edk2_2022_11);
}

#[test]
fn every_verdict_of_2025_02_is_predicted() {
    replay(Firmware::Edk2_2025_02);
}
