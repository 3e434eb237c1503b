//! Ending all containers that run, before the host does.

use std::time::{Duration, Instant};

use super::Gathered;
use super::crew::{self, Ended, Job};
use super::plan::{Plan, Step};
use super::schedule::Rules;
use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, ContainerChange, Phase};
use crate::model::setters::setters;
use crate::model::state::{Action, Permission, State};
use crate::ops::power::{self, StopOutcome, StopRequest};
use crate::store::presence;

/// How many end at once: they mostly wait, and one that hangs is not to hold up the others.
const PARALLEL: usize = 64;

/// How to end them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AutostopRequest {
    /// How many end at once; 64 when not given.
    pub parallel: Option<usize>,
    /// How long each may take to shut down cleanly; the configured time when not given.
    pub timeout: Option<Duration>,
    /// How long all of them together may take. From then on none is waited for.
    pub within: Option<Duration>,
    /// Whether those that do not end in time are killed. If not, that is a failure, and they still run.
    pub then_kill: bool,
}

setters!(AutostopRequest: "As the host configuration says; none is killed." {
    with_parallel => parallel: Option<usize>,
    with_timeout => timeout: Option<Duration>,
    with_within => within: Option<Duration>,
    with_then_kill => then_kill: bool,
});

/// What became of a container that ran.
#[derive(Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Autostopped {
    /// The container's name.
    pub name: ContainerName,
    /// What became of the container.
    pub outcome: AutostopOutcome,
}

impl Autostopped {
    /// For a container of this name.
    #[must_use]
    pub fn new(name: ContainerName, outcome: AutostopOutcome) -> Self {
        Self { name, outcome }
    }
}

/// What became of a container that ran.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutostopOutcome {
    /// The container shut down cleanly.
    Stopped,
    /// It did not end in time and was killed, as asked.
    Killed,
    /// It still runs, or whether it does cannot be found out.
    Failed(Error),
}

/// Ends all of ours that run, those that start with the host in reverse order, the others before them. One that fails
/// holds up nothing.
pub(crate) fn stop_all(
    context: &mut Context<'_>,
    request: &AutostopRequest,
) -> Result<Vec<Autostopped>, Error> {
    context.phase(Phase::Stop, |context| {
        let Context { host, cancel, .. } = *context;
        let limits = Limits::new(host, request);
        // A lock that somebody holds on to is waited for as long as a guest.
        let mut host = host.clone();
        host.lock_timeout = limits.each;
        let mut gathered = Gathered::new(&host)?;
        // What the current generation says need not be readable to end the guest.
        let order = gathered.plan();
        let others = gathered.others.into_iter().chain(gathered.broken.into_iter().map(|(name, _)| name));
        let (plan, lost) = live(&host, &order.reversed(others));
        let rules = Rules { parallel: request.parallel.unwrap_or(PARALLEL), strict: false };
        tracing::debug!(containers = plan.steps.len(), parallel = rules.parallel, "autostop");
        let job = Job {
            begin: ContainerChange::Stopping,
            work: &|step, _| stop(&host, step, limits, cancel),
            skip: &|_, _| None,
        };
        let outcomes = crew::run(&plan, rules, &job, context.observer, cancel)?;
        let ended =
            plan.steps.into_iter().zip(outcomes).filter_map(|(step, outcome)| {
                Some(Autostopped { name: step.name, outcome: outcome.flatten()? })
            });
        let lost = lost.into_iter();
        Ok(lost
            .map(|(name, error)| Autostopped { name, outcome: AutostopOutcome::Failed(error) })
            .chain(ended)
            .collect())
    })
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    each: Duration,
    end: Option<Instant>,
    then_kill: bool,
}

impl Limits {
    fn new(host: &Host, request: &AutostopRequest) -> Self {
        Self {
            each: request.timeout.unwrap_or_else(|| host.config.timeouts.stop()),
            end: request.within.and_then(|within| Instant::now().checked_add(within)),
            then_kill: request.then_kill,
        }
    }

    /// How long one that begins now may take.
    fn left(self) -> Duration {
        let all = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        all.map_or(self.each, |all| all.min(self.each))
    }
}

/// Those of a plan that run, each after all of them that it came after, also by way of those that do not; and those of
/// which that cannot be found out.
fn live(host: &Host, plan: &Plan) -> (Plan, Vec<(ContainerName, Error)>) {
    let mut lost = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    // What stands in the new plan for each step of the old one.
    let mut stands: Vec<Vec<usize>> = Vec::new();
    for step in &plan.steps {
        let mut after: Vec<usize> =
            step.after.iter().filter_map(|before| stands.get(*before)).flatten().copied().collect();
        after.sort_unstable();
        after.dedup();
        match runs(host, &step.name) {
            Ok(true) => {
                stands.push(vec![steps.len()]);
                steps.push(Step { after, ..step.clone() });
            }
            Ok(false) => stands.push(after),
            Err(error) => {
                lost.push((step.name.clone(), error));
                stands.push(after);
            }
        }
    }
    (Plan { steps }, lost)
}

fn runs(host: &Host, name: &ContainerName) -> Result<bool, Error> {
    let record = match host.record(name) {
        Err(Error::NotFound { .. }) => return Ok(false),
        other => other?,
    };
    Ok(presence::look(&host.layout, &record)?.state.is_live())
}

fn stop(host: &Host, step: &Step, limits: Limits, cancel: &Cancel) -> Ended<Option<AutostopOutcome>> {
    let _span = tracing::debug_span!("autostop", name = %step.name).entered();
    let (outcome, change) = match end(host, &step.name, limits, cancel) {
        Ok(StopOutcome::NotRunning) => (None, ContainerChange::Stopped),
        Ok(StopOutcome::Killed) => (Some(AutostopOutcome::Killed), ContainerChange::Killed),
        Ok(_) => (Some(AutostopOutcome::Stopped), ContainerChange::Stopped),
        Err(error) => (Some(AutostopOutcome::Failed(error)), ContainerChange::Failed),
    };
    let delay =
        matches!(change, ContainerChange::Stopped | ContainerChange::Killed).then_some(Duration::ZERO);
    Ended { outcome, change, delay }
}

fn end(host: &Host, name: &ContainerName, limits: Limits, cancel: &Cancel) -> Result<StopOutcome, Error> {
    let ask = || {
        let request = StopRequest {
            timeout: Some(limits.left()),
            then_kill: limits.then_kill,
            ..StopRequest::default()
        };
        power::stop(host, name, &request, cancel)
    };
    let kill = || {
        Ok(match power::terminate(host, name, cancel)? {
            StopOutcome::NotRunning => StopOutcome::NotRunning,
            _ => StopOutcome::Killed,
        })
    };
    match ask() {
        // It hears nothing while it is frozen.
        Err(Error::State { state: State::Frozen, .. }) => {
            power::freeze(host, name, false, cancel)?;
            ask()
        }
        Err(Error::State { state, .. })
            if limits.then_kill && state.permits(Action::Terminate) == Permission::Allowed =>
        {
            kill()
        }
        other => other,
    }
}
