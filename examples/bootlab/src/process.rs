//! Child processes that never outlive the lab.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{Signal, kill_process_group, set_parent_process_death_signal};

use crate::error::{Error, Result};

/// A child that is killed when this value is dropped, and by the kernel when the thread that
/// started it ends in any way, also by a signal that nobody can catch.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` with the given descriptors open in it, under the same numbers.
    pub(crate) fn start(mut command: Command, inherited: Vec<OwnedFd>) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let parent = rustix::process::getpid();
        command.process_group(0);
        let hook = move || {
            for fd in &inherited {
                rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
            }
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            Ok(())
        };
        // SAFETY: the closure runs between fork and exec; it makes four system calls, allocates
        // nothing and takes no lock.
        unsafe { command.pre_exec(hook) };
        let child = command
            .spawn()
            .map_err(|source| Error::Start { program, source })?;
        Ok(Self { child })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the end; false when it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<bool> {
        let end = Instant::now() + limit;
        loop {
            if self.ended()?.is_some() {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let group = rustix::process::Pid::from_child(&self.child);
        if kill_process_group(group, Signal::KILL).is_err() {
            // The group is gone when the child is; there is nothing else to end.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A connected pair of sockets: ours, and the one that a child inherits with its number.
pub(crate) fn socket_for_child() -> io::Result<(std::os::unix::net::UnixStream, OwnedFd, i32)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let number = theirs.as_raw_fd();
    Ok((ours, theirs, number))
}

/// Runs a tool to its end and returns what it wrote to standard output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            program: program.clone(),
            source,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if message.is_empty() {
        message = output.status.to_string();
    }
    Err(Error::Tool { program, message })
}
