//! How a verb begins that changes a container which is there: its lock is taken, its record is loaded once, what a killed
//! operation left is ended, and the container's state permits the verb.

use crate::error::Error;
use crate::host::context::Context;
use crate::host::{Held, Host};
use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::Operation;
use crate::model::state::{Action, Permission};
use crate::ops::adopt;
use crate::ops::recover;
use crate::ops::waiting;
use crate::store::presence::{self, Presence};
use crate::store::record::{Record, RecordError, RecordPhase};

/// A container that nobody else changes.
#[derive(Debug)]
pub(crate) struct Locked {
    /// Held until this is dropped.
    pub(crate) lock: Held,
    /// As it is on the disk.
    pub(crate) record: Record,
    /// The generation that a killed operation had made the current one, and that was left just now for the one before it.
    pub(crate) cut_off: Option<GenerationId>,
}

/// Takes the lock of a container that is there. Its record is read with the lock alone: before, that it is there is enough.
pub(crate) fn take(
    host: &Host,
    name: &ContainerName,
    operation: Operation,
    cancel: &Cancel,
) -> Result<Locked, Error> {
    require(host, name)?;
    let lock = host.lock(name, operation, cancel)?;
    Ok(Locked { lock, record: host.record(name)?, cut_off: None })
}

/// As [`take`], for a container that is to end: where its record is lost or damaged, what there is of it is what is to end.
pub(crate) fn take_or_rest(
    host: &Host,
    name: &ContainerName,
    operation: Operation,
    cancel: &Cancel,
) -> Result<Locked, Error> {
    if !host.layout.record(name).exists() {
        host.record_or_rest(name)?;
    }
    let lock = host.lock(name, operation, cancel)?;
    Ok(Locked { lock, record: host.record_or_rest(name)?, cut_off: None })
}

/// As [`take`], for a container that is to go. With `force` what there is of it is what is to go, as in [`take_or_rest`], and one
/// that another process is just creating is waited for.
pub(crate) fn take_to_remove(
    host: &Host,
    name: &ContainerName,
    force: bool,
    cancel: &Cancel,
) -> Result<Locked, Error> {
    let load = || to_remove(host, name, force);
    if !host.layout.record(name).exists() {
        load()?;
    }
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if let Some(lock) = host.try_lock(name, Operation::Destroy)? {
        return Ok(Locked { lock, record: load()?, cut_off: None });
    }
    // Whoever asks for this has seen something that is not there yet, and is not asked again when it is.
    let seen = load()?;
    if !force
        && seen.phase == RecordPhase::Creating
        && let Some(state) = presence::in_hands(&host.layout, &seen)
    {
        return Err(Error::State { name: name.clone(), state, action: Action::Destroy });
    }
    let lock = host.lock(name, Operation::Destroy, cancel)?;
    Ok(Locked { lock, record: load()?, cut_off: None })
}

/// The record of a container that is to go; with `force`, what there is of it.
pub(crate) fn to_remove(host: &Host, name: &ContainerName, force: bool) -> Result<Record, Error> {
    match host.record(name) {
        // What a newer version claimed, and where, only that one knows.
        Err(error @ Error::Record(RecordError::Newer { .. })) => Err(error),
        Err(_) if force => host.record_or_rest(name),
        other => other,
    }
}

/// Takes a name, and tells whom it waits for. One that the shell original made is adopted; `None` where there is no container of
/// that name, or only the remains of one.
pub(crate) fn take_name(
    context: &mut Context<'_>,
    name: &ContainerName,
    operation: Operation,
) -> Result<(Held, Option<Record>), Error> {
    let lock = context.lock(name, operation)?;
    match adopt::record(context, name) {
        Ok(record) => Ok((lock, Some(record).filter(|record| !record.phase.is_unfinished()))),
        Err(Error::NotFound { .. }) => Ok((lock, None)),
        Err(error) => Err(error),
    }
}

/// As [`take`]; one that the shell original made is adopted, and a switch that was cut off is ended.
pub(crate) fn take_whole(
    context: &mut Context<'_>,
    name: &ContainerName,
    operation: Operation,
) -> Result<Locked, Error> {
    require(context.host, name)?;
    let lock = context.host.lock(name, operation, context.cancel)?;
    whole(context, name, lock)
}

/// As [`take_whole`], and tells whom it waits for.
pub(crate) fn take_whole_observed(
    context: &mut Context<'_>,
    name: &ContainerName,
    operation: Operation,
) -> Result<Locked, Error> {
    require(context.host, name)?;
    let lock = context.lock(name, operation)?;
    whole(context, name, lock)
}

/// That there is such a container, before its lock is made. Who has no record is looked at more closely.
pub(crate) fn require(host: &Host, name: &ContainerName) -> Result<(), Error> {
    if host.layout.record(name).exists() { Ok(()) } else { host.record(name).map(drop) }
}

fn whole(context: &mut Context<'_>, name: &ContainerName, lock: Held) -> Result<Locked, Error> {
    let mut record = adopt::record(context, name)?;
    let cut_off = recover::interrupted_switch(context, &mut record)?;
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
