//! A stop and a start as one operation: nobody else comes between, and what a start refuses is found before anything ends.

use crate::error::Error;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::observe::Phase;
use crate::model::occurrence::Operation;
use crate::model::setters::setters;
use crate::ops::locked;
use crate::ops::power::{self, StopOutcome, StopRequest};
use crate::ops::start::{self, StartOutcome, StartRequest};

/// How to restart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartRequest {
    /// How it is shut down, which is waited for whatever this says; without, it is ended at once.
    pub stop: Option<StopRequest>,
    /// How it is booted then.
    pub start: StartRequest,
}

setters!(RestartRequest: "A clean shutdown, and a boot in the background." {
    with_stop => stop: Option<StopRequest>,
    with_start => start: StartRequest,
});

impl Default for RestartRequest {
    fn default() -> Self {
        Self { stop: Some(StopRequest::default()), start: StartRequest::default() }
    }
}

/// What a restart came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restarted {
    /// How it ended; [`StopOutcome::NotRunning`] of one that did not run, and was only started.
    pub stopped: StopOutcome,
    /// How it runs now.
    pub started: StartOutcome,
}

impl Restarted {
    /// From this end to this start.
    #[must_use]
    pub fn new(stopped: StopOutcome, started: StartOutcome) -> Self {
        Self { stopped, started }
    }
}

pub(crate) fn restart(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &RestartRequest,
) -> Result<Restarted, Error> {
    let mut locked = locked::take_whole(context, name, Operation::Restart)?;
    start::require(context, name, &request.start)?;
    let stopped = context.phase(Phase::Stop, |context| {
        let (host, cancel) = (context.host, context.cancel);
        match request.stop {
            Some(stop) => {
                let stop = StopRequest { wait: true, reboot: false, ..stop };
                power::stop_locked(host, &locked.record, &stop, cancel)
            }
            None => power::terminate_locked(host, &locked.record, cancel),
        }
    })?;
    // The end has been noted there.
    locked.record = context.host.record(name)?;
    let started = start::start_locked(context, locked, &request.start)?;
    Ok(Restarted::new(stopped, started))
}
