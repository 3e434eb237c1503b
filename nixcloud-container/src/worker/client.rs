//! The caller's side of the worker: spawn it, ask, wait no longer than the deadline, reap it.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ::nix::sys::signal::{Signal, kill, killpg};
use ::nix::unistd::{AccessFlags, Pid, access};
use command_fds::{CommandFdExt, FdMapping};

use super::protocol::{Answer, Request, SentFailure};
use super::{CHANNEL, LAST_WORDS, MARK, OWN_PROGRAM, initialised};
use crate::model::layout::{Layout, NIX_STORE};
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::nix::StorePath;
use crate::sys::all_end_within;
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{self, Process};
use crate::sys::{handed, reporter};

/// The worker's `PATH`: for the tools that LXC's hooks run. newuidmap of these folders is masked in its namespace.
pub(crate) const PATH: &str =
    "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a worker that was killed may take to be gone.
const KILLED: Duration = Duration::from_millis(500);

/// How often a cancelled token is noticed.
const TICK: Duration = Duration::from_millis(50);

/// How long a start that is cancelled may take to come to its end. Cut off it may leave a monitor that goes on and that
/// nobody knows of yet; it takes less than 0.1 s, and what it started is ended then.
const START_TO_END: Duration = Duration::from_secs(3);

/// Where packages install the worker: the NixOS module, Debian and others, `make install`.
const USUAL: [&str; 3] = [
    "/etc/nixcloud-container/worker",
    "/usr/libexec/nixcloud-container-worker",
    "/usr/local/libexec/nixcloud-container-worker",
];

/// Spawns workers.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    installed: Option<PathBuf>,
}

/// What the worker's stdin, stdout and stderr are.
#[derive(Debug, Default)]
pub(crate) enum Stdio {
    /// `/dev/null`, all three.
    #[default]
    Null,
    /// The caller's own.
    Inherit,
    /// These.
    Fds {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

/// The worker could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// There is no worker to run.
    #[error("this program cannot run LXC operations: it has no worker")]
    None,
    /// This program was to be its own worker, and had threads already when it said so: what liblxc forks of such a process
    /// may wait for ever.
    #[error("this program cannot run LXC operations: it had {threads} threads when it called `worker::init`")]
    #[non_exhaustive]
    Threads {
        /// How many.
        threads: u64,
    },
    /// The worker cannot be started.
    #[error("cannot start the worker {}", .path.display())]
    #[non_exhaustive]
    Spawn {
        /// The worker's program.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The control channel broke.
    #[error("cannot talk to the worker")]
    Channel(#[source] io::Error),
    /// The worker ended without an answer.
    #[error("the worker ended without an answer ({status})")]
    #[non_exhaustive]
    NoAnswer {
        /// How it ended.
        status: String,
    },
    /// It took too long and was killed.
    #[error("LXC did not finish within {} s", .limit.as_secs())]
    #[non_exhaustive]
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The kernel cannot show the store as it is to be seen.
    #[error("{what}")]
    #[non_exhaustive]
    Store {
        /// The operation that failed, as a sentence has it.
        what: String,
        /// The error that this one follows from.
        source: Box<LxcWords>,
        /// Whether it may be possible without the guest's ids.
        of_ids: bool,
    },
    /// LXC refused or failed.
    #[error("{what}")]
    #[non_exhaustive]
    Lxc {
        /// The operation that failed, as a sentence has it.
        what: String,
        /// The reasons, and LXC's own lines.
        source: LxcWords,
    },
}

/// What LXC itself said about a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LxcWords {
    /// The reasons, outermost first.
    pub chain: Vec<String>,
    /// LXC's error lines, oldest first.
    pub log: Vec<String>,
}

impl LxcWords {
    /// These reasons, outermost first, and LXC's lines, oldest first.
    #[must_use]
    pub fn new(chain: impl Into<Vec<String>>, log: impl Into<Vec<String>>) -> Self {
        Self { chain: chain.into(), log: log.into() }
    }
}

impl std::fmt::Display for LxcWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.chain.is_empty() && self.log.is_empty() {
            return f.write_str("LXC gave no reason");
        }
        f.write_str(&self.chain.join(": "))?;
        for (index, line) in self.log.iter().enumerate() {
            let separator = if index == 0 && self.chain.is_empty() { "" } else { "\n  lxc: " };
            write!(f, "{separator}{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LxcWords {}

impl Answer {
    /// The worker and its client are of one version; an answer to another question is a fault of ours.
    pub(crate) fn unexpected(&self) -> WorkerError {
        WorkerError::NoAnswer { status: format!("it said {self:?}") }
    }
}

impl From<SentFailure> for WorkerError {
    fn from(failure: SentFailure) -> Self {
        let mut chain = failure.chain.into_iter();
        let what = chain.next().unwrap_or_else(|| "LXC failed".to_owned());
        let source = LxcWords::new(chain.collect::<Vec<_>>(), failure.log);
        match failure.of_store {
            Some(of_ids) => Self::Store { what, source: Box::new(source), of_ids },
            None => Self::Lxc { what, source },
        }
    }
}

/// Ends and reaps the worker when the caller leaves early, by an error or a panic.
struct Guard {
    child: Child,
    /// By which it is killed: where somebody else in this process has waited for it, its number may be another's. `None` where
    /// that was so before it could be taken hold of.
    pidfd: Option<PidFd>,
    /// How long it may take to end by itself once the channel is closed, which takes its command with it.
    grace: Duration,
    /// Whether it may hang in a file system of the guest's or in lxcfs, where no signal reaches it.
    may_hang: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Reaped already: then this says so at once, and the calls below do nothing.
        let _ended = all_end_within(&mut [&mut self.child], self.grace);
        if let Some(pidfd) = &self.pidfd {
            let _ = pidfd.signal(libc::SIGKILL);
        }
        if self.may_hang && !all_end_within(&mut [&mut self.child], KILLED) {
            self.abandon();
            return;
        }
        let _ = self.child.wait();
    }
}

impl Guard {
    /// Leaves it to a thread to reap it: at the latest when the guest ends, or lxcfs does, so does what it waits for.
    fn abandon(&self) {
        let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) else { return };
        let wait = move || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        // Without room for a thread it is a zombie until this process ends.
        let _ = std::thread::Builder::new().spawn(wait);
    }
}

impl Client {
    /// A client that re-executes this program where it can be its own worker, and else runs `installed`. A program without
    /// liblxc finds one where packages install it, when none is named.
    pub(crate) fn new(installed: Option<&Path>) -> Self {
        let usual = || USUAL.iter().map(Path::new).find(|path| path.exists());
        let installed = if cfg!(feature = "liblxc") { installed } else { installed.or_else(usual) };
        if let Some(installed) = installed {
            reporter::known(installed);
        }
        Self { installed: installed.map(Path::to_owned) }
    }

    pub(super) fn program(&self) -> Result<PathBuf, WorkerError> {
        match initialised() {
            Some(1) => {
                // The link itself, not what it points to: it still works when the binary was replaced on disk.
                return Ok(OWN_PROGRAM.into());
            }
            Some(threads) if self.installed.is_none() => return Err(WorkerError::Threads { threads }),
            _ => {}
        }
        let path = self.installed.clone().ok_or(WorkerError::None)?;
        // Asked before: where the ends of this process's children are another's to wait for, the standard library panics when
        // a program cannot be executed.
        match access(&path, AccessFlags::X_OK) {
            Ok(()) => Ok(path),
            Err(error) => Err(WorkerError::Spawn { path, source: error.into() }),
        }
    }

    /// The program that LXC runs to set a port, also when the guest reboots long after this process has ended: the installed
    /// worker, by the path that the administrator answers for, or else this program as it is now.
    pub(crate) fn hook(&self, layout: &Layout, name: &ContainerName) -> PathBuf {
        self.installed.clone().unwrap_or_else(|| layout.kept_program(name))
    }

    /// Where the worker is to keep this program for LXC; `None` where LXC runs the installed one.
    pub(crate) fn kept_hook(&self, layout: &Layout, name: &ContainerName) -> Option<PathBuf> {
        self.installed.is_none().then(|| layout.kept_program(name))
    }

    /// The store path that LXC's program is of, if it is of one: without it the program lacks its libraries, too.
    pub(crate) fn hook_in_store(&self) -> Option<StorePath> {
        let program = match &self.installed {
            Some(installed) => installed.canonicalize().ok()?,
            None => std::env::current_exe().ok()?,
        };
        let inside = program.strip_prefix(NIX_STORE).ok()?;
        StorePath::try_from(Path::new(NIX_STORE).join(inside.components().next()?).as_path()).ok()
    }

    /// Asks a worker and waits for its answer. `limit` is the deadline; `None` waits as long as the command runs.
    pub(crate) fn call(
        &self,
        request: &Request,
        stdio: Stdio,
        limit: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<Answer, WorkerError> {
        let (what, begin) = (kind(request), Instant::now());
        let result = self.ask(request, stdio, limit, cancel);
        let took = begin.elapsed();
        match &result {
            Ok(_) => tracing::debug!(what, ?took, "worker answered"),
            Err(error) => tracing::debug!(what, ?took, %error, "worker failed"),
        }
        result
    }

    fn ask(
        &self,
        request: &Request,
        stdio: Stdio,
        limit: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<Answer, WorkerError> {
        let path = self.program()?;
        let (ours, theirs) = UnixStream::pair().map_err(WorkerError::Channel)?;
        let mut command = self.command(&path, stdio);
        command
            .fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: CHANNEL }])
            .map_err(|error| WorkerError::Channel(io::Error::other(error)))?;
        let child = command.spawn().map_err(|source| WorkerError::Spawn { path: path.clone(), source })?;
        tracing::trace!(what = kind(request), pid = child.id(), ?limit, "worker asked");
        // The command holds the worker's end of the channel; with it open there would be no end of file.
        drop(command);
        let grace = match request {
            Request::Attach { .. } => LAST_WORDS + Duration::from_secs(1),
            // To kill it is the way to undo a start.
            _ => Duration::ZERO,
        };
        let may_hang = matches!(
            request,
            Request::Identify { .. }
                | Request::AwaitBoot { .. }
                | Request::Lxcfs { .. }
                | Request::ShowDevices { .. }
        );
        let pidfd = held(&child).map_err(WorkerError::Channel)?;
        let mut guard = Guard { child, pidfd, grace, may_hang };
        let group = match request {
            // Signals to its own terminal reach it from there; it has no group of its own.
            Request::Attach { command, .. } if command.terminal => None,
            _ => Some(Pid::from_raw(guard.child.id().cast_signed())),
        };
        let session = matches!(request, Request::Attach { .. }).then(|| guard.child.id().cast_signed());
        let answer = converse(ours, request, group, session, limit, cancel)?;
        // Where the caller ignores SIGCHLD, or reaps whatever ends, nobody knows how it ended.
        let status = guard.child.wait().map_or_else(|_| "unknown".to_owned(), |status| status.to_string());
        match answer {
            Some(Answer::Failed(fault)) => Err(fault.into()),
            Some(answer) => Ok(answer),
            // A Ctrl-C reached it before it had left the caller's terminal.
            None if cancel.is_cancelled() => Err(WorkerError::Cancelled),
            None => Err(WorkerError::NoAnswer { status }),
        }
    }

    pub(super) fn command(&self, path: &Path, stdio: Stdio) -> Command {
        let mut command = worker_command(path, MARK[1]);
        match stdio {
            // LXC prints on stderr where a configuration is broken: the answer carries that text instead.
            Stdio::Null => {
                command.stdin(std::process::Stdio::null());
                command.stdout(std::process::Stdio::null());
                command.stderr(std::process::Stdio::null());
                command.current_dir("/");
            }
            Stdio::Inherit => {}
            Stdio::Fds { stdin, stdout, stderr } => {
                command.stdin(stdin).stdout(stdout).stderr(stderr);
            }
        }
        command
    }
}

/// A hold of a child that nobody of ours has waited for; `None` when somebody else has.
pub(super) fn held(child: &Child) -> io::Result<Option<PidFd>> {
    Process::now(child.id().cast_signed()).map_or(Ok(None), PidFd::open)
}

/// The worker at `path`, told what it is. Of this process's files it has its streams and what is mapped to it.
pub(super) fn worker_command(path: &Path, word: &str) -> Command {
    let mut command = Command::new(path);
    command.arg0(MARK[0]).arg(word).env_clear().env("PATH", PATH);
    handed::nothing_else(&mut command);
    command
}

/// A request in a word: what it holds (a command's words and variables) is nobody's business.
fn kind(request: &Request) -> &'static str {
    match request {
        Request::Start { .. } => "start",
        Request::Attach { .. } => "attach",
        Request::Check { .. } => "check",
        _ => "control",
    }
}

/// Passes noted signals on to the command: to the worker's process group, which is the command's, or to a worker that serves a
/// terminal. What the worker does not block yet has no command to go to, and stays noted.
fn pass_on(worker: i32, group: Option<Pid>, cancel: &Cancel) {
    let Some(blocked) = proc::mask(&worker.to_string(), "SigBlk:") else { return };
    for signal in cancel.take_passed(blocked) {
        // One that has just ended needs none.
        let _ = match (group, signal) {
            (Some(group), _) => killpg(group, signal),
            // Those are about its terminal, whose foreground it is in itself.
            (None, Signal::SIGWINCH | Signal::SIGCONT) => Ok(()),
            (None, _) => kill(Pid::from_raw(worker), signal),
        };
    }
}

/// Writes the request and reads the answer; `None` when the worker closed the channel without one.
fn converse(
    mut channel: UnixStream,
    request: &Request,
    group: Option<Pid>,
    session: Option<i32>,
    limit: Option<Duration>,
    cancel: &Cancel,
) -> Result<Option<Answer>, WorkerError> {
    let mut interrupted = false;
    let late = if matches!(request, Request::Start { .. }) { START_TO_END } else { Duration::ZERO };
    let patience = if let Request::Attach { command, .. } = request { command.patience } else { None };
    let mut cancelled: Option<Instant> = None;
    let end = limit.map(|limit| Instant::now() + limit);
    let request = serde_json::to_vec(request).map_err(|error| WorkerError::Channel(error.into()))?;
    channel.set_read_timeout(Some(TICK)).map_err(WorkerError::Channel)?;
    channel.set_write_timeout(Some(Duration::from_secs(5))).map_err(WorkerError::Channel)?;
    let sent = channel.write_all(&request).and_then(|()| channel.shutdown(std::net::Shutdown::Write));
    if let Err(error) = sent
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(WorkerError::Channel(error));
    }
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match channel.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if let (Some(end), Some(limit)) = (end, limit)
                    && Instant::now() >= end
                {
                    return Err(WorkerError::Deadline { limit });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(WorkerError::Channel(error)),
        }
        if let Some(worker) = session.filter(|_| cancel.passes()) {
            pass_on(worker, group, cancel);
        }
        if cancel.is_cancelled() {
            // Cut off now, a start may leave what nobody knows of.
            if cancelled.get_or_insert_with(Instant::now).elapsed() < late {
                continue;
            }
            // `run` has no deadline: there Ctrl-C belongs to the command in the guest, which is of the worker's group.
            // It may take it or not. On a terminal Ctrl-C is a key like others: whoever cancels means the end.
            let (None, Some(group)) = (end, group) else { return Err(WorkerError::Cancelled) };
            interrupted = interrupted || killpg(group, cancel.signal()).is_ok();
            if let (Some(begin), Some(patience)) = (cancelled, patience)
                && begin.elapsed() >= patience
            {
                return Err(WorkerError::Cancelled);
            }
        }
    }
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| WorkerError::Channel(error.into()))
}
