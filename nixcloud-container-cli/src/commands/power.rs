//! start, stop, restart, terminate, freeze, unfreeze.

use std::time::Duration;

use nixcloud_container::{StartOutcome, StopOutcome};

use super::{Context, Failure};
use crate::cli::{NameArgs, StopArgs};
use crate::exit::Status;

pub(super) fn start(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let name = &args.name;
    context.printer.result(match context.container(name).start(&mut context.progress())? {
        StartOutcome::AlreadyRunning => format!("{name} is already running"),
        _ => format!("started {name}"),
    });
    Ok(Status::Done)
}

fn limit(args: &StopArgs) -> Option<Duration> {
    args.timeout.map(|seconds| Duration::from_secs(seconds.into()))
}

pub(super) fn stop(context: &Context<'_>, args: &StopArgs) -> Result<Status, Failure> {
    let name = &args.name;
    context.printer.result(match context.container(name).stop(limit(args))? {
        StopOutcome::NotRunning => format!("{name} is not running"),
        _ => format!("stopped {name}"),
    });
    Ok(Status::Done)
}

pub(super) fn restart(context: &Context<'_>, args: &StopArgs) -> Result<Status, Failure> {
    let name = &args.name;
    let container = context.container(name);
    let stopped = container.stop(limit(args))?;
    container.start(&mut context.progress())?;
    context.printer.result(match stopped {
        StopOutcome::NotRunning => format!("{name} was not running: started {name}"),
        _ => format!("restarted {name}"),
    });
    Ok(Status::Done)
}

pub(super) fn terminate(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let name = &args.name;
    context.printer.result(match context.container(name).terminate()? {
        StopOutcome::NotRunning => format!("{name} is not running"),
        _ => format!("terminated {name}"),
    });
    Ok(Status::Done)
}

pub(super) fn freeze(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    context.container(&args.name).freeze()?;
    context.printer.result(format!("{} is frozen", args.name));
    Ok(Status::Done)
}

pub(super) fn unfreeze(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    context.container(&args.name).unfreeze()?;
    context.printer.result(format!("{} is running", args.name));
    Ok(Status::Done)
}
