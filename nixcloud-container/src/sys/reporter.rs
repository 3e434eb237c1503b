//! How a program of the host ended, also where this process does not learn it.
//!
//! Whoever embeds this library may ignore SIGCHLD, or have a thread that waits for whatever ends: then nobody else is told
//! how a child of ours ended, and a success would be taken for a failure. There a process of ours stands between, which is
//! nobody else's to wait for, and says it by a socket:
//!
//! ```text
//!  caller --spawn--> reporter (the worker's program) --spawn--> program
//!     <--- socket: how it ended, or why it did not start ---
//! ```
//!
//! It costs 2 ms, so it is made only where it may be needed.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ::nix::sys::signal::{SigSet, Signal};
use ::nix::unistd::{AccessFlags, access};
use command_fds::{CommandFdExt, FdMapping};
use serde::{Deserialize, Serialize};

use crate::sys::{handed, process};

/// What a worker, of which a reporter is one, is called.
pub(crate) const WORKER: &str = "nixcloud-container-worker";

/// What a reporter is told, before the program and its arguments.
pub(crate) const REPORT: &str = "report";

/// The file descriptor of the socket.
const CHANNEL: i32 = 3;

/// The program that a reporter is: this one, or an installed worker. The first that is known is as good as any.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Whether nobody else waits for children of this process.
static ALONE: AtomicBool = AtomicBool::new(false);

/// Makes it known that `program` is a worker.
pub(crate) fn known(program: &Path) {
    let _earlier = PROGRAM.set(program.to_owned());
}

/// Has programs run without a reporter: see [`crate::worker::waits_alone`].
pub(crate) fn wait_alone() {
    ALONE.store(true, Ordering::Relaxed);
}

/// What a reporter says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// The program ended, with this wait status.
    Ended(i32),
    /// It could not be started, with this error of the system.
    NotStarted(i32),
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With this status.
    Ended(ExitStatus),
    /// It was not there, or could not be executed.
    NotStarted(io::Error),
}

/// A program that is to be started.
pub(crate) struct Reported {
    command: Command,
    channel: Option<UnixStream>,
}

/// One that was started: `child` is the program, or its reporter, which ends when it does.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    channel: Option<UnixStream>,
}

impl Reported {
    /// `command`, of which program, arguments and environment count; its streams are set on what this returns.
    pub(crate) fn new(command: Command) -> io::Result<Self> {
        let here = PROGRAM.get().filter(|program| access(program.as_path(), AccessFlags::X_OK).is_ok());
        let Some(reporter) = here.filter(|_| !ALONE.load(Ordering::Relaxed) && process::may_lose_children())
        else {
            return Ok(Self { command, channel: None });
        };
        let (ours, theirs) = UnixStream::pair()?;
        let mut between = Command::new(reporter);
        between.arg0(WORKER).arg(REPORT).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => between.env(name, value),
                None => between.env_remove(name),
            };
        }
        between
            .fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: CHANNEL }])
            .map_err(io::Error::other)?;
        Ok(Self { command: between, channel: Some(ours) })
    }

    /// What is started.
    pub(crate) fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it. Of a reporter's program it is not known yet whether it could be.
    pub(crate) fn spawn(mut self) -> io::Result<Running> {
        let child = self.command.spawn()?;
        // With the command goes our copy of the socket's other end.
        drop(self.command);
        Ok(Running { child, channel: self.channel })
    }
}

impl Running {
    /// How it ended, once it has: `waited` is what waiting for the child has said.
    pub(crate) fn end(&mut self, waited: io::Result<ExitStatus>) -> io::Result<End> {
        let mut text = Vec::new();
        if let Some(mut channel) = self.channel.take() {
            channel.read_to_end(&mut text)?;
        }
        match serde_json::from_slice(&text) {
            Ok(Said::Ended(status)) => Ok(End::Ended(ExitStatus::from_raw(status))),
            Ok(Said::NotStarted(error)) => Ok(End::NotStarted(io::Error::from_raw_os_error(error))),
            // There is none, or it was killed.
            Err(_) => waited.map(End::Ended).map_err(|error| match error.raw_os_error() {
                Some(libc::ECHILD) => io::Error::other("somebody else in this process was told how it ended"),
                _ => error,
            }),
        }
    }
}

/// Runs the program that `words` name, says how it ended, and ends the process.
#[cfg_attr(not(feature = "liblxc"), expect(dead_code, reason = "run by the worker alone"))]
pub(crate) fn main(words: impl Iterator<Item = OsString>) -> ! {
    // Without a socket somebody typed the word by hand.
    let code = handed::channel(CHANNEL).map_or(2, |mut channel| {
        let said =
            run(words).unwrap_or_else(|error| Said::NotStarted(error.raw_os_error().unwrap_or(libc::EIO)));
        let text = serde_json::to_vec(&said).unwrap_or_default();
        i32::from(channel.write_all(&text).is_err())
    });
    std::process::exit(code)
}

fn run(mut words: impl Iterator<Item = OsString>) -> io::Result<Said> {
    process::hear_of_children();
    // It is for the program, which is of the same group; and this process is to say what comes of it.
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    interrupt.thread_block()?;
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    process::unblocked(&mut command);
    // Else what a killed caller had begun would go on, with this process in its place.
    process::end_with_caller(&mut command, Signal::SIGTERM);
    Ok(Said::Ended(command.spawn()?.wait()?.into_raw()))
}
