//! A plan worked off by threads: as many at once as the rules say.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::plan::{Plan, Step};
use super::schedule::{Rules, Schedule, Turn};
use crate::error::Error;
use crate::model::observe::{Cancel, ContainerChange, Event, Observer};

/// How often a cancelled token is noticed.
const TICK: Duration = Duration::from_millis(50);

/// What a step came to.
pub(super) struct Ended<T> {
    pub(super) outcome: T,
    /// What is changed about it.
    pub(super) change: ContainerChange,
    /// When those that wait for it go on; `None` where it failed.
    pub(super) delay: Option<Duration>,
}

/// The work itself.
pub(super) struct Job<'a, T> {
    /// What is changed when a step begins.
    pub(super) begin: ContainerChange,
    /// Does a step, on a thread of its own.
    pub(super) work: &'a (dyn Fn(&Step, &mut dyn Observer) -> Ended<T> + Sync),
    /// What becomes of a step that is left out because of another.
    pub(super) skip: &'a dyn Fn(&Step, &Step) -> T,
}

/// Something that happens on a step's thread.
enum News<T> {
    Event(usize, Event),
    Ended(usize, Ended<T>),
}

/// Works a plan off. The outcomes stand where their steps do; a step that was refused has none.
///
/// # Errors
/// When it was cancelled: then no step is active any more, and those that were done stay so.
pub(super) fn run<T: Send>(
    plan: &Plan,
    rules: Rules,
    job: &Job<'_, T>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Vec<Option<T>>, Error> {
    let mut outcomes: Vec<Option<T>> = plan.steps.iter().map(|_| None).collect();
    let mut schedule = Schedule::new(plan, rules);
    let work = job.work;
    let (sender, receiver) = mpsc::channel();
    let stays_out = |step: &&Step| step.refused.is_some() || step.broken.is_some();
    let expected = (plan.steps.len() - plan.steps.iter().filter(stays_out).count()) as u64;
    let count = |outcomes: &[Option<T>]| {
        let done = outcomes.iter().filter(|outcome| outcome.is_some()).count() as u64;
        Event::ContainerCount { done, expected }
    };
    observer.event(count(&outcomes));
    let changed =
        |index: usize, change| Event::ContainerChanged { name: plan.steps[index].name.clone(), change };
    std::thread::scope(|scope| {
        loop {
            let now = Instant::now();
            let turn = if cancel.is_cancelled() { Turn::Wait(None) } else { schedule.turn(now) };
            let until = match turn {
                Turn::End => return Ok(()),
                Turn::Begin(index) => {
                    observer.event(changed(index, job.begin));
                    let step = move |sender: Sender<News<T>>| {
                        let mut forward = |event| drop(sender.send(News::Event(index, event)));
                        let ended = work(&plan.steps[index], &mut forward);
                        // The receiver lives until all threads have ended.
                        let _ = sender.send(News::Ended(index, ended));
                    };
                    let (here, there) = (sender.clone(), sender.clone());
                    if Builder::new().spawn_scoped(scope, move || step(there)).is_err() {
                        // Where the host has no room for another thread it goes one by one.
                        step(here);
                    }
                    continue;
                }
                Turn::Skip { step, after } => {
                    outcomes[step] = Some((job.skip)(&plan.steps[step], &plan.steps[after]));
                    observer.event(changed(step, ContainerChange::Skipped));
                    observer.event(count(&outcomes));
                    continue;
                }
                Turn::Wait(until) => until,
            };
            if cancel.is_cancelled() && schedule.active() == 0 {
                return Err(Error::Cancelled);
            }
            let wait = until.map_or(TICK, |until| until.saturating_duration_since(now).min(TICK));
            match receiver.recv_timeout(wait) {
                Ok(News::Event(index, event)) => {
                    if let Some(event) = forwarded(&plan.steps[index], event) {
                        observer.event(event);
                    }
                }
                Ok(News::Ended(index, ended)) => {
                    schedule.ended(index, ended.delay, Instant::now());
                    outcomes[index] = Some(ended.outcome);
                    observer.event(changed(index, ended.change));
                    observer.event(count(&outcomes));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    })?;
    Ok(outcomes)
}

/// Of many operations at once, only what a user should know of each: their phases would run into one another.
fn forwarded(step: &Step, event: Event) -> Option<Event> {
    match event {
        Event::Note(note) => Some(note.of(&step.name).into()),
        _ => None,
    }
}
