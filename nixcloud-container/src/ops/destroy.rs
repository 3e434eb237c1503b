//! Destroy: everything that is a container's, and nothing else.

use std::path::{Path, PathBuf};

use crate::build;
use crate::build::batch;
use crate::error::Error;
use crate::fs::error::FileError;
use crate::fs::lock::Lock;
use crate::fs::{atomic, mounts, remove};
use crate::host::Host;
use crate::host::name_files;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::setters::setters;
use crate::model::state::{Action, Permission};
use crate::ops::claim;
use crate::ops::cut_off;
use crate::ops::durable;
use crate::ops::freeing::Freeing;
use crate::ops::locked::{self, Locked};
use crate::ops::power;
use crate::ops::waiting;
use crate::store::closures;
use crate::store::history::Generations;
use crate::store::journal::{self, Note};
use crate::store::legacy;
use crate::store::presence;
use crate::store::record::{Record, RecordPhase};
use crate::store::rootfs;

/// Where LXC keeps its own locks; it never removes one.
const LXC_LOCKS: &str = "/run/lxc/lock";

/// How to destroy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestroyRequest {
    /// Also if it runs, then it is terminated first; if a set or the host's configuration declares it; and if another process
    /// is just creating it, then that is waited for.
    pub force: bool,
}

setters!(DestroyRequest: "Of a container that does not run and that nothing declares." {
    with_force => force: bool,
});

pub(crate) fn destroy(
    host: &Host,
    name: &ContainerName,
    request: DestroyRequest,
    cancel: &Cancel,
) -> Result<(), Error> {
    let taken = locked::take_to_remove(host, name, request.force, cancel);
    let Locked { lock: _lock, record, .. } = taken.inspect_err(|error| {
        if matches!(error, Error::NotFound { .. })
            && let Err(error) = drop_lock(host, name)
        {
            tracing::debug!(%name, %error, "its lock stays for the next destroy");
        }
    })?;
    refuse_declared(&record, request)?;
    destroy_locked(host, record, request, cancel)
}

/// The remains of one are nobody's any more.
fn refuse_declared(record: &Record, request: DestroyRequest) -> Result<(), Error> {
    match &record.declared {
        Some(declared) if !request.force && !record.phase.is_unfinished() => {
            Err(Error::Declared { name: record.name.clone(), by: declared.words() })
        }
        _ => Ok(()),
    }
}

/// Refuses what [`destroy`] would refuse, as far as it does not pass by itself. Nothing is changed.
pub(crate) fn foreseen(host: &Host, name: &ContainerName, request: DestroyRequest) -> Result<(), Error> {
    let record = locked::to_remove(host, name, request.force)?;
    refuse_declared(&record, request)?;
    require_unmounted(host, name)?;
    let state = presence::look(&host.layout, &record)?.state;
    let ends = request.force && state.is_live();
    match state.permits(Action::Destroy) {
        Permission::Refused if !ends => {
            Err(Error::State { name: name.clone(), state, action: Action::Destroy })
        }
        _ => Ok(()),
    }
}

/// With the container's lock held.
pub(crate) fn destroy_locked(
    host: &Host,
    record: Record,
    request: DestroyRequest,
    cancel: &Cancel,
) -> Result<(), Error> {
    let name = &record.name;
    require_unmounted(host, name)?;
    let mut here = presence::look(&host.layout, &record)?;
    if request.force && here.state.is_live() {
        match power::terminate_locked(host, &record, cancel) {
            // It has ended; what is noted of it is looked at again with the rest.
            Err(error) if error.lacks_room() => {}
            other => drop(other?),
        }
        here = presence::look(&host.layout, &record)?;
    }
    if here.state.permits(Action::Destroy) == Permission::Wait {
        here = waiting::until_stopped(host, &record, host.config.timeouts.stop(), cancel)?;
    }
    match here.state.permits(Action::Destroy) {
        Permission::Allowed => remains(host, record),
        _ => Err(Error::State { name: name.clone(), state: here.state, action: Action::Destroy }),
    }
}

/// That nothing is mounted in a container's folder: asked before anything ends or goes, since what is mounted there is not
/// the container's to remove.
pub(crate) fn require_unmounted(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let Ok(folder) = host.layout.container_dir(name).canonicalize() else { return Ok(()) };
    let failed = FileError::at("read", "/proc/thread-self/mountinfo");
    match mounts::at_or_below(&folder).map_err(failed)?.into_iter().next() {
        Some(mount) => Err(Error::Mounted { name: name.clone(), mount }),
        None => Ok(()),
    }
}

/// Removes what there is of a container, in an order that can be cut off anywhere and taken up again: the record,
/// which says what is to be removed, goes last. The caller has made sure that nothing of it runs.
///
/// On a full disk all of it is removed, on a read-only one what the kernel holds: what stays is told.
pub(crate) fn remains(host: &Host, mut record: Record) -> Result<(), Error> {
    let layout = &host.layout;
    let name = record.name.clone();
    // What never was whole is not missed.
    let was_whole = record.phase != RecordPhase::Creating;
    if record.phase != RecordPhase::Destroying {
        record.phase = RecordPhase::Destroying;
        note(host, &record)?;
    }
    let mut freeing = Freeing::of(&name);
    freeing.step(power::remove_left_interfaces(host, &record));
    freeing.step(power::stopped(host, &record));
    cut_off::end_all(layout, &record);
    power::forget_neighbours(host, &record, None);
    // Before its addresses may be another's.
    freeing.step(name_files::publish(host, &record, &Cancel::new()));
    freeing.step(claim::host_ports::release_all(host, &record));
    freeing.step(rootfs::destroy(layout, &name));
    freeing.step(build::clear_work(host, &name));
    freeing.step(closures::forget(layout, &name));
    freeing.step(Generations::new(layout, &name).remove_all());
    // Once the links are gone the folder holds nothing, unless somebody put something there.
    freeing.step(remove::tree(&layout.profile_dir(&name)));
    remove_lxc_lock(layout.lxc_path(), &name);
    // What has not gone may still use what is claimed.
    if !freeing.is_whole() {
        return freeing.end();
    }
    // Gone for good before nobody speaks of it any more.
    durable::removal(host, &name)?;
    claim::release_all(host, &record)?;
    if record.adopted.is_some() {
        legacy::forget(layout, &name)?;
    }
    Record::delete(layout, &name)?;
    if was_whole {
        journal::note(layout, &name, Note::Destroyed);
    }
    // What killed operations left, of whichever container: no matter of this one's.
    if let Err(error) = sweep(host) {
        tracing::debug!(%error, "what others left stays for the next operation");
    }
    Ok(())
}

/// Notes that the container goes. A disk without room for another text has room for a mark on the one that there is.
fn note(host: &Host, record: &Record) -> Result<(), Error> {
    let noted = record.save(&host.layout).map_err(Error::from);
    match noted {
        Err(error) if error.lacks_room() => {
            // On a read-only disk that fails, too; but there nothing of it goes that could be missed later.
            if let Err(error) = Record::condemn(&host.layout, &record.name) {
                tracing::debug!(name = %record.name, %error, "it is not noted that the container goes");
            }
            Ok(())
        }
        other => other,
    }
}

fn sweep(host: &Host) -> Result<(), Error> {
    sweep_locks(host)?;
    batch::sweep(host)?;
    sweep_half_written(host)
}

/// Removes files that somebody was writing who was killed, wherever in the state any are written.
fn sweep_half_written(host: &Host) -> Result<(), Error> {
    let layout = &host.layout;
    let state = layout.state();
    let others = [state.to_owned(), state.join("nix"), layout.sysctl(), layout.resolvers()];
    for folder in layout.state_dirs().iter().chain(&others).chain(&name_files::folders(host)) {
        if folder.exists() {
            atomic::sweep(folder)?;
        }
    }
    Ok(())
}

/// Removes the lock files of containers that are gone: a destroy that was killed at its very end leaves one.
fn sweep_locks(host: &Host) -> Result<(), Error> {
    let folder = host.layout.state().join("locks");
    for entry in std::fs::read_dir(&folder).map_err(FileError::at("read", &folder))?.flatten() {
        let name: Option<ContainerName> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(name) = name.filter(|name| !host.layout.record(name).exists()) {
            drop_lock(host, &name)?;
        }
    }
    Ok(())
}

/// Removes the lock file of a container that is gone, as far as nobody holds it: who does is about to make a record.
fn drop_lock(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let path = host.layout.container_lock(name);
    if path.exists() {
        // Got and dropped, it is gone.
        drop(Lock::try_acquire(&*path).map_err(Error::Lock)?);
    }
    Ok(())
}

/// LXC's lock of the container, and the folders that this empties.
fn remove_lxc_lock(lxc_path: &Path, name: &ContainerName) {
    let top = Path::new(LXC_LOCKS);
    let folder: PathBuf = top.join(lxc_path.strip_prefix("/").unwrap_or(lxc_path));
    // Nothing depends on it: LXC makes it anew at its next look.
    let _ = std::fs::remove_file(folder.join(format!(".{name}")));
    for folder in folder.ancestors().take_while(|folder| *folder != top && folder.starts_with(top)) {
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
}
