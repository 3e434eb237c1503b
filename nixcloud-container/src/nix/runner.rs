//! The one place that starts a Nix process: reads what it prints while it runs, cancels it, and
//! never leaves it behind.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Program;
use super::error::Error;
use super::log::Log;
use super::tree;
use crate::model::observe::{Cancel, Observer};
use crate::sys::process;
use crate::sys::reporter::{self, End, Reported};

/// How often the token is looked at while Nix says nothing.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 25_000_000 };

/// How long Nix may take after SIGINT to stop its builders and to release its locks. Its evaluator
/// does not listen (tried with 2.8: a loop runs on for ever), and loses nothing when it is killed.
fn grace(program: Program) -> Duration {
    match program {
        Program::NixInstantiate => Duration::from_millis(500),
        Program::NixStore | Program::NixEnv => Duration::from_secs(2),
    }
}

/// What ends it where its caller is killed. `nix-env` would still set the profile after SIGTERM, behind the back of the next
/// operation, and leaves nothing behind when it is killed; the others have builders to stop.
fn with_caller(program: Program) -> ::nix::sys::signal::Signal {
    match program {
        Program::NixEnv => ::nix::sys::signal::Signal::SIGKILL,
        Program::NixInstantiate | Program::NixStore => ::nix::sys::signal::Signal::SIGTERM,
    }
}

/// A longer line is cut: a builder may print without end.
const LINE_MAX: usize = 4 << 20;
/// What is read of one pipe before the token and the other pipe get their turn.
const TURN: usize = 256 << 10;

/// A process that ended by itself.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) log: Log,
}

/// Runs `command` to its end, whatever its exit status.
///
/// It gets an own process group (the terminal's Ctrl-C is the caller's to handle, by `cancel`) and
/// no stdin. If an observer panics, everything below is killed on the way out.
pub(super) fn run(
    command: Command,
    program: Program,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Finished, Error> {
    use std::os::unix::process::CommandExt as _;

    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let path = PathBuf::from(command.get_program());
    let not_started = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { program, path: path.clone() },
        _ => Error::Spawn { path: path.clone(), source },
    };
    let mut nix = Reported::new(command).map_err(not_started)?;
    let command = nix.command();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // Else a build that outlives a killed operation would register its root after the next one has tidied up.
    process::end_with_caller(command, with_caller(program));
    process::hearing(command, ::nix::sys::signal::Signal::SIGINT);
    let lost = |source| Error::Pipe { program, source };
    let mut running = Running::new(nix.spawn().map_err(not_started)?, grace(program)).map_err(lost)?;
    let (end, stdout, log) = running.finish(observer, cancel).map_err(lost)?.ok_or(Error::Cancelled)?;
    match end {
        End::Ended(status) => Ok(Finished { status, stdout, log }),
        End::NotStarted(source) => Err(not_started(source)),
    }
}

/// A child that is killed, with all below it, unless it was seen to end.
struct Guard {
    running: reporter::Running,
    /// `None` where it had ended, and somebody else had waited for it, before it could be taken hold of.
    pidfd: Option<OwnedFd>,
    reaped: bool,
}

impl Guard {
    fn new(running: reporter::Running) -> io::Result<Self> {
        let mut guard = Self { running, pidfd: None, reaped: false };
        guard.pidfd = match pidfd_open(guard.pid(), PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::SRCH) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(guard)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.running.child)
    }

    /// Kills it with all below it. Once it has ended its number may be another's.
    fn kill(&self) {
        let fd = self.pidfd.as_ref().map(|pidfd| PollFd::new(pidfd, PollFlags::IN));
        if fd.is_some_and(|fd| poll(&mut [fd], Some(&Timespec::default())) == Ok(0)) {
            tree::kill(self.pid());
        }
    }

    fn reap(&mut self) -> io::Result<End> {
        let waited = self.running.child.wait();
        self.reaped = true;
        self.running.end(waited)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            // Nobody is left to tell.
            let _status = self.running.child.wait();
        }
    }
}

struct Running {
    guard: Guard,
    grace: Duration,
    stdout: Pipe,
    stderr: Pipe,
}

enum Stop {
    /// Asked by SIGINT; killed when the time is over.
    Asked(Instant),
    Killed,
}

impl Running {
    fn new(running: reporter::Running, grace: Duration) -> io::Result<Self> {
        let mut guard = Guard::new(running)?;
        let child = &mut guard.running.child;
        let stdout = Pipe::new(child.stdout.take().map(OwnedFd::from))?;
        let stderr = Pipe::new(child.stderr.take().map(OwnedFd::from))?;
        Ok(Self { guard, grace, stdout, stderr })
    }

    /// `None` when it was cancelled.
    fn finish(
        &mut self,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> io::Result<Option<(End, Vec<u8>, Log)>> {
        let mut stop = None;
        let mut output = Vec::new();
        let mut lines = Lines::default();
        let mut log = Log::default();
        loop {
            // The end is looked for before the pipes are read, and a turn is more than a pipe holds: so
            // all that the process wrote is read, and no more of what others, who may hold its pipes
            // open, write for ever.
            let ended = self.wait()?;
            let mut ignore = ();
            let heard: &mut dyn Observer = if stop.is_none() { observer } else { &mut ignore };
            self.stdout.read(|bytes| output.extend_from_slice(bytes))?;
            self.stderr.read(|bytes| lines.push(bytes, |line| log.line(line, heard)))?;
            if ended {
                lines.end(|line| log.line(line, heard));
                break;
            }
            stop = self.stop(stop, cancel);
        }
        if stop.is_some() {
            // The zombie still holds the group's number, so this can hit nobody else; where somebody else has waited for it,
            // the number is free only once the group is empty.
            let _gone = kill_process_group(self.guard.pid(), Signal::KILL);
        }
        let end = self.guard.reap()?;
        Ok(stop.is_none().then_some((end, output, log)))
    }

    /// Waits for output, the end or a tick. Returns whether the process has ended.
    ///
    /// Not by `PidFd::wait`, which waits for the end alone: Nix stands still where nobody reads its pipes.
    fn wait(&self) -> io::Result<bool> {
        let Some(pidfd) = &self.guard.pidfd else { return Ok(true) };
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        fds.extend([&self.stdout, &self.stderr].into_iter().filter_map(Pipe::poll_fd));
        match poll(&mut fds, Some(&TICK)) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn stop(&self, stop: Option<Stop>, cancel: &Cancel) -> Option<Stop> {
        match stop {
            None if cancel.is_cancelled() => {
                tracing::debug!(pid = self.guard.pid().as_raw_nonzero(), "cancelled: SIGINT to Nix");
                // Nix then kills its builders, releases its locks and ends.
                let _gone = kill_process_group(self.guard.pid(), Signal::INT);
                Some(Stop::Asked(Instant::now() + self.grace))
            }
            Some(Stop::Asked(late)) if Instant::now() >= late => {
                tracing::debug!(pid = self.guard.pid().as_raw_nonzero(), "Nix does not obey: killed");
                self.guard.kill();
                Some(Stop::Killed)
            }
            stop => stop,
        }
    }
}

/// The reading end of a pipe; `None` after its end.
struct Pipe(Option<File>);

impl Pipe {
    fn new(fd: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(fd) = &fd {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Self(fd.map(File::from)))
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.0.as_ref().map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN))
    }

    /// Reads what is there, one turn at most.
    fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let mut total = 0;
        while let Some(file) = &mut self.0 {
            match file.read(&mut buffer) {
                Ok(0) => self.0 = None,
                Ok(count) => {
                    take(&buffer[..count]);
                    total += count;
                    if total >= TURN {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Cuts a stream into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.append(&rest[..end]);
            take(&self.0);
            self.0.clear();
            rest = &rest[end + 1..];
        }
        self.append(rest);
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = LINE_MAX - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The last line, if it had no end.
    fn end(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            take(&self.0);
            self.0.clear();
        }
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
