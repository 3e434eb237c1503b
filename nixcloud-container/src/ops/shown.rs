//! What a running guest sees of the store, kept current: what it may need is shown before it can need it, and hidden when it
//! cannot any more.
//!
//! ```text
//! add      before the profile leads there   noted, rooted, shown
//! begin    before an activation             its package may be in use from here on
//! end      after a good one                 its package is what the guest runs
//! settle   at the end, and in recovery      what is not needed is hidden, let go, forgotten
//! lend     for a plan                       as add, of what the guest neither runs nor boots
//! ```
//!
//! Where it is cut off, more is shown than needed, never less: the note and the root come before the path, and go after it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::mounts;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::layout::NIX_STORE;
use crate::model::name::ContainerName;
use crate::model::note::GuestNote;
use crate::model::observe::Cancel;
use crate::model::spec::ContainerSpec;
use crate::model::store_view::StoreView;
use crate::nix::StorePath;
use crate::render::STORE;
use crate::store::closures;
use crate::store::history::Generations;
use crate::store::presence::{self, Presence, PresenceError};
use crate::store::record::{Record, Run};
use crate::store::shown::Shown;
use crate::sys::proc::{self, Process};
use crate::worker::{Answer, Request, Stdio};

/// A guest that sees a part of the store.
struct Running {
    /// What was noted at its start; `None` where that is lost: then all that is rooted is what it may need.
    run: Option<Run>,
    shown: Shown,
    /// Its monitor, in whose mount namespace the store is.
    monitor: Process,
    /// Whether it is between the end of a boot and the beginning of the next: it boots what its profile leads to at some moment
    /// of now, and nobody knows which.
    reboots: bool,
}

/// The guest, if it runs, or is about to run again, and sees a part of the store alone.
fn running(host: &Host, record: &Record) -> Result<Option<Running>, Error> {
    let (layout, name) = (&host.layout, &record.name);
    let boot = proc::boot_id().map_err(PresenceError::Proc)?;
    let noted = Run::load(layout, name, &boot)?;
    // Most have none, or all of the store: then nobody is asked.
    if noted.as_ref().is_some_and(|run| run.shown.is_none()) {
        return Ok(None);
    }
    let here = presence::look(layout, record)?;
    let Some(noted) = noted else {
        // It is lost, or there is no guest.
        let store = layout.locked(name).join(STORE);
        let is_part = |monitor: &Process| mounts::has(monitor.pid, &store, "overlay");
        let Some(monitor) = here.monitor.filter(is_part) else { return Ok(None) };
        let packages = Generations::new(layout, name).rooted_shown()?;
        let shown = Shown { booted: packages.clone(), packages, ..Shown::default() };
        return Ok(Some(Running { run: None, shown, monitor, reboots: here.init.is_none() }));
    };
    // The state is for a moment that of a guest which has ended, and its monitor is there all the time.
    let noted_monitor = noted.monitor.filter(|monitor| monitor.is_alive());
    let (run, monitor) = match (here.run, here.monitor.or(noted_monitor)) {
        (Some(run), Some(monitor)) => (run, monitor),
        (None, Some(monitor)) if noted_monitor == Some(monitor) => (noted, monitor),
        _ => return Ok(None),
    };
    let Some(mut shown) = run.shown.clone() else { return Ok(None) };
    let init = here.init.filter(|init| init.is_staying());
    if let Some(init) = init {
        shown.seen(init);
    }
    Ok(Some(Running { run: Some(run), shown, monitor, reboots: init.is_none() }))
}

impl Running {
    fn save(&self, host: &Host, name: &ContainerName) -> Result<(), Error> {
        let Some(run) = &self.run else { return Ok(()) };
        let run = Run { shown: Some(self.shown.clone()), ..run.clone() };
        Ok(run.save(&host.layout, name)?)
    }

    /// Makes what is in `lists` what the guest sees. Returns which of `leaving` it has in use and keeps.
    fn show(
        &self,
        host: &Host,
        name: &ContainerName,
        lists: Vec<PathBuf>,
        leaving: Vec<PathBuf>,
    ) -> Result<Vec<usize>, Error> {
        let request = Request::ShowPaths {
            caller: std::process::id(),
            asked: u64::try_from(proc::uptime().as_nanos()).unwrap_or(u64::MAX),
            monitor: self.monitor,
            locked: host.layout.locked(name),
            lists,
            leaving,
        };
        // Not to be cancelled: it takes milliseconds.
        match host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), &Cancel::new()) {
            Ok(Answer::PathsShown { kept }) => Ok(kept),
            Ok(other) => Err(other.unexpected().into()),
            // The guest has ended: nobody sees anything, and its next start begins anew.
            Err(failure) if !self.monitor.is_alive() => {
                tracing::debug!(%name, %failure, "the guest has ended while its store was changed");
                Ok(Vec::new())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn lists(
        host: &Host,
        name: &ContainerName,
        packages: &[StorePath],
        cancel: &Cancel,
    ) -> Result<Vec<PathBuf>, Error> {
        let list = |package| closures::list(&host.layout, name, package, &host.nix(), cancel);
        packages.iter().map(|package| Ok(list(package)?)).collect()
    }
}

/// Says why a program of the store was not found, where the guest sees a part of it alone.
pub(crate) fn tell_hidden(context: &mut Context<'_>, name: &ContainerName, here: &Presence, program: &OsStr) {
    let Some(shown) = here.run.as_ref().and_then(|run| run.shown.as_ref()) else { return };
    let Ok(inside) = Path::new(program).strip_prefix(NIX_STORE) else { return };
    let Some(path) = inside.components().next().and_then(|first| first.as_os_str().to_str()) else { return };
    let lists = Running::lists(context.host, name, &shown.packages, context.cancel);
    let is_shown =
        |list: &PathBuf| closures::names(list).is_ok_and(|names| names.iter().any(|name| name == path));
    // Then the guest is the one to ask.
    if lists.is_ok_and(|lists| lists.iter().any(is_shown)) {
        return;
    }
    let path = Path::new(NIX_STORE).join(path);
    let on_host = path.symlink_metadata().is_ok();
    context.tell(GuestNote::NotInItsStore { name: name.clone(), path, on_host });
}

/// Finds out what a package needs, where that will be asked: so that no start has to.
pub(crate) fn prepare(
    host: &Host,
    name: &ContainerName,
    spec: &ContainerSpec,
    package: &StorePath,
    cancel: &Cancel,
) -> Result<(), Error> {
    if spec.store_view(host.config.store) == StoreView::Closure {
        closures::list(&host.layout, name, package, &host.nix(), cancel)?;
    }
    Ok(())
}

/// Shows a package to a running guest whose profile is about to lead there. Nothing is done where there is no such guest.
pub(crate) fn add(host: &Host, record: &Record, package: &StorePath, cancel: &Cancel) -> Result<(), Error> {
    let Some(mut running) = running(host, record)? else { return Ok(()) };
    running.shown.next = None;
    show_more(host, record, running, package, cancel)
}

/// Whether a running guest lacks something of a package: it sees a part of the store, and this one is not a part of it.
pub(crate) fn lacks(host: &Host, record: &Record, package: &StorePath) -> Result<bool, Error> {
    Ok(running(host, record)?.is_some_and(|running| !running.shown.packages.contains(package)))
}

/// Shows a package to a running guest that is only asked about it. It is noted as shown, and as nothing else: [`settle`] hides it
/// again, also that of whoever notes before that the record is unsettled and is killed.
pub(crate) fn lend(host: &Host, record: &Record, package: &StorePath, cancel: &Cancel) -> Result<(), Error> {
    let Some(running) = running(host, record)? else { return Ok(()) };
    show_more(host, record, running, package, cancel)
}

fn show_more(
    host: &Host,
    record: &Record,
    mut running: Running,
    package: &StorePath,
    cancel: &Cancel,
) -> Result<(), Error> {
    let name = &record.name;
    if !running.shown.packages.contains(package) {
        running.shown.packages.push(package.clone());
    }
    let lists = Running::lists(host, name, &running.shown.packages, cancel)?;
    Generations::new(&host.layout, name).root_shown(package)?;
    running.save(host, name)?;
    running.show(host, name, lists, Vec::new()).map(drop)
}

/// From here on the guest may run what is being activated.
pub(crate) fn begin(host: &Host, record: &Record, package: &StorePath) -> Result<(), Error> {
    let Some(mut running) = running(host, record)? else { return Ok(()) };
    running.shown.activated.push(package.clone());
    running.save(host, &record.name)
}

/// It runs that, and nothing of what was activated before.
pub(crate) fn end(host: &Host, record: &Record, package: &StorePath) -> Result<(), Error> {
    let Some(mut running) = running(host, record)? else { return Ok(()) };
    running.shown.activated = vec![package.clone()];
    running.save(host, &record.name)
}

/// It was not activated at all.
pub(crate) fn not_begun(host: &Host, record: &Record, package: &StorePath) -> Result<(), Error> {
    let Some(mut running) = running(host, record)? else { return Ok(()) };
    running.shown.activated.retain(|activated| activated != package);
    running.save(host, &record.name)
}

/// Hides what the guest needs no more, once its profile leads to what counts. What it has in use stays for now, and so does
/// everything where it is not known what it boots: then a later operation hides it.
pub(crate) fn settle(host: &Host, record: &Record) -> Result<(), Error> {
    let name = &record.name;
    let generations = Generations::new(&host.layout, name);
    let mut kept = generations.packages()?;
    if let Some(mut running) = running(host, record)? {
        if !running.reboots {
            running.shown.next = Some(generations.package(generations.current()?)?);
            hide(host, name, &generations, &mut running)?;
            running.save(host, name)?;
            generations.unroot_shown(&running.shown.packages)?;
        }
        kept.extend(running.shown.packages);
    }
    Ok(closures::keep(&host.layout, name, &kept)?)
}

fn hide(
    host: &Host,
    name: &ContainerName,
    generations: &Generations,
    running: &mut Running,
) -> Result<(), Error> {
    let mut needed = running.shown.needed();
    let stale: Vec<StorePath> =
        running.shown.packages.iter().filter(|shown| !needed.contains(shown)).cloned().collect();
    for package in &needed {
        generations.root_shown(package)?;
    }
    // After a reboot from inside it is another one.
    if let [booted] = &running.shown.booted[..] {
        generations.root_booted_package(booted)?;
    }
    if !stale.is_empty() || needed.iter().any(|package| !running.shown.packages.contains(package)) {
        let lists = Running::lists(host, name, &needed, &Cancel::new())?;
        let leaving = Running::lists(host, name, &stale, &Cancel::new())?;
        let in_use = running.show(host, name, lists, leaving)?;
        tracing::debug!(%name, ?needed, ?stale, ?in_use, "what the guest sees of the store");
        needed.extend(in_use.into_iter().filter_map(|number| stale.get(number).cloned()));
    }
    running.shown.packages = needed;
    Ok(())
}
