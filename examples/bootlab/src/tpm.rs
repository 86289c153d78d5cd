//! The software TPM, and the lab's place on its bus.
//!
//! QEMU talks to swtpm over a control socket and hands it a data socket for the commands. The lab
//! sits between the two: it passes everything on, keeps a copy of each command and its answer, and
//! reads the registers itself at the end of every power cycle. So the measured registers are known
//! even when no operating system ever ran.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::error::{Error, Result};
use crate::process::{Process, socket_for_child};
use crate::registers::Registers;
use crate::tpm_command as tpm2;

/// Control channel commands of swtpm (`tpm_ioctl.h`).
mod control {
    pub(super) const INIT: u32 = 0x02;
    pub(super) const SHUTDOWN: u32 = 0x03;
    pub(super) const SET_DATAFD: u32 = 0x10;
}

/// One command on the TPM's bus and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// The whole command, header included.
    pub command: Vec<u8>,
    /// The whole answer, header included.
    pub response: Vec<u8>,
}

#[derive(Debug, Default)]
struct Bus {
    data: Option<UnixStream>,
    trace: Vec<Exchange>,
    registers: Option<Registers>,
    orderly: bool,
}

impl Bus {
    fn exchange(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let data = self.data.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        data.write_all(command)?;
        read_message(data)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads the registers, unless the TPM was shut down: any further command would make that
    /// shutdown count as an accident.
    fn snapshot(&mut self) {
        if self.orderly {
            return;
        }
        let now = tpm2::read_registers(|command| self.exchange(command).ok());
        if let Some(now) = now {
            self.registers = Some(now);
        }
    }
}

/// A running software TPM.
#[derive(Debug)]
pub(crate) struct Tpm {
    process: Process,
    control: UnixStream,
    bus: Arc<Mutex<Bus>>,
}

fn locked(bus: &Mutex<Bus>) -> MutexGuard<'_, Bus> {
    bus.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tpm {
    /// Starts swtpm with its state in `state`.
    fn start(state: &Path) -> Result<Self> {
        let (control, theirs, number) = socket_for_child().map_err(Error::Tpm)?;
        let state = state.canonicalize().map_err(Error::file(state))?;
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,clientfd={number}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(command, vec![theirs])?;
        Ok(Self {
            process,
            control,
            bus: Arc::default(),
        })
    }

    /// Starts swtpm for a machine; the descriptor is QEMU's end of the control channel.
    pub(crate) fn for_machine(state: &Path) -> Result<(Self, OwnedFd, i32)> {
        let tpm = Self::start(state)?;
        let (from_qemu, theirs, number) = socket_for_child().map_err(Error::Tpm)?;
        let bus = Arc::clone(&tpm.bus);
        let copies = (
            from_qemu.try_clone(),
            tpm.control.try_clone(),
            tpm.control.try_clone(),
        );
        let (Ok(mut to_qemu), Ok(to_swtpm), Ok(mut from_swtpm)) = copies else {
            return Err(Error::Tpm(io::Error::last_os_error()));
        };
        std::thread::spawn(move || {
            // An error on either side means that one of the two programs has ended.
            let _ = pass_control(&from_qemu, &to_swtpm, &bus);
        });
        std::thread::spawn(move || {
            let _ = io::copy(&mut from_swtpm, &mut to_qemu);
            let _ = to_qemu.shutdown(Shutdown::Both);
        });
        Ok((tpm, theirs, number))
    }

    /// Makes a TPM's state with exactly these banks.
    pub(crate) fn make(state: &Path, banks: &[String]) -> Result<()> {
        let mut tpm = Self::start(state)?;
        let answer = |tpm: &mut Self, request: &[u8]| -> io::Result<()> {
            tpm.control.write_all(request)?;
            let mut result = [0; 4];
            tpm.control.read_exact(&mut result)?;
            match u32::from_be_bytes(result) {
                0 => Ok(()),
                code => Err(io::Error::other(format!(
                    "control command answered {code:#x}"
                ))),
            }
        };
        let mut make = || -> io::Result<()> {
            let (ours, theirs) = UnixStream::pair()?;
            send_with_fd(
                &tpm.control,
                &control::SET_DATAFD.to_be_bytes(),
                Some(theirs.into()),
            )?;
            let mut result = [0; 4];
            tpm.control.read_exact(&mut result)?;
            locked(&tpm.bus).data = Some(ours);
            answer(&mut tpm, &[control::INIT.to_be_bytes(), [0; 4]].concat())?;
            let names: Vec<&str> = banks.iter().map(String::as_str).collect();
            let mut bus = locked(&tpm.bus);
            if !tpm2::succeeded(&bus.exchange(&tpm2::startup_clear())?) {
                return Err(io::Error::other("TPM2_Startup refused"));
            }
            if !tpm2::allocation_succeeded(&bus.exchange(&tpm2::pcr_allocate(&names))?) {
                return Err(io::Error::other(format!("banks {names:?} refused")));
            }
            bus.exchange(&tpm2::shutdown_clear())?;
            drop(bus);
            answer(&mut tpm, &control::SHUTDOWN.to_be_bytes())
        };
        make().map_err(Error::Tpm)?;
        tpm.end().map(drop)
    }

    /// Number of commands so far: a sign of life.
    pub(crate) fn commands(&self) -> usize {
        locked(&self.bus).trace.len()
    }

    /// Reads the registers now.
    pub(crate) fn snapshot(&self) {
        locked(&self.bus).snapshot();
    }

    /// Ends the power cycle as a careful operator would: registers read, TPM told.
    pub(crate) fn power_off(&self) {
        let mut bus = locked(&self.bus);
        bus.snapshot();
        if !bus.orderly && bus.exchange(&tpm2::shutdown_clear()).is_ok() {
            bus.orderly = true;
        }
    }

    /// Ends swtpm and returns what was seen on the bus.
    pub(crate) fn end(mut self) -> Result<(Option<Registers>, Vec<Exchange>)> {
        self.snapshot();
        // swtpm ends when its control channel closes.
        let _ = self.control.shutdown(Shutdown::Both);
        self.process
            .wait(Duration::from_secs(5))
            .map_err(Error::Tpm)?;
        let mut bus = locked(&self.bus);
        Ok((bus.registers.take(), std::mem::take(&mut bus.trace)))
    }
}

/// Passes control commands on, until one side closes. Commands and answers alternate strictly.
fn pass_control(
    from_qemu: &UnixStream,
    to_swtpm: &UnixStream,
    bus: &Arc<Mutex<Bus>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (len, fd) = receive_with_fd(from_qemu, &mut buffer)?;
        let chunk = buffer.get(..len).unwrap_or_default();
        let Some(code) = chunk
            .first_chunk::<4>()
            .map(|code| u32::from_be_bytes(*code))
        else {
            return Ok(());
        };
        if matches!(code, control::INIT | control::SHUTDOWN) {
            let mut bus = locked(bus);
            bus.snapshot();
            bus.orderly = code == control::SHUTDOWN;
        }
        let Some(qemu_data) = fd else {
            send_with_fd(to_swtpm, chunk, None)?;
            continue;
        };
        let (ours, theirs) = UnixStream::pair()?;
        send_with_fd(to_swtpm, chunk, Some(theirs.into()))?;
        locked(bus).data = Some(ours);
        let bus = Arc::clone(bus);
        std::thread::spawn(move || {
            let _ = pass_commands(UnixStream::from(qemu_data), &bus);
        });
    }
}

/// Passes TPM commands on and keeps a copy.
fn pass_commands(mut qemu: UnixStream, bus: &Mutex<Bus>) -> io::Result<()> {
    while let Some(command) = read_message(&mut qemu)? {
        let mut bus = locked(bus);
        if tpm2::code(&command) == Some(tpm2::SHUTDOWN) {
            bus.snapshot();
        }
        let response = bus.exchange(&command)?;
        bus.orderly = tpm2::code(&command) == Some(tpm2::SHUTDOWN);
        qemu.write_all(&response)?;
        bus.trace.push(Exchange { command, response });
    }
    Ok(())
}

/// One command or answer; none at the end of the stream.
fn read_message(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; 10];
    match stream.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let len = tpm2::stated_len(header);
    if !(10..=64 * 1024).contains(&len) {
        return Err(io::Error::other(format!("TPM message of {len} bytes")));
    }
    let mut message = vec![0; len];
    let (head, tail) = message.split_at_mut(10);
    head.copy_from_slice(&header);
    stream.read_exact(tail)?;
    Ok(Some(message))
}

fn send_with_fd(stream: &UnixStream, bytes: &[u8], fd: Option<OwnedFd>) -> io::Result<()> {
    let Some(fd) = fd else {
        return (&mut &*stream).write_all(bytes);
    };
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no space for a descriptor"));
    }
    sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    Ok(())
}

fn receive_with_fd(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        stream,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let fd = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((message.bytes, fd))
}
