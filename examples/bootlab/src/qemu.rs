//! QEMU's command line.

use std::path::Path;

use crate::boot::Boot;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::medium::{Kind, quoted};

/// Guests crash at random on `-cpu max` under software emulation; on this model none did in about
/// a hundred boots. The features are what OpenSSL and the kernel's own cryptography look for.
const CPU: &str = "qemu64,+aes,+pclmulqdq,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand,+rdseed";

/// The arguments for a machine and a boot, without the channels to the lab.
pub(crate) fn arguments(
    machine: &Machine,
    boot: &Boot,
    input: &Path,
    output: &Path,
) -> Result<Vec<String>> {
    let description = machine.description();
    let smm = if description.smm { "on" } else { "off" };
    let mut arguments: Vec<String> = [
        "-machine",
        &format!("q35,smm={smm}"),
        "-accel",
        "tcg,thread=single",
        "-cpu",
        CPU,
        "-m",
        &description.memory_mib.to_string(),
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-drive",
        &format!(
            "if=pflash,unit=0,format=raw,readonly=on,file={}",
            quoted(&description.code)
        ),
        "-drive",
        &format!(
            "if=pflash,unit=1,format=raw,file={}",
            quoted(&machine.variable_store())
        ),
    ]
    .map(str::to_owned)
    .to_vec();
    if description.smm {
        arguments
            .extend(["-global", "driver=cfi.pflash01,property=secure,value=on"].map(str::to_owned));
    }
    arguments.extend(boot.medium.arguments());
    let bootable = match &boot.medium.0 {
        Kind::MachineDisk(name) if description.disks.contains(name) => Some(name),
        Kind::MachineDisk(name) => {
            return Err(Error::Invalid {
                what: "medium".to_owned(),
                problem: format!("the machine has no disk {name}"),
            });
        }
        _ => None,
    };
    for name in &description.disks {
        let first = if Some(name) == bootable {
            ",bootindex=1"
        } else {
            ""
        };
        disk(&mut arguments, name, &machine.disk_path(name), "", first);
    }
    for (name, image) in &boot.disks {
        disk(&mut arguments, name, image, ",snapshot=on", "");
    }
    disk(&mut arguments, "lab-in", input, ",readonly=on", "");
    disk(&mut arguments, "lab-out", output, ",cache=unsafe", "");
    arguments.extend(boot.qemu.iter().cloned());
    Ok(arguments)
}

fn disk(arguments: &mut Vec<String>, name: &str, image: &Path, drive: &str, device: &str) {
    arguments.extend([
        "-drive".to_owned(),
        format!("if=none,id={name},format=raw{drive},file={}", quoted(image)),
        "-device".to_owned(),
        format!("virtio-blk-pci,drive={name},serial={name}{device}"),
    ]);
}
