//! Waiting for what passes: a container that is starting, or ending.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::state::{Action, Permission, State};
use crate::store::presence::{self, Presence};
use crate::store::record::Record;

/// How often a passing state is looked at.
const TICK: Duration = Duration::from_millis(2);
const SLOW_TICK: Duration = Duration::from_millis(20);

/// Waits until a dying container is gone, or a starting one has started.
pub(crate) fn while_passing(
    host: &Host,
    record: &Record,
    action: Action,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Presence, Error> {
    until(host, record, limit, cancel, &|state| state.permits(action) != Permission::Wait)
}

/// Waits until a container has ended.
pub(crate) fn until_stopped(
    host: &Host,
    record: &Record,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Presence, Error> {
    until(host, record, limit, cancel, &|state| !state.is_live())
}

fn until(
    host: &Host,
    record: &Record,
    limit: Duration,
    cancel: &Cancel,
    is_over: &dyn Fn(State) -> bool,
) -> Result<Presence, Error> {
    let begin = Instant::now();
    loop {
        let here = presence::look(&host.layout, record)?;
        if is_over(here.state) {
            return Ok(here);
        }
        pause(&record.name, here.state, begin, limit, cancel)?;
    }
}

/// Waits a moment, unless that was to be no longer than `limit` since `begin`.
pub(crate) fn pause(
    name: &ContainerName,
    state: State,
    begin: Instant,
    limit: Duration,
    cancel: &Cancel,
) -> Result<(), Error> {
    let waited = within(name, state, begin, limit, cancel)?;
    std::thread::sleep(if waited < Duration::from_millis(200) { TICK } else { SLOW_TICK });
    Ok(())
}

/// How long was waited, unless it was cancelled or that is no shorter than `limit`.
pub(crate) fn within(
    name: &ContainerName,
    state: State,
    begin: Instant,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Duration, Error> {
    let waited = begin.elapsed();
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if waited >= limit {
        return Err(Error::StillThere { name: name.clone(), state, limit });
    }
    Ok(waited)
}
