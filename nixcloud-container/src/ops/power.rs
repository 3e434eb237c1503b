//! Stop, terminate, freeze: what changes whether a container runs.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::error::Error;
use crate::host::Host;
use crate::model::interface::Slot;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::Operation;
use crate::model::setters::setters;
use crate::model::signal::Signal;
use crate::model::spec::ContainerSpec;
use crate::model::state::{Action, Permission, State};
use crate::net::Netlink;
use crate::net::neighbour::Neighbour;
use crate::ops::claim;
use crate::ops::cut_off;
use crate::ops::freeing::Freeing;
use crate::ops::locked::{self, Locked};
use crate::ops::waiting;
use crate::store::history::Generations;
use crate::store::journal::{self, Note};
use crate::store::presence::{self, Presence};
use crate::store::record::{Record, RecordPhase, Run, Signals};
use crate::sys::cgroup::Search;
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{self, Process};
use crate::worker::{Request, Stdio, Target};

/// How long a terminate lets a container end by itself that is about to.
const PASSING: Duration = Duration::from_secs(1);

/// How long a killed guest's monitor may take to end by itself.
pub(crate) const MONITOR_END: Duration = Duration::from_secs(10);

/// How often a guest is asked to shut down.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopRequest {
    /// How long it may take; the configured time when not given.
    pub timeout: Option<Duration>,
    /// Whether a guest that does not end in time is killed. If not, that is an error, and it still runs.
    pub then_kill: bool,
    /// Whether to wait until it has ended (or, with `reboot`, runs again). If not, it is asked once and that is all.
    pub wait: bool,
    /// Whether it is to boot again: the guest reboots itself, with the LXC configuration that it has.
    pub reboot: bool,
}

setters!(StopRequest: "A clean shutdown that is waited for, within the configured time." {
    with_timeout => timeout: Option<Duration>,
    with_then_kill => then_kill: bool,
    with_wait => wait: bool,
    with_reboot => reboot: bool,
});

impl Default for StopRequest {
    /// Wait for a clean end, for the configured time.
    fn default() -> Self {
        Self { timeout: None, then_kill: false, wait: true, reboot: false }
    }
}

/// What a stop or terminate came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopOutcome {
    /// It ran and is stopped now; its name can be used again.
    Stopped,
    /// The container did not run.
    NotRunning,
    /// It did not end in time and was killed, as asked; its name can be used again.
    Killed,
    /// It was asked to end or reboot, and not waited for.
    Asked,
    /// It rebooted and runs again, with another init.
    Rebooted,
}

pub(crate) fn target(host: &Host, name: &ContainerName) -> Target {
    Target::of(&host.layout, name)
}

/// The host's ends of a guest that is gone. Where its monitor was killed, the kernel removes them some time after the
/// guest's network namespace, and until then their names cannot be used. Nothing of the container runs.
pub(crate) fn remove_left_interfaces(host: &Host, record: &Record) -> Result<(), Error> {
    let id = record.interface_id(&host.layout);
    let mut netlink = Netlink::open()?;
    for slot in Slot::ALL {
        match netlink.delete_link(&id.host_name(slot)) {
            Err(error) if error.errno() != Some(libc::ENODEV) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The host's memory of which MAC address has the addresses of a container, which another one may have from now on, or had
/// before. Without that the new one is not reached for as long as the kernel believes the old. Nothing fails for it: the
/// kernel finds it out by itself in the end.
pub(crate) fn forget_neighbours(host: &Host, record: &Record, spec: Option<&ContainerSpec>) {
    let fixed = record.fixed.iter().chain(&record.lease).chain(&record.internet).copied();
    let fixed6 = record.fixed6.iter().copied();
    let routed = record.internet.and_then(|address| host.config.network.internet.ipv6_of(address));
    let asked = spec.and_then(|spec| spec.effective.ip).map(IpAddr::from);
    let asked6 = spec.and_then(|spec| spec.network.ip6).map(IpAddr::from);
    let addresses: HashSet<IpAddr> = fixed
        .map(IpAddr::from)
        .chain(fixed6.chain(routed).map(IpAddr::from))
        .chain(asked)
        .chain(asked6)
        .collect();
    // Link-local addresses follow from them.
    let id = record.interface_id(&host.layout);
    let macs = Slot::ALL.map(|slot| [true, false].map(|isolated| id.mac(slot, isolated).0));
    let is_its = |neighbour: &Neighbour| {
        addresses.contains(&neighbour.address)
            || neighbour.mac.is_some_and(|mac| macs.iter().flatten().any(|own| *own == mac))
    };
    let forgotten = Netlink::open().and_then(|mut netlink| netlink.forget_neighbours(&is_its));
    if let Err(error) = forgotten {
        tracing::warn!(name = %record.name, %error, "the host may take its addresses to be elsewhere for a while");
    }
}

pub(crate) fn stop(
    host: &Host,
    name: &ContainerName,
    request: &StopRequest,
    cancel: &Cancel,
) -> Result<StopOutcome, Error> {
    let locked = locked::take(host, name, Operation::Stop, cancel)?;
    stop_locked(host, &locked.record, request, cancel)
}

/// Stops a container whose lock the caller holds.
pub(crate) fn stop_locked(
    host: &Host,
    record: &Record,
    request: &StopRequest,
    cancel: &Cancel,
) -> Result<StopOutcome, Error> {
    let name = &record.name;
    let limit = request.timeout.unwrap_or_else(|| host.config.timeouts.stop());
    let begin = Instant::now();
    cut_off::settle(host, record)?;
    let here = presence::look(&host.layout, record)?;
    match here.state.permits(Action::Stop) {
        Permission::Already => {
            stopped(host, record)?;
            return Ok(StopOutcome::NotRunning);
        }
        Permission::Refused => {
            return Err(Error::State { name: name.clone(), state: here.state, action: Action::Stop });
        }
        Permission::Allowed | Permission::Wait => {}
    }
    // Of a guest that another tool started there are none.
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    let signals = Run::load(&host.layout, name, &boot)?.map(|run| run.signals).unwrap_or_default();
    let wish = if request.reboot { Wish::Reboot(signals) } else { Wish::Halt(signals) };
    let noted = note_run(host, record, &here);
    let record = noted.as_ref().unwrap_or(record);
    if !request.wait {
        if let Some(init) = here.init
            && let Some(pidfd) = PidFd::open(init).map_err(proc::unreadable)?
        {
            wish.note(host, name, init);
            pidfd.signal(wish.signal(init)).map_err(proc::unreadable)?;
        }
        return Ok(StopOutcome::Asked);
    }
    let before = here.init.filter(|_| request.reboot);
    match ask(host, record, wish, before, begin, limit, cancel) {
        Ok(Some(init)) => {
            note_reboot(host, record, init)?;
            Ok(StopOutcome::Rebooted)
        }
        Ok(None) => {
            stopped(host, record)?;
            Ok(StopOutcome::Stopped)
        }
        Err(Error::StopTimeout { .. }) if request.then_kill => {
            match terminate_locked(host, record, cancel)? {
                // It ended by itself in the last moment.
                StopOutcome::NotRunning => Ok(StopOutcome::Stopped),
                _ => Ok(StopOutcome::Killed),
            }
        }
        Err(error) => Err(error),
    }
}

/// Notes, once a generation, that a guest has run with it: a rollback asks for that. Without room it is not noted; a guest
/// is ended all the same.
fn note_run(host: &Host, record: &Record, here: &Presence) -> Option<Record> {
    let mut noted = record.clone();
    // One of the shell original that was never changed has no record, and is not given one by its end.
    let is_ours = record.phase == RecordPhase::Ready && host.layout.record(&record.name).exists();
    if !is_ours || !here.note_run(&host.layout, &mut noted) {
        return None;
    }
    let saved = noted.save(&host.layout);
    if let Err(error) = &saved {
        tracing::debug!(name = %record.name, %error, "it is not noted that its generation has run");
    }
    saved.is_ok().then_some(noted)
}

/// What a guest's init is asked for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Halt(Signals),
    Reboot(Signals),
}

impl Wish {
    /// Notes it before this init is sent it: whoever sees the end of init is to know whose wish that was.
    fn note(self, host: &Host, name: &ContainerName, init: Process) {
        let wish = match self {
            Self::Halt(_) => journal::Wish::Halt,
            Self::Reboot(_) => journal::Wish::Reboot,
        };
        journal::note(&host.layout, name, Note::Asked { init, wish });
    }

    /// The signal that says it to this init: the one that the guest was booted with, or else LXC's choice.
    fn signal(self, init: Process) -> i32 {
        match self {
            Self::Halt(signals) => signals.halt.map_or_else(|| halt_signal(init), Signal::number),
            Self::Reboot(signals) => signals.reboot.map_or(libc::SIGINT, Signal::number),
        }
    }
}

/// Asks the guest's init for `wish` until it has ended, and LXC with it. With `before`, the init that is to reboot:
/// until there is another, which is returned.
fn ask(
    host: &Host,
    record: &Record,
    wish: Wish,
    before: Option<Process>,
    begin: Instant,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Option<Process>, Error> {
    let timed_out = || match before {
        Some(_) => Error::RebootTimeout { name: record.name.clone(), limit },
        None => Error::StopTimeout { name: record.name.clone(), limit },
    };
    let mut noted = None;
    loop {
        // Looked at anew each time: a guest that reboots instead has another init.
        let here = presence::look(&host.layout, record)?;
        if !here.state.is_live() {
            return Ok(None);
        }
        let rebooted = before.is_some() && here.init.is_some() && here.init != before;
        if rebooted && here.state == State::Running {
            return Ok(here.init);
        }
        if !rebooted
            && let Some(init) = here.init
            && let Some(pidfd) = PidFd::open(init).map_err(proc::unreadable)?
        {
            if noted.replace(init) != Some(init) {
                wish.note(host, &record.name, init);
            }
            // Sent again: an init that has just been executed has no handler yet, and the kernel drops the signal.
            pidfd.signal(wish.signal(init)).map_err(proc::unreadable)?;
            let left = limit.saturating_sub(begin.elapsed());
            pidfd.wait(left.min(ASK_AGAIN), &|| cancel.is_cancelled()).map_err(proc::unreadable)?;
        }
        waiting::pause(&record.name, here.state, begin, limit, cancel).map_err(|error| match error {
            Error::StillThere { .. } => timed_out(),
            other => other,
        })?;
    }
}

/// Notes the init of a guest that has rebooted, from the generation that is current: nobody switches meanwhile. Its LXC
/// configuration is still that of its start.
fn note_reboot(host: &Host, record: &Record, init: Process) -> Result<(), Error> {
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    // Of a guest that another tool started there is none.
    let Some(mut run) = Run::load(&host.layout, &record.name, &boot)? else { return Ok(()) };
    let generations = Generations::new(&host.layout, &record.name);
    let current = generations.current()?;
    generations.root_booted(current)?;
    run.booted(init);
    (run.generation, run.switched, run.started) = (Some(current), false, Timestamp::now());
    run.save(&host.layout, &record.name)?;
    journal::note(&host.layout, &record.name, Note::Started { init, generation: run.generation });
    Ok(())
}

/// What asks an init to shut down, chosen as LXC does: systemd blocks SIGRTMIN+3 to read it by signalfd.
fn halt_signal(init: Process) -> i32 {
    let halt = libc::SIGRTMIN() + 3;
    let status = std::fs::read_to_string(format!("/proc/{}/status", init.pid)).unwrap_or_default();
    let blocked = status
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    if blocked & (1 << (halt - 1)) != 0 { halt } else { libc::SIGPWR }
}

/// Sends the guest's init a signal, and returns its pid. No lock is taken: it reaches a guest that is being updated, too.
pub(crate) fn kill(host: &Host, name: &ContainerName, signal: Signal, cancel: &Cancel) -> Result<i32, Error> {
    let record = host.record(name)?;
    let here = waiting::while_passing(host, &record, Action::Signal, host.config.timeouts.start(), cancel)?;
    let refused = |state| Error::State { name: name.clone(), state, action: Action::Signal };
    if here.state.permits(Action::Signal) != Permission::Allowed {
        return Err(refused(presence::in_hands(&host.layout, &record).unwrap_or(here.state)));
    }
    // One that has ended since it was looked at gets no signal, and whoever has its pid now gets none either.
    let ended = || refused(State::Stopping);
    let init = here.init.ok_or_else(ended)?;
    let pidfd = PidFd::open(init).map_err(proc::unreadable)?.ok_or_else(ended)?;
    if signal.number() == libc::SIGKILL {
        journal::note(&host.layout, name, Note::Asked { init, wish: journal::Wish::Kill });
    }
    pidfd.signal(signal.number()).map_err(proc::unreadable)?;
    Ok(init.pid)
}

pub(crate) fn terminate(host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<StopOutcome, Error> {
    let locked = locked::take_or_rest(host, name, Operation::Terminate, cancel)?;
    terminate_locked(host, &locked.record, cancel)
}

/// Ends a guest at once and returns when its name can be used again.
pub(crate) fn terminate_locked(host: &Host, record: &Record, cancel: &Cancel) -> Result<StopOutcome, Error> {
    cut_off::settle(host, record)?;
    // One that is ending by itself is let do so, but not for long: "at once" is what was asked.
    let here = match waiting::while_passing(host, record, Action::Terminate, PASSING, cancel) {
        Err(Error::StillThere { .. }) => presence::look(&host.layout, record)?,
        other => other?,
    };
    if here.state.permits(Action::Terminate) == Permission::Already {
        stopped(host, record)?;
        return Ok(StopOutcome::NotRunning);
    }
    let begin = Instant::now();
    if let Some(init) = here.init
        && let Some(pidfd) = PidFd::open(init).map_err(proc::unreadable)?
    {
        journal::note(&host.layout, &record.name, Note::Asked { init, wish: journal::Wish::Kill });
        pidfd.signal(libc::SIGKILL).map_err(proc::unreadable)?;
        if here.state == State::Frozen {
            // If that fails the monitor is killed, and init with it.
            let _ = thaw(host, record);
        }
        pidfd.wait(MONITOR_END, &|| false).map_err(proc::unreadable)?;
    }
    if let Some(monitor) = here.monitor
        && let Some(pidfd) = PidFd::open(monitor).map_err(proc::unreadable)?
    {
        // One that a signal stopped goes on, and tidies up itself.
        pidfd.signal(libc::SIGCONT).map_err(proc::unreadable)?;
        if !pidfd.wait(MONITOR_END.saturating_sub(begin.elapsed()), &|| false).map_err(proc::unreadable)? {
            // It hangs, in a hook for instance: the kernel takes down what it held.
            pidfd.signal(libc::SIGKILL).map_err(proc::unreadable)?;
            pidfd.wait(MONITOR_END, &|| false).map_err(proc::unreadable)?;
        }
    }
    if here.init.is_none() || here.monitor.is_none() {
        // Whatever holds it has no name but that of its cgroups.
        cut_off::end_own(&host.layout, record, here.run.as_ref());
    }
    waiting::until_stopped(host, record, MONITOR_END, cancel)?;
    stopped(host, record)?;
    Ok(StopOutcome::Stopped)
}

/// A frozen process takes its SIGKILL only when it is thawed.
fn thaw(host: &Host, record: &Record) -> Result<(), Error> {
    let request = Request::Freeze { target: target(host, &record.name), frozen: false };
    host.worker.call(&request, Stdio::Null, Some(MONITOR_END), &Cancel::new())?;
    Ok(())
}

/// Forgets a guest that has ended, and removes what LXC would have if its monitor had not been killed. What of it cannot
/// be done does not keep the rest from being done.
pub(crate) fn stopped(host: &Host, record: &Record) -> Result<(), Error> {
    forget(host, &mut record.clone())
}

/// As [`stopped`], with a record that is used further: what was given back is no more in it.
pub(crate) fn forget(host: &Host, record: &mut Record) -> Result<(), Error> {
    let mut freeing = Freeing::of(&record.name);
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    let run = Run::load(&host.layout, &record.name, &boot);
    cut_off::end_own(&host.layout, record, run.as_ref().ok().and_then(Option::as_ref));
    cut_off::end_left(&host.layout, record, Search::Quick);
    if let Ok(Some(run)) = &run {
        [run.init, run.monitor].into_iter().flatten().for_each(Process::reap);
        if let Some(init) = run.init.filter(|init| !init.is_alive()) {
            journal::note(&host.layout, &record.name, Note::Ended { init });
        }
    }
    freeing.step(run.map(drop));
    freeing.step(Run::delete(&host.layout, &record.name));
    freeing.step(Generations::new(&host.layout, &record.name).unroot_booted());
    match claim::addresses::release_booted(host, record) {
        // What is given back is; only the record still names it, until there is room to write that down.
        Err(error) if error.lacks_room() => {
            tracing::debug!(name = %record.name, %error, "the record cannot be written: left to the next operation");
        }
        other => drop(freeing.step(other)),
    }
    freeing.end()
}

pub(crate) fn freeze(host: &Host, name: &ContainerName, frozen: bool, cancel: &Cancel) -> Result<(), Error> {
    let (action, operation) =
        if frozen { (Action::Freeze, Operation::Freeze) } else { (Action::Unfreeze, Operation::Unfreeze) };
    let Locked { lock: _lock, record, .. } = locked::take(host, name, operation, cancel)?;
    if locked::permitted(host, &record, action, cancel)?.already {
        return Ok(());
    }
    let request = Request::Freeze { target: target(host, name), frozen };
    match host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), cancel) {
        Ok(_) => {
            journal::note(&host.layout, name, if frozen { Note::Frozen } else { Note::Unfrozen });
            Ok(())
        }
        // With a signal to end it in wait, it may be gone before LXC can tell that it goes on.
        Err(_) if !frozen && presence::look(&host.layout, &record)?.state != State::Frozen => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}
