//! Start: what may be asked of one boot, and the boot itself.

mod pidfile;
mod plan;
mod request;

use std::time::{Duration, Instant};

use ::nix::errno::Errno;
use jiff::Timestamp;

use crate::error::{self, Error};
use crate::host::context::Context;
use crate::host::lxcfs::{self, Lxcfs};
use crate::host::name_files;
use crate::host::{Held, Host};
use crate::lxc::command::{self, Holder};
use crate::model::idmap::{IdMap, IdMapKind, RANGE};
use crate::model::name::ContainerName;
use crate::model::note::{GuestNote, NetworkNote};
use crate::model::observe::Cancel;
use crate::model::occurrence::Operation;
use crate::model::resources::Limit;
use crate::model::spec::ContainerSpec;
use crate::model::state::Action;
use crate::model::store_view::StoreView;
use crate::nix::StorePath;
use crate::ops::claim;
use crate::ops::cut_off;
use crate::ops::devices;
use crate::ops::foreground::Foreground;
use crate::ops::idmap_move;
use crate::ops::limits;
use crate::ops::locked::{self, Locked, Permitted};
use crate::ops::lxc_config;
use crate::ops::needs;
use crate::ops::power::{
    MONITOR_END, forget, forget_neighbours, remove_left_interfaces, target, terminate_locked,
};
use crate::ops::ready::{self, Known};
use crate::ops::waiting;
use crate::render::{self, Rendered};
use crate::store::boot_notes::BootNotes;
use crate::store::closures;
use crate::store::history::Generations;
use crate::store::host_facts;
use crate::store::journal::{self, Note};
use crate::store::record::{Record, Run, Signals};
use crate::store::shown::Shown;
use crate::sys::cgroup::{Owner, Pair};
use crate::sys::inherited;
use crate::sys::proc::{self, Process};
use crate::sys::userns::IdSpan;
use crate::worker::{Answer, HookFailure, Request, Stdio, StoreClosure, WorkerError};
use plan::BootPlan;
pub use request::{StartOutcome, StartRequest};

pub(crate) fn start(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &StartRequest,
) -> Result<StartOutcome, Error> {
    let locked = locked::take_whole(context, name, Operation::Start)?;
    start_locked(context, locked, request)
}

/// Refuses what a start would refuse before it does anything.
pub(crate) fn require(
    context: &Context<'_>,
    name: &ContainerName,
    request: &StartRequest,
) -> Result<(), Error> {
    needs::require_folders(context.host, name)?;
    BootPlan::new(context.host, name, request, context.cancel).map(drop)
}

/// Starts a container whose lock is given up when it runs: others may stop it while it is waited for.
pub(crate) fn start_locked(
    context: &mut Context<'_>,
    locked: Locked,
    request: &StartRequest,
) -> Result<StartOutcome, Error> {
    let Context { host, cancel, .. } = *context;
    let Locked { lock, mut record, .. } = locked;
    let name = &record.name.clone();
    // Its init is held before its lock is given back.
    let ready = |context: &mut Context<'_>, init, lock: Held| {
        let known = Known::by(init);
        drop(lock);
        request.wait.as_ref().map(|wait| ready::wait_observed(context, name, wait, Some(known))).transpose()
    };
    tell_host(context, &record);
    cut_off::settle(host, &record)?;
    let Permitted { here, already } = locked::permitted(host, &record, Action::Start, cancel)?;
    if already {
        return Ok(StartOutcome::AlreadyRunning { readiness: ready(context, here.init, lock)? });
    }
    needs::require_folders(host, name)?;
    let plan = BootPlan::new(host, name, request, cancel)?;
    // What a guest left whose monitor was killed, or that ended by itself.
    forget(host, &mut record)?;
    let starts = Owner::of(&host.layout, name).starts();
    if !request.foreground {
        let mut boot = Boot { plan: &plan, foreground: None, starts };
        let Some(init_pid) = boot.run(context, &mut record)? else {
            return Err(Answer::Ended.unexpected().into());
        };
        let readiness = ready(context, Process::now(init_pid), lock)?;
        return Ok(StartOutcome::Started { init_pid, readiness });
    }
    let mut foreground = Foreground::open(host, &starts, request.screen)?;
    let mut boot = Boot { plan: &plan, foreground: Some(&mut foreground), starts };
    let init = boot.run(context, &mut record)?;
    // Others may stop it, run commands in it, destroy it.
    drop(lock);
    let cancelled = foreground.wait(host, name, cancel);
    if let Some((path, init)) = plan.pidfile.zip(init) {
        pidfile::remove(&path, init);
    }
    Ok(StartOutcome::Ended { cancelled: cancelled? })
}

/// Tells the host's name servers and its packet filter of a container that was just adopted, or whose last operation was
/// killed after its end was noted. Of others they know, and nothing is done. It boots without them, too.
fn tell_host(context: &mut Context<'_>, record: &Record) {
    let name = &record.name;
    if let Err(error) = name_files::publish(context.host, record, context.cancel) {
        context.tell(NetworkNote::NamesUntold { name: name.clone(), why: error::chain(&error) });
    }
    if let Err(error) = claim::host_ports::open(context, record) {
        context.tell(NetworkNote::PortsUntold { name: name.clone(), why: error::chain(&error) });
    }
}

/// One boot.
struct Boot<'a> {
    plan: &'a BootPlan,
    foreground: Option<&'a mut Foreground>,
    /// The cgroups of its first try and of its second.
    starts: [Pair; 2],
}

/// What the worker makes for the guest before LXC starts it.
struct Made {
    user_namespace: Option<IdSpan>,
    /// Where it does not see all of it.
    store: Option<StoreClosure>,
    /// The paths of lxcfs that it sees in place of the kernel's.
    own_size: Vec<String>,
    /// The host's id of the guest's root.
    root: u32,
    devices: devices::Boot,
}

impl Boot<'_> {
    /// Boots the current generation, and returns its init; `None` where a foreground guest has ended already.
    fn run(&mut self, context: &mut Context<'_>, record: &mut Record) -> Result<Option<i32>, Error> {
        let Context { host, cancel, .. } = *context;
        let generations = Generations::new(&host.layout, &record.name);
        let current = generations.current()?;
        let spec = generations.spec(current)?;
        needs::require_bridges(host, &spec)?;
        idmap_move::complete(context, record, spec.idmap)?;
        require_free_ids(host, record, spec.idmap)?;
        remove_left_interfaces(host, record)?;
        let mut run = Run {
            boot_id: proc::boot_id().map_err(proc::unreadable)?,
            init: None,
            monitor: None,
            netns: proc::own_network_namespace().map_err(proc::unreadable)?,
            started: Timestamp::now(),
            generation: Some(current),
            switched: false,
            notes: BootNotes::default(),
            cgroups: Vec::new(),
            signals: Signals::default(),
            shown: None,
            devices: None,
        };
        generations.root_booted(current)?;
        if let Some(program) = host.worker.hook_in_store() {
            generations.root_program(&program)?;
        }
        let [first, second] = self.starts.clone();
        let mut started = self.start(context, record, &spec, &mut run, &first);
        if let Err(Error::Worker(failure)) = &started
            && host.facts()?.idmapped_store
            && idmap_failed(failure)
        {
            context.tell(GuestNote::StoreWithoutIds { why: failure.to_string() });
            waiting::until_stopped(host, record, MONITOR_END, cancel)?;
            // What the first try made: its monitor may still be in its cgroups, and the kernel at its interfaces.
            remove_left_interfaces(host, record)?;
            cut_off::end_own(&host.layout, record, Some(&run));
            host_facts::refuse_idmapped_store(&host.layout);
            started = self.start(context, record, &spec, &mut run, &second);
            if started.is_err() {
                host_facts::allow_idmapped_store(&host.layout);
            }
        }
        started.map_err(|failure| {
            let failure = name_held(host, record, isolation_failed(&record.name, failure));
            // LXC tidies up itself, unless it was cut off: then the guest may run.
            let undo = terminate_locked(host, record, &Cancel::new()).map(drop);
            failure.undone(undo)
        })
    }

    /// Starts with a note of what is being started already on disk: whoever is killed on the way leaves it.
    fn start(
        &mut self,
        context: &mut Context<'_>,
        record: &mut Record,
        spec: &ContainerSpec,
        run: &mut Run,
        cgroups: &Pair,
    ) -> Result<Option<i32>, Error> {
        let host = context.host;
        let rendered = lxc_config::rendered(host, record, spec)?;
        needs::require_sources(&record.name, &rendered)?;
        let held = limits::require(context, &record.name, spec, record.limits.as_ref())?;
        let own: Vec<_> = rendered.extra.iter().chain(&self.plan.items).cloned().collect();
        let devices = devices::boot(context, &record.name, spec, &own)?;
        limits::note(host, &record.name, &[&held[..], &devices.limits].concat())?;
        limits::hold_together(host);
        lxc_config::write(context, record, &rendered)?;
        // Without the items of this boot: what differs from it at the next start is what waits for one.
        run.notes = BootNotes::of(spec, &rendered);
        run.signals = Signals::of(rendered.extra.iter().chain(&self.plan.items));
        let cgroups = Some(cgroups).filter(|_| !self.chooses_cgroups(&rendered));
        run.cgroups = cgroups.map(Pair::folders).unwrap_or_default();
        let package = match spec.store_view(host.config.store) {
            StoreView::Closure => {
                let generations = Generations::new(&host.layout, &record.name);
                Some(generations.package(generations.current()?)?)
            }
            StoreView::Full => None,
        };
        let store = package.as_ref().map(|package| closure(context, record, spec, package)).transpose()?;
        run.shown = package.map(Shown::booting);
        run.devices.clone_from(&devices.noted);
        run.save(&host.layout, &record.name)?;
        forget_neighbours(host, record, Some(spec));
        let made = Made {
            user_namespace: self.user_namespace(host, record, spec, &rendered),
            store,
            own_size: own_size(context, record)?,
            root: record.ids_for(spec.idmap).map_or(0, IdMap::base),
            devices,
        };
        let Some(init_pid) = self.call(context, record, &rendered, made, cgroups, &held)? else {
            return Ok(None);
        };
        let ended = || Error::InitEnded { name: record.name.clone() };
        let init = Process::now(init_pid).ok_or_else(ended)?;
        run.booted(init);
        run.save(&host.layout, &record.name)?;
        journal::note(&host.layout, &record.name, Note::Started { init, generation: run.generation });
        // In the foreground one sees what becomes of it.
        if self.foreground.is_none() && !has_begun(init) {
            return Err(ended());
        }
        if self.foreground.is_none() && context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(path) = &self.plan.pidfile {
            pidfile::write(host, record, path, init_pid)?;
        }
        Ok(Some(init_pid))
    }

    /// The user namespace that we make for it, owned by an id of its own: what the kernel counts for the owner is its
    /// share alone. Guests with shared ids have different owners, too. Where the host configuration lets somebody choose
    /// the ids, LXC makes it; and where it joins a namespace of another container's, which is done before its own is there.
    /// So it does where limits are set for the guest (`lxc.prlimit`) by a root who may not raise limits, such as one of
    /// a machine that is itself a container: over a user namespace of its own such a root may.
    fn user_namespace(
        &self,
        host: &Host,
        record: &Record,
        spec: &ContainerSpec,
        rendered: &Rendered,
    ) -> Option<IdSpan> {
        let theirs = |(key, _): &&(String, String)| {
            key.starts_with("lxc.idmap")
                || key.starts_with("lxc.namespace.")
                || key.starts_with("lxc.prlimit.") && !proc::may_raise_limits()
        };
        // Its own, for `openFiles`.
        let limits = rendered.items.iter().any(|(key, _)| key.starts_with("lxc.prlimit."));
        let is_limited = limits && !proc::may_raise_limits();
        if is_limited || rendered.extra.iter().chain(&self.plan.items).any(|item| theirs(&item)) {
            return None;
        }
        let ids = record.ids_for(spec.idmap)?;
        let owner = match spec.idmap {
            IdMapKind::Isolated => ids.base(),
            IdMapKind::Shared => ids.one_of(record.interface_id(&host.layout).number()),
        };
        Some(IdSpan { owner, base: ids.base(), count: RANGE })
    }

    /// Whether the host configuration lets somebody choose where its cgroups are. Beside such a line LXC refuses ours.
    fn chooses_cgroups(&self, rendered: &Rendered) -> bool {
        let chooses = |key: &str| key.starts_with("lxc.cgroup.dir") || key == "lxc.cgroup.relative";
        rendered.extra.iter().chain(&self.plan.items).any(|(key, _)| chooses(key))
    }

    /// Lets a worker start it.
    fn call(
        &mut self,
        context: &Context<'_>,
        record: &Record,
        rendered: &Rendered,
        made: Made,
        cgroups: Option<&Pair>,
        held: &[Limit],
    ) -> Result<Option<i32>, Error> {
        let Context { host, cancel, .. } = *context;
        let plan = self.plan;
        let console = self.foreground.as_deref().map(Foreground::item);
        // Of interfaces of this boot alone; those of the configuration file have theirs.
        let all: Vec<_> = rendered.extra.iter().chain(&plan.items).cloned().collect();
        let mut macs = render::further_macs(&all, record.interface_id(&host.layout));
        macs.retain(|(key, _)| !rendered.items.iter().any(|(theirs, _)| theirs == key));
        let locked = host.layout.locked(&record.name);
        let own_size = render::lxcfs::items(&locked, &made.own_size);
        let lxcfs = (!own_size.is_empty()).then(|| render::lxcfs::source(&host.config.paths.lxcfs));
        let request = Request::Start {
            target: target(host, &record.name),
            caller: std::process::id(),
            log: plan.log.clone(),
            locked,
            store: made.store,
            kept: host.worker.kept_hook(&host.layout, &record.name),
            user_namespace: made.user_namespace,
            sources: rendered.locked.iter().chain(&plan.sources).cloned().chain(lxcfs).collect(),
            devices: made.devices.nodes,
            root: made.root,
            items: {
                let cgroups = cgroups.into_iter().flat_map(Pair::items);
                let mut limits = made.devices.items;
                limits.extend(limits::items(host, held)?);
                if !all.iter().any(|(key, _)| key == OOM_KEY) {
                    limits.push((OOM_KEY.to_owned(), inherited::GUEST_OOM.to_owned()));
                }
                // Those of the caller come last: they count.
                limits
                    .into_iter()
                    .chain(own_size)
                    .chain(plan.items.iter().cloned())
                    .chain(macs)
                    .chain(console)
                    .chain(cgroups)
                    .collect()
            },
            foreground: self.foreground.is_some(),
        };
        if let Some(foreground) = &mut self.foreground {
            return foreground.boot(host, record, &request, cancel);
        }
        match host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), cancel)? {
            Answer::Started { init_pid } => Ok(Some(init_pid)),
            other => Err(other.unexpected().into()),
        }
    }
}

/// Whether the guest's init runs. To LXC a first process that is killed looks as one that executed it: until it has, it is a copy of
/// LXC's monitor.
fn has_begun(init: Process) -> bool {
    let monitor = init.parent().and_then(Process::program);
    let end = Instant::now() + BEGINS;
    let executes = || monitor.is_some() && (init.program() == monitor || !init.has_code());
    while executes() && init.is_alive() && Instant::now() < end {
        std::thread::sleep(TICK);
    }
    init.is_staying()
}

/// How long a guest's first process may take to execute init, on a busy host: what takes longer is let run.
const BEGINS: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_micros(200);

/// What of the store it is to see. Whose ids somebody chooses, to those the paths belong to nobody.
fn closure(
    context: &Context<'_>,
    record: &Record,
    spec: &ContainerSpec,
    package: &StorePath,
) -> Result<StoreClosure, Error> {
    let Context { host, cancel, .. } = *context;
    let list = closures::list(&host.layout, &record.name, package, &host.nix(), cancel)?;
    let idmapped = host.facts()?.idmapped_store;
    let ids = record.ids_for(spec.idmap).filter(|_| idmapped);
    let ids = ids.map(|ids| IdSpan { owner: ids.base(), base: ids.base(), count: RANGE });
    Ok(StoreClosure { lists: vec![list], ids })
}

/// What of lxcfs the guest is to see. One that hangs is not waited for, and one that is there no more is no reason not to start.
fn own_size(context: &mut Context<'_>, record: &Record) -> Result<Vec<String>, Error> {
    match lxcfs::look(context.host, context.cancel)? {
        Lxcfs::Absent => Ok(Vec::new()),
        Lxcfs::Offers(paths) => Ok(paths),
        Lxcfs::Fails(why) => {
            context.tell(GuestNote::SeesTheHosts { name: record.name.clone(), why });
            Ok(Vec::new())
        }
    }
}

/// LXC's item for the preference with which the kernel ends the guest's processes.
const OOM_KEY: &str = "lxc.proc.oom_score_adj";

/// LXC's words where a mount cannot get the guest's ids: too old a kernel, or its file system. It does not say which
/// mount; if it was one of the container file's own, the start without ids for the store fails too. A fault of the moment is
/// no reason to do without them for as long as the host runs.
fn idmap_failed(failure: &WorkerError) -> bool {
    const REFUSED: [Errno; 4] = [Errno::EINVAL, Errno::EPERM, Errno::EOPNOTSUPP, Errno::ENOSYS];
    let source = match failure {
        WorkerError::Store { of_ids, .. } => return *of_ids,
        WorkerError::Lxc { source, .. } => source,
        _ => return false,
    };
    let refused = |line: &String| REFUSED.iter().any(|errno| line.starts_with(errno.desc()));
    source
        .log
        .iter()
        .chain(&source.chain)
        .any(|line| line.contains("to idmap detached mount") && refused(line))
}

/// LXC only says that it cannot bind a socket, or that the container runs already.
fn name_held(host: &Host, record: &Record, failure: Error) -> Error {
    if !matches!(failure, Error::Worker(_)) {
        return failure;
    }
    let name = &record.name;
    // What LXC made for the guest has that socket, too, until it has ended.
    let own = |uid: u32| record.ids.is_some_and(|ids| ids.overlaps(uid.into(), 1));
    match command::holder(host.layout.lxc_path(), name.as_str()) {
        Some(Holder { pid, uid, program }) if !own(uid) => {
            Error::NameHeld { name: name.clone(), pid, uid, program }
        }
        _ => failure,
    }
}

/// LXC refuses to boot a guest whose port could not be set, and says no more than a number.
fn isolation_failed(name: &ContainerName, failure: Error) -> Error {
    match failure {
        Error::Worker(source) => {
            let why = match &source {
                WorkerError::Lxc { source, .. } => HookFailure::find(&source.log),
                _ => None,
            };
            match why {
                Some(HookFailure::Limits) => Error::LimitAtBoot { name: name.clone(), source },
                Some(why) => Error::Isolation { name: name.clone(), why: why.as_str(), source },
                None => Error::Worker(source),
            }
        }
        other => other,
    }
}

/// Nothing of the container runs, so whoever has its ids is another's: of a second root of this machine that has given the same
/// to a container of its own, while neither ran. Shared ones are other containers' of this root, too.
fn require_free_ids(host: &Host, record: &Record, kind: IdMapKind) -> Result<(), Error> {
    let Some(ids) =
        record.ids_for(kind).filter(|_| kind == IdMapKind::Isolated && host.config.ids.skip_running)
    else {
        return Ok(());
    };
    match proc::with_ids(ids) {
        Some(process) => Err(Error::IdsInUse {
            name: record.name.clone(),
            base: ids.base(),
            pid: process.pid,
            program: process.command(),
        }),
        None => Ok(()),
    }
}
