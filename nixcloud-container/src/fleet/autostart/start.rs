//! Starting all containers that start with the host.

use std::collections::HashSet;
use std::time::Duration;

use super::Gathered;
use super::crew::{self, Ended, Job};
use super::plan::{AfterError, Step};
use super::schedule::Rules;
use crate::error::Error;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::observe::{ContainerChange, Phase};
use crate::model::setters::setters;
use crate::ops::booting;
use crate::ops::start::{self, StartOutcome, StartRequest};
use crate::store::presence;

/// How to start them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AutostartRequest {
    /// How many boot at once; the configured number when not given.
    pub parallel: Option<usize>,
    /// How long LXC may take to bring each to running; the configured time when not given.
    pub timeout: Option<Duration>,
}

setters!(AutostartRequest: "As the host configuration says." {
    with_parallel => parallel: Option<usize>,
    with_timeout => timeout: Option<Duration>,
});

/// What became of a container that was to start with the host.
#[derive(Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Autostarted {
    /// The container's name.
    pub name: ContainerName,
    /// What became of the container.
    pub outcome: AutostartOutcome,
}

impl Autostarted {
    /// For a container of this name.
    #[must_use]
    pub fn new(name: ContainerName, outcome: AutostartOutcome) -> Self {
        Self { name, outcome }
    }
}

/// What became of a container that was to start with the host.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutostartOutcome {
    /// The container was booted.
    #[non_exhaustive]
    Started {
        /// Its init, in the host's pid namespace.
        init_pid: i32,
    },
    /// The container ran already.
    AlreadyRunning,
    /// It did not start, or what its generation says cannot be read.
    Failed(Error),
    /// The container's `autostart.after` cannot be followed.
    Refused(AfterError),
    /// It was not tried, since one that it comes after does not run.
    #[non_exhaustive]
    Skipped {
        /// The container that does not run.
        after: ContainerName,
    },
}

impl AutostartOutcome {
    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self, Self::Started { .. } | Self::AlreadyRunning)
    }
}

/// Starts all of them. One that fails is in the answer as such and stops only those that come after it.
pub(crate) fn start_all(
    context: &mut Context<'_>,
    request: &AutostartRequest,
) -> Result<Vec<Autostarted>, Error> {
    context.phase(Phase::Start, |context| {
        let (mut host, cancel) = (context.host.clone(), context.cancel);
        if let Some(limit) = request.timeout {
            host.config.timeouts.start = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
        }
        let mut gathered = Gathered::new(&host)?;
        let plan = gathered.plan();
        let rules = Rules {
            parallel: request.parallel.unwrap_or_else(|| host.config.autostart.parallel()),
            strict: true,
        };
        tracing::debug!(containers = plan.steps.len(), parallel = rules.parallel, "autostart");
        // Others come after these: they are to find them booted.
        let awaited: HashSet<usize> = plan.steps.iter().flat_map(|step| step.after.iter().copied()).collect();
        let awaited: HashSet<&ContainerName> = awaited.iter().map(|&index| &plan.steps[index].name).collect();
        let job = Job {
            begin: ContainerChange::Starting,
            work: &|step, observer| {
                let mut context = Context::new(&host, observer, cancel);
                let ended = start(&mut context, step);
                if ended.delay.is_some() && awaited.contains(&step.name) {
                    await_boot(&mut context, &step.name);
                }
                ended
            },
            skip: &|_, after| AutostartOutcome::Skipped { after: after.name.clone() },
        };
        let outcomes = crew::run(&plan, rules, &job, context.observer, cancel)?;
        let broken = gathered.broken.into_iter();
        let mut all: Vec<Autostarted> = broken
            .map(|(name, error)| Autostarted { name, outcome: AutostartOutcome::Failed(error) })
            .collect();
        for (step, outcome) in plan.steps.into_iter().zip(outcomes) {
            let outcome = match (step.refused, step.broken, outcome) {
                (Some(refused), ..) => AutostartOutcome::Refused(refused),
                (None, Some(after), _) => AutostartOutcome::Skipped { after },
                (None, None, Some(outcome)) => outcome,
                // The crew leaves no other step without one.
                (None, None, None) => AutostartOutcome::Failed(Error::Cancelled),
            };
            all.push(Autostarted { name: step.name, outcome });
        }
        Ok(all)
    })
}

/// A guest that cannot be looked at, or does not boot, keeps none of those that come after it from starting: it runs.
fn await_boot(context: &mut Context<'_>, name: &ContainerName) {
    let host = context.host;
    let waited = host.record(name).and_then(|record| {
        let here = presence::look(&host.layout, &record)?;
        here.init.map_or(Ok(()), |init| booting::wait(context, name, init))
    });
    if let Err(error) = waited {
        tracing::debug!(%name, %error, "not waited for until it has booted");
    }
}

fn start(context: &mut Context<'_>, step: &Step) -> Ended<AutostartOutcome> {
    let _span = tracing::debug_span!("autostart", name = %step.name).entered();
    match start::start(context, &step.name, &StartRequest::default()) {
        Ok(StartOutcome::Started { init_pid, .. }) => Ended {
            outcome: AutostartOutcome::Started { init_pid },
            change: ContainerChange::Started,
            delay: Some(step.delay),
        },
        // Only a start in the foreground has another end.
        Ok(_) => Ended {
            outcome: AutostartOutcome::AlreadyRunning,
            change: ContainerChange::AlreadyRunning,
            delay: Some(Duration::ZERO),
        },
        Err(error) => {
            Ended { outcome: AutostartOutcome::Failed(error), change: ContainerChange::Failed, delay: None }
        }
    }
}
