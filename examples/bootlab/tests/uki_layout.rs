//! Images whose headers had to grow, and edited images: real firmware loads them, and the stub finds every section.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests stop at the first surprise"
)]

use std::fs;

use bootlab::{Boot, Ending, Esp, Generation, Guest, Machine, Medium};
use pcr::{Bank, Dialect, Pcr11, PhasePath};
use uki::{
    Builder, Device, DeviceKind, Edit, HardwareIds, Plan, Profile, SectionName, Source, Stub, Uki,
};

fn builder(generation: Generation) -> Builder {
    let kernel = generation.kernel().unwrap();
    Builder::new(Stub::parse(&fs::read(generation.stub().unwrap()).unwrap()).unwrap())
        .linux(Source::file(&kernel.image))
        .initrd(Guest::new(&kernel).build().unwrap())
        .cmdline(bootlab::CMDLINE)
        .os_release("ID=test\n")
}

/// Writes the image, and PCR 11 of its first profile as seen on the way.
fn written(plan: &Plan) -> (Vec<u8>, Vec<(Bank, String)>) {
    written_for(plan, None)
}

/// As [`written`], for a machine that picks this `.dtbauto`.
fn written_for(plan: &Plan, dtbauto: Option<usize>) -> (Vec<u8>, Vec<(Bank, String)>) {
    let dialect = Dialect::identify(plan.stub().name(), plan.stub().version());
    let mut boot = Pcr11::new(dialect, &Bank::ALL);
    let mut image = Vec::new();
    plan.write(
        &mut image,
        &mut boot,
        |boot, part| {
            if let Some(measured) = part.measured() {
                boot.observe(measured.key(), measured.bytes);
            }
        },
        |_, _| Ok(b"{}".to_vec()),
    )
    .unwrap();
    let registers = boot.registers(&[PhasePath::stub()]).unwrap();
    let values = registers
        .iter()
        .filter(|found| found.hardware.dtbauto == dtbauto)
        .map(|found| (found.value.bank(), found.value.to_string()));
    (image, values.collect())
}

fn assert_boots(
    generation: Generation,
    name: &str,
    (image, predicted): (Vec<u8>, Vec<(Bank, String)>),
) {
    let folder = tempfile::tempdir().unwrap();
    let esp = folder.path().join("esp.img");
    Esp::new()
        .file("EFI/BOOT/BOOTX64.EFI", &image)
        .write(&esp)
        .unwrap();
    let firmware = generation.firmware(false).unwrap();
    let mut machine = Machine::builder(firmware)
        .create(folder.path().join("machine"))
        .unwrap();
    let report = machine
        .boot(&Boot::new(Medium::virtio(&esp)).script("true"))
        .unwrap();
    let report = report.expect(&Ending::Done).unwrap();
    for (bank, value) in predicted {
        let measured = report.registers().hex(bank.name(), 11).unwrap();
        assert_eq!(measured, value, "{name}: {bank}");
    }
}

fn with_profiles(generation: Generation, count: usize) -> Builder {
    (0..count).fold(builder(generation), |builder, index| {
        let profile = Profile::new(format!("ID=p{index}\n"));
        builder.profile(
            profile
                .cmdline(&format!("{} p={index}", bootlab::CMDLINE))
                .pcrsig_len(2),
        )
    })
}

#[test]
fn an_image_with_its_data_moved_back_boots() {
    for generation in Generation::available() {
        let plan = with_profiles(generation, 25).plan().unwrap();
        assert_boots(generation, "25 profiles", written(&plan));
    }
}

#[test]
fn an_image_with_256_profiles_and_its_base_moved_down_boots() {
    for generation in Generation::available() {
        match with_profiles(generation, 256).plan() {
            Ok(plan) => assert_boots(generation, "256 profiles", written(&plan)),
            // Stub 252 has an image base of zero.
            Err(error) => assert_eq!(generation, Generation::Debian12, "{error}"),
        }
    }
}

#[test]
fn an_edited_image_boots() {
    for generation in Generation::available() {
        let (image, _) = written(&builder(generation).plan().unwrap());
        let longer = format!("{} edited={}", bootlab::CMDLINE, "x".repeat(700));
        let plan = Edit::new(image)
            .unwrap()
            .set(None, SectionName::CMDLINE, longer.as_str())
            .remove(None, SectionName::UNAME)
            .plan()
            .unwrap();
        let edited = written(&plan);
        assert!(
            Uki::parse(&edited.0)
                .unwrap()
                .base()
                .section(&SectionName::UNAME)
                .is_none()
        );
        assert_boots(generation, "edited", edited);
    }
}

/// A flattened device tree with a root node that is compatible with `compatible`, and nothing else.
fn device_tree(compatible: &str) -> Vec<u8> {
    let mut value = compatible.as_bytes().to_vec();
    value.push(0);
    let len = u32::try_from(value.len()).unwrap();
    value.resize(value.len().next_multiple_of(4), 0);
    // Begin of a node without a name, a property, its value, end of the node, end.
    let begin = [1, 0, 3, len, 0];
    let mut structure: Vec<u8> = begin
        .iter()
        .flat_map(|word| u32::to_be_bytes(*word))
        .collect();
    structure.extend_from_slice(&value);
    structure.extend([2_u32, 9].iter().flat_map(|word| word.to_be_bytes()));
    let strings = b"compatible\0";
    let word = |len: usize| u32::try_from(len).unwrap();
    let header_len = 40 + 16;
    let total = header_len + structure.len() + strings.len();
    let header = [
        0xd00d_feed,
        word(total),
        word(header_len),
        word(header_len + structure.len()),
        40,
        17,
        16,
        0,
        word(strings.len()),
        word(structure.len()),
    ];
    let mut tree: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    tree.resize(header_len, 0);
    tree.extend_from_slice(&structure);
    tree.extend_from_slice(strings);
    tree
}

/// The stub reads the machine's SMBIOS strings, finds their id in `.hwids`, and takes and measures the second of three
/// device trees. `.hwids` is measured whole.
#[test]
fn the_device_tree_that_fits_the_machine_is_measured() {
    /// HardwareID-9 of `QEMU&Standard PC (Q35 + ICH9, 2009)`: 817fca52-ae83-52f5-8642-9497f79d49d0.
    const QEMU_Q35: [u8; 16] = [
        0x52, 0xca, 0x7f, 0x81, 0x83, 0xae, 0xf5, 0x52, 0x86, 0x42, 0x94, 0x97, 0xf7, 0x9d, 0x49,
        0xd0,
    ];
    let generation = Generation::Debian13;
    if !Generation::available().contains(&generation) {
        assert!(
            std::env::var_os("CI").is_none(),
            "the Debian 13 tree is missing"
        );
        return eprintln!(
            "SKIPPED: the_device_tree_that_fits_the_machine_is_measured: the Debian 13 tree not found"
        );
    }
    let device = |name, value, chid| Device::new(DeviceKind::DeviceTree, name, value, vec![chid]);
    let ids = HardwareIds::new()
        .device(device("Other", "test,other", [7; 16]))
        .device(device("Q35", "test,q35", QEMU_Q35));
    let plan = builder(generation)
        .dtbauto(device_tree("test,other"))
        .dtbauto(device_tree("test,q35"))
        .dtbauto(device_tree("test,third"))
        .hwids(ids.to_bytes().unwrap())
        .plan()
        .unwrap();
    let predicted = written_for(&plan, Some(1));
    assert_eq!(uki::lint(&Uki::parse(&predicted.0).unwrap()).unwrap(), []);
    assert_boots(generation, "device tree", predicted);
}
