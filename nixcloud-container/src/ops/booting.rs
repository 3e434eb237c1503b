//! Whether a guest has booted far enough to be entered and switched: NixOS's stage 2 has run the activation script. LXC
//! says "running" as soon as init was executed, which is before that.
//!
//! `State` says nothing of it, since scripts wait for "running": whoever needs a booted guest waits here, and a status says it
//! beside the state.

use std::time::Duration;

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::note::GuestNote;
use crate::model::observe::Cancel;
use crate::store::presence;
use crate::sys::proc::Process;
use crate::worker::{self, Answer, Request, Stdio, WorkerError};

/// What cannot be seen at once may be there: so long the worker may look more closely, however long ago the guest began.
const ONE_LOOK: Duration = Duration::from_millis(250);

/// A guest that takes longer is told of.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// Whether a guest is known to boot yet. One that has run for longer than `timeouts.boot` is taken for booted, whatever it hides.
pub(crate) fn is_booting(host: &Host, init: Process) -> bool {
    init.age() < host.config.timeouts.boot() && !worker::has_activated(init)
}

/// Waits until a guest has booted, but not longer than `timeouts.boot` after the start of its init: one that hides the
/// links, or hangs, is to be entered and switched all the same, since that is how it is mended.
///
/// # Errors
/// When it was cancelled, or no worker can be had.
pub(crate) fn wait(context: &mut Context<'_>, name: &ContainerName, init: Process) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    if presence::has_booted(&host.layout, name, init) {
        return Ok(());
    }
    let whole = host.config.timeouts.boot();
    let left = whole.saturating_sub(init.age()).max(ONE_LOOK);
    let first = left.min(TOLD_AFTER);
    if wait_for(host, init, first, cancel)? {
        return Ok(());
    }
    if left > first {
        context.tell(GuestNote::AwaitsBoot { name: name.clone() });
        if wait_for(host, init, left.saturating_sub(first), cancel)? {
            return Ok(());
        }
    }
    context.tell(GuestNote::StillBoots { name: name.clone() });
    Ok(())
}

/// Whether it has booted, or ended, within the time.
pub(crate) fn wait_for(host: &Host, init: Process, limit: Duration, cancel: &Cancel) -> Result<bool, Error> {
    match host.worker.call(&Request::AwaitBoot { init }, Stdio::Null, Some(limit), cancel) {
        Ok(Answer::Done) => Ok(true),
        Ok(other) => Err(other.unexpected().into()),
        Err(WorkerError::Deadline { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
