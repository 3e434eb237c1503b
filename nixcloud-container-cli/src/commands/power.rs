//! start, stop, restart, terminate, kill, freeze, unfreeze.

use nixcloud_container::{
    Container, ContainerName, Error, Readiness, RestartRequest, Screen, StartOutcome, StartRequest,
    StopOutcome,
};

use super::{Context, Failure};
use crate::cli::{KillArgs, NameArgs, RestartArgs, StartArgs, StopArgs, ToolArgs};
use crate::exit::ExitStatus;
use crate::lxc_args::{How, Start, Stop};
use crate::view::{KillView, Outcome, PowerView};

pub(super) fn start(context: &Context<'_>, args: &StartArgs, asked: Start) -> Result<ExitStatus, Failure> {
    // What is printed as JSON is nothing else.
    let screen = if context.globals.json { Screen::Null } else { Screen::Inherit };
    let request = asked.request.with_screen(screen).with_wait(args.wait.request());
    let started = context.container(&args.name).start_with(&request, &mut context.progress())?;
    context.reply(&started_view(&args.name, &started, Outcome::Started));
    Ok(readiness(&started).into())
}

/// How the guest is that was started, where that was waited for.
fn readiness(started: &StartOutcome) -> Option<&Readiness> {
    match started {
        StartOutcome::Started { readiness, .. } | StartOutcome::AlreadyRunning { readiness, .. } => {
            readiness.as_ref()
        }
        _ => None,
    }
}

fn started_view(name: &ContainerName, started: &StartOutcome, done: Outcome) -> PowerView {
    let view = match started {
        StartOutcome::Started { init_pid, .. } => PowerView::new(name, done).with_init(*init_pid),
        StartOutcome::Ended { .. } => PowerView::new(name, Outcome::Ended),
        _ => PowerView::new(name, Outcome::AlreadyRunning),
    };
    view.with_readiness(readiness(started))
}

fn stop_as(container: &Container, asked: &Stop) -> Result<StopOutcome, Error> {
    match &asked.how {
        How::Kill => container.terminate(),
        How::Ask(request) => container.stop_with(request),
    }
}

/// What was done by an end that was asked for so.
fn stopped(asked: &Stop, outcome: StopOutcome) -> Outcome {
    match outcome {
        StopOutcome::NotRunning => Outcome::NotRunning,
        StopOutcome::Killed => Outcome::Killed,
        StopOutcome::Asked => Outcome::Asked,
        StopOutcome::Rebooted => Outcome::Rebooted,
        _ if asked.how == How::Kill => Outcome::Terminated,
        _ => Outcome::Stopped,
    }
}

pub(super) fn stop(context: &Context<'_>, args: &StopArgs, asked: &Stop) -> Result<ExitStatus, Failure> {
    let container = context.container(&args.name);
    let outcome = context.shown(&format!("stopping {}", args.name), || stop_as(&container, asked))?;
    context.reply(&PowerView::new(&args.name, stopped(asked, outcome)));
    Ok(ExitStatus::Done)
}

pub(super) fn restart(
    context: &Context<'_>,
    args: &RestartArgs,
    asked: &Stop,
) -> Result<ExitStatus, Failure> {
    let name = &args.stop.name;
    let stop = match &asked.how {
        How::Kill => None,
        How::Ask(request) => Some(*request),
    };
    let start = StartRequest::new().with_wait(args.wait.request());
    let request = RestartRequest::new().with_stop(stop).with_start(start);
    let done = context.container(name).restart(&request, &mut context.progress())?;
    let told = match done.stopped {
        StopOutcome::NotRunning => Outcome::Started,
        _ => Outcome::Restarted,
    };
    context.reply(&started_view(name, &done.started, told));
    Ok(readiness(&done.started).into())
}

pub(super) fn terminate(context: &Context<'_>, args: &ToolArgs) -> Result<ExitStatus, Failure> {
    let outcome = match context.container(&args.name).terminate()? {
        StopOutcome::NotRunning => Outcome::NotRunning,
        _ => Outcome::Terminated,
    };
    context.reply(&PowerView::new(&args.name, outcome));
    Ok(ExitStatus::Done)
}

pub(super) fn kill(context: &Context<'_>, args: &KillArgs) -> Result<ExitStatus, Failure> {
    let init = context.container(&args.name).kill(args.signal)?;
    context.reply(&KillView::new(&args.name, args.signal, init));
    Ok(ExitStatus::Done)
}

pub(super) fn freeze(context: &Context<'_>, args: &NameArgs) -> Result<ExitStatus, Failure> {
    context.container(&args.name).freeze()?;
    context.reply(&PowerView::new(&args.name, Outcome::Frozen));
    Ok(ExitStatus::Done)
}

pub(super) fn unfreeze(context: &Context<'_>, args: &NameArgs) -> Result<ExitStatus, Failure> {
    context.container(&args.name).unfreeze()?;
    context.reply(&PowerView::new(&args.name, Outcome::Running));
    Ok(ExitStatus::Done)
}
