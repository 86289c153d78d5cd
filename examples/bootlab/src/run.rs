//! Runs QEMU once and watches it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::boot::Boot;
use crate::console::{Console, Sign};
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::process::{Process, socket_for_child};
use crate::qemu;
use crate::report::{Ending, Report};
use crate::tpm::Tpm;

/// News from the threads that listen to QEMU.
enum News {
    Serial(Vec<u8>),
    /// The machine's own end, with QEMU's reason.
    Shutdown(String),
}

/// Boots once, without a second try.
pub(crate) fn run_once(machine: &Machine, boot: &Boot) -> Result<Report> {
    let begin = Instant::now();
    let input = machine.write_input(boot)?;
    let output = machine.make_output()?;
    let mut arguments = qemu::arguments(machine, boot, &input, &output)?;
    let mut inherited = Vec::new();

    let (serial, theirs, number) = socket_for_child().map_err(start_error)?;
    inherited.push(theirs);
    arguments.extend([
        "-chardev".into(),
        format!("socket,id=serial,fd={number}"),
        "-serial".into(),
        "chardev:serial".into(),
    ]);
    let (monitor, theirs, number) = socket_for_child().map_err(start_error)?;
    inherited.push(theirs);
    arguments.extend([
        "-chardev".into(),
        format!("socket,id=qmp,fd={number}"),
        "-mon".into(),
        "chardev=qmp,mode=control".into(),
    ]);
    let tpm = if machine.description().tpm {
        let (tpm, theirs, number) = Tpm::for_machine(&machine.tpm_state())?;
        inherited.push(theirs);
        arguments.extend(["-chardev".into(), format!("socket,id=tpm,fd={number}")]);
        arguments.extend([
            "-tpmdev".into(),
            "emulator,id=tpm0,chardev=tpm".into(),
            "-device".into(),
            "tpm-crb,tpmdev=tpm0".into(),
        ]);
        Some(tpm)
    } else {
        None
    };

    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = Process::start(command, inherited)?;
    let (sender, news) = channel();
    listen(serial, monitor.try_clone().map_err(start_error)?, &sender);
    drop(sender);
    let mut watch = Watch {
        boot,
        tpm: tpm.as_ref(),
        console: Console::default(),
        linux: false,
        done: false,
        leaving: false,
        crash: None,
    };
    let ending = watch.until_the_end(&mut process, &news);
    // Politely first: QEMU then lets go of its image files.
    if process.ended().map_err(start_error)?.is_none() {
        // The monitor may be gone already; the drop below ends QEMU in any case.
        let _ = (&monitor).write_all(b"{\"execute\":\"quit\"}\n");
        process.wait(Duration::from_secs(5)).map_err(start_error)?;
    }
    let serial = watch.console.into_text();
    if serial.is_empty() && matches!(ending, Ending::PowerOff) {
        let mut message = String::new();
        if let Some(errors) = process.child().stderr.as_mut() {
            errors.read_to_string(&mut message).map_err(start_error)?;
        }
        if !message.trim().is_empty() {
            return Err(Error::Qemu {
                message: message.trim().to_owned(),
            });
        }
    }
    drop(process);
    let (registers, trace) = tpm.map(Tpm::end).transpose()?.unwrap_or_default();
    let files = if ending == Ending::Done {
        Machine::read_output(&output)?
    } else {
        Default::default()
    };
    machine.clean_up();
    Ok(Report {
        ending,
        serial,
        registers: registers.unwrap_or_default(),
        trace,
        output: files,
        seconds: begin.elapsed().as_secs_f64(),
        crashes: Vec::new(),
    })
}

fn start_error(source: std::io::Error) -> Error {
    Error::Start {
        program: "qemu-system-x86_64".to_owned(),
        source,
    }
}

/// Starts the threads that read the serial port and QEMU's monitor.
fn listen(mut serial: UnixStream, monitor: UnixStream, sender: &Sender<News>) {
    let to = sender.clone();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(len @ 1..) = serial.read(&mut buffer) {
            let bytes = buffer.get(..len).unwrap_or_default().to_vec();
            if to.send(News::Serial(bytes)).is_err() {
                return;
            }
        }
    });
    let to = sender.clone();
    std::thread::spawn(move || {
        if (&monitor)
            .write_all(b"{\"execute\":\"qmp_capabilities\"}\n")
            .is_err()
        {
            return;
        }
        for line in BufReader::new(monitor).lines() {
            let Ok(line) = line else { return };
            let Ok(message) = serde_json::from_str::<serde_json::Value>(&line) else {
                continue;
            };
            if message["event"] == "SHUTDOWN" {
                let reason = message["data"]["reason"]
                    .as_str()
                    .unwrap_or("unknown")
                    .to_owned();
                if to.send(News::Shutdown(reason)).is_err() {
                    return;
                }
            }
        }
    });
}

struct Watch<'a> {
    boot: &'a Boot,
    tpm: Option<&'a Tpm>,
    console: Console,
    linux: bool,
    done: bool,
    leaving: bool,
    crash: Option<String>,
}

impl Watch<'_> {
    fn until_the_end(&mut self, process: &mut Process, news: &Receiver<News>) -> Ending {
        let mut last_life = Instant::now();
        let mut commands = 0;
        let mut reason = None;
        loop {
            match news.recv_timeout(Duration::from_millis(200)) {
                Ok(News::Serial(bytes)) => {
                    last_life = Instant::now();
                    if let Some(ending) = self.read(&bytes) {
                        self.power_off();
                        return ending;
                    }
                }
                Ok(News::Shutdown(why)) => {
                    if let Some(tpm) = self.tpm {
                        tpm.snapshot();
                    }
                    reason = Some(why);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // Both channels are closed: QEMU has ended or is about to.
                    let _ = process.wait(Duration::from_secs(5));
                    return self.verdict(reason.as_deref());
                }
                Err(RecvTimeoutError::Timeout) => {
                    if matches!(process.ended(), Ok(Some(_))) && reason.is_none() {
                        return self.verdict(None);
                    }
                }
            }
            let now = self.tpm.map_or(0, Tpm::commands);
            if now != commands {
                commands = now;
                last_life = Instant::now();
            }
            if last_life.elapsed() > self.boot.patience {
                self.power_off();
                return if self.linux && !self.done {
                    Ending::Crashed {
                        message: self
                            .crash
                            .take()
                            .unwrap_or_else(|| "no progress in the guest".to_owned()),
                    }
                } else {
                    Ending::TimedOut
                };
            }
        }
    }

    /// Ends the power cycle from outside.
    fn power_off(&self) {
        if let Some(tpm) = self.tpm {
            tpm.power_off();
        }
    }

    /// Looks at new output; an ending when the boot is over by what it says.
    fn read(&mut self, bytes: &[u8]) -> Option<Ending> {
        for sign in self.console.take(bytes) {
            match sign {
                Sign::Started if self.boot.end_at_start => return Some(Ending::PowerOff),
                Sign::Started => {}
                Sign::Refused(by, message) if !self.linux => {
                    return Some(Ending::Refused { by, message });
                }
                Sign::Refused(..) => {}
                Sign::Linux => self.linux = true,
                Sign::Done => self.done = true,
                Sign::Leaving => self.leaving = true,
                // Once everything is written out a crash on the way down changes nothing.
                Sign::Crash(line) if !self.done && self.crash.is_none() => self.crash = Some(line),
                Sign::Crash(_) => {}
            }
        }
        None
    }

    /// What a machine's own end means.
    fn verdict(&mut self, reason: Option<&str>) -> Ending {
        if let Some(message) = self.crash.take() {
            return Ending::Crashed { message };
        }
        if self.done {
            return Ending::Done;
        }
        let reset = reason == Some("guest-reset");
        if self.linux && !self.leaving {
            let message = format!(
                "the guest ended without a word ({})",
                reason.unwrap_or("no reason")
            );
            return Ending::Crashed { message };
        }
        if reset {
            Ending::Reset
        } else {
            Ending::PowerOff
        }
    }
}
