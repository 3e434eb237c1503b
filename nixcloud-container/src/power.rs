//! Start, stop, terminate, freeze: what changes whether a container runs.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::error::Error;
use crate::facts;
use crate::generations::Generations;
use crate::host::Host;
use crate::install;
use crate::lxc::pidfd::PidFd;
use crate::name::{ContainerName, InterfaceName};
use crate::net::Netlink;
use crate::observe::{Cancel, Event, Observer};
use crate::presence::{self, Presence};
use crate::proc::{self, Process};
use crate::record::{Record, Run};
use crate::recover;
use crate::render::{self, Rendered};
use crate::spec::ContainerSpec;
use crate::state::{Action, Permission, State};
use crate::worker::{Answer, Request, Stdio, Target, WorkerError};

/// How often a passing state is looked at.
const TICK: Duration = Duration::from_millis(2);
const SLOW_TICK: Duration = Duration::from_millis(20);

/// How long a terminate lets a container end by itself that is about to.
const PASSING: Duration = Duration::from_secs(1);

/// How long a killed guest's monitor may take to end by itself.
const MONITOR_END: Duration = Duration::from_secs(10);

/// How long a monitor whose start failed may still be in its cgroups.
const CGROUP_END: Duration = Duration::from_secs(1);

/// How often a guest is asked to shut down.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartOutcome {
    /// It was booted.
    Started {
        /// Its init, in the host's pid namespace.
        init_pid: i32,
    },
    /// It ran already; nothing was done.
    AlreadyRunning,
}

/// What a stop or terminate came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopOutcome {
    /// It ran and is stopped now; its name can be used again.
    Stopped,
    /// It did not run.
    NotRunning,
}

pub(crate) fn target(host: &Host, name: &ContainerName) -> Target {
    Target { lxc_path: host.layout.lxc_path().to_owned(), name: name.to_string() }
}

/// Waits until a dying container is gone, or a starting one has started.
pub(crate) fn wait_while_passing(
    host: &Host,
    record: &Record,
    action: Action,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Presence, Error> {
    let begin = Instant::now();
    loop {
        let here = presence::look(&host.layout, record)?;
        if here.state.permits(action) != Permission::Wait {
            return Ok(here);
        }
        pause(&record.name, here.state, begin, limit, cancel)?;
    }
}

pub(crate) fn wait_until_stopped(
    host: &Host,
    record: &Record,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Presence, Error> {
    let begin = Instant::now();
    loop {
        let here = presence::look(&host.layout, record)?;
        if !here.state.is_live() {
            return Ok(here);
        }
        pause(&record.name, here.state, begin, limit, cancel)?;
    }
}

fn pause(
    name: &ContainerName,
    state: State,
    begin: Instant,
    limit: Duration,
    cancel: &Cancel,
) -> Result<(), Error> {
    let waited = begin.elapsed();
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if waited >= limit {
        return Err(Error::StillThere { name: name.clone(), state, limit });
    }
    std::thread::sleep(if waited < Duration::from_millis(200) { TICK } else { SLOW_TICK });
    Ok(())
}

pub(crate) fn start(
    host: &Host,
    name: &ContainerName,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<StartOutcome, Error> {
    host.record(name)?;
    let _lock = host.lock(name, cancel)?;
    let mut record = host.record(name)?;
    recover::interrupted_switch(host, &mut record, observer, cancel)?;
    let here = wait_while_passing(host, &record, Action::Start, host.config.timeouts.start(), cancel)?;
    match here.state.permits(Action::Start) {
        Permission::Already => Ok(StartOutcome::AlreadyRunning),
        Permission::Allowed => {
            // What a guest left whose monitor was killed.
            stopped(host, &record)?;
            boot(host, &mut record, observer, cancel)
        }
        _ => Err(Error::State { name: name.clone(), state: here.state, action: Action::Start }),
    }
}

fn boot(
    host: &Host,
    record: &mut Record,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<StartOutcome, Error> {
    let generations = Generations::new(&host.layout, &record.name);
    let current = generations.current()?;
    let spec = generations.spec(current)?;
    require_bridges(host, &spec)?;
    remove_left_interfaces(host, &record.name)?;
    let mut run = Run {
        boot_id: proc::boot_id().map_err(proc_error)?,
        init: None,
        monitor: None,
        netns: proc::own_network_namespace().map_err(proc_error)?,
        started: Timestamp::now(),
        generation: Some(current),
        switched: false,
        config: String::new(),
        cgroups: Vec::new(),
    };
    generations.root_booted(current)?;
    let mut started = start_noted(host, record, &spec, &mut run, observer, cancel);
    if let Err(Error::Worker(failure)) = &started
        && host.facts()?.idmapped_store
        && idmap_failed(failure)
    {
        observer.event(Event::Note(format!(
            "the store cannot be shown with the guest's ids here ({failure}): it is mounted read-only without them"
        )));
        wait_until_stopped(host, record, MONITOR_END, cancel)?;
        facts::refuse_idmapped_store(&host.layout);
        started = start_noted(host, record, &spec, &mut run, observer, cancel);
        if started.is_err() {
            facts::allow_idmapped_store(&host.layout);
        }
    }
    match started {
        Ok(init_pid) => Ok(StartOutcome::Started { init_pid }),
        Err(failure) => {
            // LXC tidies up itself, unless it was cut off: then the guest may run.
            let undo = terminate_locked(host, record, &Cancel::new()).map(drop);
            Err(failure.undone(undo))
        }
    }
}

/// Starts with a note of what is being started already on disk: whoever is killed on the way leaves it.
fn start_noted(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    run: &mut Run,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<i32, Error> {
    let rendered = install::rendered(host, record, spec)?;
    install::write_config(host, record, &rendered, observer)?;
    run.config.clone_from(&rendered.text);
    run.save(&host.layout, &record.name)?;
    let init_pid = call_start(host, &record.name, &rendered, cancel)?;
    let gone = || Error::Worker(WorkerError::NoAnswer { status: "the guest's init is gone".to_owned() });
    let init = Process::now(init_pid).ok_or_else(gone)?;
    let monitor = init.parent();
    run.cgroups = proc::lxc_cgroups(&std::iter::once(init).chain(monitor).collect::<Vec<_>>());
    (run.init, run.monitor) = (Some(init), monitor);
    run.save(&host.layout, &record.name)?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(init_pid)
}

fn proc_error(source: std::io::Error) -> Error {
    Error::Io { action: "read", path: "/proc".into(), source }
}

/// LXC's words where a mount cannot get the guest's ids: too old a kernel, or its file system. It does not say which
/// mount; if it was one of the container file's own, the start without ids for the store fails too.
fn idmap_failed(failure: &WorkerError) -> bool {
    let WorkerError::Lxc { source, .. } = failure else { return false };
    source.log.iter().chain(&source.chain).any(|line| line.contains("to idmap detached mount"))
}

fn call_start(host: &Host, name: &ContainerName, rendered: &Rendered, cancel: &Cancel) -> Result<i32, Error> {
    let request = Request::Start {
        target: target(host, name),
        caller: std::process::id(),
        log: host.layout.lxc_log(name),
        locked: host.layout.locked(name),
        sources: rendered.locked.clone(),
    };
    match host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), cancel)? {
        Answer::Started { init_pid } => Ok(init_pid),
        other => Err(install::unexpected(&other)),
    }
}

/// The host's ends of a guest that is gone. Where its monitor was killed, the kernel removes them some time after the
/// guest's network namespace, and until then their names cannot be used. Nothing of the container runs.
pub(crate) fn remove_left_interfaces(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    for index in [0, 1] {
        match netlink.delete_link(&render::host_interface(&host.layout, name, index)) {
            Err(error) if error.errno() != Some(libc::ENODEV) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// LXC's own message for a missing bridge is "failed to create network devices".
fn require_bridges(host: &Host, spec: &ContainerSpec) -> Result<(), Error> {
    let first = render::bridge(spec, &host.config);
    let second = spec.network.enable_nat.then_some(&host.config.network.internet.bridge);
    let mut netlink = Netlink::open()?;
    let ours = |bridge: &InterfaceName| {
        *bridge == host.config.network.hostonly.bridge || *bridge == host.config.network.internet.bridge
    };
    for bridge in std::iter::once(first).chain(second) {
        if netlink.link(bridge.as_str())?.is_none() {
            return Err(Error::NoBridge { bridge: bridge.clone(), ours: ours(bridge) });
        }
    }
    Ok(())
}

pub(crate) fn stop(
    host: &Host,
    name: &ContainerName,
    limit: Option<Duration>,
    cancel: &Cancel,
) -> Result<StopOutcome, Error> {
    host.record(name)?;
    let _lock = host.lock(name, cancel)?;
    let record = host.record(name)?;
    let limit = limit.unwrap_or_else(|| host.config.timeouts.stop());
    let begin = Instant::now();
    let here = presence::look(&host.layout, &record)?;
    match here.state.permits(Action::Stop) {
        Permission::Already => {
            stopped(host, &record)?;
            return Ok(StopOutcome::NotRunning);
        }
        Permission::Refused => {
            return Err(Error::State { name: name.clone(), state: here.state, action: Action::Stop });
        }
        Permission::Allowed | Permission::Wait => {}
    }
    shut_down(host, &record, begin, limit, cancel)?;
    stopped(host, &record)?;
    Ok(StopOutcome::Stopped)
}

/// Asks the guest's init to end until it has, and LXC with it.
fn shut_down(
    host: &Host,
    record: &Record,
    begin: Instant,
    limit: Duration,
    cancel: &Cancel,
) -> Result<(), Error> {
    let timed_out = || Error::StopTimeout { name: record.name.clone(), limit };
    loop {
        // Looked at anew each time: a guest that reboots instead has another init.
        let here = presence::look(&host.layout, record)?;
        if !here.state.is_live() {
            return Ok(());
        }
        let left = limit.checked_sub(begin.elapsed()).ok_or_else(timed_out)?;
        if let Some(init) = here.init
            && let Some(pidfd) = PidFd::open(init).map_err(proc_error)?
        {
            // Sent again: an init that has just been executed has no handler yet, and the kernel drops the signal.
            pidfd.signal(halt_signal(init)).map_err(proc_error)?;
            pidfd.wait(left.min(ASK_AGAIN), &|| cancel.is_cancelled()).map_err(proc_error)?;
        }
        pause(&record.name, here.state, begin, limit, cancel).map_err(|error| match error {
            Error::StillThere { .. } => timed_out(),
            other => other,
        })?;
    }
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

pub(crate) fn terminate(host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<StopOutcome, Error> {
    host.record(name)?;
    let _lock = host.lock(name, cancel)?;
    let record = host.record(name)?;
    terminate_locked(host, &record, cancel)
}

/// Ends a guest at once and returns when its name can be used again.
pub(crate) fn terminate_locked(host: &Host, record: &Record, cancel: &Cancel) -> Result<StopOutcome, Error> {
    // One that is ending by itself is let do so, but not for long: "at once" is what was asked.
    let here = match wait_while_passing(host, record, Action::Terminate, PASSING, cancel) {
        Err(Error::StillThere { .. }) => presence::look(&host.layout, record)?,
        other => other?,
    };
    if here.state.permits(Action::Terminate) == Permission::Already {
        stopped(host, record)?;
        return Ok(StopOutcome::NotRunning);
    }
    let begin = Instant::now();
    if let Some(init) = here.init
        && let Some(pidfd) = PidFd::open(init).map_err(proc_error)?
    {
        pidfd.signal(libc::SIGKILL).map_err(proc_error)?;
        if here.state == State::Frozen {
            // If that fails the monitor is killed, and init with it.
            let _ = thaw(host, record);
        }
        pidfd.wait(MONITOR_END, &|| false).map_err(proc_error)?;
    }
    if let Some(monitor) = here.monitor
        && let Some(pidfd) = PidFd::open(monitor).map_err(proc_error)?
    {
        // One that a signal stopped goes on, and tidies up itself.
        pidfd.signal(libc::SIGCONT).map_err(proc_error)?;
        if !pidfd.wait(MONITOR_END.saturating_sub(begin.elapsed()), &|| false).map_err(proc_error)? {
            // It hangs, in a hook for instance: the kernel takes down what it held.
            pidfd.signal(libc::SIGKILL).map_err(proc_error)?;
            pidfd.wait(MONITOR_END, &|| false).map_err(proc_error)?;
        }
    }
    wait_until_stopped(host, record, MONITOR_END, cancel)?;
    stopped(host, record)?;
    Ok(StopOutcome::Stopped)
}

/// A frozen process takes its SIGKILL only when it is thawed.
fn thaw(host: &Host, record: &Record) -> Result<(), Error> {
    let request = Request::Freeze { target: target(host, &record.name), frozen: false };
    host.worker.call(&request, Stdio::Null, Some(MONITOR_END), &Cancel::new())?;
    Ok(())
}

/// Forgets a guest that has ended, and removes what LXC would have if its monitor had not been killed.
pub(crate) fn stopped(host: &Host, record: &Record) -> Result<(), Error> {
    let boot = proc::boot_id().map_err(proc_error)?;
    if let Some(run) = Run::load(&host.layout, &record.name, &boot)? {
        if run.cgroups.is_empty() {
            remove_cgroups_of_a_failed_start(&record.name);
        }
        run.cgroups.iter().for_each(|cgroup| proc::remove_empty_cgroup(cgroup));
    }
    Run::delete(&host.layout, &record.name)?;
    Generations::new(&host.layout, &record.name).unroot_booted()?;
    Ok(())
}

/// A monitor whose start failed cannot remove the cgroup that it is in itself, and may be in it for a moment yet. Which
/// ones it was given nobody noted; one of that name in which nothing lives is nobody's.
fn remove_cgroups_of_a_failed_start(name: &ContainerName) {
    let begin = Instant::now();
    loop {
        let cgroups = proc::named_cgroups(name.as_str());
        if cgroups.is_empty() || begin.elapsed() > CGROUP_END {
            return;
        }
        cgroups.iter().for_each(|cgroup| proc::remove_empty_cgroup(cgroup));
        std::thread::sleep(TICK);
    }
}

pub(crate) fn freeze(host: &Host, name: &ContainerName, frozen: bool, cancel: &Cancel) -> Result<(), Error> {
    host.record(name)?;
    let _lock = host.lock(name, cancel)?;
    let record = host.record(name)?;
    let action = if frozen { Action::Freeze } else { Action::Unfreeze };
    let here = wait_while_passing(host, &record, action, host.config.timeouts.start(), cancel)?;
    match here.state.permits(action) {
        Permission::Already => Ok(()),
        Permission::Allowed => {
            let request = Request::Freeze { target: target(host, name), frozen };
            host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), cancel)?;
            Ok(())
        }
        _ => Err(Error::State { name: name.clone(), state: here.state, action }),
    }
}
