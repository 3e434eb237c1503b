//! A start in the foreground: a pseudo terminal of our own for the guest's console, one worker that shows it and one that
//! is LXC's monitor, for as long as the guest runs. Both end with this process, and so does the guest.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::nix::unistd::{getpgrp, tcgetpgrp};
use rustix::termios::tcgetwinsize;

use crate::error::Error;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::Operation;
use crate::model::state::{Action, State};
use crate::ops::locked::{self, Locked};
use crate::ops::power::{self, StopRequest};
use crate::ops::waiting;
use crate::store::presence;
use crate::store::record::Record;
use crate::sys::cgroup::Pair;
use crate::sys::terminal::{self, Pty, Settings, Slave};
use crate::worker::{Companion, Request, Stdio, WorkerError};

/// How often a cancelled token is noticed, and whether the guest has ended.
const TICK: Duration = Duration::from_millis(50);

/// How often a boot is asked whether it is done.
const BOOT_TICK: Duration = Duration::from_millis(2);

/// How long the last words of a guest may take to be shown when the caller has given up.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a foreground start shows the guest's console on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Screen {
    /// The caller's own stdin and stdout. Where both are a terminal, its keys go to the guest, Ctrl-C too, until the guest
    /// ends; else what the console shows is copied to stdout. The terminal itself is never handed to the guest: who has
    /// it can type into the host's shell.
    #[default]
    Inherit,
    /// Nothing.
    Null,
}

/// A guest's console that is shown, and LXC's monitor once there is one.
#[derive(Debug)]
pub(crate) struct Foreground {
    path: PathBuf,
    /// Held so that the console outlives a reboot of the guest; given up so that its end is seen.
    slave: Option<Slave>,
    show: Option<Companion>,
    /// The settings of the caller's terminal, where its keys are the guest's.
    before: Option<Settings>,
    monitor: Option<Companion>,
}

/// How the caller's terminal is set, if this process may use it.
fn keys(screen: Screen) -> Option<Settings> {
    let stdin = io::stdin();
    if screen != Screen::Inherit || !stdin.is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    // In the background the keys are somebody else's. A terminal that is not this session's has no such notion.
    if tcgetpgrp(stdin.as_fd()).is_ok_and(|group| group != getpgrp()) {
        return None;
    }
    Settings::of(stdin.as_fd()).ok()
}

impl Foreground {
    /// Makes the console and shows it.
    pub(crate) fn open(host: &Host, starts: &[Pair], screen: Screen) -> Result<Self, Error> {
        let failed = FileError::at("make", "a pseudo terminal");
        let before = keys(screen);
        let size = before.as_ref().and_then(|_| tcgetwinsize(io::stdin()).ok());
        let pty = Pty::of_host().map_err(failed)?;
        let path = pty.path().map_err(failed)?;
        let Pty { master, slave } = pty;
        if let Some(size) = size {
            terminal::resize(&slave, size).map_err(failed)?;
        }
        let stdio = match screen {
            Screen::Inherit => Stdio::Inherit,
            Screen::Null => Stdio::Null,
        };
        let cgroups = starts.iter().flat_map(Pair::folders).collect();
        let request = Request::Show { cgroups, keys: before.is_some() };
        let show = host.worker.accompany(&request, stdio, Some(master))?;
        Ok(Self { path, slave: Some(slave), show: Some(show), before, monitor: None })
    }

    /// What makes it the guest's console.
    pub(crate) fn item(&self) -> (String, String) {
        ("lxc.console.path".to_owned(), self.path.to_string_lossy().into_owned())
    }

    /// Boots, and returns the guest's init; `None` where the guest has ended already.
    pub(crate) fn boot(
        &mut self,
        host: &Host,
        record: &Record,
        request: &Request,
        cancel: &Cancel,
    ) -> Result<Option<i32>, Error> {
        let mut monitor = host.worker.accompany(request, Stdio::Null, None)?;
        let booted = booted(&mut monitor, host, record, cancel);
        match &booted {
            Ok(Some(_)) => self.monitor = Some(monitor),
            Ok(None) => {}
            // The guest ends with its monitor; what it leaves is found by its cgroups.
            Err(_) => drop(monitor),
        }
        booted
    }

    /// Waits until the guest has ended; stops it when the caller cancels. Says whether that was so. The container's lock
    /// is not held meanwhile.
    pub(crate) fn wait(&mut self, host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<bool, Error> {
        let mut cancelled = false;
        let mut failure = None;
        while let Some(monitor) = &mut self.monitor {
            // How LXC's own call ended says nothing: it calls a guest that was killed a failure. It has ended, though.
            let ended = !matches!(monitor.poll(TICK), Ok(None));
            let pid = monitor.pid();
            // Looked at last: LXC's monitor may notice it before we do, and end.
            failure = failure.or_else(|| self.lost());
            if ended {
                self.monitor = None;
                break;
            }
            if failure.is_some() || cancel.is_cancelled() {
                cancelled = failure.is_none();
                if end(host, name, pid).is_err() {
                    // It ends with its monitor.
                    self.monitor = None;
                }
            }
        }
        // First the terminal, since the lock may be somebody else's for long; a reader that does not read is waited for
        // last.
        self.close(&|| true);
        tidy(host, name);
        self.close(&|| cancel.is_cancelled());
        failure.map_or(Ok(cancelled), Err)
    }

    /// Whether the one that shows the guest is gone: nobody would see the guest any more, nor read what it says, which
    /// LXC's monitor waits for.
    fn lost(&mut self) -> Option<Error> {
        let error = self.show.as_mut()?.poll(Duration::ZERO).err()?;
        self.show = None;
        self.restore();
        Some(error.into())
    }

    /// Lets what was said be shown to its end, and gives the caller's terminal back. A reader that stops reading is
    /// waited for, as any program would, unless the caller has given up.
    fn close(&mut self, given_up: &dyn Fn() -> bool) {
        self.slave = None;
        let begin = Instant::now();
        while let Some(show) = &mut self.show {
            if !matches!(show.poll(TICK), Ok(None)) {
                self.show = None;
                self.restore();
            } else if given_up() && begin.elapsed() > LAST_WORDS {
                return;
            }
        }
    }

    /// The one that shows does this itself, unless it was killed.
    fn restore(&self) {
        let stdin = io::stdin();
        // From the background it would stop this process.
        if let Some(before) = &self.before
            && tcgetpgrp(stdin.as_fd()).map_or(true, |group| group == getpgrp())
        {
            before.put_back_unless_others(stdin.as_fd());
        }
    }
}

/// After a failure: whoever reads its message is to have the terminal back.
impl Drop for Foreground {
    fn drop(&mut self) {
        self.monitor = None;
        self.close(&|| true);
        self.show = None;
        self.restore();
    }
}

/// Waits until the guest of this monitor runs.
fn booted(
    monitor: &mut Companion,
    host: &Host,
    record: &Record,
    cancel: &Cancel,
) -> Result<Option<i32>, Error> {
    let limit = host.config.timeouts.start();
    let end = Instant::now() + limit;
    loop {
        if monitor.poll(BOOT_TICK)?.is_some() {
            return Ok(None);
        }
        let here = presence::look(&host.layout, record)?;
        if here.state == State::Running
            && let Some(init) = here.init
        {
            return Ok(Some(init.pid));
        }
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if Instant::now() >= end {
            return Err(WorkerError::Deadline { limit }.into());
        }
    }
}

/// Ends the guest of this very monitor, cleanly if it can be. The caller has cancelled: its token is not asked any more.
fn end(host: &Host, name: &ContainerName, monitor: i32) -> Result<(), Error> {
    let fresh = Cancel::new();
    let _lock = host.lock(name, Operation::Stop, &fresh)?;
    let record = host.record(name)?;
    if presence::look(&host.layout, &record)?.monitor.is_none_or(|here| here.pid != monitor) {
        return Ok(());
    }
    let request = StopRequest { then_kill: true, ..StopRequest::default() };
    match power::stop_locked(host, &record, &request, &fresh) {
        // A frozen one cannot be asked.
        Err(Error::State { .. }) => power::terminate_locked(host, &record, &fresh).map(drop),
        other => other.map(drop),
    }
}

/// What `stop` would have done. Where somebody else is at the container, or has destroyed it, that is theirs to do.
fn tidy(host: &Host, name: &ContainerName) {
    let tidied = || -> Result<(), Error> {
        let Locked { lock: _lock, record, .. } = locked::take(host, name, Operation::Stop, &Cancel::new())?;
        let limit = power::MONITOR_END;
        let here = waiting::while_passing(host, &record, Action::Start, limit, &Cancel::new())?;
        if here.state.is_live() { Ok(()) } else { power::stopped(host, &record) }
    };
    if let Err(error) = tidied() {
        tracing::debug!(%name, %error, "left to the next command to tidy up");
    }
}
