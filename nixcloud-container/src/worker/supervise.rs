//! The supervisor: where no systemd runs, it keeps the dnsmasqs of the host's networks running.
//!
//! It is a worker that nobody asks anything: it has no channel, lasts until it is told to end, and owns its children.
//! One that ends is started again: at once when it was asked to end, which is how it gets a new configuration, and
//! else after a pause that grows.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ::nix::sys::signal::{SigSet, Signal, kill};
use ::nix::sys::signalfd::{SfdFlags, SignalFd};
use ::nix::unistd::{Pid, setsid};

use super::OWN_PROGRAM;
use super::client::{Client, WorkerError, worker_command};
use crate::render::dnsmasq;
use crate::sys::all_end_within;
use crate::sys::process;

/// What a supervisor is told in place of `serve`.
pub(crate) const SUPERVISE: &str = "supervise";

/// What the process that makes it is told, which then ends: a supervisor is nobody's child.
const DETACH: &str = "supervise-detached";

/// What that process says when there is a supervisor.
const DETACHED: &str = "detached";

/// The pause before a daemon that fails is started again: the first and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A daemon that ran for so long did not fail at its start.
const SETTLED: Duration = Duration::from_secs(10);

/// How long daemons may take to end.
const END: Duration = Duration::from_secs(2);

impl Client {
    /// Starts a supervisor of `program`, once for each of `configs`, and leaves it alone. What a daemon says when it
    /// cannot start is in a file beside its configuration, with the ending `log`.
    pub(crate) fn supervise(&self, program: &Path, configs: &[PathBuf]) -> Result<(), WorkerError> {
        let path = self.program()?;
        let mut command = worker_command(&path, DETACH);
        command.arg(program).args(configs).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| WorkerError::Spawn { path, source })?;
        let mut said = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut said).map_err(WorkerError::Channel)?;
        }
        // By its word: how it ended may have been told to somebody else.
        let status = child.wait().map_or_else(|_| "unknown".to_owned(), |status| status.to_string());
        if said == DETACHED { Ok(()) } else { Err(WorkerError::NoAnswer { status }) }
    }
}

/// Ends the process where `word` makes it one of ours.
pub(super) fn main(word: &str, mut args: impl Iterator<Item = OsString>) {
    let done = match (word, args.next()) {
        (DETACH, Some(program)) => detach(&program, args),
        (SUPERVISE, Some(program)) => supervise(Path::new(&program), args.map(PathBuf::from)),
        _ => return,
    };
    // Without a channel there is nobody to tell more.
    std::process::exit(i32::from(done.is_err()))
}

fn clean() -> io::Result<()> {
    process::reset_signals().map_err(io::Error::other)?;
    process::set_umask();
    Ok(())
}

fn detach(program: &OsString, configs: impl Iterator<Item = OsString>) -> io::Result<()> {
    clean()?;
    // No terminal of the caller's reaches it.
    setsid()?;
    let mut supervisor = worker_command(Path::new(OWN_PROGRAM), SUPERVISE);
    supervisor.arg(program).args(configs).stdout(Stdio::null()).spawn()?;
    io::stdout().write_all(DETACHED.as_bytes())?;
    io::stdout().flush()
}

fn supervise(program: &Path, configs: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    clean()?;
    let mut watched = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        watched.add(signal);
    }
    watched.thread_block()?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut daemons: Vec<Daemon> = configs.map(Daemon::new).collect();
    loop {
        let now = Instant::now();
        for daemon in &mut daemons {
            daemon.tend(program, now);
        }
        let due = daemons.iter().filter_map(|daemon| daemon.due).min();
        let wait = due.map_or(PollTimeout::NONE, |due| {
            let left = due.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], wait) {
            Ok(_) | Err(::nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(signal) = signals.read_signal()? {
            if matches!(
                Signal::try_from(signal.ssi_signo.cast_signed()),
                Ok(Signal::SIGTERM | Signal::SIGINT)
            ) {
                end(&mut daemons);
                return Ok(());
            }
        }
    }
}

/// One dnsmasq.
struct Daemon {
    config: PathBuf,
    child: Option<Child>,
    begun: Instant,
    /// When it is to be started; `None` while it runs.
    due: Option<Instant>,
    pause: Duration,
}

impl Daemon {
    fn new(config: PathBuf) -> Self {
        let now = Instant::now();
        Self { config, child: None, begun: now, due: Some(now), pause: FIRST_PAUSE }
    }

    /// Starts it where it is to be started, and notices that it has ended.
    fn tend(&mut self, program: &Path, now: Instant) {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            self.child = None;
            if now.duration_since(self.begun) > SETTLED {
                self.pause = FIRST_PAUSE;
            }
            // It was told to end, and is to begin anew.
            self.fails(now, status.success());
        }
        if self.due.is_some_and(|due| due <= now) {
            match self.command(program).spawn() {
                Ok(child) => (self.child, self.begun, self.due) = (Some(child), now, None),
                Err(_) => self.fails(now, false),
            }
        }
    }

    fn fails(&mut self, now: Instant, asked: bool) {
        if asked {
            self.due = Some(now);
        } else {
            self.due = Some(now + self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("--keep-in-foreground").arg(dnsmasq::config_argument(&self.config)).stdin(Stdio::null());
        // Begun anew each time, so it does not grow; and it is only said why it does not start.
        match File::create(self.config.with_extension("log")) {
            Ok(log) => command.stderr(log),
            Err(_) => command.stderr(Stdio::null()),
        };
        command.stdout(Stdio::null());
        // Those that this process reads itself.
        process::unblocked(&mut command);
        command
    }
}

fn end(daemons: &mut [Daemon]) {
    let mut children: Vec<&mut Child> =
        daemons.iter_mut().filter_map(|daemon| daemon.child.as_mut()).collect();
    for child in &children {
        // Not reaped yet, so nobody else has its pid.
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    }
    let _ended = all_end_within(&mut children, END);
    for child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}
