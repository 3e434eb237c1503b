//! start, stop, restart, terminate, freeze, unfreeze.

use std::time::Duration;

use nixcloud_container::{ContainerName, Screen, StartOutcome, StartRequest, StopOutcome};

use super::{Context, Failure};
use crate::cli::{NameArgs, StartArgs, StopArgs};
use crate::exit::Status;
use crate::view::{Outcome, PowerView};

pub(super) fn start(context: &Context<'_>, args: &StartArgs) -> Result<Status, Failure> {
    let request = StartRequest {
        foreground: args.foreground,
        // What is printed as JSON is nothing else.
        screen: if context.globals.json { Screen::Null } else { Screen::Inherit },
        ..StartRequest::default()
    };
    let started = context.container(&args.name).start_with(&request, &mut context.progress())?;
    context.reply(&started_view(&args.name, &started, Outcome::Started));
    Ok(Status::Done)
}

fn started_view(name: &ContainerName, started: &StartOutcome, done: Outcome) -> PowerView {
    match started {
        StartOutcome::Started { init_pid } => PowerView::new(name, done).with_init(*init_pid),
        StartOutcome::Ended { .. } => PowerView::new(name, Outcome::Ended),
        _ => PowerView::new(name, Outcome::AlreadyRunning),
    }
}

fn limit(args: &StopArgs) -> Option<Duration> {
    args.timeout.map(|seconds| Duration::from_secs(seconds.into()))
}

/// `done`, unless there was nothing to do.
fn stopped_view(name: &ContainerName, stopped: StopOutcome, done: Outcome) -> PowerView {
    let outcome = match stopped {
        StopOutcome::NotRunning => Outcome::NotRunning,
        StopOutcome::Killed => Outcome::Killed,
        StopOutcome::Asked => Outcome::Asked,
        StopOutcome::Rebooted => Outcome::Rebooted,
        _ => done,
    };
    PowerView::new(name, outcome)
}

pub(super) fn stop(context: &Context<'_>, args: &StopArgs) -> Result<Status, Failure> {
    let stopped = context.container(&args.name).stop(limit(args))?;
    context.reply(&stopped_view(&args.name, stopped, Outcome::Stopped));
    Ok(Status::Done)
}

pub(super) fn restart(context: &Context<'_>, args: &StopArgs) -> Result<Status, Failure> {
    let container = context.container(&args.name);
    let done = match container.stop(limit(args))? {
        StopOutcome::NotRunning => Outcome::Started,
        _ => Outcome::Restarted,
    };
    let started = container.start(&mut context.progress())?;
    context.reply(&started_view(&args.name, &started, done));
    Ok(Status::Done)
}

pub(super) fn terminate(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let stopped = context.container(&args.name).terminate()?;
    context.reply(&stopped_view(&args.name, stopped, Outcome::Terminated));
    Ok(Status::Done)
}

pub(super) fn freeze(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    context.container(&args.name).freeze()?;
    context.reply(&PowerView::new(&args.name, Outcome::Frozen));
    Ok(Status::Done)
}

pub(super) fn unfreeze(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    context.container(&args.name).unfreeze()?;
    context.reply(&PowerView::new(&args.name, Outcome::Running));
    Ok(Status::Done)
}
