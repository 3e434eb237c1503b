//! Start: what may be asked of one boot, and the boot itself.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::error::Error;
use crate::facts;
use crate::generations::Generations;
use crate::host::Host;
use crate::install;
use crate::name::{ContainerName, InterfaceName};
use crate::net::Netlink;
use crate::observe::{Cancel, Event, Observer};
use crate::power::{
    MONITOR_END, proc_error, remove_left_interfaces, stopped, target, wait_until_stopped, wait_while_passing,
};
use crate::proc::{self, Process};
use crate::record::{Record, Run};
use crate::recover;
use crate::render::{self, Rendered};
use crate::spec::ContainerSpec;
use crate::state::{Action, Permission};
use crate::worker::{Answer, LogRequest, Request, Stdio, WorkerError};

/// How to start, and what is to hold for this boot alone: nothing of it is written into the configuration file, and the
/// next start knows nothing of it. A reboot from inside keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StartRequest {
    /// Show the guest's console, and return only when the guest has ended.
    pub foreground: bool,
    /// What the console is shown on, in the foreground.
    pub screen: Screen,
    /// Further LXC configuration items, of those that `lxcExtraConfig` may hold.
    pub items: Vec<(String, String)>,
    /// A terminal that the guest's console is shown on (`lxc.console.path`), or `none` for a guest without a console.
    /// Not in the foreground, which has one.
    pub console: Option<PathBuf>,
    /// A file that what the console shows is appended to (`lxc.console.logfile`).
    pub console_log: Option<PathBuf>,
    /// A file for the pid of the guest's init, written once it runs, and removed when a foreground start ends.
    pub pidfile: Option<PathBuf>,
    /// Namespaces that are those of another container, by its name, or of a process, by its pid.
    pub share: Vec<(Namespace, String)>,
    /// Where LXC logs, and how much.
    pub log: LogRequest,
}

/// What a foreground start shows the guest's console on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Screen {
    /// The caller's own stdin and stdout. Where both are terminals, keys go to the guest, Ctrl-C too, until it ends; else
    /// what it shows is copied to stdout. The terminal itself is never handed to the guest.
    #[default]
    Inherit,
    /// Nothing.
    Null,
}

/// A namespace that a guest can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Namespace {
    /// System V IPC and POSIX message queues.
    Ipc,
    /// The network.
    Net,
    /// Process ids.
    Pid,
    /// Host and domain name.
    Uts,
}

impl Namespace {
    /// The kernel's name of it, in `/proc/PID/ns`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::Uts => "uts",
        }
    }
}

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
    /// It was booted in the foreground and has ended since.
    #[non_exhaustive]
    Ended {
        /// Whether that was because the caller cancelled, and not by itself or by somebody's stop.
        cancelled: bool,
    },
}

pub(crate) fn start(
    host: &Host,
    name: &ContainerName,
    request: &StartRequest,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<StartOutcome, Error> {
    let _ = request;
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
            let undo = wait_until_stopped(host, record, MONITOR_END, &Cancel::new())
                .and_then(|_| stopped(host, record));
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
    Ok(init_pid)
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
