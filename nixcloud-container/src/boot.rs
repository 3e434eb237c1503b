//! Start: what may be asked of one boot, and the boot itself.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::error::Error;
use crate::facts;
use crate::foreground::{Foreground, Screen};
use crate::fs::atomic::{self, Durability};
use crate::generations::Generations;
use crate::host::Host;
use crate::install;
use crate::lxc::log::Level;
use crate::name::{ContainerName, InterfaceName};
use crate::namespace::Namespace;
use crate::net::Netlink;
use crate::observe::{Cancel, Event, Observer};
use crate::power::{
    MONITOR_END, proc_error, remove_left_interfaces, stopped, target, terminate_locked, wait_until_stopped,
    wait_while_passing,
};
use crate::presence;
use crate::proc::{self, FileId, Process};
use crate::record::{Record, Run};
use crate::recover;
use crate::render::{self, ItemError, LockedSource, Rendered};
use crate::spec::ContainerSpec;
use crate::state::{Action, Permission};
use crate::worker::{Answer, LogFile, LogRequest, Request, Stdio, WorkerError};

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
    /// Namespaces that are those of another container, by its name, or of a process, by its pid. [`Namespace::Ipc`] and
    /// [`Namespace::Uts`] can be shared, whose host name the guest then cannot change. The guest is in a user namespace of
    /// its own, which has no rights over another guest's network or processes: the kernel refuses the mounts of `/sys` and
    /// `/proc` that every guest needs, so those are refused, as are the others that confine it.
    pub share: Vec<(Namespace, String)>,
    /// Where LXC logs, and how much.
    pub log: LogRequest,
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

/// What a request comes to, with its paths made absolute: the worker has another current directory.
struct Plan {
    items: Vec<(String, String)>,
    sources: Vec<LockedSource>,
    pidfile: Option<PathBuf>,
    log: LogFile,
}

impl Plan {
    /// Judges a request. Nothing has been changed yet.
    fn new(
        host: &Host,
        name: &ContainerName,
        request: &StartRequest,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let mut sources = Vec::new();
        let items = render::items(&request.items, &host.config, &host.layout.locked(name), &mut sources)?;
        check_items(host, &items, cancel)?;
        let mut plan = Self {
            items,
            sources,
            pidfile: request.pidfile.as_deref().map(absolute).transpose()?,
            log: LogFile {
                path: request.log.file.as_deref().map_or_else(|| Ok(host.layout.lxc_log(name)), absolute)?,
                level: request.log.level.unwrap_or(Level::Warn),
                anew: request.log.file.is_none(),
            },
        };
        plan.console(request)?;
        for (namespace, with) in &request.share {
            plan.items.push(share(host, name, *namespace, with)?);
        }
        if let Some(folder) = plan.pidfile.as_deref().and_then(Path::parent)
            && !folder.is_dir()
        {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(Error::Io { action: "find the pidfile's folder", path: folder.to_owned(), source });
        }
        Ok(plan)
    }

    fn console(&mut self, request: &StartRequest) -> Result<(), Error> {
        let mut item = |key: &str, value: &str| self.items.push((key.to_owned(), value.to_owned()));
        if let Some(console) = &request.console {
            let path = if console == Path::new("none") { console.clone() } else { absolute(console)? };
            let value = text(&path)?;
            if request.foreground {
                let why = "in the foreground the console is shown here".to_owned();
                return Err(ItemError { key: CONSOLE.to_owned(), value, why }.into());
            }
            item(CONSOLE, &value);
        }
        if let Some(log) = &request.console_log {
            item("lxc.console.logfile", &text(&absolute(log)?)?);
            // The guest decides what is in it, and how much: then it is turned over, once.
            item("lxc.console.size", CONSOLE_LOG);
            item("lxc.console.rotate", "1");
        }
        Ok(())
    }
}

/// The item that says what the guest's console is shown on.
const CONSOLE: &str = "lxc.console.path";

/// How large a console log may grow; there can be one more, `.1`.
const CONSOLE_LOG: &str = "16MB";

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io { action: "resolve", path: path.to_owned(), source })
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Io {
        action: "tell LXC of",
        path: path.to_owned(),
        source: std::io::Error::other("it is not UTF-8"),
    })
}

/// Lets liblxc look at the items before anything is changed.
fn check_items(host: &Host, items: &[(String, String)], cancel: &Cancel) -> Result<(), Error> {
    match install::refused(host, items, &LogRequest::default(), cancel)? {
        Some((key, value, why)) => Err(ItemError { key, value, why }.into()),
        None => Ok(()),
    }
}

/// The item for a shared namespace, by the pid of a process that has it.
fn share(
    host: &Host,
    name: &ContainerName,
    namespace: Namespace,
    with: &str,
) -> Result<(String, String), Error> {
    let refuse = |why: String| Error::Share { namespace: namespace.as_str(), with: with.to_owned(), why };
    let why = match namespace {
        Namespace::Ipc | Namespace::Uts => None,
        Namespace::Net => Some("the guest has ids of its own, and with them no right to mount /sys there"),
        Namespace::Pid => Some("the guest has ids of its own, and with them no right to mount /proc there"),
        Namespace::Mount | Namespace::User | Namespace::Cgroup => {
            Some("it is what makes a container of the guest")
        }
    };
    if let Some(why) = why {
        return Err(refuse(format!("{why}; `ipc` and `uts` can be shared")));
    }
    let pid = match with.parse::<i32>() {
        Ok(pid) => pid,
        Err(_) => {
            let other: ContainerName = with.parse().map_err(|error| refuse(format!("{error}")))?;
            if other == *name {
                return Err(refuse("it is this container itself".to_owned()));
            }
            let here = presence::look(&host.layout, &host.record(&other)?)?;
            let init = here.init.filter(|_| here.state.is_live());
            init.ok_or_else(|| refuse(format!("the container is {}", here.state)))?.pid
        }
    };
    let of = |pid: &str| FileId::of(Path::new(&format!("/proc/{pid}/ns/{}", namespace.as_str())));
    let theirs = of(&pid.to_string()).map_err(|_| refuse("there is no such process".to_owned()))?;
    let key = format!("lxc.namespace.share.{}", namespace.as_str());
    if of("thread-self").is_ok_and(|ours| ours == theirs) && !render::allows(&host.config, &key) {
        let why =
            format!("it is the host's own; the host configuration can allow it (`allow_lxc_keys`: `{key}`)");
        return Err(refuse(why));
    }
    Ok((key, pid.to_string()))
}

pub(crate) fn start(
    host: &Host,
    name: &ContainerName,
    request: &StartRequest,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<StartOutcome, Error> {
    host.record(name)?;
    let lock = host.lock(name, cancel)?;
    let mut record = host.record(name)?;
    recover::interrupted_switch(host, &mut record, observer, cancel)?;
    let here = wait_while_passing(host, &record, Action::Start, host.config.timeouts.start(), cancel)?;
    match here.state.permits(Action::Start) {
        Permission::Already => return Ok(StartOutcome::AlreadyRunning),
        Permission::Allowed => {}
        _ => return Err(Error::State { name: name.clone(), state: here.state, action: Action::Start }),
    }
    let plan = Plan::new(host, name, request, cancel)?;
    // What a guest left whose monitor was killed.
    stopped(host, &record)?;
    if !request.foreground {
        let init = boot(host, &mut record, &plan, None, observer, cancel)?;
        return match init {
            Some(init_pid) => Ok(StartOutcome::Started { init_pid }),
            None => Err(install::unexpected(&Answer::Ended)),
        };
    }
    let mut foreground = Foreground::open(host, request.screen)?;
    let init = boot(host, &mut record, &plan, Some(&mut foreground), observer, cancel)?;
    // Others may stop it, run commands in it, destroy it.
    drop(lock);
    let cancelled = foreground.wait(host, name, cancel);
    if let Some((path, init)) = plan.pidfile.zip(init) {
        remove_pidfile(&path, init);
    }
    Ok(StartOutcome::Ended { cancelled: cancelled? })
}

fn boot(
    host: &Host,
    record: &mut Record,
    plan: &Plan,
    mut foreground: Option<&mut Foreground>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Option<i32>, Error> {
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
    let mut attempt = |record: &mut Record, observer: &mut dyn Observer| {
        start_noted(host, record, &spec, &mut run, plan, foreground.as_deref_mut(), observer, cancel)
    };
    let mut started = attempt(record, observer);
    if let Err(Error::Worker(failure)) = &started
        && host.facts()?.idmapped_store
        && idmap_failed(failure)
    {
        observer.event(Event::Note(format!(
            "the store cannot be shown with the guest's ids here ({failure}): it is mounted read-only without them"
        )));
        wait_until_stopped(host, record, MONITOR_END, cancel)?;
        facts::refuse_idmapped_store(&host.layout);
        started = attempt(record, observer);
        if started.is_err() {
            facts::allow_idmapped_store(&host.layout);
        }
    }
    started.or_else(|failure| {
        // LXC tidies up itself, unless it was cut off: then the guest may run.
        let undo = terminate_locked(host, record, &Cancel::new()).map(drop);
        Err(failure.undone(undo))
    })
}

/// Starts with a note of what is being started already on disk: whoever is killed on the way leaves it.
fn start_noted(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    run: &mut Run,
    plan: &Plan,
    foreground: Option<&mut Foreground>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Option<i32>, Error> {
    let rendered = install::rendered(host, record, spec)?;
    install::write_config(host, record, &rendered, observer)?;
    // Without the items of this boot: what differs from it at the next start is what waits for one.
    run.config.clone_from(&rendered.text);
    run.save(&host.layout, &record.name)?;
    let detached = foreground.is_none();
    let Some(init_pid) = call_start(host, record, &rendered, plan, foreground, cancel)? else {
        return Ok(None);
    };
    let gone = || Error::Worker(WorkerError::NoAnswer { status: "the guest's init is gone".to_owned() });
    let init = Process::now(init_pid).ok_or_else(gone)?;
    let monitor = init.parent();
    run.cgroups = proc::lxc_cgroups(&std::iter::once(init).chain(monitor).collect::<Vec<_>>());
    (run.init, run.monitor) = (Some(init), monitor);
    run.save(&host.layout, &record.name)?;
    if detached && cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if let Some(path) = &plan.pidfile {
        write_pidfile(host, record, path, init_pid)?;
    }
    Ok(Some(init_pid))
}

fn write_pidfile(host: &Host, record: &Record, path: &Path, init: i32) -> Result<(), Error> {
    let written = atomic::write(path, format!("{init}\n").as_bytes(), 0o644, Durability::Volatile);
    written.map_err(|error| {
        let undo = terminate_locked(host, record, &Cancel::new()).map(drop);
        Error::from(error).undone(undo)
    })
}

/// Removes it if it is still that of this guest.
fn remove_pidfile(path: &Path, init: i32) {
    if std::fs::read_to_string(path).is_ok_and(|text| text.trim() == init.to_string())
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::debug!(path = %path.display(), %error, "the pidfile stays behind");
    }
}

fn call_start(
    host: &Host,
    record: &Record,
    rendered: &Rendered,
    plan: &Plan,
    foreground: Option<&mut Foreground>,
    cancel: &Cancel,
) -> Result<Option<i32>, Error> {
    let name = &record.name;
    let request = Request::Start {
        target: target(host, name),
        caller: std::process::id(),
        log: plan.log.clone(),
        locked: host.layout.locked(name),
        sources: rendered.locked.iter().chain(&plan.sources).cloned().collect(),
        items: plan.items.iter().cloned().chain(foreground.as_ref().map(|shown| shown.item())).collect(),
        foreground: foreground.is_some(),
    };
    if let Some(foreground) = foreground {
        return foreground.boot(host, record, &request, cancel);
    }
    match host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), cancel)? {
        Answer::Started { init_pid } => Ok(Some(init_pid)),
        other => Err(install::unexpected(&other)),
    }
}

/// LXC's words where a mount cannot get the guest's ids: too old a kernel, or its file system. It does not say which
/// mount; if it was one of the container file's own, the start without ids for the store fails too.
fn idmap_failed(failure: &WorkerError) -> bool {
    let WorkerError::Lxc { source, .. } = failure else { return false };
    source.log.iter().chain(&source.chain).any(|line| line.contains("to idmap detached mount"))
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
