//! Waiting until a guest is ready.
//!
//! The end of its init is the kernel's word (a pidfd), and systemd is asked by one call that waits in the guest. For the rest nobody
//! tells: links in a guest's file system, addresses, ports and probes are looked at again and again, ever more rarely. Only a probe and
//! systemd's client run in the guest, as any command does that `run` runs; addresses and ports are asked of the kernel.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::exit::Exit;
use crate::model::name::ContainerName;
use crate::model::observe::Phase;
use crate::model::occurrence::End;
use crate::model::ready::{Missing, Readiness, Ready, SystemState, Unready};
use crate::model::setters::setters;
use crate::model::state::{Action, Permission, State};
use crate::net::listen;
use crate::ops::activate;
use crate::ops::addresses;
use crate::ops::booting;
use crate::ops::ended;
use crate::ops::exec::{self, RunRequest, Streams};
use crate::ops::guest_units;
use crate::ops::waiting;
use crate::store::presence::{self, Presence};
use crate::store::record::Record;
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{self, Process};
use crate::worker::WorkerError;

/// How long it is until a guest is looked at once more: at first, and at last.
const FIRST_TICK: Duration = Duration::from_millis(20);
const LAST_TICK: Duration = Duration::from_secs(1);

/// How long a probe may take to end that took too long.
const PROBE_END: Duration = Duration::from_secs(1);

/// What is waited for, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitRequest {
    /// How far the guest is to come.
    pub level: Ready,
    /// How long that may take; the configured time for a boot (`timeouts.boot`) when not given.
    pub limit: Option<Duration>,
}

setters!(WaitRequest: "Within the configured time." (level: Ready) {
    with_limit => limit: Option<Duration>,
});

/// A guest that is known to run, by its init, which is held so that the kernel can tell how it ended.
#[derive(Debug)]
pub(crate) struct Known(Option<(Process, Option<PidFd>)>);

impl Known {
    /// Of one whose init is this; of one that has none any more, nobody knows how it ended.
    pub(crate) fn by(init: Option<Process>) -> Self {
        Self(init.map(|init| (init, PidFd::open(init).ok().flatten())))
    }
}

/// As [`wait`], and tells of it.
pub(crate) fn wait_observed(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &WaitRequest,
    known: Option<Known>,
) -> Result<Readiness, Error> {
    context.phase(Phase::Wait, |context| wait(context, name, request, known))
}

/// Waits until a guest is ready. Of one that is `known` to run, that it does not is its end.
fn wait(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &WaitRequest,
    mut known: Option<Known>,
) -> Result<Readiness, Error> {
    let host = context.host;
    let record = host.record(name)?;
    let limit = request.limit.unwrap_or_else(|| host.config.timeouts.boot());
    let begin = Instant::now();
    let unready = |missing: Missing, why| Error::NotReady {
        name: name.clone(),
        wanted: Box::new(request.level.clone()),
        reached: missing.reached(),
        missing,
        why,
    };
    let mut missing = Missing::Activation;
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        let here = match waiting::while_passing(host, &record, Action::Await, left, context.cancel) {
            Err(Error::StillThere { .. }) => return Err(unready(missing, Unready::Late { limit })),
            Err(Error::Cancelled) => return Err(unready(missing, Unready::Cancelled)),
            other => other?,
        };
        let now = match here.init {
            Some(now) if here.state.permits(Action::Await) == Permission::Allowed => now,
            _ if known.is_some() && !here.state.is_live() => {
                let init = known.and_then(|known| known.0);
                let how =
                    init.map_or(End::Unknown, |(init, held)| ended::how(host, name, init, held.as_ref()));
                return Err(unready(missing, Unready::Ended { how }));
            }
            // It ends, to boot again or not; or is about to say who its init is.
            _ if known.is_some() && here.state == State::Stopping || here.state == State::Running => {
                match waiting::pause(name, here.state, begin, limit, context.cancel) {
                    Err(Error::Cancelled) => return Err(unready(missing, Unready::Cancelled)),
                    Err(_) => return Err(unready(missing, Unready::Late { limit })),
                    Ok(()) => continue,
                }
            }
            _ => return Err(refused(host, &record, here.state)),
        };
        let mut guest = Awaited::new(context, &record, &here, now, (begin, limit))?;
        match guest.reaches(&request.level) {
            Ok(system) => {
                return Ok(Readiness::new(request.level.clone())
                    .with_system(system)
                    .with_took(begin.elapsed()));
            }
            Err(Halt::Late) => return Err(unready(guest.missing, Unready::Late { limit })),
            Err(Halt::Cancelled) => return Err(unready(guest.missing, Unready::Cancelled)),
            Err(Halt::Failed(error)) => return Err(*error),
            // It may boot again.
            Err(Halt::Ended) => {
                missing = guest.missing;
                known = Some(Known(Some((now, guest.pidfd))));
            }
        }
    }
}

fn refused(host: &Host, record: &Record, state: State) -> Error {
    let state = presence::in_hands(&host.layout, record).unwrap_or(state);
    Error::State { name: record.name.clone(), state, action: Action::Await }
}

/// Why a guest is not waited for any longer.
enum Halt {
    Late,
    Cancelled,
    Ended,
    Failed(Box<Error>),
}

/// A guest with one init: when that ends, it has ended or boots again.
struct Awaited<'a, 'c> {
    context: &'a mut Context<'c>,
    record: &'a Record,
    here: &'a Presence,
    init: Process,
    pidfd: Option<PidFd>,
    begin: Instant,
    limit: Duration,
    tick: Duration,
    missing: Missing,
}

impl<'a, 'c> Awaited<'a, 'c> {
    fn new(
        context: &'a mut Context<'c>,
        record: &'a Record,
        here: &'a Presence,
        init: Process,
        (begin, limit): (Instant, Duration),
    ) -> Result<Self, Error> {
        let pidfd = PidFd::open(init).map_err(proc::unreadable)?;
        let (tick, missing) = (FIRST_TICK, Missing::Activation);
        Ok(Self { context, record, here, init, pidfd, begin, limit, tick, missing })
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begin.elapsed())
    }

    /// Waits for a moment, longer each time, unless there is no more reason to.
    fn pause(&mut self) -> Result<(), Halt> {
        let tick = self.tick.min(self.left());
        self.tick = (self.tick * 3 / 2).min(LAST_TICK);
        self.stay(tick)
    }

    /// Waits so long.
    fn stay(&self, tick: Duration) -> Result<(), Halt> {
        let cancel = self.context.cancel;
        let ended = match &self.pidfd {
            Some(pidfd) => pidfd.wait(tick, &|| cancel.is_cancelled()),
            None => Ok(true),
        };
        let ended = ended.map_err(|source| Halt::Failed(Box::new(proc::unreadable(source).into())))?;
        if ended || !self.init.is_staying() {
            return Err(Halt::Ended);
        }
        if cancel.is_cancelled() {
            return Err(Halt::Cancelled);
        }
        if self.left().is_zero() { Err(Halt::Late) } else { Ok(()) }
    }

    /// What a failure to ask means: a guest that ends answers nobody.
    fn halt(&self, error: Error) -> Halt {
        match error {
            _ if !self.init.is_staying() => Halt::Ended,
            Error::Cancelled => Halt::Cancelled,
            Error::Worker(WorkerError::Deadline { .. }) => Halt::Late,
            error => Halt::Failed(Box::new(error)),
        }
    }

    fn reaches(&mut self, level: &Ready) -> Result<Option<SystemState>, Halt> {
        self.is_activated()?;
        match level {
            Ready::Activated => Ok(None),
            Ready::SystemRunning => self.system().map(Some),
            Ready::Address => self.has_addresses().map(|()| None),
            Ready::Port { port } => self.listens(*port).map(|()| None),
            Ready::Probe { command } => self.proves(command).map(|()| None),
        }
    }

    fn is_activated(&self) -> Result<(), Halt> {
        let Context { host, cancel, .. } = *self.context;
        if presence::has_booted(&host.layout, &self.record.name, self.init) {
            return Ok(());
        }
        match booting::wait_for(host, self.init, self.left(), cancel) {
            Ok(true) if self.init.is_staying() => Ok(()),
            Ok(true) => Err(Halt::Ended),
            Ok(false) => Err(Halt::Late),
            Err(error) => Err(self.halt(error)),
        }
    }

    fn system(&mut self) -> Result<SystemState, Halt> {
        let Context { host, cancel, .. } = *self.context;
        let name = &self.record.name;
        if presence::is_plain(&host.layout, name) {
            return Ok(SystemState::Plain);
        }
        self.missing = Missing::System { state: Some("starting".to_owned()) };
        loop {
            let state = activate::system_state(host, name, self.left(), cancel);
            let state = state.map_err(|error| self.halt(error))?;
            match state {
                Some("running") => return Ok(SystemState::Running),
                Some("degraded") => {
                    let units = activate::failed_units(host, name, cancel).unwrap_or_default();
                    return Ok(SystemState::Degraded { units: guest_units::cut(units) });
                }
                // An older systemd answers at once; one that is in rescue mode, or is shutting down, may go on.
                state => self.missing = Missing::System { state: state.map(str::to_owned) },
            }
            self.pause()?;
        }
    }

    fn has_addresses(&mut self) -> Result<(), Halt> {
        loop {
            let lacking = addresses::lacking(self.context.host, self.record, self.here);
            match lacking.map_err(|error| self.halt(error))? {
                None => return Ok(()),
                Some(addresses) => self.missing = Missing::Address { addresses },
            }
            self.pause()?;
        }
    }

    fn listens(&mut self, port: u16) -> Result<(), Halt> {
        self.missing = Missing::Port { port };
        while !listen::is_listened_on_in(self.init.pid.unsigned_abs(), port) {
            self.pause()?;
        }
        // The pid may have become another's.
        if self.init.is_staying() { Ok(()) } else { Err(Halt::Ended) }
    }

    fn proves(&mut self, command: &[String]) -> Result<(), Halt> {
        self.missing = Missing::Probe { exit: None };
        loop {
            let request = RunRequest::new(command).with_timeout(self.left()).with_kill_after(PROBE_END);
            let ran = exec::run(self.context, &self.record.name, request, Streams::Null);
            match ran.map_err(|error| self.halt(error))? {
                Exit::Code(0) => return Ok(()),
                Exit::TimedOut => return Err(Halt::Late),
                Exit::Cancelled { .. } => return Err(Halt::Cancelled),
                exit => self.missing = Missing::Probe { exit: Some(exit) },
            }
            self.pause()?;
        }
    }
}
