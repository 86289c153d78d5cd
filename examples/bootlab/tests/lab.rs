//! The lab itself: it ends what it started, counts crashes and keeps machines apart.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bootlab::{Boot, Ending, Generation, Guest, Machine, Medium};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Waits until `found` gives something; a minute is far more than it takes.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

fn children(of: u32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task"))
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

fn is_running(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = state
        .rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('Z'));
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok()) && !zombie
}

#[expect(clippy::unwrap_used, reason = "part of two tests")]
fn ends_its_children_after(signal: Signal) {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("blank.img");
    std::fs::write(&image, vec![0; 1 << 20]).unwrap();
    let mut lab = Command::new(env!("CARGO_BIN_EXE_bootlab"))
        .arg("run")
        .args([&image, &folder.path().join("machine")])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // QEMU and swtpm; the swtpm that makes the TPM's state comes and goes alone.
    let started = wait_for("the start of two processes", || {
        Some(children(lab.id())).filter(|pids| pids.len() == 2)
    });
    kill_process(Pid::from_child(&lab), signal).unwrap();
    lab.wait().unwrap();
    wait_for("the end of both processes", || {
        (!started.iter().any(|pid| is_running(*pid))).then_some(())
    });
}

#[test]
fn an_interrupted_lab_leaves_no_process_behind() {
    ends_its_children_after(Signal::INT);
}

#[test]
fn a_killed_lab_leaves_no_process_behind() {
    ends_its_children_after(Signal::KILL);
}

#[test]
fn a_crashed_guest_is_tried_again_and_counted() {
    let kernel = Generation::Debian12.kernel().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let initramfs = folder.path().join("initramfs");
    std::fs::write(&initramfs, Guest::new(&kernel).build().unwrap()).unwrap();
    let firmware = Generation::Debian12.firmware(false).unwrap();
    let mut machine = Machine::builder(firmware)
        .banks(&["sha256"])
        .create(folder.path().join("machine"))
        .unwrap();
    let boot = |script: &str| {
        Boot::new(Medium::nothing())
            .script(script)
            .attempts(2)
            .qemu("-kernel")
            .qemu(kernel.image.to_str().unwrap())
            .qemu("-initrd")
            .qemu(initramfs.to_str().unwrap())
            .qemu("-append")
            .qemu(bootlab::CMDLINE)
    };
    let report = machine.boot(&boot("echo c >/proc/sysrq-trigger")).unwrap();
    let Ending::Crashed { message } = report.ending() else {
        panic!("{}", report.ending())
    };
    assert!(message.contains("sysrq"), "{message}");
    assert_eq!(report.retries(), 1);

    let report = machine
        .boot(&boot("echo said; echo kept >/out/note; exit 3"))
        .unwrap();
    assert_eq!(*report.ending(), Ending::Done);
    assert_eq!(
        (report.script_status(), report.script_log()),
        (Some(3), "said\n")
    );
    assert_eq!(report.file("note"), Some("kept\n"));
    assert_eq!(report.registers().banks().collect::<Vec<_>>(), ["sha256"]);
    let seen = report.registers_at("begin").unwrap();
    assert_eq!(
        seen.get("sha256", 7),
        report.registers().get("sha256", 7),
        "guest and bus agree"
    );
}

#[test]
fn a_machine_is_not_made_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let firmware = Generation::Debian12.firmware(false).unwrap();
    let builder = Machine::builder(firmware).disk("data", 1 << 20);
    let machine = builder.clone().create(folder.path().join("one")).unwrap();
    let error = builder.create(machine.directory()).unwrap_err();
    assert!(
        error.to_string().ends_with("the directory is not empty"),
        "{error}"
    );
    let copy = machine.fork(folder.path().join("two")).unwrap();
    assert_eq!(
        std::fs::metadata(copy.disk_path("data")).unwrap().len(),
        1 << 20
    );
}

#[test]
fn an_unknown_bank_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let firmware = Generation::Debian12.firmware(false).unwrap();
    let error = Machine::builder(firmware)
        .banks(&["md5"])
        .create(folder.path().join("one"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "bank: \"md5\" is not one of sha1, sha256, sha384, sha512"
    );
}
