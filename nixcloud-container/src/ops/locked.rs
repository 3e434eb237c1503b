//! How a verb begins that changes a container which is there: its lock is taken, its record is loaded once, what a killed
//! operation left is ended, and the container's state permits the verb.

use crate::error::Error;
use crate::fs::lock::Lock;
use crate::host::Host;
use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Observer};
use crate::model::state::{Action, Permission};
use crate::ops::adopt;
use crate::ops::recover;
use crate::ops::waiting;
use crate::store::presence::Presence;
use crate::store::record::Record;

/// A container that nobody else changes.
#[derive(Debug)]
pub(crate) struct Locked {
    /// Held until this is dropped.
    pub(crate) lock: Lock,
    /// As it is on the disk.
    pub(crate) record: Record,
    /// The generation that a killed operation had made the current one, and that was left just now for the one before it.
    pub(crate) cut_off: Option<GenerationId>,
}

/// Takes the lock of a container that is there. Its record is read with the lock alone: before, that it is there is enough.
pub(crate) fn take(host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<Locked, Error> {
    require(host, name)?;
    let lock = host.lock(name, cancel)?;
    Ok(Locked { lock, record: host.record(name)?, cut_off: None })
}

/// As [`take`], for a container that is to end: where its record is lost or damaged, what there is of it is what is to end.
pub(crate) fn take_or_rest(host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<Locked, Error> {
    if !host.layout.record(name).exists() {
        host.record_or_rest(name)?;
    }
    let lock = host.lock(name, cancel)?;
    Ok(Locked { lock, record: host.record_or_rest(name)?, cut_off: None })
}

/// As [`take`]; one that the shell original made is adopted, and a switch that was cut off is ended.
pub(crate) fn take_whole(
    host: &Host,
    name: &ContainerName,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Locked, Error> {
    require(host, name)?;
    let lock = host.lock(name, cancel)?;
    whole(host, name, lock, observer, cancel)
}

/// As [`take_whole`], and tells whom it waits for.
pub(crate) fn take_whole_observed(
    host: &Host,
    name: &ContainerName,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Locked, Error> {
    require(host, name)?;
    let lock = host.lock_observed(name, observer, cancel)?;
    whole(host, name, lock, observer, cancel)
}

/// That there is such a container, before its lock is made. Who has no record is looked at more closely.
fn require(host: &Host, name: &ContainerName) -> Result<(), Error> {
    if host.layout.record(name).exists() { Ok(()) } else { host.record(name).map(drop) }
}

fn whole(
    host: &Host,
    name: &ContainerName,
    lock: Lock,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Locked, Error> {
    let mut record = adopt::record(host, name, observer, cancel)?;
    let cut_off = recover::interrupted_switch(host, &mut record, observer, cancel)?;
    Ok(Locked { lock, record, cut_off })
}

/// What a container is found doing by a verb that its state permits.
#[derive(Debug)]
pub(crate) struct Permitted {
    pub(crate) here: Presence,
    /// Whether it is what the verb would make of it.
    pub(crate) already: bool,
}

/// Waits until what passes has passed, and refuses the verb where the container's state does.
pub(crate) fn permitted(
    host: &Host,
    record: &Record,
    action: Action,
    cancel: &Cancel,
) -> Result<Permitted, Error> {
    let here = waiting::while_passing(host, record, action, host.config.timeouts.start(), cancel)?;
    match here.state.permits(action) {
        Permission::Allowed => Ok(Permitted { here, already: false }),
        Permission::Already => Ok(Permitted { here, already: true }),
        _ => Err(Error::State { name: record.name.clone(), state: here.state, action }),
    }
}
