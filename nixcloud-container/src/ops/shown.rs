//! What a running guest sees of the store, kept current: what it may need is shown before it can need it, and hidden when it
//! cannot any more.
//!
//! ```text
//! add      before the profile leads there   noted, rooted, shown
//! begin    before an activation             its package may be in use from here on
//! end      after a good one                 its package is what the guest runs
//! settle   at the end, and in recovery      what is not needed is hidden, let go, forgotten
//! ```
//!
//! Where it is cut off, more is shown than needed, never less: the note and the root come before the path, and go after it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::Host;
use crate::model::layout::NIX_STORE;
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Event, Observer};
use crate::model::spec::ContainerSpec;
use crate::model::store_view::StoreView;
use crate::nix::StorePath;
use crate::ops::power::proc_error;
use crate::store::closures;
use crate::store::generations::Generations;
use crate::store::presence::{self, Presence};
use crate::store::record::{Record, Run};
use crate::store::shown::Shown;
use crate::sys::proc::{self, Process};
use crate::worker::{Answer, Request, Stdio};

/// A guest that sees a part of the store.
struct Running {
    run: Run,
    shown: Shown,
    monitor: Process,
}

/// The guest, if it runs and sees a part of the store alone.
fn running(host: &Host, record: &Record) -> Result<Option<Running>, Error> {
    let boot = proc::boot_id().map_err(proc_error)?;
    // Most have none, or all of the store: then nobody is asked.
    if Run::load(&host.layout, &record.name, &boot)?.is_none_or(|run| run.shown.is_none()) {
        return Ok(None);
    }
    let here = presence::look(&host.layout, record)?;
    let (Some(run), Some(init), Some(monitor)) = (here.run, here.init, here.monitor) else { return Ok(None) };
    let Some(mut shown) = run.shown.clone() else { return Ok(None) };
    shown.seen(init);
    Ok(Some(Running { run, shown, monitor }))
}

impl Running {
    fn save(&self, host: &Host, name: &ContainerName) -> Result<(), Error> {
        let run = Run { shown: Some(self.shown.clone()), ..self.run.clone() };
        Ok(run.save(&host.layout, name)?)
    }

    /// Makes what is in `lists` what the guest sees. Returns the names of what it has in use beside.
    fn show(&self, host: &Host, name: &ContainerName, lists: Vec<PathBuf>) -> Result<Vec<String>, Error> {
        let request = Request::ShowPaths { monitor: self.monitor, locked: host.layout.locked(name), lists };
        // Not to be cancelled: it takes milliseconds.
        match host.worker.call(&request, Stdio::Null, Some(host.config.timeouts.start()), &Cancel::new())? {
            Answer::PathsShown { kept } => Ok(kept),
            other => Err(other.unexpected().into()),
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
pub(crate) fn tell_hidden(
    host: &Host,
    name: &ContainerName,
    here: &Presence,
    program: &OsStr,
    observer: &mut dyn Observer,
) {
    let Some(shown) = here.run.as_ref().and_then(|run| run.shown.as_ref()) else { return };
    let Ok(inside) = Path::new(program).strip_prefix(NIX_STORE) else { return };
    let Some(path) = inside.components().next().and_then(|first| first.as_os_str().to_str()) else { return };
    let lists = Running::lists(host, name, &shown.packages, &Cancel::new());
    let is_shown =
        |list: &PathBuf| closures::names(list).is_ok_and(|names| names.iter().any(|name| name == path));
    // Then the guest is the one to ask.
    if lists.is_ok_and(|lists| lists.iter().any(is_shown)) {
        return;
    }
    let path = Path::new(NIX_STORE).join(path);
    let why = if path.symlink_metadata().is_ok() {
        "the host has it, and the guest sees only what its generation needs: the container file can name it (in \
         `environment.systemPackages`, say), or ask for all of the store (`store = \"full\"`)"
    } else {
        "the host does not have it either"
    };
    observer.event(Event::Note(format!("{} is not in the store of `{name}`: {why}", path.display())));
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
    let name = &record.name;
    let Some(mut running) = running(host, record)? else { return Ok(()) };
    running.shown.next = None;
    if !running.shown.packages.contains(package) {
        running.shown.packages.push(package.clone());
    }
    let lists = Running::lists(host, name, &running.shown.packages, cancel)?;
    Generations::new(&host.layout, name).root_shown(package)?;
    running.save(host, name)?;
    running.show(host, name, lists).map(drop)
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

/// Hides what the guest needs no more, once its profile leads to what counts. What it has in use stays for now.
pub(crate) fn settle(host: &Host, record: &Record) -> Result<(), Error> {
    let name = &record.name;
    let generations = Generations::new(&host.layout, name);
    let mut kept = generations.packages()?;
    if let Some(mut running) = running(host, record)? {
        running.shown.next = Some(generations.package(generations.current()?)?);
        let mut needed = running.shown.needed();
        let stale: Vec<StorePath> =
            running.shown.packages.iter().filter(|shown| !needed.contains(shown)).cloned().collect();
        if !stale.is_empty() || needed != running.shown.packages {
            for package in &needed {
                generations.root_shown(package)?;
            }
            let lists = Running::lists(host, name, &needed, &Cancel::new())?;
            let in_use = running.show(host, name, lists)?;
            for package in stale {
                let list = closures::list(&host.layout, name, &package, &host.nix(), &Cancel::new())?;
                if !in_use.is_empty() && closures::names(&list)?.iter().any(|name| in_use.contains(name)) {
                    needed.push(package);
                }
            }
            tracing::debug!(%name, ?needed, ?in_use, "what the guest sees of the store");
        }
        running.shown.packages = needed;
        running.save(host, name)?;
        generations.unroot_shown(&running.shown.packages)?;
        kept.extend(running.shown.packages);
    }
    Ok(closures::keep(&host.layout, name, &kept)?)
}
